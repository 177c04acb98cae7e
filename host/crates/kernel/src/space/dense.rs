//! A shard as a bitmap: one bit a grain, set if the grain is free.
//!
//! With natural alignment there is a bitmap for every order too: bit b of order k is set if the 2^k grains from b * 2^k on
//! are all free. All orders together cost one more bit a grain, and finding an aligned span is finding a set bit. With
//! alignment to the origin a span of several grains is a run of set bits.

use super::bits::Bits;
use super::layout::Layout;
use super::pieces::Pieces;
use crate::span::Span;

/// The free grains of one shard.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    free: Bits,
    /// Orders 1 and up; empty unless alignment is natural and spans differ in length.
    orders: Vec<Bits>,
    /// No free span has more grains than this.
    room: u128,
}

impl Dense {
    /// All free but what is excluded.
    pub(super) fn new(layout: &Layout, pieces: &Pieces, cover: Span) -> Self {
        let mut free = Bits::clear(pieces.bits());
        for (from, to) in pieces.runs() {
            free.set(from, to);
        }
        let terrain = layout.terrain();
        let mut at = cover.start();
        // Member by member, because in a gap between two there may be any number of exclusions.
        while let Some(member) = terrain.members.first_ending_after(at).filter(|member| member.start() < cover.end()) {
            at = at.max(member.start());
            let Some(excluded) = terrain.excluded.first_ending_after(at).filter(|hit| hit.start() < cover.end()) else {
                break;
            };
            if excluded.start() < member.end() {
                let (from, to) = touched(pieces, terrain.grain, excluded);
                free.unset(from, to);
                at = excluded.end();
            } else {
                at = member.end();
            }
        }
        let mut orders = Vec::new();
        if layout.is_natural() {
            for _ in 0..layout.longest().ilog2() {
                orders.push(orders.last().unwrap_or(&free).halved());
            }
        }
        let mut dense = Self { free, orders, room: layout.longest() };
        dense.lower_room();
        dense
    }

    /// No free span has more grains than this.
    pub(super) fn room(&self) -> u128 {
        self.room
    }

    /// True if all of a span that could be handed out is free.
    pub(super) fn is_free(&self, pieces: &Pieces, span: Span) -> bool {
        let (from, to) = pieces.bits_of(span);
        self.free.all(from, to)
    }

    /// The lowest free span of so many grains with `low <= start` and `end <= high`.
    pub(super) fn first_fit(
        &mut self,
        pieces: &Pieces,
        low: u128,
        high: u128,
        grains: u128,
        natural: bool,
    ) -> Option<u128> {
        let from = pieces.bit_from(low);
        let to = pieces.bit_before(high);
        let length = u32::try_from(grains).ok()?;
        let found = if natural {
            let order = length.ilog2();
            self.order(order)?.next(from.div_ceil(length)).map(|block| block << order)
        } else {
            self.first_run(from, to, length)
        };
        let found = found.filter(|bit| to.checked_sub(length).is_some_and(|last| *bit <= last));
        if found.is_none() && !natural && from == 0 && to == self.free.len() {
            self.room = self.room.min(grains - 1);
        }
        found.map(|bit| pieces.position(bit))
    }

    /// Marks every grain that shares a position with the span taken.
    pub(super) fn block(&mut self, layout: &Layout, pieces: &Pieces, span: Span) {
        let (from, to) = touched(pieces, layout.terrain().grain, span);
        let changed = self.free.unset(from, to);
        if changed > 0 {
            for (order, blocks) in (1..).zip(&mut self.orders) {
                blocks.unset((from >> order).min(blocks.len()), (((to - 1) >> order) + 1).min(blocks.len()));
            }
            self.lower_room();
        }
    }

    /// Marks the grains of a span that was handed out free.
    pub(super) fn unblock(&mut self, layout: &Layout, pieces: &Pieces, span: Span) {
        let (from, to) = pieces.bits_of(span);
        self.free.set(from, to);
        if layout.is_natural() {
            self.raise_orders(from, to);
        } else {
            self.raise_run(from, to, layout.longest());
        }
    }

    /// What is taken, as spans along the line: what is neither free nor excluded.
    pub(super) fn blocked(&self, layout: &Layout, pieces: &Pieces) -> Vec<Span> {
        let terrain = layout.terrain();
        let mut blocked = Vec::new();
        for (from, to) in pieces.runs() {
            let mut bit = self.free.first_clear(from, to);
            while bit < to {
                let grain = Span::new(pieces.position(bit), terrain.grain).expect("a grain of the pool is on the line");
                if !terrain.excluded.touch(grain) {
                    blocked.push(grain);
                }
                bit = self.free.first_clear(bit + 1, to);
            }
        }
        super::runs::unite(blocked)
    }

    fn order(&self, order: u32) -> Option<&Bits> {
        match order.checked_sub(1) {
            None => Some(&self.free),
            Some(above) => self.orders.get(above as usize),
        }
    }

    fn first_run(&self, from: u32, to: u32, length: u32) -> Option<u32> {
        let mut at = self.free.next(from)?;
        if length == 1 {
            return Some(at);
        }
        loop {
            let end = at.checked_add(length).filter(|end| *end <= to)?;
            let clear = self.free.first_clear(at, end);
            if clear == end {
                return Some(at);
            }
            at = self.free.next(clear)?;
        }
    }

    /// After spans were taken: exact with natural alignment, else an upper bound.
    fn lower_room(&mut self) {
        if self.free.is_clear() {
            self.room = 0;
        }
        while self.room > 1 && !self.orders.is_empty() && self.order(self.room.ilog2()).is_none_or(Bits::is_clear) {
            self.room /= 2;
        }
    }

    fn raise_orders(&mut self, from: u32, to: u32) {
        let mut lower = &self.free;
        for (order, blocks) in (1_u32..).zip(&mut self.orders) {
            let (whole_from, whole_to) = (from.div_ceil(1 << order), to >> order);
            if whole_from < whole_to {
                blocks.set(whole_from, whole_to);
            }
            let mut grown = whole_from < whole_to;
            for block in [from >> order, (to - 1) >> order] {
                if block < blocks.len() && lower.all(block * 2, block * 2 + 2) {
                    blocks.set(block, block + 1);
                    grown = true;
                }
            }
            if !grown {
                break;
            }
            lower = blocks;
        }
        self.room = self.room.max(1);
        while self.order(self.room.ilog2() + 1).is_some_and(|blocks| !blocks.is_clear()) {
            self.room *= 2;
        }
    }

    fn raise_run(&mut self, from: u32, to: u32, longest: u128) {
        let most = u32::try_from(longest).unwrap_or(u32::MAX);
        let before = self.free.run_before(from, most);
        let limit = self.free.len().min(to.saturating_add(most));
        let after = self.free.first_clear(to, limit) - to;
        let run = u128::from(before) + u128::from(to - from) + u128::from(after);
        self.room = self.room.max(run.min(longest));
    }
}

/// The bits of the grains that share a position with the span; among them may be bits that stand for nothing.
fn touched(pieces: &Pieces, grain: u128, span: Span) -> (u32, u32) {
    let from = pieces.bit_from((span.start() + 1).saturating_sub(grain));
    (from, pieces.bit_from(span.end()).max(from))
}
