//! Numbers in six bytes. An allocation has four of them, and eight bytes less of it is a size class less of the
//! allocator's. Nobody outside an allocation sees them: what goes in and comes out is whole.

use std::fmt;
use std::num::NonZeroU64;

use super::AllocationKind;

/// A number below 2^48, without alignment. As Unix milliseconds it reaches the year 10889; as a count of operations it
/// lasts 29 years at 300,000 a second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed([u8; 6]);

impl Packed {
    pub(super) const MOST: u64 = (1 << 48) - 1;

    /// What is larger is cut to [`Packed::MOST`].
    pub(super) const fn new(value: u64) -> Self {
        let value = if value > Self::MOST { Self::MOST } else { value };
        let [kept @ .., _, _] = value.to_le_bytes();
        Self(kept)
    }

    pub(super) const fn get(self) -> u64 {
        let [w, x, y, z, high @ ..] = self.0;
        u32::from_le_bytes([w, x, y, z]) as u64 | (u16::from_le_bytes(high) as u64) << 32
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The lease's end in milliseconds (0: no lease), times four, plus the kind.
#[derive(Clone, Copy)]
pub(super) struct Term(Packed);

impl Term {
    /// The latest end that fits, in the year 4199; further off than anybody's calendar.
    pub(super) const LATEST: u64 = Packed::MOST >> 2;

    /// A later end is cut to [`Term::LATEST`].
    pub(super) fn new(expires_ms: Option<NonZeroU64>, kind: AllocationKind) -> Self {
        let end = expires_ms.map_or(0, NonZeroU64::get).min(Self::LATEST);
        let kind = match kind {
            AllocationKind::Session => 0,
            AllocationKind::Sticky => 1,
            AllocationKind::Permanent => 2,
        };
        Self(Packed::new(end << 2 | kind))
    }

    pub(super) const fn expires_ms(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.get() >> 2)
    }

    pub(super) const fn kind(self) -> AllocationKind {
        match self.0.get() & 3 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_number_is_what_went_in_or_the_most_that_fits() {
        for value in [0, 1, 255, 256, 1_700_000_000_000, Packed::MOST - 1, Packed::MOST] {
            assert_eq!(Packed::new(value).get(), value);
        }
        for value in [Packed::MOST + 1, u64::MAX] {
            assert_eq!(Packed::new(value).get(), Packed::MOST);
        }
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

    #[test]
    fn an_end_beyond_the_calendar_is_cut_and_leaves_the_kind_alone() {
        for end in [Term::LATEST + 1, 1 << 62, u64::MAX] {
            let term = Term::new(NonZeroU64::new(end), AllocationKind::Sticky);
            assert_eq!((term.expires_ms(), term.kind()), (NonZeroU64::new(Term::LATEST), AllocationKind::Sticky));
        }
    }
}
