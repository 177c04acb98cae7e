//! What clients of the older form rely on.

use super::*;

#[tokio::test]
async fn an_older_client_allocates_looks_up_and_releases() {
    let face = Face::start();
    let pool = face.post("/api/v1/pools", &json!({"id": "res", "cidr": "10.0.0.0/24", "prefix": 32})).await;
    // The plugin of these tests knows no `prefix`; the real one does.
    pool.problem(400, "INVALID_FIELD");
    let pool = face.post("/api/v1/pools", &json!({"id": "res", "cidr": "10.0.0.0/24"})).await.with(201);
    assert_eq!((&pool["id"], &pool["type"], &pool["cidr"]), (&json!("res"), &json!("ipv4"), &json!("10.0.0.0/24")));
    assert_eq!(
        (&pool["prefix"], &pool["gateway"], &pool["dns"]),
        (&json!(32), &json!("10.0.0.1"), &json!(["10.0.0.53"]))
    );
    assert_eq!(pool["hold_down"], 0);
    face.post("/api/v1/pools", &json!({"id": "res", "cidr": "10.0.0.0/24", "metadata": null})).await.with(200);
    face.post("/api/v1/pools", &json!({"id": "res", "cidr": "10.0.1.0/24"})).await.problem(409, "POOL_DIFFERS");

    let ask = json!({"pool_id": "res", "subscriber_id": "aa:bb"});
    let made = face.post("/api/v1/allocations", &ask).await.with(201);
    assert_eq!(
        (&made["pool_id"], &made["subscriber_id"], &made["prefix"]),
        (&json!("res"), &json!("aa:bb"), &json!(32))
    );
    assert_eq!(made["ip"], made["resource"]);
    assert!(made["timestamp"].as_str().unwrap().starts_with("2026-01-01T00:00:"), "{made}");
    for absent in ["expires_at", "ttl", "last_renewed", "node_id", "backup_node_id"] {
        assert!(made.get(absent).is_none(), "{absent} in {made}");
    }
    let again = face.post("/api/v1/allocate", &ask).await.with(200);
    assert_eq!(again["ip"], made["ip"]);
    let shown = face.get("/api/v1/allocations/aa:bb").await.with(200);
    assert_eq!(shown["ip"], made["ip"]);
    assert_eq!(shown["allocations"].as_array().unwrap().len(), 1);
    assert_eq!(face.delete("/api/v1/allocations/aa:bb").await.status, 204);
    face.get("/api/v1/allocations/aa:bb").await.problem(404, "ALLOCATION_NOT_FOUND");
    face.delete("/api/v1/allocate/aa:bb").await.problem(404, "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn an_older_clients_pool_can_be_sent_back_as_it_was_answered() {
    let face = Face::start();
    // What a client sends that leaves nothing out; the plugin of these tests knows no field but `cidr`.
    let empty = json!({
        "id": "res", "cidr": "10.0.0.0/10", "gateway": "", "dns": [], "exclusions": [], "metadata": {},
        "sharding_factor": 0, "backup_ratio": 0,
    });
    face.post("/api/v1/pools", &empty).await.with(201);
    let large = face.get("/api/v1/pools/res").await.with(200);
    let stats = face.get("/api/v1/pools/res/stats").await.with(200);
    assert!(stats["shards"].as_u64() > Some(256), "{stats}");
    assert_eq!(large["sharding_factor"], 256);
    let back = json!({
        "id": "res", "cidr": large["cidr"], "metadata": large["metadata"], "exclusions": large["exclusions"],
        "sharding_factor": large["sharding_factor"], "backup_ratio": large["backup_ratio"],
    });
    face.post("/api/v1/pools", &back).await.with(200);
    assert_eq!(face.put("/api/v1/pools/res", &back).await.with(200)["revision"], large["revision"]);
    face.put("/api/v1/pools/res", &large).await.with(200);
    let asked = json!({"id": "few", "cidr": "10.128.0.0/24", "sharding_factor": 4});
    assert_eq!(face.post("/api/v1/pools", &asked).await.with(201)["sharding_factor"], 4);
}

#[tokio::test]
async fn a_pool_of_many_shards_can_be_sent_back_as_it_was_answered_in_either_form() {
    let face = Face::start();
    let asked = json!({"id": "many", "type": "ipv4", "spec": {"cidr": "10.0.0.0/10"}, "sharding_factor": 1000});
    face.post("/api/v1/pools", &asked).await.with(201);
    let shown = face.get("/api/v1/pools/many").await.with(200);
    assert_eq!(shown["sharding_factor"], 1000);
    // A client of the older form knows these fields only, and says nothing of a rest that it knows nothing of.
    let older = json!({
        "id": "many", "cidr": shown["cidr"], "exclusions": shown["exclusions"], "metadata": shown["metadata"],
        "sharding_factor": shown["sharding_factor"], "backup_ratio": shown["backup_ratio"],
        "hold_down": shown["hold_down"],
    });
    for back in [&shown, &older] {
        assert_eq!(face.post("/api/v1/pools", back).await.with(200)["revision"], shown["revision"], "{back}");
        assert_eq!(face.put("/api/v1/pools/many", back).await.with(200)["sharding_factor"], 1000, "{back}");
    }
    let mut other = older;
    other["sharding_factor"] = 999.into();
    for told in [face.post("/api/v1/pools", &other).await, face.put("/api/v1/pools/many", &other).await] {
        assert_eq!(told.problem(400, "INVALID_FIELD")["errors"][0]["field"], "sharding_factor");
    }
    (other["id"], other["cidr"]) = ("new".into(), "10.128.0.0/10".into());
    face.post("/api/v1/pools", &other).await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn an_unknown_pool_is_404_and_a_full_one_503() {
    let face = Face::start();
    face.post("/api/v1/pools", &json!({"id": "tiny", "cidr": "10.0.0.0/31"})).await.with(201);
    let ask = |pool: &str, who: &str| json!({"pool_id": pool, "subscriber_id": who});
    face.post("/api/v1/allocations", &ask("none", "a")).await.problem(404, "POOL_UNKNOWN");
    face.post("/api/v1/allocations", &ask("tiny", "a")).await.with(201);
    face.post("/api/v1/allocations", &ask("tiny", "b")).await.with(201);
    let told = face.post("/api/v1/allocations", &ask("tiny", "c")).await;
    assert_eq!(told.headers["retry-after"], "1");
    let problem = told.problem(503, "RESOURCE_EXHAUSTED");
    assert_eq!(
        (&problem["pool_id"], &problem["capacity"], &problem["hold_down"]),
        (&json!("tiny"), &json!(2), &json!(0))
    );
    assert_eq!(problem["retryable"], true);
}

#[tokio::test]
async fn a_named_address_is_given_repeated_or_a_conflict() {
    let face = Face::with_pool().await;
    let ask = |who: &str, ip: &str| json!({"pool_id": "p", "subscriber_id": who, "ip": ip});
    assert_eq!(face.post("/api/v1/allocations", &ask("a", "10.0.0.77")).await.with(201)["ip"], "10.0.0.77");
    face.post("/api/v1/allocations", &ask("a", "10.0.0.77")).await.with(200);
    let problem = face.post("/api/v1/allocations", &ask("b", "10.0.0.77")).await.problem(409, "RESOURCE_HELD");
    assert_eq!((&problem["resource"], &problem["holders"]), (&json!("10.0.0.77"), &json!(["a"])));
    face.post("/api/v1/allocations", &ask("a", "10.0.0.78")).await.problem(409, "HOLDS_ANOTHER");
    face.post("/api/v1/allocations", &ask("c", "10.9.0.1")).await.problem(400, "RESOURCE_OUTSIDE_POOL");
    face.post("/api/v1/allocations", &ask("c", "ten")).await.problem(400, "RESOURCE_INVALID");
}

#[tokio::test]
async fn the_newest_ipv4_is_shown_and_released_first() {
    let face = Face::with_pool().await;
    face.post("/api/v1/pools", &json!({"id": "v", "type": "vlan", "range": "100-200"})).await.with(201);
    face.allocate("s").await;
    face.post("/api/v1/allocations", &json!({"pool_id": "v", "subscriber_id": "s"})).await.with(201);
    let shown = face.get("/api/v1/allocations/s").await.with(200);
    assert_eq!((&shown["pool_id"], &shown["count"]), (&json!("p"), &json!(2)));
    let vlan = face.get("/api/v1/allocations/s?pool_id=v").await.with(200);
    assert_eq!((&vlan["resource"], &vlan["count"]), (&json!("100"), &json!(1)));
    assert!(vlan.get("ip").is_none() && vlan.get("prefix").is_none(), "{vlan}");
    face.get("/api/v1/allocations/s?pool_id=none").await.problem(404, "POOL_UNKNOWN");
    assert_eq!(face.delete("/api/v1/allocations/s").await.status, 204);
    assert_eq!(face.get("/api/v1/allocations/s").await.with(200)["pool_id"], "v");
    assert_eq!(face.delete("/api/v1/allocations/s?all=true").await.status, 204);
    face.get("/api/v1/allocations/s").await.problem(404, "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn leases_are_given_renewed_and_end() {
    let face = Face::with_pool().await;
    let ask = |ttl: Value| json!({"pool_id": "p", "subscriber_id": "s", "ttl": ttl, "olt_id": "olt-7"});
    let made = face.post("/api/v1/allocations", &ask(json!(60))).await.with(201);
    assert_eq!((&made["ttl"], &made["alloc_type"]), (&json!(60), &json!("session")));
    assert_eq!((&made["node_id"], &made["olt_id"]), (&json!("olt-7"), &json!("olt-7")));
    assert!(made["expires_at"].is_string() && made["last_renewed"].is_string(), "{made}");
    let soon = face.get("/api/v1/allocations/expiring?within=2m").await.with(200);
    assert_eq!((&soon["count"], soon["expiring_before"].is_string()), (&json!(1), true));
    assert_eq!(face.get("/api/v1/allocations/expiring?within=10").await.with(200)["count"], 0);
    face.daemon.advance(30_000);
    let renewed = face.ask(Method::POST, "/api/v1/allocations/s/renew", Body::empty()).await.with(200);
    assert_eq!(renewed["ttl"], 60, "a lease that the pool has no terms for keeps its length: {renewed}");
    assert_ne!(renewed["last_renewed"], made["last_renewed"]);
    let longer = face.post("/api/v1/allocations/s/renew", &json!({"ttl": "90s"})).await.with(200);
    assert_eq!((&longer["ttl"], &longer["count"]), (&json!(90), &json!(1)));
    face.daemon.advance(91_000);
    face.get("/api/v1/allocations/s").await.problem(404, "ALLOCATION_NOT_FOUND");
    let permanent =
        face.post("/api/v1/allocations", &json!({"pool_id": "p", "subscriber_id": "t", "ttl": -1})).await.with(201);
    assert_eq!(permanent["alloc_type"], "permanent");
    face.post("/api/v1/allocations/t/renew", &json!({})).await.problem(409, "NO_LEASE");
    for (subscriber, kind) in [("u", "session"), ("v", "sticky"), ("w", "permanent")] {
        let body = json!({"pool_id": "p", "subscriber_id": subscriber, "ttl": 60, "alloc_type": kind});
        let made = face.post("/api/v1/allocations", &body).await.with(201);
        let shown = if kind == "permanent" { "permanent" } else { "session" };
        assert_eq!((&made["alloc_type"], made.get("ttl").is_none()), (&json!(shown), kind == "permanent"), "{made}");
    }
    let other = json!({"pool_id": "p", "subscriber_id": "x", "alloc_type": "Eternal"});
    let problem = face.post("/api/v1/allocations", &other).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["remedy"], "must be session, sticky or permanent");
    face.post("/api/v1/allocations/nobody/renew", &json!({})).await.problem(404, "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn subscriber_ids_are_opaque() {
    let face = Face::with_pool().await;
    for (id, path) in [
        ("expiring", "expiring"),
        ("select", "select"),
        ("batch", "batch"),
        ("user@realm", "user%40realm"),
        ("olt1/0/3:100", "olt1%2F0%2F3:100"),
        ("käse ∞", "k%C3%A4se%20%E2%88%9E"),
        ("100%", "100%25"),
    ] {
        face.allocate(id).await;
        assert_eq!(face.get(&format!("/api/v1/allocations/{path}")).await.with(200)["subscriber_id"], id);
        assert_eq!(face.delete(&format!("/api/v1/allocations/{path}")).await.status, 204, "{id}");
    }
    face.get("/api/v1/allocations/%FF").await.problem(400, "INVALID_FIELD");
    let long = "x".repeat(257);
    face.get(&format!("/api/v1/allocations/{long}")).await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn doubled_slashes_and_any_content_type_are_tolerated() {
    let face = Face::with_pool().await;
    let request = Request::post("//api/v1//allocations").header("content-type", "text/plain");
    let body = json!({"pool_id": "p", "subscriber_id": "s"}).to_string();
    face.send(request.body(body.into()).unwrap()).await.with(201);
    face.get("/api//v1/allocations//s?pool_id=p").await.with(200);
    face.get("/api/v1/allocations/").await.problem(404, "NO_SUCH_PATH");
}

#[tokio::test]
async fn deleting_a_pool_that_is_not_there_is_no_error() {
    let face = Face::with_pool().await;
    assert_eq!(face.delete("/api/v1/pools/none").await.status, 204);
    face.allocate("s").await;
    face.delete("/api/v1/pools/p").await.problem(409, "POOL_IN_USE");
    assert_eq!(face.delete("/api/v1/pools/p?force=true").await.status, 204);
    face.get("/api/v1/pools/p").await.problem(404, "POOL_UNKNOWN");
}

#[tokio::test]
async fn health_and_readiness_answer_without_a_token() {
    let face = Face::start();
    let health = face.get("/health").await;
    assert_eq!((health.status, health.text.as_str()), (StatusCode::OK, "ok"));
    assert_eq!(face.get("/ready").await.with(200), json!({"ready": true, "reasons": []}));
}

#[tokio::test]
async fn nodes_are_this_host_and_who_asked() {
    let face = Face::with_pool().await;
    face.post("/api/v1/allocations", &json!({"pool_id": "p", "subscriber_id": "s", "node_id": "olt-7"}))
        .await
        .with(201);
    let nodes = face.get("/api/v1/nodes").await.with(200);
    assert_eq!(
        (&nodes["count"], &nodes["nodes"][0]["id"], &nodes["nodes"][1]["id"]),
        (&json!(2), &json!("core-1"), &json!("olt-7"))
    );
    assert!(nodes["nodes"][1]["best_before"].is_string());
    let held = face.get("/api/v1/nodes/olt-7/allocations").await.with(200);
    assert_eq!((&held["node_id"], &held["count"]), (&json!("olt-7"), &json!(1)));
    assert_eq!(face.get("/api/v1/nodes/none/allocations").await.with(200)["count"], 0);
}
