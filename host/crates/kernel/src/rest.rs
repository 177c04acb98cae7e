//! Hold-down: the spans of one (pool, realm) that were held and now rest, so that what still travels to the former holder
//! does not reach a new one, and so that he finds his resource again if he comes back.
//!
//! Their number is bounded by the rate of releases times the hold-down, not by the pool.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::allocation::Resting;
use crate::hash;
use crate::id::{Key, Seq, SubscriberId};
use crate::plan::inside;
use crate::span::Span;

/// How many of the longest-rested are tried one by one before a search by position, when a request is narrowed.
const TRIED: usize = 64;

/// A rest and when it ends by the kept clock.
#[derive(Clone, Debug)]
struct Rest {
    record: Arc<Resting>,
    ends_ms: u64,
    /// It lies where this host may hand out.
    open: bool,
    /// Nobody gets it until enough hosts know that it was released.
    limbo: bool,
}

/// When a rest in limbo ends, as far as it goes by time: never.
const NEVER: u64 = u64::MAX;

/// Everything that rests. Disjoint spans.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    by_start: BTreeMap<u128, Rest>,
    /// Length, then who rests longest; only those this host may hand out.
    by_length: BTreeSet<(u128, Seq, u128)>,
    by_end: BTreeSet<(u64, Seq, u128)>,
    /// By the subscriber's place, the last released last. Ordered, not hashed: a table that grows would stop everybody when
    /// a million leases end at once.
    by_subscriber: BTreeSet<(u64, Seq, u128)>,
    positions: u128,
}

impl Rests {
    /// `open`: it lies where this host may hand out.
    pub(crate) fn insert(&mut self, record: Arc<Resting>, ends_ms: u64, open: bool) {
        let (span, seq) = (record.span, record.seq);
        if open {
            self.by_length.insert((span.len(), seq, span.start()));
        }
        self.by_end.insert((ends_ms, seq, span.start()));
        self.by_subscriber.insert((place(&record.subscriber, record.key.as_ref()), seq, span.start()));
        self.by_start.insert(span.start(), Rest { record, ends_ms, open, limbo: false });
        self.positions += span.len();
    }

    /// It rests until enough hosts know of it, whatever its hold-down.
    pub(crate) fn insert_in_limbo(&mut self, record: Arc<Resting>, open: bool) {
        let (span, seq) = (record.span, record.seq);
        self.by_end.insert((NEVER, seq, span.start()));
        self.by_subscriber.insert((place(&record.subscriber, record.key.as_ref()), seq, span.start()));
        self.by_start.insert(span.start(), Rest { record, ends_ms: NEVER, open, limbo: true });
        self.positions += span.len();
    }

    /// Whether what rests here waits for hosts, not for time.
    pub(crate) fn is_in_limbo(&self, start: u128) -> bool {
        self.by_start.get(&start).is_some_and(|rest| rest.limbo)
    }

    /// From now on this host may hand out what is covered, or may not.
    pub(crate) fn set_open(&mut self, cover: Span, open: bool) {
        for (start, rest) in self.by_start.range_mut(cover.start()..cover.end()) {
            let entry = (rest.record.span.len(), rest.record.seq, *start);
            rest.open = open;
            if open && !rest.limbo {
                self.by_length.insert(entry)
            } else {
                self.by_length.remove(&entry)
            };
        }
    }

    /// Ends the rest that begins at `start`.
    pub(crate) fn remove(&mut self, start: u128) -> Option<Arc<Resting>> {
        let Rest { record, ends_ms, .. } = self.by_start.remove(&start)?;
        let (len, seq) = (record.span.len(), record.seq);
        self.by_length.remove(&(len, seq, start));
        self.by_end.remove(&(ends_ms, seq, start));
        self.by_subscriber.remove(&(place(&record.subscriber, record.key.as_ref()), seq, start));
        self.positions -= len;
        Some(record)
    }

    /// When the first rest ends.
    pub(crate) fn first_end(&self) -> Option<u64> {
        self.by_end.first().map(|(ends_ms, _, _)| *ends_ms).filter(|ends_ms| *ends_ms != NEVER)
    }

    /// A rest that is over.
    pub(crate) fn over(&self, now_ms: u64) -> Option<u128> {
        self.by_end.first().filter(|(ends_ms, _, _)| *ends_ms <= now_ms).map(|(_, _, start)| *start)
    }

    /// Makes the order of ends anew, after deadlines moved.
    pub(crate) fn requeue(&mut self, end: impl Fn(&Resting) -> u64) {
        self.by_end.clear();
        for (start, rest) in &mut self.by_start {
            rest.ends_ms = if rest.limbo { NEVER } else { end(&rest.record) };
            self.by_end.insert((rest.ends_ms, rest.record.seq, *start));
        }
    }

    /// The subscriber's own where this host may hand out, the last released first to be asked.
    pub(crate) fn own(
        &self,
        subscriber: &SubscriberId,
        key: Option<&Key>,
        fits: impl Fn(Span) -> bool,
    ) -> Option<&Arc<Resting>> {
        if self.by_start.is_empty() {
            return None;
        }
        let place = place(subscriber, key);
        let placed = self.by_subscriber.range((place, Seq(0), 0)..=(place, Seq(u64::MAX), u128::MAX));
        let rests = placed.rev().filter_map(|(_, _, start)| self.by_start.get(start));
        let rests = rests.filter(|rest| rest.open).map(|rest| &rest.record);
        rests.into_iter().find(|rest| rest.subscriber == *subscriber && rest.key.as_ref() == key && fits(rest.span))
    }

    /// Whoever of this length rests longest. Narrowed: one of those that rest longest if it is inside, else any inside.
    pub(crate) fn longest(&self, len: u128, within: &[Span]) -> Option<&Arc<Resting>> {
        let mut oldest =
            self.by_length.range((len, Seq(0), 0)..=(len, Seq(u64::MAX), u128::MAX)).map(|(_, _, start)| *start);
        if within.is_empty() {
            return oldest.next().and_then(|start| self.at(start));
        }
        let inside = |rest: &&Arc<Resting>| inside(within, rest.span);
        let near = oldest.take(TRIED).filter_map(|start| self.at(start)).find(inside);
        near.or_else(|| {
            let fits = |rest: &&Arc<Resting>| rest.span.len() == len && inside(rest);
            within.iter().find_map(|span| self.touching(*span).find(fits))
        })
    }

    /// What rests from here on.
    pub(crate) fn starting_at(&self, start: u128) -> Option<&Arc<Resting>> {
        self.at(start)
    }

    fn at(&self, start: u128) -> Option<&Arc<Resting>> {
        self.by_start.get(&start).map(|rest| &rest.record)
    }

    /// All that share a position with the span, in order.
    pub(crate) fn touching(&self, span: Span) -> impl Iterator<Item = &Arc<Resting>> {
        let before = self.by_start.range(..span.start()).next_back();
        let inside = self.by_start.range(span.start()..span.end());
        before.into_iter().chain(inside).map(|(_, rest)| &rest.record).filter(move |rest| rest.span.intersects(span))
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resting>> {
        self.by_start.values().map(|rest| &rest.record)
    }

    /// Positions that rest.
    pub(crate) const fn positions(&self) -> u128 {
        self.positions
    }
}

/// Not keyed: a client would have to release what it made collide.
fn place(subscriber: &SubscriberId, key: Option<&Key>) -> u64 {
    let state = hash::bytes(0, subscriber.as_str().as_bytes());
    key.map_or(state, |key| hash::bytes(state, key.as_str().as_bytes()))
}
