//! A host without configured peers, as a cluster: it is the only member and owns every shard outright. There is no ledger
//! and nothing to change; every change is refused with what to configure first.

use std::sync::Arc;

use api::cluster::{
    Cluster, ClusterError, ClusterStatus, Doing, HashringStatus, MemberStatus, OriginStatus, PoolShards,
    QuarantineOrder, ShardOrder, ShardStatus, Standing, Vote,
};
use api::engine::WeakEngine;
use kernel::{MemberId, Pool, Ring, RingMember};
use store::Identity;
use view::View;

use crate::cluster::Parts;
use crate::restored::Restored;

/// The number that the first member of a ledger gets, so that a host which forms one keeps it.
const ME: MemberId = MemberId(1);

/// What stands in the way of every change.
const FIRST: &str = "this host is alone: no peers are configured, so it owns every pool. To make a cluster, set p2p.peers \
                     (and, beyond loopback, p2p.cluster_key_file) on every host and start them again; then `nexus cluster \
                     init` on one host forms the cluster, and `nexus cluster join` on each other one adds it";

/// The cluster of a host that has no peers.
#[derive(Debug)]
pub(crate) struct Alone {
    identity: Identity,
    weight: u32,
    view: Arc<View>,
    restored: Arc<Restored>,
    engine: WeakEngine,
}

impl Alone {
    pub(crate) fn new(identity: Identity, weight: u32, parts: Parts) -> Self {
        let Parts { view, restored, engine, .. } = parts;
        Self { identity, weight, view, restored, engine }
    }

    fn myself(&self) -> MemberStatus {
        let shards = self.view.pools(None).iter().map(|pool| pool.shards.len() as u64).sum();
        MemberStatus {
            member: ME,
            node: self.identity.node.to_string(),
            role: "core".to_owned(),
            vote: Vote::Voter,
            weight: self.weight,
            peer: String::new(),
            addresses: Vec::new(),
            reachable: true,
            draining: false,
            deposed: false,
            shards,
            escrow: shards,
            behind: Some(0),
        }
    }
}

fn refuse<T: Send + 'static>() -> Doing<T> {
    Box::pin(async { Err(ClusterError::Refused(FIRST.to_owned())) })
}

fn owned(pool: &Pool, quarantined: bool) -> PoolShards {
    let shard = |shard: &kernel::Shard| ShardStatus {
        shard: shard.id,
        epoch: shard.epoch.0,
        owner: ME,
        wished: ME,
        kind: "escrow".to_owned(),
        state: if quarantined { "quarantined" } else { "held" }.to_owned(),
    };
    PoolShards {
        uid: pool.uid,
        pool_id: pool.draft.id.to_string(),
        tenant: pool.draft.tenant.to_string(),
        shards: pool.shards.iter().map(shard).collect(),
    }
}

impl Cluster for Alone {
    fn status(&self) -> ClusterStatus {
        let origin = self.identity.origin;
        let through = *self.view.committed().borrow();
        ClusterStatus {
            standing: Standing::Alone,
            cluster_id: Some(format!("{:032x}", self.identity.cluster)),
            node: self.identity.node.to_string(),
            member: Some(ME),
            peer: String::new(),
            addresses: Vec::new(),
            ledger: None,
            members: vec![self.myself()],
            digest: String::new(),
            vector: vec![OriginStatus {
                host: format!("{:016x}", origin.identity),
                incarnation: u64::from(origin.incarnation),
                through,
            }],
            orders: Vec::new(),
            warnings: self.restored.warnings(),
        }
    }

    fn hashring(&self) -> HashringStatus {
        let ring = Ring::new([RingMember { id: ME, weight: self.weight }], Ring::VIRTUAL_NODES);
        HashringStatus {
            virtual_nodes: Ring::VIRTUAL_NODES,
            points: ring.points().collect(),
            pools: self.view.pools(None).iter().map(|pool| owned(pool, self.restored.has(pool.uid))).collect(),
        }
    }

    fn quarantined_shards(&self, pool: &Pool) -> usize {
        if self.restored.has(pool.uid) { pool.shards.len() } else { 0 }
    }

    fn init(&self) -> Doing<ClusterStatus> {
        refuse()
    }

    fn join(&self, _: Option<String>) -> Doing<ClusterStatus> {
        refuse()
    }

    fn leave(&self) -> Doing<ClusterStatus> {
        refuse()
    }

    fn promote(&self, _: String) -> Doing<ClusterStatus> {
        refuse()
    }

    fn demote(&self, _: String) -> Doing<ClusterStatus> {
        refuse()
    }

    fn remove(&self, _: String, _: String, _: String) -> Doing<ClusterStatus> {
        refuse()
    }

    fn drain(&self, _: String, _: bool) -> Doing<ClusterStatus> {
        refuse()
    }

    fn move_shards(&self, _: ShardOrder) -> Doing<u64> {
        refuse()
    }

    fn seize_shards(&self, _: ShardOrder) -> Doing<u64> {
        refuse()
    }

    fn end_quarantine(&self, order: QuarantineOrder) -> Doing<u64> {
        let QuarantineOrder { tenant, pool_id, reason, by } = order;
        let named = |pool: &Arc<Pool>| pool.draft.id.as_str() == pool_id && pool.draft.tenant.as_str() == tenant;
        let pool = self.view.pools(None).into_iter().find(named);
        let (restored, engine) = (Arc::clone(&self.restored), self.engine.clone());
        Box::pin(async move {
            let Some(pool) = pool.filter(|pool| restored.has(pool.uid)) else {
                return Err(ClusterError::Refused(format!("no shard of pool {pool_id} is quarantined")));
            };
            let ended = restored.end(pool.uid, &engine).await;
            ended.map_err(|error| ClusterError::Unavailable(format!("{error:#}")))?;
            tracing::warn!(pool = %pool.draft.id, reason, by, "the quarantine after the restore is ended by an operator");
            Ok(pool.shards.len() as u64)
        })
    }
}
