//! The laws of the ring: what is placed where, and what a change of members may move.

mod homes;
mod keeps;
mod moves;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Members 1, 2, 3 ... with these weights.
fn members(weights: &[u32]) -> Vec<RingMember> {
    (1..).zip(weights).map(|(id, weight)| RingMember { id: MemberId(id), weight: *weight }).collect()
}

fn ring(weights: &[u32]) -> Ring {
    Ring::new(members(weights), Ring::VIRTUAL_NODES)
}

fn shards(count: u32) -> Vec<ShardId> {
    (0..count).map(ShardId).collect()
}

fn place(ring: &Ring, pool: u32, shards: &[ShardId]) -> Vec<MemberId> {
    let owners = ring.place(PoolUid(pool), shards).expect("a member has a weight");
    assert_eq!(owners.len(), shards.len());
    owners
}

/// How many each member with a weight owns, those with none too. Panics if another owns one.
fn counts(ring: &Ring, owners: &[MemberId]) -> BTreeMap<MemberId, u64> {
    let mut counts: BTreeMap<MemberId, u64> =
        ring.members().iter().filter(|member| member.weight > 0).map(|member| (member.id, 0)).collect();
    for owner in owners {
        *counts.get_mut(owner).unwrap_or_else(|| panic!("{owner} owns a shard without a weight")) += 1;
    }
    counts
}

/// Nobody above 1.10 times its fair share, rounded up, and nobody without a shard where there are enough.
fn check_balance(ring: &Ring, owners: &[MemberId]) {
    let counts = counts(ring, owners);
    let total: u64 = ring.members().iter().map(|member| u64::from(member.weight)).sum();
    for RingMember { id, weight } in ring.members().iter().filter(|member| member.weight > 0) {
        let bound = (11 * owners.len() as u64 * u64::from(*weight)).div_ceil(10 * total);
        let owned = counts[id];
        assert!(owned <= bound, "{id} of weight {weight} of {total} owns {owned} of {}, not {bound}", owners.len());
        assert!(owned > 0 || owners.len() < counts.len(), "{id} of weight {weight} of {total} owns nothing");
    }
}

#[test]
fn nobody_is_above_the_bound_at_1000_shards() {
    let all = shards(1_000);
    for hosts in 1..=20_u32 {
        let patterns: [Vec<u32>; 5] = [
            vec![1; hosts as usize],
            vec![100; hosts as usize],
            (0..hosts).map(|host| 1 + host % 3).collect(),
            (0..hosts).map(|host| if host == 0 { 50 } else { 1 }).collect(),
            (0..hosts).map(|host| if host == 0 { u32::MAX } else { 1 + host }).collect(),
        ];
        for weights in patterns {
            let ring = ring(&weights);
            for pool in 0..5 {
                check_balance(&ring, &place(&ring, pool, &all));
            }
        }
    }
}

/// The bound alone would let heavy hosts have a tenth more than their share in every pool.
#[test]
fn over_many_pools_each_host_gets_its_share() {
    for weights in [&[2, 2, 3][..], &[1, 1, 1, 4, 4], &[1, 10]] {
        let ring = ring(weights);
        let all = shards(1_000);
        let owners: Vec<MemberId> = (0..50).flat_map(|pool| place(&ring, pool, &all)).collect();
        let total = f64::from(weights.iter().sum::<u32>());
        for (id, owned) in counts(&ring, &owners) {
            let fair = 50_000.0 * f64::from(weights[id.0 as usize - 1]) / total;
            let ratio = f64::from(u32::try_from(owned).unwrap()) / fair;
            assert!((0.96..=1.04).contains(&ratio), "weights {weights:?}: {id} owns {ratio:.3} times its share");
        }
    }
}

#[test]
fn every_host_owns_a_shard_where_there_are_enough() {
    for hosts in [2, 3, 5, 10, 20_u32] {
        let ring = ring(&vec![1; hosts as usize]);
        for count in hosts..3 * hosts {
            for pool in 0..10 {
                check_balance(&ring, &place(&ring, pool, &shards(count)));
            }
        }
    }
}

#[test]
fn nobody_can_own_on_a_ring_without_weights() {
    for empty in [ring(&[]), ring(&[0]), ring(&[0, 0, 0])] {
        assert_eq!(empty.place(PoolUid(1), &shards(10)), None);
        assert_eq!(empty.place(PoolUid(1), &[]), None);
        assert_eq!(empty.points().count(), 0);
        assert!(empty.shares(PoolUid(1), &shards(10)).iter().all(|share| share.shards == 0 && share.fair == 0.0));
    }
    assert_eq!(ring(&[1]).place(PoolUid(1), &[]), Some(Vec::new()));
}

#[test]
fn a_drained_host_gets_nothing_and_counts_for_nothing() {
    let all = shards(500);
    let drained = ring(&[1, 2, 0, 3]);
    let gone = Ring::new(members(&[1, 2, 0, 3]).into_iter().filter(|member| member.weight > 0), Ring::VIRTUAL_NODES);
    for pool in 0..20 {
        let owners = place(&drained, pool, &all);
        assert!(!owners.contains(&MemberId(3)));
        assert_eq!(owners, place(&gone, pool, &all));
    }
    assert_eq!(drained.members().len(), 4);
}

