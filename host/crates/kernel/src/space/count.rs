//! How many grains there are: in the pool, before a position, excluded. Counted by arithmetic, exactly, with nothing
//! counted twice; only what repeats in no short period is walked, and only so far.

use super::runs::lcm;
use super::terrain::Terrain;
use crate::span::{Series, Span};

/// So many members are looked at before a pattern is refused as too intricate to count.
const MOST_STEPS: u64 = 1 << 22;

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
    singles: Vec<(Grid, u128)>,
    singles_total: u128,
    series: Vec<Grid>,
}

impl Grains {
    /// Remembers one sum for each description.
    pub(super) fn new(terrain: &Terrain) -> Self {
        let mut singles_total = 0;
        let mut singles = Vec::with_capacity(terrain.members.singles().len());
        for span in terrain.members.singles() {
            let grid = Grid::new(terrain, Series::one(*span));
            singles.push((grid, singles_total));
            singles_total += grid.total();
        }
        let series = terrain.members.series().iter().map(|run| Grid::new(terrain, *run)).collect();
        Self { singles, singles_total, series }
    }

    /// How many there are.
    pub(super) fn total(&self) -> u128 {
        self.singles_total + self.series.iter().map(|grid| grid.total()).sum::<u128>()
    }

    /// How many end at or before the position.
    pub(super) fn before(&self, at: u128) -> u128 {
        let nth = self.singles.partition_point(|(grid, _)| grid.first <= at);
        let singles = nth.checked_sub(1).and_then(|last| self.singles.get(last));
        singles.map_or(0, |(grid, before)| before + grid.ended(at))
            + self.series.iter().map(|grid| grid.ended(at)).sum::<u128>()
    }
}

/// How many of the pool's grains are touched by an exclusion.
pub(super) fn excluded_grains(terrain: &Terrain) -> Result<u128, String> {
    let mut edges: Vec<u128> = terrain.excluded.covers().flat_map(|cover| [cover.start(), cover.end()]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut count = Count { terrain, steps: 0 };
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
    steps: u64,
}

impl Count<'_> {
    /// The excluded grains of the run that begin in `low..high`, where no description of an exclusion begins or ends
    /// in between.
    fn between(&mut self, run: Series, low: u128, high: u128) -> Result<u128, String> {
        let grid = Grid::new(self.terrain, run);
        if grid.per_member == 0 {
            return Ok(0);
        }
        let period = self.period(run, low, high);
        let repeats = period.map_or(0, |period| (high - low).saturating_sub(self.terrain.grain) / period);
        match period {
            Some(period) if repeats > 1 => {
                let once = self.walk(grid, low, low + period)?;
                Ok(once * repeats + self.walk(grid, low + period * repeats, high)?)
            }
            _ => self.walk(grid, low, high),
        }
    }

    /// After what distance grains and exclusions in between repeat.
    fn period(&self, run: Series, low: u128, high: u128) -> Option<u128> {
        let step = if run.count() == 1 { self.terrain.grain } else { run.stride() };
        let between = Span::new(low, high - low)?;
        let active = self.terrain.excluded.series().iter().filter(|series| series.cover().intersects(between));
        active.copied().try_fold(step, |period, series| lcm(period, series.stride()))
    }

    /// The excluded grains that begin in `low..high`, one exclusion after the other.
    fn walk(&mut self, grid: Grid, low: u128, high: u128) -> Result<u128, String> {
        let (mut nth, stop) = (grid.started(low), grid.started(high));
        let mut at = low;
        let mut count = 0;
        while nth < stop {
            at = at.max(grid.start_of(nth));
            let Some(excluded) = self.terrain.excluded.first_ending_after(at) else { break };
            self.steps += 1 + self.terrain.excluded.series().len() as u64;
            if self.steps > MOST_STEPS {
                return Err("the excluded spans repeat in too intricate a pattern, fewer strides are needed".to_owned());
            }
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
