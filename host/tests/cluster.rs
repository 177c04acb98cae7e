//! Real daemons that share pools: any of them serves, none forgets, nothing is held twice.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Mutex;

use common::hosts::{Hosts, address, distinct, pool};
use common::{Daemon, Start, call, directory, wait_for};
use serde_json::{Value, json};

#[test]
fn three_hosts_share_a_pool_and_one_subscriber_gets_one_address_whomever_he_asks() {
    let hosts = Hosts::formed(3);
    hosts.create(1, &pool());
    let answered = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for host in 0..3 {
            let (hosts, answered) = (&hosts, &answered);
            scope.spawn(move || {
                // The same subscribers at all three hosts at once.
                for line in 0..60 {
                    let name = format!("line-{line}");
                    let ip = address(&hosts.allocate(host, &name));
                    let former = answered.lock().expect("no thread panicked").insert(name.clone(), ip.clone());
                    assert!(former.is_none_or(|former| former == ip), "{name} has two addresses");
                }
            });
        }
    });
    let mut answered = answered.into_inner().expect("no thread panicked");
    distinct(&answered);
    hosts.await_held(&answered);
    // Every host hands out: the pool's shards are dealt out.
    let owners: BTreeSet<u64> = hosts.status(0)["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter(|member| member["shards"].as_u64().is_some_and(|shards| shards > 0))
        .map(|member| member["member"].as_u64().expect("a number"))
        .collect();
    assert_eq!(owners.len(), 3);
    // What is released at one host is free at all, whoever handed it out.
    for line in 0..20 {
        let name = format!("line-{line}");
        let path = format!("/api/v1/allocations/{name}?pool_id=homes");
        let released = wait_for("a release is decided", || {
            let (status, _) = hosts.daemon(line % 3).call("DELETE", &path, None);
            (status != 503).then_some(status)
        });
        assert_eq!(released, 204, "{name}");
        answered.remove(&name);
    }
    hosts.await_held(&answered);
    // A pool in use is not removed; forced it is gone everywhere.
    assert_eq!(hosts.daemon(2).call("DELETE", "/api/v1/pools/homes", None).0, 409);
    assert_eq!(hosts.daemon(2).call("DELETE", "/api/v1/pools/homes?force=true", None).0, 204);
    for host in 0..3 {
        wait_for("the pool is gone", || (hosts.get(host, "/api/v1/pools/homes").0 == 404).then_some(()));
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
        assert_eq!(hosts.daemon(host).metric("nexus_nodes_total{role=\"core\",state=\"up\"}"), Some(3.0));
        assert_eq!(hosts.daemon(host).metric("nexus_ledger_majority"), Some(1.0));
        assert!(hosts.daemon(host).metric("nexus_clset_heard_total") > Some(0.0));
        assert!(hosts.daemon(host).metric("nexus_net_events_total{event=\"requests_answered\"}") > Some(0.0));
    }
}

#[test]
fn a_killed_host_is_missed_by_nobody_and_comes_back_with_everything() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    for line in 0..60 {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(line % 3, &name));
        answered.insert(name, ip);
    }
    hosts.kill(2);
    // New subscribers are served without it, at once or after a repeat.
    for line in 60..120 {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(line % 2, &name));
        answered.insert(name, ip);
    }
    distinct(&answered);
    // Two of three decide about pools, too.
    let (status, answer) = hosts.post(0, "/api/v1/pools", &json!({"id": "tags", "type": "vlan", "range": "100-200"}));
    assert_eq!(status, 201, "{answer}");
    hosts.start(2);
    hosts.await_members(2, 3);
    hosts.await_held(&answered);
    wait_for("the host has the pool that was made without it", || {
        (hosts.get(2, "/api/v1/pools/tags").0 == 200).then_some(())
    });
    for (name, ip) in &answered {
        assert_eq!(&address(&hosts.allocate(2, name)), ip, "{name}");
    }
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn who_is_asked_for_by_a_host_that_has_fallen_silent_is_served_without_it() {
    let hosts = Hosts::formed_with(3, &["--response-deadline", "30s"]);
    hosts.create(0, &pool());
    let known = hosts.allocate_many(0, 0..30);
    // Its connections stand, and nobody answers there.
    hosts.daemon(2).freeze();
    let answered = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for line in 0..30 {
            let (hosts, answered) = (&hosts, &answered);
            scope.spawn(move || {
                let name = format!("line-{line}");
                let asked = json!({"pool_id": "homes", "subscriber_id": name});
                // Asked for once.
                let (status, answer) = hosts.post(line % 2, "/api/v1/allocate", &asked);
                assert_eq!(status, 201, "{answer}");
                answered.lock().expect("no thread panicked").insert(name, address(&answer));
            });
        }
        for (name, ip) in &known {
            let hosts = &hosts;
            scope.spawn(move || {
                let asked = json!({"pool_id": "homes", "subscriber_id": name});
                let (status, answer) = hosts.post(0, "/api/v1/allocate", &asked);
                // What that host holds cannot be confirmed now.
                let is_other = status == 201 && answer["supersedes"].is_object() && address(&answer) != *ip;
                assert!(is_other || (status == 200 && address(&answer) == *ip), "{ip}: {status} {answer}");
            });
        }
    });
    let answered = answered.into_inner().expect("no thread panicked");
    distinct(&answered);
    // What waits in its buffers is not decided after all.
    hosts.daemon(2).go_on();
    hosts.allocate(2, "later");
    let lines: BTreeSet<(String, String)> = answered.into_iter().collect();
    for host in 0..3 {
        wait_for("each has what it was answered and nothing else", || {
            let held = hosts.rows(host).into_iter().filter(|(name, _)| name.starts_with("line-"));
            (held.collect::<BTreeSet<_>>() == lines).then_some(())
        });
    }
}

