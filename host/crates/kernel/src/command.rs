//! What may be asked of the kernel, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::allocation::{Allocation, Reservation, Superseded};
use crate::digest::Fingerprint;
use crate::id::{
    Dot, Key, MemberId, NodeId, NoteKey, Origin, PoolId, PoolUid, RealmUid, Revision, Seq, SubscriberId, TenantId,
};
use crate::note::{MemberList, Note, NoteStamp, PutNote};
use crate::plan::{Plan, Strategy};
use crate::pool::{Durability, Occupancy, Pool, PoolDraft, Sizing};
use crate::replica::Batch;
use crate::snapshot::{Adopting, SnapshotPart};
use crate::span::Span;
use crate::tenure::{Detour, Leg, ShardTenure, Sight};

/// Tells replies apart; made up by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request for a resource.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllocateRequest {
    pub pool: PoolUid,
    pub subscriber: SubscriberId,
    /// `None`: the subscriber's one allocation in this pool.
    pub key: Option<Key>,
    /// The values of the pool's `realm_by` attributes, joined by `/`; `None` if the pool has none.
    pub realm_value: Option<CompactString>,
    pub plan: Plan,
    /// True if the client named the resource itself (then a subscriber that holds another one is a conflict).
    pub explicit: bool,
    /// Wished lease in milliseconds; clamped to the pool's terms.
    pub ttl: Ttl,
    pub node: Option<NodeId>,
    /// JSON object as text, or empty.
    pub metadata: CompactString,
    /// Said by a host that sends the request on ([`CommandError::Elsewhere`]), never by a client: what the subscriber holds
    /// and cannot be answered. Who decides need not have heard of it.
    pub supersedes: Option<Box<Superseded>>,
}

/// What a request says about the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ttl {
    /// The pool's terms.
    #[default]
    Default,
    /// So many milliseconds, clamped to the pool's minimum and maximum.
    Millis(u64),
    /// No lease at all.
    Permanent,
}

/// Which allocation is meant. `span` and `made_ms` guard against releasing a newer one than the caller saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationTarget {
    pub pool: PoolUid,
    pub subscriber: SubscriberId,
    pub key: Option<Key>,
    pub span: Option<Span>,
    /// When it was made, Unix milliseconds: what was released and allocated again since is another one.
    pub made_ms: Option<u64>,
}

/// A reservation to be written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReserveRequest {
    pub pool: PoolUid,
    pub realm_value: Option<CompactString>,
    pub span: Span,
    pub subscriber: SubscriberId,
    pub name: CompactString,
    pub note: CompactString,
}

/// Everything the kernel can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Identical again is `PoolExists` as success; different is an error.
    CreatePool(Box<PoolDraft>),
    /// What `CreatePool` would answer. Changes nothing.
    CheckPool(Box<PoolDraft>),
    /// `expected`: refuse if the pool is at another revision. `dry_run`: answer, change nothing.
    UpdatePool {
        pool: PoolUid,
        expected: Option<Revision>,
        draft: Box<PoolDraft>,
        dry_run: bool,
    },
    /// Refused while in use unless `force`; then every allocation is released, each as its own fact, in slices.
    DeletePool {
        pool: PoolUid,
        force: bool,
    },
    Allocate(Box<AllocateRequest>),
    /// Where the request would go, or why it would fail. Changes nothing.
    Explain(Box<AllocateRequest>),
    Renew {
        target: AllocationTarget,
        ttl: Ttl,
    },
    Release(AllocationTarget),
    Reserve(Box<ReserveRequest>),
    Unreserve {
        pool: PoolUid,
        realm_value: Option<CompactString>,
        span: Span,
    },
    /// Writes a note or deletes it. Any host may.
    PutNote(Box<PutNote>),
    /// Somebody looked after the conflict of this place in the log ([`Kernel::conflicts`](crate::Kernel::conflicts)). `Noted`,
    /// also if it is not open. Never from another host.
    CloseConflict(Seq),
    /// One of the requests above, sent on by another host.
    Relayed {
        leg: Leg,
        command: Box<Command>,
    },
    /// What the ledger or other hosts say. Never from a client or over the network as it is.
    #[serde(skip)]
    News(News),
}

/// What the driver passes on from the cluster.
#[derive(Clone, Debug)]
pub enum News {
    /// The ledger made a pool or changed it.
    Pool(Arc<Pool>),
    /// The ledger removed a pool.
    PoolGone(PoolUid),
    /// The ledger says who owns these shards.
    Tenures { pool: PoolUid, tenures: Vec<ShardTenure> },
    /// Whom this host can reach.
    Sight(Box<Sight>),
    /// The node lease is good until this moment of the boot clock.
    NodeLease { until_ms: u64 },
    /// A majority of voters knows this host's operations up to here.
    Stable { through: Seq },
    /// What another host wrote.
    Batch(Arc<Batch>),
    /// Some of what another host knows.
    Snapshot(Arc<SnapshotPart>),
    /// All of it was told. To be repeated until it is done.
    SnapshotEnd { by: Origin, vector: BTreeMap<Origin, Seq> },
    /// What should be equal on hosts that heard the same. Changes nothing.
    Fingerprint,
    /// Of a host that is alone: nobody holds any more what a restored pool had handed out and forgot.
    QuarantineOver(PoolUid),
    /// Who must have heard of a deletion before it may be forgotten.
    Members(MemberList),
    /// What a member has on its disk, and up to which entry of the ledger it had been told everything before.
    Seen { member: MemberId, told: u64, vector: Arc<BTreeMap<Origin, Seq>> },
}

