//! How many grains there are: in the pool, before a position, excluded. Counted by arithmetic, exactly, with nothing
//! counted twice; only what repeats in no short period is walked, and only so far.

use super::runs::lcm;
use super::terrain::Terrain;
use crate::span::{Series, Span};

/// So many descriptions are looked at before a pattern is refused as too intricate to count.
const MOST_STEPS: u64 = 1 << 22;

/// What a least common multiple costs, in such steps.
const STEPS_A_MULTIPLE: u64 = 64;

/// The grains of one description of spans, numbered from 0 along the line.
#[derive(Clone, Copy, Debug)]
struct Grid {
    first: u128,
    grain: u128,
    per_member: u128,
    stride: u128,
    members: u128,
}

impl Grid {
    fn new(terrain: &Terrain, run: Series) -> Self {
        let (first, per_member) = terrain.cells(run.first());
        Self { first, grain: terrain.grain, per_member, stride: run.stride(), members: u128::from(run.count()) }
    }

    fn total(self) -> u128 {
        self.per_member * self.members
    }

    /// How many end at or before the position.
    fn ended(self, at: u128) -> u128 {
        match at.checked_sub(self.first) {
            Some(offset) if offset / self.stride < self.members => {
                let whole = offset / self.stride;
                whole * self.per_member + self.per_member.min((offset - whole * self.stride) / self.grain)
            }
            Some(_) => self.total(),
            None => 0,
        }
    }

    /// How many begin before the position.
    fn started(self, at: u128) -> u128 {
        match at.checked_sub(self.first) {
            None | Some(0) => 0,
            Some(offset) => {
                let whole = (offset - 1) / self.stride;
                if whole >= self.members {
                    return self.total();
                }
                whole * self.per_member + self.per_member.min((offset - 1 - whole * self.stride) / self.grain + 1)
            }
        }
    }

    /// Where the n-th begins.
    fn start_of(self, nth: u128) -> u128 {
        self.first + nth / self.per_member * self.stride + nth % self.per_member * self.grain
    }
}

/// Counts a pool's grains up to any position.
#[derive(Clone, Debug)]
pub(super) struct Grains {
    /// In order of their first grain.
    grids: Vec<Counted>,
    total: u128,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    grid: Grid,
    /// How many grains the descriptions before this one have together, and where the last of theirs and its own ends.
    before: u128,
    reach: u128,
}

impl Grains {
    /// Remembers one sum for each description.
    pub(super) fn new(terrain: &Terrain) -> Self {
        let singles = terrain.members.singles().iter().map(|span| Series::one(*span));
        let mut runs: Vec<Series> = singles.chain(terrain.members.series().iter().copied()).collect();
        runs.sort_unstable_by_key(|run| terrain.cells(run.first()).0);
        let (mut total, mut reach) = (0, 0);
        let mut grids = Vec::with_capacity(runs.len());
        for run in runs {
            let grid = Grid::new(terrain, run);
            reach = run.cover().end().max(reach);
            grids.push(Counted { grid, before: total, reach });
            total += grid.total();
        }
        Self { grids, total }
    }

    /// How many there are.
    pub(super) fn total(&self) -> u128 {
        self.total
    }

    /// How many end at or before the position. The cost follows the number of descriptions that reach over it.
    pub(super) fn before(&self, at: u128) -> u128 {
        let begun = self.grids.partition_point(|counted| counted.grid.first <= at);
        let mut sum = 0;
        for counted in self.grids.get(..begun).into_iter().flatten().rev() {
            if counted.reach <= at {
                return sum + counted.before + counted.grid.total();
            }
            sum += counted.grid.ended(at);
        }
        sum
    }
}

/// How many of the pool's grains are touched by an exclusion.
pub(super) fn excluded_grains(terrain: &Terrain) -> Result<u128, String> {
    let mut edges: Vec<u128> = terrain.excluded.covers().flat_map(|cover| [cover.start(), cover.end()]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut count = Count { terrain, steps: Steps(0) };
    let singles = terrain.members.singles().iter().map(|span| Series::one(*span));
    let mut total = 0;
    for run in singles.chain(terrain.members.series().iter().copied()) {
        let cover = run.cover();
        let from = edges.partition_point(|edge| *edge <= cover.start());
        let inner = edges.get(from..).into_iter().flatten().copied().take_while(|edge| *edge < cover.end());
        let mut low = cover.start();
        for high in inner.chain([cover.end()]) {
            total += count.between(run, low, high)?;
            low = high;
        }
    }
    Ok(total)
}

struct Count<'a> {
    terrain: &'a Terrain,
    steps: Steps,
}

impl Count<'_> {
    /// The excluded grains of the run that begin in `low..high`, where no description of an exclusion begins or ends
    /// in between.
    fn between(&mut self, run: Series, low: u128, high: u128) -> Result<u128, String> {
        let grid = Grid::new(self.terrain, run);
        if grid.per_member == 0 {
            return Ok(0);
        }
        let step = if run.count() == 1 { self.terrain.grain } else { run.stride() };
        let mut period = Some(step);
        let mut active = 1;
        let Some(between) = Span::new(low, high - low) else { return Ok(0) };
        for series in self.terrain.excluded.series_across(between) {
            active += 1;
            self.steps.spend(STEPS_A_MULTIPLE)?;
            period = period.and_then(|period| lcm(period, series.stride()));
        }
        let repeats = period.map_or(0, |period| (high - low).saturating_sub(self.terrain.grain) / period);
        match period {
            Some(period) if repeats > 1 => {
                let once = self.walk(grid, low, low + period, active)?;
                Ok(once * repeats + self.walk(grid, low + period * repeats, high, active)?)
            }
            _ => self.walk(grid, low, high, active),
        }
    }

    /// The excluded grains that begin in `low..high`, one exclusion after the other.
    fn walk(&mut self, grid: Grid, low: u128, high: u128, active: u64) -> Result<u128, String> {
        let (mut nth, stop) = (grid.started(low), grid.started(high));
        let mut at = low;
        let mut count = 0;
        while nth < stop {
            at = at.max(grid.start_of(nth));
            let Some(excluded) = self.terrain.excluded.first_ending_after(at) else { break };
            self.steps.spend(active)?;
            let first = nth.max(grid.ended(excluded.start()));
            let after = stop.min(grid.started(excluded.end()));
            if first >= stop {
                break;
            }
            if after > first {
                count += after - first;
                nth = after;
            }
            at = excluded.end();
        }
        Ok(count)
    }
}

/// How much work a count has taken.
struct Steps(u64);

impl Steps {
    fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.0 += steps;
        if self.0 > MOST_STEPS {
            return Err("the excluded spans repeat in too intricate a pattern, fewer strides are needed".to_owned());
        }
        Ok(())
    }
}
