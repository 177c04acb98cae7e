//! Whether a pool that changes gives up space. Judged by the descriptions, so that a pool's size costs nothing: where they
//! do not show that all is kept, it counts as given up, and the holders are asked.

use crate::pool::{Alignment, Geometry};
use crate::space::{capacity, unite};
use crate::span::{Series, Span};

/// A series of at most so many members is looked at member by member.
const LOOKED_AT: u64 = 1_024;

/// False only if whatever could be handed out before can be handed out afterwards.
pub(super) fn gives_up(old: &Geometry, new: &Geometry) -> bool {
    let gone = unite(old.excluded.iter().filter(|run| run.count() == 1).map(|run| run.first()).collect());
    let kept = |run: &Series| new.spans.contains(run) || run_kept(*run, old, new, &gone);
    !old.spans.iter().all(kept) || excludes_more(old, new)
}

/// Every member, less what is excluded already, lies in a span of the new geometry, on the same grid.
fn run_kept(run: Series, old: &Geometry, new: &Geometry, gone: &[Span]) -> bool {
    if run.count() > LOOKED_AT {
        return new.spans.iter().any(|other| series_inside(run, *other, new));
    }
    let mut members = (0..run.count()).filter_map(|nth| run.get(nth));
    members.all(|member| {
        let mut parts = pieces(member, gone);
        parts.all(|piece| new.spans.iter().any(|other| piece_inside(member, piece, *other, old)))
    })
}

/// What remains of a span.
fn pieces(member: Span, gone: &[Span]) -> impl Iterator<Item = Span> + '_ {
    let from = gone.partition_point(|span| span.end() <= member.start());
    let within = gone.iter().skip(from).take_while(move |span| span.start() < member.end());
    let starts = [member.start()].into_iter().chain(within.clone().map(|span| span.end()));
    let ends = within.map(|span| span.start()).chain([member.end()]);
    starts.zip(ends).filter_map(|(start, end)| Span::new(start, end.checked_sub(start)?))
}

fn piece_inside(member: Span, piece: Span, other: Series, geometry: &Geometry) -> bool {
    let Some(offset) = piece.start().checked_sub(other.first().start()) else { return false };
    let nth = u64::try_from(offset / other.stride()).ok();
    let Some(around) = nth.and_then(|nth| other.get(nth)) else { return false };
    around.contains(piece) && same_grid(member.start(), around.start(), geometry)
}

fn series_inside(run: Series, other: Series, geometry: &Geometry) -> bool {
    if other.count() == 1 {
        let grid = same_grid(run.first().start(), other.first().start(), geometry);
        let stays = geometry.sizing.align == Alignment::Natural || run.stride().is_multiple_of(geometry.grain);
        return other.first().contains(run.cover()) && grid && stays;
    }
    // Equal steps: as the first member lies, so do all.
    run.stride() == other.stride()
        && other.cover().contains(run.cover())
        && piece_inside(run.first(), run.first(), other, geometry)
}

/// Spans counted from the start of what they lie in keep their places only if that moves by whole grains.
fn same_grid(one: u128, other: u128, geometry: &Geometry) -> bool {
    match geometry.sizing.align {
        Alignment::Natural => true,
        Alignment::Origin => one.abs_diff(other).is_multiple_of(geometry.grain),
    }
}

fn excludes_more(old: &Geometry, new: &Geometry) -> bool {
    if new.excluded == old.excluded {
        return false;
    }
    let mut both = old.clone();
    both.excluded.extend(new.excluded.iter().copied());
    match (capacity(old), capacity(&both)) {
        (Ok(before), Ok(after)) => after.free < before.free,
        (Ok(_) | Err(_), _) => true,
    }
}
