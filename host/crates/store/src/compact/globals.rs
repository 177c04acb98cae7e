//! The facts that are few: notes, conflicts, pools, realms, reservations, and marks. A cycle holds them in memory.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Fact, Op, Origin, PoolUid, RealmUid, Seq, SpanKey, Strategy};

use crate::error::StoreError;
use crate::key::RowKey;
use crate::table::TableWriter;

#[derive(Debug, Default)]
pub(super) struct Globals {
    pools: BTreeMap<PoolUid, Op>,
    realms: BTreeMap<RealmUid, Op>,
    reserved: BTreeMap<SpanKey, Op>,
    /// Writes that stand, by their place in the log.
    notes: BTreeMap<Seq, Op>,
    /// Conflicts that are open, the same.
    conflicts: BTreeMap<Seq, Op>,
    /// The deleted pool with the highest number: its number must never be given again.
    last_deleted: Option<(PoolUid, Op)>,
    /// The operation with the latest time.
    latest: Option<Op>,
    /// How far every other origin was heard, the highest word of each.
    heard: BTreeMap<Origin, (Seq, Op)>,
    /// Pools deleted since the last checkpoint: nothing of theirs goes into the next.
    pub(super) gone: BTreeSet<PoolUid>,
}

impl Globals {
    /// Notes the time of an operation of any kind.
    pub(super) fn note_time(&mut self, op_seq: Seq, stamp_ms: u64) {
        if self.latest.as_ref().is_none_or(|latest| latest.stamp_ms < stamp_ms) {
            self.latest = Some(Op { seq: op_seq, stamp_ms, from: None, fact: Fact::Clock });
        }
    }

    pub(super) fn high_water_ms(&self) -> u64 {
        self.latest.as_ref().map_or(0, |latest| latest.stamp_ms)
    }

    /// Takes an operation of the log or of the last checkpoint, in their order. Facts about spans are not for here.
    pub(super) fn apply(&mut self, op: Op) {
        match &op.fact {
            Fact::Pool(pool) => drop(self.pools.insert(pool.uid, op)),
            Fact::PoolDeleted(uid) => {
                let uid = *uid;
                self.pools.remove(&uid);
                self.reserved.retain(|key, _| key.pool != uid);
                self.conflicts
                    .retain(|_, op| !matches!(&op.fact, Fact::Conflict(conflict) if conflict.heard.pool == uid));
                self.gone.insert(uid);
                if self.last_deleted.as_ref().is_none_or(|(last, _)| *last < uid) {
                    self.last_deleted = Some((uid, op));
                }
            }
            Fact::Realm(realm) => drop(self.realms.insert(realm.uid, op)),
            Fact::Reserved(kept) => {
                let key = kept.key();
                self.reserved.insert(key, op);
            }
            Fact::Unreserved { key, .. } => drop(self.reserved.remove(key)),
            Fact::Clock => self.note_time(op.seq, op.stamp_ms),
            Fact::Heard { origin, through } => self.note_heard(*origin, *through, &op),
            Fact::Adopted(vector) => {
                for (origin, through) in vector.iter() {
                    self.note_heard(*origin, *through, &op);
                }
            }
            Fact::Noted(note) => {
                let note = std::sync::Arc::clone(note);
                self.notes.insert(op.seq, op);
                self.end_notes(&note.ends);
            }
            Fact::Unnoted(ends) => self.end_notes(&ends.places),
            Fact::Conflict(_) => drop(self.conflicts.insert(op.seq, op)),
            Fact::ConflictClosed(place) => drop(self.conflicts.remove(place)),
            Fact::Held(_) | Fact::Resting(_) | Fact::Free(_) | Fact::RestsOn(_) => {}
        }
    }

    fn end_notes(&mut self, places: &[Seq]) {
        for place in places {
            self.notes.remove(place);
        }
    }

    fn note_heard(&mut self, origin: Origin, through: Seq, op: &Op) {
        if self.heard.get(&origin).is_none_or(|(known, _)| *known < through) {
            let op = Op { seq: op.seq, stamp_ms: op.stamp_ms, from: None, fact: Fact::Heard { origin, through } };
            self.heard.insert(origin, (through, op));
        }
    }

    /// True if a span's last word says nothing that a start needs: it is as free as one that was never used. Without this
    /// the checkpoint would grow with every span that was ever held.
    pub(super) fn is_spent(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Free(_) => true,
            // Over by every later clock, because none is behind this mark. How long ago it ended says only who is next in
            // a pool that gives out what was released longest ago.
            Fact::Resting(rest) => rest.until_ms <= self.high_water_ms() && !self.keeps_order(rest.pool),
            Fact::Held(_)
            | Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Reserved(_)
            | Fact::Unreserved { .. }
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => false,
        }
    }

    fn keeps_order(&self, pool: PoolUid) -> bool {
        self.pools
            .get(&pool)
            .is_some_and(|op| matches!(&op.fact, Fact::Pool(pool) if pool.draft.terms.strategy == Strategy::OldestFree))
    }

    pub(super) fn write(&self, out: &mut TableWriter) -> Result<(), StoreError> {
        for (place, op) in &self.notes {
            out.push(RowKey::Note(*place), op)?;
        }
        for (uid, op) in &self.pools {
            out.push(RowKey::Pool(*uid), op)?;
        }
        for (uid, op) in &self.realms {
            out.push(RowKey::Realm(*uid), op)?;
        }
        for (key, op) in &self.reserved {
            out.push(RowKey::Reserved(*key), op)?;
        }
        let heard = self.heard.values().map(|(_, op)| op);
        let marks =
            self.last_deleted.iter().map(|(_, op)| op).chain(&self.latest).chain(heard).chain(self.conflicts.values());
        for op in marks {
            out.push(RowKey::Marks, op)?;
        }
        Ok(())
    }
}
