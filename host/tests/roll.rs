//! What is upgraded one host after the other, and put back, while clients go on: plugins, and the daemon itself. What does
//! not fit is kept apart and says what to do.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::hosts::{Build, Hosts, pool};
use common::load::Load;
use common::wait_for;
use serde_json::{Value, json};

/// The embedded plugin of a type as another version, or with another mapping.
fn ipv4(version: &str, mapping: &str) -> Vec<u8> {
    let named = std::env::var_os("NEXUS_PLUGINS_DIR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_BIN_EXE_nexus")).ancestors().nth(2).map(|target| target.join("nexus-plugins"));
    let folder = named.or(beside).expect("the daemon lies in a target directory");
    let mut bytes = std::fs::read(folder.join("ipv4.wasm")).expect("run cargo xtask plugins");
    // Where the compiler puts these texts is its own affair; each stands there once.
    for (text, other) in [("0.1.0", version), ("ipv4/1", &format!("ipv4/{mapping}"))] {
        let places: Vec<usize> = bytes
            .windows(text.len())
            .enumerate()
            .filter(|(_, found)| *found == text.as_bytes())
            .map(|(at, _)| at)
            .collect();
        let [at] = places[..] else { panic!("{text} does not stand once in the plugin ipv4: {places:?}") };
        bytes[at..at + text.len()].copy_from_slice(other.as_bytes());
    }
    bytes
}

/// What a host says of its versions of ipv4: those that serve and those that are refused.
fn versions(hosts: &Hosts, host: usize) -> Vec<Value> {
    let (_, listed) = hosts.get(host, "/api/v1/plugins");
    let plugins = listed["plugins"].as_array().expect("a list").clone();
    plugins.into_iter().filter(|plugin| plugin["type"] == "ipv4").collect()
}

