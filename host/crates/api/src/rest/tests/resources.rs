//! Who holds what, and why a request would go where.

use super::*;

#[tokio::test]
async fn a_resource_names_its_holder() {
    let face = Face::with_pool().await;
    let ip = face.allocate("s").await["ip"].as_str().unwrap().to_owned();
    let told = face.get(&format!("/api/v1/resources/ipv4/{ip}")).await.with(200);
    assert_eq!((&told["resource"], &told["holders"][0]["subscriber_id"]), (&json!(ip), &json!("s")));
    face.get("/api/v1/resources/ipv4/10.0.0.200").await.problem(404, "NO_HOLDER");
    face.get("/api/v1/resources/ipv4/10.0.0.200?at=2026-01-01T00:00:00Z").await.problem(404, "NO_HOLDER");
    face.get("/api/v1/resources/ipv9/x").await.problem(400, "TYPE_UNKNOWN");
    face.get("/api/v1/resources/ipv4/ten").await.problem(400, "RESOURCE_INVALID");
    face.get("/api/v1/resources/ipv4/10.0.0.0/29").await.problem(400, "RESOURCE_INVALID");
}

#[tokio::test]
async fn an_explanation_changes_nothing() {
    let face = Face::with_pool().await;
    let ask = json!({"pool_id": "p", "subscriber_id": "s"});
    let would = face.post("/api/v1/explain", &ask).await.with(200);
    assert_eq!((&would["outcome"], &would["why"]), (&json!("would_get"), &json!("strategy")));
    face.get("/api/v1/allocations/s").await.problem(404, "ALLOCATION_NOT_FOUND");
    let made = face.allocate("s").await;
    assert_eq!(made["resource"], would["resource"]);
    assert_eq!(face.post("/api/v1/explain", &ask).await.with(200)["outcome"], "already_held");
    let taken = json!({"pool_id": "p", "subscriber_id": "t", "resource": made["resource"]});
    let would = face.post("/api/v1/explain", &taken).await.with(200);
    assert_eq!((&would["outcome"], &would["problem"]["reason"]), (&json!("would_fail"), &json!("RESOURCE_HELD")));
}

#[tokio::test]
async fn attributes_are_the_pools_and_if_asked_the_resources() {
    let face = Face::with_pool().await;
    let made = face.allocate("s").await;
    assert_eq!(made["attributes"]["gateway"], "10.0.0.1");
    assert!(made["attributes"].get("Framed-IP-Address").is_none());
    let all = face.get("/api/v1/allocations/s?attributes=all").await.with(200);
    assert_eq!(all["attributes"]["Framed-IP-Address"], made["ip"]);
    face.get("/api/v1/allocations/s?attributes=some").await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn plugins_are_listed_retired_and_resumed() {
    let face = Face::start();
    let told = face.get("/api/v1/plugins").await.with(200);
    assert_eq!((&told["count"], &told["plugins"][0]["spec_schema"]["type"]), (&json!(2), &json!("object")));
    let missing: Vec<_> = told["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["missing"]).collect();
    assert_eq!(missing, [false, true]);
    assert_eq!(face.ask(Method::POST, "/api/v1/plugins/vlan/retire", Body::empty()).await.status, 204);
    face.ask(Method::POST, "/api/v1/plugins/none/retire", Body::empty()).await.problem(404, "PLUGIN_UNKNOWN");
    assert_eq!(face.get("/api/v1/plugins").await.with(200)["plugins"][1]["state"], "retired");
    assert_eq!(face.ask(Method::POST, "/api/v1/plugins/vlan/resume", Body::empty()).await.status, 204);
    assert_eq!(face.get("/api/v1/plugins").await.with(200)["plugins"][1]["state"], "active");
    face.ask(Method::POST, "/api/v1/plugins/none/resume", Body::empty()).await.problem(404, "PLUGIN_UNKNOWN");
}

#[tokio::test]
async fn look_ups_lists_and_releases_need_no_plugin() {
    let face = Face::with_pool().await;
    face.post("/api/v1/pools", &json!({"id": "v", "type": "vlan", "range": "100-200"})).await.with(201);
    face.post("/api/v1/allocations", &json!({"pool_id": "v", "subscriber_id": "s", "ttl": 600})).await.with(201);
    let ip = face.allocate("s").await["ip"].as_str().unwrap().to_owned();
    face.daemon.break_plugins(true);
    assert_eq!(face.get("/api/v1/allocations/s").await.with(200)["count"], 2);
    assert_eq!(
        face.get("/api/v1/allocations").await.with(200)["allocations"][0]["resource"].as_str(),
        Some(ip.as_str())
    );
    assert_eq!(face.get(&format!("/api/v1/resources/ipv4/{ip}")).await.with(200)["count"], 1);
    assert_eq!(face.get("/api/v1/resources/vlan/100").await.with(200)["holders"][0]["subscriber_id"], "s");
    face.get("/api/v1/resources/vlan/101").await.problem(503, "PLUGIN_UNAVAILABLE");
    face.post("/api/v1/allocations/s/renew?pool_id=v", &json!({})).await.with(200);
    assert_eq!(face.delete("/api/v1/allocations/s?all=true").await.status, 204);
}

#[tokio::test]
async fn an_allocation_that_could_not_be_named_stands_and_its_repeat_names_it() {
    let face = Face::with_pool().await;
    face.daemon.break_plugins(true);
    let ask = json!({"pool_id": "p", "subscriber_id": "s"});
    let problem = face.post("/api/v1/allocations", &ask).await.problem(503, "PLUGIN_UNAVAILABLE");
    assert_eq!(problem["retryable"], true);
    let row = face.get("/api/v1/allocations").await.with(200)["allocations"][0].clone();
    assert_eq!((&row["subscriber_id"], row.get("resource")), (&json!("s"), None));
    face.daemon.break_plugins(false);
    assert_eq!(face.post("/api/v1/allocations", &ask).await.with(200)["resource"], "10.0.0.0");
}

#[tokio::test]
async fn a_hints_fault_names_the_hint_and_its_value() {
    let face = Face::with_pool().await;
    let ask = json!({"pool_id": "p", "subscriber_id": "s", "hints": {"prefix_length": 29}});
    let problem = face.post("/api/v1/allocations", &ask).await.problem(400, "HINT_INVALID");
    assert_eq!(
        (&problem["errors"][0]["field"], &problem["errors"][0]["value"]),
        (&json!("hints.prefix_length"), &json!("29"))
    );
}
