//! What the operations manual tells operators to do with a cluster, done by the commands it names.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::BTreeMap;

use common::hosts::{Hosts, address, distinct};
use common::{directory, wait_for};
use serde_json::{Value, json};

/// Hosts that are lost soon, and one place more.
fn hosts() -> Hosts {
    let mut hosts = Hosts::new(4);
    hosts.flags = vec!["--node-lease", "5s", "--lease-grace", "1s"];
    for host in 0..3 {
        hosts.start(host);
    }
    done(&hosts, 0, &["cluster", "init"]);
    for host in 1..3 {
        done(&hosts, host, &["cluster", "join"]);
    }
    for host in 0..3 {
        hosts.await_members(host, 3);
    }
    hosts
}

/// Asks a host by the command; gives what it shows, or the exit code and what it says.
fn ask(hosts: &Hosts, host: usize, line: &[&str]) -> Result<Value, (i32, String)> {
    let output = common::nexus(&[&["--server", &hosts.daemon(host).grpc, "-o", "json"], line].concat(), &[]);
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
    }
    let code = output.status.code().expect("it ended by itself");
    Err((code, String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn done(hosts: &Hosts, host: usize, line: &[&str]) -> Value {
    wait_for(&line.join(" "), || match ask(hosts, host, line) {
        Ok(shown) => Some(shown),
        // Unavailable: the same command may succeed later.
        Err((6, _)) => None,
        Err((code, told)) => panic!("{line:?}: exit code {code}: {told}"),
    })
}

fn shards(hosts: &Hosts, filters: &[&str]) -> Vec<Value> {
    let shown = done(hosts, 0, &[&["shard", "list"], filters].concat());
    shown["shards"].as_array().expect("a list").clone()
}

fn member(hosts: &Hosts, seen_by: usize, node: &str) -> Value {
    let shown = done(hosts, seen_by, &["cluster", "members"]);
    let found = shown["members"].as_array().expect("a list").iter().find(|member| member["node_id"] == node).cloned();
    found.expect("a member")
}

fn all_ask(hosts: &Hosts, at: &[usize], answered: &BTreeMap<String, String>) {
    for (line, (name, ip)) in answered.iter().enumerate() {
        assert_eq!(&address(&hosts.allocate(at[line % at.len()], name)), ip, "{name}");
    }
}

/// A host that is drained, and a shard that is moved by hand.
fn drain_and_move(hosts: &Hosts) {
    let status = done(hosts, 0, &["node", "drain", "core-3", "--wait"]);
    let drained = status["members"].as_array().expect("a list").iter().find(|member| member["node_id"] == "core-3");
    assert_eq!(drained.map(|member| (&member["draining"], &member["shards"])), Some((&json!(true), &json!(0))));
    assert!(shards(hosts, &["homes", "--owner", "core-3"]).is_empty());
    done(hosts, 1, &["node", "drain", "core-3", "--undo"]);
    let enough = || (shards(hosts, &["homes", "--owner", "core-3", "--kind", "escrow"]).len() > 2).then_some(());
    wait_for("it has its share again", enough);
    let moved = shards(hosts, &["homes", "--owner", "core-2"])[0].clone();
    let (number, epoch) = (moved["shard"].to_string(), moved["epoch"].as_u64());
    let order = ["shard", "move", "homes", "--shards", &number, "--to", "core-1"];
    // Any host may be asked, also one that neither has it nor gets it.
    assert_eq!(done(hosts, 2, &order)["moved"], 1);
    let now = shards(hosts, &["homes"]).into_iter().find(|shard| shard["shard"] == moved["shard"]);
    assert!(now.as_ref().expect("it is there")["epoch"].as_u64() > epoch, "{now:?}");
    // Again is nothing.
    assert_eq!(done(hosts, 0, &order)["moved"], 0);
}

/// The last host is lost, and what it had is the first one's.
fn give_up(hosts: &mut Hosts) {
    hosts.kill(2);
    let seize = ["shard", "seize", "--from", "core-3", "--to", "core-1", "--reason", "disk lost, ticket 4711"];
    let remove = ["cluster", "remove", "core-3", "--reason", "disk lost, ticket 4712"];
    // Not while it may be alive.
    let (code, told) = ask(hosts, 0, &seize).expect_err("it is not deposed yet");
    assert!(matches!(code, 4 | 6), "{code} {told}");
    let lost = shards(hosts, &["homes", "--owner", "core-3", "--kind", "escrow"])[0]["shard"].to_string();
    let order = ["shard", "move", "homes", "--shards", &lost, "--to", "core-1"];
    let (code, told) = ask(hosts, 0, &order).expect_err("nobody there gives it away");
    assert!(code == 6 && told.contains("core-3"), "{code} {told}");
    wait_for("its leased shards are others'", || {
        let lost = member(hosts, 1, "core-3");
        (lost["deposed"] == true && lost["shards"] == lost["escrow"]).then_some(())
    });
    let escrow = shards(hosts, &["--owner", "core-3"]).len();
    let (code, told) = ask(hosts, 0, &remove).expect_err("it holds escrow");
    assert!(code == 4 && told.contains("escrow"), "{code} {told}");
    assert_eq!(done(hosts, 1, &seize)["seized"], escrow);
    assert!(shards(hosts, &["--owner", "core-3"]).is_empty());
    // Again is nothing.
    assert_eq!(done(hosts, 1, &seize)["seized"], 0);
    done(hosts, 1, &remove);
    for host in 0..2 {
        hosts.await_members(host, 2);
        let status = done(hosts, host, &["cluster", "status"]);
        let orders = status["orders"].as_array().expect("a list");
        let [removal, seizure, ..] = orders.as_slice() else { panic!("{orders:?}") };
        assert_eq!((&removal["what"], &removal["reason"]), (&json!("core-3 was removed"), &json!(remove[4])));
        assert_eq!(seizure["reason"], seize[7]);
        assert!(seizure["what"].as_str().expect("text").ends_with("were seized from core-3 for core-1"), "{seizure}");
        assert!(seizure["at"].is_string() && seizure["by"] == "a caller without a token", "{seizure}");
    }
}

/// All shards are handed out from again: nobody is left who uses what the lost host handed out unheard.
fn end_quarantine(hosts: &Hosts) {
    let mut ended = 0;
    for host in 0..2 {
        let order = ["shard", "end-quarantine", "homes", "--reason", "all BNGs were restarted"];
        ended += done(hosts, host, &order)["ended"].as_u64().expect("a number");
    }
    assert!(ended > 0);
    let held = |shard: &Value| shard["state"] == "held";
    wait_for("every shard is held", || shards(hosts, &["homes"]).iter().all(held).then_some(()));
}

#[test]
fn a_lost_host_is_replaced_by_the_commands_of_the_manual() {
    let mut hosts = hosts();
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/18", "strategy": "random"}));
    let mut answered = BTreeMap::new();
    let mut lines = 0..;
    let mut more = |hosts: &Hosts, at: &[usize], answered: &mut BTreeMap<String, String>| {
        for line in lines.by_ref().take(30) {
            let name = format!("line-{line}");
            answered.insert(name.clone(), address(&hosts.allocate(at[line % at.len()], &name)));
        }
        distinct(answered);
        hosts.await_held(answered);
    };
    more(&hosts, &[0, 1, 2], &mut answered);
    drain_and_move(&hosts);
    more(&hosts, &[0, 1, 2], &mut answered);
    give_up(&mut hosts);
    all_ask(&hosts, &[0, 1], &answered);
    more(&hosts, &[0, 1], &mut answered);
    end_quarantine(&hosts);
    more(&hosts, &[1, 0], &mut answered);
    // In its place comes one that only reads at first.
    let start = hosts.start_of(3).with(&["--role", "read"]);
    hosts.start_as(3, &start);
    done(&hosts, 3, &["cluster", "join"]);
    hosts.await_members(3, 3);
    hosts.await_held(&answered);
    assert_eq!(member(&hosts, 0, "core-4")["role"], "read");
    more(&hosts, &[3], &mut answered);
    assert_eq!(member(&hosts, 0, "core-4")["shards"], 0);
    done(&hosts, 0, &["cluster", "promote", "core-4"]);
    wait_for("it votes and has its share", || {
        let promoted = member(&hosts, 1, "core-4");
        let has_share = promoted["shards"].as_u64() > Some(0);
        (promoted["role"] == "core" && promoted["vote"] == "voter" && has_share).then_some(())
    });
    more(&hosts, &[3, 0, 1], &mut answered);
    done(&hosts, 0, &["cluster", "demote", "core-4"]);
    wait_for("it votes no more and keeps its share", || {
        let demoted = member(&hosts, 1, "core-4");
        let has_share = demoted["shards"].as_u64() > Some(0);
        (demoted["role"] == "write" && demoted["vote"] == "learner" && has_share).then_some(())
    });
    all_ask(&hosts, &[3, 0, 1], &answered);
    for host in [0, 1, 3] {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

#[test]
fn a_copy_of_a_host_and_a_name_that_is_taken_are_refused() {
    let mut hosts = hosts();
    // With an empty directory, under the name of a member that is there.
    let start = hosts.start_of(3).named("core-2");
    hosts.start_as(3, &start);
    let (code, told) = ask(&hosts, 3, &["cluster", "join"]).expect_err("the name is taken");
    assert!(code == 4 && told.contains("core-2"), "{code} {told}");
    hosts.kill(3);
    // With a copy of a running host's directory.
    let copy = directory();
    let contents = format!("{}/.", hosts.dir(1).display());
    let copied = std::process::Command::new("cp").arg("-a").arg(contents).arg(copy.path()).status();
    assert!(copied.expect("cp runs").success());
    drop(hosts.put_dir(3, copy));
    // Told as its original is, it does not look for that one; another one was told of all.
    for start in [hosts.start_beside(3, &[0, 2]), hosts.start_of(3)] {
        let output = start.named("core-2").command().output().expect("it runs and ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains("a copy of"), "{told}");
        assert!(!told.contains("nexus ready"), "{told}");
    }
    // The host itself goes on.
    hosts.await_members(1, 3);
    done(&hosts, 1, &["cluster", "status"]);
}
