//! Pools and reservations.

use super::*;

#[tokio::test]
async fn a_pool_is_described_changed_and_counted() {
    let face = Face::start();
    let body = json!({
        "id": "p", "type": "ipv4", "spec": {"cidr": "10.0.0.0/24"}, "lease": {"default": "1h"}, "hold_down": "90s",
        "metadata": {"region": "east"}, "strategy": "next-free",
    });
    let made = face.post("/api/v1/pools", &body).await;
    assert_eq!(made.headers["location"], "/api/v1/pools/p");
    let made = made.with(201);
    assert_eq!(
        (&made["hold_down"], &made["strategy"], &made["capacity"]),
        (&json!(90), &json!("next-free"), &json!(256))
    );
    assert_eq!(
        (&made["lease"]["default"], &made["revision"], &made["realm"]),
        (&json!(3600), &json!(1), &json!("default"))
    );
    assert_eq!(face.get("/api/v1/pools/p").await.with(200), made);
    // What was read can be sent back.
    let same = face.put("/api/v1/pools/p", &made).await.with(200);
    assert_eq!(same["applied"], true);
    let mut changed = made.clone();
    changed["cidr"] = json!("10.0.0.0/23");
    let problem = face.put("/api/v1/pools/p?dry_run=true", &changed).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "cidr");
    let stats = face.get("/api/v1/pools/p/stats").await.with(200);
    assert_eq!((&stats["capacity"], &stats["available"], &stats["allocated"]), (&json!(256), &json!(256), &json!(0)));
    assert_eq!(stats.get("per_realm"), None, "it has one realm, which is counted");
    face.put("/api/v1/pools/none", &body).await.problem(400, "INVALID_FIELD");
    face.put("/api/v1/pools/none", &json!({"cidr": "10.1.0.0/24"})).await.problem(404, "POOL_UNKNOWN");
}

#[tokio::test]
async fn a_pool_says_what_its_answers_wait_for_and_an_answer_what_was_reached() {
    let face = Face::start();
    let body =
        |ack: &str| json!({"id": "p", "type": "ipv4", "spec": {"cidr": "10.0.0.0/24"}, "lease": "1h", "ack": ack});
    for (said, shown) in [("peer", "peer"), ("local", "local"), ("default", "default")] {
        let pool = if said == "peer" {
            face.post("/api/v1/pools", &body(said)).await.with(201)
        } else {
            face.put("/api/v1/pools/p", &body(said)).await.with(200)
        };
        assert_eq!(pool["ack"], shown);
        assert_eq!(face.get("/api/v1/pools/p").await.with(200)["ack"], shown);
    }
    let problem = face.put("/api/v1/pools/p", &body("all")).await.problem(400, "INVALID_FIELD");
    assert_eq!((&problem["errors"][0]["field"], &problem["errors"][0]["value"]), (&json!("ack"), &json!("all")));
    let request = json!({"pool_id": "p", "subscriber_id": "alice"});
    assert_eq!(face.post("/api/v1/allocate", &request).await.with(201)["durability"], "local");
    assert_eq!(face.post("/api/v1/allocate", &request).await.with(200)["durability"], "local");
    let renewed = face.post("/api/v1/allocations/alice/renew", &json!({})).await.with(200);
    assert_eq!((&renewed["durability"], &renewed["allocations"][0]["durability"]), (&json!("local"), &json!("local")));
    let batch = face.post("/api/v1/allocations:batch", &json!({"requests": [request]})).await.with(200);
    assert_eq!(batch["results"][0]["allocation"]["durability"], "local");
    // A look-up does not know what was waited for.
    assert_eq!(face.get("/api/v1/allocations/alice").await.with(200).get("durability"), None);
}

