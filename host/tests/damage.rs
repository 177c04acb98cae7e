//! Records that read back but cannot be: the pool they are of hands out nothing, everything else goes on.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::{Daemon, Start, directory, wait_for};
use kernel::{Allocation, AllocationParts, Fact, Op, Span, SubscriberId};
use serde_json::json;
use store::{Store, StoreSettings};

/// Writes what no kernel would: another allocation beside the first one of pool `odd`, of twice its length.
fn contradict(directory: &Path) {
    let (mut store, _) = Store::open(directory, StoreSettings::default(), 0).expect("no daemon runs");
    let (mut odd, mut found) = (None, None);
    store
        .recover(&mut |op| {
            if let Fact::Pool(pool) = &op.fact
                && pool.draft.id.as_str() == "odd"
            {
                odd = Some(pool.uid);
            } else if let Fact::Held(held) = op.fact
                && Some(held.pool) == odd
            {
                found = Some((held, op.stamp_ms));
            }
        })
        .expect("what the daemon wrote");
    let (held, stamp_ms) = found.expect("an allocation of the pool");
    let seq = store.next_seq();
    let subscriber: SubscriberId = "impostor".parse().expect("a plain word");
    let impostor = Allocation::new(AllocationParts {
        span: Span::new(held.span.start(), held.span.len() * 2).expect("on the line"),
        subscriber,
        pool: held.pool,
        realm: held.realm,
        shard: held.shard,
        epoch: held.epoch,
        created_ms: held.created_ms(),
        renewed_ms: held.created_ms(),
        expires_ms: None,
        seq,
        node: None,
        extra: None,
        kind: held.kind(),
    });
    store.append(&[Op { seq, stamp_ms, from: None, fact: Fact::Held(Arc::new(impostor)) }]).expect("written");
}

/// Damages the record in the log that has this word. The file and what is in it now.
fn spoil(directory: &Path, word: &str) -> (PathBuf, Vec<u8>) {
    let log = std::fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("a file").path());
    let holds = |bytes: &[u8]| bytes.windows(word.len()).position(|window| window == word.as_bytes());
    let (log, at) = log
        .filter(|path| path.is_file())
        .find_map(|path| holds(&std::fs::read(&path).expect("readable")).map(|at| (path, at)))
        .expect("the log has the word");
    let mut bytes = std::fs::read(&log).expect("readable");
    bytes[at] ^= 1;
    std::fs::write(&log, &bytes).expect("writable");
    (log, bytes)
}

fn allocate(daemon: &Daemon, pool: &str, subscriber: &str) -> u16 {
    daemon.post("/api/v1/allocate", &json!({"pool_id": pool, "subscriber_id": subscriber})).0
}

#[test]
fn a_pool_whose_records_contradict_each_other_hands_out_nothing() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    for (pool, cidr) in [("odd", "10.1.0.0/24"), ("sound", "10.2.0.0/24")] {
        assert_eq!(daemon.post("/api/v1/pools", &json!({"id": pool, "cidr": cidr})).0, 201);
        assert_eq!(allocate(&daemon, pool, "a"), 201);
    }
    assert!(daemon.stop().success());
    contradict(directory.path());
    let daemon = Start::on(directory.path()).run();
    let (status, ready) = daemon.get("/ready");
    let told = ready["warnings"].to_string();
    assert!(status == 200 && told.contains("pool odd is damaged") && !told.contains("sound"), "{ready}");
    assert_eq!(daemon.metric("nexus_store_damaged_pools"), Some(1.0));
    assert_eq!(allocate(&daemon, "odd", "b"), 503);
    assert_eq!(allocate(&daemon, "sound", "b"), 201);
    assert_eq!(daemon.get("/api/v1/allocations/a").0, 200);
    assert_eq!(daemon.call("DELETE", "/api/v1/pools/odd?force=true", None).0, 204);
    wait_for("the deleted pool leaves", || (!daemon.get("/ready").1.to_string().contains("damaged")).then_some(()));
    assert_eq!(daemon.metric("nexus_store_damaged_pools"), Some(0.0));
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "odd", "cidr": "10.1.0.0/24"})).0, 201);
    assert_eq!(allocate(&daemon, "odd", "b"), 201);
    assert!(daemon.stop().success());
    let daemon = Start::on(directory.path()).run();
    assert_eq!(allocate(&daemon, "odd", "c"), 201);
}

#[test]
fn a_lost_pool_is_told_though_no_pool_is_left() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert!(daemon.get("/ready").1.get("warnings").is_none_or(|warnings| !warnings.to_string().contains("damage")));
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "lost-pool", "cidr": "10.0.0.0/24"})).0, 201);
    // Behind the last whole record nothing counts as damage: that is where a crash ends a log.
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "later", "cidr": "10.1.0.0/24"})).0, 201);
    assert_eq!(daemon.call("DELETE", "/api/v1/pools/later", None).0, 204);
    assert!(daemon.stop().success());
    spoil(directory.path(), "lost-pool");
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.get("/api/v1/pools").1["total"], 0);
    let (status, ready) = daemon.get("/ready");
    assert!(status == 200 && ready["warnings"].to_string().contains("damage on disk may hide a pool"), "{ready}");
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "new", "cidr": "10.9.0.0/24"})).0, 503);
}

#[test]
fn damage_that_may_be_any_pools_stops_all_until_it_is_accepted() {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/24"})).0, 201);
    for subscriber in ["before", "damaged-one", "after"] {
        assert_eq!(allocate(&daemon, "v4", subscriber), 201);
    }
    assert!(daemon.stop().success());
    let (log, bytes) = spoil(directory.path(), "damaged-one");
    let daemon = Start::on(directory.path()).run();
    assert_eq!(allocate(&daemon, "v4", "new"), 503);
    let other = json!({"id": "other", "cidr": "10.9.0.0/24"});
    assert_eq!(daemon.post("/api/v1/pools", &other).0, 503, "the damage may have taken a pool that has this space");
    assert_eq!(daemon.get("/api/v1/allocations/after").0, 200);
    assert!(daemon.stop().success());
    let store = |below: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        let ended = command.args(["store", below]).arg(directory.path()).output().expect("it runs");
        (ended.status.code(), String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
    };
    let (code, told) = store("check");
    assert!(code == Some(1) && told.ends_with("nexus: 1 damaged place\n"), "{told}");
    let (code, told) = store("accept-damage");
    assert!(code == Some(0) && told.contains("given up: log-") && told.contains("is forgotten"), "{told}");
    let kept = directory.path().join("damaged-1").join(log.file_name().expect("a name"));
    assert_eq!(std::fs::read(kept).expect("kept"), bytes);
    assert_eq!(store("check").0, Some(0));
    let daemon = Start::on(directory.path()).run();
    assert!(!daemon.get("/ready").1.to_string().contains("damaged"));
    assert_eq!(daemon.get("/api/v1/allocations/before").0, 200);
    assert_eq!(daemon.get("/api/v1/allocations/damaged-one").0, 404);
    assert_eq!(allocate(&daemon, "v4", "new"), 201);
    assert_eq!(daemon.post("/api/v1/pools", &other).0, 201);
}
