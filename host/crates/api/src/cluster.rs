//! The cluster as the API shows and changes it; the host crate implements it over ledger and network.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use kernel::{MemberId, Pool, PoolUid, ShardId};
use serde::{Deserialize, Serialize};

/// What an operator asks of the cluster, answered when it is decided.
pub type Doing<T> = Pin<Box<dyn Future<Output = Result<T, ClusterError>> + Send>>;

/// Why the cluster did not do what was asked. Nothing was changed, but after `Unknown` nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ClusterError {
    /// What was asked cannot be: which argument, what it was, and what would be right.
    #[error("{field} {value:?} {remedy}")]
    Invalid { field: String, value: String, remedy: String },
    /// The cluster's state does not allow it; says what would.
    #[error("{0}")]
    Refused(String),
    /// The ledger has no majority, or a host cannot be reached. Retryable.
    #[error("{0}")]
    Unavailable(String),
    /// It may or may not have happened; asking again is safe.
    #[error("{0}")]
    Unknown(String),
}

impl ClusterError {
    /// The same, as what another host says.
    #[must_use]
    pub fn said_by(self, node: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{node}: {why}")),
            Self::Unavailable(why) => Self::Unavailable(format!("{node}: {why}")),
            Self::Unknown(why) => Self::Unknown(format!("{node}: {why}")),
            invalid @ Self::Invalid { .. } => invalid,
        }
    }
}

/// Whether this host belongs to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// No peers are configured: it owns everything.
    Alone,
    /// It waits to be joined, or for the ledger to be formed.
    Waiting,
    Member,
    /// It was removed and must come again as a new host.
    Removed,
}

impl Standing {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Waiting => "waiting",
            Self::Member => "member",
            Self::Removed => "removed",
        }
    }
}

/// How a host stands to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vote {
    Voter,
    Learner,
}

impl Vote {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
        }
    }
}

/// The cluster as this host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    pub standing: Standing,
    /// 128 bits, hex; `None` while the host waits.
    pub cluster_id: Option<String>,
    pub node: String,
    pub member: Option<MemberId>,
    /// This host's name between hosts (libp2p peer id), and where it listens.
    pub peer: String,
    pub addresses: Vec<String>,
    pub ledger: Option<LedgerStatus>,
    pub members: Vec<MemberStatus>,
    /// Fingerprint of what is allocated and reserved, hex: hosts that heard the same of every other host have the same. Empty
    /// where no other host has any.
    pub digest: String,
    /// How far each origin's operations are known here.
    pub vector: Vec<OriginStatus>,
    /// What operators took by force lately, the last first.
    pub orders: Vec<OrderStatus>,
    /// What an operator should look at, in sentences.
    pub warnings: Vec<String>,
}

/// What was done by an operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStatus {
    /// When it was ordered, Unix milliseconds.
    pub at_ms: u64,
    /// What was done, in a sentence.
    pub what: String,
    /// Whose pool it was about; `None`: it is all tenants' business.
    pub tenant: Option<String>,
    pub reason: String,
    pub by: String,
}

/// The replicated log of decisions, as this host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerStatus {
    pub leader: Option<MemberId>,
    pub term: u64,
    pub committed: u64,
    pub applied: u64,
    /// Whether this host has heard from a majority lately.
    pub majority: bool,
}

/// One host of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub member: MemberId,
    pub node: String,
    /// `core`, `write`, `read` or `edge`.
    pub role: String,
    pub vote: Vote,
    pub weight: u32,
    pub peer: String,
    pub addresses: Vec<String>,
    /// Whether this host is connected to it now; true for itself.
    pub reachable: bool,
    pub draining: bool,
    pub deposed: bool,
    /// Shards it holds over all pools, and how many of them outright.
    pub shards: u64,
    pub escrow: u64,
    /// Operations of it that this host has not heard; `None` if not known.
    pub behind: Option<u64>,
}

/// How far an origin's operations are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginStatus {
    pub host: String,
    pub incarnation: u64,
    pub through: u64,
}

/// Who owns one pool's shards, and who should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShards {
    pub uid: PoolUid,
    pub pool_id: String,
    pub tenant: String,
    pub shards: Vec<ShardStatus>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    pub shard: ShardId,
    pub epoch: u32,
    pub owner: MemberId,
    /// Where it is to live: where it does, unless it has to move.
    pub wished: MemberId,
    /// `escrow` or `leased`.
    pub kind: String,
    /// `held`, `closing`, `quarantined` or `forced`.
    pub state: String,
}

/// The hashring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashringStatus {
    pub virtual_nodes: u32,
    /// Position on the ring and whose it is, in order.
    pub points: Vec<(u64, MemberId)>,
    pub pools: Vec<PoolShards>,
}

/// A move or a seizure an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardOrder {
    pub tenant: String,
    pub pool_id: String,
    pub shards: Vec<ShardId>,
    /// The new owner's node id or member number.
    pub to: String,
    /// Needed for a seizure: why, and by whom.
    pub reason: String,
    pub by: String,
}

/// An operator's word that a quarantine is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineOrder {
    pub tenant: String,
    pub pool_id: String,
    /// Why, and by whom.
    pub reason: String,
    pub by: String,
}

/// The cluster behind the API.
pub trait Cluster: fmt::Debug + Send + Sync {
    fn status(&self) -> ClusterStatus;
    /// Why this host decides nothing, if it is to be one of several and is in no cluster: what it does not know may well be there.
    fn outside(&self) -> Option<String> {
        None
    }
    fn hashring(&self) -> HashringStatus;
    /// How many of a pool's shards are quarantined or were seized: nothing new is handed out from them for now.
    fn quarantined_shards(&self, pool: &Pool) -> usize;
    /// Forms the ledger with this host as its only member. Once in a cluster's life.
    fn init(&self) -> Doing<ClusterStatus>;
    /// Makes this host a member of the cluster that the host at the address (as in `p2p.peers`) belongs to; without an
    /// address: of any configured peer that is a member.
    fn join(&self, address: Option<String>) -> Doing<ClusterStatus>;
    /// Gives up all shards and leaves.
    fn leave(&self) -> Doing<ClusterStatus>;
    /// Lets a member (node id or number) vote.
    fn promote(&self, member: String) -> Doing<ClusterStatus>;
    fn demote(&self, member: String) -> Doing<ClusterStatus>;
    /// Removes a member that is lost: why, and by whom.
    fn remove(&self, member: String, reason: String, by: String) -> Doing<ClusterStatus>;
    /// Gives a member no new shards and moves those it has elsewhere; `false` takes it back.
    fn drain(&self, member: String, draining: bool) -> Doing<ClusterStatus>;
    fn move_shards(&self, order: ShardOrder) -> Doing<u64>;
    /// Takes shards from a lost holder by force.
    fn seize_shards(&self, order: ShardOrder) -> Doing<u64>;
    /// Hands out again of this host's shards of a pool that are quarantined; says how many.
    fn end_quarantine(&self, order: QuarantineOrder) -> Doing<u64>;
}