#[test]
fn a_host_that_joins_later_gets_its_share_and_one_that_leaves_gives_everything_back() {
    let mut hosts = Hosts::new(2);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    for line in 0..30 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(0, &name)));
    }
    hosts.start(1);
    assert_eq!(hosts.post(1, "/api/v1/cluster/join", &json!({})).0, 200);
    hosts.await_members(1, 2);
    wait_for("it is ready", || (hosts.get(1, "/ready").0 == 200).then_some(()));
    assert_eq!(hosts.held(1), answered, "who is ready knows what there was");
    let shards = |hosts: &Hosts, member: u64| {
        let status = hosts.status(0);
        let members = status["members"].as_array().expect("members").clone();
        let found = members.into_iter().find(|found| found["member"] == member);
        found.map_or(0, |found| found["shards"].as_u64().expect("a number"))
    };
    wait_for("the second host has its share", || (shards(&hosts, 2) >= 24).then_some(()));
    hosts.await_held(&answered);
    for line in 30..90 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(1, &name)));
    }
    distinct(&answered);
    hosts.await_held(&answered);
    // It leaves: everything in its shards is the first one's then.
    let (status, answer) = hosts.post(1, "/api/v1/cluster/leave", &json!({}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(shards(&hosts, 2), 0);
    for (name, ip) in &answered {
        assert_eq!(&address(&hosts.allocate(0, name)), ip, "{name}");
    }
    // Who has left says so, and serves nobody who goes by that.
    let reason = "is no member of its cluster any more";
    wait_for("it is not ready", || hosts.get(1, "/ready").1.to_string().contains(reason).then_some(()));
    let (status, answer) = hosts.post(1, "/api/v1/cluster/join", &json!({}));
    assert!(status == 409 && answer["error"].to_string().contains(reason), "{answer}");
    let (status, answer) = hosts.post(0, "/api/v1/cluster/leave", &json!({}));
    assert!(status == 409 && answer["error"].to_string().contains("last core host"), "{answer}");
    assert_eq!(hosts.status(0)["members"][0]["draining"], false);
}

/// Sends a request whose answer nobody will read, once what is given is dropped.
fn asks_and_goes(daemon: &Daemon, method: &str, path: &str, body: &str) -> TcpStream {
    let address = daemon.rest.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("the daemon listens");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).expect("written");
    stream
}

