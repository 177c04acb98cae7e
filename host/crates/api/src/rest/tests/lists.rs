//! Lists and batches.

use super::*;

#[tokio::test]
async fn pages_follow_each_other_while_rows_come_and_go() {
    let face = Face::with_pool().await;
    for at in 0..25 {
        face.allocate(&format!("s{at:02}")).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = face.get(&format!("/api/v1/allocations?pool_id=p&limit=10{cursor}")).await.with(200);
        assert!(page["total"].as_u64().unwrap() >= 24, "{page}");
        let rows = page["allocations"].as_array().unwrap();
        assert_eq!(page["count"], rows.len());
        seen.extend(rows.iter().map(|row| row["subscriber_id"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next_cursor") else { break };
        cursor = format!("&cursor={}", next.as_str().unwrap());
        // One that was shown goes, and the next page is what it would have been.
        face.delete(&format!("/api/v1/allocations/{}", seen[0])).await;
    }
    assert_eq!(seen.len(), 25);
    seen.dedup();
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn lists_are_filtered() {
    let face = Face::with_pool().await;
    for (subscriber, olt) in [("a", "olt-1"), ("b", "olt-1"), ("c", "olt-2")] {
        let body = json!({"pool_id": "p", "subscriber_id": subscriber, "olt_id": olt});
        face.post("/api/v1/allocations", &body).await.with(201);
    }
    let count = async |query: &str| face.get(&format!("/api/v1/allocations?{query}")).await.with(200)["count"].clone();
    assert_eq!(count("").await, 3);
    assert_eq!(count("node_id=olt-1").await, 2);
    assert_eq!(count("olt_id=olt-2").await, 1);
    assert_eq!(count("subscriber_id=b").await, 1);
    assert_eq!(count("subscriber_id=b&node_id=olt-2").await, 0);
    let held = face.get("/api/v1/allocations?subscriber_id=c").await.with(200)["allocations"][0]["ip"].clone();
    assert_eq!(count(&format!("resource={}", held.as_str().unwrap())).await, 1);
    assert_eq!(count("realm=elsewhere").await, 0);
    assert_eq!(count("realm=default").await, 3);
    face.get("/api/v1/allocations?pool_id=none").await.problem(404, "POOL_UNKNOWN");
}

#[tokio::test]
async fn each_request_of_a_batch_has_its_own_result() {
    let face = Face::with_pool().await;
    let body = json!({"requests": [
        {"pool_id": "p", "subscriber_id": "a"},
        {"pool_id": "none", "subscriber_id": "b"},
        {"subscriber_id": "c"},
        {"pool_id": "p", "subscriber_id": "a"},
        {"pool_id": "p", "subscriber_id": "d"},
    ]});
    let told = face.post("/api/v1/allocations:batch", &body).await.with(200);
    let statuses: Vec<_> =
        told["results"].as_array().unwrap().iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 404, 400, 200, 201]);
    assert_eq!((&told["count"], &told["failed"]), (&json!(5), &json!(2)));
    assert_eq!(told["results"][0]["allocation"]["ip"], told["results"][3]["allocation"]["ip"]);
    face.post("/api/v1/allocations:batch", &json!({"requests": [], "atomic": true}))
        .await
        .problem(400, "INVALID_FIELD");
    let many = vec![json!({}); 1_001];
    face.post("/api/v1/allocations:batch", &json!({"requests": many})).await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let face = Face::with_pool().await;
    face.allocate("s").await;
    let other = |path: &str| Request::get(path).header("X-Nexus-Tenant", "isp-b").body(Body::empty()).unwrap();
    assert_eq!(face.send(other("/api/v1/pools")).await.with(200)["count"], 0);
    assert_eq!(face.send(other("/api/v1/allocations")).await.with(200)["count"], 0);
    face.send(other("/api/v1/allocations/s")).await.problem(404, "ALLOCATION_NOT_FOUND");
    face.send(other("/api/v1/pools/p")).await.problem(404, "POOL_UNKNOWN");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let face = Face::with_pool().await;
    face.allocate("s").await;
    face.get("/api/v1/allocations/s").await;
    face.get("/nowhere/at/all").await;
    let other = |path: &str, body: Value| {
        Request::post(path).header("X-Nexus-Tenant", "isp-b").body(Body::from(body.to_string())).unwrap()
    };
    // Another tenant's pool of the same name, in a space of its own.
    face.send(other("/api/v1/pools", json!({"id": "p", "cidr": "10.0.0.0/24"}))).await.with(201);
    for subscriber in ["a", "b"] {
        let asked = json!({"pool_id": "p", "subscriber_id": subscriber});
        face.send(other("/api/v1/allocations", asked)).await.with(201);
    }
    let mut text = String::new();
    prometheus::TextEncoder::new().encode_utf8(&face.daemon.registry.gather(), &mut text).unwrap();
    for line in [
        r#"nexus_api_requests_total{method="GET",path="/api/v1/allocations/{subscriber}",status="200"} 1"#,
        r#"nexus_api_requests_total{method="GET",path="none",status="404"} 1"#,
        r#"nexus_allocations_total{olt_id="",pool_id="p",result="created",tenant="default"} 1"#,
        r#"nexus_allocations_total{olt_id="",pool_id="p",result="created",tenant="isp-b"} 2"#,
        r#"nexus_allocation_duration_seconds_count{pool_id="p",tenant="isp-b"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
