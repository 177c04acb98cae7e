//! Which span is held by which subscriber, and what becomes of it afterwards.

mod packed;

use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::fact::SpanKey;
use crate::id::{Epoch, Fence, Key, NodeId, PoolUid, RealmUid, Seq, ShardId, SubscriberId};
use crate::span::Span;

use self::packed::{Packed, Term};

/// Why an allocation lasts as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AllocationKind {
    /// Until released by the client or the lease's end.
    Session,
    /// As session, and the same resource comes back to the same subscriber for at least an hour.
    Sticky,
    /// No lease.
    Permanent,
}

/// One allocation. Shared between the kernel, the flusher and the read view; never changed in place, a renewal makes a
/// new one. Kept small, because there are millions: what is rare lives behind `extra`, and times and counts take six
/// bytes. With its reference counts it is 160 bytes, which allocators have as a size of its own; 168 would cost 192.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "(AllocationParts, Option<CompactString>)", into = "(AllocationParts, Option<CompactString>)")]
pub struct Allocation {
    pub span: Span,
    pub subscriber: SubscriberId,
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub shard: ShardId,
    pub epoch: Epoch,
    created_ms: Packed,
    renewed_ms: Packed,
    term: Term,
    seq: Packed,
    /// The OLT-BNG that asked, if it said so. Interned.
    pub node: Option<Arc<NodeId>>,
    pub extra: Option<Box<AllocationExtra>>,
    name: OnceLock<CompactString>,
}

/// What few allocations have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationExtra {
    /// Not empty if the subscriber holds several in this pool on purpose.
    pub key: Option<Key>,
    /// Free-form, shown as given (JSON object as text).
    pub metadata: CompactString,
    /// Which allocation this one was made in place of. It stays when that one has ended: it is how this one came about.
    pub supersedes: Option<Box<Superseded>>,
}

/// An allocation whose owner could not be reached when the same subscriber asked again, under the same key in the same pool
/// and realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    pub span: Span,
    pub shard: ShardId,
    /// The shard's term of ownership in which that allocation was known.
    pub epoch: Epoch,
    /// Unix milliseconds when it was made: the span may be handed out to him again, and that is another allocation.
    pub created_ms: u64,
}

/// Everything of an allocation but its name. Times and the count are kept in 48 bits, the lease's end in 46: larger ones
/// are cut to the largest that fits (the years 10889 and 4199).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllocationParts {
    pub span: Span,
    pub subscriber: SubscriberId,
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub shard: ShardId,
    pub epoch: Epoch,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Unix time in milliseconds of the last renewal, or of the making.
    pub renewed_ms: u64,
    /// Unix time in milliseconds when the lease ends; `None`: no lease.
    pub expires_ms: Option<NonZeroU64>,
    /// The operation that wrote this state of it.
    pub seq: Seq,
    pub node: Option<Arc<NodeId>>,
    pub extra: Option<Box<AllocationExtra>>,
    pub kind: AllocationKind,
}

impl Allocation {
    /// An allocation that has no name yet.
    pub fn new(parts: AllocationParts) -> Self {
        let AllocationParts {
            span,
            subscriber,
            pool,
            realm,
            shard,
            epoch,
            created_ms,
            renewed_ms,
            expires_ms,
            seq,
            node,
            extra,
            kind,
        } = parts;
        let term = Term::new(expires_ms, kind);
        Self {
            span,
            subscriber,
            pool,
            realm,
            shard,
            epoch,
            created_ms: Packed::new(created_ms),
            renewed_ms: Packed::new(renewed_ms),
            term,
            seq: Packed::new(seq.0),
            node,
            extra,
            name: OnceLock::new(),
        }
    }

    pub const fn made(&self) -> Made {
        Made { epoch: self.epoch, created_ms: self.created_ms() }
    }

    /// Unix time in milliseconds when it was made.
    pub const fn created_ms(&self) -> u64 {
        self.created_ms.get()
    }

    /// Unix time in milliseconds of the last renewal, or of the making.
    pub const fn renewed_ms(&self) -> u64 {
        self.renewed_ms.get()
    }

    /// The operation that wrote this state of it.
    pub const fn seq(&self) -> Seq {
        Seq(self.seq.get())
    }

    /// Unix time in milliseconds when the lease ends; `None`: no lease.
    pub const fn expires_ms(&self) -> Option<NonZeroU64> {
        self.term.expires_ms()
    }

    /// Why it lasts as long as it does.
    pub const fn kind(&self) -> AllocationKind {
        self.term.kind()
    }

    /// The same allocation with a new lease. It keeps its name: that is a function of pool and span.
    pub(crate) fn renewed(
        &self,
        at_ms: u64,
        expires_ms: Option<NonZeroU64>,
        kind: AllocationKind,
        seq: Seq,
        epoch: Epoch,
    ) -> Self {
        let (renewed_ms, seq) = (Packed::new(at_ms), Packed::new(seq.0));
        Self { renewed_ms, term: Term::new(expires_ms, kind), seq, epoch, ..self.clone() }
    }

