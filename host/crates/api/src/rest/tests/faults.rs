//! Bad requests: a 4xx that names field, value and remedy; never anything else.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn malformed_json_is_told_with_its_place() {
    let face = Face::with_pool().await;
    let problem =
        face.ask(Method::POST, "/api/v1/allocations", "{\"pool_id\": \n  oops}").await.problem(400, "MALFORMED");
    assert!(problem["error"].as_str().unwrap().starts_with("malformed JSON at line 2 column 3: "), "{problem}");
    face.ask(Method::POST, "/api/v1/allocations", "").await.problem(400, "MALFORMED");
    face.ask(Method::POST, "/api/v1/allocations", "[]").await.problem(400, "MALFORMED");
    face.ask(Method::POST, "/api/v1/pools", "[]").await.problem(400, "INVALID_FIELD");
    // Nor is an array taken for the object by the order of its fields.
    let row = json!(["p", "s", null, null, null, null, null, null, null, null, null, null, null, null, null]);
    for (path, body) in
        [("/api/v1/allocations", row.clone()), ("/api/v1/allocations:batch", json!({"requests": [row, 5]}))]
    {
        let problem = face.post(path, &body).await.problem(400, "MALFORMED");
        assert!(problem["error"].as_str().unwrap().contains("expected one JSON object"), "{problem}");
    }
    face.get("/api/v1/allocations/s").await.problem(404, "ALLOCATION_NOT_FOUND");
    let problem = face.get("/api/v1/allocations/%zz").await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "path");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    face.ask(Method::POST, "/api/v1/pools", deep).await.problem(400, "MALFORMED");
}

#[tokio::test]
async fn every_fault_of_a_request_is_told() {
    let face = Face::with_pool().await;
    let body = json!({
        "pool_id": "-bad-", "ttl": "soon", "hints": [1], "metadata": "x", "alloc_type": "eternal",
        "olt_id": "a", "node_id": "b", "iaid": -1,
    });
    let problem = face.post("/api/v1/allocations", &body).await.problem(400, "INVALID_FIELD");
    let named: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    for field in ["pool_id", "subscriber_id", "ttl", "hints", "metadata", "alloc_type", "olt_id", "iaid"] {
        assert!(named.contains(&field), "{field} is missing in {named:?}");
    }
}

#[tokio::test]
async fn misspelt_pool_fields_are_told_with_the_nearest_known_name() {
    let face = Face::start();
    let body = json!({"id": "p", "cidr": "10.0.0.0/24", "exlusions": ["10.0.0.1"], "hold_downs": 5});
    let problem = face.post("/api/v1/pools", &body).await.problem(400, "INVALID_FIELD");
    let text = problem.to_string();
    assert!(text.contains("did you mean hold_down?") && text.contains("exlusions"), "{text}");
    let problem =
        face.post("/api/v1/pools", &json!({"id": "p", "type": "ipv9", "spec": {}})).await.problem(400, "TYPE_UNKNOWN");
    assert_eq!(problem["errors"][0]["value"], "ipv9");
    face.post("/api/v1/pools", &json!({"id": "p", "cidr": "10.0.0/24"})).await.problem(400, "INVALID_SPEC");
}

#[tokio::test]
async fn a_key_that_stands_twice_in_a_pool_is_named() {
    let face = Face::with_pool().await;
    let doubled = r#"{"id": "x7", "id": "x6", "cidr": "10.1.0.0/24"}"#;
    let problem = face.ask(Method::POST, "/api/v1/pools", doubled).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "id");
    assert!(problem["error"].as_str().unwrap().contains("id: stands there twice"), "{problem}");
    let doubled = r#"{"type": "ipv4", "spec": {"cidr": "10.0.0.0/24", "cidr": "10.0.0.0/23"}}"#;
    let problem = face.ask(Method::PUT, "/api/v1/pools/p", doubled).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "spec.cidr");
    face.get("/api/v1/pools/x6").await.problem(404, "POOL_UNKNOWN");
}

