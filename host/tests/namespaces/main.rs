//! Five daemons, each in a network namespace of its own, under clients that record every answer: cut off, killed, stopped,
//! without space, joined, drained, and with an old disk. Afterwards the record is judged. Needs root and iproute2; without
//! them the test fails and says so.
//!
//! `NAMESPACES_SEED` replays the order of the faults and what clients ask; when things happen differs from run to run.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

#[path = "../common/mod.rs"]
mod common;

mod checker;
mod client;
mod faults;
mod history;
mod hosts;
mod net;
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use checker::{Conflict, Listing};
use client::Load;
use common::wait_for;
use history::{Asked, Fence, Grant, Outcome, Record};
use hosts::{Hosts, name};
use random::Random;

const REST: u16 = 9000;
const GRPC: u16 = 9001;

const HOSTS: usize = 5;

/// A pool without leases, and one with short ones.
const PERMANENT: &str = "homes";
const LEASED: &str = "cafe";

/// After a heal hosts may take so long to hear of everything.
const UNHEALED_MS: u64 = 5_000;

/// Stops the load even if the test fails, or nobody would ever join its threads.
struct Stop(Arc<Load>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn nothing_is_held_twice_or_forgotten_whatever_befalls_the_hosts() {
    let seed = match std::env::var("NAMESPACES_SEED") {
        Ok(seed) => seed.parse().expect("NAMESPACES_SEED is a number"),
        Err(_) => history::boot_ms(),
    };
    eprintln!("NAMESPACES_SEED={seed}");
    let mut random = Random::new(seed);
    let mut hosts = Hosts::new(HOSTS);
    hosts.form(HOSTS - 1);
    make_pools(&hosts);
    let mut faults = faults::ALL;
    random.shuffle(&mut faults);
    let load = Arc::new(Load::default());
    let lan = Arc::clone(&hosts.lan);
    let excused = std::thread::scope(|scope| {
        let _stop = Stop(Arc::clone(&load));
        for host in 0..HOSTS {
            let (lan, load) = (&lan, &load);
            scope.spawn(move || client::run(lan, host, HOSTS, load, seed));
        }
        wait_for("the load runs", || hosts.up().iter().all(|host| load.served(*host, 0) > 20).then_some(()));
        let played = faults.iter().map(|fault| faults::play(*fault, &mut hosts, &load, &mut random));
        played.collect::<Vec<_>>()
    });
    let Calm { listings, conflicts } = calm(&hosts);
    let mut records = load.records();
    records.extend(conflicts.iter().map(|(_, record)| record.clone()));
    let conflicts: Vec<Conflict> = conflicts.into_iter().map(|(conflict, _)| conflict).collect();
    println!("{} conflicts were open when all was calm, and confirmed", conflicts.len());
    let file = hosts.logs().join("history.jsonl");
    history::write(&records, &file);
    count(&records);
    only_expected_errors(&records);
    let found = checker::judge(&records, &listings, &excused, &conflicts);
    let told: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "seed {seed}, history in {}, {} violations:\n{}",
        file.display(),
        found.len(),
        told.join("\n")
    );
    for host in 0..HOSTS {
        assert_eq!(hosts.metric(host, "nexus_clset_conflicts_total"), Some(0.0), "{}", name(host));
        assert_eq!(hosts.metric(host, "nexus_clset_conflicts_open"), Some(0.0), "{}", name(host));
    }
    repeats_stay(&hosts, &listings);
}

fn make_pools(hosts: &Hosts) {
    hosts.order(0, "pools", &json!({"id": PERMANENT, "cidr": "100.64.0.0/19", "hold_down": "1s"}));
    let lease = json!({"default": "6s", "min": "1s", "max": "1m"});
    hosts.order(0, "pools", &json!({"id": LEASED, "cidr": "100.96.0.0/20", "hold_down": "1s", "lease": lease}));
    for host in hosts.up() {
        for pool in [PERMANENT, LEASED] {
            let path = format!("pools/{pool}");
            wait_for("every host has the pools", || (hosts.call(host, "GET", &path, None).0 == 200).then_some(()));
        }
    }
}

/// What is there when nothing goes wrong any more.
struct Calm {
    listings: Vec<Listing>,
    /// Each with the answer that its subscriber was given then.
    conflicts: Vec<(Conflict, Record)>,
}

/// Waits until the leases are over and each host knows what any of them knew before. Then whoever has two addresses asks
/// which one he is to use, and confirms that he does not use the other. Gives what the hosts show then, the same or not.
fn calm(hosts: &Hosts) -> Calm {
    wait_for("every shard is where it should be", || (hosts.misplaced(0) == 0).then_some(()));
    let leases = format!("allocations?pool_id={LEASED}&limit=1");
    for host in hosts.up() {
        wait_for("the leases are over", || {
            hosts.get(host, &leases)["allocations"].as_array().is_some_and(Vec::is_empty).then_some(())
        });
    }
    let _all_known = await_all_known(hosts);
    for host in hosts.up() {
        // An owner says that a lease is over a moment after it is not shown any more.
        wait_for("two leases of one subscriber are over, too", || {
            self::conflicts(hosts, host).iter().all(|conflict| conflict.pool != LEASED).then_some(())
        });
    }
    let conflicts = conflicts(hosts, 0);
    for host in hosts.up() {
        wait_for("the hosts list the same conflicts", || (self::conflicts(hosts, host) == conflicts).then_some(()));
    }
    let conflicts = conflicts.into_iter().map(|conflict| {
        let record = confirm(hosts, &conflict);
        (conflict, record)
    });
    let conflicts = conflicts.collect();
    let known = await_all_known(hosts);
    let listings = hosts.up().into_iter().map(|host| hosts.listing(host));
    let listings =
        listings.map(|listing| Listing { vector: up_to(&known, listing.vector.clone()), ..listing }).collect();
    Calm { listings, conflicts }
}

