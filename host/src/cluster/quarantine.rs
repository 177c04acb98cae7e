//! An operator's word that nobody holds what was handed out unheard of shards that this host holds.

use std::collections::BTreeMap;

use api::cluster::{ClusterError, QuarantineOrder};
use kernel::ShardId;
use kernel::ledger::LedgerCommand;

use super::Cluster;
use super::office::{decide, pool_named};

impl Cluster {
    /// Hands out again of this host's quarantined shards of a pool.
    pub(super) async fn end_quarantine_now(&self, order: QuarantineOrder) -> Result<u64, ClusterError> {
        let QuarantineOrder { tenant, pool_id, reason, by } = order;
        let seat = self.needs_seat()?;
        let ledger = seat.book.ledger();
        let pool = pool_named(&ledger, &tenant, &pool_id)?;
        let mut by_epoch: BTreeMap<kernel::Epoch, Vec<ShardId>> = BTreeMap::new();
        for (shard, grant) in ledger.pool(pool).iter().flat_map(|pool| pool.grants.iter()) {
            if grant.holder == seat.me && grant.is_doubtful() {
                by_epoch.entry(grant.epoch).or_default().push(shard);
            }
        }
        if by_epoch.is_empty() {
            return Err(ClusterError::Refused(format!(
                "no shard of pool {pool_id} that this host holds is quarantined: nexus shard list says which host holds which"
            )));
        }
        let (mut ended, member) = (0, seat.me);
        for (epoch, shards) in by_epoch {
            ended += shards.len() as u64;
            decide(&seat, LedgerCommand::Released { pool, shards, member, epoch }).await?;
        }
        tracing::warn!(pool = pool_id, shards = ended, reason, by, "a quarantine is ended by an operator");
        Ok(ended)
    }
}
