use super::{Breach, Voters};
use crate::{counterexample, explore};

#[test]
fn the_rules_hold_in_every_state() {
    let found = explore(Voters::small(None), 2);
    println!("voters: {found:?}");
    assert!(found.violated.is_empty(), "{found:?}");
    assert!(found.unreached.is_empty(), "{found:?}");
    assert!(found.states < 700_000, "{found:?}");
}

#[test]
fn every_breach_is_noticed() {
    for breach in Breach::ALL {
        let steps = counterexample(Voters::small(Some(breach)), "found").expect("the breach is noticed");
        println!("voters, {breach:?}: not found after {} steps: {steps:?}", steps.len());
    }
}
