use kernel::{Command, CommandError, Pool, Reply, ReserveRequest};

use super::bed::{Answer, Bed, addresses, given, prefixes, span, with_terms};

fn reserve(bed: &mut Bed, pool: &Pool, subscriber: &str, start: u128, len: u128) -> Answer {
    bed.ask(Command::Reserve(Box::new(ReserveRequest {
        pool: pool.uid,
        realm_value: None,
        span: span(start, len),
        subscriber: subscriber.parse().expect("a subscriber id"),
        name: format!("{start}/{len}").into(),
        note: "static".into(),
    })))
}

fn unreserve(bed: &mut Bed, pool: &Pool, start: u128) -> Answer {
    bed.ask(Command::Unreserve { pool: pool.uid, realm_value: None, span: span(start, 1) })
}

#[test]
fn a_reserved_span_goes_to_its_own_subscriber_first_and_to_nobody_else() {
    let (mut bed, pool) = Bed::with(addresses(100, 2));
    assert!(matches!(reserve(&mut bed, &pool, "vip", 101, 1), Ok(Reply::Reserved { created: true, .. })));
    assert_eq!(bed.occupancy(pool.uid).reserved, 1);
    let taken = bed.ask_for(&pool, "x", 101, 1);
    assert!(matches!(taken, Err(CommandError::ReservedForAnother { by: Some(by), .. }) if by.as_str() == "vip"));
    bed.allocate(&pool, "x");
    assert!(matches!(bed.allocate_with(&pool, "y", |_| {}), Err(CommandError::Exhausted { .. })));
    assert_eq!(bed.allocate(&pool, "vip").span, span(101, 1));
    let occupancy = bed.occupancy(pool.uid);
    assert_eq!((occupancy.held, occupancy.reserved), (2, 0));
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid), occupancy);
    bed.release(&pool, "vip").expect("held");
    let occupancy = bed.occupancy(pool.uid);
    assert_eq!((occupancy.resting, occupancy.reserved), (0, 1), "it waits for its own, it does not rest");
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid), occupancy);
}

#[test]
fn a_reservation_again_is_there_and_over_another_is_a_conflict() {
    let (mut bed, pool) = Bed::with(prefixes());
    reserve(&mut bed, &pool, "vip", 8, 4).expect("free");
    assert!(matches!(reserve(&mut bed, &pool, "vip", 8, 4), Ok(Reply::Reserved { created: false, .. })));
    for (start, len) in [(8, 4), (8, 8), (10, 1)] {
        let answer = reserve(&mut bed, &pool, "other", start, len);
        assert!(matches!(answer, Err(CommandError::ReservedForAnother { .. })), "{answer:?}");
    }
    assert!(matches!(reserve(&mut bed, &pool, "other", 40, 1), Err(CommandError::OutsidePool { .. })));
}

#[test]
fn what_somebody_else_holds_cannot_be_reserved_and_what_is_held_can_for_its_holder() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    let held = bed.allocate(&pool, "a");
    let answer = reserve(&mut bed, &pool, "b", held.span.start(), 1);
    assert!(matches!(answer, Err(CommandError::Held { by: Some(by), .. }) if by.as_str() == "a"));
    reserve(&mut bed, &pool, "a", held.span.start(), 1).expect("its own");
    assert_eq!(bed.occupancy(pool.uid).reserved, 0, "a held one counts as held");
    unreserve(&mut bed, &pool, held.span.start()).expect("reserved");
    bed.release(&pool, "a").expect("held");
    let occupancy = bed.occupancy(pool.uid);
    assert_eq!((occupancy.free, occupancy.resting), (3, 1));
}

#[test]
fn a_resting_span_can_be_reserved_unless_the_pool_is_strict() {
    for strict in [false, true] {
        let (mut bed, pool) = Bed::with(with_terms(addresses(100, 4), |terms| terms.strict = strict));
        let held = bed.allocate(&pool, "a");
        bed.release(&pool, "a").expect("held");
        let answer = reserve(&mut bed, &pool, "b", held.span.start(), 1);
        if strict {
            assert!(matches!(answer, Err(CommandError::RestingForAnother { .. })));
            continue;
        }
        answer.expect("resting counts as free");
        bed.restart(0);
        assert_eq!((bed.occupancy(pool.uid).resting, bed.occupancy(pool.uid).reserved), (0, 1));
        unreserve(&mut bed, &pool, held.span.start()).expect("reserved");
        bed.restart(0);
        assert_eq!(bed.occupancy(pool.uid).free, 4, "its former rest does not come back");
    }
}

#[test]
fn what_is_not_reserved_cannot_be_unreserved() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    assert!(matches!(unreserve(&mut bed, &pool, 101), Err(CommandError::NotReserved { .. })));
    reserve(&mut bed, &pool, "a", 101, 1).expect("free");
    assert!(matches!(unreserve(&mut bed, &pool, 101), Ok(Reply::Unreserved(_))));
    assert_eq!(given(bed.ask_for(&pool, "b", 101, 1)).span, span(101, 1));
}
