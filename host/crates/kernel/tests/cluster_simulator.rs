//! The simulator of a cluster over many seeds: all invariants hold; and whichever rule is broken on purpose, some seed
//! notices.

use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Rule;
use kernel::sim::cluster::{self, Breach, Summary};
use kernel::sim::{Failure, Invariant};

const SEEDS: u64 = 600;

/// Within so many seeds every breach is noticed.
const NOTICED_WITHIN: u64 = 4_000;

/// Lives seeds through on two threads; the first failure ends it.
fn live(seeds: u64) -> Result<Summary, Box<Failure>> {
    let next = AtomicU64::new(0);
    let worker = || -> Result<Summary, Box<Failure>> {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sum);
            }
            sum.add(cluster::run(seed)?);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mut sum = worker()?;
        sum.add(other.join().expect("the simulator does not panic")?);
        Ok(sum)
    })
}

#[test]
fn every_invariant_holds_over_many_clusters() {
    let sum = live(SEEDS).unwrap_or_else(|failure| panic!("\n{failure}"));
    // A simulator in which little happens proves little.
    assert!(sum.crashes > SEEDS, "{sum:?}");
    assert!(sum.cuts > SEEDS, "{sum:?}");
    assert!(sum.moves > 2 * SEEDS, "{sum:?}");
    assert!(sum.allocations > 40 * SEEDS, "{sum:?}");
    assert!(sum.repeats > 40 * SEEDS, "{sum:?}");
    assert!(sum.refused > SEEDS, "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_cluster_every_time() {
    for seed in 0..10 {
        let (one, other) = (cluster::run(seed), cluster::run(seed));
        assert_eq!(one.expect("the invariants hold"), other.expect("the invariants hold"));
    }
}

/// What a broken rule may break first.
fn kept_by(breach: Breach) -> &'static [Invariant] {
    match breach {
        // Two hosts give one subscriber something each.
        Breach::Kernel(Rule::Home) => &[Invariant::Kept],
        Breach::Kernel(Rule::NoGaps | Rule::Barrier) => &[Invariant::Unique, Invariant::Equal],
        Breach::WaitForCut => &[Invariant::Unique, Invariant::Equal],
        Breach::LeaveOnceTold => &[Invariant::Served],
        Breach::Kernel(_) | Breach::StopBeforeOffer | Breach::OfferIsFinal | Breach::LedgerIsDurable => {
            &[Invariant::Owned]
        }
        Breach::KeptIsNow | Breach::OfferOnlyCovered => &[Invariant::Unique, Invariant::Equal],
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let noticed = |breach: &Breach| {
        (0..NOTICED_WITHIN)
            .filter_map(|seed| cluster::run_breaking(seed, *breach).err())
            .any(|failure| kept_by(*breach).contains(&failure.invariant))
    };
    let missed: Vec<Breach> = Breach::all().filter(|breach| !noticed(breach)).collect();
    assert!(missed.is_empty(), "unnoticed over {NOTICED_WITHIN} seeds: {missed:?}");
}