#[tokio::test]
async fn a_text_that_is_no_resource_is_refused_and_one_that_is_free_is_not() {
    let face = Face::with_pool().await;
    face.post("/api/v1/pools", &json!({"id": "p2", "cidr": "10.0.1.0/24"})).await.with(201);
    let list = |query: &str| format!("/api/v1/allocations?{query}");
    face.get(&list("resource=garbage")).await.problem(400, "RESOURCE_INVALID");
    face.post("/api/v1/pools", &json!({"id": "v", "type": "vlan", "range": "100-200"})).await.with(201);
    let problem = face.get(&list("resource=garbage")).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["remedy"], "must be the text of a resource of type ipv4 or vlan");
    face.get(&list("resource=100&pool_id=p")).await.problem(400, "RESOURCE_INVALID");
    for free in
        ["resource=100", "resource=10.0.0.9", "resource=10.9.9.9", "resource=4000", "resource=10.9.9.9&pool_id=p"]
    {
        assert_eq!(face.get(&list(free)).await.with(200)["count"], 0, "{free}");
    }
    face.get("/api/v1/resources/ipv4/garbage").await.problem(400, "RESOURCE_INVALID");
}

#[tokio::test]
async fn a_text_that_is_no_resource_is_refused_where_there_are_no_pools_too() {
    let face = Face::start();
    let list = |query: &str| format!("/api/v1/allocations?{query}");
    for garbage in ["resource=garbage", "resource=garbage&realm=nowhere"] {
        let problem = face.get(&list(garbage)).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["errors"][0]["remedy"], "must be the text of a resource of type ipv4 or vlan", "{garbage}");
    }
    for known in ["resource=10.0.0.9", "resource=100", "resource=10.0.0.9&realm=nowhere"] {
        assert_eq!(face.get(&list(known)).await.with(200)["count"], 0, "{known}");
    }
    face.get("/api/v1/resources/ipv4/garbage").await.problem(400, "INVALID_FIELD");
    face.get("/api/v1/resources/ipv4/10.0.0.9").await.problem(404, "NO_HOLDER");
    // Only types that serve are asked.
    assert_eq!(face.ask(Method::POST, "/api/v1/plugins/vlan/retire", Body::empty()).await.status, 204);
    let problem = face.get(&list("resource=100")).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["remedy"], "must be the text of a resource of type ipv4");
}

#[tokio::test]
async fn pools_of_a_type_that_nobody_knows_are_not_listed_as_none() {
    let face = Face::with_pool().await;
    let problem = face.get("/api/v1/pools?type=nope").await.problem(400, "TYPE_UNKNOWN");
    assert_eq!(problem["errors"][0]["remedy"], "must be one of ipv4, vlan");
    assert_eq!(face.get("/api/v1/pools?type=vlan").await.with(200)["count"], 0);
}

#[tokio::test]
async fn a_pools_type_is_fixed_whatever_the_other_type_says_of_the_spec() {
    let face = Face::with_pool().await;
    let problem = face.put("/api/v1/pools/p", &json!({"type": "vlan", "spec": {"cidr": "10.0.0.0/24"}})).await;
    let problem = problem.problem(409, "POOL_FIELD_FIXED");
    assert_eq!((&problem["errors"][0]["field"], &problem["errors"][0]["value"]), (&json!("type"), &json!("vlan")));
    assert!(problem["errors"][0]["remedy"].as_str().unwrap().starts_with("must stay ipv4"), "{problem}");
}

