//! The grains of a pool that are free (or, for `oldest-free`, that were never used): shard by shard, each made when it is
//! first touched, and above them which shard has room.

use super::bits::Bits;
use super::dense::Dense;
use super::layout::Layout;
use super::rooms::Rooms;
use super::sparse::Sparse;
use crate::span::Span;

/// No shard of this number was touched.
const UNTOUCHED: u32 = u32::MAX;

/// A set of grains, by shard.
#[derive(Clone, Debug)]
pub(super) struct GrainSet {
    /// For each plot of the layout where its shard is in `shards`.
    slots: Box<[u32]>,
    shards: Vec<Shard>,
    rooms: Rooms,
    /// Plots in which nothing is looked for. Accounts are kept of them like of any other.
    closed: Option<Bits>,
}

#[derive(Clone, Debug)]
enum Shard {
    Dense(Dense),
    Sparse(Sparse),
}

impl GrainSet {
    /// Everything that is not excluded.
    pub(super) fn new(layout: &Layout) -> Self {
        let plots = layout.plot_count();
        Self {
            slots: vec![UNTOUCHED; plots].into_boxed_slice(),
            shards: Vec::new(),
            rooms: Rooms::new(plots, layout.longest()),
            closed: None,
        }
    }

    /// Nothing is looked for in this plot from now on.
    pub(super) fn close(&mut self, layout: &Layout, plot: usize) {
        let Ok(bit) = u32::try_from(plot) else { return };
        let plots = u32::try_from(self.slots.len()).expect("a pool has at most 16,384 shards");
        if self.closed.get_or_insert_with(|| Bits::clear(plots)).set(bit, bit + 1) == 1 {
            self.rooms.change(plot, self.room(layout, plot), 0);
        }
    }

    /// The opposite of [`Self::close`].
    pub(super) fn open(&mut self, layout: &Layout, plot: usize) {
        let Ok(bit) = u32::try_from(plot) else { return };
        if self.closed.as_mut().is_some_and(|closed| closed.unset(bit, bit + 1) == 1) {
            self.rooms.change(plot, 0, self.room(layout, plot));
        }
    }

    /// Whether spans are looked for in this plot.
    pub(super) fn is_open(&self, plot: usize) -> bool {
        !self.closed.as_ref().is_some_and(|closed| u32::try_from(plot).is_ok_and(|plot| closed.get(plot)))
    }

    fn room(&self, layout: &Layout, plot: usize) -> u128 {
        self.touched(plot).map_or_else(|| layout.longest(), Shard::room)
    }

    /// The lowest span of so many grains in here with `low <= start` and `end <= high`.
    pub(super) fn first_fit(&mut self, layout: &Layout, low: u128, high: u128, grains: u128) -> Option<Span> {
        let mut plot = layout.plot_at(low);
        loop {
            plot = self.rooms.next(plot, grains)?;
            let cover = layout.cover(plot);
            if cover.start() >= high {
                return None;
            }
            let (low, high) = (low.max(cover.start()), high.min(cover.end()));
            let found = self.change(layout, plot, |shard| shard.first_fit(layout, plot, low, high, grains));
            if let Some(start) = found {
                return Span::new(start, grains * layout.terrain().grain);
            }
            plot += 1;
        }
    }

    /// True if all of a span that could be handed out from this plot is in here.
    pub(super) fn holds(&self, layout: &Layout, plot: usize, span: Span) -> bool {
        match self.touched(plot) {
            None => !layout.terrain().excluded.touch(span),
            Some(Shard::Dense(dense)) => layout.pieces(plot).is_some_and(|pieces| dense.is_free(pieces, span)),
            Some(Shard::Sparse(sparse)) => sparse.is_free(span) && !layout.terrain().excluded.touch(span),
        }
    }

    /// Takes out what of the span is in here.
    pub(super) fn block(&mut self, layout: &Layout, plot: usize, span: Span) {
        self.change(layout, plot, |shard| match shard {
            Shard::Dense(dense) => {
                if let Some(pieces) = layout.pieces(plot) {
                    dense.block(layout, pieces, span);
                }
            }
            Shard::Sparse(sparse) => sparse.block(layout, span),
        });
    }

