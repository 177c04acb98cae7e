//! The space against a model that tries every place, over small pools of every shape; and the sizes at which it must still
//! cost nothing.

mod edges;
mod large;
mod model;
mod order;

use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as Generates;

use self::model::Model;
use super::*;
use crate::id::Epoch;
use crate::plan::Strategy;
use crate::pool::{Alignment, Geometry, Shard, Sizing};
use crate::span::Series;

fn span(start: u128, len: u128) -> Span {
    Span::new(start, len).unwrap()
}

fn geometry(spans: Vec<Series>, excluded: Vec<Series>, lens: (u128, u128), align: Alignment, cut: u128) -> Geometry {
    let (grain, max_len) = lens;
    Geometry {
        spans,
        excluded,
        grain,
        sizing: Sizing { default_len: grain, min_len: grain, max_len, align },
        cut,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    }
}

fn addresses(spans: &[(u128, u128)]) -> Geometry {
    let spans = spans.iter().map(|(start, len)| Series::one(span(*start, *len))).collect();
    geometry(spans, Vec::new(), (1, 1), Alignment::Natural, 256)
}

fn numbered(covers: &[Span]) -> Vec<Shard> {
    let shards = (0..).zip(covers);
    shards.map(|(id, cover)| Shard { id: ShardId(id), epoch: Epoch(1), cover: *cover }).collect()
}

fn layout_of(geometry: &Geometry, covers: &[Span], bitmaps: bool) -> Arc<Layout> {
    let most = if bitmaps { 1 << 28 } else { 0 };
    Arc::new(Layout::with_bitmaps_up_to(most, Arc::new(geometry.clone()), &numbered(covers)).unwrap())
}

fn space_of(geometry: &Geometry) -> Space {
    let covers = cut_shards(geometry, None).unwrap();
    Space::new(layout_of(geometry, &covers, true), false)
}

const fn want(len: u128, strategy: Strategy) -> Want<'static> {
    Want { len, within: &[], strategy, hash: 0, draw: 0 }
}

/// Both, side by side.
struct Pair {
    space: Space,
    model: Model,
    held: Vec<Span>,
    bitmaps: bool,
    /// What left the pool and may come back.
    gone: Option<Series>,
    /// The end of everything that was ever in the pool.
    reach: u128,
}

#[derive(Clone, Debug)]
enum Step {
    Choose { strategy: Strategy, length: u8, within: Vec<(u16, u16)>, hash: u64 },
    Take { at: u16, length: u8, off: bool },
    Give(u16),
    Exclude(u16),
    Include(u16),
    Grow(u8),
    Shrink,
}

fn steps() -> impl Generates<Value = Vec<Step>> {
    let strategy = proptest::sample::select(&Strategy::ALL[..]);
    let within = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec((any::<u16>(), 1..40_u16), 1..4)];
    let choose = (strategy, any::<u8>(), within, any::<u64>());
    let step = prop_oneof![
        12 => choose.prop_map(|(strategy, length, within, hash)| Step::Choose { strategy, length, within, hash }),
        2 => (any::<u16>(), any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(at, length, off)| Step::Take { at, length, off }),
        6 => any::<u16>().prop_map(Step::Give),
        1 => any::<u16>().prop_map(Step::Exclude),
        1 => any::<u16>().prop_map(Step::Include),
        1 => any::<u8>().prop_map(Step::Grow),
        1 => Just(Step::Shrink),
    ];
    prop::collection::vec(step, 1..120)
}

/// Small pools: gaps, series (some touching, some of one grain), odd starts, exclusions that overlap and fall into gaps.
fn pools() -> impl Generates<Value = Geometry> {
    let run = (0..9_u128, 1..30_u128, 0..6_u128, 1..5_u64);
    let hole = (0..160_u128, 1..4_u128, 0..9_u128, 1..12_u64);
    let shape = (any::<bool>(), 0..3_u32, 0..4_u32, 1..6_u128, 1..5_u128);
    let parts = (shape, 0..50_u128, prop::collection::vec(run, 1..4), prop::collection::vec(hole, 0..4));
    parts.prop_filter_map("a pool without a grain", |((natural, small, long, odd, widen), start, runs, holes)| {
        let (align, grain, max_len) = if natural {
            (Alignment::Natural, 1 << small, 1 << (small + long))
        } else {
            (Alignment::Origin, odd, odd * u128::from(long + 1))
        };
        let mut at = start;
        let mut spans = Vec::new();
        for (gap, len, space, count) in runs {
            let stride = (len + space).next_multiple_of(if natural { grain } else { 1 });
            let run = Series::new(span(at + gap, len), stride, count).unwrap();
            at = run.cover().end();
            spans.push(run);
        }
        let holes =
            holes.into_iter().map(|(at, len, space, count)| Series::new(span(at, len), len + space, count).unwrap());
        let geometry = geometry(spans, holes.collect(), (grain, max_len), align, grain * widen);
        cut_shards(&geometry, None).is_ok().then_some(geometry)
    })
}

