//! The simulator of a cluster over many seeds: all invariants hold; and whichever rule is broken on purpose, some seed
//! notices.

use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Rule;
use kernel::sim::cluster::{self, Breach, Summary};
use kernel::sim::{Failure, Invariant};

const SEEDS: u64 = 2_000;

/// Every breach is noticed by a seed that is known for it, or within so many.
const NOTICED_WITHIN: u64 = 1_500;

/// Seeds of each harsher weather.
const HARSH: u64 = 200;

/// Lives seeds through on two threads; the first failure ends it.
fn live(seeds: u64, one: fn(u64) -> Result<Summary, Box<Failure>>) -> Result<Summary, Box<Failure>> {
    let next = AtomicU64::new(0);
    let worker = || -> Result<Summary, Box<Failure>> {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sum);
            }
            sum.add(one(seed)?);
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
    let sum = live(SEEDS, cluster::run).unwrap_or_else(|failure| panic!("\n{failure}"));
    // A simulator in which little happens proves little.
    assert!(sum.crashes > SEEDS, "{sum:?}");
    assert!(sum.cuts > SEEDS, "{sum:?}");
    assert!(sum.moves > 2 * SEEDS, "{sum:?}");
    assert!(sum.allocations > 40 * SEEDS, "{sum:?}");
    assert!(sum.repeats > 40 * SEEDS, "{sum:?}");
    assert!(sum.refused > SEEDS, "{sum:?}");
    assert!(sum.superseded > SEEDS, "{sum:?}");
    assert!(sum.takeovers > SEEDS / 2, "{sum:?}");
    assert!(sum.reserved > SEEDS / 20, "{sum:?}");
    assert!(sum.refused_groups > SEEDS, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_disks_are_lost_and_space_leaves_pools() {
    let sum = live(HARSH, cluster::run_with_losses).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.lost > HARSH / 20, "{sum:?}");
    assert!(sum.renewed > HARSH / 50, "{sum:?}");
    assert!(sum.forgone > HARSH / 50, "{sum:?}");
    assert!(sum.shrunk > HARSH / 100, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_disks_are_slow() {
    let sum = live(HARSH, cluster::run_with_slow_disks).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.allocations > 20 * HARSH, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_space_leaves_pools_and_comes_back_all_the_time() {
    let sum = live(HARSH, cluster::run_with_resizing).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.shrunk > HARSH / 3, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_processes_are_stopped_and_go_on() {
    let sum = live(HARSH, cluster::run_with_pauses).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.takeovers > HARSH, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_hosts_are_cut_off_for_longer_than_leases_last() {
    let sum = live(HARSH, cluster::run_with_cuts).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.takeovers > HARSH / 2, "{sum:?}");
}

#[test]
fn every_invariant_holds_where_writing_takes_longer_than_a_term_and_nobody_waits_for_it() {
    let sum = live(HARSH, cluster::run_with_stalls).unwrap_or_else(|failure| panic!("\n{failure}"));
    assert!(sum.takeovers > HARSH, "{sum:?}");
    assert!(sum.withdrawn > HARSH / 10, "{sum:?}");
}

#[test]
fn a_failure_names_the_command_that_has_it_again() {
    let replay = |failure: Result<Summary, Box<Failure>>| {
        let told = failure.expect_err("a rule is broken").told(0).to_string();
        told.lines().last().map(ToOwned::to_owned).expect("it says something")
    };
    let home = cluster::run_breaking(0, Breach::Kernel(Rule::Home));
    assert_eq!(replay(home), "replay: cargo xtask sim --cluster --breach Home --seeds 1 --from 0");
    let known = cluster::run_with_notes_breaking(0, Breach::Kernel(Rule::TombstoneKnown));
    assert_eq!(replay(known), "replay: cargo xtask sim --cluster --notes --breach TombstoneKnown --seeds 1 --from 0");
}

#[test]
fn a_seed_gives_the_same_cluster_every_time() {
    for seed in 0..10 {
        let (one, other) = (cluster::run(seed), cluster::run(seed));
        assert_eq!(one.expect("the invariants hold"), other.expect("the invariants hold"));
    }
}

/// What a broken rule breaks, and a seed that shows it.
fn kept_by(breach: Breach) -> (&'static [Invariant], u64) {
    const BY_FACTS: &[Invariant] = &[Invariant::Unique, Invariant::Equal];
    match breach {
        // Two hosts give one subscriber something each.
        Breach::Kernel(Rule::Home) => (&[Invariant::Kept], 0),
        // Hosts that do not agree send each other whoever asks.
        Breach::Kernel(Rule::Survivor) => (&[Invariant::Kept, Invariant::Served, Invariant::Idempotent], 10),
        Breach::Kernel(Rule::NodeLease) => (&[Invariant::Owned], 20),
        Breach::LeaseFromAttempt => (&[Invariant::Owned], 219),
        // What no host agrees on any more is asked for in vain, too.
        Breach::Kernel(Rule::LeasedAnswers) => (&[Invariant::Unique, Invariant::Equal, Invariant::Idempotent], 811),
        Breach::Kernel(Rule::LastingInEscrow) => (BY_FACTS, 102),
        // What hosts do not agree on is there twice, or not at all, or asked for in vain.
        Breach::HearOutTaker => {
            (&[Invariant::Idempotent, Invariant::Equal, Invariant::Kept, Invariant::Served], 13_428)
        }
        Breach::Kernel(Rule::LastWord) => (&[Invariant::Unique, Invariant::Equal, Invariant::Served], 3_851),
        Breach::Kernel(Rule::LeaseSlack) => (&[Invariant::Unique], 281),
        Breach::OutrightForEver => (&[Invariant::Unique], 162),
        Breach::Kernel(Rule::AgreedClocks) => (&[Invariant::Unique], 3),
        Breach::Kernel(Rule::ReservedKnown) => (&[Invariant::Reserved, Invariant::Kept], 1_556),
        Breach::Kernel(Rule::Limbo) => (BY_FACTS, 146),
        // What is held or reserved where a host believes that there is nothing is passed over.
        Breach::Kernel(Rule::PoolFirst) => (&[Invariant::Unique, Invariant::Equal, Invariant::Kept], 306),
        Breach::Kernel(Rule::Barrier) => (BY_FACTS, 33),
        Breach::Kernel(_) | Breach::ListOnceHeard => (BY_FACTS, 1),
        Breach::LedgerIsDurable => (&[Invariant::Owned], 0),
        Breach::StopBeforeOffer => (&[Invariant::Owned], 5),
        Breach::OfferIsFinal => (&[Invariant::Owned], 1_207),
        Breach::WaitForCut => (BY_FACTS, 246),
        Breach::KeptIsNow => (BY_FACTS, 19),
        Breach::LeaseOfThisLife => (&[Invariant::Owned], 1),
        Breach::RenewedIsNotDeposed => (&[Invariant::Owned], 24),
        Breach::FormerLeases => (&[Invariant::Unique], 9),
        Breach::LeaveOnceTold => (&[Invariant::Served], 2_957),
        Breach::CarriedOutInTime => (&[Invariant::Unique], 11_344),
        Breach::ReleaseNamesWhich => (&[Invariant::Unique], 39),
        Breach::Fence => (&[Invariant::Unique], 9_828),
        Breach::Quarantine => (BY_FACTS, 39),
        Breach::ReturnOnlyEmpty => (&[Invariant::Unique, Invariant::Equal, Invariant::Kept], 59),
        Breach::OldDisk | Breach::ArriveFirst => (BY_FACTS, 10),
        Breach::AskMajority => (BY_FACTS, 2_415),
        Breach::HearAllBeforeSeizure => (BY_FACTS, 1_246),
        Breach::AskEveryOwner => (&[Invariant::Accounted], 33),
        Breach::Recheck => (&[Invariant::Unique], 18_561),
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let noticed = |breach: &Breach| {
        let (invariants, known) = kept_by(*breach);
        // Another simulator may show it by another seed.
        std::iter::once(known)
            .chain(0..NOTICED_WITHIN)
            .filter_map(|seed| Some((seed, cluster::run_breaking(seed, *breach).err()?)))
            .any(|(seed, failure)| {
                // The rule in front of it alone would not have shown it.
                let is_needed = |front| cluster::run_breaking(seed, front).is_ok();
                invariants.contains(&failure.invariant) && breach.behind().is_none_or(is_needed)
            })
    };
    let missed: Vec<Breach> = Breach::all().filter(|breach| !noticed(breach)).collect();
    assert!(missed.is_empty(), "unnoticed over {NOTICED_WITHIN} seeds: {missed:?}");
}

/// Each showed a fault of the kernel or of what a host does with it, before that was mended.
#[test]
fn what_failed_once_holds() {
    for seed in [
        1_409, 2_025, 2_594, 2_852, 4_288, 5_529, 7_334, 301_704, 302_024, 302_206, 302_331, 302_355, 302_664, 302_691,
        302_771,
    ] {
        cluster::run_with_losses(seed).unwrap_or_else(|failure| panic!("\n{failure}"));
    }
    cluster::run_with_cuts(2_339).unwrap_or_else(|failure| panic!("\n{failure}"));
    for seed in [5_172, 7_474, 11_814] {
        cluster::run_with_notes(seed).unwrap_or_else(|failure| panic!("\n{failure}"));
    }
    cluster::run_with_slow_disks(1_432).unwrap_or_else(|failure| panic!("\n{failure}"));
    cluster::run_with_resizing(638).unwrap_or_else(|failure| panic!("\n{failure}"));
    for seed in [72, 130, 160, 206, 402, 666, 1_272, 1_290, 1_351, 1_497, 1_600, 1_972, 4_901, 6_358] {
        cluster::run(seed).unwrap_or_else(|failure| panic!("\n{failure}"));
    }
}
