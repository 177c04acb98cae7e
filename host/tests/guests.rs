//! A real daemon under plugins made by hand: what a hostile one costs, and what a swap under live pools does to them.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;
#[allow(dead_code, clippy::unwrap_used, reason = "shared with plugin-host, whose own tests use the rest")]
#[path = "../crates/plugin-host/tests/guests/guest.rs"]
mod guest;

use std::path::Path;

use common::{Daemon, Start, directory, wait_for};
use guest::Guest;
use serde_json::{Value, json};

fn started(directory: &Path) -> Daemon {
    Start::on(directory).with(&["--plugin-settle", "100ms"]).run()
}

/// Drops a guest of type `num` into the folder and waits until the daemon has made up its mind about it.
fn dropped(daemon: &Daemon, directory: &Path, guest: &Guest) -> Value {
    let path = directory.join("plugins/num.wasm");
    let part = path.with_extension("part");
    std::fs::write(&part, guest.build()).expect("written");
    std::fs::rename(&part, &path).expect("renamed");
    wait_for("a decision on the file", || {
        let plugins = daemon.get("/api/v1/plugins").1["plugins"].as_array().expect("a list").clone();
        plugins.into_iter().find(|plugin| plugin["type"] == "num" && plugin["version"] == guest.version.as_str())
    })
}

fn with_pool(daemon: &Daemon) {
    let (status, made) = daemon.post("/api/v1/pools", &json!({"id": "n", "type": "num", "spec": {}}));
    assert_eq!(status, 201, "{made}");
}

fn allocate(daemon: &Daemon, subscriber: &str) -> (u16, Value) {
    let (status, answer) = daemon.post("/api/v1/allocate", &json!({"pool_id": "n", "subscriber_id": subscriber}));
    (status, answer.get("resource").unwrap_or(&answer["reason"]).clone())
}

/// A daemon with a pool whose plugin traps when it has to name 1000666.
fn hostile(directory: &Path) -> Daemon {
    let daemon = started(directory);
    let trap = "(if (i64.eq (local.get $n) (i64.const 1000666)) (then unreachable))";
    let guest = Guest::new("num").range(1_000, 100_000_000).hook("NAME", trap);
    assert_eq!(dropped(&daemon, directory, &guest)["state"], "active");
    with_pool(&daemon);
    daemon
}

#[test]
fn a_resource_that_cannot_be_named_costs_its_own_answer_only() {
    let directory = directory();
    let daemon = hostile(directory.path());
    let ask =
        |subscriber: &str, resource: &str| json!({"pool_id": "n", "subscriber_id": subscriber, "resource": resource});
    let asked = [ask("before", "1001"), ask("bad", "1000666"), ask("after", "1002")];
    let (status, answer) = daemon.post("/api/v1/allocations:batch", &json!({ "requests": asked }));
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().expect("results");
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().expect("a status")).collect();
    assert_eq!(statuses, [201, 503, 201], "{answer}");
    assert_eq!(results[1]["problem"]["reason"], "PLUGIN_UNAVAILABLE", "{answer}");
    assert_eq!(results[2]["allocation"]["resource"], "1002", "{answer}");
}

#[test]
fn a_suspended_type_serves_again_when_it_is_resumed() {
    let directory = directory();
    let daemon = hostile(directory.path());
    let state = || {
        let plugins = daemon.get("/api/v1/plugins").1["plugins"].as_array().expect("a list").clone();
        plugins.into_iter().find(|plugin| plugin["type"] == "num").expect("it was dropped")["state"].clone()
    };
    let bad = json!({"pool_id": "n", "subscriber_id": "bad", "resource": "1000666"});
    wait_for("the suspension", || {
        assert_eq!(daemon.post("/api/v1/allocate", &bad).0, 503);
        (state() == "suspended").then_some(())
    });
    assert_eq!(allocate(&daemon, "good").0, 503);
    assert_eq!(daemon.call("POST", "/api/v1/plugins/num/resume", None).0, 204);
    assert_eq!((state(), allocate(&daemon, "good")), ("active".into(), (200, "1000".into())));
}

/// The first sixteen positions there are, all handed out.
fn filled(directory: &Path) -> Daemon {
    let daemon = started(directory);
    assert_eq!(dropped(&daemon, directory, &Guest::new("num").range(1_008, 16))["state"], "active");
    with_pool(&daemon);
    let asked: Vec<_> = (0..16).map(|n| json!({"pool_id": "n", "subscriber_id": format!("s{n}")})).collect();
    let (status, answer) = daemon.post("/api/v1/allocations:batch", &json!({ "requests": asked }));
    assert_eq!((status, &answer["failed"]), (200, &json!(0)), "{answer}");
    assert_eq!(allocate(&daemon, "late").0, 503, "the pool is full");
    daemon
}

#[test]
fn a_version_that_reads_a_pool_larger_makes_it_larger() {
    let directory = directory();
    let daemon = filled(directory.path());
    let larger = Guest::new("num").version("1.1.0").mapping("decimal-2").range(1_008, 32);
    let swapped = dropped(&daemon, directory.path(), &larger);
    assert_eq!(swapped["state"], "active", "{swapped}");
    assert_eq!(allocate(&daemon, "late"), (201, "1024".into()));
    let pool = daemon.get("/api/v1/pools/n").1;
    assert_eq!(pool["revision"], 2, "{pool}");
    daemon.kill();
    let daemon = started(directory.path());
    assert_eq!(allocate(&daemon, "late"), (200, "1024".into()));
    assert_eq!(allocate(&daemon, "later"), (201, "1025".into()));
    assert_eq!(daemon.get("/api/v1/pools/n").1["revision"], 2, "once");
}

#[test]
fn a_version_that_a_live_pool_cannot_follow_is_refused_and_changes_nothing() {
    let directory = directory();
    let daemon = filled(directory.path());
    // Where resources may begin is settled when a pool is made.
    let aligned = "(i32.store8 offset=80 (local.get $at) (i32.const 1))";
    let other = Guest::new("num").version("1.1.0").range(1_008, 64).hook("LAID_OUT", aligned);
    let refused = dropped(&daemon, directory.path(), &other);
    assert_eq!(refused["state"], "refused", "{refused}");
    let why = refused["why"].as_str().expect("a reason");
    assert!(why.contains("default/n") && why.contains("alignment"), "{why}");
    assert_eq!(daemon.get("/api/v1/pools/n").1["revision"], 1);
    assert_eq!(allocate(&daemon, "late").0, 503, "the pool is what it was");
    assert_eq!(allocate(&daemon, "s3").0, 200);
}
