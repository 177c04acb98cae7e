//! Pools at the limits: of one grain, at the line's end, too large to write down, shaped oddly, refused.

use std::sync::Arc;

use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

use super::model::Model;
use super::{addresses, geometry, layout_of, numbered, space_of, span, want};
use crate::plan::Strategy;
use crate::pool::{Alignment, Geometry};
use crate::space::{Blocked, Layout, Totals, Want, cut_more_shards, cut_shards};
use crate::span::{Series, Span};

/// Every strategy that can choose.
const CHOOSING: [Strategy; 5] =
    [Strategy::FirstFree, Strategy::NextFree, Strategy::Random, Strategy::Hash, Strategy::OldestFree];

#[test]
fn a_pool_of_one_address_is_full_after_one() {
    for strategy in CHOOSING {
        let mut space = space_of(&addresses(&[(0x0a00_0001, 1)]));
        let only = space.choose(&Want { hash: u64::MAX, draw: u64::MAX, ..want(1, strategy) }).unwrap();
        assert_eq!(only, span(0x0a00_0001, 1));
        space.take(only).unwrap();
        assert_eq!(space.choose(&want(1, strategy)), None);
        space.give(only);
        assert_eq!(space.choose(&want(1, strategy)), Some(only));
    }
}

#[test]
fn every_strategy_hands_out_everything_once() {
    for strategy in CHOOSING {
        let mut space = space_of(&addresses(&[(100, 1_000), (5_000, 24), (9_000, 3)]));
        let mut seed = 1_u64;
        for _ in 0..1_027 {
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            let found = space.choose(&Want { hash: seed, draw: seed, ..want(1, strategy) }).unwrap();
            space.take(found).unwrap();
        }
        assert_eq!(space.choose(&want(1, strategy)), None);
        assert_eq!(space.totals(), Totals { total: 1_027, free: 0, excluded: 0 });
    }
}

#[test]
fn the_same_hash_finds_the_same_place_in_an_equal_pool() {
    let pool = addresses(&[(0, 1 << 16)]);
    let find = |hash| space_of(&pool).choose(&Want { hash, ..want(1, Strategy::Hash) }).unwrap();
    assert_eq!(find(0x1234_5678_9abc_def0), find(0x1234_5678_9abc_def0));
    assert_eq!(find(1 << 63).start(), 1 << 15);
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let mut pool = addresses(&[(16, 64)]);
    (pool.sizing.max_len, pool.excluded) = (16, vec![Series::one(span(20, 2))]);
    let mut space = space_of(&pool);
    space.take(span(32, 8)).unwrap();
    assert_eq!(space.check(span(15, 1)), Err(Blocked::Outside));
    assert_eq!(space.check(span(79, 2)), Err(Blocked::Outside));
    assert_eq!(space.check(span(48, 32)), Err(Blocked::Length));
    assert_eq!(space.check(span(48, 3)), Err(Blocked::Length));
    assert_eq!(space.check(span(50, 4)), Err(Blocked::Misaligned));
    assert_eq!(space.check(span(16, 8)), Err(Blocked::Excluded));
    assert_eq!(space.check(span(32, 16)), Err(Blocked::Taken));
    assert!(space.check(span(48, 16)).is_ok());
}

#[test]
fn natural_alignment_holds_where_spans_begin_anywhere() {
    // 10.0.0.3 to 10.0.0.20 holds two aligned spans of four but only one of eight.
    let mut pool = addresses(&[(0x0a00_0003, 18)]);
    pool.sizing.max_len = 8;
    let mut space = space_of(&pool);
    assert_eq!(space.choose(&want(8, Strategy::FirstFree)), Some(span(0x0a00_0008, 8)));
    space.take(span(0x0a00_000c, 1)).unwrap();
    assert_eq!(space.choose(&want(8, Strategy::FirstFree)), None);
    assert_eq!(space.choose(&want(4, Strategy::FirstFree)), Some(span(0x0a00_0004, 4)));
}

#[test]
fn a_run_reaches_over_no_gap_and_no_wall() {
    // Two touching spans, each of them a wall to the other, and one after a gap.
    let spans = vec![Series::new(span(0, 6), 6, 2).unwrap(), Series::one(span(20, 6))];
    let pool = geometry(spans, Vec::new(), (1, 8), Alignment::Origin, 64);
    let mut space = space_of(&pool);
    assert_eq!(space.choose(&want(6, Strategy::FirstFree)), Some(span(0, 6)));
    assert_eq!(space.choose(&want(7, Strategy::FirstFree)), None);
    space.take(span(3, 1)).unwrap();
    assert_eq!(space.choose(&want(6, Strategy::FirstFree)), Some(span(6, 6)));
    assert_eq!(space.check(span(4, 4)), Err(Blocked::Outside));
}

