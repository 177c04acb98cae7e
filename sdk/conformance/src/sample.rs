//! Allocations to try in a pool: edges first, then any.

use nexus_plugin_contract::{Alignment, Layout, Series, Span};

use crate::random::Random;

/// Every length that is special and some that are not: smallest, default, largest, and those between.
pub(crate) fn lengths(layout: &Layout) -> Vec<u128> {
    let sizing = &layout.sizing;
    let mut lengths = vec![sizing.min_len, sizing.default_len, sizing.max_len];
    match sizing.align {
        Alignment::Natural => lengths.extend((0..128).map(|bit| 1_u128 << bit)),
        Alignment::Origin => {
            let steps = (sizing.max_len - sizing.min_len) / layout.grain;
            lengths.extend((1..steps.min(8)).map(|step| sizing.min_len + step * layout.grain));
        }
    }
    lengths.retain(|len| sizing.allows(*len, layout.grain));
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// How many allocations of `len` fit into a span, side by side.
fn slots(layout: &Layout, span: Span, len: u128) -> u128 {
    match (first_start(layout, span, len), span.last()) {
        (Some(first), Some(last)) if first <= last => {
            let room = (last - first).saturating_add(1);
            room / len
        }
        _ => 0,
    }
}

fn first_start(layout: &Layout, span: Span, len: u128) -> Option<u128> {
    match layout.sizing.align {
        Alignment::Origin => Some(span.start),
        Alignment::Natural => span.start.checked_next_multiple_of(len),
    }
}

/// The n-th allocation of `len` in a span.
fn slot(layout: &Layout, span: Span, len: u128, n: u128) -> Option<Span> {
    if n >= slots(layout, span, len) {
        return None;
    }
    Some(Span::new(first_start(layout, span, len)? + n * len, len))
}

/// First and last of each span at both ends of each series, and beside the first cuts, in every length.
pub(crate) fn edges(layout: &Layout) -> Vec<Span> {
    let mut edges = Vec::new();
    let ends = |series: &Series| [series.nth(0), series.nth(series.count.saturating_sub(1))];
    // A layout may have thousands of series; the first and last few stand for all.
    let (head, tail) = (layout.spans.iter().take(16), layout.spans.iter().rev().take(16));
    let spans: Vec<Span> = head.chain(tail).flat_map(ends).flatten().collect();
    for span in spans {
        for len in lengths(layout) {
            let count = slots(layout, span, len);
            let around_cut = layout.cut / len;
            let numbers =
                [0, 1, around_cut.saturating_sub(1), around_cut, count.saturating_sub(2), count.saturating_sub(1)];
            edges.extend(numbers.into_iter().filter_map(|n| slot(layout, span, len, n)));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// `count` allocations, anywhere, of any length.
pub(crate) fn any(layout: &Layout, random: &mut Random, count: usize) -> Vec<Span> {
    let lengths = lengths(layout);
    (0..count).filter_map(|_| one(layout, random, &lengths)).collect()
}

fn one(layout: &Layout, random: &mut Random, lengths: &[u128]) -> Option<Span> {
    let series = random.pick(&layout.spans)?;
    let n = u64::try_from(random.below(u128::from(series.count))).ok()?;
    let (span, len) = (series.nth(n)?, *random.pick(lengths)?);
    let n = random.below(slots(layout, span, len));
    slot(layout, span, len, n)
}

/// All allocations of the smallest length, in order.
pub(crate) fn in_order(layout: &Layout) -> impl Iterator<Item = Span> {
    let len = layout.sizing.min_len;
    let spans = layout.spans.iter().flat_map(|series| (0..series.count).map_while(|n| series.nth(n)));
    spans.flat_map(move |span| (0..slots(layout, span, len)).map_while(move |n| slot(layout, span, len, n)))
}

/// Spans that are none of the pool's, or none at all.
pub(crate) fn outside(layout: &Layout) -> Vec<Span> {
    let len = layout.sizing.default_len;
    let mut outside = vec![
        Span::new(0, 0),
        Span::new(u128::MAX, u128::MAX),
        Span::new(u128::MAX, 2),
        Span::new(0, u128::MAX),
        Span::new(u128::MAX - len, len),
        Span::new(1 << 64, 1),
    ];
    for series in layout.spans.iter().take(64) {
        let Some(hull) = series.hull() else { continue };
        outside.push(Span::new(hull.start, 0));
        outside.extend(hull.start.checked_sub(len).map(|start| Span::new(start, len)));
        outside.extend(hull.start.checked_sub(1).map(|start| Span::new(start, len.saturating_add(1))));
        outside.extend(hull.last().and_then(|last| last.checked_add(1)).map(|start| Span::new(start, len)));
        outside.push(Span::new(hull.start, layout.sizing.max_len.saturating_add(layout.grain)));
        if layout.grain > 1 {
            outside.push(Span::new(hull.start, layout.grain - 1));
            outside.push(Span::new(hull.start.saturating_add(1), len));
        }
    }
    outside.retain(|span| !layout.admits(*span));
    outside
}
