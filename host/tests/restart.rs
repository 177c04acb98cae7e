//! The promise: whatever happens to the process, no answer is forgotten and nothing is held twice.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Daemon, Start, call, directory};
use serde_json::{Value, json};

/// Allocates with many clients at once until told to stop, and keeps every answer.
fn load(daemon: &Daemon, round: u32, answers: &Mutex<BTreeMap<String, String>>, enough: usize) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let stop = &stop;
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let who = format!("r{round}-c{client}-{n}");
                    let body = json!({"pool_id": "v4", "subscriber_id": who});
                    let (status, answer) =
                        call(&format!("{}/api/v1/allocate", daemon.rest), "POST", &[], Some(body.to_string()));
                    assert_eq!(status, 201, "{answer}");
                    let ip = answer["ip"].as_str().expect("an address").to_owned();
                    let mut answers = answers.lock().expect("no client panicked");
                    answers.insert(who, ip);
                    if answers.len() >= enough {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn listed(daemon: &Daemon) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut path = "/api/v1/allocations?pool_id=v4&limit=1000".to_owned();
    loop {
        let (status, page) = daemon.get(&path);
        assert_eq!(status, 200, "{page}");
        let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
        for row in page["allocations"].as_array().expect("rows") {
            let former = all.insert(text(row, "subscriber_id"), text(row, "ip"));
            assert_eq!(former, None, "listed twice: {row}");
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/allocations?pool_id=v4&limit=1000&cursor={cursor}"),
            None => return all,
        }
    }
}

#[test]
fn every_answer_survives_sigkill_under_load() {
    let directory = directory();
    let answers = Mutex::new(BTreeMap::new());
    for round in 0..3 {
        let daemon = Start::on(directory.path()).run();
        if round == 0 {
            assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/16"})).0, 201);
        }
        let enough = answers.lock().expect("no client panicked").len() + 400;
        load(&daemon, round, &answers, enough);
        daemon.kill();
    }
    let daemon = Start::on(directory.path()).run();
    let found = listed(&daemon);
    let answers = answers.into_inner().expect("no client panicked");
    for (who, ip) in &answers {
        assert_eq!(found.get(who), Some(ip), "{who} was answered {ip}");
    }
    let distinct: std::collections::BTreeSet<_> = found.values().collect();
    assert_eq!(distinct.len(), found.len(), "an address is held twice");
    let (status, again) = daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "r0-c0-0"}));
    assert_eq!((status, again["ip"].as_str()), (200, answers.get("r0-c0-0").map(String::as_str)));
}

#[test]
fn sigterm_drains_and_ends_well() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/24"})).0, 201);
    assert!(daemon.stop().success());
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.get("/api/v1/pools/v4").0, 200);
}

#[test]
fn a_second_daemon_on_the_directory_is_refused() {
    let directory = directory();
    let first = Start::on(directory.path()).run();
    let second = Start::on(directory.path()).command().output().expect("it runs");
    assert!(!second.status.success());
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains(&first.pid().to_string()), "{told}");
}

#[test]
fn the_example_configuration_starts() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nexus.example.yaml");
    let directory = directory();
    let daemon = Start::on(directory.path()).with(&["--config", example]).run();
    assert_eq!(daemon.get("/ready").1["ready"], json!(true));
}

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_starts() {
    let directory = directory();
    let start = Start::on(directory.path()).with(&["--min-free", "lots", "--log-format", "xml"]);
    let output = start.command().output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--min-free") && told.contains("--log-format") && told.contains("\"xml\""), "{told}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0, "nothing was made");
}

#[test]
fn a_start_says_how_much_it_found() {
    let directory = directory();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let daemon = Start::on(&data).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/24"})).0, 201);
    assert_eq!(daemon.post("/api/v1/allocate", &json!({"pool_id": "v4", "subscriber_id": "a"})).0, 201);
    assert!(daemon.stop().success());
    let daemon = Start::on(&data).log(&log).run();
    let told = std::fs::read_to_string(&log).expect("it logs");
    assert!(told.contains("the records are read pools=1 allocations=1 from_checkpoint=0 from_log="), "{told}");
    drop(daemon);
}