#[test]
fn a_deletion_and_a_shrinking_end_although_nobody_waits_for_them() {
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    hosts.create(0, &json!({"id": "gone", "type": "vlan", "range": "100-600"}));
    let held = BTreeMap::from([("line".to_owned(), address(&hosts.allocate(0, "line")))]);
    hosts.await_held(&held);
    hosts.kill(2);
    let closing = |hosts: &Hosts| {
        let (_, ring) = hosts.get(1, "/api/v1/hashring");
        let pools = ring["pools"].as_array().expect("pools");
        pools.iter().filter(|pool| pool["shards"].to_string().contains("closing")).count()
    };
    let smaller = json!({"id": "homes", "cidr": "100.64.0.0/17"});
    let asked = [
        asks_and_goes(hosts.daemon(0), "DELETE", "/api/v1/pools/gone", ""),
        asks_and_goes(hosts.daemon(0), "PUT", "/api/v1/pools/homes", &smaller.to_string()),
    ];
    wait_for("both have begun", || (closing(&hosts) == 2).then_some(()));
    drop(asked);
    wait_for("it is told", || hosts.warnings(1).contains("pool gone is being deleted or shrunk").then_some(()));
    hosts.start(2);
    wait_for("nothing closes any more", || (closing(&hosts) == 0).then_some(()));
    wait_for("the pool is gone", || (hosts.get(1, "/api/v1/pools/gone").0 == 404).then_some(()));
    wait_for("the other one can be changed", || {
        let edit = json!({"id": "homes", "cidr": "100.64.0.0/17", "metadata": {"by": "test"}});
        (hosts.daemon(1).call("PUT", "/api/v1/pools/homes", Some(&edit)).0 == 200).then_some(())
    });
    hosts.await_held(&held);
}