/// Where an allocation would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub outcome: ExplainedOutcome,
    /// `None` if the (pool, realm) was never used.
    pub realm: Option<RealmUid>,
    pub occupancy: Occupancy,
    pub strategy: Strategy,
}

/// The heart of an [`Explanation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExplainedOutcome {
    /// The subscriber already holds this one and would get it again.
    AlreadyHeld { span: Span },
    /// This span would be handed out (with `random`, one such).
    WouldGet { span: Span, why: Choice },
    /// It would fail with this error.
    WouldFail(Box<CommandError>),
}

/// Why this span and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// It is reserved for the subscriber.
    Reserved,
    /// The subscriber held it and it still rests.
    Sticky,
    /// It was asked for.
    Asked,
    /// The strategy chose it among the free ones.
    Strategy,
    /// Nothing was free, so the span that rested longest.
    LongestRested,
}

/// A success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    PoolCreated(Arc<Pool>),
    /// The pool was there, the same.
    PoolExists(Arc<Pool>),
    /// The pool as it would be made now.
    PoolWouldCreate(Arc<Pool>),
    PoolUpdated(Arc<Pool>),
    /// `dry_run`: what the update would do.
    PoolWouldUpdate {
        pool: Arc<Pool>,
        added_grains: u128,
        removed_grains: u128,
    },
    PoolDeleted {
        released: u64,
    },
    Allocated {
        allocation: Arc<Allocation>,
        created: bool,
        /// What was reached when the answer left. The kernel knows of its own host only; whoever sends the answer says more.
        durability: Durability,
    },
    Explained(Box<Explanation>),
    Renewed {
        allocation: Arc<Allocation>,
        durability: Durability,
    },
    Released(Arc<Allocation>),
    Reserved {
        reservation: Arc<Reservation>,
        created: bool,
    },
    Unreserved(Arc<Reservation>),
    /// What the ledger or the driver said is known now.
    Noted,
    /// Everything of that origin is known through here.
    Heard(Dot),
    /// What became of a part of a snapshot, or of its end.
    Adopting(Adopting),
    Fingerprint(Box<Fingerprint>),
    /// What the note says now.
    NotePut {
        note: Arc<Note>,
        /// It said something else before, or nothing.
        changed: bool,
    },
    /// What the note said last.
    NoteDeleted(Arc<Note>),
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CommandError {
    #[error("pool is unknown")]
    PoolUnknown { pool: PoolUid },
    #[error("pool {pool} is being deleted or shrunk")]
    PoolClosing { pool: PoolId },
    #[error("pool {pool} exists and differs in {}", fields.join(", "))]
    PoolDiffers { pool: PoolId, fields: Vec<CompactString> },
    /// `other` is `None` in a shared realm if it is another tenant's pool: its name would tell nobody anything.
    #[error("pool {pool} overlaps {} in realm {realm}", overlapped(other.as_ref()))]
    PoolOverlaps { pool: PoolId, other: Option<PoolId>, realm: String, span: Span },
    #[error("pool {pool} has {allocations} live allocations")]
    PoolInUse { pool: PoolId, allocations: u64 },
    #[error("pool {pool} is at revision {found}, not {expected}")]
    RevisionDiffers { pool: PoolId, expected: Revision, found: Revision },
    #[error("{field} of pool {pool} cannot change while the pool lives: it is {found}, not {wanted}")]
    PoolFieldFixed { pool: PoolId, field: CompactString, found: CompactString, wanted: CompactString },
    /// The update would remove or exclude spans that are held; up to 100 of the holders.
    #[error("{count} held spans of pool {pool} stand in the way")]
    SpansHeld { pool: PoolId, count: u64, holders: Vec<(Span, SubscriberId)> },
    #[error("pool {pool} cannot be cut into shards: {why}")]
    PoolGeometry { pool: PoolId, why: String },
    /// Of several hosts that share the pool each speaks for the `shards` that it owns.
    #[error("pool {pool} is exhausted")]
    Exhausted { pool: PoolId, len: u128, occupancy: Box<Occupancy>, shards: u32 },
    /// `by` is told only within the tenant.
    /// Its strategy is `exact`, and nothing was named, reserved or held before.
    #[error("pool {pool} hands out only what is asked for by name")]
    MustBeAsked { pool: PoolId },
    #[error("the resource is held by another subscriber")]
    Held { pool: PoolId, span: Span, by: Option<SubscriberId> },
    #[error("the resource is reserved for another subscriber")]
    ReservedForAnother { pool: PoolId, span: Span, by: Option<SubscriberId> },
    #[error("the resource rests until {until_ms}")]
    RestingForAnother { pool: PoolId, span: Span, until_ms: u64 },
    #[error("the subscriber holds another resource in pool {pool}")]
    HoldsAnother { pool: PoolId, allocation: Held },
    #[error("the subscriber holds a resource of pool {pool} in realm {realm}")]
    HoldsInOtherRealm { pool: PoolId, realm: RealmUid, allocation: Held },
    #[error("the span is not in pool {pool}")]
    OutsidePool { pool: PoolId, span: Span },
    #[error("the span is excluded from pool {pool}")]
    Excluded { pool: PoolId, span: Span },
    #[error("length {len} is not allowed in pool {pool}")]
    LengthRefused { pool: PoolId, len: u128, sizing: Box<Sizing> },
    #[error("the span is not aligned in pool {pool}")]
    Misaligned { pool: PoolId, span: Span },
    #[error("pool {pool} needs the attributes its realm is made by")]
    RealmValueMissing { pool: PoolId },
    #[error("pool {pool} already serves {limit} realms")]
    TooManyRealms { pool: PoolId, limit: usize },
    #[error("realm value {value:?} is not usable: {why}")]
    RealmValueInvalid { pool: PoolId, value: String, why: String },
    #[error("the subscriber holds nothing in pool {pool}")]
    NotHeld { pool: PoolId },
    #[error("the allocation in pool {pool} has no lease to renew")]
    NoLease { pool: PoolId },
    /// The subscriber holds another one since, which is what he is answered; this one ends with its lease.
    #[error("the subscriber holds another resource in pool {pool} since, which is the one to renew")]
    Superseded { pool: PoolId, by: Held },
    #[error("no reservation of this span in pool {pool}")]
    NotReserved { pool: PoolId, span: Span },
    /// Another host must decide; whoever carries requests between hosts goes there, and no client sees this.
    #[error("another host decides about this in pool {pool}")]
    Elsewhere {
        pool: PoolId,
        detour: Detour,
        /// What the request is sent on with ([`AllocateRequest::supersedes`]).
        supersedes: Option<Box<Superseded>>,
    },
    /// This host is one of several: pools are the ledger's to make and change.
    #[error("in a cluster the ledger decides about pools")]
    LedgerDecides,
    /// What is left of the pool on this host may not be handed out now.
    #[error(
        "the space of pool {pool} on this host may not be handed out now: it is quarantined, on its way to another host, or leased \
         and the lease is over; nexus shard list and nexus cluster status show which"
    )]
    Withheld { pool: PoolId },
    /// Ending the leases that are over takes its time, and no more requests are kept until it is done.
    #[error("{limit} requests wait already for leases that are over to be ended")]
    Crowded { limit: usize },
    #[error("there is no note {key}")]
    NoteUnknown { key: NoteKey },
    /// `found` is `None` if there is no such note.
    #[error("note {key} is at version {}, not {expected}", version(found.as_ref()))]
    NoteDiffers { key: NoteKey, expected: NoteStamp, found: Option<NoteStamp> },
    /// `of`: the tenant whose limit it is; `None`: all tenants together.
    #[error("there are {limit} notes{}, and no more are kept", of_tenant(of.as_ref()))]
    NotesFull { of: Option<TenantId>, limit: usize },
    /// It is new, was just started, or takes in a snapshot.
    #[error("this host has yet to hear all that another member of the cluster knows, and writes no notes before")]
    NotesWithheld,
    /// It stands on this host, in a shard that another one may take over without having heard of it. `seq`: where it is in this
    /// host's log.
    #[error("too few hosts of the cluster know of the reservation in pool {pool} yet: ask again")]
    Unconfirmed { pool: PoolId, seq: Seq, created: bool },
}