#[tokio::test]
async fn lease_terms_are_told_as_people_write_them() {
    let face = Face::start();
    let body = json!({"id": "p", "cidr": "10.0.0.0/24", "lease": {"default": "1h", "min": "2h"}});
    let problem = face.post("/api/v1/pools", &body).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["value"], "min 2h, default 1h, max 7d");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_read_and_refused() {
    let face = Face::start();
    let body = format!("{{\"id\": \"{}\"}}", "x".repeat(2 << 20));
    face.ask(Method::POST, "/api/v1/pools", body).await.problem(413, "TOO_LARGE");
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_say_what_does() {
    let face = Face::start();
    face.get("/api/v2/pools").await.problem(404, "NO_SUCH_PATH");
    let told = face.ask(Method::PATCH, "/api/v1/pools", "{}").await;
    assert!(told.headers.contains_key("allow"));
    let problem = told.problem(405, "METHOD_NOT_ALLOWED");
    assert!(problem["error"].as_str().unwrap().contains("POST"), "{problem}");
}

#[tokio::test]
async fn bad_parameters_are_told() {
    let face = Face::with_pool().await;
    for query in ["limit=0", "limit=10001", "limit=x", "pool_id=-", "cursor=00", "cursor=zz", "node_id=%00"] {
        let told = face.get(&format!("/api/v1/allocations?{query}")).await;
        assert_eq!(told.status, 400, "{query}: {}", told.text);
        assert!(told.json()["errors"][0]["remedy"].is_string(), "{query}");
    }
    face.get("/api/v1/allocations/expiring?within=soon").await.problem(400, "INVALID_FIELD");
    face.get("/api/v1/resources/ipv4/10.0.0.1?at=yesterday").await.problem(400, "INVALID_FIELD");
    face.delete("/api/v1/pools/p?force=maybe").await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn without_a_known_token_nothing_is_told() {
    use std::io::Write as _;

    let daemon = Daemon::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // SHA-256 of "secret".
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    writeln!(file, "- name: reader\n  sha256: {hash}\n  role: read\n  tenant: isp-a").unwrap();
    let authority = Authority::with_tokens(file.path()).unwrap();
    let router = super::super::router(Arc::clone(&daemon.app), Arc::new(authority));
    let face = Face { daemon, router };
    let told = face.get("/api/v1/pools").await;
    assert_eq!(told.headers["www-authenticate"], "Bearer");
    told.problem(401, "UNAUTHENTICATED");
    face.get("/health").await;
    let with_token = |path: &str| Request::get(path).header("authorization", "Bearer secret");
    face.send(with_token("/api/v1/pools").body(Body::empty()).unwrap()).await.with(200);
    let other = with_token("/api/v1/pools").header("x-nexus-tenant", "isp-b").body(Body::empty()).unwrap();
    face.send(other).await.problem(403, "TENANT_FORBIDDEN");
    let body = json!({"id": "p", "cidr": "10.0.0.0/24"}).to_string();
    let make = Request::post("/api/v1/pools").header("authorization", "Bearer secret").body(body.into()).unwrap();
    face.send(make).await.problem(403, "FORBIDDEN");
}

/// JSON of any shape, with names that mean something as often as not.
fn any_body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["p", "10.0.0.5", "10.0.0.0/24", "1h", "vlan", "permanent", "-", ""])
            .prop_map(Value::from),
        "\\PC{0,16}".prop_map(Value::from),
    ];
    let names = vec![
        "id",
        "type",
        "spec",
        "cidr",
        "range",
        "pool_id",
        "subscriber_id",
        "ip",
        "resource",
        "key",
        "ttl",
        "hints",
        "attributes",
        "metadata",
        "alloc_type",
        "olt_id",
        "lease",
        "hold_down",
        "realm",
        "realm_by",
        "requests",
        "shards",
        "to",
        "reason",
        "address",
        "x",
    ];
    leaf.prop_recursive(3, 32, 8, move |inner| {
        let name = prop::sample::select(names.clone()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn no_body_is_answered_with_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let face = runtime.block_on(Face::with_pool());
    let paths = [
        "/api/v1/allocations",
        "/api/v1/pools",
        "/api/v1/allocations:batch",
        "/api/v1/explain",
        "/api/v1/allocations/s/renew",
        "/api/v1/pools/p/reservations",
        "/api/v1/cluster/join",
        "/api/v1/cluster/shards:move",
        "/api/v1/cluster/shards:seize",
    ];
    proptest!(ProptestConfig::with_cases(400), |(body in any_body(), at in 0..paths.len())| {
        let told = runtime.block_on(face.post(paths[at], &body));
        let fine = told.status.is_success() || told.status.is_client_error() || told.status == 503;
        prop_assert!(fine, "{} {body}: {} {}", paths[at], told.status, told.text);
        if told.status.is_client_error() {
            prop_assert!(told.json()["errors"][0]["remedy"].is_string(), "{}", told.text);
        }
    });
}

#[test]
fn no_bytes_are_answered_with_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let face = runtime.block_on(Face::with_pool());
    proptest!(ProptestConfig::with_cases(200), |(body in prop::collection::vec(any::<u8>(), 0..64))| {
        let told = runtime.block_on(face.ask(Method::POST, "/api/v1/pools", body));
        prop_assert!(told.status.is_client_error(), "{} {}", told.status, told.text);
    });
}

#[test]
fn no_path_is_answered_with_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let face = runtime.block_on(Face::with_pool());
    let heads = ["allocations", "pools", "resources/ipv4", "nodes", "plugins", "reservations", "cluster", "hashring"];
    proptest!(ProptestConfig::with_cases(300), |(at in 0..heads.len(), tail in "[a-z0-9/%._:?=&-]{0,24}")| {
        let path = format!("/api/v1/{}/{tail}", heads[at]);
        if path.parse::<axum::http::Uri>().is_ok() {
            let told = runtime.block_on(face.get(&path));
            prop_assert!(told.status.is_success() || told.status.is_client_error(), "{path}: {} {}", told.status, told.text);
        }
    });
}