#[test]
fn what_a_lost_host_leased_is_taken_over_and_handed_out_again_when_nobody_can_hold_it() {
    let mut hosts = Hosts::formed_with(3, &["--node-lease", "5s", "--lease-grace", "1s"]);
    // All over its shards, leased ones and others.
    // Nobody is told by whoever wants to know that he has it.
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/16", "strategy": "random", "ack": "local"}));
    let mut answered = BTreeMap::new();
    for line in 0..60 {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(line % 3, &name));
        answered.insert(name, ip);
    }
    hosts.await_held(&answered);
    let member = |hosts: &Hosts, node: &str| {
        let status = hosts.status(0);
        let members = status["members"].as_array().expect("members").clone();
        members.into_iter().find(|found| found["node_id"] == node).expect("a member")
    };
    hosts.kill(2);
    // More than one answer between hosts carries. What each says after the takeover rests on all that the other said before.
    let mut meanwhile = BTreeMap::new();
    let mut crowd = |hosts: &Hosts, numbers: Range<usize>| {
        for host in 0..2 {
            meanwhile.extend(hosts.allocate_many(host, numbers.clone()));
        }
    };
    crowd(&hosts, 0..3_000);
    wait_for("the lost host's leased shards are others'", || {
        let lost = member(&hosts, "core-3");
        (lost["deposed"] == true && lost["shards"] == lost["escrow"]).then_some(())
    });
    // What it had handed out there is answered for by its new owners; its escrow is its own.
    let answers = |(name, ip): (&String, &String)| {
        // By name, or another one would be given in place of what is still the lost host's.
        let body = json!({"pool_id": "homes", "subscriber_id": name, "ip": ip}).to_string();
        match call(&format!("{}/api/v1/allocate", hosts.daemon(0).rest), "POST", &[], Some(body)) {
            (200, answer) => {
                assert_eq!(&address(&answer), ip, "{name}");
                true
            }
            (503, _) => false,
            other => panic!("{name}: {other:?}"),
        }
    };
    wait_for("all but its escrow is answered", || {
        (answered.iter().filter(|line| answers(*line)).count() > 40).then_some(())
    });
    let quarantined = |hosts: &Hosts| {
        let (status, ring) = hosts.get(0, "/api/v1/hashring");
        assert_eq!(status, 200, "{ring}");
        let shards = ring["pools"][0]["shards"].as_array().expect("shards").clone();
        shards.iter().filter(|shard| shard["state"] == "quarantined").count()
    };
    assert!(quarantined(&hosts) > 0);
    crowd(&hosts, 3_000..6_000);
    // It comes back: nothing it wrote is missing any more, and every shard is in use.
    hosts.start(2);
    wait_for("the quarantine is over", || (quarantined(&hosts) == 0).then_some(()));
    for (name, ip) in &answered {
        assert_eq!(&address(&hosts.allocate(1, name)), ip, "{name}");
    }
    answered.extend(meanwhile);
    distinct(&answered);
    hosts.await_held(&answered);
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn a_host_that_was_alone_grows_into_a_cluster_with_all_it_knew() {
    let mut hosts = Hosts::new(2);
    let dir = hosts.dir(0).to_owned();
    let alone = Start::on(&dir).with(&["--compact-at", "64KiB"]).run();
    assert_eq!(alone.post("/api/v1/pools", &pool()).0, 201);
    let mut answered = BTreeMap::new();
    for round in 0..8 {
        let requests: Vec<Value> =
            (0..250).map(|line| json!({"pool_id": "homes", "subscriber_id": format!("line-{round}-{line}")})).collect();
        let (status, answer) = alone.post("/api/v1/allocations:batch", &json!({"requests": requests}));
        assert_eq!(status, 200, "{answer}");
        for result in answer["results"].as_array().expect("results") {
            let found = &result["allocation"];
            answered.insert(found["subscriber_id"].as_str().expect("a name").to_owned(), address(found));
        }
    }
    assert_eq!(answered.len(), 2_000);
    // A file of the log that is not written any more goes into a checkpoint.
    assert!(alone.stop().success());
    let alone = Start::on(&dir).with(&["--compact-at", "64KiB"]).run();
    wait_for("a checkpoint lets go of the log", || {
        let mut names = std::fs::read_dir(&dir).ok()?.flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("table-")).then_some(())
    });
    assert!(alone.stop().success());
    // Now it has a peer: its pools are the cluster's first ones.
    hosts.start(0);
    let (status, answer) = hosts.post(0, "/api/v1/cluster/init", &json!({}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(hosts.held(0), answered);
    hosts.start(1);
    assert_eq!(hosts.post(1, "/api/v1/cluster/join", &json!({})).0, 200);
    hosts.await_members(1, 2);
    hosts.await_held(&answered);
    wait_for("the new host is ready", || (hosts.get(1, "/ready").0 == 200).then_some(()));
    for line in 0..20 {
        let name = format!("line-3-{line}");
        assert_eq!(address(&hosts.allocate(1, &name)), answered[&name], "{name}");
        let name = format!("new-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(1, &name)));
    }
    distinct(&answered);
    hosts.await_held(&answered);
}

#[test]
fn hosts_that_start_together_form_nothing_by_themselves_and_two_clusters_do_not_meet() {
    let mut hosts = Hosts::new(3);
    for host in 0..3 {
        hosts.start(host);
    }
    for host in 0..3 {
        assert_eq!(hosts.status(host)["standing"], "waiting");
        assert_eq!(hosts.get(host, "/ready").0, 503);
        let (status, answer) = hosts.post(host, "/api/v1/pools", &pool());
        assert_eq!(status, 503, "{answer}");
    }
    // All at the same moment: one forms the ledger.
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let init = |host: usize| hosts.post(host, "/api/v1/cluster/init", &json!({}));
        let asked: Vec<_> = (0..3).map(|host| scope.spawn(move || init(host))).collect();
        asked.into_iter().map(|answer| answer.join().expect("it answers")).collect()
    });
    let formed: Vec<usize> = (0..3).filter(|host| answers[*host].0 == 200).collect();
    let [first] = formed[..] else { panic!("{answers:?}") };
    assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 409)), "{answers:?}");
    assert_eq!(hosts.get(first, "/ready").0, 200);
    // Once is enough, on any host.
    for host in 0..3 {
        let refused = hosts.post(host, "/api/v1/cluster/init", &json!({}));
        assert_eq!(refused.0, 409, "{}", refused.1);
        let named = format!("core-{}", first + 1);
        assert!(
            host == first || refused.1["error"].as_str().is_some_and(|error| error.contains(&named)),
            "{}",
            refused.1
        );
    }
}

