use kernel::{AllocateRequest, Choice, Command, CommandError, ExplainedOutcome, Fact, Held, Plan, Reply, Strategy};

use super::bed::{Bed, addresses, given, leased, prefixes, request, span, with_geometry, with_terms};

#[test]
fn a_repeat_gives_the_same_answer_and_writes_nothing() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    let first = bed.allocate(&pool, "a");
    let written = bed.log.len();
    match bed.ask(Command::Allocate(Box::new(request(&pool, "a")))) {
        Ok(Reply::Allocated { allocation, created: false, .. }) => assert_eq!(allocation.span, first.span),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.log.len(), written);
}

#[test]
fn a_repeat_with_another_length_is_the_same_answer_unless_it_was_named() {
    let (mut bed, pool) = Bed::with(prefixes());
    let first = bed.allocate(&pool, "a");
    let again = given(bed.allocate_with(&pool, "a", |request| request.plan = Plan::anywhere(4)));
    assert_eq!(again.span, first.span);
    let conflict = bed.ask_for(&pool, "a", 8, 4);
    assert!(
        matches!(conflict, Err(CommandError::HoldsAnother { allocation: Held(held), .. }) if held.span == first.span)
    );
}

#[test]
fn keys_tell_several_of_one_subscriber_apart() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    let plain = bed.allocate(&pool, "a");
    let keyed = |request: &mut AllocateRequest| request.key = Some("iapd-2".parse().expect("a key"));
    let second = given(bed.allocate_with(&pool, "a", keyed));
    assert_ne!(plain.span, second.span);
    assert_eq!(given(bed.allocate_with(&pool, "a", keyed)).span, second.span);
}

#[test]
fn an_asked_for_span_is_given_if_free_and_refused_with_its_holder() {
    let (mut bed, pool) = Bed::with(with_geometry(addresses(100, 16), |geometry| {
        geometry.excluded.push(kernel::Series::one(span(103, 1)));
    }));
    assert_eq!(given(bed.ask_for(&pool, "a", 105, 1)).span, span(105, 1));
    assert_eq!(given(bed.ask_for(&pool, "a", 105, 1)).span, span(105, 1));
    match bed.ask_for(&pool, "b", 105, 1) {
        Err(CommandError::Held { by: Some(by), .. }) => assert_eq!(by.as_str(), "a"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(bed.ask_for(&pool, "b", 103, 1), Err(CommandError::Excluded { .. })));
    assert!(matches!(bed.ask_for(&pool, "b", 99, 1), Err(CommandError::OutsidePool { .. })));
    assert!(matches!(bed.ask_for(&pool, "b", 104, 2), Err(CommandError::LengthRefused { len: 2, .. })));
}

#[test]
fn the_holder_of_a_longer_span_is_named_to_who_asks_for_a_part() {
    let (mut bed, pool) = Bed::with(prefixes());
    bed.ask_for(&pool, "a", 8, 8).expect("free");
    bed.ask_for(&pool, "c", 17, 1).expect("free");
    for (start, len, holder) in [(12, 1, "a"), (8, 4, "a"), (16, 8, "c")] {
        match bed.ask_for(&pool, "b", start, len) {
            Err(CommandError::Held { by: Some(by), .. }) => assert_eq!(by.as_str(), holder),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(bed.ask_for(&pool, "b", 2, 4), Err(CommandError::Misaligned { .. })));
}

#[test]
fn a_released_span_rests_and_comes_back_to_who_held_it() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    let mine = bed.allocate(&pool, "a");
    bed.release(&pool, "a").expect("held");
    assert_eq!(bed.occupancy(pool.uid).resting, 1);
    let other = bed.allocate(&pool, "b");
    assert_ne!(other.span, mine.span);
    assert_eq!(bed.allocate(&pool, "a").span, mine.span);
}

#[test]
fn a_rest_that_is_over_is_free_space() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    let mine = bed.allocate(&pool, "a");
    bed.release(&pool, "a").expect("held");
    bed.pass(60_000);
    bed.alarms();
    assert_eq!(bed.occupancy(pool.uid).resting, 0);
    assert_eq!(bed.allocate(&pool, "b").span, mine.span);
}

#[test]
fn a_full_pool_hands_out_what_rests_longest_and_a_strict_one_refuses() {
    for strict in [false, true] {
        let (mut bed, pool) = Bed::with(with_terms(addresses(100, 4), |terms| terms.strict = strict));
        for subscriber in ["a", "b", "c", "d"] {
            bed.allocate(&pool, subscriber);
        }
        for subscriber in ["c", "a"] {
            bed.pass(10);
            bed.release(&pool, subscriber).expect("held");
        }
        let answer = bed.allocate_with(&pool, "e", |_| {});
        if strict {
            assert!(matches!(answer, Err(CommandError::Exhausted { occupancy, .. }) if occupancy.resting == 2));
        } else {
            assert_eq!(given(answer).span, span(102, 1));
        }
    }
}

