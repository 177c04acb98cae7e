//! What happened, in order, for watches. A window of the last events is kept; who falls out of it is told so.

use std::collections::VecDeque;
use std::sync::Arc;

use kernel::{
    Allocation, Fact, NoteKey, NoteWord, Op, Pool, PoolUid, Reservation, Resting, Seq, SpanKey, TenantId, Written,
};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::conflicts::OpenConflict;

/// One thing that happened. Its id is the operation's place in the log.
#[derive(Clone, Debug)]
pub struct Event {
    pub seq: Seq,
    /// Unix milliseconds.
    pub stamp_ms: u64,
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// The pool it happened in is as it was then: it may be gone when a watcher comes to read this.
    InPool(Arc<Pool>, PoolChange),
    Note(Arc<NoteChange>),
}

/// What stands of a note now, the winner first; nothing: it is gone.
#[derive(Clone, Debug)]
pub struct NoteChange {
    pub tenant: TenantId,
    pub key: NoteKey,
    pub writes: Vec<Written>,
}

/// What happened in a pool.
#[derive(Clone, Debug)]
pub enum PoolChange {
    /// Made or renewed: made if `created_ms` equals `renewed_ms`.
    Held(Arc<Allocation>),
    /// Released, expired, or its pool was deleted.
    Ended(Arc<Resting>),
    /// Made (revision 1) or changed.
    Pool,
    PoolDeleted,
    Reserved(Arc<Reservation>),
    Unreserved(SpanKey),
    /// There is a conflict. That a subscriber has two allocations comes right after the one that made it so, under the same
    /// place.
    Conflict(OpenConflict),
    /// What was superseded has ended, or stands since the other one has; or somebody looked after it. The same.
    Settled(OpenConflict),
}

/// The events after the asked place are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventGap {
    /// The place after which everything is still here.
    pub oldest: Seq,
}

#[derive(Debug)]
pub(crate) struct Events {
    window: usize,
    kept: RwLock<Kept>,
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    ring: VecDeque<Event>,
    /// The newest operation that is not in the ring any more (or never was).
    before: Seq,
}

impl Events {
    pub(crate) fn new(window: usize) -> Self {
        let kept = RwLock::new(Kept { ring: VecDeque::new(), before: Seq(0) });
        Self { window, kept, last: watch::Sender::new(0) }
    }

    /// Everything up to `seq` happened before this daemon's time.
    pub(crate) fn start_after(&self, seq: Seq) {
        self.kept.write().before = seq;
        self.last.send_replace(seq.0);
    }

    pub(crate) fn push(&self, events: impl Iterator<Item = Event>, last: Seq) {
        let mut kept = self.kept.write();
        for event in events {
            if kept.ring.len() == self.window
                && let Some(gone) = kept.ring.pop_front()
            {
                kept.before = gone.seq;
            }
            kept.ring.push_back(event);
        }
        drop(kept);
        self.last.send_replace(last.0);
    }

    pub(crate) fn after(&self, seq: Seq, most: usize) -> Result<Vec<Event>, EventGap> {
        let kept = self.kept.read();
        let known = Seq(*self.last.borrow());
        if seq < kept.before || seq > known {
            return Err(EventGap { oldest: kept.before });
        }
        let from = kept.ring.partition_point(|event| event.seq <= seq);
        let mut taken: Vec<Event> = Vec::new();
        for event in kept.ring.range(from..) {
            // Whoever goes on after a place has everything of that place.
            if taken.len() >= most && taken.last().is_some_and(|last| last.seq != event.seq) {
                break;
            }
            taken.push(event.clone());
        }
        Ok(taken)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

/// What a watcher is told of an operation, if anything. `known` gives pools as they are before the operation.
pub(crate) fn event_of(op: &Op, known: impl FnOnce(PoolUid) -> Option<Arc<Pool>>) -> Option<Event> {
    let (pool, kind) = match &op.fact {
        Fact::Held(allocation) => (known(allocation.pool)?, PoolChange::Held(Arc::clone(allocation))),
        Fact::Resting(resting) => (known(resting.pool)?, PoolChange::Ended(Arc::clone(resting))),
        Fact::Pool(pool) => (Arc::clone(pool), PoolChange::Pool),
        Fact::PoolDeleted(uid) => (known(*uid)?, PoolChange::PoolDeleted),
        Fact::Reserved(reservation) => (known(reservation.pool)?, PoolChange::Reserved(Arc::clone(reservation))),
        Fact::Unreserved { key, .. } => (known(key.pool)?, PoolChange::Unreserved(*key)),
        Fact::Realm(_)
        | Fact::Free(_)
        | Fact::Clock
        | Fact::Heard { .. }
        | Fact::RestsOn(_)
        | Fact::Adopted(_)
        // What comes of a note is known only once it is applied.
        | Fact::Noted(_)
        | Fact::Unnoted(_)
        // The same of a conflict.
        | Fact::Conflict(_)
        | Fact::ConflictClosed(_) => return None,
    };
    Some(Event { seq: op.seq, stamp_ms: op.stamp_ms, kind: EventKind::InPool(pool, kind) })
}

/// What a watcher is told after an operation on a note, given what stood before: nothing of what changes nothing for readers.
pub(crate) fn event_of_note(op: &Op, before: &[Written], now: NoteChange) -> Option<Event> {
    let said = |writes: &[Written]| writes.iter().map(|write| write.note.value.clone()).collect::<Vec<_>>();
    let (before, after) = (said(before), said(&now.writes));
    let nothing = |writes: &[Option<_>]| writes.iter().all(Option::is_none);
    let same = match NoteWord::of(&op.fact) {
        // The same text again is a word on the matter.
        Some(NoteWord::Noted(note)) => note.ends.contains(&op.seq),
        Some(NoteWord::Unnoted(_)) | None => before == after,
    };
    let quiet = same || (nothing(&before) && nothing(&after));
    (!quiet).then(|| Event { seq: op.seq, stamp_ms: op.stamp_ms, kind: EventKind::Note(Arc::new(now)) })
}
