use kernel::{AllocateRequest, CommandError, Fact};

use super::bed::{Bed, addresses, given, named, span, with_terms};

fn per_olt() -> kernel::PoolDraft {
    with_terms(addresses(1, 4), |terms| terms.realm_by = vec!["olt_id".into()])
}

fn on(olt: &str) -> impl Fn(&mut AllocateRequest) {
    move |request| request.realm_value = Some(olt.into())
}

#[test]
fn one_pool_serves_the_same_span_once_per_realm() {
    let (mut bed, pool) = Bed::with(per_olt());
    assert!(bed.kernel.occupancy().is_empty(), "realms are made at first use");
    let one = given(bed.allocate_with(&pool, "a", on("olt-1")));
    let other = given(bed.allocate_with(&pool, "b", on("olt-2")));
    assert_eq!((one.span, other.span), (span(1, 1), span(1, 1)));
    assert_ne!(one.realm, other.realm);
    let mut names = Vec::new();
    for op in &bed.log {
        if let Fact::Realm(realm) = &op.fact {
            names.push(realm.name.to_string());
        }
    }
    assert_eq!(names, ["default/olt-1", "default/olt-2"]);
    bed.restart(0);
    assert_eq!(given(bed.allocate_with(&pool, "a", on("olt-1"))).span, one.span);
    assert_eq!(bed.kernel.occupancy().len(), 2);
}

#[test]
fn a_subscriber_holds_in_one_realm_of_a_pool() {
    let (mut bed, pool) = Bed::with(per_olt());
    let held = given(bed.allocate_with(&pool, "a", on("olt-1")));
    let moved = bed.allocate_with(&pool, "a", on("olt-2"));
    assert!(matches!(moved, Err(CommandError::HoldsInOtherRealm { realm, .. }) if realm == held.realm));
}

#[test]
fn the_value_a_realm_is_made_by_must_be_there_and_fit() {
    let (mut bed, pool) = Bed::with(per_olt());
    let written = bed.log.len();
    assert!(matches!(bed.allocate_with(&pool, "a", |_| {}), Err(CommandError::RealmValueMissing { .. })));
    for value in ["", "tab\there", &"x".repeat(300)] {
        let answer = bed.allocate_with(&pool, "a", on(value));
        assert!(matches!(answer, Err(CommandError::RealmValueInvalid { .. })), "{answer:?}");
    }
    assert_eq!(bed.log.len(), written);
}

#[test]
fn a_request_that_is_refused_makes_no_realm() {
    let (mut bed, pool) = Bed::with(per_olt());
    let written = bed.log.len();
    let answer = bed.allocate_with(&pool, "a", |request| {
        on("olt-9")(request);
        request.plan = kernel::Plan::exactly(span(77, 1));
    });
    assert!(matches!(answer, Err(CommandError::OutsidePool { .. })));
    assert_eq!((bed.log.len(), bed.kernel.occupancy().len()), (written, 0));
}

#[test]
fn overlap_is_judged_at_the_realm_that_realms_are_made_from() {
    let (mut bed, _) = Bed::with(per_olt());
    let mut sly = named(addresses(1, 4), "sly");
    sly.realm.name = "default/olt-1".parse().expect("a realm");
    for draft in [named(addresses(4, 4), "plain"), named(per_olt(), "again"), sly] {
        let answer = bed.ask(kernel::Command::CreatePool(Box::new(draft)));
        assert!(matches!(answer, Err(CommandError::PoolOverlaps { .. })), "{answer:?}");
    }
}

#[test]
fn a_pool_serves_so_many_realms_and_no_more() {
    let (mut bed, pool) = Bed::with(per_olt());
    for n in 0..65_536 {
        given(bed.allocate_with(&pool, &format!("s{n}"), on(&format!("olt-{n}"))));
    }
    let answer = bed.allocate_with(&pool, "more", on("one-more"));
    assert!(matches!(answer, Err(CommandError::TooManyRealms { limit: 65_536, .. })));
    given(bed.allocate_with(&pool, "more", on("olt-7")));
}
