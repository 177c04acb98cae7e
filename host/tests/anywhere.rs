//! Any host of a cluster may be asked, about what another one answered a moment ago, too; also while one of them is away, has no
//! room on its disk, or is cut off from the ledger.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::BTreeMap;

use common::hosts::{Hosts, address, distinct};
use common::wait_for;
use serde_json::{Value, json};

#[test]
fn what_one_host_answered_is_known_renewed_and_released_at_any_other_at_once() {
    let hosts = Hosts::formed(3);
    for round in 0..90 {
        let (first, then, last) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        // A pool that another host made a moment ago.
        let pool = format!("pool-{}", round / 10);
        if round % 10 == 0 {
            let range = format!("10.{}.0.0/22", round / 10);
            let lease = json!({"default": "1h", "min": "1m", "max": "1d"});
            let (status, answer) =
                hosts.post(last, "/api/v1/pools", &json!({"id": pool, "cidr": range, "lease": lease}));
            assert_eq!(status, 201, "{answer}");
        }
        let subscriber = format!("line-{round}");
        let asked = json!({"pool_id": pool, "subscriber_id": subscriber});
        let granted =
            wait_for("an owner has heard of the pool", || match hosts.post(first, "/api/v1/allocate", &asked) {
                (201, answer) => Some(answer),
                (503, answer) => {
                    assert_ne!(answer["reason"], "RESOURCE_EXHAUSTED", "{answer}");
                    None
                }
                other => panic!("{other:?}"),
            });
        let path = format!("/api/v1/allocations/{subscriber}");
        let (status, answer) = hosts.post(then, &format!("{path}/renew"), &json!({}));
        assert_eq!(status, 200, "round {round}: {answer}");
        let (status, answer) = hosts.post(then, "/api/v1/allocate", &asked);
        assert_eq!((status, address(&answer)), (200, address(&granted)), "round {round}");
        let (status, answer) = hosts.daemon(last).call("DELETE", &format!("{path}?pool_id={pool}"), None);
        assert_eq!(status, 204, "round {round}: {answer}");
        // What is not there is not there, when everybody was asked.
        assert_eq!(hosts.daemon(first).call("DELETE", &path, None).0, 404);
    }
}

#[test]
fn a_pool_that_was_made_again_under_its_name_is_known_to_who_was_away() {
    let mut hosts = Hosts::formed(3);
    let pool = json!({"id": "homes", "cidr": "100.64.0.0/20"});
    hosts.create(0, &pool);
    // Its shards go to the others, or a deletion would wait for it.
    let away = 2;
    assert_eq!(hosts.post(0, "/api/v1/cluster/members/core-3/drain", &json!({})).0, 200);
    wait_for("it holds nothing", || (hosts.shards(0, "core-3") == 0).then_some(()));
    hosts.stop(away);
    assert_eq!(hosts.daemon(0).call("DELETE", "/api/v1/pools/homes", None).0, 204);
    assert_eq!(hosts.post(0, "/api/v1/pools", &pool).0, 201);
    let given = hosts.allocate(0, "line");
    for _ in 0..2 {
        hosts.start(away);
        let again = wait_for("it has heard of it", || {
            let asked = json!({"pool_id": "homes", "subscriber_id": "line"});
            let (status, answer) = hosts.post(away, "/api/v1/allocate", &asked);
            (status == 200).then_some(answer)
        });
        assert_eq!(address(&again), address(&given));
        assert_eq!(hosts.get(away, "/api/v1/pools").1["count"], 1);
        hosts.stop(away);
    }
}