#[test]
fn free_and_resting_spans_together_make_a_longer_one() {
    let (mut bed, pool) = Bed::with(prefixes());
    for (subscriber, start) in [("a", 0), ("b", 8), ("c", 16), ("d", 24)] {
        bed.ask_for(&pool, subscriber, start, 1).expect("free");
    }
    let answer = bed.allocate_with(&pool, "e", |request| request.plan = Plan::anywhere(8));
    assert!(matches!(answer, Err(CommandError::Exhausted { len: 8, .. })));
    bed.release(&pool, "c").expect("held");
    let whole = given(bed.allocate_with(&pool, "e", |request| request.plan = Plan::anywhere(8)));
    assert_eq!(whole.span, span(16, 8));
    assert_eq!(bed.count(|fact| matches!(fact, Fact::Free(key) if key.span == span(16, 1))), 1);
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid).resting, 0);
    assert_eq!(bed.occupancy(pool.uid).held, 11);
}

#[test]
fn a_narrowed_request_gets_what_rests_inside() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    for subscriber in ["a", "b", "c", "d"] {
        bed.allocate(&pool, subscriber);
    }
    bed.release(&pool, "a").expect("held");
    bed.release(&pool, "d").expect("held");
    let narrowed = given(bed.allocate_with(&pool, "e", |request| request.plan.within = vec![span(102, 2)]));
    assert_eq!(narrowed.span, span(103, 1));
    let answer = bed.allocate_with(&pool, "f", |request| request.plan.within = vec![span(101, 3)]);
    assert!(matches!(answer, Err(CommandError::Exhausted { .. })));
}

#[test]
fn somebody_elses_resting_span_is_refused_until_it_rested() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    bed.ask_for(&pool, "a", 101, 1).expect("free");
    bed.release(&pool, "a").expect("held");
    let until = bed.now.wall_ms + 60_000;
    let refused = bed.ask_for(&pool, "b", 101, 1);
    assert!(matches!(refused, Err(CommandError::RestingForAnother { until_ms, .. }) if until_ms == until));
    bed.pass(60_000);
    assert_eq!(given(bed.ask_for(&pool, "b", 101, 1)).span, span(101, 1));
}

#[test]
fn a_pool_of_strategy_exact_gives_only_what_is_named() {
    let (mut bed, pool) = Bed::with(with_terms(addresses(100, 4), |terms| terms.strategy = Strategy::Exact));
    assert!(matches!(bed.allocate_with(&pool, "a", |_| {}), Err(CommandError::MustBeAsked { .. })));
    let asked = given(bed.ask_for(&pool, "a", 102, 1));
    bed.release(&pool, "a").expect("held");
    assert_eq!(bed.allocate(&pool, "a").span, asked.span);
}

#[test]
fn explaining_says_what_would_happen_and_leaves_no_trace() {
    let (mut bed, pool) = Bed::with(with_terms(addresses(100, 4), |terms| terms.strategy = Strategy::Random));
    let explain = |bed: &mut Bed, subscriber: &str| {
        let written = bed.log.len();
        let answer = bed.ask(Command::Explain(Box::new(request(&pool, subscriber))));
        assert_eq!(bed.log.len(), written);
        match answer {
            Ok(Reply::Explained(explanation)) => explanation.outcome,
            other => panic!("{other:?}"),
        }
    };
    let ExplainedOutcome::WouldGet { span, why: Choice::Strategy } = explain(&mut bed, "a") else { panic!() };
    assert_eq!(bed.allocate(&pool, "a").span, span);
    assert_eq!(explain(&mut bed, "a"), ExplainedOutcome::AlreadyHeld { span });
    bed.release(&pool, "a").expect("held");
    assert_eq!(explain(&mut bed, "a"), ExplainedOutcome::WouldGet { span, why: Choice::Sticky });
    for subscriber in ["b", "c", "d"] {
        bed.allocate(&pool, subscriber);
    }
    assert_eq!(explain(&mut bed, "e"), ExplainedOutcome::WouldGet { span, why: Choice::LongestRested });
    bed.allocate(&pool, "a");
    let ExplainedOutcome::WouldFail(error) = explain(&mut bed, "e") else { panic!() };
    assert!(matches!(*error, CommandError::Exhausted { .. }));
}

#[test]
fn a_release_that_names_a_span_releases_no_newer_one() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    let held = bed.allocate(&pool, "a");
    let mut target = super::bed::target(&pool, "a");
    target.span = Some(span(103, 1));
    assert!(matches!(bed.ask(Command::Release(target.clone())), Err(CommandError::NotHeld { .. })));
    target.span = Some(held.span);
    assert!(matches!(bed.ask(Command::Release(target)), Ok(Reply::Released(_))));
}

#[test]
fn oldest_free_survives_a_restart() {
    let draft = with_terms(addresses(100, 4), |terms| {
        terms.strategy = Strategy::OldestFree;
        terms.hold_down_ms = 0;
    });
    let (mut bed, pool) = Bed::with(leased(draft));
    for subscriber in ["a", "b", "c", "d"] {
        bed.allocate(&pool, subscriber);
    }
    for subscriber in ["c", "a", "d"] {
        bed.release(&pool, subscriber).expect("held");
    }
    bed.restart(1_000);
    let order: Vec<u128> = ["x", "y", "z"].map(|subscriber| bed.allocate(&pool, subscriber).span.start()).into();
    assert_eq!(order, [102, 100, 103]);
}
