//! The cluster as operators see and change it.
//!
//! What a change means and whether it may be is the [`Cluster`]'s own business; here it is checked who asks and that the
//! words of the request are well formed. Members are all tenants' business, pools are not: the hashring shows a caller its
//! tenant's pools only.

use std::collections::BTreeSet;

use kernel::{NodeId, PoolId, ShardId};

use super::App;
use super::caller::{Caller, Role};
use super::error::{AppError, Fault};
use crate::cluster::{Cluster, ClusterError, ClusterStatus, Doing, HashringStatus, QuarantineOrder, ShardOrder};
use crate::ports::BackupPiece;

/// Longest reason and address, in bytes.
const MOST_TEXT: usize = 512;

/// Most shards of one order: more than any pool should be cut into.
const MOST_SHARDS: usize = 65_536;

/// Who asked, where no tokens were configured and anybody may.
const NOBODY: &str = "a caller without a token";

/// Shards that shall have another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsInput {
    pub pool: PoolId,
    pub shards: Vec<ShardId>,
    /// The new owner's node id or member number.
    pub to: String,
    /// Why; a seizure needs it.
    pub reason: String,
}

impl App {
    /// The cluster as this host sees it.
    pub fn cluster_status(&self, caller: &Caller) -> Result<ClusterStatus, AppError> {
        caller.needs(Role::Read)?;
        Ok(shown_to(caller, self.cluster.status()))
    }

    /// The hashring, and who owns the shards of the tenant's pools, or of one of them.
    pub fn hashring(&self, caller: &Caller, pool: Option<&PoolId>) -> Result<HashringStatus, AppError> {
        caller.needs(Role::Read)?;
        if let Some(pool) = pool {
            self.pool_of(caller, pool)?;
        }
        let mut ring = self.cluster.hashring();
        ring.pools.retain(|shown| {
            shown.tenant == caller.tenant.as_str() && pool.is_none_or(|pool| shown.pool_id == pool.as_str())
        });
        Ok(ring)
    }

