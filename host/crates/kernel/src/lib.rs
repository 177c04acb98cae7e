//! The kernel decides what may be handed out to whom, and nothing else.
//!
//! It is a value with one entry, [`Kernel::step`]: the same inputs in the same order give the same effects on every
//! machine. It reads no clock, touches no disk or socket, calls no plugin, and draws only from a generator whose seed was
//! handed in. It sees spans and ids, never the text of a resource.
//!
//! What it promises is in `PROTOCOL.md`; the invariants are checked after every step by the simulator (feature `sim`).

mod allocation;
mod clock;
mod command;
mod effects;
mod fact;
mod hash;
mod holders;
mod id;
mod kernel;
mod leases;
mod overlap;
mod plan;
mod pool;
mod reservations;
mod rest;
mod rules;
#[cfg(feature = "sim")]
pub mod sim;
mod space;
mod span;
mod stock;

pub use allocation::{Allocation, AllocationExtra, AllocationKind, AllocationParts, EndCause, Reservation, Resting};
pub use command::{
    AllocateRequest, AllocationTarget, Choice, Command, CommandError, ExplainedOutcome, Explanation, Held, Reply,
    RequestId, ReserveRequest, Ttl,
};
pub use effects::{Answer, Durable, Effects, Notice};
pub use fact::{Fact, Op, RealmRecord, SpanKey};
pub use id::{
    Epoch, Fence, InvalidId, Key, NodeId, PoolId, PoolUid, RealmName, RealmUid, Revision, Seq, ShardId, SubscriberId,
    TenantId, Tick, TypeId,
};
pub use kernel::{Input, Kernel, KernelSettings, Recovery, RecoveryFault};
pub use plan::{Plan, Strategy, UnknownStrategy};
pub use pool::{Alignment, Geometry, LeaseTerms, Occupancy, Pool, PoolDraft, PoolTerms, RealmRef, Shard, Sizing};
#[cfg(feature = "sim")]
pub use rules::Rule;
#[cfg(feature = "sim")]
pub use space::SpaceProbe;
pub use span::{Series, Span};
