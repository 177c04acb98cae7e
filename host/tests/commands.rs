//! The operator's command against a real daemon: what it shows is what it takes.

mod common;

use std::process::Output;

use common::{Daemon, Start, directory};
use serde_json::json;

/// Runs the command with `input` and gives back how it ended.
fn nexus(daemon: &Daemon, line: &[&str], input: &[u8]) -> Output {
    common::nexus(&[&["--server", &daemon.grpc], line].concat(), input)
}

fn done(daemon: &Daemon, line: &[&str], input: &[u8]) -> Vec<u8> {
    let output = nexus(daemon, line, input);
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_get_and_list_show_can_be_applied() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let vlans =
        json!({"id": "cvlan", "type": "vlan", "spec": {"range": "100-200"}, "realm_by": ["olt_id"], "lease": "1h"});
    // More shards than the older form has, asked for and not.
    let many = json!({"id": "many", "type": "ipv4", "spec": {"cidr": "10.64.0.0/10"}, "sharding_factor": 1000});
    let large = json!({"id": "large", "type": "ipv4", "spec": {"cidr": "10.128.0.0/10"}});
    for pool in [json!({"id": "v4", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}), vlans, many, large] {
        assert_eq!(daemon.post("/api/v1/pools", &pool).0, 201);
    }
    for format in ["yaml", "json"] {
        for shown in [["pool", "get", "v4", "-o", format].as_slice(), &["pool", "list", "-o", format]] {
            let shown = done(&daemon, shown, b"");
            let applied = String::from_utf8(done(&daemon, &["pool", "apply", "-f", "-"], &shown)).expect("text");
            let unchanged = applied.lines().skip(1).all(|line| line.contains("unchanged"));
            assert!(unchanged && applied.lines().count() > 1, "{applied}");
        }
    }
    let shown = done(&daemon, &["pool", "get", "cvlan", "-o", "yaml"], b"");
    done(&daemon, &["pool", "update", "-f", "-"], &shown);
    done(&daemon, &["pool", "delete", "cvlan"], b"");
    let renewed = String::from_utf8(shown).expect("text").replace("revision: ", "# revision: ");
    done(&daemon, &["pool", "create", "-f", "-"], renewed.as_bytes());
}

#[test]
fn a_dry_run_tells_what_two_pools_of_its_files_would_do_to_each_other() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let files = "id: a\ncidr: 10.0.0.0/24\n---\nid: b\ncidr: 10.0.0.128/25\n---\nid: c\ncidr: 10.0.2.0/24\n";
    // The same refusal, before and in earnest.
    for line in [["pool", "apply", "-f", "-", "--dry-run"].as_slice(), &["pool", "apply", "-f", "-"]] {
        let output = nexus(&daemon, line, files.as_bytes());
        let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let outcomes: Vec<bool> = shown.lines().skip(1).map(|line| line.contains("refused")).collect();
        assert_eq!(outcomes, [false, true, false], "{shown}");
        assert!(!output.status.success() && said.contains("pool b") && said.contains("overlap"), "{said}");
    }
}

#[test]
fn a_lease_can_be_declined() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/24", "lease": "1h"})).0, 201);
    let shown = done(&daemon, &["allocate", "v4", "s", "--ttl", "-5", "-o", "json"], b"");
    let shown: serde_json::Value = serde_json::from_slice(&shown).expect("JSON");
    assert!(shown.get("expires_at").is_none(), "{shown}");
}

#[test]
fn the_cluster_of_one_host_is_shown_and_not_changed() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/24"})).0, 201);
    let shown = |line: &[&str]| String::from_utf8(done(&daemon, line, b"")).expect("text");
    let status = shown(&["cluster", "status"]);
    assert!(
        status.contains("standing  ") && status.contains("alone") && status.contains("core-1 (member 1)"),
        "{status}"
    );
    let words = |text: &str, at: usize| -> Vec<String> {
        text.lines().nth(at).expect("a line").split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        words(&shown(&["cluster", "members"]), 1),
        ["1", "core-1", "core", "voter", "reachable", "1", "1", "1", "0"]
    );
    assert_eq!(words(&shown(&["shard", "list", "v4"]), 1), ["v4", "0", "core-1", "core-1", "1", "escrow", "held"]);
    assert_eq!(words(&shown(&["hashring"]), 1), ["1", "core-1", "150", "1", "1"]);
    for line in
        [["cluster", "status", "-o", "json"].as_slice(), &["hashring", "-o", "json"], &["shard", "list", "-o", "json"]]
    {
        let document: serde_json::Value = serde_json::from_str(&shown(line)).expect("JSON");
        assert!(document.is_object(), "{line:?}");
    }
    assert!(shown(&["cluster", "status", "-o", "yaml"]).starts_with("standing: alone\n"));
    let conflict = |line: &[&str]| {
        let output = nexus(&daemon, line, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{line:?}: {said}");
        assert!(said.contains("p2p.peers") && said.contains("reason CLUSTER_REFUSED"), "{said}");
    };
    conflict(&["cluster", "init"]);
    conflict(&["cluster", "join", "core-2:33123"]);
    conflict(&["cluster", "join"]);
    conflict(&["cluster", "leave"]);
    conflict(&["cluster", "promote", "core-1"]);
    conflict(&["cluster", "demote", "1"]);
    conflict(&["cluster", "remove", "core-2", "--reason", "lost"]);
    conflict(&["node", "drain", "core-1"]);
    conflict(&["node", "drain", "core-1", "--undo"]);
    conflict(&["shard", "move", "v4", "--shards", "0", "--to", "core-2"]);
    conflict(&["shard", "seize", "v4", "--shards", "0", "--to", "core-2", "--reason", "lost"]);
    for (line, code) in [
        (["shard", "list", "none"].as_slice(), 3),
        (&["shard", "move", "v4", "--shards", "0-9", "--to", "core-2"], 2),
        (&["shard", "move", "none", "--shards", "0", "--to", "core-2"], 3),
        (&["cluster", "remove", "core-2"], 2),
        (&["cluster", "remove", "core-2", "--reason", " "], 2),
    ] {
        assert_eq!(nexus(&daemon, line, b"").status.code(), Some(code), "{line:?}");
    }
}