#[test]
fn the_line_ends_where_it_ends() {
    let end = u128::MAX;
    let pool = geometry(vec![Series::one(span(end - 16, 16))], Vec::new(), (1, 4), Alignment::Natural, 256);
    for bitmaps in [true, false] {
        let covers = cut_shards(&pool, None).unwrap();
        let mut space = crate::space::Space::new(layout_of(&pool, &covers, bitmaps), false);
        assert_eq!(space.totals().total, 16);
        space.take(span(end - 1, 1)).unwrap();
        // 2^128 - 1 is not on the line, so the last aligned four are not all there.
        assert_eq!(space.choose(&want(4, Strategy::NextFree)), Some(span(end - 15, 4)));
    }
}

#[test]
fn next_free_goes_round_and_round() {
    let mut space = space_of(&addresses(&[(10, 4)]));
    for expected in [10, 11, 12, 13] {
        let found = space.choose(&want(1, Strategy::NextFree)).unwrap();
        assert_eq!(found, span(expected, 1));
        space.take(found).unwrap();
    }
    space.give(span(11, 1));
    space.give(span(13, 1));
    assert_eq!(space.choose(&want(1, Strategy::NextFree)), Some(span(11, 1)));
}

#[test]
fn oldest_free_prefers_what_was_never_used() {
    let pool = addresses(&[(0, 4)]);
    let mut space = crate::space::Space::new(layout_of(&pool, &cut_shards(&pool, None).unwrap(), true), true);
    for at in [0, 1, 2] {
        space.take(span(at, 1)).unwrap();
    }
    for at in [1, 0] {
        space.give(span(at, 1));
    }
    for expected in [3, 1, 0] {
        let found = space.choose(&want(1, Strategy::OldestFree)).unwrap();
        assert_eq!(found, span(expected, 1));
        space.take(found).unwrap();
    }
}

#[test]
fn a_slash_eight_less_two_of_every_256_costs_nothing() {
    let ends = [0, 255].map(|last| Series::new(span(0x0a00_0000 + last, 1), 256, 1 << 16).unwrap());
    let mut pool = addresses(&[(0x0a00_0000, 1 << 24)]);
    pool.excluded = ends.to_vec();
    let mut space = space_of(&pool);
    assert_eq!(space.totals(), Totals { total: 1 << 24, free: (1 << 24) - (1 << 17), excluded: 1 << 17 });
    assert_eq!(space.choose(&want(1, Strategy::FirstFree)), Some(span(0x0a00_0001, 1)));
    assert_eq!(space.check(span(0x0a12_34ff, 1)), Err(Blocked::Excluded));
}

#[test]
fn a_pool_beyond_counting_costs_nothing() {
    // 2001::/16 in single addresses, without the first address of every /64.
    let start = 0x2001 << 112;
    let anycast = Series::new(span(start, 1), 1 << 64, 1 << 48).unwrap();
    let pool = geometry(vec![Series::one(span(start, 1 << 112))], vec![anycast], (1, 1), Alignment::Natural, 1 << 72);
    let mut space = space_of(&pool);
    assert_eq!(space.totals().excluded, 1 << 48);
    assert_eq!(space.choose(&want(1, Strategy::FirstFree)), Some(span(start + 1, 1)));
    for hash in [1, u64::MAX / 3, u64::MAX] {
        let found = space.choose(&Want { hash, ..want(1, Strategy::Hash) }).unwrap();
        space.take(found).unwrap();
        assert_eq!(space.check(found), Err(Blocked::Taken));
    }
    assert_eq!(space.totals().free, (1 << 112) - (1 << 48) - 3);
}

#[test]
fn nothing_fits_between_endless_exclusions_and_that_is_found_out_at_once() {
    // Every /64 of a /20 lacks one address, so no /64 is whole, but /65s are.
    let start = 0x2001 << 112;
    let holes = Series::new(span(start + 77, 1), 1 << 64, 1 << 44).unwrap();
    let pool =
        geometry(vec![Series::one(span(start, 1 << 108))], vec![holes], (1, 1 << 64), Alignment::Natural, 1 << 72);
    let mut space = space_of(&pool);
    for strategy in CHOOSING {
        assert_eq!(space.choose(&want(1 << 64, strategy)), None);
        assert!(space.choose(&want(1 << 63, strategy)).is_some());
    }
    assert_eq!(space.choose(&want(1 << 63, Strategy::FirstFree)), Some(span(start + (1 << 63), 1 << 63)));
}

#[test]
fn interleaved_series_are_handed_out_in_the_order_of_the_line() {
    let (low, high) = (Series::new(span(0, 2), 10, 5).unwrap(), Series::new(span(4, 3), 10, 5).unwrap());
    let mut space = space_of(&geometry(vec![high, low], Vec::new(), (1, 1), Alignment::Origin, 4));
    let expected: Vec<u128> = (0..5).flat_map(|nth| [0, 1, 4, 5, 6].map(|at| nth * 10 + at)).collect();
    for at in expected {
        assert_eq!(space.choose(&want(1, Strategy::FirstFree)), Some(span(at, 1)));
        space.take(span(at, 1)).unwrap();
    }
    assert_eq!(space.choose(&want(1, Strategy::FirstFree)), None);
}