#[test]
fn hosts_that_start_and_are_told_to_form_at_the_same_moment_never_form_two() {
    for round in 0..5 {
        let mut hosts = Hosts::new(3);
        let begun: Vec<(Daemon, (u16, Value))> = std::thread::scope(|scope| {
            let hosts = &hosts;
            let form = |host: usize| {
                let daemon = hosts.start_of(host).run();
                let answer = daemon.call("POST", "/api/v1/cluster/init", Some(&json!({})));
                (daemon, answer)
            };
            let asked: Vec<_> = (0..3).map(|host| scope.spawn(move || form(host))).collect();
            asked.into_iter().map(|host| host.join().expect("it answers")).collect()
        });
        let (daemons, answers): (Vec<Daemon>, Vec<(u16, Value)>) = begun.into_iter().unzip();
        daemons.into_iter().enumerate().for_each(|(host, daemon)| hosts.put_daemon(host, daemon));
        let formed = answers.iter().filter(|(status, _)| *status == 200).count();
        assert!(formed <= 1, "round {round}: {answers:?}");
        // Whoever is told again does it, if nobody did.
        let members: Vec<usize> = (0..3).filter(|host| hosts.status(*host)["standing"] == "member").collect();
        let first = members.first().copied().unwrap_or_default();
        if members.is_empty() {
            wait_for("it is formed", || (hosts.post(first, "/api/v1/cluster/init", &json!({})).0 == 200).then_some(()));
        }
        for host in (0..3).filter(|host| *host != first) {
            let (status, answer) = hosts.post(host, "/api/v1/cluster/join", &json!({}));
            assert_eq!(status, 200, "round {round}: {answer}");
            assert_eq!(answer["cluster_id"], hosts.status(first)["cluster_id"], "round {round}");
        }
    }
}

