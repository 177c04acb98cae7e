//! Hosts that know the same have the same digest, whatever came first.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, which the lints do not take for such; what is missing or unexpected fails the test"
)]

use kernel::{Digest, Seq};
use proptest::prelude::*;

use crate::bed::{Bed, addresses};
use crate::snapshot::{Act, act, carry_out, fingerprint, hosts};

#[test]
fn nothing_is_nothing_and_every_change_counts() {
    let (mut bed, pool) = Bed::with(addresses(0, 16));
    let mut seen = vec![bed.kernel.digest()];
    assert_eq!(seen, [Digest::default()]);
    for line in ["a", "b", "c"] {
        bed.allocate(&pool, line);
        seen.push(bed.kernel.digest());
    }
    bed.release(&pool, "b").unwrap();
    seen.push(bed.kernel.digest());
    let mut distinct = seen.clone();
    distinct.sort_unstable_by_key(|digest| digest.0);
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    for line in ["a", "c"] {
        bed.release(&pool, line).unwrap();
    }
    assert_eq!(bed.kernel.digest(), Digest::default());
}

#[test]
fn who_holds_what_counts_not_only_who_and_what() {
    let digest = |first: &str, second: &str| {
        let (mut bed, pool) = Bed::with(addresses(0, 16));
        bed.allocate(&pool, first);
        bed.allocate(&pool, second);
        bed.kernel.digest()
    };
    assert_ne!(digest("a", "b"), digest("b", "a"));
    assert_eq!(digest("a", "b"), digest("a", "b"));
}

#[test]
fn hosts_that_know_different_words_are_not_compared() {
    let mut hosts = hosts();
    carry_out(&mut hosts, &Act::Allocate { host: 0, who: 1, len: 0 });
    let (one, other) = (fingerprint(&mut hosts, 0), fingerprint(&mut hosts, 2));
    assert!(!one.is_of_the_same(&other) && !other.is_of_the_same(&one));
    hosts.share(0, 2);
    let (one, other) = (fingerprint(&mut hosts, 0), fingerprint(&mut hosts, 2));
    assert!(one.is_of_the_same(&other) && one.digest == other.digest && one.heard != other.heard);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn the_order_in_which_hosts_hear_makes_no_difference(
        acts in prop::collection::vec((act(), prop::option::of((0_usize..2, 0_usize..3))), 0..120),
    ) {
        let mut hosts = hosts();
        for (act, shared) in &acts {
            carry_out(&mut hosts, act);
            if let Some((from, to)) = shared.filter(|(from, to)| from != to) {
                hosts.share(from, to);
            }
            for bed in &hosts.beds {
                prop_assert_eq!(bed.kernel.digest(), bed.kernel.digest_anew());
            }
            let fingerprints: Vec<_> = (0..3).map(|host| fingerprint(&mut hosts, host)).collect();
            for one in &fingerprints {
                for other in fingerprints.iter().filter(|other| one.is_of_the_same(other)) {
                    prop_assert_eq!(one.digest, other.digest);
                }
            }
        }
        for (from, to) in [(0, 1), (1, 0), (0, 2), (1, 2)] {
            prop_assert!(hosts.share(from, to) >= Seq(0));
        }
        let all: Vec<_> = (0..3).map(|host| fingerprint(&mut hosts, host)).collect();
        prop_assert!(all[0].is_of_the_same(&all[1]) && all[0].is_of_the_same(&all[2]));
        prop_assert_eq!(all[0].digest, all[1].digest);
        prop_assert_eq!(all[0].digest, all[2].digest);
    }
}
