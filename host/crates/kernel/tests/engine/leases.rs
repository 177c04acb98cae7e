use kernel::{AllocationKind, Command, CommandError, EndCause, Fact, Input, Plan, Reply, Ttl};

use super::bed::{Bed, addresses, given, leased, prefixes, request, target, with_terms};

#[test]
fn a_wished_ttl_is_clamped_to_the_pools_terms() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    let wishes = [
        (Ttl::Default, Some(10_000)),
        (Ttl::Millis(5), Some(1_000)),
        (Ttl::Millis(30_000), Some(30_000)),
        (Ttl::Millis(u64::MAX), Some(60_000)),
        (Ttl::Permanent, None),
    ];
    for (n, (ttl, lease_ms)) in wishes.into_iter().enumerate() {
        let held = given(bed.allocate_with(&pool, &format!("s{n}"), |request| request.ttl = ttl));
        assert_eq!(held.expires_ms().map(|end| end.get() - bed.now.wall_ms), lease_ms, "{ttl:?}");
        let kind = if ttl == Ttl::Permanent { AllocationKind::Permanent } else { AllocationKind::Session };
        assert_eq!(held.kind(), kind);
    }
}

#[test]
fn a_pool_without_leases_makes_one_for_who_asks_and_renews_it_by_as_much() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    assert_eq!(bed.allocate(&pool, "a").expires_ms(), None);
    let held = given(bed.allocate_with(&pool, "b", |request| request.ttl = Ttl::Millis(123_456)));
    assert_eq!(held.expires_ms().map(|end| end.get() - bed.now.wall_ms), Some(123_456));
    bed.pass(1_000);
    let again = bed.allocate(&pool, "b");
    assert_eq!(again.expires_ms().map(|end| end.get() - bed.now.wall_ms), Some(123_456));
}

#[test]
fn a_lease_without_end_can_still_be_released() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    let held = given(bed.allocate_with(&pool, "a", |request| request.ttl = Ttl::Millis(u64::MAX)));
    assert!(held.expires_ms().is_some());
    bed.release(&pool, "a").expect("held");
    bed.pass(60_000);
    bed.alarms();
    assert_eq!(bed.kernel.next_alarm(), None, "nothing is left to be done");
}

#[test]
fn a_long_hold_down_makes_allocations_sticky() {
    let (mut bed, pool) = Bed::with(with_terms(addresses(100, 8), |terms| terms.hold_down_ms = 3_600_000));
    assert_eq!(bed.allocate(&pool, "a").kind(), AllocationKind::Sticky);
}

#[test]
fn a_repeat_renews_the_lease_and_renewing_needs_one() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    let first = bed.allocate(&pool, "a");
    bed.pass(4_000);
    let again = bed.allocate(&pool, "a");
    assert_eq!(again.created_ms(), first.created_ms());
    assert_eq!(again.expires_ms().map(|end| end.get() - bed.now.wall_ms), Some(10_000));
    let renew = |bed: &mut Bed, ttl| bed.ask(Command::Renew { target: target(&pool, "a"), ttl });
    assert!(matches!(renew(&mut bed, Ttl::Millis(20_000)), Ok(Reply::Renewed { .. })));
    bed.pass(15_000);
    bed.alarms();
    assert!(
        matches!(renew(&mut bed, Ttl::Permanent), Ok(Reply::Renewed { allocation, .. }) if allocation.expires_ms().is_none())
    );
    assert!(matches!(renew(&mut bed, Ttl::Default), Err(CommandError::NoLease { .. })));
    bed.pass(1_000_000);
    assert_eq!(bed.kernel.allocations(), 1);
}

#[test]
fn a_lease_ends_by_itself_as_its_own_fact() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    let held = bed.allocate(&pool, "a");
    bed.pass(9_999);
    assert_eq!(bed.alarms(), 0);
    bed.pass(1);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 0);
    let Some(Fact::Resting(rest)) = bed.log.last().map(|op| &op.fact) else { panic!("no end was written") };
    assert_eq!((rest.span, rest.cause, rest.created_ms), (held.span, EndCause::Expired, held.created_ms()));
    assert_eq!(rest.until_ms - rest.ended_ms, 60_000);
}

#[test]
fn a_lease_that_is_over_is_over_whether_its_turn_has_come_or_not() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    let held = bed.allocate(&pool, "a");
    bed.allocate(&pool, "b");
    bed.allocate(&pool, "c");
    bed.pass(10_000);
    let renewed = bed.ask(Command::Renew { target: target(&pool, "b"), ttl: Ttl::Default });
    assert!(matches!(renewed, Err(CommandError::NotHeld { .. })));
    assert!(matches!(bed.release(&pool, "c"), Err(CommandError::NotHeld { .. })));
    match bed.ask(Command::Allocate(Box::new(request(&pool, "a")))) {
        Ok(Reply::Allocated { allocation, created: true, .. }) => assert_eq!(allocation.span, held.span),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_leases_that_end_at_once_end_in_slices() {
    let (mut bed, pool) = Bed::with(leased(addresses(0, 8_192)));
    for subscriber in 0..8_000 {
        bed.allocate(&pool, &subscriber.to_string());
    }
    bed.pass(10_000);
    while bed.kernel.allocations() > 0 {
        assert!(bed.kernel.next_alarm().is_some_and(|due_ms| due_ms <= bed.now.boot_ms));
        let left = bed.kernel.allocations();
        let written = bed.step(Input::Alarm);
        assert_eq!(written, left.min(256));
    }
}

#[test]
fn a_full_pool_ends_what_is_over_before_it_refuses() {
    let (mut bed, pool) = Bed::with(with_terms(leased(addresses(0, 16)), |terms| {
        terms.strict = true;
        terms.hold_down_ms = 0;
    }));
    for subscriber in 0..16 {
        bed.allocate(&pool, &subscriber.to_string());
    }
    bed.pass(10_000);
    assert_eq!(bed.allocate(&pool, "new").span.len(), 1);
}

#[test]
fn who_needs_more_than_a_step_may_end_waits_for_the_answer() {
    let draft = super::bed::with_geometry(leased(prefixes()), |geometry| {
        geometry.spans = vec![kernel::Series::one(super::bed::span(0, 4_096))];
        geometry.sizing.max_len = 4_096;
        geometry.cut = 4_096;
    });
    let (mut bed, pool) = Bed::with(with_terms(draft, |terms| terms.hold_down_ms = 0));
    for subscriber in 0..4_096 {
        bed.allocate(&pool, &subscriber.to_string());
    }
    bed.pass(10_000);
    let mut whole = request(&pool, "whole");
    whole.plan = Plan::anywhere(4_096);
    assert!(bed.try_ask(Command::Allocate(Box::new(whole))).is_none());
    bed.alarms();
    let (_, answer) = bed.late.pop().expect("answered once all is over");
    assert_eq!(given(answer).span.len(), 4_096);
}

#[test]
fn a_quiet_host_with_leases_writes_the_time_once_a_minute() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    given(bed.allocate_with(&pool, "a", |request| request.ttl = Ttl::Millis(86_400_000)));
    for _ in 0..10 {
        let due = bed.kernel.next_alarm().expect("leases run");
        bed.pass(due - bed.now.boot_ms);
        bed.alarms();
    }
    assert_eq!(bed.count(|fact| matches!(fact, Fact::Clock)), 10);
    assert_eq!(bed.now.boot_ms, 1_000 + 600_000);
}
