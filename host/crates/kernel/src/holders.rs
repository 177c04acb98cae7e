//! Who holds: every live allocation, found by its subscriber and by its span. Nothing here decides anything.
//!
//! Two hash tables of shared pointers, about 11 bytes an allocation each. Each is cut into parts, so that a table which
//! grows moves a three-hundredth of its entries at a time and nobody waits for the rest. Their order never reaches an
//! effect: whoever walks a part sorts what he takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::allocation::Allocation;
use crate::digest::{self, Sums};
use crate::hash;
use crate::id::{Key, PoolUid, RealmUid, SubscriberId};
use crate::survivor::{Pair, is_same, survivor};

/// Parts of a table. Not a power of two: then a million entries, or two, fill the parts' own powers of two well.
const PARTS: usize = 300;

/// Where a (pool, subscriber, key) belongs in the table by subscriber; made once a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// All live allocations.
#[derive(Debug)]
pub(crate) struct Holders {
    seed: u64,
    by_subscriber: Table,
    by_span: Table,
    len: usize,
    /// The sum of what is held in each (pool, realm).
    sums: Sums,
    /// Who has several allocations under one key. Nobody else costs anything for it.
    doubled: BTreeSet<(PoolUid, SubscriberId, Option<Key>)>,
}

impl Holders {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            by_subscriber: Table::new(),
            by_span: Table::new(),
            len: 0,
            sums: Sums::default(),
            doubled: BTreeSet::new(),
        }
    }

    /// Makes room at once for what is about to be read back.
    pub(crate) fn reserve(&mut self, more: usize) {
        let seed = self.seed;
        self.by_subscriber.reserve(more, |held| place_of(seed, held));
        self.by_span.reserve(more, |held| span_hash(seed, held.pool, held.realm, held.span.start()));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn place(&self, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> Place {
        Place(place_hash(self.seed, pool, subscriber, key))
    }

    /// What the subscriber holds in the pool under the key; of several the one that stands.
    pub(crate) fn find(
        &self,
        place: Place,
        pool: PoolUid,
        subscriber: &SubscriberId,
        key: Option<&Key>,
    ) -> Option<&Arc<Allocation>> {
        survivor(self.all_of(place, pool, subscriber, key))
    }

    /// Everything the subscriber holds in the pool under the key, in no order. Nearly always one.
    pub(crate) fn all_of<'a, 'b>(
        &'a self,
        place: Place,
        pool: PoolUid,
        subscriber: &'b SubscriberId,
        key: Option<&'b Key>,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> + use<'a, 'b> {
        let held = self.by_subscriber.part(place.0).iter_hash(place.0);
        held.filter(move |held| is_of(held, pool, subscriber, key))
    }

    /// Every allocation that another one of its subscriber stands in place of, with that one: by pool, subscriber and key,
    /// then first made first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.doubled.iter().flat_map(|(pool, subscriber, key)| {
            let place = self.place(*pool, subscriber, key.as_ref());
            let mut all: Vec<&Arc<Allocation>> = self.all_of(place, *pool, subscriber, key.as_ref()).collect();
            all.sort_unstable_by_key(|held| (held.created_ms(), held.span, held.epoch));
            let stands = survivor(all.iter().copied()).cloned();
            all.into_iter().filter_map(move |held| {
                let survivor = stands.clone().filter(|stands| !is_same(stands, held))?;
                Some(Pair { superseded: Arc::clone(held), survivor })
            })
        })
    }

    /// The allocation that begins at this position.
    pub(crate) fn starting_at(&self, pool: PoolUid, realm: RealmUid, start: u128) -> Option<&Arc<Allocation>> {
        let hash = span_hash(self.seed, pool, realm, start);
        self.by_span.part(hash).find(hash, |held| starts_at(held, pool, realm, start))
    }

    /// Adds an allocation; its span may not be taken.
    pub(crate) fn insert(&mut self, place: Place, allocation: Arc<Allocation>) {
        let seed = self.seed;
        let hash = span_hash(seed, allocation.pool, allocation.realm, allocation.span.start());
        let again = Arc::clone(&allocation);
        self.by_span
            .part_mut(hash)
            .insert_unique(hash, again, |held| span_hash(seed, held.pool, held.realm, held.span.start()));
        self.sums.add((allocation.pool, allocation.realm), digest::of_held(&allocation));
        let (pool, subscriber, key) = (allocation.pool, &allocation.subscriber, allocation.key());
        if self.all_of(place, pool, subscriber, key).next().is_some() {
            self.doubled.insert((pool, subscriber.clone(), key.cloned()));
        }
        self.by_subscriber.part_mut(place.0).insert_unique(place.0, allocation, |held| place_of(seed, held));
        self.len += 1;
    }

    /// Puts a renewed allocation in the place of its former state.
    pub(crate) fn replace(&mut self, allocation: &Arc<Allocation>) {
        let place = place_of(self.seed, allocation);
        let (pool, realm, start) = (allocation.pool, allocation.realm, allocation.span.start());
        let hash = span_hash(self.seed, pool, realm, start);
        let by_subscriber = self.by_subscriber.part_mut(place).find_mut(place, |held| {
            held.span == allocation.span && is_of(held, pool, &allocation.subscriber, allocation.key())
        });
        let by_span = self.by_span.part_mut(hash).find_mut(hash, |held| starts_at(held, pool, realm, start));
        if let Some(former) = &by_span {
            self.sums.subtract((pool, realm), digest::of_held(former));
            self.sums.add((pool, realm), digest::of_held(allocation));
        }
        for slot in by_subscriber.into_iter().chain(by_span) {
            *slot = Arc::clone(allocation);
        }
    }

    /// Takes an allocation out.
    pub(crate) fn remove(&mut self, allocation: &Allocation) {
        let place = place_of(self.seed, allocation);
        let (pool, realm, start) = (allocation.pool, allocation.realm, allocation.span.start());
        let hash = span_hash(self.seed, pool, realm, start);
        let by_subscriber = self.by_subscriber.part_mut(place).find_entry(place, |held| {
            held.span == allocation.span && is_of(held, pool, &allocation.subscriber, allocation.key())
        });
        let by_span = self.by_span.part_mut(hash).find_entry(hash, |held| starts_at(held, pool, realm, start));
        if let (Ok(one), Ok(other)) = (by_subscriber, by_span) {
            one.remove();
            let (held, _) = other.remove();
            self.sums.subtract((pool, realm), digest::of_held(&held));
            self.len -= 1;
            self.no_longer_doubled(Place(place), &held);
        }
    }

    fn no_longer_doubled(&mut self, place: Place, gone: &Allocation) {
        if self.doubled.is_empty() || self.all_of(place, gone.pool, &gone.subscriber, gone.key()).nth(1).is_some() {
            return;
        }
        self.doubled.remove(&(gone.pool, gone.subscriber.clone(), gone.key().cloned()));
    }

    /// The sum of what is held in each (pool, realm) where something is.
    pub(crate) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Number of parts for [`part`](Self::part).
    pub(crate) const fn parts() -> usize {
        PARTS
    }

    /// All allocations of one part, in no order. Parts together hold each allocation once.
    pub(crate) fn part(&self, part: usize) -> impl Iterator<Item = &Arc<Allocation>> {
        self.by_span.parts.get(part).into_iter().flatten()
    }

    /// All allocations, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.by_span.parts.iter().flatten()
    }
}