#[test]
fn two_clusters_with_one_key_are_told_and_nobody_changes_over_silently() {
    let mut hosts = Hosts::new(2);
    hosts.start(1);
    let unknown = hosts.post(1, "/api/v1/allocate", &json!({"pool_id": "homes", "subscriber_id": "line"}));
    assert_eq!((unknown.0, &unknown.1["reason"]), (503, &json!("NOT_IN_CLUSTER")));
    assert_eq!(hosts.get(1, "/api/v1/allocations/line").0, 503);
    assert_eq!(hosts.post(1, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.stop(1);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.start(1);
    for host in 0..2 {
        wait_for("both tell it", || hosts.warnings(host).contains("has this one's key").then_some(()));
    }
    let (status, answer) = hosts.post(1, "/api/v1/cluster/join", &json!({"address": "127.0.0.1:9"}));
    assert!(status == 409 && answer["error"].to_string().contains("a cluster of its own already"), "{answer}");
    // Nor is its directory another host's.
    hosts.stop(1);
    let output = hosts.start_of(1).named("other").command().output().expect("it runs and ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("core-2") && told.contains("other"), "{told}");
}

#[test]
fn a_stranger_with_another_key_is_not_let_in() {
    let mut hosts = Hosts::new(2);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    hosts.key = "another key of at least sixteen characters";
    hosts.start(1);
    let (status, answer) = hosts.post(1, "/api/v1/cluster/join", &json!({}));
    assert!(status == 503 && answer["error"].to_string().contains("has another cluster key"), "{status} {answer}");
    assert_eq!(hosts.status(0)["members"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_host_that_comes_back_with_an_older_state_of_its_disk_does_not_serve() {
    let mut hosts = Hosts::formed(2);
    hosts.create(0, &pool());
    let mut answered = BTreeMap::new();
    let mut allocate = |hosts: &Hosts, lines: std::ops::Range<u32>| {
        for line in lines {
            let name = format!("line-{line}");
            answered.insert(name.clone(), address(&hosts.allocate(1, &name)));
        }
        hosts.await_held(&answered);
    };
    allocate(&hosts, 0..20);
    hosts.kill(1);
    let old = directory();
    let contents = format!("{}/.", hosts.dir(1).display());
    let copied = std::process::Command::new("cp").arg("-a").arg(contents).arg(old.path()).status();
    assert!(copied.expect("cp runs").success());
    hosts.start(1);
    hosts.await_members(1, 2);
    allocate(&hosts, 20..60);
    hosts.kill(1);
    let latest = hosts.put_dir(1, old);
    let output = hosts.start_of(1).command().output().expect("it runs and ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("an older state of this host's disk"), "{told}");
    // With what it had last it serves.
    drop(hosts.put_dir(1, latest));
    hosts.start(1);
    hosts.await_members(1, 2);
    hosts.await_held(&answered);
}

/// The open conflicts, as a host lists them.
fn listed(hosts: &Hosts, host: usize) -> Vec<Value> {
    let (status, page) = hosts.get(host, "/api/v1/conflicts?pool_id=homes");
    assert_eq!(status, 200, "{page}");
    page["conflicts"].as_array().expect("rows").clone()
}

/// Asks until the owner decides.
fn decided(hosts: &Hosts, host: usize, method: &str, path: &str) {
    wait_for(path, || match hosts.daemon(host).call(method, path, None) {
        (200 | 204, _) => Some(()),
        (503, _) => None,
        other => panic!("{path}: {other:?}"),
    });
}

/// All subscribers ask. Whoever has an address of a lost host is given another one, which says so: by name, both addresses.
fn given_in_place(hosts: &Hosts, answered: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let mut moved = BTreeMap::new();
    for (name, ip) in answered {
        let answer = hosts.allocate(0, name);
        if address(&answer) == *ip {
            assert!(answer.get("supersedes").is_none(), "{answer}");
            continue;
        }
        assert_eq!(answer["created"], true, "{answer}");
        assert_eq!(answer["supersedes"]["resource"], ip.as_str(), "{answer}");
        assert!(answer["supersedes"]["fence"]["epoch"].is_u64(), "{answer}");
        moved.insert(name.clone(), (ip.clone(), address(&answer)));
    }
    assert!(!moved.is_empty(), "no address was the lost host's");
    moved
}

#[test]
fn who_asks_while_his_owner_is_away_gets_another_address_and_confirms_later_that_he_uses_it() {
    let mut hosts = Hosts::formed(3);
    // All over its shards, so that some are each host's.
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/18", "strategy": "random"}));
    let mut answered = BTreeMap::new();
    for line in 0..30 {
        let name = format!("line-{line}");
        answered.insert(name.clone(), address(&hosts.allocate(line % 3, &name)));
    }
    hosts.await_held(&answered);
    hosts.kill(2);
    wait_for("the lost host is seen to be gone", || {
        let status = hosts.status(0);
        let members = status["members"].as_array()?.clone();
        members.iter().any(|member| member["node_id"] == "core-3" && member["reachable"] == false).then_some(())
    });
    let moved = given_in_place(&hosts, &answered);
    for (name, (older, newer)) in &moved {
        assert_eq!(&address(&hosts.allocate(1, name)), newer, "{name} asks again");
        // By name it is the lost host's alone.
        let body = json!({"pool_id": "homes", "subscriber_id": name, "ip": older}).to_string();
        let (status, answer) = call(&format!("{}/api/v1/allocate", hosts.daemon(1).rest), "POST", &[], Some(body));
        assert_eq!(status, 409, "{answer}");
    }
    hosts.start(2);
    hosts.await_members(2, 3);
    for host in 0..3 {
        wait_for("every host lists the conflicts", || (listed(&hosts, host).len() == moved.len()).then_some(()));
        assert_eq!(
            hosts.daemon(host).metric("nexus_clset_conflicts_open"),
            Some(f64::from(u32::try_from(moved.len()).expect("few")))
        );
        for (name, (older, newer)) in &moved {
            assert_eq!(&address(&hosts.allocate(host, name)), newer, "{name} at host {host}");
            let (status, both) = hosts.get(host, &format!("/api/v1/allocations/{name}"));
            assert_eq!((status, both["ip"].as_str()), (200, Some(newer.as_str())), "{both}");
            assert_eq!(both["allocations"][1]["ip"], older.as_str(), "{both}");
            assert_eq!(both["allocations"][1]["superseded_by"], newer.as_str(), "{both}");
        }
    }
    // It is read from the records: a host that comes back knows it.
    hosts.kill(1);
    hosts.start(1);
    hosts.await_members(1, 3);
    assert_eq!(listed(&hosts, 1), listed(&hosts, 0));
    // Half of them are confirmed by the conflict, half by a release of the older one by name.
    for (at, conflict) in listed(&hosts, 0).iter().enumerate() {
        let name = conflict["superseded"]["subscriber_id"].as_str().expect("a name");
        let (older, newer) = &moved[name];
        assert_eq!(conflict["survivor"]["ip"], newer.as_str(), "{conflict}");
        let id = conflict["id"].as_str().expect("an id");
        if at % 2 == 0 {
            decided(&hosts, at % 3, "POST", &format!("/api/v1/conflicts/{id}/confirm"));
        } else {
            decided(&hosts, at % 3, "DELETE", &format!("/api/v1/allocations/{name}?pool_id=homes&resource={older}"));
        }
        answered.insert(name.to_owned(), newer.clone());
    }
    hosts.await_held(&answered);
    for host in 0..3 {
        assert!(listed(&hosts, host).is_empty());
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_open"), Some(0.0));
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
    assert_eq!(hosts.post(0, "/api/v1/conflicts/s0-0-0/confirm", &json!({})).0, 404);
}
