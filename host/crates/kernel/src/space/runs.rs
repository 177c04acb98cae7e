//! A set of spans along the line, kept as it was described: single spans sorted, series as arithmetic. Nothing is ever
//! expanded, so the cost of a question follows the number of descriptions and not the number of spans.

use crate::span::{Series, Span};

/// Spans and series in no particular relation; single spans are sorted and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    singles: Vec<Span>,
    /// In order of their first members.
    series: Vec<Series>,
    /// For each series how far it and those before it reach.
    reach: Vec<u128>,
}

impl Runs {
    /// Members stay apart, even where they touch. Single spans must be disjoint.
    pub(super) fn apart(all: &[Series]) -> Self {
        let (singles, series): (Vec<Series>, Vec<Series>) = all.iter().partition(|run| run.count() == 1);
        let mut singles: Vec<Span> = singles.into_iter().map(Series::first).collect();
        singles.sort_unstable();
        Self::new(singles, series)
    }

    /// Only the union counts, seen through a grid of `grain`: a series with a member in every cell of its cover is one
    /// span, and single spans that touch or overlap are joined.
    pub(crate) fn united(all: &[Series], grain: u128) -> Self {
        let solid = |run: &&Series| run.count() == 1 || run.stride() <= grain || run.stride() == run.first().len();
        let (solid, series): (Vec<Series>, Vec<Series>) = all.iter().partition(solid);
        Self::new(unite(solid.into_iter().map(Series::cover).collect()), series)
    }

    fn new(singles: Vec<Span>, mut series: Vec<Series>) -> Self {
        series.sort_unstable_by_key(|run| run.cover());
        let furthest = |reach: &mut u128, run: &Series| {
            *reach = run.cover().end().max(*reach);
            Some(*reach)
        };
        let reach = series.iter().scan(0, furthest).collect();
        Self { singles, series, reach }
    }

    /// The single spans.
    pub(super) fn singles(&self) -> &[Span] {
        &self.singles
    }

    /// The series of two members or more.
    pub(super) fn series(&self) -> &[Series] {
        &self.series
    }

    /// What each description covers.
    pub(super) fn covers(&self) -> impl Iterator<Item = Span> + '_ {
        self.singles.iter().copied().chain(self.series.iter().map(|run| run.cover()))
    }

    /// Among the members that end after `at`, the one that begins first. The cost follows the number of series that
    /// reach over the position.
    pub(super) fn first_ending_after(&self, at: u128) -> Option<Span> {
        let single = self.singles.get(self.singles.partition_point(|span| span.end() <= at)).copied();
        if self.series.is_empty() {
            return single;
        }
        let begun = self.series.partition_point(|run| run.first().start() <= at);
        let later = self.series.get(begun).map(|run| run.first());
        let open = self.reaching_over(begun, at).filter_map(|run| member_ending_after(run, at));
        open.chain(later).chain(single).min()
    }

    /// Among the members that start before `at`, the one that starts last. The members must be disjoint.
    pub(super) fn last_starting_before(&self, at: u128) -> Option<Span> {
        let singles = self.singles.partition_point(|span| span.start() < at);
        let mut last = singles.checked_sub(1).and_then(|nth| self.singles.get(nth)).copied();
        let begun = self.series.partition_point(|run| run.first().start() < at);
        for (run, reach) in self.series.iter().zip(&self.reach).take(begun).rev() {
            if last.is_some_and(|last| *reach <= last.start()) {
                break;
            }
            let nth = (at - 1 - run.first().start()) / run.stride();
            let nth = u64::try_from(nth).unwrap_or(u64::MAX).min(run.count() - 1);
            last = last.max(run.get(nth));
        }
        last
    }

    /// The series of which some part, be it a gap, shares a position with the span.
    pub(super) fn series_across(&self, span: Span) -> impl Iterator<Item = Series> + '_ {
        let begun = self.series.partition_point(|run| run.first().start() < span.end());
        self.reaching_over(begun, span.start())
    }

    /// Those of the first so many series that go on after a position.
    fn reaching_over(&self, begun: usize, at: u128) -> impl Iterator<Item = Series> + '_ {
        let last_first = self.series.iter().zip(&self.reach).take(begun).rev();
        let open = last_first.take_while(move |(_, reach)| **reach > at).map(|(run, _)| *run);
        open.filter(move |run| run.cover().end() > at)
    }

    /// True if a member shares a position with the span.
    pub(super) fn touch(&self, span: Span) -> bool {
        self.first_ending_after(span.start()).is_some_and(|member| member.start() < span.end())
    }
}

/// The first member of the series that ends after `at`.
pub(super) fn member_ending_after(run: Series, at: u128) -> Option<Span> {
    let first = run.first();
    if at < first.end() {
        return Some(first);
    }
    let offset = at - first.start();
    let nth = offset / run.stride() + u128::from(offset % run.stride() >= first.len());
    run.get(u64::try_from(nth).ok()?)
}

/// The union of spans, sorted, with none touching another.
pub(crate) fn unite(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut united: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match united.last_mut() {
            Some(last) if span.start() <= last.end() => {
                let end = last.end().max(span.end());
                *last = Span::new(last.start(), end - last.start()).expect("the union of two spans ends on the line");
            }
            _ => united.push(span),
        }
    }
    united
}

/// The greatest common divisor; of 0 and x it is x.
pub(super) fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The least common multiple, if it fits.
pub(super) fn lcm(a: u128, b: u128) -> Option<u128> {
    (a / gcd(a, b)).checked_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u128, len: u128) -> Span {
        Span::new(start, len).unwrap()
    }

    #[test]
    fn a_member_is_found_by_arithmetic() {
        let run = Series::new(span(10, 3), 10, 4).unwrap();
        let find = |at| member_ending_after(run, at).map(Span::start);
        assert_eq!(find(0), Some(10));
        assert_eq!(find(12), Some(10));
        assert_eq!(find(13), Some(20));
        assert_eq!(find(42), Some(40));
        assert_eq!(find(43), None);
    }

    #[test]
    fn the_last_member_before_a_position_is_found_among_singles_and_series() {
        let run = Series::new(span(10, 3), 10, 4).unwrap();
        let runs = Runs::apart(&[run, Series::one(span(14, 2)), Series::one(span(60, 1))]);
        let find = |at| runs.last_starting_before(at).map(Span::start);
        assert_eq!(
            [10, 11, 15, 20, 21, 45, 60, 99].map(find),
            [None, Some(10), Some(14), Some(14), Some(20), Some(40), Some(40), Some(60)]
        );
    }

    #[test]
    fn a_series_with_a_member_in_every_cell_is_solid() {
        let every_other = Series::new(span(1, 1), 2, 8).unwrap();
        assert_eq!(Runs::united(&[every_other], 2).singles(), [span(1, 15)]);
        assert_eq!(Runs::united(&[every_other], 1).series(), [every_other]);
    }

    #[test]
    fn touching_spans_unite() {
        assert_eq!(unite(vec![span(4, 2), span(0, 2), span(1, 3), span(9, 1)]), [span(0, 6), span(9, 1)]);
    }
}
