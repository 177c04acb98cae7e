//! Which bit of a shard's bitmap stands for which grain.
//!
//! A shard is a row of pieces: the parts of the pool's spans inside it, each a series of equal members with a fixed number
//! of bits from one member to the next, so gaps between spans cost no bits. Where longer spans than one grain are
//! handed out, there is at least one bit that stands for nothing between two members (so that no run of free bits
//! reaches from one into the other), and with natural alignment members begin on a bit whose number is aligned as the
//! position is (so that aligned positions are aligned bits).

use super::terrain::Terrain;
use crate::pool::Alignment;
use crate::span::{Series, Span};

/// The bits of one shard.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    row: Vec<Piece>,
    grain: u128,
    bits: u32,
}

/// Equal runs of grains at equal distances.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u128,
    stride: u128,
    grains: u32,
    members: u32,
    /// The first member's first bit, and from one member's to the next's.
    base: u32,
    pitch: u32,
}

impl Pieces {
    /// Reads off the pieces inside a cover that has few enough grains for a bitmap. `longest` in grains.
    pub(super) fn new(terrain: &Terrain, cover: Span, longest: u128) -> Self {
        let mut runs = Vec::new();
        for member in terrain.members.singles() {
            runs.extend(member.intersection(cover).map(Series::one));
        }
        for series in terrain.members.series() {
            runs.extend(clip(*series, cover).into_iter().flatten());
        }
        runs.sort_unstable_by_key(|run| run.cover());
        let mut pieces = Self { row: Vec::with_capacity(runs.len()), grain: terrain.grain, bits: 0 };
        for run in in_order(runs) {
            pieces.push(terrain, run, longest);
        }
        pieces
    }

    /// How many bits there are.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// The runs of bits that stand for grains, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.row.iter().flat_map(|piece| {
            (0..piece.members).map(|nth| piece.base + nth * piece.pitch).map(|bit| (bit, bit + piece.grains))
        })
    }

    /// The first bit whose grain begins at or after the position; their number if there is none.
    pub(super) fn bit_from(&self, at: u128) -> u32 {
        let next = self.row.partition_point(|piece| piece.start <= at);
        let after = || self.row.get(next).map_or(self.bits, |piece| piece.base);
        let Some(piece) = next.checked_sub(1).and_then(|last| self.row.get(last)) else { return after() };
        let offset = at - piece.start;
        let member = if piece.members == 1 { 0 } else { small(offset / piece.stride) };
        if member >= piece.members {
            return after();
        }
        let inside = offset - u128::from(member) * piece.stride;
        let grain = if self.grain == 1 { inside } else { inside.div_ceil(self.grain) };
        if grain < u128::from(piece.grains) {
            piece.base + member * piece.pitch + small(grain)
        } else if member + 1 < piece.members {
            piece.base + (member + 1) * piece.pitch
        } else {
            after()
        }
    }

    /// The bits of a span of whole grains inside one of the pool's spans.
    pub(super) fn bits_of(&self, span: Span) -> (u32, u32) {
        let from = self.bit_from(span.start());
        (from, from + small(if self.grain == 1 { span.len() } else { span.len() / self.grain }))
    }

    /// The bit after the last one whose grain ends at or before the position.
    pub(super) fn bit_before(&self, end: u128) -> u32 {
        end.checked_sub(self.grain).map_or(0, |last| self.bit_from(last + 1))
    }

    /// Where the grain of a bit begins. The bit must stand for one.
    pub(super) fn position(&self, bit: u32) -> u128 {
        let next = self.row.partition_point(|piece| piece.base <= bit);
        let piece = next.checked_sub(1).and_then(|last| self.row.get(last)).expect("the bit stands for a grain");
        let offset = bit - piece.base;
        let (member, grain) =
            if piece.members == 1 { (0, offset) } else { (offset / piece.pitch, offset % piece.pitch) };
        piece.start + u128::from(member) * piece.stride + u128::from(grain) * self.grain
    }

    /// About where the n-th of so many grains is.
    pub(super) fn position_of(&self, nth: u128, grains: u128) -> u128 {
        let bit = if u128::from(self.bits) == grains { nth } else { nth * u128::from(self.bits) / grains.max(1) };
        let first = self.row.first().map_or(0, |piece| piece.base);
        self.position(small(bit).max(first))
    }

    fn push(&mut self, terrain: &Terrain, run: Series, longest: u128) {
        let (start, grains) = terrain.cells(run.first());
        if grains == 0 {
            return;
        }
        let grains = small(grains);
        // The longest span that fits a member decides how members must be aligned and whether they must be parted.
        let most = longest.min(u128::from(grains));
        let order = if terrain.align == Alignment::Natural { most.ilog2() } else { 0 };
        let apart = u32::from(longest > 1);
        let phase = |at: u128| small((at / terrain.grain) & ((1 << order) - 1));
        let base = align(self.bits + if self.row.is_empty() { 0 } else { apart }, order, phase(start));
        let pitch = if run.count() == 1 { grains } else { align(grains + apart, order, phase(run.stride())) };
        let members = small(u128::from(run.count()));
        self.bits = base + (members - 1) * pitch + grains;
        self.row.push(Piece { start, stride: run.stride(), grains, members, base, pitch });
    }
}

/// The lowest number from `at` on that leaves `phase` when divided by two to the power of `order`.
fn align(at: u32, order: u32, phase: u32) -> u32 {
    at + (phase.wrapping_sub(at) & ((1 << order) - 1))
}

/// A shard kept as a bitmap has at most 2^24 grains, and at most so many members.
fn small(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The part of a series inside the cover: a member cut off at the start, whole ones, a member cut off at the end.
fn clip(series: Series, cover: Span) -> [Option<Series>; 3] {
    let Some(inside) = series.cover().intersection(cover) else { return [None; 3] };
    let first = series.first();
    let member_from = |at: u128| (at - first.start()) / series.stride();
    let nth = |nth: u128| u64::try_from(nth).ok().and_then(|nth| series.get(nth));
    let (low, high) = (member_from(inside.start()), member_from(inside.end() - 1));
    let part = |at: u128| nth(at).and_then(|member| member.intersection(cover)).map(Series::one);
    if high - low < 2 {
        return [part(low), if high > low { part(high) } else { None }, None];
    }
    let whole =
        nth(low + 1).and_then(|member| Series::new(member, series.stride(), u64::try_from(high - low - 1).ok()?));
    [part(low), whole, part(high)]
}

/// Runs in an order in which bits follow positions: where covers overlap, each member on its own.
fn in_order(runs: Vec<Series>) -> Vec<Series> {
    let apart = runs.is_sorted_by(|run, next| run.cover().end() <= next.cover().start());
    if apart {
        return runs;
    }
    let members = |run: Series| (0..run.count()).filter_map(move |nth| run.get(nth)).map(Series::one);
    let mut single: Vec<Series> = runs.into_iter().flat_map(members).collect();
    single.sort_unstable_by_key(|run| run.first());
    single
}
