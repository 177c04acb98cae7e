use super::{Breach, Handover};
use crate::{counterexample, explore};

#[test]
fn the_rules_hold_in_every_state() {
    let found = explore(Handover::small(None), 2);
    println!("handover: {found:?}");
    assert!(found.violated.is_empty(), "{found:?}");
    assert!(found.unreached.is_empty(), "{found:?}");
    assert!(found.states < 700_000, "{found:?}");
}

#[track_caller]
fn check(breach: Breach, property: &'static str) {
    let steps = counterexample(Handover::small(Some(breach)), property).expect("the breach is noticed");
    println!("handover, {breach:?}: {property:?} is violated after {} steps: {steps:?}", steps.len());
}

#[test]
fn proposing_before_the_stop_is_on_disk_hands_one_out_twice() {
    check(Breach::StopInMemory, "unique");
}

#[test]
fn taking_the_shard_back_hands_one_out_twice() {
    check(Breach::TakeBack, "unique");
}

#[test]
fn applying_an_entry_of_another_epoch_hands_one_out_twice() {
    check(Breach::NoEpochCheck, "unique");
}

#[test]
fn serving_before_the_cut_hands_one_out_twice() {
    check(Breach::ServeBeforeCut, "unique");
}

#[test]
fn a_cut_below_what_is_in_flight_hands_one_out_twice() {
    check(Breach::CutBeforeFlush, "unique");
}