#[test]
fn pools_are_placed_independently() {
    let ring = ring(&[1, 1, 1]);
    let all = shards(900);
    let (one, other) = (place(&ring, 1, &all), place(&ring, 2, &all));
    let alike = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    // A third by chance: 300, with a standard deviation of 14.
    assert!((230..370).contains(&alike), "{alike} of 900 shards have the same owner in both pools");
}

/// All hosts of a cluster must agree, over processors and versions: another answer here is another ring.
#[test]
fn the_answers_are_the_same_for_ever() {
    let ring = ring(&[1, 2, 1]);
    let owners: Vec<u32> = place(&ring, 7, &shards(24)).into_iter().map(|owner| owner.0).collect();
    assert_eq!(owners, [1, 2, 2, 2, 3, 2, 2, 3, 2, 3, 1, 3, 2, 2, 3, 3, 1, 3, 2, 2, 2, 1, 2, 1]);
    let home = |n: u32| ring.home(PoolUid(7), &format!("sub-{n}").parse().unwrap(), None, |_| true).unwrap().0;
    assert_eq!(
        (0..24).map(home).collect::<Vec<_>>(),
        [2, 3, 1, 2, 2, 2, 1, 2, 1, 3, 3, 2, 2, 2, 2, 2, 3, 2, 3, 3, 1, 3, 2, 1]
    );
    let points: Vec<(u64, MemberId)> = ring.points().take(3).collect();
    let wanted = [(150_881_906_850_841_766, 3), (177_930_957_908_398_320, 2), (179_395_271_679_397_722, 2)];
    assert_eq!(points, wanted.map(|(at, id)| (at, MemberId(id))));
}

#[test]
fn of_a_member_named_twice_the_larger_weight_counts() {
    let twice = [(1, 1), (2, 0), (2, 3), (1, 1)].map(|(id, weight)| RingMember { id: MemberId(id), weight });
    assert_eq!(Ring::new(twice, 10).members(), members(&[1, 3]));
}

#[test]
fn points_go_round_the_ring_and_stay_when_others_come() {
    let few = ring(&[1, 2, 0]);
    let more = ring(&[1, 2, 0, 5]);
    let of = |ring: &Ring, id: u32| ring.points().filter(|(_, owner)| owner.0 == id).collect::<Vec<_>>();
    assert!(more.points().is_sorted());
    assert_eq!([1, 2, 3, 4].map(|id| of(&more, id).len()), [150, 300, 0, 750]);
    for id in [1, 2, 3] {
        assert_eq!(of(&few, id), of(&more, id));
    }
}

#[test]
fn no_setting_makes_the_ring_empty_or_large() {
    for (virtual_nodes, weight, points) in
        [(0, 1, 1), (0, u32::MAX, 1), (1, 1, 1), (150, 1_000, 2_048), (u32::MAX, u32::MAX, 2_048)]
    {
        let ring = Ring::new(members(&[weight, weight]), virtual_nodes);
        assert_eq!(ring.points().count(), 2 * points, "{virtual_nodes} virtual nodes, weight {weight}");
        check_balance(&ring, &place(&ring, 1, &shards(100)));
    }
}

#[test]
fn shares_tell_what_the_placement_gives() {
    let ring = ring(&[1, 0, 3]);
    let all = shards(200);
    let shares = ring.shares(PoolUid(4), &all);
    let owners = place(&ring, 4, &all);
    for (share, fair) in shares.iter().zip([50.0, 0.0, 150.0]) {
        let owned = owners.iter().filter(|owner| **owner == share.member.id).count();
        assert_eq!((share.shards, share.fair.to_bits()), (owned, f64::to_bits(fair)));
    }
    assert_eq!(shares.iter().map(|share| share.member).collect::<Vec<_>>(), ring.members());
}

prop_compose! {
    /// Up to 12 members in any order, some drained, some much heavier.
    fn any_members()(
        weights in proptest::collection::btree_map(
            1..1_000_u32, prop_oneof![Just(0), Just(1), 1..10_u32, Just(100), any::<u32>()], 0..12),
    )(members in Just(
        weights.into_iter().map(|(id, weight)| RingMember { id: MemberId(id), weight }).collect::<Vec<_>>(),
    ).prop_shuffle()) -> Vec<RingMember> {
        members
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_placement_is_total_bounded_and_the_same_in_any_order(
        members in any_members(),
        virtual_nodes in prop_oneof![Just(150_u32), 0..20_u32],
        pool: u32,
        ids in proptest::collection::btree_set(0..20_000_u32, 0..200).prop_map(Vec::from_iter).prop_shuffle(),
    ) {
        let ring = Ring::new(members.iter().copied(), virtual_nodes);
        let given: Vec<ShardId> = ids.iter().copied().map(ShardId).collect();
        let owners = ring.place(PoolUid(pool), &given);
        prop_assert_eq!(owners.is_some(), members.iter().any(|member| member.weight > 0));
        let Some(owners) = owners else { return Ok(()) };
        check_balance(&ring, &owners);

        let mut sorted = members.clone();
        sorted.sort_by_key(|member| member.id);
        let mut by_id: Vec<(ShardId, MemberId)> = given.into_iter().zip(owners).collect();
        by_id.sort();
        let (given, owners): (Vec<ShardId>, Vec<MemberId>) = by_id.into_iter().unzip();
        prop_assert_eq!(Ring::new(sorted, virtual_nodes).place(PoolUid(pool), &given), Some(owners));
    }
}
