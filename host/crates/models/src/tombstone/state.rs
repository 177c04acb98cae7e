//! What the tombstone model remembers, and what a host ought to show.

use std::collections::BTreeSet;

/// Hosts.
pub(super) const HOSTS: usize = 3;
/// Origins: the three hosts, and host 2 once more after its return.
pub(super) const ORIGINS: usize = 4;

/// How much of each origin's log a host has.
pub type Vector = [usize; ORIGINS];

/// An operation on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// Higher than that of everything its host had seen.
    pub stamp: usize,
    /// It deletes the key.
    pub delete: bool,
}

/// Names an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Whose log it stands in.
    pub origin: usize,
    /// Its number there, from 1.
    pub seq: usize,
}

/// What a host heard of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    /// What that host had.
    pub vector: Vector,
    /// The changes of the list of members that it knew.
    pub knows: usize,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host {
    /// What it has.
    pub vector: Vector,
    /// The operation that it keeps for the key.
    pub cell: Option<Dot>,
    /// The tombstones that it dropped.
    pub dropped: BTreeSet<Dot>,
    /// What it heard of the others.
    pub heard: [Option<Heard>; HOSTS],
    /// The changes of the list of members that it knows.
    pub knows: usize,
    /// It is in its second incarnation.
    pub returned: bool,
    /// It waits for a snapshot.
    pub empty: bool,
}

/// The whole world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The hosts.
    pub hosts: [Host; HOSTS],
    /// Per origin, all it ever wrote.
    pub logs: [Vec<Write>; ORIGINS],
    /// The changes of the list of members.
    pub changes: usize,
}

impl State {
    /// The origin that the host writes under.
    pub(super) fn origin(&self, host: usize) -> usize {
        if self.hosts[host].returned { HOSTS } else { host }
    }

    pub(super) fn write(&self, dot: Dot) -> Write {
        self.logs[dot.origin][dot.seq - 1]
    }

    /// The later of two operations.
    pub(super) fn later(&self, one: Dot, other: Dot) -> Dot {
        let rank = |dot: Dot| (self.write(dot).stamp, dot.origin);
        if rank(one) > rank(other) { one } else { other }
    }

    /// All that a vector covers.
    pub(super) fn covered(vector: Vector) -> impl Iterator<Item = Dot> {
        vector.into_iter().enumerate().flat_map(|(origin, upto)| (1..=upto).map(move |seq| Dot { origin, seq }))
    }

    /// Every host shows the last of the writes that its vector covers, and nothing if that is a deletion.
    pub(super) fn right(&self) -> bool {
        let shown = |dot: Option<Dot>| dot.filter(|dot| !self.write(*dot).delete);
        self.hosts.iter().all(|host| {
            let last = Self::covered(host.vector).reduce(|one, other| self.later(one, other));
            shown(host.cell) == shown(last)
        })
    }
}
