//! What a host may answer for now, by the news alone: looked at again when an answer leaves, for its records may have been on
//! their way to the disk for longer than the term lasted that it was decided in.
//!
//! The kernel does not look here. Whoever sends answers keeps one of these, and tells it the news before the kernel.

use std::collections::BTreeMap;

use crate::allocation::Allocation;
use crate::command::{News, Reply};
use crate::id::{Epoch, PoolUid, ShardId};
use crate::tenure::{ShardTenure, Tenure};

/// Whose shards are whose, in which term, and until when the node lease is good. A new one answers for nothing.
///
/// ```
/// use std::sync::Arc;
///
/// use kernel::{
///     Allocation, AllocationKind, AllocationParts, Epoch, News, PoolUid, RealmUid, Reply, Seq, ShardId, ShardTenure, Span,
///     Standing, Tenure,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (pool, shard, epoch) = (PoolUid(1), ShardId(0), Epoch(1));
/// let mine = ShardTenure { shard, epoch, tenure: Tenure::Leased, leased: true, doubtful: false };
/// let mut standing = Standing::default();
/// standing.hear(&News::Tenures { pool, tenures: vec![mine] });
/// standing.hear(&News::NodeLease { until_ms: 60_000 });
///
/// let released = Allocation::new(AllocationParts {
///     span: Span::new(0x0a00_0000, 1).ok_or("not empty")?,
///     subscriber: "00:11:22:33:44:55".parse()?,
///     pool,
///     realm: RealmUid(1),
///     shard,
///     epoch,
///     created_ms: 1_800_000_000_000,
///     renewed_ms: 1_800_000_000_000,
///     expires_ms: None,
///     seq: Seq(1),
///     node: None,
///     extra: None,
///     kind: AllocationKind::Session,
/// });
/// let reply = Reply::Released(Arc::new(released));
/// assert!(standing.stands(&reply, 59_999));
/// assert!(!standing.stands(&reply, 60_000), "the node lease is over");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Standing {
    shards: BTreeMap<PoolUid, Terms>,
    /// Boot milliseconds.
    lease_until_ms: u64,
}

/// In which term each shard of a pool is, whose it is, and whether it is by a lease.
type Terms = BTreeMap<ShardId, (Epoch, Tenure, bool)>;

impl Standing {
    /// What the kernel will be told next. Older epochs than the known ones change nothing, as in the kernel.
    pub fn hear(&mut self, news: &News) {
        match news {
            News::Tenures { pool, tenures } => {
                let known = self.shards.entry(*pool).or_default();
                for ShardTenure { shard, epoch, tenure, leased, .. } in tenures {
                    if known.get(shard).is_none_or(|(before, ..)| before <= epoch) {
                        known.insert(*shard, (*epoch, *tenure, *leased));
                    }
                }
            }
            News::PoolGone(pool) => _ = self.shards.remove(pool),
            News::NodeLease { until_ms } => self.lease_until_ms = *until_ms,
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

    /// Whether a reply may still be given at this moment of the boot clock. Only what a shard's owner decides can grow old.
    pub fn stands(&self, reply: &Reply, boot_ms: u64) -> bool {
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
        let (epoch, tenure, leased) = self.shards.get(&of.pool)?.get(&of.shard).copied()?;
        let good = !leased || boot_ms < self.lease_until_ms;
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::allocation::{AllocationKind, AllocationParts};
    use crate::id::{MemberId, RealmUid, Seq};
    use crate::pool::Durability;
    use crate::span::Span;

    /// What is handed out from shard 0 of pool 1 in its first epoch.
    fn held() -> Arc<Allocation> {
        Arc::new(Allocation::new(AllocationParts {
            span: Span::new(10, 1).unwrap(),
            subscriber: "line-1".parse().unwrap(),
            pool: PoolUid(1),
            realm: RealmUid(1),
            shard: ShardId(0),
            epoch: Epoch(1),
            created_ms: 1_000,
            renewed_ms: 1_000,
            expires_ms: None,
            seq: Seq(5),
            node: None,
            extra: None,
            kind: AllocationKind::Permanent,
        }))
    }

    fn told(standing: &mut Standing, epoch: u32, tenure: Tenure) {
        let leased = tenure == Tenure::Leased;
        let tenure = ShardTenure { shard: ShardId(0), epoch: Epoch(epoch), tenure, leased, doubtful: false };
        standing.hear(&News::Tenures { pool: PoolUid(1), tenures: vec![tenure] });
    }

    /// Whether (a new allocation, a repeat, a renewal, a release) of the first epoch may be answered.
    fn stands(standing: &Standing, boot_ms: u64) -> [bool; 4] {
        let durability = Durability::Local;
        let [new, again, renewed, released] = std::array::from_fn(|_| held());
        [
            Reply::Allocated { allocation: new, created: true, durability },
            Reply::Allocated { allocation: again, created: false, durability },
            Reply::Renewed { allocation: renewed, durability },
            Reply::Released(released),
        ]
        .map(|reply| standing.stands(&reply, boot_ms))
    }

    #[test]
    fn nothing_is_answered_from_a_shard_that_is_not_known_to_be_ours() {
        let mut standing = Standing::default();
        assert_eq!(stands(&standing, 0), [false; 4]);
        told(&mut standing, 1, Tenure::Escrow);
        assert_eq!(stands(&standing, 0), [true; 4]);
        told(&mut standing, 2, Tenure::Theirs(MemberId(2)));
        assert_eq!(stands(&standing, 0), [false; 4]);
        standing.hear(&News::PoolGone(PoolUid(1)));
        assert_eq!(stands(&standing, 0), [false; 4]);
    }

    #[test]
    fn an_older_word_changes_nothing() {
        let mut standing = Standing::default();
        told(&mut standing, 2, Tenure::Theirs(MemberId(2)));
        told(&mut standing, 1, Tenure::Escrow);
        assert_eq!(stands(&standing, 0), [false; 4]);
    }

    #[test]
    fn what_was_handed_out_in_a_former_term_is_not_new_in_this_one() {
        let mut standing = Standing::default();
        told(&mut standing, 3, Tenure::Escrow);
        assert_eq!(stands(&standing, 0), [false, true, true, true]);
    }

    #[test]
    fn a_shard_that_is_given_away_still_answers_for_what_was_handed_out() {
        let mut standing = Standing::default();
        told(&mut standing, 1, Tenure::Kept);
        assert_eq!(stands(&standing, 0), [true; 4]);
    }

    #[test]
    fn nothing_of_a_leased_shard_leaves_after_the_node_lease() {
        let mut standing = Standing::default();
        told(&mut standing, 1, Tenure::Leased);
        assert_eq!(stands(&standing, 0), [false; 4]);
        standing.hear(&News::NodeLease { until_ms: 1_000 });
        assert_eq!(stands(&standing, 999), [true; 4]);
        assert_eq!(stands(&standing, 1_000), [false; 4]);
    }
}
