//! How long the order of returns is remembered of what is not in the pool any more.

use super::*;

/// The part of a pool of 4,096 single grains.
fn part(from: u128, to: u128) -> Arc<Layout> {
    let shape = |from: u128, to: u128| {
        geometry(vec![Series::one(span(from, to - from))], Vec::new(), (1, 1), Alignment::Origin, 4_096)
    };
    let covers = cut_shards(&shape(0, 4_096), None).unwrap();
    layout_of(&shape(from, to), &covers, true)
}

/// All of it, each grain handed out once and given back, the lowest first.
fn used_once() -> Space {
    let mut space = Space::new(part(0, 4_096), true);
    for at in 0..4_096 {
        space.take(span(at, 1)).unwrap();
    }
    for at in 0..4_096 {
        space.give(span(at, 1));
    }
    space
}

fn remembered(space: &Space) -> (usize, usize) {
    match &space.order {
        Remembered::Yes(order) => order.spans(),
        Remembered::Soon | Remembered::No => (0, 0),
    }
}

fn oldest(space: &mut Space) -> Option<Span> {
    space.choose(&Want { len: 1, within: &[], strategy: Strategy::OldestFree, hash: 0, draw: 0 })
}

#[test]
fn a_little_that_leaves_the_pool_comes_back_at_its_place_in_the_order() {
    let mut space = used_once();
    space.reshape(part(1_000, 4_096));
    assert_eq!(remembered(&space), (3_096, 1_000));
    assert_eq!(oldest(&mut space), Some(span(1_000, 1)));
    space.reshape(part(0, 4_096));
    assert_eq!(remembered(&space), (4_096, 0));
    assert_eq!(oldest(&mut space), Some(span(0, 1)), "it was given back first");
}

#[test]
fn much_that_leaves_the_pool_is_forgotten_and_comes_back_as_never_used() {
    let mut space = used_once();
    space.reshape(part(0, 100));
    assert_eq!(remembered(&space), (100, 0));
    space.reshape(part(0, 4_096));
    assert_eq!(remembered(&space), (100, 0));
    assert_eq!(oldest(&mut space), Some(span(100, 1)), "what was never used comes first");
}

#[test]
fn what_left_the_pool_is_forgotten_when_little_is_free() {
    let mut space = used_once();
    space.reshape(part(2_000, 4_096));
    assert_eq!(remembered(&space), (2_096, 2_000));
    for at in 2_000..4_096 {
        space.take(span(at, 1)).unwrap();
        let (live, aside) = remembered(&space);
        assert!(aside <= live + 1_024, "{aside} beside {live}");
    }
    assert_eq!(remembered(&space), (0, 0));
}