    /// Forms the ledger with this host as its only member.
    pub async fn init_cluster(&self, caller: &Caller) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "init", "", |cluster| Ok(cluster.init())).await
    }

    /// Makes this host a member of the cluster that the host at the address (or any configured peer) belongs to.
    pub async fn join_cluster(&self, caller: &Caller, address: Option<String>) -> Result<ClusterStatus, AppError> {
        let address = address.filter(|address| !address.is_empty());
        let about = address.clone().unwrap_or_default();
        self.change_members(caller, "join", &about, |cluster| {
            let address = address.map(|address| text("address", address)).transpose()?;
            Ok(cluster.join(address))
        })
        .await
    }

    /// Gives up all of this host's shards and leaves.
    pub async fn leave_cluster(&self, caller: &Caller) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "leave", "", |cluster| Ok(cluster.leave())).await
    }

    /// Lets a member vote.
    pub async fn promote_member(&self, caller: &Caller, member: &str) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "promote", member, |cluster| Ok(cluster.promote(named("member", member)?))).await
    }

    /// Lets a member vote no more.
    pub async fn demote_member(&self, caller: &Caller, member: &str) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "demote", member, |cluster| Ok(cluster.demote(named("member", member)?))).await
    }

    /// Removes a member that is lost.
    pub async fn remove_member(&self, caller: &Caller, member: &str, reason: &str) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "remove", member, |cluster| {
            let (member, reason) = (named("member", member)?, why(reason)?);
            Ok(cluster.remove(member, reason, by(caller).to_owned()))
        })
        .await
    }

    /// Gives a member no new shards and moves those it has elsewhere.
    pub async fn drain_member(&self, caller: &Caller, member: &str) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "drain", member, |cluster| Ok(cluster.drain(named("member", member)?, true))).await
    }

    /// Gives a drained member shards again.
    pub async fn undrain_member(&self, caller: &Caller, member: &str) -> Result<ClusterStatus, AppError> {
        self.change_members(caller, "undrain", member, |cluster| Ok(cluster.drain(named("member", member)?, false)))
            .await
    }

    /// Moves shards to another owner, which both owners agree to; says how many.
    pub async fn move_shards(&self, caller: &Caller, input: ShardsInput) -> Result<u64, AppError> {
        let about = input.pool.to_string();
        self.change(caller, "move shards of", &about, |cluster| Ok(cluster.move_shards(self.order(caller, input)?)))
            .await
    }

    /// Takes shards from a lost owner by force; says how many.
    pub async fn seize_shards(&self, caller: &Caller, input: ShardsInput) -> Result<u64, AppError> {
        let about = input.pool.to_string();
        self.change(caller, "seize shards of", &about, |cluster| {
            let reason = why(&input.reason)?;
            Ok(cluster.seize_shards(self.order(caller, ShardsInput { reason, ..input })?))
        })
        .await
    }

    /// Hands out again of this host's quarantined shards of a pool; says how many.
    pub async fn end_quarantine(&self, caller: &Caller, pool: &PoolId, reason: &str) -> Result<u64, AppError> {
        let about = pool.to_string();
        self.change(caller, "end the quarantine of", &about, |cluster| {
            let reason = reason.trim();
            if reason.is_empty() {
                let remedy = "must say why nobody holds what was handed out unheard: it is kept in the log";
                return Err(AppError::missing("reason", remedy));
            }
            let reason = text("reason", reason.to_owned())?;
            self.pool_of(caller, pool)?;
            let (tenant, by) = (caller.tenant.to_string(), by(caller).to_owned());
            Ok(cluster.end_quarantine(QuarantineOrder { tenant, pool_id: pool.to_string(), reason, by }))
        })
        .await
    }

    /// Begins a backup of this host.
    pub fn backup(&self, caller: &Caller) -> Result<tokio::sync::mpsc::Receiver<BackupPiece>, AppError> {
        caller.needs(Role::Admin)?;
        let pieces = self.backups.begin().map_err(|why| AppError::BackupRefused { why })?;
        tracing::info!(by = by(caller), "a backup was asked for");
        Ok(pieces)
    }

    /// Whoever asked may go away meanwhile: what was begun comes to its end all the same, because a half-done change would
    /// have to be found and mended by hand.
    async fn change<T: Send + 'static>(
        &self,
        caller: &Caller,
        what: &str,
        about: &str,
        ask: impl FnOnce(&dyn Cluster) -> Result<Doing<T>, AppError>,
    ) -> Result<T, AppError> {
        caller.needs(Role::Admin)?;
        let doing = ask(&*self.cluster)?;
        tracing::info!(what, about, by = by(caller), "a change of the cluster was asked for");
        match tokio::spawn(doing).await {
            Ok(outcome) => Ok(outcome?),
            Err(ended) => Err(ClusterError::Unknown(format!("the change did not come to its end: {ended}")).into()),
        }
    }

    /// The same for what changes the members: the cluster as it is then.
    async fn change_members(
        &self,
        caller: &Caller,
        what: &str,
        about: &str,
        ask: impl FnOnce(&dyn Cluster) -> Result<Doing<ClusterStatus>, AppError>,
    ) -> Result<ClusterStatus, AppError> {
        let status = self.change(caller, what, about, ask).await?;
        Ok(shown_to(caller, status))
    }

    fn order(&self, caller: &Caller, input: ShardsInput) -> Result<ShardOrder, AppError> {
        let ShardsInput { pool, shards, to, reason } = input;
        let to = named("to", &to)?;
        let reason = if reason.is_empty() { reason } else { text("reason", reason)? };
        if shards.is_empty() {
            return Err(AppError::missing("shards", "must name at least one shard"));
        }
        if shards.len() > MOST_SHARDS {
            let remedy = format!("must name at most {MOST_SHARDS} shards");
            return Err(AppError::invalid("shards", format_args!("{} shards", shards.len()), remedy));
        }
        let found = self.pool_of(caller, &pool)?;
        let there: BTreeSet<ShardId> = found.shards.iter().map(|shard| shard.id).collect();
        let asked: BTreeSet<ShardId> = shards.into_iter().collect();
        if let Some(absent) = asked.difference(&there).next() {
            let range = there.first().zip(there.last());
            let range = range.map_or_else(String::new, |(first, last)| format!(" ({first} to {last})"));
            return Err(AppError::invalid("shards", absent, format!("must be a shard of pool {pool}{range}")));
        }
        let tenant = caller.tenant.to_string();
        let by = by(caller).to_owned();
        Ok(ShardOrder { tenant, pool_id: pool.to_string(), shards: asked.into_iter().collect(), to, reason, by })
    }
}

/// Without what was done to other tenants' pools.
fn shown_to(caller: &Caller, mut status: ClusterStatus) -> ClusterStatus {
    status.orders.retain(|order| order.tenant.as_deref().is_none_or(|tenant| tenant == caller.tenant.as_str()));
    status
}

fn by(caller: &Caller) -> &str {
    caller.name.as_deref().unwrap_or(NOBODY)
}

/// A member's node id or number; both read as a node id.
fn named(field: &str, raw: &str) -> Result<String, AppError> {
    match raw.parse::<NodeId>() {
        Ok(_) => Ok(raw.to_owned()),
        Err(why) => {
            let remedy = format!("must be a member's node id or number, as in the list of members: {why}");
            Err(AppError::invalid(field, raw, remedy))
        }
    }
}

/// A reason that must be there: it is kept in the ledger, for whoever asks later.
fn why(reason: &str) -> Result<String, AppError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(AppError::missing("reason", "must say why, for whoever asks later: it is kept in the ledger"));
    }
    text("reason", reason.to_owned())
}

fn text(field: &str, raw: String) -> Result<String, AppError> {
    if raw.len() <= MOST_TEXT && !raw.chars().any(char::is_control) {
        return Ok(raw);
    }
    let remedy = format!("must have at most {MOST_TEXT} bytes and no control characters");
    Err(AppError::Invalid(vec![Fault::new(field, raw, remedy)]))
}
