//! The notes as the log tells them: of each key the writes that stand, the winner first.
//!
//! Which write replaces which was decided when it was taken into the log, and stands there by places; so whoever reads the log
//! (this host after a start, its read view) comes to the same without knowing who heard what.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::{Note, NoteStamp, NoteWord};
use crate::digest::Lanes;
use crate::fact::{Fact, Op};
use crate::id::{Dot, NoteKey, Origin, Seq, TenantId};

/// What a note's hash begins with.
const NOTE: u64 = 5;

/// A write that stands.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where in this host's log.
    pub place: Seq,
    /// Its number in the log of whoever wrote it.
    pub seq: Seq,
    pub note: Arc<Note>,
}

impl Written {
    /// Its name for ever.
    pub fn dot(&self) -> Dot {
        Dot { origin: self.note.by, seq: self.seq }
    }

    /// The highest one wins.
    fn rank(&self) -> (NoteStamp, Origin, Seq) {
        (self.note.stamp, self.note.by, self.seq)
    }
}

/// All notes of all tenants.
#[derive(Debug, Default)]
pub struct Notes {
    /// No key without a write, no tenant without a key.
    by_tenant: BTreeMap<TenantId, BTreeMap<NoteKey, Vec<Written>>>,
    keys: usize,
    /// Keys of which nothing but deletions stands.
    deleted: BTreeSet<(TenantId, NoteKey)>,
    sum: u128,
    /// Under which name this host writes.
    own: Origin,
}

impl Notes {
    /// No notes, on the host that writes under this name: the disk does not say who wrote what it wrote itself.
    pub fn of_host(own: Origin) -> Self {
        Self { own, ..Self::default() }
    }

    /// The writes of a key that stand, the winner first; empty: none.
    pub fn of(&self, tenant: &TenantId, key: &NoteKey) -> &[Written] {
        self.by_tenant.get(tenant).and_then(|keys| keys.get(key)).map_or(&[], Vec::as_slice)
    }

    /// What a note says now.
    pub fn get(&self, tenant: &TenantId, key: &NoteKey) -> Option<&Written> {
        self.of(tenant, key).first().filter(|winner| winner.note.value.is_some())
    }

