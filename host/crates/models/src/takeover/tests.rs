use super::{Breach, Takeover};
use crate::{counterexample, explore};

#[test]
fn the_rules_hold_in_every_state() {
    let found = explore(Takeover::small(None), 2);
    println!("takeover: {found:?}");
    assert!(found.violated.is_empty(), "{found:?}");
    assert!(found.unreached.is_empty(), "{found:?}");
    assert!(found.states < 700_000, "{found:?}");
}

#[track_caller]
fn check(breach: Breach, property: &'static str) {
    let steps = counterexample(Takeover::small(Some(breach)), property).expect("the breach is noticed");
    println!("takeover, {breach:?}: {property:?} is violated after {} steps: {steps:?}", steps.len());
}

#[test]
fn quarantining_only_unknown_addresses_hands_one_out_twice() {
    check(Breach::QuarantineUnknownOnly, "unique");
}

#[test]
fn answering_without_a_second_look_hands_one_out_twice() {
    check(Breach::NoRecheck, "unique");
}

#[test]
fn deposing_without_grace_hands_one_out_twice() {
    check(Breach::NoGrace, "unique");
}

#[test]
fn deposing_despite_a_renewal_hands_one_out_twice() {
    check(Breach::DeposeDespiteRenewal, "unique");
}

#[test]
fn serving_before_the_cut_forgets() {
    check(Breach::ServeBeforeCut, "kept");
}

#[test]
fn reusing_before_a_peer_knows_the_release_hands_one_out_twice() {
    check(Breach::ReuseUnstableRelease, "unique");
}

#[test]
fn a_late_release_must_not_free_what_was_answered_since() {
    check(Breach::LateReleaseCounts, "unique");
}

#[test]
fn an_answer_under_way_is_no_session_after_it_was_said_that_there_is_none() {
    check(Breach::AnyAnswerCounts, "unique");
}

#[test]
fn a_lease_that_counts_from_the_answer_hands_one_out_twice() {
    check(Breach::LeaseFromAnswer, "unique");
}

#[test]
fn a_lease_of_the_process_before_hands_one_out_twice() {
    check(Breach::LeaseOutlivesCrash, "unique");
}

#[test]
fn an_answer_that_says_another_host_has_it_may_be_forgotten() {
    check(Breach::AckUnasked, "kept");
}
