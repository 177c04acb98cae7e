//! What the application layer answers. Records are shared, not copied; every allocation in here has its name.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{
    Allocation, AllocationKind, Durability, ExplainedOutcome, NodeId, NoteKey, Occupancy, Pool, RealmName, Reservation,
    Resting, Seq, SpanKey, Strategy, Written,
};

use crate::ports::HistoryEntry;

/// One live allocation and its pool.
#[derive(Clone, Debug)]
pub struct Holding {
    pub allocation: Arc<Allocation>,
    pub pool: Arc<Pool>,
}

impl Holding {
    /// The resource's canonical text.
    pub fn resource(&self) -> &str {
        // The application layer names an allocation before it shows it.
        self.allocation.name().unwrap_or_default()
    }

    /// The bare address, as it is written in the name. Empty for other types than `ipv4` and `ipv6`.
    pub fn ip(&self) -> &str {
        match self.pool.draft.type_id.as_str() {
            "ipv4" | "ipv6" => self.resource().split('/').next().unwrap_or_default(),
            _ => "",
        }
    }

    /// The prefix length of types `ipv4` and `ipv6`.
    pub fn prefix(&self) -> Option<u8> {
        let whole = match self.pool.draft.type_id.as_str() {
            "ipv4" => 32,
            "ipv6" => 128,
            _ => return None,
        };
        match self.resource().split_once('/') {
            Some((_, prefix)) => prefix.parse().ok(),
            None => Some(whole),
        }
    }

    /// Whole seconds of the lease as it was granted; `None` if there is none.
    pub fn ttl_seconds(&self) -> Option<u64> {
        let end = self.allocation.expires_ms()?.get();
        Some(end.saturating_sub(self.allocation.renewed_ms()).div_ceil(1000))
    }

    /// `session`, `sticky` or `permanent`.
    pub fn alloc_type(&self) -> &'static str {
        match self.allocation.kind() {
            AllocationKind::Session => "session",
            AllocationKind::Sticky => "sticky",
            AllocationKind::Permanent => "permanent",
        }
    }
}

/// The answer to an allocate or a renewal.
#[derive(Clone, Debug)]
pub struct Granted {
    pub holding: Holding,
    /// False: the subscriber held it already.
    pub created: bool,
    /// On how many hosts' disks it was when it was answered.
    pub durability: Durability,
}

/// What a subscriber holds.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// The newest ipv4, else the newest ipv6, else the newest.
    pub shown: Holding,
    /// All, newest first.
    pub all: Vec<Holding>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// How many there are on all pages, now.
    pub total: u64,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// A pool that was made, or was there already, the same.
#[derive(Clone, Debug)]
pub struct PoolCreated {
    pub pool: Arc<Pool>,
    pub created: bool,
}

/// What an update did, or (dry run) would do.
#[derive(Clone, Debug)]
pub struct PoolUpdated {
    pub pool: Arc<Pool>,
    /// Grains the pool gains and loses.
    pub added_grains: u128,
    pub removed_grains: u128,
    /// False if it was a dry run.
    pub applied: bool,
}

/// How full a pool is.
#[derive(Clone, Debug)]
pub struct PoolStats {
    pub pool: Arc<Pool>,
    /// Over all its realms.
    pub sum: Occupancy,
    /// Of each realm that was ever used, by name.
    pub realms: Vec<(RealmName, Occupancy)>,
    /// What each further realm has at its first use, in a pool whose requests make its realms; `None` in others.
    pub per_realm: Option<Occupancy>,
    /// Of its shards, those from which nothing new is handed out for now: quarantined, or seized.
    pub quarantined_shards: usize,
    /// A few short texts that together cover the pool, if its plugin can be asked.
    pub summary: Vec<CompactString>,
}

impl PoolStats {
    /// Held of what can be held at all, 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people and graphs")]
    pub fn utilization(&self) -> f64 {
        let usable = self.sum.total.saturating_sub(self.sum.excluded);
        if usable == 0 { 0.0 } else { self.sum.held as f64 / usable as f64 }
    }
}

/// Who holds or held a resource.
#[derive(Clone, Debug)]
pub struct Holders {
    /// The canonical text.
    pub resource: CompactString,
    /// Now, or at the asked moment and still; one for each realm that has one.
    pub current: Vec<Holding>,
    /// Past holders: of the asked moment only, or the newest ones.
    pub past: Vec<PastHolder>,
    /// The history is complete from here on, Unix milliseconds; `None` if it was not asked.
    pub history_from_ms: Option<u64>,
}

