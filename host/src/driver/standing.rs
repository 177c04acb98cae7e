//! What this host may answer for now, as the cluster says it, for whoever sends answers. It is told before the kernel is: an
//! answer that was decided in a term of ownership that is over does not leave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::{Allocation, Durability, Epoch, News, PoolUid, Reply, ShardId, Tenure};
use parking_lot::RwLock;

/// In which term each shard of a pool is, whose it is, and whether it is by a lease.
type Terms = BTreeMap<ShardId, (Epoch, Tenure, bool)>;

/// Who owns which shard, until when the node lease is good, and whether there is another host to wait for.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    shards: RwLock<BTreeMap<PoolUid, Terms>>,
    /// Boot milliseconds.
    lease_until_ms: AtomicU64,
    has_others: AtomicBool,
}

impl Standing {
    /// What the kernel will be told next. Older epochs than the known ones change nothing, as in the kernel.
    pub(crate) fn hear(&self, news: &News) {
        match news {
            News::Tenures { pool, tenures } => {
                let mut shards = self.shards.write();
                let known = shards.entry(*pool).or_default();
                for said in tenures {
                    let newer = known.get(&said.shard).is_none_or(|(epoch, ..)| *epoch <= said.epoch);
                    if newer {
                        known.insert(said.shard, (said.epoch, said.tenure, said.leased));
                    }
                }
            }
            News::PoolGone(pool) => _ = self.shards.write().remove(pool),
            News::NodeLease { until_ms } => self.lease_until_ms.store(*until_ms, Ordering::Release),
            News::Pool(_)
            | News::Sight(_)
            | News::Batch(_)
            | News::Stable { .. }
            | News::Snapshot(_)
            | News::SnapshotEnd { .. }
            | News::Fingerprint
            | News::QuarantineOver(_)
            | News::Members(_)
            | News::Seen { .. } => {}
        }
    }

    /// Whether other hosts could have what this one writes, reachable or not.
    pub(crate) fn has_others(&self) -> bool {
        self.has_others.load(Ordering::Acquire)
    }

    pub(crate) fn set_others(&self, others: bool) {
        self.has_others.store(others, Ordering::Release);
    }

    /// What an answer of a pool waits for, now.
    pub(super) fn wants(&self, ack: Option<Durability>) -> Durability {
        match ack {
            _ if !self.has_others() => Durability::Local,
            Some(level) => level,
            None => Durability::Peer,
        }
    }

    /// Whether a reply may still be given at this moment of the boot clock. Only what a shard's owner decides can grow old.
    pub(super) fn stands(&self, reply: &Reply, boot_ms: u64) -> bool {
        match reply {
            Reply::Allocated { allocation, created: true, .. } => self.may_hand_out(allocation, boot_ms),
            Reply::Allocated { allocation, created: false, .. }
            | Reply::Renewed { allocation, .. }
            | Reply::Released(allocation) => self.answers_for(allocation, boot_ms),
            Reply::PoolCreated(_)
            | Reply::PoolExists(_)
            | Reply::PoolWouldCreate(_)
            | Reply::PoolUpdated(_)
            | Reply::PoolWouldUpdate { .. }
            | Reply::PoolDeleted { .. }
            | Reply::Explained(_)
            | Reply::Reserved { .. }
            | Reply::Unreserved(_)
            | Reply::Noted
            | Reply::Heard(_)
            | Reply::Adopting(_)
            | Reply::Fingerprint(_)
            // Nobody allocates from them.
            | Reply::NotePut { .. }
            | Reply::NoteDeleted(_) => true,
        }
    }

    /// The term in which this host may answer for the allocation's shard now.
    fn answering(&self, of: &Allocation, boot_ms: u64) -> Option<Epoch> {
        let (epoch, tenure, leased) = self.shards.read().get(&of.pool)?.get(&of.shard).copied()?;
        let good = !leased || boot_ms < self.lease_until_ms.load(Ordering::Acquire);
        (!tenure.is_theirs() && good).then_some(epoch)
    }

    /// What was handed out counts in the very term it was handed out in. A shard that is only kept since then is being given
    /// away, with everything that was handed out before.
    fn may_hand_out(&self, of: &Allocation, boot_ms: u64) -> bool {
        self.answering(of, boot_ms) == Some(of.epoch)
    }

    /// What is held may have been handed out in an earlier term.
    fn answers_for(&self, of: &Allocation, boot_ms: u64) -> bool {
        self.answering(of, boot_ms).is_some_and(|epoch| epoch >= of.epoch)
    }
}

#[cfg(test)]
pub(super) mod tests;
