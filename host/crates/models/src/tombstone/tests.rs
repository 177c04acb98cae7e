use super::{Breach, Tombstone};
use crate::{counterexample, explore};

#[track_caller]
fn hold(model: &Tombstone) {
    let found = explore(model.clone(), 2);
    println!("{model:?}: {found:?}");
    assert!(found.violated.is_empty(), "{found:?}");
    assert!(found.unreached.is_empty(), "{found:?}");
    assert!(found.states < 700_000, "{found:?}");
}

#[test]
fn the_rules_hold_in_every_state() {
    hold(&Tombstone::fixed(None));
}

#[test]
fn the_rules_hold_while_a_host_leaves_and_returns() {
    hold(&Tombstone::changing(None));
}

#[track_caller]
fn check(breach: Breach) {
    let steps = counterexample(Tombstone::broken(breach), "no resurrection").expect("the breach is noticed");
    println!("tombstone, {breach:?}: resurrected after {} steps: {steps:?}", steps.len());
}

#[test]
fn collecting_by_time_resurrects() {
    check(Breach::ByTime);
}

#[test]
fn collecting_what_everyone_acknowledged_resurrects() {
    check(Breach::AcknowledgedOnly);
}

#[test]
fn returning_under_the_old_incarnation_resurrects() {
    check(Breach::OldIncarnation);
}

#[test]
fn acknowledgements_of_another_list_of_members_resurrect() {
    check(Breach::AnyMemberList);
}

#[test]
fn having_only_what_members_wrote_themselves_resurrects() {
    check(Breach::OwnWritingsOnly);
}