/// An allocation named in an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held(pub Arc<Allocation>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.seq() == other.0.seq() && self.0.span == other.0.span
    }
}

impl Eq for Held {}

fn version(found: Option<&NoteStamp>) -> String {
    found.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn of_tenant(tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(String::new, |tenant| format!(" of tenant {tenant}"))
}

fn overlapped(other: Option<&PoolId>) -> String {
    other.map_or_else(|| "a pool of another tenant".to_owned(), |other| format!("pool {other}"))
}

impl CommandError {
    /// Another host must decide.
    pub(crate) const fn elsewhere(pool: PoolId, detour: Detour) -> Self {
        Self::Elsewhere { pool, detour, supersedes: None }
    }
}

impl Command {
    /// Before it is sent on: what the host that may not decide it knows of its subscriber goes along.
    pub fn take_along(&mut self, refused: &CommandError) {
        if let (Self::Allocate(request), CommandError::Elsewhere { supersedes: Some(held), .. }) = (self, refused) {
            request.supersedes = Some(held.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cheap_to_move() {
        assert!(size_of::<CommandError>() < 128, "{}", size_of::<CommandError>());
        assert!(size_of::<Result<Reply, CommandError>>() < 128, "{}", size_of::<Result<Reply, CommandError>>());
    }
}
