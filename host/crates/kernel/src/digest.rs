//! What hosts that heard the same must agree on, in 128 bits: what is held and what is reserved, each row by what its owner
//! wrote. Numbers that mean something on one host only (realms, places in the log) are not in it, nor are rests: a host that
//! forgot one whose time is over lacks nothing.
//!
//! Each row is hashed by itself and the hashes are added up, so a change costs two of them and their order does not matter.
//! It finds mistakes, not forgeries: members trust each other.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::allocation::{Allocation, AllocationKind, Reservation};
use crate::hash;
use crate::id::{Origin, PoolUid, RealmUid, Seq};
use crate::span::Span;

/// A fingerprint of what is held and reserved; shown as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A digest and what it is the digest of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How far each origin is known, this host's own log among them.
    pub heard: BTreeMap<Origin, Seq>,
    /// Of each origin, no operation after this one said anything of a span, as far as it is known.
    pub words: BTreeMap<Origin, Seq>,
    pub digest: Digest,
}

impl Fingerprint {
    /// Whether both know the same words, so that their digests must be equal. Logs also grow by what only concerns the host
    /// that writes them (above all how far it heard others), so equal ends would be waited for in vain.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.knows(other) && other.knows(self)
    }

    fn knows(&self, other: &Self) -> bool {
        let heard = |origin| self.heard.get(origin).copied().unwrap_or_default();
        other.words.iter().all(|(origin, last)| heard(origin) >= *last)
    }
}

/// Two hashes of the same words, begun differently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes(u64, u64);

impl Lanes {
    pub(crate) const fn new(kind: u64) -> Self {
        Self(hash::word(0x243f_6a88_85a3_08d3, kind), hash::word(0x1319_8a2e_0370_7344, kind))
    }

    pub(crate) const fn word(self, word: u64) -> Self {
        Self(hash::word(self.0, word), hash::word(self.1, !word))
    }

    #[allow(clippy::cast_possible_truncation, reason = "both halves are hashed")]
    pub(crate) const fn wide(self, wide: u128) -> Self {
        self.word((wide >> 64) as u64).word(wide as u64)
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        Self(hash::bytes(self.0, bytes), hash::bytes(self.1, bytes))
    }

    fn text(self, text: Option<&str>) -> Self {
        match text {
            None => self.word(0),
            Some(text) => self.word(1).bytes(text.as_bytes()),
        }
    }

    fn span(self, span: Span) -> Self {
        self.wide(span.start()).wide(span.len())
    }

    pub(crate) fn sum(self) -> u128 {
        u128::from(self.0) << 64 | u128::from(self.1)
    }
}

/// Of one allocation. Which pool and realm it is in is added for all of them at once.
pub(crate) fn of_held(held: &Allocation) -> u128 {
    let kind = match held.kind() {
        AllocationKind::Session => 0,
        AllocationKind::Sticky => 1,
        AllocationKind::Permanent => 2,
    };
    let metadata = held.extra.as_ref().map_or("", |extra| extra.metadata.as_str());
    let lanes = Lanes::new(1)
        .span(held.span)
        .text(Some(held.subscriber.as_str()))
        .text(held.key().map(crate::id::Key::as_str))
        .word(u64::from(held.shard.0) << 32 | u64::from(held.epoch.0))
        .word(held.created_ms())
        .word(held.renewed_ms())
        .word(held.expires_ms().map_or(0, std::num::NonZeroU64::get))
        .word(kind)
        .text(held.node.as_ref().map(|node| node.as_str()))
        .bytes(metadata.as_bytes());
    match held.supersedes() {
        None => lanes,
        Some(mark) => {
            let lanes = lanes.span(mark.span).word(u64::from(mark.shard.0) << 32 | u64::from(mark.epoch.0));
            lanes.word(mark.created_ms)
        }
    }
    .sum()
}

/// Of one reservation.
pub(crate) fn of_reserved(kept: &Reservation) -> u128 {
    Lanes::new(2)
        .span(kept.span)
        .text(Some(kept.subscriber.as_str()))
        .word(kept.created_ms)
        .bytes(kept.name.as_bytes())
        .bytes(kept.note.as_bytes())
        .sum()
}

/// The sum of the rows of each (pool, realm); those without rows are not in it.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    by_place: BTreeMap<(PoolUid, RealmUid), (u64, u128)>,
}

impl Sums {
    pub(crate) fn add(&mut self, of: (PoolUid, RealmUid), row: u128) {
        let (rows, sum) = self.by_place.entry(of).or_default();
        *rows += 1;
        *sum = sum.wrapping_add(row);
    }

    pub(crate) fn subtract(&mut self, of: (PoolUid, RealmUid), row: u128) {
        let Some((rows, sum)) = self.by_place.get_mut(&of) else { return };
        *rows -= 1;
        *sum = sum.wrapping_sub(row);
        if *rows == 0 {
            self.by_place.remove(&of);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ((PoolUid, RealmUid), u128)> + '_ {
        self.by_place.iter().map(|(of, (_, sum))| (*of, *sum))
    }
}