#[derive(Debug)]
struct Table {
    parts: Box<[HashTable<Arc<Allocation>>]>,
}

impl Table {
    fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect() }
    }

    fn reserve(&mut self, more: usize, hash: impl Fn(&Arc<Allocation>) -> u64) {
        for part in &mut self.parts {
            part.reserve(more / PARTS, &hash);
        }
    }

    fn part(&self, hash: u64) -> &HashTable<Arc<Allocation>> {
        self.parts.get(part_of(hash)).expect("a part's number is below their count")
    }

    fn part_mut(&mut self, hash: u64) -> &mut HashTable<Arc<Allocation>> {
        self.parts.get_mut(part_of(hash)).expect("a part's number is below their count")
    }
}

/// From the middle of the hash: the tables use its lowest and its highest bits.
fn part_of(hash: u64) -> usize {
    let middle = (hash >> 20) & u64::from(u32::MAX);
    usize::try_from((middle * PARTS as u64) >> 32).expect("below the number of parts")
}

fn place_hash(seed: u64, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> u64 {
    let state = hash::bytes(hash::word(seed, u64::from(pool.0)), subscriber.as_str().as_bytes());
    key.map_or(state, |key| hash::bytes(state, key.as_str().as_bytes()))
}

fn place_of(seed: u64, held: &Allocation) -> u64 {
    place_hash(seed, held.pool, &held.subscriber, held.key())
}

#[allow(clippy::cast_possible_truncation, reason = "both halves of the position are hashed")]
fn span_hash(seed: u64, pool: PoolUid, realm: RealmUid, start: u128) -> u64 {
    let state = hash::word(seed, u64::from(pool.0) << 32 | u64::from(realm.0));
    hash::word(hash::word(state, (start >> 64) as u64), start as u64)
}

fn is_of(held: &Allocation, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> bool {
    held.pool == pool && held.subscriber == *subscriber && held.key() == key
}

fn starts_at(held: &Allocation, pool: PoolUid, realm: RealmUid, start: u128) -> bool {
    held.span.start() == start && held.pool == pool && held.realm == realm
}
