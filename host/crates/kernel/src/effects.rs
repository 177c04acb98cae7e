//! What steps ask of the world, gathered for a whole commit group. Replies can be reached only through `persist`.

use std::sync::Arc;

use crate::allocation::Allocation;
use crate::command::{CommandError, Reply, RequestId};
use crate::fact::{Fact, Op};
use crate::id::{PoolUid, RealmUid};
use crate::pool::Occupancy;

/// An answer and whom it goes to.
pub type Answer = (RequestId, Result<Reply, CommandError>);

/// The effects of a commit group: what must be on disk before anybody hears of it, and what is said then.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) writes: Vec<Op>,
    pub(crate) replies: Vec<Answer>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) occupancy: Vec<((PoolUid, RealmUid), Occupancy)>,
}

/// Something an operator should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Boot and wall clock parted by so many milliseconds, or the wall clock is behind the log: expiry stopped.
    ClockSuspect { apart_ms: u64 },
    /// The clocks agree again: expiry goes on.
    ClockTrusted,
    /// Another host wrote what contradicts what is known ([`Kernel::conflicts`](crate::Kernel::conflicts)).
    Conflict,
    /// Two hosts wrote one note and neither knew of the other's write ([`Kernel::notes`](crate::Kernel::notes)).
    NoteConflict,
}

/// What may be said, now that the writes are on disk.
#[derive(Debug)]
pub struct Durable<W> {
    /// What writing them gave back (the read view applies it).
    pub written: W,
    pub replies: Vec<Answer>,
    pub notices: Vec<Notice>,
    /// How full every touched (pool, realm) is after the group.
    pub occupancy: Vec<((PoolUid, RealmUid), Occupancy)>,
}

impl Effects {
    /// The only way to the replies: nobody hears of an allocation we could forget.
    pub fn persist<W, E>(self, write: impl FnOnce(Vec<Op>) -> Result<W, E>) -> Result<Durable<W>, E> {
        let written = write(self.writes)?;
        Ok(Durable { written, replies: self.replies, notices: self.notices, occupancy: self.occupancy })
    }

    /// The requests from `first` on that another host must decide. That is no answer and rests on nothing that is written, so
    /// they may go on at once.
    pub fn take_detours(&mut self, first: RequestId) -> Vec<(RequestId, CommandError)> {
        let from = self.replies.iter().rposition(|(request, _)| *request < first).map_or(0, |before| before + 1);
        let mut detours = Vec::new();
        let mut at = from;
        while let Some((_, answer)) = self.replies.get(at) {
            if matches!(answer, Err(CommandError::Elsewhere { .. }))
                && let (request, Err(detour)) = self.replies.swap_remove(at)
            {
                detours.push((request, detour));
            } else {
                at += 1;
            }
        }
        detours
    }

    /// Who waits for this group, so that a group that could not be written can be refused by name.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.replies.iter().map(|(request, _)| *request)
    }

    /// The allocations that are written in this group, then those that are only answered, to be named before it is written.
    pub fn allocations(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        let written = self.writes.iter().filter_map(|op| match &op.fact {
            Fact::Held(allocation) => Some(allocation),
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Resting(_)
            | Fact::Free(_)
            | Fact::Reserved(_)
            | Fact::Unreserved { .. }
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => None,
        });
        let answered = self.replies.iter().filter_map(|(_, answer)| match answer {
            Ok(Reply::Allocated { allocation, created: false, .. } | Reply::Renewed { allocation, .. }) => {
                Some(allocation)
            }
            Ok(
                // It is among the writes.
                Reply::Allocated { created: true, .. }
                | Reply::PoolCreated(_)
                | Reply::PoolExists(_)
                | Reply::PoolWouldCreate(_)
                | Reply::PoolUpdated(_)
                | Reply::PoolWouldUpdate { .. }
                | Reply::PoolDeleted { .. }
                | Reply::Explained(_)
                | Reply::Released(_)
                | Reply::Reserved { .. }
                | Reply::Unreserved(_)
                | Reply::Noted
                | Reply::Heard(_)
                | Reply::Adopting(_)
                | Reply::Fingerprint(_)
                | Reply::NotePut { .. }
                | Reply::NoteDeleted(_),
            )
            | Err(_) => None,
        });
        written.chain(answered)
    }

    /// True if there is nothing to write, say or note.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.replies.is_empty() && self.notices.is_empty() && self.occupancy.is_empty()
    }

    /// How many operations are to be written.
    pub fn writes_len(&self) -> usize {
        self.writes.len()
    }
}
