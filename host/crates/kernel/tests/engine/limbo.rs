//! What is released in a leased shard, until a majority of voters knows: nobody gets it by a detour either.
#![allow(clippy::indexing_slicing, reason = "helpers of tests, which the lint does not take for such")]

use std::sync::Arc;

use kernel::{
    AllocateRequest, Allocation, Command, CommandError, Epoch, Leg, News, Plan, Pool, Reply, ReserveRequest, Revision,
    ShardTenure, Sizing, Span, Tenure,
};

use crate::bed::{Answer, Bed, addresses, given, request};
use crate::cluster::Hosts;

/// A host alone in a cluster, all of whose shards are leased: 8 addresses, in pieces of 1 to 4.
fn leased() -> Hosts {
    let mut draft = addresses(0x0a00_0000, 8);
    let mut geometry = (*draft.geometry).clone();
    geometry.sizing = Sizing { max_len: 4, ..geometry.sizing };
    draft.geometry = Arc::new(geometry);
    draft.terms.hold_down_ms = 0;
    let mut hosts = Hosts::sharing(draft, 1, 1);
    let shards = hosts.pool.shards.iter().map(|shard| shard.id);
    let tenure = |shard| ShardTenure { shard, epoch: Epoch(2), tenure: Tenure::Leased, leased: true, doubtful: false };
    let tenures = shards.map(tenure).collect();
    let pool = hosts.pool.uid;
    hosts.tell(0, News::Tenures { pool, tenures });
    hosts.tell(0, News::NodeLease { until_ms: u64::MAX });
    hosts
}

fn alone(hosts: &mut Hosts) -> &mut Bed {
    hosts.beds.first_mut().expect("there is one host")
}

fn ask(hosts: &mut Hosts, subscriber: &str, plan: Plan) -> Answer {
    let asked = AllocateRequest { plan, ..request(&hosts.pool, subscriber) };
    alone(hosts).ask(Command::Relayed { leg: Leg::Home, command: Box::new(Command::Allocate(Box::new(asked))) })
}

fn reserve(hosts: &mut Hosts, subscriber: &str, span: Span) -> Answer {
    let asked = ReserveRequest {
        pool: hosts.pool.uid,
        realm_value: None,
        span,
        subscriber: subscriber.parse().expect("a subscriber id"),
        name: "".into(),
        note: "".into(),
    };
    alone(hosts).ask(Command::Reserve(Box::new(asked)))
}

/// Reserved, whether enough hosts know of it yet or not.
const fn stands(answer: &Answer) -> bool {
    matches!(answer, Ok(Reply::Reserved { .. }) | Err(CommandError::Unconfirmed { .. }))
}

fn give_back(hosts: &mut Hosts) -> Answer {
    let pool = hosts.pool.clone();
    alone(hosts).release(&pool, "line-0")
}

fn unreserve(hosts: &mut Hosts, span: Span) -> Answer {
    let pool = hosts.pool.uid;
    alone(hosts).ask(Command::Unreserve { pool, realm_value: None, span })
}

/// Four addresses that are reserved for whoever held them, and gave them back, which only this host knows.
fn released_and_reserved(hosts: &mut Hosts) -> Arc<Allocation> {
    let held = given(ask(hosts, "line-0", Plan::anywhere(4)));
    assert!(stands(&reserve(hosts, "line-0", held.span)));
    assert!(matches!(give_back(hosts), Ok(Reply::Released(_))));
    alone(hosts).pass(1_000);
    held
}

/// Four addresses that were given back, which only this host knows.
fn released(hosts: &mut Hosts) -> Arc<Allocation> {
    let held = given(ask(hosts, "line-0", Plan::anywhere(4)));
    assert!(matches!(give_back(hosts), Ok(Reply::Released(_))));
    alone(hosts).pass(1_000);
    held
}

/// From now on a majority knows all that was written.
fn stable(hosts: &mut Hosts) {
    let through = alone(hosts).log.last().expect("something was written").seq;
    hosts.tell(0, News::Stable { through });
}

fn piece(of: Span, nth: u128) -> Span {
    Span::new(of.start() + nth, 1).expect("not empty")
}

#[test]
fn who_takes_a_part_of_what_he_gave_back_does_not_set_the_rest_of_it_free() {
    let mut hosts = leased();
    let held = released(&mut hosts);
    let part = ask(&mut hosts, "line-0", Plan::exactly(piece(held.span, 0)));
    assert!(matches!(part, Err(CommandError::Withheld { .. })), "{part:?}");
    let other = ask(&mut hosts, "line-1", Plan::exactly(piece(held.span, 1)));
    assert!(matches!(other, Err(CommandError::RestingForAnother { .. })), "{other:?}");
    stable(&mut hosts);
    given(ask(&mut hosts, "line-0", Plan::exactly(piece(held.span, 0))));
    given(ask(&mut hosts, "line-1", Plan::exactly(piece(held.span, 1))));
}

