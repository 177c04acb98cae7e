//! A host without configured peers, as a cluster: it is the only member and owns every shard outright. There is no ledger
//! and nothing to change; every change is refused with what to configure first.

use std::sync::Arc;

use api::cluster::{
    Cluster, ClusterError, ClusterStatus, Doing, HashringStatus, MemberStatus, OriginStatus, PoolShards, ShardOrder,
    ShardStatus, Standing, Vote,
};
use kernel::{MemberId, Pool, Ring, RingMember};
use store::Identity;
use view::View;

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
}

impl Alone {
    pub(crate) fn new(identity: Identity, weight: u32, view: Arc<View>) -> Self {
        Self { identity, weight, view }
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

fn owned(pool: &Pool) -> PoolShards {
    let shard = |shard: &kernel::Shard| ShardStatus {
        shard: shard.id,
        epoch: shard.epoch.0,
        owner: ME,
        wished: ME,
        kind: "escrow".to_owned(),
        state: "held".to_owned(),
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
            warnings: Vec::new(),
        }
    }

    fn hashring(&self) -> HashringStatus {
        let ring = Ring::new([RingMember { id: ME, weight: self.weight }], Ring::VIRTUAL_NODES);
        HashringStatus {
            virtual_nodes: Ring::VIRTUAL_NODES,
            points: ring.points().collect(),
            pools: self.view.pools(None).iter().map(|pool| owned(pool)).collect(),
        }
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

    fn remove(&self, _: String, _: String) -> Doing<ClusterStatus> {
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
}