#[test]
fn a_release_that_waited_for_a_stopped_host_is_not_carried_out_when_it_goes_on() {
    let hosts = Hosts::formed(3);
    let lease = json!({"default": "1h", "min": "1m", "max": "1d"});
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/20", "lease": lease}));
    let (asked, stopped) = (0, 2);
    wait_for("it owns a share", || (hosts.shards(asked, "core-3") > 0).then_some(()));
    let subscribers: Vec<String> = (0..60).map(|number| format!("line-{number}")).collect();
    let held: BTreeMap<&String, String> =
        subscribers.iter().map(|name| (name, address(&hosts.allocate(asked, name)))).collect();
    hosts.daemon(stopped).freeze();
    let unheard: Vec<&String> = std::thread::scope(|scope| {
        let ask = |name| (name, hosts.daemon(asked).call("DELETE", &format!("/api/v1/allocations/{name}"), None));
        let asking: Vec<_> = subscribers.iter().map(|name| scope.spawn(move || ask(name))).collect();
        let answers = asking.into_iter().map(|one| one.join().expect("it is answered"));
        let unheard = answers.filter_map(|(name, (status, answer))| match status {
            204 => None,
            503 => Some(name),
            _ => panic!("{name}: {status} {answer}"),
        });
        unheard.collect()
    });
    hosts.daemon(stopped).go_on();
    assert!(!unheard.is_empty(), "something was held by the host that stood still");
    for name in &unheard {
        let body = json!({"pool_id": "homes", "subscriber_id": name});
        let (status, answer) = hosts.post(stopped, "/api/v1/allocate", &body);
        assert_eq!((status, &address(&answer)), (200, &held[name]), "it still held what it had: {answer}");
    }
    // What came over the same way since was carried out, and nothing from before.
    for name in &unheard {
        let path = format!("/api/v1/allocations/{name}/renew");
        let (status, answer) = wait_for("they are in touch again", || {
            let answer = hosts.post(asked, &path, &json!({}));
            (answer.0 != 503).then_some(answer)
        });
        assert_eq!(status, 200, "{answer}");
    }
}

/// What is held in shards of the first host: by lease, and outright.
fn own_by_kind(hosts: &Hosts, held: &[Value]) -> [Vec<String>; 2] {
    let (_, ring) = hosts.get(0, "/api/v1/hashring");
    let shards = ring["pools"][0]["shards"].as_array().expect("shards").clone();
    ["leased", "escrow"].map(|kind| {
        let own = |answer: &&Value| {
            let shard = shards.iter().find(|shard| shard["shard"] == answer["fence"]["shard"]).expect("a shard");
            shard["owner"] == 1 && shard["kind"] == kind
        };
        held.iter().filter(own).map(|answer| answer["subscriber_id"].as_str().expect("a name").to_owned()).collect()
    })
}

#[test]
fn a_host_without_a_node_lease_decides_nothing_in_leased_shards_and_serves_from_what_is_its_own() {
    let hosts = Hosts::formed_with(3, &["--node-lease", "5s"]);
    let lease = json!({"default": "1h", "min": "1m", "max": "1d"});
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/18", "lease": lease, "strategy": "random"}));
    wait_for("shards are where they should be", || {
        let (_, ring) = hosts.get(0, "/api/v1/hashring");
        let shards = ring["pools"][0]["shards"].as_array()?.clone();
        shards.iter().all(|shard| shard["owner"] == shard["wished"]).then_some(())
    });
    let held: Vec<Value> = (0..60).map(|number| hosts.allocate(0, &format!("line-{number}"))).collect();
    let [leased, outright] = own_by_kind(&hosts, &held);
    assert!(!leased.is_empty() && !outright.is_empty(), "{held:?}");
    hosts.daemon(1).freeze();
    hosts.daemon(2).freeze();
    let renew = |name: &str| hosts.post(0, &format!("/api/v1/allocations/{name}/renew"), &json!({}));
    wait_for("the node lease is over", || (renew(&leased[0]).0 == 503).then_some(()));
    for name in &leased {
        let (status, answer) = renew(name);
        assert_eq!((status, &answer["reason"]), (503, &json!("SPACE_WITHHELD")), "{answer}");
        let (status, answer) = hosts.daemon(0).call("DELETE", &format!("/api/v1/allocations/{name}"), None);
        assert_eq!(status, 503, "{answer}");
    }
    for name in &outright {
        assert_eq!(renew(name).0, 200);
    }
    // Who asks for what he holds there gets another one.
    let asked = json!({"pool_id": "homes", "subscriber_id": leased[0]});
    let other = wait_for("it is served from what is its own", || {
        let (status, answer) = hosts.post(0, "/api/v1/allocate", &asked);
        (status == 201).then_some(answer)
    });
    let former = held.iter().find(|answer| answer["subscriber_id"] == leased[0].as_str()).expect("it was held");
    assert_eq!(other["supersedes"]["resource"], former["resource"], "{other}");
    hosts.daemon(1).go_on();
    hosts.daemon(2).go_on();
    for name in &leased[1..] {
        wait_for("it has a lease again", || (renew(name).0 == 200).then_some(()));
    }
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn a_host_without_room_on_its_disk_has_the_others_serve() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/20"}));
    hosts.stop(2);
    hosts.flags = vec!["--min-free", "1000TiB"];
    hosts.start(2);
    wait_for("it has no room, and the others see it", || {
        let full = hosts.warnings(2).contains("disk is full");
        let seen = hosts.status(0)["members"].as_array()?.iter().all(|member| member["reachable"] == true);
        (full && seen).then_some(())
    });
    let mut answered = BTreeMap::new();
    for line in 0..60 {
        let name = format!("line-{line}");
        let asked = json!({"pool_id": "homes", "subscriber_id": name});
        let answer = wait_for("another host has room", || match hosts.post(line % 3, "/api/v1/allocate", &asked) {
            (200 | 201, answer) => Some(answer),
            // Until the home that has no room says so.
            (503, _) => None,
            other => panic!("{other:?}"),
        });
        answered.insert(name, address(&answer));
    }
    distinct(&answered);
}

