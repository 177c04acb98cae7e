//! What a pool's geometry and shards mean for free space: computed once per revision, shared by all its realms. Its cost
//! follows the number of descriptions and shards, never the size of the pool; the parts of a shard are read off when
//! the shard is first touched.

use std::sync::{Arc, OnceLock};

use super::count::{Grains, excluded_grains};
use super::pieces::Pieces;
use super::terrain::Terrain;
use super::{Blocked, Totals};
use crate::id::ShardId;
use crate::pool::{Alignment, Geometry, Shard};
use crate::span::Span;

/// A pool with more grains than this (32 MiB of bits) keeps ranges instead of bitmaps.
const MOST_DENSE_POOL: u128 = 1 << 28;

/// A shard with more grains than this keeps ranges.
const MOST_DENSE_SHARD: u128 = 1 << 24;

/// Where the usual span has more grains than this, a range costs less than its bits.
const MOST_DENSE_SPAN: u128 = 256;

/// The part of a [`Space`](super::Space) that is the same in every realm.
#[derive(Debug)]
pub(crate) struct Layout {
    geometry: Arc<Geometry>,
    terrain: Terrain,
    plots: Vec<Plot>,
    /// By shard id, which plot it is.
    by_id: Vec<usize>,
    /// Where each plot ends, and how many grains are before it: apart from the plots, because they are searched.
    ends: Vec<u128>,
    before: Vec<u128>,
    capacity: Totals,
    longest: u128,
}

/// A shard's place in the layout. Plots are ordered along the line and numbered from 0; ids are not.
#[derive(Debug)]
struct Plot {
    cover: Span,
    id: ShardId,
    grains: u128,
    dense: bool,
    pieces: OnceLock<Pieces>,
}

impl Layout {
    /// Checks what the free space relies on, and counts. The error says what is wrong with the geometry or the shards.
    pub(crate) fn new(geometry: Arc<Geometry>, shards: &[Shard]) -> Result<Self, String> {
        Self::with_bitmaps_up_to(MOST_DENSE_POOL, geometry, shards)
    }

    /// As [`Self::new`], with bitmaps only in pools of at most so many grains.
    pub(super) fn with_bitmaps_up_to(most: u128, geometry: Arc<Geometry>, shards: &[Shard]) -> Result<Self, String> {
        let terrain = Terrain::new(&geometry)?;
        let grains = Grains::new(&terrain);
        let capacity = count(&terrain, &grains)?;
        let total = capacity.total;
        let slim = geometry.sizing.default_len / geometry.grain <= MOST_DENSE_SPAN;
        let longest = geometry.sizing.max_len / geometry.grain;
        let mut shards = shards.to_vec();
        shards.sort_unstable_by_key(|shard| shard.cover);
        let mut plots: Vec<Plot> = Vec::with_capacity(shards.len());
        let mut before = Vec::with_capacity(shards.len());
        let mut counted = 0;
        for shard in shards {
            let cover = shard.cover;
            check_cover(&terrain, cover, plots.last().map(|plot| plot.cover))?;
            let here = grains.before(cover.end()) - grains.before(cover.start());
            let dense = slim && total <= most && here <= MOST_DENSE_SHARD;
            plots.push(Plot { cover, id: shard.id, grains: here, dense, pieces: OnceLock::new() });
            before.push(counted);
            counted += here;
        }
        if counted != total {
            return Err(format!("the shards cover {counted} of {total} grains"));
        }
        if !terrain.is_regular() && plots.iter().any(|plot| !plot.dense) {
            return Err("spans and exclusions of so large a pool must repeat in a short pattern".to_owned());
        }
        let ends = plots.iter().map(|plot| plot.cover.end()).collect();
        let mut by_id = vec![usize::MAX; plots.len()];
        for (plot, Plot { id, .. }) in plots.iter().enumerate() {
            let slot = usize::try_from(id.0).ok().and_then(|id| by_id.get_mut(id));
            *slot.ok_or_else(|| format!("shard {id} is not numbered among {}", plots.len()))? = plot;
        }
        Ok(Self { geometry, terrain, plots, by_id, ends, before, capacity, longest })
    }

    /// The pool's spans as its plugin reads them.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// How much there is while nothing is taken.
    pub(crate) fn capacity(&self) -> Totals {
        self.capacity
    }

    /// The shard of a span that could be handed out if nothing were taken.
    pub(crate) fn place(&self, span: Span) -> Result<ShardId, Blocked> {
        let plot = self.plot_of(span)?;
        if self.terrain.excluded.touch(span) { Err(Blocked::Excluded) } else { Ok(self.shard_id(plot)) }
    }

