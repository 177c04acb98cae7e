//! Made-up histories, each with one fault, and the same without it.

use super::*;
use crate::history::{Fence, Grant};

const POOL: &str = "homes";

fn grant(address: &str, lease_ms: Option<u64>) -> Grant {
    let fence = Fence { pool: 1, shard: 0, epoch: 1 };
    Grant { address: address.to_owned(), fence, lease_ms, created: true, supersedes: None }
}

fn record(asked: Asked, subscriber: &str, (start_ms, end_ms): (u64, u64), outcome: Outcome) -> Record {
    Record {
        client: "client".to_owned(),
        host: 0,
        start_ms,
        end_ms,
        asked,
        pool: POOL.to_owned(),
        subscriber: subscriber.to_owned(),
        outcome,
    }
}

fn allocated(subscriber: &str, address: &str, when: (u64, u64)) -> Record {
    record(Asked::Allocate, subscriber, when, Outcome::Granted(grant(address, None)))
}

fn leased(asked: Asked, subscriber: &str, address: &str, when: (u64, u64), lease_ms: u64) -> Record {
    record(asked, subscriber, when, Outcome::Granted(grant(address, Some(lease_ms))))
}

fn released(subscriber: &str, when: (u64, u64)) -> Record {
    record(Asked::Release, subscriber, when, Outcome::Released)
}

fn unknown(asked: Asked, subscriber: &str, when: (u64, u64)) -> Record {
    record(asked, subscriber, when, Outcome::Unknown { why: "no answer".to_owned() })
}

fn listing(held: &[(&str, &[&str])]) -> Listing {
    let held = held.iter().map(|(subscriber, addresses)| {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        ((POOL.to_owned(), (*subscriber).to_owned()), addresses)
    });
    let vector = BTreeMap::from([("a".to_owned(), 7)]);
    Listing { held: held.collect(), vector, at_ms: 100_000 }
}

/// The names of what is found.
fn check(records: &[Record], listings: &[Listing], excused: &[Excused]) -> Vec<&'static str> {
    let name = |violation: &Violation| match violation {
        Violation::HeldTwice { .. } => "held twice",
        Violation::Forgotten { .. } => "forgotten",
        Violation::Undone { .. } => "undone",
        Violation::Differ { .. } => "differ",
        Violation::Moved { .. } => "moved",
        Violation::Several { .. } => "several",
        Violation::ListedTwice { .. } => "listed twice",
    };
    judge(records, listings, excused, &[]).iter().map(name).collect()
}

fn nobody() -> [&'static str; 0] {
    []
}

#[test]
fn an_address_held_by_two_at_once_is_found() {
    let twice = [allocated("a", "10.0.0.1", (0, 10)), allocated("b", "10.0.0.1", (20, 30))];
    assert_eq!(check(&twice, &[], &[]), ["held twice"]);
    // One after the other is how it should be.
    let [a, b] = twice;
    assert_eq!(check(&[a.clone(), released("a", (15, 25)), b.clone()], &[], &[]), nobody());
    // Released too late.
    assert_eq!(check(&[a.clone(), b.clone(), released("a", (31, 40))], &[], &[]), ["held twice"]);
    // What may have been released may be anybody's.
    assert_eq!(check(&[a, unknown(Asked::Release, "a", (15, 16)), b], &[], &[]), nobody());
}

#[test]
fn a_lease_ends_for_its_client_counted_from_the_request() {
    let first = leased(Asked::Allocate, "a", "10.0.0.1", (0, 10), 1_000);
    assert_eq!(check(&[first.clone(), allocated("b", "10.0.0.1", (900, 999))], &[], &[]), ["held twice"]);
    assert_eq!(check(&[first.clone(), allocated("b", "10.0.0.1", (900, 1_000))], &[], &[]), nobody());
    let renewed = leased(Asked::Renew, "a", "10.0.0.1", (500, 510), 1_000);
    assert_eq!(check(&[first, renewed, allocated("b", "10.0.0.1", (900, 1_400))], &[], &[]), ["held twice"]);
}

#[test]
fn an_answer_that_was_dropped_is_no_hold() {
    let outcome = Outcome::Dropped { grant: grant("10.0.0.1", None), why: "late".to_owned() };
    let dropped = record(Asked::Allocate, "a", (0, 6_000), outcome);
    assert_eq!(
        check(&[dropped, allocated("b", "10.0.0.1", (20, 30))], &[listing(&[("b", &["10.0.0.1"])])], &[]),
        nobody()
    );
}