#[test]
fn who_gave_it_back_gets_all_of_it_again_at_once_but_under_no_other_key() {
    let mut hosts = leased();
    let held = released(&mut hosts);
    let plan = Plan::exactly(held.span);
    let keyed = AllocateRequest { key: Some("pd-1".parse().expect("a key")), plan, ..request(&hosts.pool, "line-0") };
    let command = Box::new(Command::Allocate(Box::new(keyed)));
    let answer = alone(&mut hosts).ask(Command::Relayed { leg: Leg::Home, command });
    assert!(matches!(answer, Err(CommandError::Withheld { .. })), "{answer:?}");
    assert_eq!(given(ask(&mut hosts, "line-0", Plan::exactly(held.span))).span, held.span);
}

#[test]
fn what_was_given_back_is_reserved_for_nobody_before_a_majority_knows() {
    let mut hosts = leased();
    let held = released(&mut hosts);
    for subscriber in ["line-0", "line-9"] {
        let answer = reserve(&mut hosts, subscriber, held.span);
        assert!(matches!(answer, Err(CommandError::Withheld { .. })), "{answer:?}");
    }
    stable(&mut hosts);
    assert!(stands(&reserve(&mut hosts, "line-9", held.span)));
}

#[test]
fn a_reservation_counts_once_a_majority_knows() {
    let mut hosts = leased();
    let span = Span::new(0x0a00_0004, 1).expect("not empty");
    for is_new in [true, false] {
        let answer = reserve(&mut hosts, "line-9", span);
        assert!(matches!(answer, Err(CommandError::Unconfirmed { created, .. }) if created == is_new), "{answer:?}");
    }
    stable(&mut hosts);
    assert!(matches!(reserve(&mut hosts, "line-9", span), Ok(Reply::Reserved { created: false, .. })));
}

#[test]
fn an_update_of_the_pool_does_not_set_it_free() {
    let mut hosts = leased();
    given(ask(&mut hosts, "line-9", Plan::anywhere(4)));
    released(&mut hosts);
    let revised = Pool { revision: Revision(hosts.pool.revision.0 + 1), ..(*hosts.pool).clone() };
    hosts.tell(0, News::Pool(Arc::new(revised)));
    let answer = ask(&mut hosts, "line-1", Plan::anywhere(1));
    assert!(matches!(answer, Err(CommandError::Exhausted { .. })), "{answer:?}");
    stable(&mut hosts);
    given(ask(&mut hosts, "line-1", Plan::anywhere(1)));
}

#[test]
fn a_reservation_that_is_removed_does_not_set_free_what_was_given_back_under_it() {
    let mut hosts = leased();
    given(ask(&mut hosts, "line-9", Plan::anywhere(4)));
    let held = released_and_reserved(&mut hosts);
    assert!(matches!(unreserve(&mut hosts, held.span), Ok(Reply::Unreserved(_))));
    let asked = ask(&mut hosts, "line-1", Plan::exactly(held.span));
    assert!(matches!(asked, Err(CommandError::RestingForAnother { .. })), "{asked:?}");
    let anywhere = ask(&mut hosts, "line-1", Plan::anywhere(1));
    assert!(matches!(anywhere, Err(CommandError::Exhausted { .. })), "{anywhere:?}");
    let again = reserve(&mut hosts, "line-1", held.span);
    assert!(matches!(again, Err(CommandError::Withheld { .. })), "{again:?}");
    stable(&mut hosts);
    assert_eq!(given(ask(&mut hosts, "line-1", Plan::exactly(held.span))).span, held.span);
}

#[test]
fn what_a_majority_knows_to_be_given_back_is_free_as_soon_as_its_reservation_is_removed() {
    let mut hosts = leased();
    let held = released_and_reserved(&mut hosts);
    stable(&mut hosts);
    assert!(matches!(unreserve(&mut hosts, held.span), Ok(Reply::Unreserved(_))));
    assert_eq!(given(ask(&mut hosts, "line-1", Plan::exactly(held.span))).span, held.span);
}

#[test]
fn what_is_reserved_and_was_given_back_is_its_own_subscribers_at_once_but_under_no_other_key() {
    let mut hosts = leased();
    let held = released_and_reserved(&mut hosts);
    for plan in [Plan::exactly(held.span), Plan::anywhere(4)] {
        let key = Some("pd-1".parse().expect("a key"));
        let keyed = AllocateRequest { key, plan, ..request(&hosts.pool, "line-0") };
        let command = Box::new(Command::Allocate(Box::new(keyed)));
        let answer = alone(&mut hosts).ask(Command::Relayed { leg: Leg::Home, command });
        assert!(matches!(answer, Err(CommandError::Withheld { .. })), "{answer:?}");
    }
    assert_eq!(given(ask(&mut hosts, "line-0", Plan::anywhere(4))).span, held.span);
    // Held again, it waits for nobody when the reservation goes.
    assert!(matches!(unreserve(&mut hosts, held.span), Ok(Reply::Unreserved(_))));
    stable(&mut hosts);
    assert!(matches!(give_back(&mut hosts), Ok(Reply::Released(_))));
}
