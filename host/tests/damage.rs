//! Records that read back but cannot be: the pool they are of hands out nothing, everything else goes on.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Daemon, Start, directory};
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
        created_ms: held.created_ms,
        renewed_ms: held.created_ms,
        expires_ms: None,
        seq,
        node: None,
        extra: None,
        kind: held.kind(),
    });
    store.append(&[Op { seq, stamp_ms, fact: Fact::Held(Arc::new(impostor)) }]).expect("written");
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
}