/// Who held it once.
#[derive(Clone, Debug)]
pub struct PastHolder {
    pub pool: Arc<Pool>,
    pub realm: Option<RealmName>,
    pub entry: HistoryEntry,
    pub resource: CompactString,
}

/// Where a request would go, or why it would fail.
#[derive(Clone, Debug)]
pub struct Explained {
    pub pool: Arc<Pool>,
    pub outcome: ExplainedOutcome,
    /// The text of the span that would be given, or that the failure is about.
    pub resource: Option<CompactString>,
    /// What the caller would be told if it would fail.
    pub failure: Option<super::error::AppError>,
    /// The realm's name; `None` if it was never used.
    pub realm: Option<RealmName>,
    pub occupancy: Occupancy,
    pub strategy: Strategy,
}

/// A reservation and its pool.
#[derive(Clone, Debug)]
pub struct Reserved {
    pub reservation: Arc<Reservation>,
    pub pool: Arc<Pool>,
    pub realm: Option<RealmName>,
}

/// A note: what stands of it, the winner first.
#[derive(Clone, Debug)]
pub struct NoteShown {
    pub key: NoteKey,
    /// Empty: it is gone.
    pub writes: Vec<Written>,
}

impl NoteShown {
    /// What it says, if it is not deleted.
    pub fn winner(&self) -> Option<&Written> {
        self.writes.first()
    }

    /// What lost against the winner and says something else.
    pub fn losers(&self) -> impl Iterator<Item = &Written> {
        let winner = self.winner().map(|winner| &winner.note.value);
        self.writes.iter().skip(1).filter(move |write| Some(&write.note.value) != winner)
    }
}

/// A reservation that was written, or was there already.
#[derive(Clone, Debug)]
pub struct ReservationMade {
    pub reserved: Reserved,
    pub created: bool,
}

/// What is open between hosts.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// The same on every host.
    pub id: String,
    pub kind: ConflictKind,
    /// What has to go.
    pub superseded: Holding,
    /// What stands in its place; `None` if nobody holds it any more.
    pub survivor: Option<Holding>,
}

/// Why something has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// A subscriber has two allocations.
    Superseded,
    /// A host handed out what another holds for somebody else.
    Contradiction,
}

impl ConflictKind {
    /// The word for it in REST and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Contradiction => "contradiction",
        }
    }
}

/// An OLT-BNG that has allocations.
#[derive(Clone, Debug)]
pub struct NodeSeen {
    pub id: Arc<NodeId>,
    pub allocations: u64,
}

/// One thing that happened, as a watcher is told.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// Names the event; a watch may resume after it.
    pub seq: Seq,
    /// Unix milliseconds.
    pub at_ms: u64,
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Change {
    Allocated(Holding),
    Renewed(Holding),
    /// Released, expired, or the pool was deleted: `resting.cause` says which.
    Ended {
        resting: Arc<Resting>,
        pool: Arc<Pool>,
        resource: CompactString,
    },
    PoolCreated(Arc<Pool>),
    PoolUpdated(Arc<Pool>),
    PoolDeleted(Arc<Pool>),
    Reserved(Reserved),
    Unreserved {
        pool: Arc<Pool>,
        key: SpanKey,
        resource: CompactString,
    },
    /// A subscriber has two allocations.
    Conflict(Conflict),
    /// He has one less, or another one of them stands.
    ConflictClosed(Conflict),
    Note(NoteShown),
}

impl Change {
    /// The word for it in both faces.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allocated(_) => "allocated",
            Self::Renewed(_) => "renewed",
            Self::Ended { resting, .. } => match resting.cause {
                kernel::EndCause::Released => "released",
                kernel::EndCause::Expired => "expired",
                kernel::EndCause::PoolDeleted => "pool-released",
            },
            Self::PoolCreated(_) => "pool-created",
            Self::PoolUpdated(_) => "pool-updated",
            Self::PoolDeleted(_) => "pool-deleted",
            Self::Reserved(_) => "reserved",
            Self::Unreserved { .. } => "unreserved",
            Self::Conflict(_) => "conflict",
            Self::ConflictClosed(_) => "conflict-closed",
            Self::Note(note) => match note.winner() {
                _ if note.losers().next().is_some() => "note-disputed",
                Some(winner) if winner.note.value.is_some() => "note-written",
                Some(_) | None => "note-deleted",
            },
        }
    }
}

/// What a watch got.
#[derive(Clone, Debug)]
pub enum Watched {
    /// In order; never empty.
    Events(Vec<WatchEvent>),
    /// Events after `after` are no longer kept: whatever happened until `resumed` was missed. The watch goes on from there.
    Gap { after: Seq, resumed: Seq },
}