/// Puts a file into a host's folder and waits until it is decided about.
fn drop_in(hosts: &Hosts, host: usize, version: &str, mapping: &str) -> Value {
    let path = hosts.dir(host).join("plugins/ipv4.wasm");
    let part = path.with_extension("part");
    std::fs::write(&part, ipv4(version, mapping)).expect("written");
    std::fs::rename(&part, &path).expect("renamed");
    wait_for("the file is decided about", || {
        let mut found = versions(hosts, host).into_iter();
        found.find(|plugin| plugin["version"] == version && plugin["source"] != "embedded")
    })
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

#[test]
fn a_plugin_rolls_over_three_hosts_and_back_while_clients_go_on() {
    let hosts = Hosts::formed_with(3, &["--plugin-settle", "100ms"]);
    hosts.create(0, &pool());
    let load = Load::start(&hosts, 3);
    load.go_on(20);
    for host in 0..3 {
        assert_eq!(drop_in(&hosts, host, "0.1.1", "1")["state"], "active");
        load.go_on(20);
    }
    // The version of before, in the place of the one that serves.
    for host in 0..3 {
        assert_eq!(drop_in(&hosts, host, "0.1.0", "1")["state"], "active");
        load.go_on(20);
    }
    // What would read the pool otherwise does not come to serve, and is told why.
    let refused = drop_in(&hosts, 1, "0.1.2", "9");
    let why = refused["why"].as_str().expect("a reason");
    assert!(refused["state"] == "refused" && why.contains("homes") && why.contains("other hosts"), "{refused}");
    load.go_on(20);
    hosts.await_held(&load.end().alone());
    for host in 0..3 {
        assert_eq!(hosts.get(host, "/api/v1/pools/homes").1["revision"], 1, "no host changed the pool");
        assert!(hosts.shards(host, &format!("core-{}", host + 1)) > 0);
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

/// Host 3 owns nothing of the pool, says so, and serves.
fn gives_up(hosts: &Hosts) {
    wait_for("nothing of the pool is its own", || (hosts.shards(0, "core-3") == 0).then_some(()));
    let (status, ready) = hosts.get(2, "/ready");
    let told = ready.to_string();
    assert!(status == 503 && ["homes", "ipv4/1", "ipv4/9"].iter().all(|word| told.contains(word)), "{told}");
    assert_eq!(hosts.daemon(2).metric("nexus_misread_pools"), Some(1.0));
    for host in 0..3 {
        wait_for("every host tells of it", || {
            hosts.warnings(host).contains("core-3 does not read pool homes").then_some(())
        });
    }
    for host in 0..2 {
        assert_eq!(hosts.get(host, "/ready").0, 200);
    }
    // What only its plugin could understand is not guessed.
    let hinted = json!({"pool_id": "homes", "subscriber_id": "hinted", "resource": "100.64.9.9"});
    let (status, answer) = hosts.post(2, "/api/v1/allocate", &hinted);
    assert_eq!((status, &answer["reason"]), (503, &json!("PLUGIN_UNAVAILABLE")), "{answer}");
    // Nor does it make the pool what it reads.
    let edit = json!({"id": "homes", "cidr": "100.64.0.0/15"});
    let (status, answer) = hosts.daemon(2).call("PUT", "/api/v1/pools/homes", Some(&edit));
    assert_eq!(status, 503, "{answer}");
}

/// Host 3 got a version that reads the pool, and takes part again.
fn takes_part(hosts: &Hosts) {
    wait_for("it has its share again", || (hosts.shards(0, "core-3") > 0).then_some(()));
    wait_for("it is ready", || (hosts.get(2, "/ready").0 == 200).then_some(()));
    assert_eq!(hosts.daemon(2).metric("nexus_misread_pools"), Some(0.0));
    wait_for("nothing is told any more", || (!hosts.warnings(0).contains("does not read")).then_some(()));
}

#[test]
fn a_host_that_reads_a_pool_otherwise_gives_it_up_serves_by_routing_and_comes_back() {
    let mut hosts = Hosts::formed_with(3, &["--plugin-settle", "100ms"]);
    // Without a pool it is as good as any.
    assert_eq!(drop_in(&hosts, 2, "0.1.2", "9")["state"], "active");
    let kept = common::directory();
    copy(&hosts.dir(2).join("components"), kept.path());
    hosts.create(0, &pool());
    let load = Load::start(&hosts, 3);
    gives_up(&hosts);
    load.go_on(40);
    assert_eq!(drop_in(&hosts, 2, "0.1.3", "1")["state"], "active");
    takes_part(&hosts);
    load.go_on(40);
    // It comes back with the other version although much of what is held is in its shards.
    load.door(2, None);
    hosts.stop(2);
    std::fs::remove_file(hosts.dir(2).join("plugins/ipv4.wasm")).expect("it is there");
    std::fs::remove_dir_all(hosts.dir(2).join("components")).expect("it is there");
    copy(&kept.path().join("components"), hosts.dir(2));
    hosts.start(2);
    hosts.await_members(2, 3);
    load.door(2, Some(&hosts.daemon(2).rest));
    gives_up(&hosts);
    load.go_on(40);
    assert_eq!(drop_in(&hosts, 2, "0.1.4", "1")["state"], "active");
    takes_part(&hosts);
    load.go_on(40);
    let answered = load.end();
    answered.await_kept(&hosts, 3);
    answered.ask_again(&hosts, 2);
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}

/// A host goes over to another build, as an upgrade does it.
fn becomes(hosts: &mut Hosts, load: &Load, host: usize, build: Build) {
    load.door(host, None);
    hosts.stop(host);
    load.go_on(10);
    hosts.builds[host] = build;
    hosts.start(host);
    hosts.await_members(host, 3);
    load.door(host, Some(&hosts.daemon(host).rest));
    load.go_on(20);
}

/// A host does not come up with this protocol, and both ends say why.
fn is_refused(hosts: &mut Hosts, protocol: &'static str, remedy: &str) {
    hosts.builds[2] = Build::Speaking(protocol);
    let output = hosts.start_of(2).command().output().expect("it runs and ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(remedy) && told.contains(protocol), "{told}");
    let warned = format!("core-3 speaks protocol {protocol}");
    wait_for("the others say so, too", || hosts.warnings(0).contains(&warned).then_some(()));
}

#[test]
fn builds_of_adjacent_minors_work_together_and_others_are_refused_with_what_to_do() {
    let mut hosts = Hosts::new(4);
    for host in 0..3 {
        hosts.start(host);
    }
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    for host in 1..3 {
        assert_eq!(hosts.post(host, "/api/v1/cluster/join", &json!({})).0, 200);
    }
    for host in 0..3 {
        hosts.await_members(host, 3);
    }
    hosts.create(0, &pool());
    let load = Load::start(&hosts, 3);
    load.go_on(20);
    becomes(&mut hosts, &load, 0, Build::Next);
    becomes(&mut hosts, &load, 1, Build::Next);
    wait_for("the upgrade shows", || {
        hosts.warnings(2).contains("core-3 speak protocol 1.0, the others 1.1").then_some(())
    });
    // Two different builds decide together, whichever is asked.
    hosts.create(0, &json!({"id": "of-the-new", "type": "vlan", "range": "100-200"}));
    hosts.create(2, &json!({"id": "of-the-old", "type": "vlan", "range": "300-400"}));
    becomes(&mut hosts, &load, 0, Build::This);
    becomes(&mut hosts, &load, 0, Build::Next);
    becomes(&mut hosts, &load, 2, Build::Next);
    wait_for("the upgrade is done", || (!hosts.warnings(0).contains("upgrade")).then_some(()));
    load.door(2, None);
    hosts.stop(2);
    is_refused(&mut hosts, "1.3", "run a build of protocol 1.2 here");
    is_refused(&mut hosts, "2.1", "run builds of one major");
    // Nor is one let in that never was a member.
    hosts.builds[3] = Build::Speaking("1.3");
    hosts.start(3);
    let (status, answer) = wait_for("it is decided", || {
        let answer = hosts.post(3, "/api/v1/cluster/join", &json!({}));
        (answer.0 != 503).then_some(answer)
    });
    assert!(status == 409 && answer["error"].to_string().contains("one minor apart"), "{status} {answer}");
    hosts.kill(3);
    hosts.builds[2] = Build::Speaking("1.2");
    hosts.start(2);
    hosts.await_members(2, 3);
    load.door(2, Some(&hosts.daemon(2).rest));
    load.go_on(20);
    let answered = load.end();
    answered.await_kept(&hosts, 3);
    answered.ask_again(&hosts, 1);
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
}
