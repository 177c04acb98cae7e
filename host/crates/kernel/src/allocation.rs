//! Which span is held by which subscriber, and what becomes of it afterwards.

use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;

use crate::id::{Epoch, Fence, Key, NodeId, PoolUid, RealmUid, Seq, ShardId, SubscriberId};
use crate::span::Span;

/// Why an allocation lasts as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocationKind {
    /// Until released by the client or the lease's end.
    Session,
    /// As session, and the same resource comes back to the same subscriber for at least an hour.
    Sticky,
    /// No lease.
    Permanent,
}

/// One allocation. Shared between the kernel, the flusher and the read view; never changed in place, a renewal makes a
/// new one. Kept small, because there are millions: what is rare lives behind `extra`.
#[derive(Clone, Debug)]
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
    /// Unix time in milliseconds when the lease ends; `None`: no lease.
    pub expires_ms: Option<NonZeroU64>,
    /// The operation that wrote this state of it.
    pub seq: Seq,
    /// The OLT-BNG that asked, if it said so. Interned.
    pub node: Option<Arc<NodeId>>,
    pub extra: Option<Box<AllocationExtra>>,
    pub kind: AllocationKind,
    name: OnceLock<CompactString>,
}

/// What few allocations have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocationExtra {
    /// Not empty if the subscriber holds several in this pool on purpose.
    pub key: Option<Key>,
    /// Free-form, shown as given (JSON object as text).
    pub metadata: CompactString,
}

/// Everything of an allocation but its name.
#[derive(Clone, Debug)]
pub struct AllocationParts {
    pub span: Span,
    pub subscriber: SubscriberId,
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub shard: ShardId,
    pub epoch: Epoch,
    pub created_ms: u64,
    pub renewed_ms: u64,
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
            span, subscriber, pool, realm, shard, epoch, created_ms, renewed_ms, expires_ms, seq, node, extra, kind,
        } = parts;
        let name = OnceLock::new();
        Self { span, subscriber, pool, realm, shard, epoch, created_ms, renewed_ms, expires_ms, seq, node, extra, kind, name }
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

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    Released,
    Expired,
    /// Its pool was deleted by force.
    PoolDeleted,
}

/// A span after its allocation: who held it from when to when, and until when it rests. Written once at the end of every
/// allocation, so history needs nothing else; it stays the span's last word until somebody holds the span again.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