    /// The plot of a span that lies inside the pool, has an allowed length and is aligned; it may be excluded.
    pub(super) fn plot_of(&self, span: Span) -> Result<usize, Blocked> {
        let member = self.terrain.member_around(span).ok_or(Blocked::Outside)?;
        if !self.terrain.allows(span.len()) {
            return Err(Blocked::Length);
        }
        let plot = self.plot_at(span.start());
        let whole = self.plots.get(plot).is_some_and(|plot| plot.cover.contains(span));
        if whole && self.terrain.is_aligned(member, span) { Ok(plot) } else { Err(Blocked::Misaligned) }
    }

    /// The first plot that ends after the position; their number if there is none.
    pub(super) fn plot_at(&self, at: u128) -> usize {
        self.ends.partition_point(|end| *end <= at)
    }

    /// Where a shard lies.
    pub(super) fn plot_of_shard(&self, shard: ShardId) -> Option<usize> {
        let number = usize::try_from(shard.0).ok()?;
        self.by_id.get(number).copied().filter(|plot| *plot < self.plots.len())
    }

    /// How many plots there are.
    pub(super) fn plot_count(&self) -> usize {
        self.plots.len()
    }

    /// What part of the line a plot covers.
    pub(super) fn cover(&self, plot: usize) -> Span {
        self.plot(plot).cover
    }

    /// The shard's id.
    pub(super) fn shard_id(&self, plot: usize) -> ShardId {
        self.plot(plot).id
    }

    /// The bits of a shard that is kept as a bitmap.
    pub(super) fn pieces(&self, plot: usize) -> Option<&Pieces> {
        let plot = self.plot(plot);
        plot.dense.then(|| plot.pieces.get_or_init(|| Pieces::new(&self.terrain, plot.cover, self.longest)))
    }

    pub(super) fn terrain(&self) -> &Terrain {
        &self.terrain
    }

    /// The longest span that may be asked for, in grains.
    pub(super) fn longest(&self) -> u128 {
        self.longest
    }

    /// True if a span's parts are kept by orders (powers of two) rather than runs.
    pub(super) fn is_natural(&self) -> bool {
        self.terrain.align == Alignment::Natural
    }

    /// About where the n-th grain of the pool is: exact where spans have one length only.
    pub(super) fn position_of(&self, nth: u128) -> u128 {
        let index = self.before.partition_point(|before| *before <= nth).saturating_sub(1);
        let (Some(plot), Some(before)) = (self.plots.get(index), self.before.get(index)) else { return 0 };
        let inside = nth - before;
        match self.pieces(index) {
            Some(pieces) => pieces.position_of(inside, plot.grains),
            None => plot.cover.start() + inside * (plot.cover.len() / plot.grains.max(1)),
        }
    }

    /// True if both read alike everywhere inside the cover.
    pub(crate) fn same_inside(&self, other: &Self, cover: Span) -> bool {
        self.terrain.same_inside(&other.terrain, cover)
    }

    fn plot(&self, plot: usize) -> &Plot {
        self.plots.get(plot).expect("plots are numbered by this layout")
    }
}

/// How much a geometry holds while nothing is taken.
pub(crate) fn capacity(geometry: &Geometry) -> Result<Totals, String> {
    let terrain = Terrain::new(geometry)?;
    count(&terrain, &Grains::new(&terrain))
}

fn count(terrain: &Terrain, grains: &Grains) -> Result<Totals, String> {
    let (total, excluded) = (grains.total(), excluded_grains(terrain)?);
    Ok(Totals { total, free: total - excluded, excluded })
}

/// A shard may begin and end only where no span that is handed out can reach over the border.
fn check_cover(terrain: &Terrain, cover: Span, before: Option<Span>) -> Result<(), String> {
    if before.is_some_and(|before| before.end() > cover.start()) {
        return Err(format!("the shard {cover:?} overlaps the one before it"));
    }
    for border in [cover.start(), cover.end()] {
        let Some(member) = terrain.members.first_ending_after(border).filter(|member| member.start() < border) else {
            continue;
        };
        let (first, cells) = terrain.cells(member);
        let fits = match terrain.align {
            Alignment::Natural => border.is_multiple_of(terrain.max_len),
            Alignment::Origin => {
                (border - first).is_multiple_of(terrain.grain) || (border - first) / terrain.grain >= cells
            }
        };
        if !fits {
            return Err(format!(
                "the border of shard {cover:?} cuts through a span of {member:?} that may be handed out"
            ));
        }
    }
    Ok(())
}