#[test]
fn an_answer_that_a_host_does_not_list_is_found() {
    let records = [allocated("a", "10.0.0.1", (0, 10))];
    let whole = listing(&[("a", &["10.0.0.1"])]);
    assert_eq!(check(&records, &[whole.clone(), whole.clone()], &[]), nobody());
    assert_eq!(check(&records, &[whole, listing(&[])], &[]), ["forgotten", "differ"]);
    assert_eq!(check(&records, &[listing(&[("a", &["10.0.0.2"])])], &[]), ["forgotten"]);
    // What may be released, or is over, need not be there.
    let maybe = [records[0].clone(), unknown(Asked::Release, "a", (20, 30))];
    assert_eq!(check(&maybe, &[listing(&[])], &[]), nobody());
    assert_eq!(check(&[leased(Asked::Allocate, "a", "10.0.0.1", (0, 10), 1_000)], &[listing(&[])], &[]), nobody());
    let long = [leased(Asked::Allocate, "a", "10.0.0.1", (0, 10), 200_000)];
    assert_eq!(check(&long, &[listing(&[])], &[]), ["forgotten"]);
}

#[test]
fn an_allocation_that_comes_back_after_its_release_is_found() {
    let records = [allocated("a", "10.0.0.1", (0, 10)), released("a", (20, 30))];
    let back = listing(&[("a", &["10.0.0.1"])]);
    assert_eq!(check(&records, std::slice::from_ref(&back), &[]), ["undone"]);
    // A request without an answer may be what brought it.
    let asked = [records[0].clone(), unknown(Asked::Allocate, "a", (12, 15)), records[1].clone()];
    assert_eq!(check(&asked, &[back], &[]), nobody());
}

#[test]
fn hosts_that_differ_are_found() {
    let one = listing(&[("a", &["10.0.0.1"])]);
    let mut behind = one.clone();
    behind.vector.insert("a".to_owned(), 6);
    assert_eq!(check(&[], &[one.clone(), one.clone()], &[]), nobody());
    assert_eq!(check(&[], &[one.clone(), behind], &[]), ["differ"]);
    assert_eq!(check(&[], &[one, listing(&[])], &[]), ["differ"]);
}

#[test]
fn a_subscriber_that_gets_another_address_is_found_unless_nobody_could_know_of_the_first() {
    let records = [allocated("a", "10.0.0.1", (0, 10)), allocated("a", "10.0.0.2", (3_000, 3_010))];
    assert_eq!(check(&records, &[], &[]), ["moved"]);
    // Hosts lost each other right after the first answer, and had not found each other again before the second.
    let away = Excused { from_ms: 900, to_ms: 3_005 };
    assert_eq!(check(&records, &[], &[away]), nobody());
    assert_eq!(check(&records, &[], &[Excused { from_ms: 3_011, ..away }]), ["moved"]);
    // All of them knew of the first one.
    assert_eq!(check(&records, &[], &[Excused { from_ms: 2_500, ..away }]), ["moved"]);
    // From then on the first is free for others.
    let next = [records[0].clone(), records[1].clone(), allocated("b", "10.0.0.1", (4_000, 4_010))];
    assert_eq!(check(&next, &[], &[away]), nobody());
    assert_eq!(check(&[records[0].clone(), released("a", (20, 30)), records[1].clone()], &[], &[]), nobody());
}

#[test]
fn a_subscriber_may_be_given_another_address_that_is_said_to_supersede_the_first() {
    let superseding = |older: &str, newer: &str, when| {
        let grant = Grant { supersedes: Some(older.to_owned()), ..grant(newer, None) };
        record(Asked::Allocate, "a", when, Outcome::Granted(grant))
    };
    let first = allocated("a", "10.0.0.1", (0, 10));
    let second = superseding("10.0.0.1", "10.0.0.2", (3_000, 3_010));
    assert_eq!(check(&[first.clone(), second.clone()], &[], &[]), nobody());
    let third = superseding("10.0.0.2", "10.0.0.3", (4_000, 4_010));
    assert_eq!(check(&[first.clone(), second, third], &[], &[]), nobody());
    let wrong = superseding("10.0.0.9", "10.0.0.2", (3_000, 3_010));
    assert_eq!(check(&[first.clone(), wrong], &[], &[]), ["moved"]);
    // A conflict that was listed and confirmed says the same.
    let conflict = Conflict {
        id: "1".to_owned(),
        pool: POOL.to_owned(),
        subscriber: "a".to_owned(),
        superseded: "10.0.0.1".to_owned(),
        survivor: "10.0.0.2".to_owned(),
    };
    let unmarked = [first, allocated("a", "10.0.0.2", (3_000, 3_010))];
    assert_eq!(judge(&unmarked, &[], &[], std::slice::from_ref(&conflict)), []);
    let another = Conflict { subscriber: "b".to_owned(), ..conflict };
    assert_eq!(judge(&unmarked, &[], &[], &[another]).len(), 1);
}

#[test]
fn a_list_with_an_address_twice_or_a_subscriber_twice_is_found() {
    assert_eq!(check(&[], &[listing(&[("a", &["10.0.0.1"]), ("b", &["10.0.0.1"])])], &[]), ["listed twice"]);
    assert_eq!(check(&[], &[listing(&[("a", &["10.0.0.1", "10.0.0.2"])])], &[]), ["several"]);
}
