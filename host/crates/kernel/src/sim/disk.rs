//! A disk: what was synced is there after a crash, in whatever order a checkpoint and a log give it back.

use std::collections::{BTreeMap, BTreeSet};

use crate::fact::{Fact, Op, SpanKey};
use crate::hash::Draws;
use crate::id::{Origin, PoolUid, RealmUid, Seq};
use crate::kernel::Recovery;
use crate::note::NoteWord;

/// Everything that is durable.
#[derive(Debug, Default)]
pub(super) struct Disk {
    history: Vec<Op>,
    /// How many of the first operations are in a checkpoint: of them only the last of each key is kept.
    compacted: usize,
}

/// What an operation is the last word of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Pool(PoolUid),
    PoolDeleted(PoolUid),
    Realm(RealmUid),
    Span(SpanKey),
    Reservation(SpanKey),
    Clock,
    Heard(Origin),
    Adopted,
    Note(Seq),
    Conflict(Seq),
}

fn about(op: &Op) -> About {
    match &op.fact {
        Fact::Pool(pool) => About::Pool(pool.uid),
        Fact::PoolDeleted(uid) => About::PoolDeleted(*uid),
        Fact::Realm(realm) => About::Realm(realm.uid),
        Fact::Held(held) => About::Span(SpanKey { pool: held.pool, realm: held.realm, span: held.span }),
        Fact::Resting(rest) => About::Span(SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span }),
        Fact::Free(key) => About::Span(*key),
        Fact::Reserved(kept) => About::Reservation(kept.key()),
        Fact::Unreserved { key, .. } => About::Reservation(*key),
        Fact::Clock | Fact::RestsOn(_) | Fact::Unnoted(_) | Fact::ConflictClosed(_) => About::Clock,
        Fact::Conflict(_) => About::Conflict(op.seq),
        Fact::Noted(_) => About::Note(op.seq),
        Fact::Adopted(_) => About::Adopted,
        Fact::Heard { origin, .. } => About::Heard(*origin),
    }
}

/// The pool a fact belongs to.
fn pool_of(about: &About) -> Option<PoolUid> {
    match about {
        About::Pool(uid) => Some(*uid),
        About::Span(key) | About::Reservation(key) => Some(key.pool),
        About::PoolDeleted(_)
        | About::Realm(_)
        | About::Clock
        | About::Heard(_)
        | About::Adopted
        | About::Note(_)
        | About::Conflict(_) => None,
    }
}

/// What a checkpoint keeps: the last word of each key, unless it only says that something is gone; nothing of deleted
/// pools but the highest number.
fn checkpoint(old: &[Op]) -> Vec<&Op> {
    let mut last: BTreeMap<About, &Op> = BTreeMap::new();
    let mut ended: BTreeSet<Seq> = BTreeSet::new();
    for op in old {
        last.insert(about(op), op);
        ended.extend(NoteWord::of(&op.fact).into_iter().flat_map(NoteWord::ends));
        if let Fact::ConflictClosed(place) = &op.fact {
            ended.insert(*place);
        }
    }
    let deleted = |uid: PoolUid| last.contains_key(&About::PoolDeleted(uid));
    let highest = last.keys().filter(|about| matches!(about, About::PoolDeleted(_))).max();
    let kept = last.iter().filter(|(about, op)| match &op.fact {
        Fact::Free(_)
        | Fact::Unreserved { .. }
        | Fact::Clock
        | Fact::RestsOn(_)
        | Fact::Unnoted(_)
        | Fact::ConflictClosed(_) => false,
        Fact::Noted(_) | Fact::Conflict(_) => !ended.contains(&op.seq),
        Fact::PoolDeleted(_) => Some(*about) == highest,
        Fact::Pool(_)
        | Fact::Realm(_)
        | Fact::Held(_)
        | Fact::Resting(_)
        | Fact::Reserved(_)
        | Fact::Heard { .. }
        | Fact::Adopted(_) => pool_of(about).is_none_or(|uid| !deleted(uid)),
    });
    kept.map(|(_, op)| *op).collect()
}

impl Disk {
    pub(super) fn write(&mut self, operations: Vec<Op>) {
        self.history.extend(operations);
    }

    /// Everything ever written, in order.
    pub(super) fn history(&self) -> &[Op] {
        &self.history
    }

    /// What was written last was never written.
    pub(super) fn forget_after(&mut self, last: Seq) {
        let kept = self.history.partition_point(|op| op.seq <= last);
        self.history.truncate(kept);
        self.compacted = self.compacted.min(kept);
    }

    /// A checkpoint takes in some more of the log.
    pub(super) fn compact(&mut self, draws: &mut Draws) {
        let more = draws.index(self.history.len() - self.compacted + 1);
        self.compacted += more;
    }

    /// Gives everything back: the checkpoint in any order, then the log, a little of it twice.
    pub(super) fn read(&self, draws: &mut Draws, recovery: &mut Recovery) {
        let (old, log) = self.history.split_at(self.compacted);
        let mut checkpoint = checkpoint(old);
        for n in (1..checkpoint.len()).rev() {
            checkpoint.swap(n, draws.index(n + 1));
        }
        let again = draws.index(checkpoint.len() + 1);
        for op in checkpoint.iter().take(again).chain(&checkpoint) {
            recovery.apply(op);
        }
        if let Some(op) = old.last() {
            recovery.reaches(Seq(op.seq.0), op.stamp_ms);
        }
        for op in log {
            recovery.apply(op);
        }
    }
}
