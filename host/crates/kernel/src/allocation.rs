//! Which span is held by which subscriber, and what becomes of it afterwards.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Fence, Key, NodeId, PoolUid, RealmUid, Seq, ShardId, SubscriberId};
use crate::span::Span;

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
/// new one. Kept small, because there are millions: what is rare lives behind `extra`, and the lease's end shares its
/// word with the kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "(AllocationParts, Option<CompactString>)", into = "(AllocationParts, Option<CompactString>)")]
pub struct Allocation {
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
    term: Term,
    /// The operation that wrote this state of it.
    pub seq: Seq,
    /// The OLT-BNG that asked, if it said so. Interned.
    pub node: Option<Arc<NodeId>>,
    pub extra: Option<Box<AllocationExtra>>,
    name: OnceLock<CompactString>,
}

/// The lease's end in milliseconds (0: no lease), times four, plus the kind. With the kind in a byte of its own an
/// allocation would cost 8 bytes more.
#[derive(Clone, Copy)]
struct Term(u64);

impl Term {
    /// The latest end that fits; further off than anybody's calendar.
    const LATEST: u64 = u64::MAX >> 2;

    fn new(expires_ms: Option<NonZeroU64>, kind: AllocationKind) -> Self {
        let end = expires_ms.map_or(0, NonZeroU64::get).min(Self::LATEST);
        let kind = match kind {
            AllocationKind::Session => 0,
            AllocationKind::Sticky => 1,
            AllocationKind::Permanent => 2,
        };
        Self(end << 2 | kind)
    }

    const fn expires_ms(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0 >> 2)
    }

    const fn kind(self) -> AllocationKind {
        match self.0 & 3 {
            0 => AllocationKind::Session,
            1 => AllocationKind::Sticky,
            _ => AllocationKind::Permanent,
        }
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} until {:?}", self.kind(), self.expires_ms())
    }
}

/// What few allocations have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationExtra {
    /// Not empty if the subscriber holds several in this pool on purpose.
    pub key: Option<Key>,
    /// Free-form, shown as given (JSON object as text).
    pub metadata: CompactString,
}

/// Everything of an allocation but its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllocationParts {
    pub span: Span,
    pub subscriber: SubscriberId,
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub shard: ShardId,
    pub epoch: Epoch,
    pub created_ms: u64,
    pub renewed_ms: u64,
    /// Unix time in milliseconds when the lease ends, below 2^62; `None`: no lease.
    pub expires_ms: Option<NonZeroU64>,
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
            created_ms,
            renewed_ms,
            term,
            seq,
            node,
            extra,
            name: OnceLock::new(),
        }
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
    pub(crate) fn renewed(&self, at_ms: u64, expires_ms: Option<NonZeroU64>, kind: AllocationKind, seq: Seq) -> Self {
        Self { renewed_ms: at_ms, term: Term::new(expires_ms, kind), seq, ..self.clone() }
    }

    /// What every answer about it carries.
    pub fn fence(&self) -> Fence {
        Fence { pool: self.pool, shard: self.shard, epoch: self.epoch }
    }

    /// The allocation's key; empty unless the request named one.
    pub fn key(&self) -> Option<&Key> {
        self.extra.as_ref().and_then(|extra| extra.key.as_ref())
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
        let (expires_ms, kind) = (allocation.expires_ms(), allocation.kind());
        let Allocation { span, subscriber, pool, realm, shard, epoch, created_ms, renewed_ms, .. } = allocation;
        let Allocation { seq, node, extra, name, .. } = allocation;
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
    /// The operation that wrote it.
    pub seq: Seq,
    /// The resource's canonical text if it was known, so that history can be shown without a plugin.
    pub name: Option<CompactString>,
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
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_costs_no_more_than_152_bytes() {
        assert!(size_of::<Allocation>() <= 152, "{}", size_of::<Allocation>());
    }

    #[test]
    fn a_term_gives_back_what_it_was_made_of() {
        for kind in [AllocationKind::Session, AllocationKind::Sticky, AllocationKind::Permanent] {
            for end in [0, 1, 1_700_000_000_000, Term::LATEST] {
                let term = Term::new(NonZeroU64::new(end), kind);
                assert_eq!((term.expires_ms(), term.kind()), (NonZeroU64::new(end), kind));
            }
        }
    }
}
