//! In which order spans were given back, for `oldest-free`.
//!
//! Holds only what is free and was given back: each grain at most once, under the ticket of its last return. What was never
//! used is in a [`GrainSet`] of its own, made when the first span is given back; until then nothing here costs anything.
//!
//! What leaves the pool or is excluded may come back, and is kept aside for that; but never much more of it than there is
//! in the order, so that a pool that only ever moves on does not remember every place it was at.

use std::collections::{BTreeMap, BTreeSet};

use super::grain_set::GrainSet;
use super::layout::Layout;
use crate::span::Span;

/// Spans kept aside beyond as many as are in the order. Few enough to cost nothing, and enough for a small pool.
const SPARE: usize = 1_024;

/// What was used once and is free again.
#[derive(Debug)]
pub(super) struct Order {
    /// The grains that were never taken.
    pub(super) unused: GrainSet,
    /// By start: disjoint spans, each with its length and ticket. Something of each can be handed out.
    given: BTreeMap<u128, (u128, u64)>,
    /// The same of spans of which nothing can: outside the pool now, or excluded. At most [`SPARE`] more than in `given`.
    aside: BTreeMap<u128, (u128, u64)>,
    /// By length: ticket and start, oldest first.
    queues: BTreeMap<u128, BTreeSet<(u64, u128)>>,
    tickets: u64,
}

impl Order {
    /// From now on; what is free at this moment counts as never used.
    pub(super) fn new(free: &GrainSet) -> Self {
        let (given, aside) = (BTreeMap::new(), BTreeMap::new());
        Self { unused: free.clone(), given, aside, queues: BTreeMap::new(), tickets: 0 }
    }

    /// A span was taken.
    pub(super) fn take(&mut self, layout: &Layout, plot: usize, span: Span) {
        self.unused.block(layout, plot, span);
        while let Some((start, (len, ticket))) = self.given.range(..span.end()).next_back().map(|(s, g)| (*s, *g)) {
            if start + len <= span.start() {
                break;
            }
            self.forget(start, len, ticket);
            if start < span.start() {
                self.keep(layout, start, span.start() - start, ticket);
            }
            if start + len > span.end() {
                self.keep(layout, span.end(), start + len - span.end(), ticket);
            }
        }
        self.bound();
    }

    /// A span was given back.
    pub(super) fn give(&mut self, span: Span) {
        self.tickets += 1;
        self.remember(span.start(), span.len(), self.tickets);
    }

    /// The spans of this length, oldest first. Of some a part may have left the pool.
    pub(super) fn oldest(&self, len: u128) -> impl Iterator<Item = Span> + '_ {
        self.queues.get(&len).into_iter().flatten().filter_map(move |(_, start)| Span::new(*start, len))
    }

    /// Follows a change of the layout. What leaves the pool or is excluded comes back at its place, unless it was too much
    /// to be kept aside: then it comes back as never used.
    pub(super) fn moved(mut self, old: &Layout, new: &Layout) -> Self {
        self.unused = self.unused.moved(old, new);
        self.queues.clear();
        let (given, aside) = (std::mem::take(&mut self.given), std::mem::take(&mut self.aside));
        for (start, (len, ticket)) in given.into_iter().chain(aside) {
            if let Some(span) = Span::new(start, len) {
                self.unused.block_all(new, span);
            }
            self.keep(new, start, len, ticket);
        }
        self.bound();
        self
    }

    /// How many spans are in the order, and how many are kept aside.
    #[cfg(test)]
    pub(super) fn spans(&self) -> (usize, usize) {
        (self.given.len(), self.aside.len())
    }

    fn keep(&mut self, layout: &Layout, start: u128, len: u128, ticket: u64) {
        let terrain = layout.terrain();
        if terrain.first_fit(start, start + len, terrain.grain).is_some() {
            self.remember(start, len, ticket);
        } else {
            self.aside.insert(start, (len, ticket));
        }
    }

    fn bound(&mut self) {
        if self.aside.len() > self.given.len() + SPARE {
            self.aside.clear();
        }
    }

    fn remember(&mut self, start: u128, len: u128, ticket: u64) {
        self.given.insert(start, (len, ticket));
        self.queues.entry(len).or_default().insert((ticket, start));
    }

    fn forget(&mut self, start: u128, len: u128, ticket: u64) {
        self.given.remove(&start);
        if let Some(queue) = self.queues.get_mut(&len) {
            queue.remove(&(ticket, start));
            if queue.is_empty() {
                self.queues.remove(&len);
            }
        }
    }
}
