//! The number line: spans and series of spans, with arithmetic that never overflows.

use std::fmt;

/// The half-open run `[start, start + len)`. Well formed if `len` is at least 1 and the run ends on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: u128,
    pub len: u128,
}

impl Span {
    pub const fn new(start: u128, len: u128) -> Self {
        Self { start, len }
    }

    /// The span of one position.
    pub const fn unit(start: u128) -> Self {
        Self { start, len: 1 }
    }

    /// The span from `first` to `last`, both included. None if `last` comes before `first` or the span is the whole
    /// line, whose length has no `u128`.
    ///
    /// ```
    /// # use nexus_plugin_contract::Span;
    /// assert_eq!(Span::between(100, 199), Some(Span::new(100, 100)));
    /// assert_eq!(Span::between(2, 1), None);
    /// assert_eq!(Span::between(0, u128::MAX), None);
    /// ```
    pub const fn between(first: u128, last: u128) -> Option<Self> {
        let Some(steps) = last.checked_sub(first) else { return None };
        let Some(len) = steps.checked_add(1) else { return None };
        Some(Self { start: first, len })
    }

    /// The last position. None if the span is not well formed.
    pub const fn last(self) -> Option<u128> {
        match self.len.checked_sub(1) {
            Some(steps) => self.start.checked_add(steps),
            None => None,
        }
    }

    /// True if both are well formed and `other` lies inside.
    pub fn contains(self, other: Self) -> bool {
        self.bounds().zip(other.bounds()).is_some_and(|((a, b), (c, d))| a <= c && d <= b)
    }

    /// True if both are well formed and have a position in common.
    pub fn intersects(self, other: Self) -> bool {
        self.bounds().zip(other.bounds()).is_some_and(|((a, b), (c, d))| a <= d && c <= b)
    }

    fn bounds(self) -> Option<(u128, u128)> {
        self.last().map(|last| (self.start, last))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.len)
    }
}

/// `count` spans of `len`, the n-th beginning at `start + n * stride`. With `count` 1 the stride means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    pub start: u128,
    pub len: u128,
    pub stride: u128,
    pub count: u64,
}

impl From<Span> for Series {
    fn from(span: Span) -> Self {
        Self { start: span.start, len: span.len, stride: span.len, count: 1 }
    }
}

impl Series {
    /// The n-th span. None past the end, or if it would leave the line.
    pub fn nth(&self, n: u64) -> Option<Span> {
        if n >= self.count {
            return None;
        }
        let offset = if n == 0 { 0 } else { self.stride.checked_mul(u128::from(n))? };
        let span = Span::new(self.start.checked_add(offset)?, self.len);
        span.last().map(|_| span)
    }

    /// The run from the first position to the last. None unless the series is well formed: at least one span, none
    /// empty, none reaching into the next, all on the line.
    pub fn hull(&self) -> Option<Span> {
        if self.count > 1 && self.stride < self.len {
            return None;
        }
        let last = self.nth(self.count.checked_sub(1)?)?.last()?;
        Span::between(self.start, last)
    }

    /// How many positions the series holds. None if there are 2^128 or more.
    pub fn positions(&self) -> Option<u128> {
        self.len.checked_mul(u128::from(self.count))
    }

    /// The span of the series that `inner` lies in, if one does.
    ///
    /// ```
    /// # use nexus_plugin_contract::{Series, Span};
    /// let every_tenth = Series { start: 100, len: 2, stride: 10, count: 3 };
    /// assert_eq!(every_tenth.locate(Span::unit(111)), Some(Span::new(110, 2)));
    /// assert_eq!(every_tenth.locate(Span::new(111, 2)), None);
    /// assert_eq!(every_tenth.locate(Span::unit(130)), None);
    /// ```
    pub fn locate(&self, inner: Span) -> Option<Span> {
        let offset = inner.start.checked_sub(self.start)?;
        let n = if self.count > 1 { offset.checked_div(self.stride)? } else { 0 };
        let span = self.nth(u64::try_from(n).ok()?)?;
        span.contains(inner).then_some(span)
    }

    /// True if a position belongs to both. None if one is not well formed, or if their hulls meet and their strides
    /// differ: such a pair may not stand in one layout, because no cheap answer is exact.
    pub fn intersects(&self, other: &Self) -> Option<bool> {
        let (first, second) = if self.start <= other.start { (self, other) } else { (other, self) };
        if !first.hull()?.intersects(second.hull()?) {
            return Some(false);
        }
        let stride = match (first.count, second.count) {
            (1, 1) => return Some(true),
            (1, _) => second.stride,
            (_, 1) => first.stride,
            _ if first.stride == second.stride => first.stride,
            _ => return None,
        };
        Some(first.meets(second, stride))
    }

    /// Whether any span of `later`, whose start is not before ours, meets one of ours. A single span may be longer than
    /// the stride of the other series; it then meets every span between its ends.
    fn meets(&self, later: &Self, stride: u128) -> bool {
        let distance = later.start - self.start;
        if self.count == 1 {
            return distance < self.len; // the first of the later ones is the nearest
        }
        let (step, offset) = (distance / stride, distance % stride);
        let ours = u128::from(self.count);
        let same_step = step < ours && offset < self.len;
        let next_step = step + 1 < ours && offset.saturating_add(later.len) > stride;
        same_step || next_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(start: u128, len: u128, stride: u128, count: u64) -> Series {
        Series { start, len, stride, count }
    }

    #[test]
    fn a_span_past_the_end_of_the_line_has_no_last_position() {
        assert_eq!(Span::new(u128::MAX, 1).last(), Some(u128::MAX));
        assert_eq!(Span::new(u128::MAX, 2).last(), None);
        assert_eq!(Span::new(5, 0).last(), None);
        assert!(!Span::new(0, 10).contains(Span::new(5, 0)));
    }

    #[test]
    fn a_series_that_overlaps_itself_has_no_hull() {
        assert_eq!(series(0, 3, 2, 2).hull(), None);
        assert_eq!(series(0, 3, 2, 1).hull(), Some(Span::new(0, 3)));
        assert_eq!(series(0, 1, u128::MAX, 3).hull(), None);
        assert_eq!(series(0, 1, 1, 0).hull(), None);
    }

    /// The cheap answer against counting, over all small pairs.
    #[test]
    fn intersection_agrees_with_counting() {
        let small: Vec<_> = (0..9_u128)
            .flat_map(|start| (1..5).flat_map(move |len| (1..4).map(move |count| series(start, len, 4, count))))
            .collect();
        let members = |s: &Series| -> std::collections::BTreeSet<u128> {
            (0..s.count).filter_map(|n| s.nth(n)).flat_map(|x| x.start..x.start + x.len).collect()
        };
        for a in &small {
            for b in &small {
                assert_eq!(a.intersects(b), Some(!members(a).is_disjoint(&members(b))), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_long_single_span_meets_a_fine_series() {
        assert_eq!(series(0, 100, 0, 1).intersects(&series(50, 1, 10, 3)), Some(true));
        assert_eq!(series(45, 100, 0, 1).intersects(&series(40, 1, 50, 3)), Some(true));
        assert_eq!(series(41, 40, 0, 1).intersects(&series(40, 1, 50, 3)), Some(false));
        assert_eq!(series(0, 1, 2, 9).intersects(&series(1, 1, 3, 9)), None);
    }
}