#[test]
fn a_shard_is_moved_also_where_nobody_writes() {
    // Nobody asks around by himself.
    let hosts = Hosts::formed_with(2, &["--rebroadcast-interval", "1h"]);
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/20"}));
    wait_for("both have shards", || {
        (0..2).all(|host| hosts.shards(0, &format!("core-{}", host + 1)) > 0).then_some(())
    });
    hosts.allocate_many(0, 0..50);
    hosts.allocate_many(1, 0..50);
    let (_, ring) = hosts.get(0, "/api/v1/hashring");
    let listed = ring["pools"][0]["shards"].as_array().expect("shards");
    let of = |owner: u64| listed.iter().filter(move |shard| shard["owner"] == owner);
    // There and back from who has more: nobody has so few or so many that it is moved by itself.
    let giver = usize::from(of(2).count() > of(1).count());
    let one = of(giver as u64 + 1).next().expect("it has some")["shard"].clone();
    for from in [giver, 1 - giver, giver, 1 - giver] {
        let to = format!("core-{}", 2 - from);
        let order = json!({"pool_id": "homes", "shards": [one], "to": to});
        wait_for("the order is carried out", || {
            let (status, answer) = hosts.post(from, "/api/v1/cluster/shards:move", &order);
            assert!(matches!(status, 200 | 503), "to {to}: {answer}");
            (status == 200).then_some(())
        });
        wait_for("both know", || {
            let (_, ring) = hosts.get(1 - from, "/api/v1/hashring");
            let shards = ring["pools"][0]["shards"].as_array()?;
            let owner = &shards.iter().find(|shard| shard["shard"] == one)?["owner"];
            (*owner == 2 - from as u64).then_some(())
        });
    }
}

#[test]
fn shards_that_cannot_be_moved_are_handed_out_from_as_before() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/20"}));
    wait_for("every host has shards", || {
        (0..3).all(|host| hosts.shards(0, &format!("core-{}", host + 1)) > 0).then_some(())
    });
    wait_for("all vote", || {
        let status = hosts.status(0);
        status["members"].as_array()?.iter().all(|member| member["vote"] == "voter").then_some(())
    });
    hosts.kill(1);
    hosts.kill(2);
    wait_for("the majority is missed", || hosts.warnings(0).contains("no majority").then_some(()));
    let (status, ring) = hosts.get(0, "/api/v1/hashring");
    assert_eq!(status, 200, "{ring}");
    let listed = ring["pools"][0]["shards"].as_array().expect("shards");
    let mine = listed.iter().filter(|shard| shard["owner"] == 1 && shard["kind"] == "escrow");
    let shards: Vec<&Value> = mine.map(|shard| &shard["shard"]).collect();
    assert!(!shards.is_empty(), "{ring}");
    let order = json!({"pool_id": "homes", "shards": shards, "to": "core-2"});
    let (status, answer) = hosts.post(0, "/api/v1/cluster/shards:move", &order);
    assert_eq!((status, &answer["reason"]), (503, &json!("CLUSTER_UNAVAILABLE")), "{answer}");
    let mut answered = BTreeMap::new();
    for line in 0..20 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(0, &name)));
    }
    distinct(&answered);
}
