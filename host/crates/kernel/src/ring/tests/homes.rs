//! The laws of `home`.

use super::*;

fn subscriber(n: u32) -> SubscriberId {
    format!("00:11:22:{:02x}:{:02x}:{:02x}", n >> 16 & 255, n >> 8 & 255, n & 255).parse().unwrap()
}

fn home(ring: &Ring, n: u32, alive: impl Fn(MemberId) -> bool) -> MemberId {
    ring.home(PoolUid(1), &subscriber(n), None, alive).expect("one is alive")
}

#[test]
fn only_those_whose_home_went_move() {
    let ring = ring(&[1, 2, 1, 5, 1]);
    for gone in (1..=5).map(MemberId) {
        let (mut moved, mut new_homes) = (0, std::collections::BTreeSet::new());
        for n in 0..5_000 {
            let (before, after) = (home(&ring, n, |_| true), home(&ring, n, |member| member != gone));
            assert!(after != gone);
            if before == gone {
                moved += 1;
                new_homes.insert(after);
            } else {
                assert_eq!(before, after);
            }
        }
        // They go to all of the others, not to one.
        assert!(moved > 300 && new_homes.len() == 4, "{moved} went from {gone} to {new_homes:?}");
    }
}

#[test]
fn who_cannot_be_reached_is_as_one_that_left() {
    let all = ring(&[1, 2, 3, 4]);
    let left = Ring::new(members(&[1, 2, 3, 4]).into_iter().filter(|member| member.id.0 != 2), Ring::VIRTUAL_NODES);
    let drained = ring(&[1, 0, 3, 4]);
    for n in 0..2_000 {
        let unreachable = home(&all, n, |member| member.0 != 2);
        assert_eq!(unreachable, home(&left, n, |_| true));
        assert_eq!(unreachable, home(&drained, n, |_| true));
    }
}

/// Within 4 % of what the weight says: with at least 10,000 subscribers a host that is four standard deviations.
#[test]
fn homes_are_balanced_by_weight_over_100_000_subscribers() {
    for weights in [&[1, 1, 1][..], &[1; 10], &[1, 2, 3], &[100, 150, 150], &[1, 1, 1, 1, 5]] {
        let ring = ring(weights);
        let homes: Vec<MemberId> = (0..100_000).map(|n| home(&ring, n, |_| true)).collect();
        let total = f64::from(weights.iter().sum::<u32>());
        for (id, owned) in counts(&ring, &homes) {
            let fair = 100_000.0 * f64::from(weights[id.0 as usize - 1]) / total;
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let ratio = owned as f64 / fair;
            assert!((0.96..=1.04).contains(&ratio), "weights {weights:?}: {id} is home of {ratio:.3} times its share");
        }
    }
}

#[test]
fn pool_subscriber_and_key_all_count_but_no_key_is_the_empty_key() {
    let ring = ring(&[1; 10]);
    let key = |text: &str| -> Key { text.parse().unwrap() };
    let of = |pool: u32, n: u32, key: Option<&Key>| ring.home(PoolUid(pool), &subscriber(n), key, |_| true);
    let alike = |other: &dyn Fn(u32) -> Option<MemberId>| (0..1_000).filter(|n| of(1, *n, None) == other(*n)).count();
    assert_eq!(alike(&|n| of(1, n, Some(&key("")))), 1_000);
    // A tenth by chance: 100, with a standard deviation of 9.5.
    let others: [&dyn Fn(u32) -> Option<MemberId>; 3] =
        [&|n| of(2, n, None), &|n| of(1, n + 1_000, None), &|n| of(1, n, Some(&key("b")))];
    for other in others {
        let count = alike(other);
        assert!((55..150).contains(&count), "{count} of 1,000 have the same home");
    }
}

#[test]
fn nobody_alive_is_nobodys_home() {
    assert_eq!(ring(&[1, 2, 3]).home(PoolUid(1), &subscriber(1), None, |_| false), None);
    assert_eq!(ring(&[0, 0]).home(PoolUid(1), &subscriber(1), None, |_| true), None);
    assert_eq!(ring(&[0, 1]).home(PoolUid(1), &subscriber(1), None, |member| member.0 == 1), None);
}

proptest! {
    #[test]
    fn the_members_order_does_not_matter_for_a_home(members in any_members(), n in 0..1_000_000_u32) {
        let mut sorted = members.clone();
        sorted.sort_by_key(|member| member.id);
        let of = |members: Vec<RingMember>| Ring::new(members, 1).home(PoolUid(3), &subscriber(n), None, |_| true);
        prop_assert_eq!(of(members), of(sorted));
    }
}