    /// A tenant's keys that begin with `prefix`, after another one, in order; deleted ones whose losers say something too.
    pub fn query<'a>(
        &'a self,
        tenant: &TenantId,
        prefix: &'a str,
        after: Option<&NoteKey>,
    ) -> impl Iterator<Item = (&'a NoteKey, &'a [Written])> {
        let keys = self.by_tenant.get(tenant);
        // A prefix may be no key (it ends with a slash), so the beginning is skipped to by comparing texts.
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = keys.into_iter().flat_map(move |keys| keys.range((from.cloned(), Bound::Unbounded)));
        range
            .skip_while(move |(key, _)| key.as_str() < prefix)
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, writes)| (key, writes.as_slice()))
            .filter(|(_, writes)| writes.iter().any(|write| write.note.value.is_some()))
    }

    /// All keys of all tenants.
    pub fn keys(&self) -> impl Iterator<Item = (&TenantId, &NoteKey, &[Written])> {
        let keys = |(tenant, keys)| std::iter::repeat(tenant).zip(keys);
        self.by_tenant.iter().flat_map(keys).map(|(tenant, (key, writes))| (tenant, key, writes.as_slice()))
    }

    /// How many keys there are, deleted ones that are still remembered among them.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// True if there is no note and none is remembered.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many of them are a tenant's.
    pub fn len_of(&self, tenant: &TenantId) -> usize {
        self.by_tenant.get(tenant).map_or(0, BTreeMap::len)
    }

    /// How many keys are remembered only as deleted.
    pub fn deletions(&self) -> usize {
        self.deleted.len()
    }

    /// The writes of a key of which one lost that says something else than the winner: two people wrote it at the same time.
    pub fn is_disputed(writes: &[Written]) -> bool {
        writes.first().is_some_and(|winner| writes.iter().any(|write| write.note.value != winner.note.value))
    }

    /// How many notes are disputed.
    pub fn disputed(&self) -> usize {
        self.keys().filter(|(_, _, writes)| Self::is_disputed(writes)).count()
    }

    pub(crate) fn deleted_keys(&self) -> impl Iterator<Item = (&TenantId, &NoteKey, &[Written])> {
        self.deleted.iter().map(|(tenant, key)| (tenant, key, self.of(tenant, key)))
    }

    pub(crate) fn dots(&self) -> BTreeSet<Dot> {
        self.keys().flat_map(|(_, _, writes)| writes.iter().map(Written::dot)).collect()
    }

    /// Hosts that heard the same have the same sum. Deletions are in it only by what they hide: they are forgotten at each host
    /// in its own time.
    pub(crate) fn sum(&self) -> u128 {
        self.sum
    }

    /// The highest stamp that a clock at this moment follows.
    pub(crate) fn latest_within(&self, now_ms: u64) -> NoteStamp {
        let stamps = self.keys().flat_map(|(_, _, writes)| writes.iter().map(|write| write.note.stamp));
        stamps.filter(|stamp| stamp.is_believed(now_ms)).max().unwrap_or_default()
    }

    /// Takes an operation of the log, in its order. What is no note's is passed over.
    pub fn apply(&mut self, op: &Op) {
        match NoteWord::of(&op.fact) {
            Some(NoteWord::Noted(note)) => {
                let seq = op.from.map_or(op.seq, |from| from.seq);
                let mut note = Arc::clone(note);
                if op.from.is_none() && note.by != self.own {
                    Arc::make_mut(&mut note).by = self.own;
                }
                let write = Written { place: op.seq, seq, note: Arc::clone(&note) };
                self.change(&note.tenant, &note.key, &note.ends, Some(write));
            }
            Some(NoteWord::Unnoted(ends)) => self.change(&ends.tenant, &ends.key, &ends.places, None),
            None => {}
        }
    }

    fn change(&mut self, tenant: &TenantId, key: &NoteKey, ends: &[Seq], write: Option<Written>) {
        let keys = self.by_tenant.entry(tenant.clone()).or_default();
        let writes = match keys.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.keys += 1;
                new.insert(Vec::new())
            }
        };
        self.sum = self.sum.wrapping_sub(sum_of(writes));
        writes.retain(|known| !ends.contains(&known.place));
        if let Some(write) = write
            && !ends.contains(&write.place)
            && writes.iter().all(|known| known.place != write.place)
        {
            writes.push(write);
            writes.sort_unstable_by_key(|write| std::cmp::Reverse(write.rank()));
        }
        self.sum = self.sum.wrapping_add(sum_of(writes));
        let (empty, deleted) = (writes.is_empty(), writes.iter().all(|write| write.note.value.is_none()));
        if empty {
            keys.remove(key);
            self.keys -= 1;
        }
        if keys.is_empty() {
            self.by_tenant.remove(tenant);
        }
        let place = (tenant.clone(), key.clone());
        if deleted && !empty {
            self.deleted.insert(place);
        } else {
            self.deleted.remove(&place);
        }
    }
}

fn sum_of(writes: &[Written]) -> u128 {
    let rows = writes.iter().enumerate().filter_map(|(place, write)| {
        let value = write.note.value.as_ref()?;
        let Dot { origin, seq } = write.dot();
        let lanes = Lanes::new(NOTE)
            .bytes(write.note.tenant.as_str().as_bytes())
            .bytes(write.note.key.as_str().as_bytes())
            .bytes(value.as_str().as_bytes())
            .word(write.note.stamp.ms)
            .word(u64::from(write.note.stamp.count))
            .word(origin.host)
            .word(origin.incarnation)
            .word(seq.0)
            .word(u64::from(place == 0));
        Some(lanes.sum())
    });
    rows.fold(0, u128::wrapping_add)
}

/// Notes on their way back into memory, in any order and more than once.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    writes: BTreeMap<Seq, (Option<Dot>, Arc<Note>)>,
    ended: BTreeSet<Seq>,
}

impl Recovered {
    pub(crate) fn apply(&mut self, op: &Op) {
        if let Fact::Noted(note) = &op.fact {
            self.ended.extend(note.ends.iter());
            self.writes.insert(op.seq, (op.from, Arc::clone(note)));
        } else if let Fact::Unnoted(ends) = &op.fact {
            self.ended.extend(ends.places.iter());
        }
    }

    /// `own`: under which name this host writes now. What it wrote while it was alone is its own too.
    pub(crate) fn finish(self, own: Origin) -> Notes {
        let mut notes = Notes::of_host(own);
        for (place, (from, note)) in self.writes {
            if !self.ended.contains(&place) {
                notes.apply(&Op { seq: place, stamp_ms: 0, from, fact: Fact::Noted(note) });
            }
        }
        notes
    }
}
