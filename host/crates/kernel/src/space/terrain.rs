//! Where spans may lie at all: the pool's spans less what is excluded, on the grid of the grain. It knows nothing of what
//! is taken. Every question is arithmetic over the geometry's descriptions; none depends on the size of the pool.

use super::runs::{Runs, gcd, lcm};
use crate::pool::{Alignment, Geometry};
use crate::span::{Series, Span};

/// More pairs of interleaved series than this are not compared, but refused.
const INTERLEAVED_PAIRS: usize = 1 << 16;

/// A pattern that repeats only after more members than this is too intricate for a pool too large for bitmaps.
const MEMBERS_A_PERIOD: u128 = 1 << 16;

/// A pool's geometry, checked and ready for questions.
#[derive(Clone, Debug)]
pub(super) struct Terrain {
    pub(super) grain: u128,
    pub(super) align: Alignment,
    pub(super) min_len: u128,
    pub(super) max_len: u128,
    /// The pool's spans, but for those too small for a grain; a span that is handed out lies inside one of them.
    pub(super) members: Runs,
    /// What is never handed out, by union.
    pub(super) excluded: Runs,
    /// Where descriptions begin and end, sorted: between two of these the pattern repeats after `period`.
    breaks: Vec<u128>,
    /// `None`: no series, or too intricate.
    period: Option<u128>,
}

impl Terrain {
    /// The error says what would be right.
    pub(super) fn new(geometry: &Geometry) -> Result<Self, String> {
        check_sizing(geometry)?;
        check_spans(geometry)?;
        let cells = |run: &&Series| cells(run.first(), geometry.grain, geometry.sizing.align).1 > 0;
        let members = Runs::apart(&geometry.spans.iter().filter(cells).copied().collect::<Vec<_>>());
        let excluded = Runs::united(&geometry.excluded, geometry.grain);
        let mut breaks: Vec<u128> =
            members.covers().chain(excluded.covers()).flat_map(|cover| [cover.start(), cover.end()]).collect();
        breaks.sort_unstable();
        breaks.dedup();
        let sizing = geometry.sizing;
        let mut terrain = Self {
            grain: geometry.grain,
            align: sizing.align,
            min_len: sizing.min_len,
            max_len: sizing.max_len,
            members,
            excluded,
            breaks,
            period: None,
        };
        terrain.period = terrain.find_period();
        Ok(terrain)
    }

    /// True if [`Self::first_fit`] is quick: few members, or a pattern that soon repeats.
    pub(super) fn is_regular(&self) -> bool {
        let all = self.members.series().iter().chain(self.excluded.series());
        self.period.is_some() || all.map(|run| u128::from(run.count())).sum::<u128>() <= MEMBERS_A_PERIOD
    }

    /// True if spans of this length may be handed out.
    pub(super) fn allows(&self, len: u128) -> bool {
        let whole = self.grain == 1 || len.is_multiple_of(self.grain);
        let shaped = match self.align {
            Alignment::Origin => true,
            Alignment::Natural => len.is_power_of_two(),
        };
        whole && shaped && (self.min_len..=self.max_len).contains(&len)
    }

    /// The pool's span that the span lies in.
    pub(super) fn member_around(&self, span: Span) -> Option<Span> {
        self.members.first_ending_after(span.start()).filter(|member| member.contains(span))
    }

    /// True if a span of this length may begin there, inside this member.
    pub(super) fn is_aligned(&self, member: Span, span: Span) -> bool {
        match self.align {
            Alignment::Origin => (span.start() - member.start()).is_multiple_of(self.grain),
            Alignment::Natural => span.start() & (span.len() - 1) == 0,
        }
    }

    /// The grid cells wholly inside a member: where the first begins, and how many.
    pub(super) fn cells(&self, member: Span) -> (u128, u128) {
        cells(member, self.grain, self.align)
    }

    /// The lowest span of this length with `low <= start` and `end <= high` that lies inside a member, is aligned and
    /// not excluded. Stops as soon as the pattern has repeated once.
    pub(super) fn first_fit(&self, low: u128, high: u128, len: u128) -> Option<Span> {
        let mut at = low;
        let mut since = low;
        let mut until = self.next_break(low);
        loop {
            let member = self.members.first_ending_after(at)?;
            let start = self.first_aligned(member, at.max(member.start()), len)?;
            let span = Span::new(start, len)?;
            at = if span.end() > member.end() {
                member.end()
            } else if span.end() > high {
                return None;
            } else {
                match self.excluded.first_ending_after(start) {
                    Some(excluded) if excluded.start() < span.end() => excluded.end(),
                    _ => return Some(span),
                }
            };
            if at >= high {
                return None;
            }
            if at >= until {
                (since, until) = (at, self.next_break(at));
            } else if self.period.is_some_and(|period| at - since >= period) {
                // Every place in here that fits before the break looks like one that was tried.
                at = at.max((until - len.min(until)).saturating_add(1));
                since = at;
            }
        }
    }

