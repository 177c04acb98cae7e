//! Allocations by subscriber, spread over many locks. An entry is one pointer: the key is read through it.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use kernel::{Allocation, Key, PoolUid, SubscriberId};
use parking_lot::RwLock;

const SLICES: usize = 64;

#[derive(Debug)]
pub(crate) struct Subscribers {
    hasher: std::hash::RandomState,
    slices: Vec<RwLock<HashTable<Arc<Allocation>>>>,
}

fn same(a: &Allocation, b: &Allocation) -> bool {
    a.pool == b.pool && a.realm == b.realm && a.span.start() == b.span.start() && a.subscriber == b.subscriber
}

fn is_of(held: &Allocation, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> bool {
    held.pool == pool && held.subscriber == *subscriber && held.key() == key
}

impl Subscribers {
    pub(crate) fn new() -> Self {
        let slices = std::iter::repeat_with(RwLock::default).take(SLICES).collect();
        Self { hasher: std::hash::RandomState::new(), slices }
    }

    fn slice(&self, hash: u64) -> &RwLock<HashTable<Arc<Allocation>>> {
        // The table itself uses the low and the top seven bits.
        let at = usize::try_from((hash >> 40) % SLICES as u64).expect("less than the number of slices");
        self.slices.get(at).expect("less than the number of slices")
    }

    /// Adds, or replaces the same allocation's former state. True if it is a new one and the subscriber has another of the
    /// same pool and key.
    pub(crate) fn insert(&self, allocation: &Arc<Allocation>) -> bool {
        let hash = self.hasher.hash_one(&allocation.subscriber);
        let rehash = |held: &Arc<Allocation>| self.hasher.hash_one(&held.subscriber);
        let mut table = self.slice(hash).write();
        if let Some(held) = table.find_mut(hash, |held| same(held, allocation)) {
            *held = Arc::clone(allocation);
            return false;
        }
        let (pool, key) = (allocation.pool, allocation.key());
        let doubled = table.iter_hash(hash).any(|held| is_of(held, pool, &allocation.subscriber, key));
        table.insert_unique(hash, Arc::clone(allocation), rehash);
        doubled
    }

    pub(crate) fn remove(&self, allocation: &Allocation) {
        let hash = self.hasher.hash_one(&allocation.subscriber);
        let mut table = self.slice(hash).write();
        if let Ok(entry) = table.find_entry(hash, |held| same(held, allocation)) {
            entry.remove();
        }
    }

    /// All of a subscriber's in a pool under a key, in no order. Nearly always one.
    pub(crate) fn under(&self, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> Vec<Arc<Allocation>> {
        let hash = self.hasher.hash_one(subscriber);
        let table = self.slice(hash).read();
        table.iter_hash(hash).filter(|held| is_of(held, pool, subscriber, key)).cloned().collect()
    }

    /// All of a subscriber's, in every pool and tenant, in no order.
    pub(crate) fn of(&self, subscriber: &SubscriberId) -> Vec<Arc<Allocation>> {
        let hash = self.hasher.hash_one(subscriber);
        let table = self.slice(hash).read();
        table.iter_hash(hash).filter(|held| held.subscriber == *subscriber).cloned().collect()
    }
}
