//! A shard too large for a bitmap, as the ordered gaps between what is taken. Exclusions are not gaps' borders (there may be
//! more of them than fit anywhere); a gap in which nothing fits because of them is remembered to have no room.

use super::gaps::{Gap, Gaps};
use super::layout::Layout;
use super::terrain::Terrain;
use crate::span::Span;

/// The free space of one shard.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    gaps: Gaps,
}

impl Sparse {
    /// All free but what is excluded.
    pub(super) fn new(layout: &Layout, cover: Span) -> Self {
        Self { gaps: Gaps::one(gap(layout.terrain(), cover.start(), cover.end())) }
    }

    /// No free span has more grains than this.
    pub(super) fn room(&self) -> u128 {
        self.gaps.best()
    }

    /// True if nothing of the span is taken. It may be excluded.
    pub(super) fn is_free(&self, span: Span) -> bool {
        self.gaps.last_from(span.start()).is_some_and(|gap| gap.end >= span.end())
    }

    /// The lowest free span of so many grains with `low <= start` and `end <= high`.
    pub(super) fn first_fit(&mut self, layout: &Layout, low: u128, high: u128, grains: u128) -> Option<u128> {
        let terrain = layout.terrain();
        let len = grains * terrain.grain;
        let mut after = low;
        while let Some(gap) = self.gaps.first_with(after, grains).filter(|gap| gap.start < high) {
            if let Some(span) = terrain.first_fit(gap.start.max(low), gap.end.min(high), len) {
                return Some(span.start());
            }
            if low <= gap.start && gap.end <= high {
                let less = if layout.is_natural() { grains / 2 } else { grains - 1 };
                self.gaps.lower(gap.start, less);
            }
            after = gap.end;
        }
        None
    }

    /// Marks the span taken.
    pub(super) fn block(&mut self, layout: &Layout, span: Span) {
        while let Some(found) = self.gaps.last_from(span.end() - 1).filter(|gap| gap.end > span.start()) {
            self.gaps.remove(found.start);
            if found.start < span.start() {
                self.gaps.insert(gap(layout.terrain(), found.start, span.start()));
            }
            if found.end > span.end() {
                self.gaps.insert(gap(layout.terrain(), span.end(), found.end));
            }
        }
    }

    /// Marks the span free.
    pub(super) fn unblock(&mut self, layout: &Layout, span: Span) {
        let (mut start, mut end) = (span.start(), span.end());
        while let Some(found) = self.gaps.last_from(end).filter(|gap| gap.end >= start) {
            self.gaps.remove(found.start);
            start = start.min(found.start);
            end = end.max(found.end);
        }
        self.gaps.insert(gap(layout.terrain(), start, end));
    }

    /// What is taken, as spans along the line.
    pub(super) fn blocked(&self, cover: Span) -> Vec<Span> {
        let mut blocked = Vec::new();
        let mut at = cover.start();
        for gap in self.gaps.in_order() {
            blocked.extend(gap.start.checked_sub(at).and_then(|len| Span::new(at, len)));
            at = gap.end;
        }
        blocked.extend(cover.end().checked_sub(at).and_then(|len| Span::new(at, len)));
        blocked
    }
}

fn gap(terrain: &Terrain, start: u128, end: u128) -> Gap {
    Gap { start, end, room: terrain.room_between(start, end) }
}
