//! What may be written into the ledger, what it answers, and what a host hears of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::closing::Closing;
use super::error::LedgerError;
use super::grants::GrantRun;
use super::members::{Member, NodeLease};
use super::orders::{Order, Word};
use super::place::Terms;
use super::reading::Misread;
use crate::id::{CommandId, Dot, Epoch, MemberId, NodeId, Origin, PoolUid, ProtocolVersion, Revision, Seq, ShardId};
use crate::pool::{Pool, PoolDraft};
use crate::span::Span;

/// What a host of the cluster does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HostRole {
    /// Votes in the ledger and owns shards.
    Core,
    /// Owns shards.
    Write,
    /// Serves look-ups; owns nothing.
    Read,
    /// Owns what is delegated to it, as escrow only; the ring gives it nothing.
    Edge,
}

impl HostRole {
    /// True if it may own shards.
    pub const fn owns(self) -> bool {
        match self {
            Self::Core | Self::Write | Self::Edge => true,
            Self::Read => false,
        }
    }

    /// True if the ring may place shards on it.
    pub const fn on_ring(self) -> bool {
        match self {
            Self::Core | Self::Write => true,
            Self::Read | Self::Edge => false,
        }
    }
}

/// One entry of the replicated log. Every host applies the same entries in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// A retried write may reach the log twice; the second is known by its id.
    pub id: CommandId,
    pub command: LedgerCommand,
}

/// Everything the ledger can be told. Times are Unix milliseconds as the proposer saw them; they are recorded, nothing is
/// decided by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerCommand {
    /// The first word about pools in a ledger that a host with a past forms: its pools with their numbers, all shards
    /// granted to it, epochs kept. It has joined before, alone.
    Adopt { member: MemberId, pools: Vec<Pool> },
    /// A host joins, or comes again: the same identity under the same name keeps its number, and if it was deposed it may
    /// renew again. In another incarnation all its shards are quarantined. Role and weight count for a new member only.
    Join {
        node: NodeId,
        origin: Origin,
        /// Who it is on the network.
        peer: String,
        addresses: Vec<String>,
        role: HostRole,
        /// 0: owns nothing new.
        weight: u32,
        protocol: ProtocolVersion,
        at_ms: u64,
    },
    /// `None`: as it is.
    SetMember {
        member: MemberId,
        role: Option<HostRole>,
        weight: Option<u32>,
        draining: Option<bool>,
        addresses: Option<Vec<String>>,
    },
    /// Orderly; refused while it holds shards.
    Leave { member: MemberId },
    /// Of a lost host; refused until its shards were taken over or seized.
    Remove { member: MemberId, word: Word },
    /// Identical again is a success; different is an error.
    CreatePool { draft: Box<PoolDraft>, at_ms: u64 },
    /// What only adds is done at once. What takes space away begins to close the shards it touches, and is done by
    /// `FinishClose`. `expected`: refuse if the pool is at another revision.
    UpdatePool { pool: PoolUid, expected: Option<Revision>, draft: Box<PoolDraft>, at_ms: u64 },
    /// Nothing new is handed out from these spans of the pool; `None`: from all of it.
    ClosePool { pool: PoolUid, spans: Option<Vec<Span>>, at_ms: u64 },
    /// Takes a closing back that is not finished.
    ReopenPool { pool: PoolUid },
    /// The holder says of shards that close: stopped and empty. `closing` is [`Closing::since`], so that a late word
    /// cannot count for a closing that began after the pool was reopened.
    Returned { pool: PoolUid, closing: u64, member: MemberId, shards: Vec<ShardId> },
    /// Carries out what closes, once every shard was returned or seized, or its leased grant's holder is deposed.
    FinishClose { pool: PoolUid },
    /// A node lease, from the proposal's start, for [`NodeLease::lease_ms`]. `nonce` is drawn by each process.
    Renew { member: MemberId, nonce: u64 },
    /// Proposed once the lease and its grace have passed since `last_renewal`, a log index ([`NodeLease::renewed`]).
    Depose { member: MemberId, last_renewal: u64 },
    /// By the holder, after it durably stopped handing out from them. `cut`: its last operation that counts.
    Move { pool: PoolUid, shards: Vec<ShardId>, from: MemberId, epoch: Epoch, to: MemberId, cut: Seq },
    /// Leased grants of a deposed member. `cut`: its last operation that a majority has.
    TakeOver { pool: PoolUid, shards: Vec<ShardId>, from: MemberId, epoch: Epoch, to: MemberId, cut: Seq },
    /// Escrow grants of a lost holder, by an operator's word.
    Seize { pool: PoolUid, shards: Vec<ShardId>, from: MemberId, epoch: Epoch, to: MemberId, word: Word },
    /// Quarantine is over. `epoch` guards against a late word about a former quarantine.
    Released { pool: PoolUid, shards: Vec<ShardId>, member: MemberId, epoch: Epoch },
    /// By the holder: takes shards back that it offered, as what they are. The epoch grows, so that a late word cannot count for
    /// a later term.
    TakeBack { pool: PoolUid, shards: Vec<ShardId>, member: MemberId, epoch: Epoch },
    /// For what is granted, renewed and placed from now on.
    SetTerms(Terms),
    /// By a member, of a pool at this revision: how its plugin reads it otherwise than the record says, or (`None`) that it
    /// reads it as recorded again. Who reads it otherwise is given none of its shards.
    SetReading { pool: PoolUid, revision: Revision, member: MemberId, misread: Option<Misread> },
    /// By the holder, of shards that wait for logs whose hosts are no members any more: it goes on without what no member has of
    /// them. `logs`: how far each is known. What is missing is doubtful, and no time ends that.
    Forgo { pool: PoolUid, shards: Vec<ShardId>, member: MemberId, epoch: Epoch, logs: Vec<Dot> },
}

