//! The free space of one (pool, realm): which spans may be handed out, and which one is next.
//!
//! It knows spans only: no subscribers, no clocks, no hold-down. A span is free or it is not; what is excluded is never
//! free. The invariant: [`Space::choose`] answers `None` only when no aligned free span of that length is left where it
//! was told to look.
//!
//! How it is kept: [`Layout`] is the geometry, shared by a pool's realms; `grain_set` holds the grains shard by shard, as
//! bitmaps (`dense`) or as ranges (`sparse`), under a summary of which shard has room (`rooms`); `order` remembers what
//! was given back when.

mod bits;
mod count;
mod cut;
mod dense;
mod gaps;
mod grain_set;
mod layout;
mod order;
mod pieces;
#[cfg(feature = "sim")]
mod probe;
mod rooms;
mod runs;
mod sparse;
mod terrain;

use std::sync::Arc;

use crate::id::ShardId;
use crate::plan::Strategy;
use crate::span::Span;
use grain_set::GrainSet;
use order::Order;

pub(crate) use cut::{cut_more_shards, cut_shards};
pub(crate) use layout::{Layout, capacity};
#[cfg(feature = "sim")]
pub use probe::SpaceProbe;
pub(crate) use runs::unite;

/// With `within`, so many of the spans given back longest ago are looked at; then the lowest free one serves.
const OLDEST_LOOKED_AT: usize = 1_024;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    /// In positions; a multiple of the grain the pool's sizing allows (anything else finds nothing).
    pub(crate) len: u128,
    /// Only inside the union of these, unless empty.
    pub(crate) within: &'a [Span],
    /// `Exact` finds nothing: whoever knows the span takes it.
    pub(crate) strategy: Strategy,
    /// Where `hash` begins to look.
    pub(crate) hash: u64,
    /// Where `random` begins to look.
    pub(crate) draw: u64,
}

/// Why a span cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// Not inside one of the pool's spans.
    Outside,
    /// The sizing does not allow this length.
    Length,
    /// Inside, but not where a span of this length may begin, or it reaches over two shards.
    Misaligned,
    /// Some of it is excluded.
    Excluded,
    /// Some of it is not free.
    Taken,
}

/// How much there is, in grains. `free + excluded <= total`; the rest is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) total: u128,
    pub(crate) free: u128,
    pub(crate) excluded: u128,
}

/// The free space of one (pool, realm).
#[derive(Debug)]
pub(crate) struct Space {
    layout: Arc<Layout>,
    free: GrainSet,
    order: Remembered,
    /// In grains.
    taken: u128,
    /// Where `next-free` goes on: the end of what was taken last.
    cursor: u128,
}

/// Whether the order of returns matters to anybody.
#[derive(Debug)]
enum Remembered {
    No,
    /// From the first return on.
    Soon,
    Yes(Box<Order>),
}

impl Space {
    /// All free. Costs nothing that grows with the pool. `keep_order`: remember from the start in which order spans are
    /// given back (for pools whose strategy is `oldest-free`; else it is remembered from the first such wish on).
    pub(crate) fn new(layout: Arc<Layout>, keep_order: bool) -> Self {
        let free = GrainSet::new(&layout);
        let order = if keep_order { Remembered::Soon } else { Remembered::No };
        Self { layout, free, order, taken: 0, cursor: 0 }
    }

    /// Finds a free span; takes nothing.
    pub(crate) fn choose(&mut self, want: &Want<'_>) -> Option<Span> {
        if !self.layout.terrain().allows(want.len) {
            return None;
        }
        let grain = self.layout.geometry().grain;
        let grains = if grain == 1 { want.len } else { want.len / grain };
        let whole = [(0, u128::MAX)];
        let united: Vec<(u128, u128)>;
        let allowed = if want.within.is_empty() {
            whole.as_slice()
        } else {
            united = unite(want.within.to_vec()).into_iter().map(|span| (span.start(), span.end())).collect();
            united.as_slice()
        };
        match want.strategy {
            Strategy::Exact => None,
            Strategy::FirstFree => lowest(&mut self.free, &self.layout, allowed, grains),
            Strategy::NextFree => self.from(self.cursor, allowed, grains),
            Strategy::Random => self.from(self.point(want.draw, allowed), allowed, grains),
            Strategy::Hash => self.from(self.point(want.hash, allowed), allowed, grains),
            Strategy::OldestFree => self.oldest(want, allowed, grains),
        }
    }

    /// Whether the span could be taken; the shard it lies in.
    pub(crate) fn check(&self, span: Span) -> Result<ShardId, Blocked> {
        free_plot(&self.free, &self.layout, span).map(|plot| self.layout.shard_id(plot))
    }

    /// From now on nothing is chosen from this shard, or again. What happens in it is accounted for all the same.
    pub(crate) fn set_open(&mut self, shard: ShardId, open: bool) {
        let Some(plot) = self.layout.plot_of_shard(shard) else { return };
        let sets = std::iter::once(&mut self.free).chain(match &mut self.order {
            Remembered::Yes(order) => Some(&mut order.unused),
            Remembered::No | Remembered::Soon => None,
        });
        for set in sets {
            if open { set.open(&self.layout, plot) } else { set.close(&self.layout, plot) }
        }
    }

    /// Whether spans are chosen from where this one lies.
    pub(crate) fn is_open(&self, span: Span) -> bool {
        self.free.is_open(self.layout.plot_at(span.start()))
    }

