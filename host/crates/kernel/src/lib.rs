//! The kernel decides what may be handed out to whom, and nothing else.
//!
//! It is a value with one entry, [`Kernel::step`]: the same inputs in the same order give the same effects on every
//! machine. It reads no clock, touches no disk or socket, calls no plugin, and draws only from a generator whose seed was
//! handed in. It sees spans and ids, never the text of a resource.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kernel::{
//!     Alignment, AllocateRequest, Command, Effects, Geometry, Input, KernelSettings, LeaseTerms, Plan, PoolDraft,
//!     PoolTerms, RealmRef, Recovery, Reply, RequestId, Series, Sizing, Span, Strategy, TenantId, Tick, Ttl,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An empty log makes an empty kernel.
//! let settings = KernelSettings { seed: 1, restart_grace_ms: 300_000, clock_tolerance_ms: 60_000, lease_slack_ms: 0, cluster: None };
//! let now = Tick { boot_ms: 5_000, wall_ms: 1_800_000_000_000 };
//! let mut kernel = Recovery::new(settings).finish(now);
//!
//! // A pool of the addresses 10.0.0.0 to 10.0.0.255, as a plugin would read it from a spec.
//! let geometry = Geometry {
//!     spans: vec![Series::one(Span::new(0x0a00_0000, 256).ok_or("not empty")?)],
//!     excluded: Vec::new(),
//!     grain: 1,
//!     sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Natural },
//!     cut: 256,
//!     attributes: Vec::new(),
//!     strategy: Strategy::FirstFree,
//! };
//! let draft = PoolDraft {
//!     tenant: TenantId::default(),
//!     id: "homes".parse()?,
//!     type_id: "ipv4".parse()?,
//!     realm: RealmRef { name: "default".parse()?, shared: false },
//!     spec: "{}".into(),
//!     geometry: Arc::new(geometry),
//!     mapping_id: "ipv4-1".into(),
//!     terms: PoolTerms {
//!         strategy: Strategy::FirstFree,
//!         lease: LeaseTerms::None,
//!         hold_down_ms: 60_000,
//!         strict: false,
//!         ack: None,
//!         realm_by: Vec::new(),
//!         metadata: "".into(),
//!     },
//!     sharding_factor: None,
//!     extra: "".into(),
//! };
//! let mut effects = Effects::default();
//! let create = Command::CreatePool(Box::new(draft));
//! kernel.step(now, Input::Request { id: RequestId(1), command: create }, &mut effects);
//! let created = effects.persist(Ok::<_, std::io::Error>)?;
//! let [(_, Ok(Reply::PoolCreated(pool)))] = created.replies.as_slice() else { return Err("no pool".into()) };
//!
//! // A subscriber asks for any address.
//! let request = AllocateRequest {
//!     pool: pool.uid,
//!     subscriber: "00:11:22:33:44:55".parse()?,
//!     key: None,
//!     realm_value: None,
//!     plan: Plan::anywhere(1),
//!     explicit: false,
//!     ttl: Ttl::Default,
//!     node: None,
//!     metadata: "".into(),
//!     supersedes: None,
//! };
//! let mut effects = Effects::default();
//! let allocate = Command::Allocate(Box::new(request));
//! kernel.step(now, Input::Request { id: RequestId(2), command: allocate }, &mut effects);
//! kernel.seal(&mut effects);
//!
//! // Only what is written can be answered.
//! let answered = effects.persist(|operations| {
//!     assert_eq!(operations.len(), 1);
//!     Ok::<_, std::io::Error>(())
//! })?;
//! let [(_, Ok(Reply::Allocated { allocation, created: true, .. }))] = answered.replies.as_slice() else {
//!     return Err("nothing allocated".into());
//! };
//! assert_eq!(allocation.span.start(), 0x0a00_0000);
//! # Ok(())
//! # }
//! ```
//!
//! What it promises is in `PROTOCOL.md`; the invariants are checked after every step by the simulator (feature `sim`).

mod allocation;
mod clock;
mod command;
mod conflict;
mod digest;
mod draft;
mod effects;
mod fact;
mod hash;
mod holders;
mod id;
mod kernel;
mod leases;
pub mod ledger;
mod note;
mod overlap;
mod plan;
mod pool;
mod replica;
mod reservations;
mod rest;
mod ring;
mod rules;
#[cfg(feature = "sim")]
pub mod sim;
mod snapshot;
mod space;
mod span;
mod standing;
mod stock;
mod survivor;
mod tenure;

pub use allocation::{
    Allocation, AllocationExtra, AllocationKind, AllocationParts, EndCause, Made, Reservation, Resting, Superseded,
};
pub use command::{
    AllocateRequest, AllocationTarget, Choice, Command, CommandError, ExplainedOutcome, Explanation, Held, News, Reply,
    RequestId, ReserveRequest, Ttl,
};
pub use conflict::{Conflict, Conflicts};
pub use digest::{Digest, Fingerprint};
pub use effects::{Answer, Durable, Effects, Notice};
pub use fact::{Fact, Op, RealmRecord, SpanKey};
pub use id::{
    ClusterId, CommandId, Dot, Epoch, Fence, InvalidId, InvalidProtocolVersion, Key, MemberId, NodeId, NoteKey,
    NoteText, Origin, PoolId, PoolUid, ProtocolVersion, RealmName, RealmUid, Revision, Seq, ShardId, SubscriberId,
    TenantId, Tick, TypeId,
};
pub use kernel::{Input, Kernel, KernelSettings, Recovery, RecoveryFault};
pub use note::{MemberList, Note, NoteEnds, NoteStamp, NoteWord, Notes, PutNote, Written};
pub use plan::{Plan, Strategy, UnknownStrategy};
pub use pool::{
    Alignment, Durability, Geometry, LeaseTerms, Longest, Occupancy, Pool, PoolDraft, PoolTerms, RealmRef, Shard,
    Sizing,
};
pub use replica::{Batch, NamedRealm, Names, moved};
pub use ring::{Lives, Ring, RingMember, RingShare};
#[cfg(feature = "sim")]
pub use rules::Rule;
pub use snapshot::{Adopting, SnapshotPart};
#[cfg(feature = "sim")]
pub use space::SpaceProbe;
pub use span::{Series, Span};
pub use standing::Standing;
pub use survivor::{Pair, survivor};
pub use tenure::{Detour, Leg, ShardTenure, Sight, Tenure};
