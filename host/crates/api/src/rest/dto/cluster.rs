//! The cluster: status, members, hashring, and what an operator asks of it.

use kernel::{PoolId, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::{AppError, Reader, ShardsInput, rfc3339};
use crate::cluster::{
    ClusterStatus, HashringStatus, LedgerStatus, MemberStatus, OrderStatus, OriginStatus, PoolShards, ShardStatus,
};

/// The cluster as this host sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterStatus, example = json!({"standing": "member", "cluster_id": "0af7651916cd43dd8448eb211c80319c", "node_id": "core-1", "member": 1, "peer": "12D3KooWQv1", "addresses": ["192.0.2.1:33123"], "ledger": {"leader": 1, "term": 3, "committed": 120, "applied": 120, "majority": true}, "members": [{"member": 1, "node_id": "core-1", "role": "core", "vote": "voter", "weight": 1, "peer": "12D3KooWQv1", "addresses": ["192.0.2.1:33123"], "reachable": true, "draining": false, "deposed": false, "shards": 512, "escrow": 512, "behind": 0}], "digest": "9f86d081884c7d659a2feaa0c55ad015", "vector": [{"host": "5be8dde2a1c4f036", "incarnation": 1, "through": 4711}], "orders": [], "warnings": ["2 voters: if either is lost, nothing can be decided; add a third"]}))]
pub(crate) struct ClusterBody<'a> {
    /// `alone` (no peers are configured: this host owns everything), `waiting` (to be joined, or for the ledger to be
    /// formed), `member`, or `removed` (it must come again as a new host).
    standing: &'static str,
    /// 128 bits, hexadecimal; absent while the host waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<&'a str>,
    /// This host.
    node_id: &'a str,
    /// Its number; absent while it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<u32>,
    /// Its name between hosts; absent where it speaks to none.
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: &'a str,
    /// Where it listens for other hosts.
    addresses: &'a [String],
    /// The replicated log of decisions; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<LedgerBody>,
    members: Vec<MemberBody<'a>>,
    /// Fingerprint of what is allocated and reserved, hexadecimal: hosts that heard the same of every other host have the
    /// same. Absent where nothing is replicated.
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
    /// How far each host's operations are known here.
    vector: Vec<OriginBody<'a>>,
    /// What operators took by force lately, the last first: at most 16.
    orders: Vec<OrderBody<'a>>,
    /// What an operator should look at, in sentences.
    warnings: &'a [String],
}

/// What was done by an operator's word.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterOrder, example = json!({"at": "2026-01-01T00:00:00.000Z", "what": "shards 1-3,7 of pool isp-east were seized from core-3 for core-1", "reason": "core-3 burnt down, ticket 4711", "by": "ann"}))]
pub(crate) struct OrderBody<'a> {
    /// When it was ordered.
    at: String,
    /// What was done, in a sentence.
    what: &'a str,
    reason: &'a str,
    /// Whose word it was: the name of a token.
    by: &'a str,
}

/// The replicated log of decisions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ledger, example = json!({"leader": 1, "term": 3, "committed": 120, "applied": 120, "majority": true}))]
pub(crate) struct LedgerBody {
    /// The leader's member number, if one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<u32>,
    term: u64,
    /// The last decision that is known to stand, and the last that this host follows.
    committed: u64,
    applied: u64,
    /// Whether this host has heard from a majority lately.
    majority: bool,
}

/// One host of the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterMember, example = json!({"member": 2, "node_id": "core-2", "role": "core", "vote": "learner", "weight": 1, "peer": "12D3KooWQv2", "addresses": ["192.0.2.2:33123"], "reachable": true, "draining": false, "deposed": false, "shards": 512, "escrow": 500, "behind": 3}))]
pub(crate) struct MemberBody<'a> {
    member: u32,
    node_id: &'a str,
    /// `core`, `write`, `read` or `edge`.
    role: &'a str,
    /// `voter` or `learner`.
    vote: &'static str,
    weight: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    peer: &'a str,
    addresses: &'a [String],
    /// Whether this host is connected to it now.
    reachable: bool,
    draining: bool,
    /// It was cut off so long that others may have taken its leased shards.
    deposed: bool,
    /// Shards it holds over all pools, and how many of them outright.
    shards: u64,
    escrow: u64,
    /// Operations of it that this host has not heard; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<u64>,
}

/// How far a host's operations are known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OriginProgress, example = json!({"host": "5be8dde2a1c4f036", "incarnation": 1, "through": 4711}))]
pub(crate) struct OriginBody<'a> {
    host: &'a str,
    incarnation: u64,
    /// Every operation up to this one.
    through: u64,
}