    /// The same allocation in another term of its shard, by its new owner's word.
    pub(crate) fn taken_over(&self, epoch: Epoch, seq: Seq) -> Self {
        Self { epoch, seq: Packed::new(seq.0), ..self.clone() }
    }

    /// What every answer about it carries.
    pub fn fence(&self) -> Fence {
        Fence { pool: self.pool, shard: self.shard, epoch: self.epoch }
    }

    /// The allocation's key; empty unless the request named one.
    pub fn key(&self) -> Option<&Key> {
        self.extra.as_ref().and_then(|extra| extra.key.as_ref())
    }

    /// Which allocation this one was made in place of.
    pub fn supersedes(&self) -> Option<&Superseded> {
        self.extra.as_ref().and_then(|extra| extra.supersedes.as_deref())
    }

    /// Whether this one was made in place of another.
    pub(crate) fn is_in_place_of(&self, other: &Self) -> bool {
        self.realm == other.realm
            && self.supersedes().is_some_and(|mark| mark.span == other.span && mark.created_ms == other.created_ms())
    }

    /// How a later one names it that is made in its place.
    pub(crate) fn as_superseded(&self) -> Superseded {
        Superseded { span: self.span, shard: self.shard, epoch: self.epoch, created_ms: self.created_ms() }
    }

    /// The resource's canonical text, once a plugin has rendered it. The kernel never reads it, so its decisions do not
    /// depend on when that happens.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(CompactString::as_str)
    }

    /// Names the resource. A name is a function of pool and span, so the first one stays.
    pub fn set_name(&self, name: CompactString) {
        self.name.get_or_init(|| name);
    }
}

impl From<(AllocationParts, Option<CompactString>)> for Allocation {
    fn from((parts, name): (AllocationParts, Option<CompactString>)) -> Self {
        let allocation = Self::new(parts);
        if let Some(name) = name {
            allocation.set_name(name);
        }
        allocation
    }
}

impl From<Allocation> for (AllocationParts, Option<CompactString>) {
    fn from(allocation: Allocation) -> Self {
        let (created_ms, renewed_ms, seq) = (allocation.created_ms(), allocation.renewed_ms(), allocation.seq());
        let (expires_ms, kind) = (allocation.expires_ms(), allocation.kind());
        let Allocation { span, subscriber, pool, realm, shard, epoch, node, extra, name, .. } = allocation;
        let parts = AllocationParts {
            span,
            subscriber,
            pool,
            realm,
            shard,
            epoch,
            created_ms,
            renewed_ms,
            expires_ms,
            seq,
            node,
            extra,
            kind,
        };
        (parts, name.into_inner())
    }
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EndCause {
    Released,
    Expired,
    /// Its pool was deleted by force.
    PoolDeleted,
}

/// A span after its allocation: who held it from when to when, and until when it rests. Written once at the end of every
/// allocation, so history needs nothing else; it stays the span's last word until somebody holds the span again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    pub span: Span,
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub subscriber: SubscriberId,
    pub key: Option<Key>,
    pub node: Option<Arc<NodeId>>,
    /// Unix milliseconds: when the allocation was made, when it ended, until when the span rests.
    pub created_ms: u64,
    pub ended_ms: u64,
    pub until_ms: u64,
    pub cause: EndCause,
    /// The term of the shard in which it was ended.
    pub epoch: Epoch,
    /// When what was ended was last renewed, Unix milliseconds: an allocation of an earlier term that was renewed since, unheard
    /// by whoever ended it, is not what was meant. 0 in a shard's first term, which has none before it.
    pub renewed_ms: u64,
    /// The operation that wrote it.
    pub seq: Seq,
    /// The resource's canonical text if it was known, so that history can be shown without a plugin.
    pub name: Option<CompactString>,
}

/// When something was made. The term of its shard comes first, for clocks of hosts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Made {
    pub epoch: Epoch,
    pub created_ms: u64,
}

/// A span kept for a named subscriber (static addressing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub span: Span,
    pub subscriber: SubscriberId,
    pub created_ms: u64,
    /// The resource's canonical text as the plugin renders it.
    pub name: CompactString,
    /// Free-form note of the operator.
    pub note: CompactString,
    /// The term of its shard in which it was made.
    pub epoch: Epoch,
    pub seq: Seq,
}

impl Reservation {
    pub const fn made(&self) -> Made {
        Made { epoch: self.epoch, created_ms: self.created_ms }
    }

    pub const fn key(&self) -> SpanKey {
        SpanKey { pool: self.pool, realm: self.realm, span: self.span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_costs_no_more_than_144_bytes() {
        // And 160 with the two reference counts of its `Arc`.
        assert!(size_of::<Allocation>() <= 144, "{}", size_of::<Allocation>());
    }
}
