//! The simulator of a cluster with notes over many seeds: all hosts come to show the same, nothing deleted comes back, and
//! deletions are forgotten in the end; and whichever rule of forgetting is broken on purpose, some seed notices.

use kernel::Rule;
use kernel::sim::Invariant;
use kernel::sim::cluster::{self, Breach, Summary};

const SEEDS: u64 = 150;

/// Within so many seeds every breach is noticed.
const NOTICED_WITHIN: u64 = 3_000;

#[test]
fn notes_come_to_the_same_everywhere_and_deletions_stay() {
    let mut sum = Summary::default();
    for seed in 0..SEEDS {
        sum.add(cluster::run_with_notes(seed).unwrap_or_else(|failure| panic!("\n{failure}")));
    }
    // A simulator in which little happens proves little.
    assert!(sum.crashes > SEEDS && sum.cuts > SEEDS, "{sum:?}");
    assert!(sum.notes > 50 * SEEDS, "{sum:?}");
}

/// A seed that shows that a rule is broken. What is on its way to the disk while the list of members changes shows too rarely here;
/// the engine's tests and the model of tombstones look at that.
const SHOWN_BY: [(Breach, u64); 4] = [
    (Breach::Kernel(Rule::TombstoneKnown), 0),
    (Breach::Kernel(Rule::TombstoneCovered), 27),
    (Breach::Kernel(Rule::TombstoneList), 27_975),
    (Breach::Kernel(Rule::TombstoneNewcomer), 5_148),
];

#[test]
fn every_broken_rule_of_forgetting_is_noticed() {
    let noticed = |breach: Breach, known: u64| {
        // Another simulator may show it by another seed.
        std::iter::once(known)
            .chain(0..NOTICED_WITHIN)
            .filter_map(|seed| cluster::run_with_notes_breaking(seed, breach).err())
            .any(|failure| failure.invariant == Invariant::Equal)
    };
    let missed = SHOWN_BY.into_iter().filter(|(breach, known)| !noticed(*breach, *known));
    let missed: Vec<Breach> = missed.map(|(breach, _)| breach).collect();
    assert!(missed.is_empty(), "unnoticed over {NOTICED_WITHIN} seeds: {missed:?}");
}