impl Pair {
    fn new(geometry: &Geometry, factor: Option<u32>, bitmaps: bool) -> Self {
        let covers = cut_shards(geometry, factor).unwrap();
        let space = Space::new(layout_of(geometry, &covers, bitmaps), true);
        Self { space, model: Model::new(geometry.clone(), covers), held: Vec::new(), bitmaps, gone: None, reach: 0 }
    }

    fn length(&self, raw: u8) -> u128 {
        let (grain, sizing) = (self.model.geometry.grain, self.model.geometry.sizing);
        match sizing.align {
            Alignment::Natural => grain << (u32::from(raw) % ((sizing.max_len / grain).ilog2() + 1)),
            Alignment::Origin => grain * (u128::from(raw) % (sizing.max_len / grain) + 1),
        }
    }

    fn end(&self) -> u128 {
        self.model.members().last().unwrap().end()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Choose { strategy, length, within, hash } => {
                let spans = within.iter().map(|(at, len)| span(u128::from(*at) % self.end(), u128::from(*len)));
                let within: Vec<Span> = spans.collect();
                self.choose(*strategy, self.length(*length), &within, *hash);
            }
            Step::Take { at, length, off } => {
                let grains = self.model.grains();
                let start = grains[usize::from(*at) % grains.len()] + u128::from(*off);
                let asked = span(start, self.length(*length));
                let (found, expected) = (self.space.check(asked), self.model.check(asked));
                assert_eq!(found, expected.map(|cover| ShardId(u32::try_from(cover).unwrap())), "{asked:?}");
                assert_eq!(self.space.take(asked), found);
                if found.is_ok() {
                    self.model.take(asked);
                    self.held.push(asked);
                }
            }
            Step::Give(nth) if !self.held.is_empty() => {
                let given = self.held.swap_remove(usize::from(*nth) % self.held.len());
                self.space.give(given);
                self.model.give(given);
            }
            Step::Give(_) => {}
            Step::Exclude(nth) => {
                let grains = self.model.grains();
                let grain = span(grains[usize::from(*nth) % grains.len()], self.model.geometry.grain);
                if self.model.is_free(grain) {
                    self.reshape(|geometry| geometry.excluded.push(Series::one(grain)));
                }
            }
            Step::Include(nth) => self.reshape(|geometry| {
                if !geometry.excluded.is_empty() {
                    geometry.excluded.remove(usize::from(*nth) % geometry.excluded.len());
                }
            }),
            Step::Grow(by) => {
                self.reach = self.reach.max(self.end());
                let more = Series::one(span(self.reach + u128::from(by % 7), u128::from(*by) + 1));
                let more = self.gone.take().filter(|_| by % 2 == 0).unwrap_or(more);
                self.reshape(|geometry| geometry.spans.push(more));
            }
            Step::Shrink => {
                let last = *self.model.geometry.spans.last().unwrap();
                if self.model.geometry.spans.len() > 1 && !self.held.iter().any(|held| last.cover().intersects(*held)) {
                    self.reach = self.reach.max(self.end());
                    self.gone = Some(last);
                    self.reshape(|geometry| geometry.spans.truncate(geometry.spans.len() - 1));
                }
            }
        }
        self.compare_totals();
    }

    fn choose(&mut self, strategy: Strategy, len: u128, within: &[Span], hash: u64) {
        let places = self.model.places(len, within);
        let found = self.space.choose(&Want { len, within, strategy, hash, draw: hash });
        if strategy == Strategy::Exact {
            assert_eq!(found, None);
            return;
        }
        let first = places.first().copied();
        assert_eq!(found.is_some(), first.is_some(), "{strategy} of {len} in {within:?}: {found:?}, {places:?}");
        let Some(found) = found else { return };
        assert!(places.contains(&found), "{strategy} of {len} in {within:?}: {found:?}, not one of {places:?}");
        match strategy {
            Strategy::FirstFree => assert_eq!(Some(found), first),
            Strategy::NextFree => {
                let next = places.iter().find(|place| place.start() >= self.model.cursor).copied();
                assert_eq!(Some(found), next.or(first));
            }
            Strategy::OldestFree => self.check_oldest(found, &places),
            Strategy::Random | Strategy::Hash | Strategy::Exact => {}
        }
        self.space.take(found).unwrap();
        self.model.take(found);
        self.held.push(found);
    }

    /// What was never used comes first, the lowest of it; with spans of one length then the oldest return.
    fn check_oldest(&self, found: Span, places: &[Span]) {
        let ticket =
            |place: &Span| self.model.grains_of(*place).iter().filter_map(|grain| self.model.given.get(grain)).max();
        let unused = places.iter().find(|place| ticket(place).is_none());
        let one_length = self.model.geometry.sizing.max_len == self.model.geometry.grain;
        match unused {
            Some(unused) => assert_eq!(found, *unused),
            None if one_length => assert_eq!(Some(&found), places.iter().min_by_key(|place| ticket(place))),
            None => {}
        }
    }

    fn reshape(&mut self, change: impl FnOnce(&mut Geometry)) {
        let mut geometry = self.model.geometry.clone();
        change(&mut geometry);
        let Ok(more) = cut_more_shards(&geometry, &numbered(&self.model.covers)) else { return };
        let mut covers = self.model.covers.clone();
        covers.extend(more);
        let Ok(layout) = Layout::new(Arc::new(geometry.clone()), &numbered(&covers)) else { return };
        drop(layout);
        self.space.reshape(layout_of(&geometry, &covers, self.bitmaps));
        (self.model.geometry, self.model.covers) = (geometry, covers);
    }

    fn compare_totals(&self) {
        let grains = self.model.grains();
        let excluded = grains.iter().filter(|at| self.model.is_excluded(span(**at, self.model.geometry.grain))).count();
        let free = grains.len() - excluded - self.model.taken.len();
        let expected = Totals { total: grains.len() as u128, free: free as u128, excluded: excluded as u128 };
        assert_eq!(self.space.totals(), expected);
        // What is remembered of the past is bounded by what is free now, whatever came and went.
        if let Remembered::Yes(order) = &self.space.order {
            assert!(order.spans().0 <= free, "{:?} of {free} free grains", order.spans());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn bitmaps_do_what_the_model_does(pool in pools(), factor in 0..9_u32, steps in steps()) {
        let mut pair = Pair::new(&pool, Some(factor), true);
        pair.compare_totals();
        for step in &steps {
            pair.run(step);
        }
    }

    #[test]
    fn ranges_do_what_the_model_does(pool in pools(), factor in 0..9_u32, steps in steps()) {
        let mut pair = Pair::new(&pool, Some(factor), false);
        for step in &steps {
            pair.run(step);
        }
    }

    #[test]
    fn a_pool_grows_whatever_its_plugin_cuts(
        pool in pools(), longer in 0..40_u128, more in prop::collection::vec((0..9_u128, 1..40_u128), 0..3),
        cuts in (1..9_u128, 1..9_u128),
    ) {
        let mut pool = pool;
        pool.cut = pool.grain * cuts.0;
        let covers = cut_shards(&pool, None).unwrap();
        pool.cut = pool.grain * cuts.1;
        let last = pool.spans.iter().enumerate().max_by_key(|(_, run)| run.cover().end()).unwrap().0;
        let mut end = pool.spans[last].cover().end();
        if pool.spans[last].count() == 1 && pool.spans[last].first().len() >= pool.grain {
            let first = pool.spans[last].first();
            pool.spans[last] = Series::one(span(first.start(), first.len() + longer));
            end += longer;
        }
        // Far enough behind for no border to be there already.
        let mut at = end.max(covers.last().unwrap().end());
        for (gap, len) in more {
            pool.spans.push(Series::one(span(at + gap, len)));
            at += gap + len;
        }
        let more = cut_more_shards(&pool, &numbered(&covers)).unwrap();
        let mut all = covers;
        all.extend(more);
        let layout = Layout::new(Arc::new(pool), &numbered(&all));
        prop_assert!(layout.is_ok(), "{}", layout.unwrap_err());
    }

    #[test]
    fn shards_cover_every_grain_and_cut_none(pool in pools(), factor in 0..40_u32) {
        let covers = cut_shards(&pool, Some(factor)).unwrap();
        let model = Model::new(pool, covers.clone());
        prop_assert!(covers.is_sorted_by(|cover, next| cover.end() <= next.start()));
        for at in model.grains() {
            prop_assert!(covers.iter().any(|cover| cover.contains(span(at, model.geometry.grain))));
        }
        for cover in &covers {
            prop_assert!(model.grains().iter().any(|at| cover.contains(span(*at, 1))), "{cover:?} is empty");
        }
    }
}
