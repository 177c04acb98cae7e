//! Where a pool is cut into shards.
//!
//! Shards begin on multiples of the plugin's `cut`, widened so that the longest span fits, and hold about equally many
//! grains. A grain is never cut in two, nor would one be if the spans beside a border grew up to it and beyond: where a
//! pool's span does not begin on the grid of the cut, the border moves to the span's own grid.
//!
//! The cut is asked for only here. Shards are recorded and stay as they are, so a later cut (a plugin makes it fit the
//! pool's size) is about new shards alone.

use super::count::Grains;
use super::runs::lcm;
use super::terrain::Terrain;
use crate::pool::{Alignment, Geometry, Shard};
use crate::span::Span;

/// How many shards a pool has unless it asks for another number.
const SHARDS: u128 = 1_024;

/// How many shards a pool may ask for.
const MOST_SHARDS: u128 = 16_384;

/// The covers of a new pool's shards, in order: capacity / `cut` of them, 1 to 1,024, or as many as `factor` says (0 is
/// no wish); fewer where the cut does not allow so many. The error says what is wrong with the geometry.
pub(crate) fn cut_shards(geometry: &Geometry, factor: Option<u32>) -> Result<Vec<Span>, String> {
    let cutter = Cutter::new(geometry)?;
    let count = cutter.count(geometry, factor)?;
    let (start, end) = cutter.outline();
    Ok(cutter.cut(start, end, count))
}

/// The covers that must be added for a pool that grew beyond the shards it has, in order; those it has stay as they
/// are. New shards are about as large as the old ones, or larger where that would be more than a new pool has.
pub(crate) fn cut_more_shards(geometry: &Geometry, shards: &[Shard]) -> Result<Vec<Span>, String> {
    let cutter = Cutter::new(geometry)?;
    let mut covers: Vec<Span> = shards.iter().map(|shard| shard.cover).collect();
    covers.sort_unstable();
    let held: u128 = covers.iter().map(|cover| cutter.grains_in(cover.start(), cover.end())).sum();
    let missing = cutter.grains.total().saturating_sub(held);
    let usual = (held / (covers.len() as u128).max(1)).max(cutter.unit / geometry.grain).max(missing / SHARDS).max(1);
    let mut left = MOST_SHARDS.saturating_sub(covers.len() as u128);
    let (mut start, end) = cutter.outline();
    let mut more = Vec::new();
    for (low, high) in covers.iter().map(|cover| (cover.start(), cover.end())).chain([(end, end)]) {
        let missing = if start < low { cutter.grains_in(start, low) } else { 0 };
        if missing > 0 {
            let added = cutter.cut(start, low, (missing / usual).clamp(1, left.max(1)));
            left = left.saturating_sub(added.len() as u128);
            more.extend(added);
        }
        start = start.max(high);
    }
    Ok(more)
}

struct Cutter {
    terrain: Terrain,
    grains: Grains,
    unit: u128,
}

impl Cutter {
    fn new(geometry: &Geometry) -> Result<Self, String> {
        let terrain = Terrain::new(geometry)?;
        let grains = Grains::new(&terrain);
        if grains.total() == 0 {
            return Err(format!("the pool's spans hold no grain of {}", geometry.grain));
        }
        let unit = match geometry.sizing.align {
            Alignment::Natural => lcm(geometry.cut, geometry.sizing.max_len),
            Alignment::Origin => geometry.sizing.max_len.checked_next_multiple_of(geometry.cut),
        };
        let unit = unit.ok_or_else(|| format!("cut {} does not fit on the line", geometry.cut))?;
        Ok(Self { terrain, grains, unit })
    }

    /// How many shards a new pool of this geometry should have.
    fn count(&self, geometry: &Geometry, factor: Option<u32>) -> Result<u128, String> {
        match factor.map(u128::from) {
            None | Some(0) => Ok((self.grains.total() / (geometry.cut / geometry.grain).max(1)).clamp(1, SHARDS)),
            Some(count) if count <= MOST_SHARDS => Ok(count),
            Some(count) => Err(format!("sharding factor {count} is more than {MOST_SHARDS}")),
        }
    }

    fn grains_in(&self, start: u128, end: u128) -> u128 {
        self.grains.before(end) - self.grains.before(start)
    }

    /// All spans of the pool, rounded outward to the cut, as far as the grid of the first and the last span allows.
    fn outline(&self) -> (u128, u128) {
        let start = self.terrain.members.covers().map(Span::start).min().unwrap_or(0);
        let end = self.terrain.members.covers().map(Span::end).max().unwrap_or(0);
        let before = start % self.unit;
        let before = match self.terrain.align {
            Alignment::Natural => before,
            Alignment::Origin => before - before % self.terrain.grain,
        };
        (start - before, self.on_grain(end.checked_next_multiple_of(self.unit).unwrap_or(u128::MAX)))
    }

    /// Cuts `start..end` into at most `count` covers with something in each.
    fn cut(&self, start: u128, end: u128, count: u128) -> Vec<Span> {
        let before = self.grains.before(start);
        let total = self.grains.before(end) - before;
        let mut covers = Vec::new();
        let mut low = start;
        for nth in 1..count {
            // nth * total / count without an overflow.
            let goal = before + total / count * nth + total % count * nth / count;
            let Some(high) = self.border(low, end, goal) else { break };
            if self.grains_in(low, high) > 0 && self.grains_in(high, end) > 0 {
                covers.extend(Span::new(low, high - low));
                low = high;
            }
        }
        covers.extend(Span::new(low, end - low));
        covers
    }

    /// The border after `low` with closest to `goal` grains before it; `None` if there is none before `end`.
    fn border(&self, low: u128, end: u128, goal: u128) -> Option<u128> {
        let base = low - low % self.unit;
        let at = |nth: u128| self.unit.checked_mul(nth)?.checked_add(base).filter(|at| *at < end);
        let reaches = |nth: u128| at(nth).is_none_or(|at| self.grains.before(at) >= goal);
        let mut high: u128 = 1;
        while !reaches(high) {
            high = high.saturating_mul(2);
        }
        let mut less = high / 2;
        while high - less > 1 {
            let middle = less + (high - less) / 2;
            if reaches(middle) { high = middle } else { less = middle }
        }
        let (under, over) = (at(less).filter(|_| less > 0), at(high));
        let border = match (under, over) {
            (Some(under), Some(over)) => {
                let (missing, excess) = (goal - self.grains.before(under), self.grains.before(over) - goal);
                if missing <= excess { under } else { over }
            }
            (under, over) => under.or(over)?,
        };
        Some(self.on_grain(border)).filter(|border| *border > low && *border < end)
    }

    /// Moves a border to the grid of the span before it, or to the start of the span behind it.
    fn on_grain(&self, border: u128) -> u128 {
        let members = &self.terrain.members;
        let Some(before) = members.last_starting_before(border) else { return border };
        // Natural spans and the unit share one grid.
        if self.terrain.align == Alignment::Natural {
            return border;
        }
        let offset = (border - before.start()).checked_next_multiple_of(self.terrain.grain);
        let up = offset.and_then(|offset| before.start().checked_add(offset)).unwrap_or(border);
        members.first_ending_after(border.max(before.end())).map_or(up, |behind| up.min(behind.start()))
    }
}
