//! The leases of one (pool, realm) in the order in which they end, and the agenda: which (pool, realm) is due next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::allocation::Allocation;
use crate::id::{PoolUid, RealmUid, Seq};

/// Live allocations that have a lease, first to end first. Moments of the kept clock.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_end: BTreeMap<(u64, Seq), Arc<Allocation>>,
}

impl Leases {
    /// False if it was there.
    pub(crate) fn insert(&mut self, ends_ms: u64, allocation: Arc<Allocation>) -> bool {
        self.by_end.insert((ends_ms, allocation.seq()), allocation).is_none()
    }

    /// Keeps those that are wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Allocation) -> bool) {
        self.by_end.retain(|_, lease| wanted(lease));
    }

    /// True if it was there: leases of other hosts' allocations are not.
    pub(crate) fn remove(&mut self, ends_ms: u64, seq: Seq) -> bool {
        self.by_end.remove(&(ends_ms, seq)).is_some()
    }

    /// Number of them.
    pub(crate) fn len(&self) -> usize {
        self.by_end.len()
    }

    /// When the first ends.
    pub(crate) fn first_end(&self) -> Option<u64> {
        self.by_end.first_key_value().map(|((ends_ms, _), _)| *ends_ms)
    }

    /// Those that have ended, first ended first.
    pub(crate) fn ended(&self, now_ms: u64) -> impl Iterator<Item = &Arc<Allocation>> {
        self.by_end.range(..=(now_ms, Seq(u64::MAX))).map(|(_, allocation)| allocation)
    }

    /// All of them, first to end first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.by_end.values()
    }

    /// Makes the order anew, after deadlines moved.
    pub(crate) fn requeue(&mut self, end: impl Fn(&Allocation) -> Option<u64>) {
        let leases = std::mem::take(&mut self.by_end);
        let moved = leases.into_values().filter_map(|lease| end(&lease).map(|ends_ms| ((ends_ms, lease.seq()), lease)));
        self.by_end = moved.collect();
    }
}

/// Which (pool, realm) has something due first, of one kind of deadline.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    due: BTreeSet<(u64, PoolUid, RealmUid)>,
}

impl Agenda {
    /// Moves an entry from where it stood to where it belongs.
    pub(crate) fn set(&mut self, of: (PoolUid, RealmUid), stood: &mut Option<u64>, due_ms: Option<u64>) {
        if *stood == due_ms {
            return;
        }
        if let Some(stood_ms) = *stood {
            self.due.remove(&(stood_ms, of.0, of.1));
        }
        if let Some(due_ms) = due_ms {
            self.due.insert((due_ms, of.0, of.1));
        }
        *stood = due_ms;
    }

    /// The first moment anything is due.
    pub(crate) fn first(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _, _)| *due_ms)
    }

    /// Who is due by now, longest due first.
    pub(crate) fn overdue(&self, now_ms: u64) -> Option<(PoolUid, RealmUid)> {
        self.due.first().filter(|(due_ms, _, _)| *due_ms <= now_ms).map(|(_, pool, realm)| (*pool, *realm))
    }
}
