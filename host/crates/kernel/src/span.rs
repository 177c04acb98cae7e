//! Positions on a type's number line. A position is a `u128`; the line ends at `u128::MAX`, which itself is never used, so
//! that `end` always fits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The half-open run `[start, start + len)`. Never empty, never past the end of the line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u128, u128)", into = "(u128, u128)")]
pub struct Span {
    start: Wide,
    len: Wide,
}

/// A `u128` in two words, the high one first so that the derived order is that of the number. Aligned to 8 bytes and not
/// to 16: spans stand in records of which there are millions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wide {
    high: u64,
    low: u64,
}

impl Wide {
    #[allow(clippy::cast_possible_truncation, reason = "splitting into halves is the point")]
    const fn new(value: u128) -> Self {
        Self { high: (value >> 64) as u64, low: value as u64 }
    }

    const fn get(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

impl Span {
    /// `None` if `len` is 0 or the end does not fit.
    pub const fn new(start: u128, len: u128) -> Option<Self> {
        if len == 0 || start.checked_add(len).is_none() {
            None
        } else {
            Some(Self { start: Wide::new(start), len: Wide::new(len) })
        }
    }

    /// The first position.
    pub const fn start(self) -> u128 {
        self.start.get()
    }

    /// How many positions, at least 1.
    pub const fn len(self) -> u128 {
        self.len.get()
    }

    /// Always false; a span is never empty.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// The position after the last.
    pub const fn end(self) -> u128 {
        self.start() + self.len()
    }

    /// True if both share a position.
    pub const fn intersects(self, other: Self) -> bool {
        self.start() < other.end() && other.start() < self.end()
    }

    /// True if every position of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.start() <= other.start() && other.end() <= self.end()
    }

    /// What both share.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start().max(other.start());
        let end = self.end().min(other.end());
        end.checked_sub(start).and_then(|len| Self::new(start, len))
    }
}

impl TryFrom<(u128, u128)> for Span {
    type Error = &'static str;
    fn try_from((start, len): (u128, u128)) -> Result<Self, Self::Error> {
        Self::new(start, len).ok_or("a span is not empty and ends on the line")
    }
}

impl From<Span> for (u128, u128) {
    fn from(span: Span) -> Self {
        (span.start(), span.len())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x} +{:#x}]", self.start(), self.len())
    }
}

/// `count` spans of one length, the n-th beginning at `first.start + n * stride`. Never expanded: ".0 of every /24" is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Span, u128, u64)", into = "(Span, u128, u64)")]
pub struct Series {
    first: Span,
    stride: u128,
    count: u64,
}

impl Series {
    /// `None` if `count` is 0, members would touch each other's positions, or the last does not fit on the line.
    pub fn new(first: Span, stride: u128, count: u64) -> Option<Self> {
        let plain = count == 1;
        if count == 0 || (!plain && stride < first.len()) {
            return None;
        }
        let stride = if plain { first.len() } else { stride };
        let reach = stride.checked_mul(u128::from(count) - 1)?;
        first.start().checked_add(reach)?.checked_add(first.len())?;
        Some(Self { first, stride, count })
    }

    /// A single span.
    pub const fn one(span: Span) -> Self {
        Self { first: span, stride: span.len(), count: 1 }
    }

    /// The first member.
    pub const fn first(self) -> Span {
        self.first
    }

    /// From one member's start to the next's.
    pub const fn stride(self) -> u128 {
        self.stride
    }

    /// How many members, at least 1.
    pub const fn count(self) -> u64 {
        self.count
    }

    /// The n-th member, from 0.
    pub fn get(self, n: u64) -> Option<Span> {
        if n >= self.count {
            return None;
        }
        Span::new(self.first.start() + self.stride * u128::from(n), self.first.len())
    }

    /// From the first member's start to the last one's end.
    pub fn cover(self) -> Span {
        let last = self.get(self.count - 1).expect("a series has at least one member");
        Span::new(self.first.start(), last.end() - self.first.start()).expect("the last member ends on the line")
    }

    /// Positions held by all members together.
    pub fn positions(self) -> u128 {
        self.first.len() * u128::from(self.count)
    }
}

impl TryFrom<(Span, u128, u64)> for Series {
    type Error = &'static str;
    fn try_from((first, stride, count): (Span, u128, u64)) -> Result<Self, Self::Error> {
        Self::new(first, stride, count).ok_or("a series has members, apart from each other, that end on the line")
    }
}

impl From<Series> for (Span, u128, u64) {
    fn from(series: Series) -> Self {
        (series.first, series.stride, series.count)
    }
}