    /// Puts the span in. Nothing of it may be excluded.
    pub(super) fn unblock(&mut self, layout: &Layout, plot: usize, span: Span) {
        self.change(layout, plot, |shard| match shard {
            Shard::Dense(dense) => {
                if let Some(pieces) = layout.pieces(plot) {
                    dense.unblock(layout, pieces, span);
                }
            }
            Shard::Sparse(sparse) => sparse.unblock(layout, span),
        });
    }

    /// The same grains less what left the layout or was excluded, and with what is new in it.
    pub(super) fn moved(self, old: &Layout, new: &Layout) -> Self {
        let mut set = Self::new(new);
        let Self { slots, shards, closed, .. } = self;
        for plot in (0..old.plot_count()).filter(|plot| {
            closed.as_ref().is_some_and(|closed| u32::try_from(*plot).is_ok_and(|plot| closed.get(plot)))
        }) {
            let next = new.plot_at(old.cover(plot).start());
            set.close(new, next);
        }
        let mut shards: Vec<Option<Shard>> = shards.into_iter().map(Some).collect();
        for (plot, slot) in slots.iter().enumerate() {
            let Some(shard) = shards.get_mut(*slot as usize).and_then(Option::take) else { continue };
            let cover = old.cover(plot);
            let next = new.plot_at(cover.start());
            let same = next < new.plot_count() && new.cover(next) == cover && new.same_inside(old, cover);
            if same && new.pieces(next).is_some() == matches!(shard, Shard::Dense(_)) {
                set.adopt(next, new.longest(), shard);
                continue;
            }
            let blocked = match &shard {
                Shard::Dense(dense) => old.pieces(plot).map_or_else(Vec::new, |pieces| dense.blocked(old, pieces)),
                Shard::Sparse(sparse) => sparse.blocked(cover),
            };
            for span in blocked {
                set.block_all(new, span);
            }
        }
        set
    }

    /// Takes out what of a span, which may reach over several shards, is in here.
    pub(super) fn block_all(&mut self, layout: &Layout, span: Span) {
        for plot in layout.plot_at(span.start())..layout.plot_count() {
            let Some(part) = layout.cover(plot).intersection(span) else { break };
            self.block(layout, plot, part);
        }
    }

    fn adopt(&mut self, plot: usize, longest: u128, shard: Shard) {
        if self.is_open(plot) {
            self.rooms.change(plot, longest, shard.room());
        }
        if let Some(slot) = self.slots.get_mut(plot) {
            *slot = u32::try_from(self.shards.len()).expect("a pool has at most 16,384 shards");
        }
        self.shards.push(shard);
    }

    fn touched(&self, plot: usize) -> Option<&Shard> {
        let slot = *self.slots.get(plot)?;
        self.shards.get(slot as usize)
    }

    /// Works on a shard, makes it if need be, and keeps account of its room.
    fn change<T>(&mut self, layout: &Layout, plot: usize, work: impl FnOnce(&mut Shard) -> T) -> T {
        if self.touched(plot).is_none() {
            self.adopt(plot, layout.longest(), Shard::new(layout, plot));
        }
        let slot = self.slots.get(plot).copied().unwrap_or(UNTOUCHED);
        let shard = self.shards.get_mut(slot as usize).expect("the shard was just made");
        let before = shard.room();
        let done = work(shard);
        let after = shard.room();
        if after != before && self.is_open(plot) {
            self.rooms.change(plot, before, after);
        }
        done
    }
}

impl Shard {
    fn new(layout: &Layout, plot: usize) -> Self {
        let cover = layout.cover(plot);
        match layout.pieces(plot) {
            Some(pieces) => Self::Dense(Dense::new(layout, pieces, cover)),
            None => Self::Sparse(Sparse::new(layout, cover)),
        }
    }

    fn room(&self) -> u128 {
        match self {
            Self::Dense(dense) => dense.room(),
            Self::Sparse(sparse) => sparse.room(),
        }
    }

    fn first_fit(&mut self, layout: &Layout, plot: usize, low: u128, high: u128, grains: u128) -> Option<u128> {
        if self.room() < grains {
            return None;
        }
        match self {
            Self::Dense(dense) => dense.first_fit(layout.pieces(plot)?, low, high, grains, layout.is_natural()),
            Self::Sparse(sparse) => sparse.first_fit(layout, low, high, grains),
        }
    }
}
