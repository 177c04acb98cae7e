//! The cluster, seen and changed.

use super::*;

#[tokio::test]
async fn the_status_shows_members_ledger_and_warnings() {
    let status = Face::start().get("/api/v1/cluster/status").await.with(200);
    assert_eq!(
        (&status["standing"], &status["node_id"], &status["member"]),
        (&json!("member"), &json!("core-1"), &json!(1))
    );
    let ledger = json!({"leader": 1, "term": 3, "committed": 120, "applied": 119, "majority": true});
    assert_eq!(status["ledger"], ledger);
    assert_eq!(status["vector"], json!([{"host": "5be8dde2a1c4f036", "incarnation": 1, "through": 4711}]));
    let other = &status["members"][1];
    assert_eq!(
        (&other["node_id"], &other["vote"], &other["reachable"]),
        (&json!("core-2"), &json!("learner"), &json!(false))
    );
    // What is not known is absent, and not 0.
    assert_eq!((status["members"][0].get("behind"), other.get("behind")), (Some(&json!(0)), None));
    assert_eq!(status["warnings"], json!(["core-2 cannot be reached"]));
}

#[tokio::test]
async fn the_hashring_shows_the_tenants_pools_and_no_others() {
    let face = Face::with_pool().await;
    face.post("/api/v1/pools", &json!({"id": "q", "cidr": "10.1.0.0/24"})).await.with(201);
    let ring = face.get("/api/v1/hashring").await.with(200);
    assert_eq!((&ring["virtual_nodes"], ring["points"].as_array().unwrap().len()), (&json!(2), 4));
    assert!(ring["points"][0]["at"].as_str().is_some_and(|at| at.len() == 16), "{ring}");
    let shard = json!({"shard": 0, "epoch": 1, "owner": 1, "wished": 1, "kind": "escrow", "state": "held"});
    assert_eq!((&ring["pools"][0]["pool_id"], &ring["pools"][0]["shards"][0]), (&json!("p"), &shard));
    let names = |ring: &Value| -> Vec<String> {
        ring["pools"].as_array().unwrap().iter().map(|pool| pool["pool_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&ring), ["p", "q"]);
    assert_eq!(names(&face.get("/api/v1/hashring?pool_id=q").await.with(200)), ["q"]);
    face.get("/api/v1/hashring?pool_id=none").await.problem(404, "POOL_UNKNOWN");
    face.get("/api/v1/hashring?pool_id=-").await.problem(400, "INVALID_FIELD");
    let other = Request::get("/api/v1/hashring").header("x-nexus-tenant", "isp-b").body(Body::empty()).unwrap();
    assert!(names(&face.send(other).await.with(200)).is_empty());
}

#[tokio::test]
async fn members_are_promoted_demoted_drained_and_removed() {
    let face = Face::start();
    let turn = async |member: &str, what: &str| {
        face.post(&format!("/api/v1/cluster/members/{member}/{what}"), &json!({})).await.with(200)
    };
    assert_eq!(turn("core-2", "promote").await["members"][1]["vote"], "voter");
    assert_eq!(turn("2", "demote").await["members"][1]["vote"], "learner");
    assert_eq!(turn("2", "drain").await["members"][1]["draining"], true);
    assert_eq!(turn("core-2", "undrain").await["members"][1]["draining"], false);
    let problem = face.post("/api/v1/cluster/members/core-9/promote", &json!({})).await.problem(400, "INVALID_FIELD");
    assert_eq!((&problem["errors"][0]["field"], &problem["errors"][0]["value"]), (&json!("member"), &json!("core-9")));
    let problem = face.delete("/api/v1/cluster/members/2").await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "reason");
    let both = face.ask(Method::DELETE, "/api/v1/cluster/members/2?reason=lost", r#"{"reason": "burnt"}"#).await;
    both.problem(400, "INVALID_FIELD");
    let left = face.ask(Method::DELETE, "/api/v1/cluster/members/2", r#"{"reason": " burnt "}"#).await.with(200);
    assert_eq!(left["members"].as_array().unwrap().len(), 1);
    face.delete("/api/v1/cluster/members/core-1?reason=lost%20too").await.with(200);
    let orders = &face.get("/api/v1/cluster/status").await.with(200)["orders"];
    let told: Vec<_> = ["reason", "by", "at"].into_iter().map(|field| orders[1][field].as_str().unwrap()).collect();
    assert_eq!(told, ["burnt", "a caller without a token", "2026-01-01T00:00:00.000Z"]);
    assert_eq!((&orders[0]["what"], &orders[0]["reason"]), (&json!("core-1 was removed"), &json!("lost too")));
}

#[tokio::test]
async fn what_a_cluster_cannot_do_is_a_problem_that_says_whether_to_try_again() {
    let face = Face::start();
    let problem = face.post("/api/v1/cluster/init", &json!({})).await.problem(409, "CLUSTER_REFUSED");
    assert_eq!((&problem["error"], &problem["retryable"]), (&json!("the ledger was formed already"), &json!(false)));
    let join = json!({"address": "core-9:33123"});
    let told = face.post("/api/v1/cluster/join", &join).await;
    assert_eq!(told.headers["retry-after"], "1");
    assert_eq!(told.problem(503, "CLUSTER_UNAVAILABLE")["error"], "core-9:33123 cannot be reached");
    assert_eq!(face.post("/api/v1/cluster/leave", &json!({})).await.problem(503, "OUTCOME_UNKNOWN")["retryable"], true);
    assert_eq!(face.ask(Method::POST, "/api/v1/cluster/join", "").await.with(200)["standing"], "member");
    face.post("/api/v1/cluster/join", &json!({"address": 7})).await.problem(400, "INVALID_FIELD");
    face.post("/api/v1/cluster/join", &json!({"address": "x".repeat(600)})).await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn shards_are_moved_and_seized() {
    let face = Face::with_pool().await;
    let order = json!({"pool_id": "p", "shards": [0, 0], "to": "core-2"});
    assert_eq!(face.post("/api/v1/cluster/shards:move", &order).await.with(200), json!({"count": 1}));
    assert_eq!(face.get("/api/v1/hashring").await.with(200)["pools"][0]["shards"][0]["owner"], 2);
    let problem = face.post("/api/v1/cluster/shards:seize", &order).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "reason");
    let mut seizure = order.clone();
    seizure["reason"] = json!("core-1 burnt down");
    face.post("/api/v1/cluster/shards:seize", &seizure).await.with(200);
    let [moved, seized] = <[_; 2]>::try_from(face.daemon.pair.orders()).unwrap();
    assert_eq!((moved.tenant.as_str(), moved.reason.as_str(), moved.shards.len()), ("default", "", 1));
    assert_eq!((seized.reason.as_str(), seized.by.as_str()), ("core-1 burnt down", "a caller without a token"));
}

#[tokio::test]
async fn an_order_that_names_no_shard_or_no_owner_is_told_in_full() {
    let face = Face::with_pool().await;
    let problem =
        face.post("/api/v1/cluster/shards:move", &json!({"shards": "1-3"})).await.problem(400, "INVALID_FIELD");
    let named: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(named, ["pool_id", "shards", "to"]);
    for (shards, field) in
        [(json!([]), "shards"), (json!([9]), "shards"), (json!([0, -1]), "shards.1"), (json!([1.5]), "shards.0")]
    {
        let order = json!({"pool_id": "p", "shards": shards, "to": "core-2"});
        let problem = face.post("/api/v1/cluster/shards:move", &order).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["errors"][0]["field"], field, "{shards}");
    }
    let order = json!({"pool_id": "none", "shards": [0], "to": "core-2"});
    face.post("/api/v1/cluster/shards:move", &order).await.problem(404, "POOL_UNKNOWN");
    let order = json!({"pool_id": "p", "shards": [0], "to": "core-9"});
    face.post("/api/v1/cluster/shards:move", &order).await.problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn readers_see_the_cluster_and_only_admins_change_it() {
    use std::io::Write as _;

    use sha2::{Digest as _, Sha256};

    let daemon = Daemon::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for role in ["read", "operate", "admin"] {
        writeln!(file, "- {{name: the {role}er, sha256: {:x}, role: {role}}}", Sha256::digest(role)).unwrap();
    }
    let authority = Authority::with_tokens(file.path()).unwrap();
    let router = super::super::router(Arc::clone(&daemon.app), Arc::new(authority));
    let face = Face { daemon, router };
    let ask = async |role: &str, method: Method, path: &str, body: &Value| {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {role}"));
        face.send(request.body(body.to_string().into()).unwrap()).await
    };
    for path in ["/api/v1/cluster/status", "/api/v1/hashring"] {
        ask("read", Method::GET, path, &json!({})).await.with(200);
    }
    let pool = json!({"id": "p", "cidr": "10.0.0.0/24"});
    ask("admin", Method::POST, "/api/v1/pools", &pool).await.with(201);
    let order = json!({"pool_id": "p", "shards": [0], "to": "core-2", "reason": "lost"});
    let changes = [
        "/api/v1/cluster/init",
        "/api/v1/cluster/join",
        "/api/v1/cluster/leave",
        "/api/v1/cluster/members/2/promote",
        "/api/v1/cluster/members/2/demote",
        "/api/v1/cluster/members/2/drain",
        "/api/v1/cluster/members/2/undrain",
        "/api/v1/cluster/shards:move",
        "/api/v1/cluster/shards:seize",
        "/api/v1/cluster/shards:end-quarantine",
        "/api/v1/admin/backup",
    ];
    for path in changes {
        ask("operate", Method::POST, path, &order).await.problem(403, "FORBIDDEN");
    }
    ask("operate", Method::DELETE, "/api/v1/cluster/members/2?reason=lost", &json!({})).await.problem(403, "FORBIDDEN");
    assert!(face.daemon.pair.orders().is_empty() && face.daemon.pair.removed().is_empty());
    ask("admin", Method::POST, "/api/v1/cluster/shards:seize", &order).await.with(200);
    assert_eq!(face.daemon.pair.orders()[0].by, "the adminer");
}

#[tokio::test]
async fn a_quarantine_ends_by_the_word_of_an_operator_who_says_why() {
    let face = Face::start();
    let pool = json!({"id": "p1", "cidr": "10.0.0.0/24"});
    face.post("/api/v1/pools", &pool).await.with(201);
    let path = "/api/v1/cluster/shards:end-quarantine";
    let order = json!({"pool_id": "p1", "reason": "all BNGs were restarted"});
    assert_eq!(face.post(path, &order).await.with(200), json!({"count": 3}));
    let problem = face.post(path, &json!({"pool_id": "p1", "reason": " "})).await.problem(400, "INVALID_FIELD");
    assert_eq!(problem["errors"][0]["field"], "reason");
    face.post(path, &json!({"reason": "x"})).await.problem(400, "INVALID_FIELD");
    face.post(path, &json!({"pool_id": "none", "reason": "x"})).await.problem(404, "POOL_UNKNOWN");
    face.post(path, &json!({"pool_id": "p1", "reason": "too early"})).await.problem(409, "CLUSTER_REFUSED");
}

#[tokio::test]
async fn a_backup_is_its_bytes_and_one_that_fails_breaks_off() {
    use tower::ServiceExt as _;

    let face = Face::start();
    let ask = async || {
        let request = Request::builder().method(Method::POST).uri("/api/v1/admin/backup");
        face.router.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap()
    };
    let whole = ask().await;
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"application/x-tar".parse().unwrap())
    );
    assert_eq!(axum::body::to_bytes(whole.into_body(), 100).await.unwrap(), "abc");
    assert!(axum::body::to_bytes(ask().await.into_body(), 100).await.is_err(), "its end is missing");
    face.post("/api/v1/admin/backup", &json!({})).await.problem(503, "BACKUP_REFUSED");
}