#[tokio::test]
async fn a_pool_grows_and_says_beforehand_by_how_much() {
    let face = Face::with_pool().await;
    let larger = json!({"cidr": "10.0.0.0/23"});
    let would = face.put("/api/v1/pools/p?dry_run=true", &larger).await.with(200);
    assert_eq!((&would["applied"], &would["added_grains"]), (&json!(false), &json!(256)));
    assert_eq!(face.get("/api/v1/pools/p").await.with(200)["cidr"], "10.0.0.0/24");
    let did = face.put("/api/v1/pools/p", &larger).await.with(200);
    assert_eq!((&did["applied"], &did["added_grains"], &did["revision"]), (&json!(true), &json!(256), &json!(2)));
    let stale = json!({"cidr": "10.0.0.0/23", "revision": 1});
    face.put("/api/v1/pools/p", &stale).await.problem(409, "REVISION_DIFFERS");
}

#[tokio::test]
async fn overlapping_pools_of_a_realm_are_refused_with_both_names() {
    let face = Face::with_pool().await;
    let problem =
        face.post("/api/v1/pools", &json!({"id": "q", "cidr": "10.0.0.128/25"})).await.problem(409, "POOL_OVERLAPS");
    assert_eq!((&problem["pool_id"], &problem["other_pool_id"]), (&json!("q"), &json!("p")));
    face.post("/api/v1/pools", &json!({"id": "q", "cidr": "10.0.0.128/25", "realm": "vrf-b"})).await.with(201);
}

