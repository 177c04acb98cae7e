//! The simulator over many seeds: all invariants hold; and whichever rule is broken on purpose, some seed notices.

use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Rule;
use kernel::sim::{self, Breach, Failure, Invariant, STEPS, Summary};

const SEEDS: u64 = 4_000;

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
            sum.add(sim::run(seed, STEPS)?);
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
fn every_invariant_holds_over_many_lives() {
    let sum = live(SEEDS).unwrap_or_else(|failure| panic!("\n{failure}"));
    // A simulator in which little happens proves little.
    assert!(sum.lives > 3 * SEEDS, "{sum:?}");
    assert!(sum.allocations > 20 * SEEDS, "{sum:?}");
    assert!(sum.repeats > 20 * SEEDS, "{sum:?}");
    assert!(sum.exhausted > SEEDS, "{sum:?}");
    assert!(sum.expired > SEEDS, "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_life_every_time() {
    for seed in 0..20 {
        let (one, other) = (sim::run(seed, STEPS), sim::run(seed, STEPS));
        assert_eq!(one.expect("the invariants hold"), other.expect("the invariants hold"));
    }
}

/// The invariant that fails first when a rule is broken.
fn kept_by(breach: Breach) -> Invariant {
    match breach {
        Breach::Kernel(Rule::HoldDown) => Invariant::HoldDown,
        Breach::Kernel(Rule::Reserved) => Invariant::Reserved,
        Breach::Kernel(Rule::Idempotent) => Invariant::Idempotent,
        Breach::Kernel(Rule::TrustedClock | Rule::RestartGrace) => Invariant::Lease,
        Breach::Kernel(Rule::FreeReplaced | Rule::RestingIsFree) => Invariant::Accounted,
        Breach::Kernel(Rule::NoOverlap) => Invariant::Unique,
        Breach::Kernel(
            Rule::Home
            | Rule::NodeLease
            | Rule::LeasedAnswers
            | Rule::LastingInEscrow
            | Rule::LeaseSlack
            | Rule::AgreedClocks
            | Rule::ReservedKnown
            | Rule::NoGaps
            | Rule::Barrier
            | Rule::PoolFirst
            | Rule::Survivor
            | Rule::LastWord
            | Rule::Limbo
            | Rule::TombstoneKnown
            | Rule::TombstoneCovered
            | Rule::TombstoneList
            | Rule::TombstoneNewcomer,
        ) => unreachable!("a host that is alone has nobody to break it with"),
        Breach::AnswerOnlyAfterFlush | Breach::SyncBeforeAnswer => Invariant::Kept,
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    for breach in Breach::all() {
        let failures = (0..SEEDS).filter_map(|seed| sim::run_breaking(seed, STEPS, breach).err());
        let noticed = failures.into_iter().any(|failure| failure.invariant == kept_by(breach));
        assert!(noticed, "{breach:?} goes unnoticed over {SEEDS} seeds");
    }
}

#[test]
fn a_failure_names_the_command_that_has_it_again() {
    let breach = Breach::AnswerOnlyAfterFlush;
    let failure = (0..SEEDS).find_map(|seed| sim::run_breaking(seed, 120, breach).err()).expect("a rule is broken");
    let replay = format!(
        "replay: cargo xtask sim --alone --steps 120 --breach AnswerOnlyAfterFlush --seeds 1 --from {}",
        failure.seed
    );
    assert!(failure.told(0).to_string().ends_with(&replay), "{failure}");
}