    /// Marks it not free.
    pub(crate) fn take(&mut self, span: Span) -> Result<ShardId, Blocked> {
        let plot = free_plot(&self.free, &self.layout, span)?;
        self.free.block(&self.layout, plot, span);
        if let Remembered::Yes(order) = &mut self.order {
            order.take(&self.layout, plot, span);
        }
        self.taken += self.grains(span);
        self.cursor = span.end();
        Ok(self.layout.shard_id(plot))
    }

    /// Marks it free again. It must have been taken, in one take or in several.
    pub(crate) fn give(&mut self, span: Span) {
        let plot = self.layout.plot_of(span);
        let Ok(plot) = plot else {
            debug_assert!(false, "{span:?} was given back, but never taken: {plot:?}");
            return;
        };
        if matches!(self.order, Remembered::Soon) {
            self.order = Remembered::Yes(Box::new(Order::new(&self.free)));
        }
        self.free.unblock(&self.layout, plot, span);
        if let Remembered::Yes(order) = &mut self.order {
            order.give(span);
        }
        self.taken -= self.grains(span);
    }

    /// How much there is.
    pub(crate) fn totals(&self) -> Totals {
        let Totals { total, free, excluded } = self.layout.capacity();
        Totals { total, free: free - self.taken, excluded }
    }

    /// The pool was updated: the same grain, alignment and lengths, and every shard there was. What is taken must lie inside the
    /// new layout, clear of its exclusions; whatever does not must have been given back before.
    pub(crate) fn reshape(&mut self, layout: Arc<Layout>) {
        let old = std::mem::replace(&mut self.layout, layout);
        let free = std::mem::replace(&mut self.free, GrainSet::new(&self.layout));
        self.free = free.moved(&old, &self.layout);
        self.order = match std::mem::replace(&mut self.order, Remembered::No) {
            Remembered::Yes(order) => Remembered::Yes(Box::new(order.moved(&old, &self.layout))),
            soon_or_no @ (Remembered::Soon | Remembered::No) => soon_or_no,
        };
    }

    fn grains(&self, span: Span) -> u128 {
        let grain = self.layout.geometry().grain;
        if grain == 1 { span.len() } else { span.len() / grain }
    }

    /// The first fit that begins at or after the point, round and round.
    fn from(&mut self, point: u128, allowed: &[(u128, u128)], grains: u128) -> Option<Span> {
        let len = grains * self.layout.geometry().grain;
        let after = allowed.iter().filter(|(_, high)| *high > point);
        let before = allowed.iter().filter(|(low, _)| *low < point);
        let after = after.map(|(low, high)| (point.max(*low), *high));
        let before = before.map(|(low, high)| (*low, high.to_owned().min(point.saturating_add(len - 1))));
        let free = &mut self.free;
        after.chain(before).find_map(|(low, high)| free.first_fit(&self.layout, low, high, grains))
    }

    /// A point of the allowed space for a number that is spread over all 64 bits.
    fn point(&self, spread: u64, allowed: &[(u128, u128)]) -> u128 {
        if let [(0, u128::MAX)] = allowed {
            return self.layout.position_of(scale(spread, self.layout.capacity().total));
        }
        let mut nth = scale(spread, allowed.iter().map(|(low, high)| high - low).sum());
        for (low, high) in allowed {
            if nth < high - low {
                return low + nth;
            }
            nth -= high - low;
        }
        0
    }

    /// What was never used; then what was given back longest ago; then, where lengths are mixed, whatever fits.
    fn oldest(&mut self, want: &Want<'_>, allowed: &[(u128, u128)], grains: u128) -> Option<Span> {
        if matches!(self.order, Remembered::No) {
            self.order = Remembered::Soon;
        }
        if let Remembered::Yes(order) = &mut self.order {
            if let Some(span) = lowest(&mut order.unused, &self.layout, allowed, grains) {
                return Some(span);
            }
            let inside = |span: &Span| allowed.iter().any(|(low, high)| *low <= span.start() && span.end() <= *high);
            let free =
                |span: &Span| free_plot(&self.free, &self.layout, *span).is_ok_and(|plot| self.free.is_open(plot));
            if let Some(span) = order.oldest(want.len).take(OLDEST_LOOKED_AT).filter(inside).find(free) {
                return Some(span);
            }
        }
        lowest(&mut self.free, &self.layout, allowed, grains)
    }
}

/// The plot of a span that could be taken.
fn free_plot(free: &GrainSet, layout: &Layout, span: Span) -> Result<usize, Blocked> {
    let plot = layout.plot_of(span)?;
    if free.holds(layout, plot, span) {
        return Ok(plot);
    }
    Err(if layout.terrain().excluded.touch(span) { Blocked::Excluded } else { Blocked::Taken })
}

fn lowest(set: &mut GrainSet, layout: &Layout, allowed: &[(u128, u128)], grains: u128) -> Option<Span> {
    allowed.iter().find_map(|(low, high)| set.first_fit(layout, *low, *high, grains))
}

/// A number below `total` (0 if there is none) in proportion to `spread`; its low bits are as spread as its high ones.
fn scale(spread: u64, total: u128) -> u128 {
    if let Ok(total) = u64::try_from(total) {
        return (u128::from(spread) * u128::from(total)) >> 64;
    }
    // Two different odd constants (the golden ratio's, and one of SplitMix64's) fill the lower half.
    let low =
        (spread ^ spread >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ spread.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 29;
    (u128::from(spread) << 64 | u128::from(low)) % total
}

#[cfg(test)]
mod tests;
