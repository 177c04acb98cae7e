//! Spans of one (pool, realm) kept for named subscribers. Disjoint from each other; a reserved span is held by its own
//! subscriber or by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::allocation::{Reservation, Resting};
use crate::digest;
use crate::id::{Key, Seq, SubscriberId};
use crate::span::Span;

/// All reservations of one (pool, realm).
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    by_start: BTreeMap<u128, Arc<Reservation>>,
    by_subscriber: BTreeSet<(SubscriberId, u128)>,
    /// Reserved positions that nobody holds.
    idle: u128,
    /// Who gave up last what nobody holds, where too few hosts know of it yet.
    limbo: BTreeMap<u128, Arc<Resting>>,
    sum: u128,
}

impl Reservations {
    /// Adds one whose span nobody holds; see [`taken_up`](Self::taken_up) otherwise.
    pub(crate) fn insert(&mut self, reservation: Arc<Reservation>) {
        self.by_subscriber.insert((reservation.subscriber.clone(), reservation.span.start()));
        self.idle += reservation.span.len();
        self.replace(reservation);
    }

    /// The same reservation, made anew.
    pub(crate) fn replace(&mut self, anew: Arc<Reservation>) {
        self.sum = self.sum.wrapping_add(digest::of_reserved(&anew));
        if let Some(former) = self.by_start.insert(anew.span.start(), anew) {
            self.sum = self.sum.wrapping_sub(digest::of_reserved(&former));
        }
    }

    /// Takes one out that nobody holds.
    pub(crate) fn remove(&mut self, span: Span) -> Option<Arc<Reservation>> {
        let reservation = self.exactly(span).cloned()?;
        self.by_start.remove(&span.start());
        self.by_subscriber.remove(&(reservation.subscriber.clone(), span.start()));
        self.idle -= span.len();
        self.sum = self.sum.wrapping_sub(digest::of_reserved(&reservation));
        Some(reservation)
    }

    /// Its subscriber holds the span now.
    pub(crate) fn taken_up(&mut self, span: Span) {
        self.idle -= span.len();
        self.limbo.remove(&span.start());
    }

    /// Its subscriber holds the span no more.
    pub(crate) const fn left(&mut self, span: Span) {
        self.idle += span.len();
    }

    /// What its subscriber holds no more is in limbo: it is nobody else's until enough hosts know, reserved or not.
    pub(crate) fn await_stable(&mut self, record: Arc<Resting>) {
        self.limbo.insert(record.span.start(), record);
    }

    /// Ends the limbo of a reserved span. Gives who had left it, if it was in limbo.
    pub(crate) fn surface(&mut self, span: Span) -> Option<Arc<Resting>> {
        self.limbo.remove(&span.start())
    }

    /// The operation by which a reserved span came into limbo, if it is.
    pub(crate) fn in_limbo_since(&self, span: Span) -> Option<Seq> {
        self.limbo.get(&span.start()).map(|record| record.seq)
    }

    /// Whether another owner of the shard could repeat a reserved span to the subscriber under another key than this.
    pub(crate) fn is_in_limbo_for_another(&self, start: u128, key: Option<&Key>) -> bool {
        self.limbo.get(&start).is_some_and(|record| record.key.as_ref() != key)
    }

    /// The reservation of exactly this span.
    pub(crate) fn exactly(&self, span: Span) -> Option<&Arc<Reservation>> {
        self.by_start.get(&span.start()).filter(|found| found.span == span)
    }

    /// The first that shares a position with the span.
    pub(crate) fn touching(&self, span: Span) -> Option<&Arc<Reservation>> {
        let (_, last) = self.by_start.range(..span.end()).next_back()?;
        if !last.span.intersects(span) {
            return None;
        }
        // Those before the last that begin inside, or the one that reaches in.
        let first_inside = self.by_start.range(span.start()..span.end()).next().map(|(_, found)| found);
        let reaching = self.by_start.range(..span.start()).next_back().map(|(_, found)| found);
        reaching.filter(|found| found.span.intersects(span)).or(first_inside)
    }

    /// All that share a position with the span, last first.
    pub(crate) fn all_touching(&self, span: Span) -> impl Iterator<Item = &Arc<Reservation>> {
        let before_its_end = self.by_start.range(..span.end()).rev().map(|(_, found)| found);
        before_its_end.take_while(move |found| found.span.end() > span.start())
    }

    /// What is reserved for a subscriber, lowest first.
    pub(crate) fn of<'a>(&'a self, subscriber: &SubscriberId) -> impl Iterator<Item = &'a Arc<Reservation>> {
        let range = if self.by_subscriber.is_empty() {
            None
        } else {
            Some(self.by_subscriber.range((subscriber.clone(), 0)..=(subscriber.clone(), u128::MAX)))
        };
        range.into_iter().flatten().filter_map(|(_, start)| self.by_start.get(start))
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Reservation>> {
        self.by_start.values()
    }

    /// The sum of all of them.
    pub(crate) const fn sum(&self) -> u128 {
        self.sum
    }

    /// Reserved positions that nobody holds.
    pub(crate) const fn idle(&self) -> u128 {
        self.idle
    }
}