/// A success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerReply {
    Adopted {
        pools: u64,
        shards: u64,
    },
    /// `new`: it was no member. `quarantined`: shards, because it came in another incarnation. `reinstated`: it was deposed.
    Joined {
        member: MemberId,
        new: bool,
        quarantined: u64,
        reinstated: bool,
    },
    MemberSet(MemberId),
    Left(MemberId),
    Removed(MemberId),
    PoolCreated {
        pool: PoolUid,
        revision: Revision,
    },
    /// The pool was there, the same.
    PoolExists {
        pool: PoolUid,
        revision: Revision,
    },
    PoolUpdated {
        pool: PoolUid,
        revision: Revision,
    },
    /// So many shards must be returned before it can be finished.
    Closing {
        pool: PoolUid,
        since: u64,
        waiting: u64,
    },
    Reopened(PoolUid),
    Returned {
        pool: PoolUid,
        waiting: u64,
    },
    /// The pool is gone.
    Closed(PoolUid),
    /// Part of the pool is gone.
    Shrunk {
        pool: PoolUid,
        revision: Revision,
    },
    /// Good for `lease_ms` from the start of the attempt, whatever the terms become meanwhile.
    Renewed {
        index: u64,
        lease_ms: u64,
    },
    Deposed(MemberId),
    /// The shards now stand in this epoch.
    Granted {
        pool: PoolUid,
        shards: u64,
        epoch: Epoch,
    },
    /// Of these shards the quarantine is over.
    Released {
        pool: PoolUid,
        shards: u64,
    },
    TermsSet,
    ReadingSet(MemberId),
}

/// What applying an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub outcome: Result<LedgerReply, LedgerError>,
    /// What a host's kernel must hear, in order; empty after a refusal and after a repeat.
    pub changes: Vec<Change>,
}

/// Something that is different now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new record.
    Pool(Arc<Pool>),
    /// The pool and all its grants are gone.
    PoolGone(PoolUid),
    /// What of the pool closes; `None`: nothing any more.
    Closing {
        pool: PoolUid,
        closing: Option<Arc<Closing>>,
    },
    /// The grants of these shards, and of no others, are as given.
    Grants {
        pool: PoolUid,
        runs: Vec<GrantRun>,
    },
    /// New or changed.
    Member(Arc<Member>),
    MemberGone(MemberId),
    Lease {
        member: MemberId,
        lease: NodeLease,
    },
    /// Its node lease is over; its leased shards may be taken over.
    Deposed {
        member: MemberId,
    },
    /// Something was done by an operator's word.
    Ordered(Arc<Order>),
    Terms(Terms),
    /// How a member reads a pool otherwise than its record says; `None`: as it says.
    Reading {
        pool: PoolUid,
        member: MemberId,
        misread: Option<Misread>,
    },
}
