//! What the kernel writes down: operations of this host's log. State is what the log says; nothing else is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::allocation::{Allocation, Made, Reservation, Resting};
use crate::conflict::Conflict;
use crate::id::{Dot, Origin, PoolUid, RealmName, RealmUid, Seq, TenantId};
use crate::note::{Note, NoteEnds};
use crate::pool::Pool;
use crate::span::Span;

/// A span of one pool in one realm, by its start and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpanKey {
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub span: Span,
}

/// Which realm a [`RealmUid`] of this log is. Written before the first fact that uses the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmRecord {
    pub uid: RealmUid,
    /// `None`: shared between all tenants.
    pub tenant: Option<TenantId>,
    pub name: RealmName,
    pub seq: Seq,
}

/// One fact. Owner-written facts are keyed by [`SpanKey`]: a span is held, or resting, or (no fact) free.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Fact {
    Pool(Arc<Pool>),
    /// The pool and everything keyed by it is gone; its allocations were released before, each by its own fact.
    PoolDeleted(PoolUid),
    Realm(Arc<RealmRecord>),
    Held(Arc<Allocation>),
    Resting(Arc<Resting>),
    /// Neither held nor resting any more, before its rest was over: written when a span is handed out again in another
    /// length, reserved, or given up by its pool. A rest that is over needs no word.
    Free(SpanKey),
    Reserved(Arc<Reservation>),
    /// `made`: what was made later stays.
    Unreserved {
        key: SpanKey,
        made: Made,
    },
    /// The wall clock was at least the operation's stamp; written when leases run and nothing else was written.
    Clock,
    /// Everything of that origin up to and including `through` is in this log: its numbers up to there that are not (what
    /// it only passed on itself, what concerned nobody else) mean nothing. The highest one of each origin counts.
    Heard {
        origin: Origin,
        through: Seq,
    },
    /// What follows in this log rests on everything that origin wrote up to this dot: written when this host begins to answer for a
    /// shard, so that nobody reads its words before those of the shard's former owners.
    RestsOn(Dot),
    /// A snapshot of another host brought what still counts of all these origins up to here, not the operations themselves: so
    /// they are heard, but this log cannot give them to others. One fact, because half of a snapshot's end would be wrong:
    /// operations of the other half would be heard over words that come after them.
    Adopted(Arc<BTreeMap<Origin, Seq>>),
    /// Somebody wrote a note, or deleted it.
    Noted(Arc<Note>),
    /// Writes of a note that do not stand any more and that no other write replaced: deletions that everybody knows of, and
    /// what a snapshot did not have. Of this log only.
    Unnoted(Arc<NoteEnds>),
    /// What another host wrote contradicts what is held here. Of this log only.
    Conflict(Arc<Conflict>),
    /// Somebody looked after the conflict of this place in the log. Of this log only.
    ConflictClosed(Seq),
}

impl Fact {
    /// That this is reserved no more.
    pub const fn unreserved(kept: &Reservation) -> Self {
        Self::Unreserved { key: kept.key(), made: kept.made() }
    }

    /// The pool whose space it is about.
    pub fn of_pool(&self) -> Option<PoolUid> {
        match self {
            Self::Held(held) => Some(held.pool),
            Self::Resting(rest) => Some(rest.pool),
            Self::Reserved(kept) => Some(kept.pool),
            Self::Free(key) | Self::Unreserved { key, .. } => Some(key.pool),
            Self::Pool(_)
            | Self::PoolDeleted(_)
            | Self::Realm(_)
            | Self::Clock
            | Self::Heard { .. }
            | Self::RestsOn(_)
            | Self::Adopted(_)
            | Self::Noted(_)
            | Self::Unnoted(_)
            | Self::Conflict(_)
            | Self::ConflictClosed(_) => None,
        }
    }

    /// Whether hosts that heard the same agree on it: what became of a span, as only its owner may say, or a note.
    pub fn is_word(&self) -> bool {
        self.of_pool().is_some() || matches!(self, Self::Noted(_))
    }
}

/// One operation of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Op {
    /// The place in this host's log, whoever wrote the operation first: gap-free from 1.
    pub seq: Seq,
    /// The wall clock as the kernel keeps it, Unix milliseconds; never goes back.
    pub stamp_ms: u64,
    /// `None`: this host's own. Else whose operation it is, and that origin's own number of it. Its own origin and number 0: it
    /// follows from the ledger's word on a pool, which each host hears itself, so it is not in the log that others read.
    pub from: Option<Dot>,
    pub fact: Fact,
}
