//! Messages between hosts, and what becomes of them on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::route::Outcome;
use crate::command::Command;
use crate::hash::Draws;
use crate::id::{Epoch, Origin, PoolUid, Seq, ShardId};
use crate::replica::Batch;
use crate::tenure::Leg;

/// How far each log is known.
pub(super) type Vector = BTreeMap<Origin, Seq>;

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) sent: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// What its writer just wrote: a hint.
    Gossip(Arc<Batch>),
    /// What do you have that I have not?
    Pull(Vector),
    Facts {
        batches: Vec<Arc<Batch>>,
        vector: Vector,
        applied: u64,
        /// Up to which entry its kernel goes by the list of members, and the vector has what it took in before.
        listed: u64,
    },
    /// A request to be decided there.
    Ask {
        task: u64,
        leg: Leg,
        command: Command,
    },
    Answer {
        task: u64,
        outcome: Outcome,
        origin: Origin,
        through: Seq,
    },
    /// The former owner knows that these are not its own any more: its last word about them is `last`.
    Given {
        pool: PoolUid,
        shards: Vec<(ShardId, Epoch)>,
        last: Seq,
    },
}

/// Which way is open, and how well it carries.
#[derive(Debug, Default)]
pub(super) struct Net {
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    pub(super) calm: bool,
}

impl Net {
    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(super) fn is_parted(&self) -> bool {
        !self.cut.is_empty()
    }

    pub(super) fn both_ways(&self, one: usize, other: usize) -> bool {
        one == other || !(self.is_cut(one, other) || self.is_cut(other, one))
    }

    pub(super) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Nobody of one side reaches anybody of the other.
    pub(super) fn part(&mut self, hosts: usize, side: impl Fn(usize) -> bool) {
        let pairs = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        self.cut.extend(pairs.filter(|(from, to)| side(*from) != side(*to)));
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// How long a message travels, milliseconds, once for each time it arrives.
    pub(super) fn journeys(&self, from: usize, to: usize, once: bool, draws: &mut Draws) -> Vec<u64> {
        if self.is_cut(from, to) {
            return Vec::new();
        }
        if self.calm {
            return vec![1 + draws.below(5)];
        }
        let delay = |draws: &mut Draws| match draws.below(20) {
            0 => 100 + draws.below(600),
            1..4 => 20 + draws.below(80),
            _ => 1 + draws.below(10),
        };
        match draws.below(100) {
            0..4 => Vec::new(),
            4..7 if !once => vec![delay(draws), delay(draws)],
            _ => vec![delay(draws)],
        }
    }
}