    /// An upper bound, in grains, for the longest span that fits between two positions.
    pub(super) fn room_between(&self, start: u128, end: u128) -> u128 {
        let longest = (end - start).min(self.max_len);
        match self.align {
            Alignment::Origin => longest / self.grain,
            Alignment::Natural => {
                let mut len = longest.checked_ilog2().map_or(0, |log| 1_u128 << log);
                let fits = |len| start.checked_next_multiple_of(len).is_some_and(|at| at <= end && end - at >= len);
                while len >= self.grain && !fits(len) {
                    len /= 2;
                }
                len / self.grain
            }
        }
    }

    /// True if both read alike everywhere inside the cover.
    pub(super) fn same_inside(&self, other: &Self, cover: Span) -> bool {
        let inside = |runs: &Runs| {
            let singles = runs.singles().iter().copied().filter_map(|span| span.intersection(cover));
            let series = runs.series().iter().copied().filter(|run| run.cover().intersects(cover));
            (singles.collect::<Vec<_>>(), series.collect::<Vec<_>>())
        };
        (self.min_len, self.max_len) == (other.min_len, other.max_len)
            && inside(&self.members) == inside(&other.members)
            && inside(&self.excluded) == inside(&other.excluded)
    }

    fn first_aligned(&self, member: Span, at: u128, len: u128) -> Option<u128> {
        match self.align {
            Alignment::Origin => {
                (at - member.start()).checked_next_multiple_of(self.grain)?.checked_add(member.start())
            }
            Alignment::Natural => at.checked_next_multiple_of(len),
        }
    }

    fn next_break(&self, at: u128) -> u128 {
        self.breaks.get(self.breaks.partition_point(|edge| *edge <= at)).copied().unwrap_or(u128::MAX)
    }

    fn find_period(&self) -> Option<u128> {
        let grid = match self.align {
            Alignment::Origin => self.grain,
            Alignment::Natural => self.max_len,
        };
        let all = || self.members.series().iter().chain(self.excluded.series());
        all().next()?;
        let period = all().try_fold(grid, |period, run| lcm(period, run.stride()))?;
        let reach = period.checked_add(self.max_len)?;
        let members = all().try_fold(0_u128, |sum, run| sum.checked_add(reach / run.stride()))?;
        (members <= MEMBERS_A_PERIOD).then_some(period)
    }
}

fn cells(member: Span, grain: u128, align: Alignment) -> (u128, u128) {
    let first = match align {
        Alignment::Origin => Some(member.start()),
        Alignment::Natural => member.start().checked_next_multiple_of(grain),
    };
    match first {
        Some(first) if first < member.end() => (first, (member.end() - first) / grain),
        _ => (member.start(), 0),
    }
}

fn check_sizing(geometry: &Geometry) -> Result<(), String> {
    let grain = geometry.grain;
    let sizing = geometry.sizing;
    let lens = [sizing.min_len, sizing.default_len, sizing.max_len];
    if grain == 0 || geometry.cut == 0 {
        return Err(format!("grain is {grain} and cut {}, both must be at least 1", geometry.cut));
    }
    if !lens.is_sorted() || lens.iter().any(|len| *len == 0 || len % grain != 0) {
        return Err(format!("lengths {lens:?} must be ascending multiples of the grain {grain}"));
    }
    if sizing.align == Alignment::Natural && !(grain.is_power_of_two() && lens.iter().all(|len| len.is_power_of_two()))
    {
        return Err(format!("grain {grain} and lengths {lens:?} must be powers of two where alignment is natural"));
    }
    Ok(())
}

fn check_spans(geometry: &Geometry) -> Result<(), String> {
    let natural = geometry.sizing.align == Alignment::Natural;
    if let Some(run) =
        geometry.spans.iter().find(|run| natural && run.count() > 1 && !run.stride().is_multiple_of(geometry.grain))
    {
        return Err(format!("the stride {} must be a multiple of the grain {}", run.stride(), geometry.grain));
    }
    let mut spans = geometry.spans.clone();
    spans.sort_unstable_by_key(|run| run.cover());
    let mut open: Vec<Series> = Vec::new();
    let mut pairs = 0;
    for run in spans {
        open.retain(|earlier| earlier.cover().end() > run.cover().start());
        if let Some(other) = open.iter().find(|earlier| may_meet(**earlier, run)) {
            return Err(format!("the spans from {:?} and from {:?} may overlap", other.first(), run.first()));
        }
        pairs += open.len();
        if pairs > INTERLEAVED_PAIRS {
            return Err(format!("more than {INTERLEAVED_PAIRS} pairs of interleaved series"));
        }
        open.push(run);
    }
    Ok(())
}

/// False if no member of the one can share a position with a member of the other, however far both go on. Their covers
/// do overlap.
fn may_meet(a: Series, b: Series) -> bool {
    let step = |run: Series| if run.count() == 1 { 0 } else { run.stride() };
    let period = gcd(step(a), step(b));
    if period == 0 {
        return true;
    }
    let (a, b) = (a.first(), b.first());
    let offset = if b.start() >= a.start() {
        (b.start() - a.start()) % period
    } else {
        (period - (a.start() - b.start()) % period) % period
    };
    offset < a.len() || offset.checked_add(b.len()).is_none_or(|end| end > period)
}
