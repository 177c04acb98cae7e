//! Answers whose pool asks that another host has them too: they leave the flusher here, so that the next group is written
//! while they wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::engine::{EngineError, Outcome};
use kernel::{CommandError, Durability, PoolUid, Reply, Seq};
use tokio::sync::mpsc;
use view::View;

use super::group::Waiter;
use super::standing::Standing;
use crate::clock;

/// The longest an answer waits for another host.
pub(crate) const ACK_WITHIN: Duration = Duration::from_millis(200);

/// Groups handed over and not yet taken up. When it is full the flusher waits; each wait ends with [`ACK_WITHIN`].
const HANDED_OVER: usize = 1;

/// Where answers leave, in a cluster.
#[derive(Debug)]
pub(crate) struct Courier {
    standing: Arc<Standing>,
    parcels: mpsc::Sender<Parcel>,
}

/// The answers of one group that wait for another host.
#[derive(Debug)]
pub(crate) struct Parcel {
    standing: Arc<Standing>,
    waiters: Vec<Waiter>,
    /// Whoever has this host's operations through here has everything that is answered.
    through: Seq,
    until: Instant,
}

impl Courier {
    /// A courier, and what it brings.
    pub(crate) fn new(standing: Arc<Standing>) -> (Self, mpsc::Receiver<Parcel>) {
        let (parcels, brought) = mpsc::channel(HANDED_OVER);
        (Self { standing, parcels }, brought)
    }

    /// Sends the answers of a group whose records are on the disk: at once, or when another host has them.
    pub(super) fn send(&self, answered: Vec<Waiter>, view: &View) {
        let mut waiters = Vec::new();
        let mut through = Seq::default();
        for waiter in answered {
            match self.waits_for(&waiter, view) {
                None => leave(waiter, &self.standing, None),
                Some(seq) => {
                    through = through.max(seq);
                    waiters.push(waiter);
                }
            }
        }
        if waiters.is_empty() {
            return;
        }
        let parcel =
            Parcel { standing: Arc::clone(&self.standing), waiters, through, until: Instant::now() + ACK_WITHIN };
        if let Err(mpsc::error::SendError(parcel)) = self.parcels.blocking_send(parcel) {
            // Nobody waits any more: this host leaves the network before it stops.
            parcel.leave(Durability::Local);
        }
    }

    /// The last operation that another host must have; `None`: nothing has to wait.
    fn waits_for(&self, waiter: &Waiter, view: &View) -> Option<Seq> {
        if !self.standing.has_others() {
            return None;
        }
        let peer = |uid: PoolUid| {
            let pool = view.pool_by_uid(uid);
            pool.is_some_and(|pool| self.standing.wants(pool.draft.terms.ack) == Durability::Peer)
        };
        let waits = |outcome: &Outcome| match outcome {
            Ok(Ok(Reply::Allocated { allocation, .. } | Reply::Renewed { allocation, .. })) => {
                peer(allocation.pool).then_some(allocation.seq())
            }
            Ok(Ok(Reply::Reserved { reservation, .. })) => peer(reservation.pool).then_some(reservation.seq),
            // Which operation ended it the answer does not tell; it is in this group.
            Ok(Ok(Reply::Released(ended))) => peer(ended.pool).then(|| view.last_word()),
            Ok(Ok(Reply::Unreserved(ended))) => peer(ended.pool).then(|| view.last_word()),
            // It waits for more than one, and is asked for again.
            Ok(Err(CommandError::Unconfirmed { seq, .. })) => Some(*seq),
            Ok(Ok(_) | Err(_)) | Err(_) => None,
        };
        waiter.outcomes().filter_map(waits).max()
    }
}

impl Parcel {
    /// How far another host must have this host's operations.
    pub(crate) const fn through(&self) -> Seq {
        self.through
    }

    /// Until when it waits.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn answers(&self) -> usize {
        self.waiters.len()
    }

    /// Sends the answers; what is no longer this host's to answer is refused.
    pub(crate) fn leave(self, reached: Durability) {
        let through = (reached == Durability::Peer).then_some(self.through);
        for waiter in self.waiters {
            leave(waiter, &self.standing, through);
        }
    }
}

/// Looks again whether this host still decides, and says how durable each answer is: another host has the operations
/// `through` here.
fn leave(mut waiter: Waiter, standing: &Standing, through: Option<Seq>) {
    let boot_ms = clock::boot_ms();
    for outcome in waiter.outcomes_mut() {
        if let Ok(Ok(reply)) = outcome
            && !standing.stands(reply, boot_ms)
        {
            *outcome = Err(EngineError::OwnerChanged);
        }
        if let Ok(Ok(Reply::Allocated { allocation, durability, .. } | Reply::Renewed { allocation, durability })) =
            outcome
            && through.is_some_and(|through| allocation.seq() <= through)
        {
            *durability = Durability::Peer;
        }
    }
    waiter.send();
}

#[cfg(test)]
mod tests;