#[tokio::test]
async fn another_tenants_pool_in_a_shared_realm_is_not_named() {
    let face = Face::start();
    let body = json!({"id": "sh", "cidr": "10.0.0.0/24", "shared": true});
    face.post("/api/v1/pools", &body).await.with(201);
    let request = Request::post("/api/v1/pools").header("X-Nexus-Tenant", "isp-b");
    let told = face.send(request.body(body.to_string().into()).unwrap()).await.problem(409, "POOL_OVERLAPS");
    assert_eq!(told["error"], "pool sh overlaps a pool of another tenant in realm default");
    assert_eq!(told.get("other_pool_id"), None);
    assert!(told["errors"][0]["remedy"].as_str().unwrap().contains("with a pool of another tenant in"), "{told}");
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_real_call_would_and_makes_nothing() {
    let face = Face::with_pool().await;
    for (body, reason) in [
        (json!({"id": "q", "cidr": "10.0.0.128/25"}), "POOL_OVERLAPS"),
        (json!({"id": "p", "cidr": "10.0.0.0/23"}), "POOL_DIFFERS"),
    ] {
        let would = face.post("/api/v1/pools?dry_run=true", &body).await.problem(409, reason);
        assert_eq!(face.post("/api/v1/pools", &body).await.problem(409, reason), would);
    }
    let new = json!({"id": "q", "cidr": "10.0.1.0/24"});
    let would = face.post("/api/v1/pools?dry_run=true", &new).await.with(200);
    assert_eq!((&would["applied"], &would["added_grains"], &would["id"]), (&json!(false), &json!(256), &json!("q")));
    face.get("/api/v1/pools/q").await.problem(404, "POOL_UNKNOWN");
    face.post("/api/v1/pools", &new).await.with(201);
    let again = face.post("/api/v1/pools?dry_run=true", &new).await.with(200);
    assert_eq!((&again["applied"], &again["added_grains"]), (&json!(false), &json!(0)));
    let over = face.put("/api/v1/pools/p?dry_run=true", &json!({"cidr": "10.0.0.0/23"})).await;
    let problem = over.problem(409, "POOL_OVERLAPS");
    assert_eq!((&problem["pool_id"], &problem["other_pool_id"]), (&json!("p"), &json!("q")));
    let named = json!({"pool_id": "p", "subscriber_id": "a", "ip": "10.0.0.200"});
    face.post("/api/v1/allocations", &named).await.with(201);
    let less = face.put("/api/v1/pools/p?dry_run=true", &json!({"cidr": "10.0.0.0/25"})).await;
    assert_eq!(less.problem(409, "SPANS_HELD")["holders"], json!(["a"]));
}

#[tokio::test]
async fn pools_are_listed_by_id_in_pages() {
    let face = Face::start();
    for at in 0..5 {
        face.post("/api/v1/pools", &json!({"id": format!("p{at}"), "cidr": format!("10.{at}.0.0/24")})).await.with(201);
    }
    let first = face.get("/api/v1/pools?limit=3").await.with(200);
    assert_eq!((&first["count"], &first["total"], &first["next_cursor"]), (&json!(3), &json!(5), &json!("p2")));
    let rest = face.get("/api/v1/pools?limit=3&cursor=p2").await.with(200);
    assert_eq!((&rest["count"], rest.get("next_cursor")), (&json!(2), None));
    assert_eq!(face.get("/api/v1/pools?type=vlan").await.with(200)["count"], 0);
}

#[tokio::test]
async fn a_realm_is_made_of_the_requests_attributes() {
    let face = Face::start();
    let body = json!({"id": "v", "type": "vlan", "range": "100-101", "realm_by": ["olt_id"]});
    face.post("/api/v1/pools", &body).await.with(201);
    let stats = face.get("/api/v1/pools/v/stats").await.with(200);
    assert_eq!((&stats["capacity"], &stats["realms"]), (&json!(0), &json!([])), "no realm was used");
    let each = &stats["per_realm"];
    assert_eq!((&each["capacity"], &each["available"], &each["excluded"]), (&json!(2), &json!(2), &json!(0)));
    let problem = face.post("/api/v1/allocations", &json!({"pool_id": "v", "subscriber_id": "a"})).await;
    assert_eq!(problem.problem(400, "REALM_ATTRIBUTE_MISSING")["errors"][0]["field"], "olt_id");
    for (subscriber, olt) in [("a", "olt/1"), ("b", "olt-2")] {
        let body = json!({"pool_id": "v", "subscriber_id": subscriber, "olt_id": olt});
        assert_eq!(face.post("/api/v1/allocations", &body).await.with(201)["resource"], "100");
    }
    let stats = face.get("/api/v1/pools/v/stats").await.with(200);
    assert_eq!((&stats["capacity"], &stats["allocated"], &stats["available"]), (&json!(4), &json!(2), &json!(2)));
    assert_eq!((&stats["per_realm"], stats["realms"].as_array().map(Vec::len)), (each, Some(2)));
    let holders = face.get("/api/v1/resources/vlan/100").await.with(200);
    assert_eq!(holders["count"], 2);
    let one = face.get("/api/v1/resources/vlan/100?realm=olt-2").await.with(200);
    assert_eq!(
        (&one["holders"][0]["subscriber_id"], &one["holders"][0]["realm"]),
        (&json!("b"), &json!("default/olt-2"))
    );
    assert_eq!(face.get("/api/v1/resources/vlan/100?realm=default%2Folt%252F1").await.with(200)["count"], 1);
}

#[tokio::test]
async fn reservations_are_kept_for_their_subscriber() {
    let face = Face::with_pool().await;
    let keep = json!({"subscriber_id": "vip", "resource": "10.0.0.42", "note": "contract 4711"});
    let kept = face.post("/api/v1/pools/p/reservations", &keep).await.with(201);
    assert_eq!((&kept["resource"], &kept["note"]), (&json!("10.0.0.42"), &json!("contract 4711")));
    face.post("/api/v1/pools/p/reservations", &keep).await.with(200);
    let other = json!({"subscriber_id": "else", "resource": "10.0.0.42"});
    face.post("/api/v1/pools/p/reservations", &other).await.problem(409, "RESOURCE_RESERVED");
    let named = json!({"pool_id": "p", "subscriber_id": "else", "ip": "10.0.0.42"});
    face.post("/api/v1/allocations", &named).await.problem(409, "RESOURCE_RESERVED");
    assert_eq!(face.allocate("vip").await["ip"], "10.0.0.42");
    assert_eq!(face.get("/api/v1/reservations").await.with(200)["total"], 1);
    assert_eq!(face.get("/api/v1/pools/p/reservations?subscriber_id=nobody").await.with(200)["count"], 0);
    assert_eq!(face.delete("/api/v1/pools/p/reservations/10.0.0.42").await.status, 204);
    face.delete("/api/v1/pools/p/reservations/10.0.0.42").await.problem(404, "NOT_RESERVED");
    let incomplete = face.post("/api/v1/pools/p/reservations", &json!({})).await.problem(400, "INVALID_FIELD");
    assert_eq!(incomplete["errors"].as_array().unwrap().len(), 2);
}
