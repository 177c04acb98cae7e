//! Why the ledger refused a command. Nothing was changed.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::command::HostRole;
use super::grants::{GrantKind, GrantState};
use crate::id::{Dot, Epoch, MemberId, NodeId, Origin, PoolId, PoolUid, ProtocolVersion, Revision, ShardId};
use crate::span::Span;

/// What was found, what was asked, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LedgerError {
    #[error("entry {found} comes after entry {last} was applied: entries are applied once, in order")]
    OutOfOrder { last: u64, found: u64 },
    #[error("{field} is {found}, right would be {right}")]
    FieldInvalid { field: CompactString, found: String, right: CompactString },
    #[error("there are no more numbers for {what}")]
    NumbersUsedUp { what: CompactString },

    #[error("host {member} is not a member")]
    MemberUnknown { member: MemberId },
    #[error("the node id {node:?} is taken by member {member} with identity {found:016x}, not {asked:016x}: give one of the two hosts another node id, or remove the member", node = node.as_str())]
    NodeTaken { node: NodeId, member: MemberId, found: u64, asked: u64 },
    #[error("the identity {host:016x} is that of member {member}, named {found:?}, not {asked:?}: start it under its name, or let it leave first", found = found.as_str(), asked = asked.as_str())]
    IdentityTaken { host: u64, member: MemberId, found: NodeId, asked: NodeId },
    #[error("peer {peer} is member {member} already: two hosts with one key, give one of them a new key")]
    PeerTaken { peer: String, member: MemberId },
    #[error("host {:016x} was here as incarnation {found}, not below or at {}: it must take a higher one", asked.host, asked.incarnation)]
    IncarnationOld { found: u64, asked: Origin },
    #[error(
        "this build speaks protocol {asked}, host {node:?} protocol {found}, and only hosts at most one minor apart work together: upgrade one minor after the other, all hosts to one before any goes to the next", node = node.as_str()
    )]
    ProtocolApart { node: NodeId, found: ProtocolVersion, asked: ProtocolVersion },
    #[error("the cluster has {found} members, at most {most} are allowed")]
    MembersFull { found: u64, most: u64 },
    #[error("host {member} is the last core host: without it nobody keeps the ledger, make another host core first")]
    LastCore { member: MemberId },
    #[error(
        "host {member} holds {escrow} escrow and {leased} leased shards: they must be moved, taken over or seized first"
    )]
    HoldsShards { member: MemberId, escrow: u64, leased: u64 },
    #[error(
        "host {member} holds its node lease under another process's nonce since entry {renewed}: it must be deposed first"
    )]
    LeaseHeld { member: MemberId, renewed: u64 },
    #[error("host {member} was deposed by entry {at}: it must join again")]
    Deposed { member: MemberId, at: u64 },
    #[error("host {member} last renewed at entry {found}, not {asked}")]
    RenewalDiffers { member: MemberId, found: u64, asked: u64 },
    #[error(
        "host {member} is not deposed, its last renewal is entry {renewed}: if it is gone, wait until its node lease and the grace are over; if it is alive, have it move them"
    )]
    NotDeposed { member: MemberId, renewed: u64 },
    #[error(
        "host {member} cannot be given shards: its role is {role:?}, its weight {weight}, deposed: {deposed}; right would be an owning role, a weight above 0, and not deposed"
    )]
    CannotOwn { member: MemberId, role: HostRole, weight: u32, deposed: bool },
    #[error("host {member} is giver and taker")]
    SameMember { member: MemberId },

    #[error("there are {pools} pools and {members} members: only a ledger without pools, of one member, adopts")]
    NotFirst { pools: u64, members: u64 },
    #[error("pool {pool} is unknown")]
    PoolUnknown { pool: PoolUid },
    #[error("pool {pool} is closing since entry {since}: finish or reopen it first")]
    PoolClosing { pool: PoolId, since: u64 },
    #[error("pool {pool} is not closing")]
    PoolNotClosing { pool: PoolId },
    #[error("pool {pool} is closing since entry {found}, not {asked}")]
    ClosingDiffers { pool: PoolId, found: u64, asked: u64 },
    #[error("{waiting} shards of pool {pool} are not returned, by {} holders", holders.len())]
    NotReturned { pool: PoolId, waiting: u64, holders: Vec<(MemberId, u64)> },
    #[error("shard {shard} of pool {pool} does not close")]
    ShardNotClosing { pool: PoolUid, shard: ShardId },
    #[error("pool {pool} exists and differs in {}", fields.join(", "))]
    PoolDiffers { pool: PoolId, fields: Vec<CompactString> },
    #[error("pool number {pool} is given twice")]
    PoolTwice { pool: PoolUid },
    /// `other` is `None` in a shared realm if it is another tenant's pool: its name would tell nobody anything.
    #[error("pool {pool} overlaps {} in realm {realm} at {span:?}", other.as_ref().map_or_else(|| "a pool of another tenant".to_owned(), |other| format!("pool {other}")))]
    PoolOverlaps { pool: PoolId, other: Option<PoolId>, realm: String, span: Span },
    #[error("pool {pool} is at revision {found}, not {asked}")]
    RevisionDiffers { pool: PoolId, found: Revision, asked: Revision },
    #[error("{field} of pool {pool} cannot change while the pool lives: it is {found}, not {asked}")]
    PoolFieldFixed { pool: PoolId, field: CompactString, found: CompactString, asked: CompactString },
    #[error("pool {pool} cannot be cut into shards: {why}")]
    PoolGeometry { pool: PoolId, why: String },
    #[error("there are {found} pools, at most {most} are allowed")]
    PoolsFull { found: u64, most: u64 },
    #[error(
        "pool {pool} would have no owner: a core or write host with a weight above 0 that is not deposed must be there"
    )]
    NoOwner { pool: PoolId },
    #[error("{span:?} is not in pool {pool}")]
    SpanOutside { pool: PoolId, span: Span },

    #[error("host {member} cannot be given shards of pool {pool}: {why}")]
    CannotRead { pool: PoolId, member: MemberId, why: String },
    #[error("{found} shards are named, right would be 1 to {most}")]
    ShardCount { found: u64, most: u64 },
    #[error("shard {shard} is named twice")]
    ShardTwice { shard: ShardId },
    #[error("pool {pool} has no shard {shard}, it has {shards}")]
    ShardUnknown { pool: PoolUid, shard: ShardId, shards: u64 },
    #[error("shard {shard} of pool {pool} is held by host {found}, not {asked}")]
    HolderDiffers { pool: PoolUid, shard: ShardId, found: MemberId, asked: MemberId },
    #[error("shard {shard} of pool {pool} is in epoch {found}, not {asked}")]
    EpochDiffers { pool: PoolUid, shard: ShardId, found: Epoch, asked: Epoch },
    #[error("shard {shard} of pool {pool} is {found:?}, right would be {right:?}")]
    KindDiffers { pool: PoolUid, shard: ShardId, found: GrantKind, right: GrantKind },
    #[error("shard {shard} of pool {pool} is {found:?}, right would be {right}")]
    StateDiffers { pool: PoolUid, shard: ShardId, found: GrantState, right: CompactString },
    #[error("shard {shard} of pool {pool} does not wait for more of the log {:016x}.{} than its operation {}, or that host is a member: right would be the log of a host that is gone", log.origin.host, log.origin.incarnation, log.seq)]
    LogNotLost { pool: PoolUid, shard: ShardId, log: Dot },
}

impl LedgerError {
    /// A field that is not what it may be. What was found is cut to 100 characters: the error is remembered.
    pub(super) fn field(field: &str, found: impl std::fmt::Display, right: &str) -> Self {
        let found = found.to_string().chars().take(100).collect();
        Self::FieldInvalid { field: field.into(), found, right: right.into() }
    }
}
