//! A full disk on a real daemon: allocations are refused, look-ups go on, and once there is space service resumes with
//! everything that was answered. Needs the right to mount a tmpfs; without it the test fails and says so.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::io::Write as _;
use std::path::Path;

use common::hosts::Hosts;
use common::{Daemon, Disk, Start, directory, wait_for};
use serde_json::json;

/// Less than a file of the log.
const CRUMB: u32 = 4 << 20;

/// Takes all space but about so many bytes.
fn fill(file: &Path) {
    let mut filler = std::fs::File::create(file).expect("a file");
    while filler.write_all(&[0; 4096]).is_ok() {}
}

fn allocate(daemon: &Daemon, number: u32) -> (u16, serde_json::Value) {
    // Large records, because the log keeps some MiB of room that is already its own.
    let metadata = json!({"note": "x".repeat(12 << 10)});
    daemon.post(
        "/api/v1/allocate",
        &json!({"pool_id": "v4", "subscriber_id": format!("s{number}"), "metadata": metadata}),
    )
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    let directory = directory();
    let disk = Disk::mount(directory.path(), "96m");
    let daemon = Start::on(&directory.path().join("data")).with(&["--min-free", "0"]).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/16"})).0, 201);
    let mut answered = Vec::new();
    for number in 0..50 {
        let (status, answer) = allocate(&daemon, number);
        assert_eq!(status, 201, "{answer}");
        answered.push(answer["ip"].clone());
    }
    let crumbs = ["crumb-1", "crumb-2"].map(|name| directory.path().join(name));
    for crumb in &crumbs {
        std::fs::write(crumb, vec![0; CRUMB as usize]).expect("there is space yet");
    }
    let filler = directory.path().join("filler");
    fill(&filler);
    let mut number = 50;
    let refused = wait_for("the disk is full", || {
        let (status, answer) = allocate(&daemon, number);
        if status == 201 {
            answered.push(answer["ip"].clone());
            number += 1;
            return None;
        }
        Some((status, answer))
    });
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert_eq!(daemon.get("/api/v1/allocations/s7").1["ip"], answered[7], "look-ups go on");
    assert_eq!(daemon.get("/ready").0, 503);
    for (crumb, free) in crumbs.iter().zip([CRUMB, 2 * CRUMB]) {
        std::fs::remove_file(crumb).expect("the crumb is there");
        wait_for("the disk was looked at", || {
            daemon.metric("nexus_store_free_bytes").filter(|bytes| *bytes >= f64::from(free))
        });
    }
    assert_eq!(daemon.get("/ready").0, 503, "there is no space yet for a file of the log");
    std::fs::remove_file(&filler).expect("the filler is there");
    wait_for("service resumes", || (allocate(&daemon, 10_000).0 < 300).then_some(()));
    daemon.kill();
    let daemon = Start::on(&directory.path().join("data")).with(&["--min-free", "0"]).run();
    for (number, ip) in answered.iter().enumerate() {
        assert_eq!(daemon.get(&format!("/api/v1/allocations/s{number}")).1["ip"], *ip, "s{number}");
    }
    drop(daemon);
    drop(disk);
}

#[test]
fn the_ledger_goes_on_by_itself_when_there_is_space_again() {
    let mut hosts = Hosts::new(2);
    hosts.flags = vec!["--min-free", "8MiB"];
    let disk = Disk::mount(hosts.dir(0), "96m");
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    let make = |hosts: &Hosts, id: &str, cidr: &str| hosts.post(0, "/api/v1/pools", &json!({"id": id, "cidr": cidr})).0;
    assert_eq!(make(&hosts, "before", "10.0.0.0/16"), 201);
    let (status, held) = hosts.post(0, "/api/v1/allocate", &json!({"pool_id": "before", "subscriber_id": "s1"}));
    assert_eq!(status, 201, "{held}");
    let mut fillers = Vec::new();
    let is_stopped = |hosts: &Hosts| {
        let (status, answer) = hosts.get(0, "/api/v1/cluster/status");
        assert_eq!(status, 200, "{answer}");
        answer["warnings"].to_string().contains("part of the ledger has stopped")
    };
    let order =
        |hosts: &Hosts, what: &str| hosts.post(0, &format!("/api/v1/cluster/members/core-1/{what}"), &json!({})).0;
    wait_for("the ledger cannot be written", || {
        // Again and again, as the daemon frees some itself.
        fillers.push(hosts.dir(0).join(format!("filler-{}", fillers.len())));
        fill(&fillers[fillers.len() - 1]);
        for what in ["drain", "undrain"] {
            order(&hosts, what);
        }
        is_stopped(&hosts).then_some(())
    });
    assert_eq!(hosts.get(0, "/api/v1/allocations/s1").1["ip"], held["ip"], "look-ups go on");
    for filler in &fillers {
        std::fs::remove_file(filler).expect("the filler is there");
    }
    wait_for("the ledger is open again", || (!is_stopped(&hosts)).then_some(()));
    wait_for("orders are carried out again", || (order(&hosts, "undrain") == 200).then_some(()));
    wait_for("pools are made again", || (make(&hosts, "after", "10.1.0.0/16") == 201).then_some(()));
    hosts.kill(0);
    hosts.start(0);
    wait_for("it is ready", || (hosts.get(0, "/ready").0 == 200).then_some(()));
    for pool in ["before", "after"] {
        assert_eq!(hosts.get(0, &format!("/api/v1/pools/{pool}")).0, 200, "{pool}");
    }
    assert_eq!(hosts.get(0, "/api/v1/allocations/s1").1["ip"], held["ip"]);
    drop(hosts);
    drop(disk);
}

#[test]
fn below_min_free_nothing_is_handed_out_but_everything_is_released() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/16"})).0, 201);
    assert_eq!(allocate(&daemon, 1).0, 201);
    assert!(daemon.stop().success());
    let daemon = Start::on(directory.path()).with(&["--min-free", "1024TiB"]).run();
    let (status, problem) = wait_for("the disk was looked at", || {
        let refused = allocate(&daemon, 2);
        (refused.0 != 201).then_some(refused)
    });
    assert_eq!(status, 503, "{problem}");
    assert!(problem.to_string().contains("min_free"), "{problem}");
    assert_eq!(daemon.get("/api/v1/allocations/s1").0, 200);
    assert_eq!(daemon.call("DELETE", "/api/v1/allocations/s1", None).0, 204);
}