/// The hashring.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hashring, example = json!({"virtual_nodes": 150, "points": [{"at": "00a1b2c3d4e5f607", "member": 1}], "pools": [{"pool_id": "isp-east", "tenant": "default", "pool": 1, "shards": [{"shard": 0, "epoch": 1, "owner": 1, "wished": 1, "kind": "escrow", "state": "held"}]}]}))]
pub(crate) struct HashringBody<'a> {
    /// Of a host of weight 1.
    virtual_nodes: u32,
    /// The virtual nodes in order.
    points: Vec<PointBody>,
    /// The tenant's pools.
    pools: Vec<PoolShardsBody<'a>>,
}

/// A virtual node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RingPoint, example = json!({"at": "00a1b2c3d4e5f607", "member": 1}))]
pub(crate) struct PointBody {
    /// Where on the ring: 64 bits, hexadecimal, because many readers of JSON round such numbers.
    at: String,
    member: u32,
}

/// Who owns a pool's shards, and who should.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PoolShards, example = json!({"pool_id": "isp-east", "tenant": "default", "pool": 1, "shards": [{"shard": 0, "epoch": 1, "owner": 1, "wished": 1, "kind": "escrow", "state": "held"}]}))]
pub(crate) struct PoolShardsBody<'a> {
    pool_id: &'a str,
    tenant: &'a str,
    /// The pool's number, as in an answer's `fence`.
    pool: u32,
    shards: Vec<ShardBody<'a>>,
}

/// One shard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShardOwner, example = json!({"shard": 0, "epoch": 1, "owner": 1, "wished": 1, "kind": "escrow", "state": "held"}))]
pub(crate) struct ShardBody<'a> {
    shard: u32,
    /// The term of ownership.
    epoch: u32,
    /// The owner's member number.
    owner: u32,
    /// Where it is to live: where it does, unless it has to move.
    wished: u32,
    /// `escrow` (owned whatever becomes of the others) or `leased` (as long as the node's lease is good).
    kind: &'a str,
    /// `held`, `closing`, `quarantined` or `forced`.
    state: &'a str,
}

impl<'a> ClusterBody<'a> {
    pub(crate) fn of(status: &'a ClusterStatus) -> Self {
        Self {
            standing: status.standing.as_str(),
            cluster_id: status.cluster_id.as_deref(),
            node_id: &status.node,
            member: status.member.map(|member| member.0),
            peer: &status.peer,
            addresses: &status.addresses,
            ledger: status.ledger.as_ref().map(LedgerBody::of),
            members: status.members.iter().map(MemberBody::of).collect(),
            digest: &status.digest,
            vector: status.vector.iter().map(OriginBody::of).collect(),
            orders: status.orders.iter().map(OrderBody::of).collect(),
            warnings: &status.warnings,
        }
    }
}

impl<'a> OrderBody<'a> {
    fn of(order: &'a OrderStatus) -> Self {
        Self { at: rfc3339(order.at_ms), what: &order.what, reason: &order.reason, by: &order.by }
    }
}

impl LedgerBody {
    fn of(ledger: &LedgerStatus) -> Self {
        let LedgerStatus { leader, term, committed, applied, majority } = *ledger;
        Self { leader: leader.map(|leader| leader.0), term, committed, applied, majority }
    }
}

impl<'a> MemberBody<'a> {
    fn of(member: &'a MemberStatus) -> Self {
        Self {
            member: member.member.0,
            node_id: &member.node,
            role: &member.role,
            vote: member.vote.as_str(),
            weight: member.weight,
            peer: &member.peer,
            addresses: &member.addresses,
            reachable: member.reachable,
            draining: member.draining,
            deposed: member.deposed,
            shards: member.shards,
            escrow: member.escrow,
            behind: member.behind,
        }
    }
}

impl<'a> OriginBody<'a> {
    fn of(origin: &'a OriginStatus) -> Self {
        Self { host: &origin.host, incarnation: origin.incarnation, through: origin.through }
    }
}

impl<'a> HashringBody<'a> {
    pub(crate) fn of(ring: &'a HashringStatus) -> Self {
        let point = |(at, member): &(u64, kernel::MemberId)| PointBody { at: format!("{at:016x}"), member: member.0 };
        Self {
            virtual_nodes: ring.virtual_nodes,
            points: ring.points.iter().map(point).collect(),
            pools: ring.pools.iter().map(PoolShardsBody::of).collect(),
        }
    }
}

impl<'a> PoolShardsBody<'a> {
    fn of(pool: &'a PoolShards) -> Self {
        let shard = |shard: &'a ShardStatus| ShardBody {
            shard: shard.shard.0,
            epoch: shard.epoch,
            owner: shard.owner.0,
            wished: shard.wished.0,
            kind: &shard.kind,
            state: &shard.state,
        };
        Self {
            pool_id: &pool.pool_id,
            tenant: &pool.tenant,
            pool: pool.uid.0,
            shards: pool.shards.iter().map(shard).collect(),
        }
    }
}