#[test]
fn shards_are_cut_as_promised() {
    let count = |pool: &Geometry, factor| cut_shards(pool, factor).unwrap().len();
    let ten = addresses(&[(0x6440_0000, 1 << 22)]);
    assert_eq!(count(&ten, None), 1_024);
    assert!(cut_shards(&ten, None).unwrap().iter().all(|cover| cover.len() == 4_096));
    assert_eq!(count(&ten, Some(16)), 16);
    assert_eq!(count(&ten, Some(16_384)), 16_384);
    assert_eq!(count(&addresses(&[(0x0a00_0001, 254)]), None), 1);
    assert_eq!(cut_shards(&addresses(&[(0x0a00_0001, 254)]), Some(8)).unwrap(), [span(0x0a00_0000, 256)]);
    let wrong = cut_shards(&ten, Some(16_385)).unwrap_err();
    assert_eq!(wrong, "sharding factor 16385 is more than 16384");
    let vlans = geometry(vec![Series::one(span(100, 3_901))], Vec::new(), (1, 1), Alignment::Origin, 16);
    assert_eq!(count(&vlans, None), 243);
}

#[test]
fn a_grown_pool_keeps_its_shards() {
    let small = addresses(&[(0x0a00_0000, 1 << 16)]);
    let covers = cut_shards(&small, None).unwrap();
    let large = addresses(&[(0x0a00_0000, 1 << 17)]);
    let more = cut_more_shards(&large, &numbered(&covers)).unwrap();
    assert_eq!((covers.len(), more.len()), (256, 256));
    assert_eq!(more.first(), Some(&span(0x0a01_0000, 256)));
    assert!(cut_more_shards(&small, &numbered(&covers)).unwrap().is_empty());
    // From a single shard of four addresses to a /8: as many shards more as a new pool has.
    let tiny = [span(0x0a00_0000, 4)];
    let more = cut_more_shards(&addresses(&[(0x0a00_0000, 1 << 24)]), &numbered(&tiny)).unwrap();
    assert!((1_000..=1_024).contains(&more.len()), "{}", more.len());
}

#[test]
fn what_cannot_be_right_is_refused_with_its_reason() {
    let refusal = |pool: &Geometry| cut_shards(pool, None).unwrap_err();
    let twice = geometry(
        vec![Series::new(span(0, 4), 8, 4).unwrap(), Series::one(span(11, 2))],
        Vec::new(),
        (1, 1),
        Alignment::Origin,
        8,
    );
    assert_eq!(refusal(&twice), "the spans from [0x0 +0x4] and from [0xb +0x2] may overlap");
    let odd = geometry(vec![Series::one(span(0, 9))], Vec::new(), (3, 6), Alignment::Natural, 8);
    assert!(refusal(&odd).contains("must be powers of two"));
    let tiny = geometry(vec![Series::one(span(1, 14))], Vec::new(), (16, 16), Alignment::Natural, 16);
    assert_eq!(refusal(&tiny), "the pool's spans hold no grain of 16");
    let pool = addresses(&[(0, 1_024)]);
    let half = Layout::new(Arc::new(pool), &numbered(&[span(0, 512)])).unwrap_err();
    assert_eq!(half, "the shards cover 512 of 1024 grains");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Long pools with short patterns: what the shortcut skips holds nothing, and the count is exact.
    #[test]
    fn a_pattern_is_searched_once(
        holes in prop::collection::vec((0..3_000_u128, 1..9_u128, 3..7_u32, 2..400_u64), 1..4),
        (start, len, order) in (0..300_u128, 1_000..4_000_u128, 0..6_u32),
        questions in prop::collection::vec((any::<u16>(), any::<u16>()), 1..8),
    ) {
        let holes = holes.into_iter().filter_map(|(at, len, log, count)| Series::new(span(at, len), 1 << log, count));
        let pool = geometry(vec![Series::one(span(start, len))], holes.collect(), (1, 32), Alignment::Natural, 1 << 13);
        let covers = cut_shards(&pool, Some(1)).unwrap();
        let layout = layout_of(&pool, &covers, false);
        let model = Model::new(pool, covers);
        let excluded = model.grains().iter().filter(|at| model.is_excluded(span(**at, 1))).count();
        prop_assert_eq!(layout.capacity().excluded, excluded as u128);
        let free = |span: &Span| !model.is_excluded(*span);
        for (low, high) in questions {
            let (low, high) = (u128::from(low % 5_000), u128::from(high % 5_000));
            let starts = low.max(start)..=high.min(start + len).saturating_sub(1 << order);
            let aligned = starts.filter(|at| at.is_multiple_of(1 << order)).map(|at| span(at, 1 << order));
            let expected = aligned.into_iter().find(free);
            prop_assert_eq!(layout.terrain().first_fit(low, high, 1 << order), expected);
        }
    }
}
