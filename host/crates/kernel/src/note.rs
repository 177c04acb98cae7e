//! Notes: short texts under a key of a tenant, which any host may write and nobody allocates from (what an OLT is called, whom
//! to ring up about a site).
//!
//! Several may write one note at the same time, so one of the writes must win everywhere: the one with the latest
//! [`NoteStamp`], then with the higher origin. But only among writes of which neither knew of the other: a write replaces all
//! that its host knew of the note, whatever their stamps say, so a clock that is wrong decides nothing for long. What lost
//! stays and is listed until somebody writes the note again.
//!
//! A deletion is a write too, and stays until every member knows of it (`kernel::collect` says when that is).

mod book;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::id::{Dot, MemberId, NoteKey, NoteText, Origin, Seq, TenantId};

pub(crate) use book::Recovered;
pub use book::{Notes, Written};

/// When a note was written: the writer's kept clock, Unix milliseconds, and a count that tells apart what falls on one of them.
/// No earlier than any stamp that the writer had heard, unless that was too far ahead to be believed. Shown as
/// `<milliseconds>.<count>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NoteStamp {
    pub ms: u64,
    pub count: u32,
}

impl NoteStamp {
    /// A host's clock follows a stamp it hears at most so far ahead of itself, milliseconds. A host whose clock is far ahead
    /// thus wins over what is written at the same time, and nobody else's clock is moved by it.
    pub const BELIEVED_AHEAD_MS: u64 = 300_000;

    /// The next stamp at a moment: above this one.
    #[must_use]
    pub(crate) fn next(self, now_ms: u64) -> Self {
        match self.count.checked_add(1) {
            _ if now_ms > self.ms => Self { ms: now_ms, count: 0 },
            Some(count) => Self { count, ..self },
            None => Self { ms: self.ms.saturating_add(1), count: 0 },
        }
    }

    /// Whether a clock that shows this moment follows it.
    pub(crate) const fn is_believed(self, now_ms: u64) -> bool {
        self.ms <= now_ms.saturating_add(Self::BELIEVED_AHEAD_MS)
    }
}

impl fmt::Display for NoteStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms, self.count)
    }
}

/// A text that is no [`NoteStamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no version of a note, which is `<milliseconds>.<count>`")]
pub struct InvalidStamp {
    found: String,
}

impl FromStr for NoteStamp {
    type Err = InvalidStamp;

    fn from_str(raw: &str) -> Result<Self, InvalidStamp> {
        let parsed = raw.split_once('.').and_then(|(ms, count)| {
            let stamp = Self { ms: ms.parse().ok()?, count: count.parse().ok()? };
            // One way to write it, as it is compared.
            (stamp.to_string() == raw).then_some(stamp)
        });
        parsed.ok_or_else(|| InvalidStamp { found: raw.chars().take(64).collect() })
    }
}

/// One write of a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub tenant: TenantId,
    pub key: NoteKey,
    /// `None`: it is deleted.
    pub value: Option<NoteText>,
    pub stamp: NoteStamp,
    /// Who wrote it; nobody in particular on a host that was alone.
    pub by: Origin,
    /// Of each of these origins, whoever wrote this knew every write of the note up to there. They are replaced by this one, as
    /// are the writer's own before it.
    pub knew: Box<[Dot]>,
    /// The places in this host's log of the writes that this one replaced here. Its own among them: it was replaced by another
    /// one already when it was heard of.
    pub ends: Box<[Seq]>,
}

impl Note {
    /// Origins that a write speaks of at most. Beyond it a write may lose against one that it replaces, and be written again.
    pub const MOST_KNOWN: usize = 256;

    /// Whether this write, `seq` in its writer's log, replaces that one.
    pub(crate) fn replaces(&self, seq: Seq, other: Dot) -> bool {
        let earlier = other.origin == self.by && other.seq < seq;
        earlier || self.knew.iter().any(|known| known.origin == other.origin && known.seq >= other.seq)
    }
}

/// Writes of one note that do not stand any more, by their places in this host's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteEnds {
    pub tenant: TenantId,
    pub key: NoteKey,
    pub places: Box<[Seq]>,
}

/// What a fact says of a note.
#[derive(Clone, Copy, Debug)]
pub enum NoteWord<'f> {
    Noted(&'f Arc<Note>),
    Unnoted(&'f Arc<NoteEnds>),
}

impl<'f> NoteWord<'f> {
    /// `None`: the fact is not about a note.
    pub fn of(fact: &'f Fact) -> Option<Self> {
        match fact {
            Fact::Noted(note) => Some(Self::Noted(note)),
            Fact::Unnoted(ends) => Some(Self::Unnoted(ends)),
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Held(_)
            | Fact::Resting(_)
            | Fact::Free(_)
            | Fact::Reserved(_)
            | Fact::Unreserved { .. }
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => None,
        }
    }

    /// Whose note, and which.
    pub fn about(self) -> (&'f TenantId, &'f NoteKey) {
        match self {
            Self::Noted(note) => (&note.tenant, &note.key),
            Self::Unnoted(ends) => (&ends.tenant, &ends.key),
        }
    }

    /// Places in this host's log of what stands no more.
    pub fn ends(self) -> &'f [Seq] {
        match self {
            Self::Noted(note) => &note.ends,
            Self::Unnoted(ends) => &ends.places,
        }
    }
}

/// A note to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutNote {
    pub tenant: TenantId,
    pub key: NoteKey,
    /// `None`: to be deleted.
    pub value: Option<NoteText>,
    /// Refuse if this host knows another version.
    pub expected: Option<NoteStamp>,
}

/// The members by the ledger, as this host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberList {
    pub me: MemberId,
    /// Under which name each writes.
    pub members: BTreeMap<MemberId, Origin>,
    /// The entry by which one came or went last.
    pub changed: u64,
    /// The entry up to which this host was told.
    pub told: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_above_the_one_before_whatever_the_clock_says() {
        let stamp = NoteStamp { ms: 50, count: 3 };
        assert_eq!(stamp.next(60), NoteStamp { ms: 60, count: 0 });
        assert_eq!(stamp.next(50), NoteStamp { ms: 50, count: 4 });
        assert_eq!(stamp.next(0), NoteStamp { ms: 50, count: 4 });
        assert_eq!(NoteStamp { ms: 50, count: u32::MAX }.next(0), NoteStamp { ms: 51, count: 0 });
    }

    #[test]
    fn a_version_is_written_in_one_way() {
        let stamp = NoteStamp { ms: 1_800_000_000_000, count: 7 };
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        for wrong in ["", "7", ".", "7.", "+7.0", "07.0", "7.0 ", "7.99999999999"] {
            assert!(wrong.parse::<NoteStamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_has_no_empty_parts_and_nothing_that_cannot_be_seen() {
        for right in ["a", "olt/north-1", "tenant/größe x", &"k".repeat(255)] {
            assert!(right.parse::<NoteKey>().is_ok(), "{right}");
        }
        for wrong in ["", "/", "/a", "a/", "a//b", "a\nb", &"k".repeat(256)] {
            assert!(wrong.parse::<NoteKey>().is_err(), "{wrong}");
        }
        assert!("two\nlines\t".parse::<NoteText>().is_ok() && "".parse::<NoteText>().is_ok());
        assert!("\0".parse::<NoteText>().is_err() && "x".repeat(4_097).parse::<NoteText>().is_err());
    }
}
