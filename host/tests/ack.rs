//! Real daemons that wait for each other: what is answered as `peer` outlives the host that answered, and nobody waits in
//! vain for hosts that do nothing.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::BTreeMap;

use common::hosts::{Hosts, address, pool};
use common::{Start, directory, wait_for};
use serde_json::{Value, json};

/// Whether the host with this number handed it out from its own shards.
fn is_of(hosts: &Hosts, host: u64, answer: &Value) -> bool {
    let ring = hosts.get(0, "/api/v1/hashring?pool_id=homes").1;
    let shards = ring["pools"][0]["shards"].as_array().expect("shards").clone();
    let found = shards.into_iter().find(|shard| shard["shard"] == answer["fence"]["shard"]);
    found.expect("the answer's shard")["owner"] == host + 1
}

/// New subscribers until one got something from the host itself, with this durability.
fn own(hosts: &Hosts, host: usize, prefix: &str, durability: &str) -> (String, Value) {
    let mut line = 0;
    wait_for("an own answer of this durability", || {
        line += 1;
        let name = format!("{prefix}-{line}");
        let answer = hosts.allocate(host, &name);
        (answer["durability"] == durability && is_of(hosts, host as u64, &answer)).then_some((name, answer))
    })
}

fn renew(hosts: &Hosts, host: usize, name: &str) -> Value {
    let path = format!("/api/v1/allocations/{name}/renew?pool_id=homes");
    wait_for("a lease is renewed", || {
        let (status, renewed) = hosts.post(host, &path, &json!({}));
        (status == 200).then_some(renewed)
    })
}

#[test]
fn what_was_answered_as_peer_outlives_the_host_that_answered() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    assert_eq!(hosts.get(2, "/api/v1/pools/homes").1["ack"], "default");
    own(&hosts, 0, "first", "peer");
    let mut kept = BTreeMap::new();
    for line in 0..40 {
        let name = format!("line-{line}");
        let answer = hosts.allocate(0, &name);
        if answer["durability"] == "peer" {
            kept.insert(name, address(&answer));
        }
    }
    let (name, last) = own(&hosts, 0, "last", "peer");
    // At once, before the gossip of it could be pulled by who missed it.
    hosts.kill(0);
    kept.insert(name, address(&last));
    for (name, ip) in &kept {
        let path = format!("/api/v1/allocations/{name}?pool_id=homes");
        wait_for("the hosts that are left show what was answered", || {
            let shows = |host: usize| {
                let (status, held) = hosts.get(host, &path);
                status == 200 && held["ip"] == ip.as_str()
            };
            (shows(1) && shows(2)).then_some(())
        });
    }
}

#[test]
fn nobody_waits_in_vain_for_hosts_that_do_nothing() {
    let hosts = Hosts::formed(3);
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/18", "lease": "1h"}));
    let (name, _) = own(&hosts, 0, "first", "peer");
    assert_eq!(renew(&hosts, 0, &name)["durability"], "peer");
    let in_vain = || hosts.daemon(0).metric("nexus_answers_acknowledged_total{reached=\"local\"}").expect("a counter");
    let before = in_vain();
    for other in [1, 2] {
        hosts.daemon(other).freeze();
    }
    for _ in 0..3 {
        assert_eq!(renew(&hosts, 0, &name)["durability"], "local");
    }
    assert!(in_vain() >= before + 3.0);
    for other in [1, 2] {
        hosts.daemon(other).go_on();
    }
    wait_for("the others are waited for again", || (renew(&hosts, 0, &name)["durability"] == "peer").then_some(()));
}

#[test]
fn a_pool_chooses_what_its_answers_wait_for() {
    let hosts = Hosts::formed(2);
    hosts.create(1, &json!({"id": "homes", "cidr": "100.64.0.0/18", "ack": "local"}));
    let counted = |level: &str| {
        let line = format!("nexus_answers_acknowledged_total{{reached=\"{level}\"}}");
        (0..2).map(|host| hosts.daemon(host).metric(&line).expect("a counter")).sum::<f64>()
    };
    for line in 0..20 {
        assert_eq!(hosts.allocate(line % 2, &format!("line-{line}"))["durability"], "local");
    }
    assert!(counted("peer") + counted("local") < 0.5, "an answer waited");
    let (status, answer) = hosts.daemon(0).call(
        "PUT",
        "/api/v1/pools/homes",
        Some(&json!({"id": "homes", "cidr": "100.64.0.0/18", "ack": "peer"})),
    );
    assert_eq!((status, &answer["ack"]), (200, &json!("peer")), "{answer}");
    own(&hosts, 0, "peer", "peer");
}

#[test]
fn a_host_that_is_alone_answers_local_whatever_its_pool_asks_for() {
    let dir = directory();
    let daemon = Start::on(dir.path()).run();
    let made = daemon.post("/api/v1/pools", &json!({"id": "homes", "cidr": "100.64.0.0/24", "ack": "peer"}));
    assert_eq!((made.0, &made.1["ack"]), (201, &json!("peer")), "{}", made.1);
    let (status, answer) = daemon.post("/api/v1/allocate", &json!({"pool_id": "homes", "subscriber_id": "line-1"}));
    assert_eq!((status, &answer["durability"]), (201, &json!("local")), "{answer}");
    let (status, shown) = daemon.get("/api/v1/allocations/line-1?pool_id=homes");
    assert_eq!((status, &shown["durability"]), (200, &Value::Null), "{shown}");
    let wrong = daemon.post("/api/v1/pools", &json!({"id": "b", "cidr": "10.0.0.0/24", "ack": "quorum"}));
    assert_eq!(wrong.0, 400, "{}", wrong.1);
}