/// Waits until each host knows what any of them knew before; gives that.
fn await_all_known(hosts: &Hosts) -> BTreeMap<String, u64> {
    // Hosts go on writing down what time it is, so what they know is compared up to here.
    let mut known = BTreeMap::new();
    for (origin, through) in hosts.up().into_iter().flat_map(|host| hosts.vector(host)) {
        let most = known.entry(origin).or_insert(through);
        *most = through.max(*most);
    }
    for host in hosts.up() {
        wait_for("every host hears of everything", || (up_to(&known, hosts.vector(host)) == known).then_some(()));
    }
    known
}

fn up_to(known: &BTreeMap<String, u64>, mut vector: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for (origin, through) in &mut vector {
        *through = known.get(origin).copied().unwrap_or(0).min(*through);
    }
    vector
}

/// What a host lists as open.
fn conflicts(hosts: &Hosts, host: usize) -> Vec<Conflict> {
    let page = hosts.get(host, "conflicts?limit=10000");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let read = |row: &Value| {
        assert_eq!(row["kind"], "superseded", "{row}");
        let of = |which: &str| text(&row[which]["resource"]);
        let (pool, subscriber) = (text(&row["superseded"]["pool_id"]), text(&row["superseded"]["subscriber_id"]));
        Conflict { id: text(&row["id"]), pool, subscriber, superseded: of("superseded"), survivor: of("survivor") }
    };
    page["conflicts"].as_array().expect("rows").iter().map(read).collect()
}

/// The subscriber is answered the one that stands, and his BNG says that the other is not used any more.
fn confirm(hosts: &Hosts, conflict: &Conflict) -> Record {
    let host = conflict.superseded.bytes().map(usize::from).sum::<usize>() % HOSTS;
    let start_ms = history::boot_ms();
    let body = json!({"pool_id": conflict.pool, "subscriber_id": conflict.subscriber});
    let answer = hosts.order(host, "allocate", &body);
    assert_eq!(answer["resource"], conflict.survivor.as_str(), "{conflict:?} at {}", name(host));
    let end_ms = history::boot_ms();
    hosts.order(host, &format!("conflicts/{}/confirm", conflict.id), &json!({}));
    let number = |field: &str| u32::try_from(answer["fence"][field].as_u64().expect("a number")).expect("small");
    let fence = Fence { pool: number("pool"), shard: number("shard"), epoch: number("epoch") };
    let address = conflict.survivor.clone();
    let grant = Grant { address, fence, lease_ms: None, created: false, supersedes: None };
    Record {
        client: "bng-confirms".to_owned(),
        host,
        start_ms,
        end_ms,
        asked: Asked::Allocate,
        pool: conflict.pool.clone(),
        subscriber: conflict.subscriber.clone(),
        outcome: Outcome::Granted(grant),
    }
}

/// Whether the record is worth judging.
fn count(records: &[Record]) {
    let granted = records.iter().filter(|record| matches!(record.outcome, Outcome::Granted(_))).count();
    let dropped = records.iter().filter(|record| matches!(record.outcome, Outcome::Dropped { .. })).count();
    let unknown = records.iter().filter(|record| matches!(record.outcome, Outcome::Unknown { .. })).count();
    eprintln!("{} requests: {granted} granted, {dropped} dropped, {unknown} without an answer", records.len());
    assert!(granted > 500, "too little was asked");
}

/// Hosts that are cut off say so; nothing else may go wrong.
fn only_expected_errors(records: &[Record]) {
    let expected = ["Unavailable", "ResourceExhausted", "DeadlineExceeded", "Cancelled", "Unknown", "no answer"];
    let wrong: Vec<&Record> = records
        .iter()
        .filter(|record| match &record.outcome {
            Outcome::Unknown { why } => !expected.iter().any(|expected| why.starts_with(expected)),
            Outcome::Granted(_) | Outcome::Dropped { .. } | Outcome::Released | Outcome::Nothing => false,
        })
        .take(10)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whoever holds something gets the same again at every host.
fn repeats_stay(hosts: &Hosts, listings: &[Listing]) {
    for (at, ((pool, subscriber), held)) in
        listings[0].held.iter().filter(|((pool, _), _)| pool == PERMANENT).enumerate()
    {
        let body = json!({"pool_id": pool, "subscriber_id": subscriber});
        let answer = hosts.order(at % HOSTS, "allocate", &body);
        assert_eq!(
            answer["resource"].as_str(),
            held.first().map(String::as_str),
            "{subscriber} at {}",
            name(at % HOSTS)
        );
    }
}
