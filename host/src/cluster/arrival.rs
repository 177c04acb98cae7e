//! A host that comes to a cluster knows less than the others for a while. Until it has heard all that most voters, and
//! whoever else could be asked, knew when it came it is not ready, and it says nothing of the shards that an earlier life of
//! it held: it would repeat what was released meanwhile.

use kernel::ledger::{Ledger, LedgerPool};
use kernel::{Origin, ShardId};

use super::inquiry::known_to_most;
use super::seat::Seat;
use super::{Cluster, Vector};

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Arrival {
    /// Nobody has said yet what there is to hear.
    #[default]
    Asking,
    /// This has to be heard.
    Behind(Vector),
    /// All of it was.
    Done,
}

impl Cluster {
    /// Asks, or looks how far it is; called from time to time.
    pub(super) async fn arrive(&self, seat: &Seat, ledger: &Ledger) {
        if matches!(*self.inner.arrival.lock(), Arrival::Done) {
            return;
        }
        if matches!(*self.inner.arrival.lock(), Arrival::Asking)
            && let Some(known) = known_to_most(self, seat, ledger).await
        {
            *self.inner.arrival.lock() = Arrival::Behind(known);
        }
        let (own, here) = (self.inner.settings.origin, self.vector());
        let has = |(origin, through): (&Origin, &kernel::Seq)| {
            *origin == own || here.get(origin).is_some_and(|known| known >= through)
        };
        let mut arrival = self.inner.arrival.lock();
        if matches!(&*arrival, Arrival::Behind(known) if known.iter().all(has)) {
            *arrival = Arrival::Done;
            drop(arrival);
            self.inner.parts.vitals.arrives(false);
            self.inner.bell.notify_waiters();
        }
    }

    /// Whether this host may not speak of a shard yet that an earlier life of it held.
    pub(super) fn lacks_former_life(&self, pool: &LedgerPool, shard: ShardId) -> bool {
        let own = self.inner.settings.origin;
        let former = |origin: Origin| origin.host == own.host && origin != own;
        pool.awaited(shard).any(former) && !matches!(*self.inner.arrival.lock(), Arrival::Done)
    }
}