/// Which cluster to join.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = JoinRequest, example = json!({"address": "192.0.2.1:33123"}))]
pub(crate) struct JoinBody {
    /// Where a member listens for other hosts, as in `p2p.peers`. Absent: whichever configured peer is a member.
    #[schema(value_type = Option<String>)]
    address: Option<Value>,
}

impl JoinBody {
    pub(crate) fn read(&self) -> Result<Option<String>, AppError> {
        let mut reader = Reader::default();
        let address = reader.text("address", self.address.as_ref()).map(str::to_owned);
        reader.finish(Some(address))
    }
}

/// Why a member is removed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = RemoveMemberRequest, example = json!({"reason": "mainboard failed, ticket 4711"}))]
pub(crate) struct RemoveBody {
    /// Kept in the ledger, for whoever asks later.
    #[schema(value_type = Option<String>)]
    reason: Option<Value>,
}

impl RemoveBody {
    pub(crate) fn read(&self) -> Result<Option<String>, AppError> {
        let mut reader = Reader::default();
        let reason = reader.text("reason", self.reason.as_ref()).map(str::to_owned);
        reader.finish(Some(reason))
    }
}

/// Shards that shall have another owner.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ShardsRequest, example = json!({"pool_id": "isp-east", "shards": [1, 2, 3, 7], "to": "core-2", "reason": "core-1 burnt down, ticket 4711"}))]
pub(crate) struct ShardsBody {
    #[schema(value_type = String, required = true)]
    pool_id: Option<Value>,
    /// The shards' numbers, each once or more.
    #[schema(value_type = Vec<u32>, required = true)]
    shards: Option<Value>,
    /// The new owner's node id or member number.
    #[schema(value_type = String, required = true)]
    to: Option<Value>,
    /// Why; a seizure needs it. Kept in the ledger.
    #[schema(value_type = Option<String>)]
    reason: Option<Value>,
}

impl ShardsBody {
    pub(crate) fn read(&self) -> Result<ShardsInput, AppError> {
        let mut reader = Reader::default();
        let pool: Option<PoolId> =
            reader.needed_id("pool_id", self.pool_id.as_ref(), "must be given: the pool whose shards are meant");
        let shards = read_shards(&mut reader, self.shards.as_ref());
        let to = reader.text("to", self.to.as_ref()).map(str::to_owned);
        if to.is_none() && !reader.has_fault("to") {
            reader.fault("to", "", "must be given: the new owner's node id or member number");
        }
        let reason = reader.text("reason", self.reason.as_ref()).unwrap_or_default().to_owned();
        let read = pool.zip(to).map(|(pool, to)| ShardsInput { pool, shards, to, reason });
        reader.finish(read)
    }
}

/// A quarantine that is over.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = EndQuarantineRequest, example = json!({"pool_id": "isp-east", "reason": "all BNGs were restarted, ticket 4711"}))]
pub(crate) struct QuarantineBody {
    #[schema(value_type = String, required = true)]
    pool_id: Option<Value>,
    /// Why nobody holds what was handed out unheard. Kept in the log.
    #[schema(value_type = String, required = true)]
    reason: Option<Value>,
}

impl QuarantineBody {
    pub(crate) fn read(&self) -> Result<(PoolId, String), AppError> {
        let mut reader = Reader::default();
        let pool: Option<PoolId> =
            reader.needed_id("pool_id", self.pool_id.as_ref(), "must be given: the pool whose quarantine is over");
        let reason = reader.text("reason", self.reason.as_ref()).unwrap_or_default().to_owned();
        reader.finish(pool.map(|pool| (pool, reason)))
    }
}

fn read_shards(reader: &mut Reader, value: Option<&Value>) -> Vec<ShardId> {
    match value.filter(|value| !value.is_null()) {
        None => {
            reader.fault("shards", "", "must be given: a list of shard numbers");
            Vec::new()
        }
        Some(Value::Array(given)) => {
            let mut shards = Vec::with_capacity(given.len());
            for (at, one) in given.iter().enumerate() {
                let Some(number) = one.as_u64().and_then(|number| u32::try_from(number).ok()) else {
                    // One example is enough: a list of texts would be told as thousands of faults.
                    reader.fault(&format!("shards.{at}"), one, "must be a shard's number");
                    break;
                };
                shards.push(ShardId(number));
            }
            shards
        }
        Some(other) => {
            reader.fault("shards", other, "must be a list of shard numbers");
            Vec::new()
        }
    }
}

/// How many shards have another owner now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShardsMoved, example = json!({"count": 4}))]
pub(crate) struct ShardsMovedBody {
    pub(crate) count: u64,
}
