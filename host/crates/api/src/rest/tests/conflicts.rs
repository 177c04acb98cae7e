//! Subscribers with two allocations: what they are answered, and how the one that does not stand goes.

use super::watch::{read_until, watch};
use super::*;

/// `s` holds the first address and, from another host that knew of it, 10.0.0.100.
async fn with_two() -> (Face, String) {
    let face = Face::with_pool().await;
    let older = face.allocate("s").await["ip"].as_str().unwrap().to_owned();
    face.daemon.hear_of_another(&face.daemon.shown("s"), 0x0a00_0064, true).await;
    (face, older)
}

async fn open(face: &Face) -> Vec<Value> {
    let page = face.get("/api/v1/conflicts").await.with(200);
    let rows = page["conflicts"].as_array().unwrap().clone();
    assert_eq!((&page["count"], &page["total"]), (&json!(rows.len()), &json!(rows.len())));
    rows
}

#[tokio::test]
async fn what_supersedes_is_answered_and_names_the_other() {
    let (face, older) = with_two().await;
    let again = face.allocate("s").await;
    assert_eq!((&again["ip"], &again["created"]), (&json!("10.0.0.100"), &json!(false)));
    assert_eq!((&again["supersedes"]["resource"], &again["supersedes"]["pool_id"]), (&json!(older), &json!("p")));
    assert_eq!(again["supersedes"]["fence"]["shard"], 0);
    assert!(again.get("superseded_by").is_none(), "{again}");
    let both = face.get("/api/v1/allocations/s").await.with(200);
    assert_eq!((&both["ip"], &both["count"]), (&json!("10.0.0.100"), &json!(2)));
    assert_eq!(
        (&both["allocations"][1]["ip"], &both["allocations"][1]["superseded_by"]),
        (&json!(older), &json!("10.0.0.100"))
    );
    // Who holds the older one: the subscriber, still.
    let holder = face.get(&format!("/api/v1/resources/ipv4/{older}")).await.with(200);
    assert_eq!(holder["holders"][0]["subscriber_id"], "s");
}

#[tokio::test]
async fn a_conflict_is_listed_until_it_is_confirmed() {
    let (face, older) = with_two().await;
    face.allocate("t").await;
    let conflicts = open(&face).await;
    let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    assert_eq!(conflict["kind"], "superseded");
    assert_eq!((&conflict["superseded"]["ip"], &conflict["survivor"]["ip"]), (&json!(older), &json!("10.0.0.100")));
    assert_eq!(face.get("/api/v1/conflicts?subscriber_id=t").await.with(200)["total"], 0);
    assert_eq!(face.get("/api/v1/conflicts?pool_id=p&subscriber_id=s").await.with(200)["total"], 1);
    face.get("/api/v1/conflicts?pool_id=none").await.problem(404, "POOL_UNKNOWN");
    face.get("/api/v1/conflicts?cursor=x").await.problem(400, "CURSOR_INVALID");
    face.get("/api/v1/conflicts?limit=0").await.problem(400, "INVALID_FIELD");
    let id = conflict["id"].as_str().unwrap();
    let path = format!("/api/v1/conflicts/{id}/confirm");
    let closed = face.post(&path, &json!({})).await.with(200);
    assert_eq!((&closed["id"], &closed["superseded"]["ip"]), (&json!(id), &json!(older)));
    assert!(open(&face).await.is_empty());
    face.post(&path, &json!({})).await.problem(404, "CONFLICT_UNKNOWN");
    let one = face.get("/api/v1/allocations/s").await.with(200);
    assert_eq!((&one["ip"], &one["count"]), (&json!("10.0.0.100"), &json!(1)));
}

#[tokio::test]
async fn what_two_hosts_gave_to_two_is_listed_and_told_until_it_is_confirmed() {
    let face = Face::with_pool().await;
    face.allocate("s").await;
    let held = face.allocate("t").await;
    let place = face.daemon.shown("t").span.start();
    face.daemon.hear_of_another(&face.daemon.shown("s"), place, false).await;
    let told = read_until(&face, watch("after=0&subscriber_id=s"), |text| text.contains("event: conflict\n")).await;
    assert!(told.contains("\"kind\":\"contradiction\""), "{told}");
    let conflicts = open(&face).await;
    let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    assert_eq!(conflict["kind"], "contradiction");
    let of = |which: &str| (conflict[which]["subscriber_id"].clone(), conflict[which]["ip"].clone());
    assert_eq!(of("superseded"), (json!("s"), held["ip"].clone()));
    assert_eq!(of("survivor"), (json!("t"), held["ip"].clone()));
    let path = format!("/api/v1/conflicts/{}/confirm", conflict["id"].as_str().unwrap());
    face.post(&path, &json!({})).await.with(200);
    read_until(&face, watch("after=0"), |text| text.contains("event: conflict-closed\n")).await;
    assert!(open(&face).await.is_empty());
    face.post(&path, &json!({})).await.problem(404, "CONFLICT_UNKNOWN");
}

#[tokio::test]
async fn conflicts_are_paged_and_each_is_the_tenants_own() {
    let face = Face::with_pool().await;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        face.allocate(name).await;
        face.daemon.hear_of_another(&face.daemon.shown(name), 0x0a00_0064 + at as u128, false).await;
    }
    let first = face.get("/api/v1/conflicts?limit=2").await.with(200);
    assert_eq!((&first["count"], &first["total"]), (&json!(2), &json!(3)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let last = face.get(&format!("/api/v1/conflicts?limit=2&cursor={cursor}")).await.with(200);
    assert_eq!((&last["count"], last.get("next_cursor")), (&json!(1), None));
    assert_eq!(last["conflicts"][0]["superseded"]["subscriber_id"], "c");
    let id = first["conflicts"][0]["id"].as_str().unwrap();
    let as_other = |method: Method, path: String| {
        face.send(
            Request::builder().method(method).uri(path).header("X-Nexus-Tenant", "other").body(Body::empty()).unwrap(),
        )
    };
    assert_eq!(as_other(Method::GET, "/api/v1/conflicts".to_owned()).await.with(200)["total"], 0);
    as_other(Method::POST, format!("/api/v1/conflicts/{id}/confirm")).await.problem(404, "CONFLICT_UNKNOWN");
}

#[tokio::test]
async fn a_release_ends_both_unless_it_names_one() {
    let (face, older) = with_two().await;
    assert_eq!(face.delete(&format!("/api/v1/allocations/s?resource={older}")).await.status, 204);
    assert_eq!(face.get("/api/v1/allocations/s").await.with(200)["count"], 1);
    face.delete(&format!("/api/v1/allocations/s?resource={older}")).await.problem(404, "ALLOCATION_NOT_FOUND");
    let (face, _) = with_two().await;
    assert_eq!(face.delete("/api/v1/allocations/s").await.status, 204);
    face.get("/api/v1/allocations/s").await.problem(404, "ALLOCATION_NOT_FOUND");
    assert!(open(&face).await.is_empty());
}

#[tokio::test]
async fn what_is_superseded_is_not_renewed() {
    let face = Face::start();
    face.post("/api/v1/pools", &json!({"id": "p", "cidr": "10.0.0.0/24", "lease": "1h"})).await.with(201);
    let older = face.allocate("s").await["ip"].as_str().unwrap().to_owned();
    face.daemon.hear_of_another(&face.daemon.shown("s"), 0x0a00_0064, false).await;
    let all = face.post("/api/v1/allocations/s/renew", &json!({})).await.with(200);
    assert_eq!((&all["count"], &all["ip"]), (&json!(1), &json!("10.0.0.100")));
    let path = format!("/api/v1/allocations/s/renew?resource={older}");
    let refused = face.post(&path, &json!({})).await.problem(409, "SUPERSEDED");
    assert!(refused["error"].as_str().unwrap().contains("10.0.0.100"), "{refused}");
    assert_eq!(refused["resource"], "10.0.0.100");
}

#[tokio::test]
async fn a_watch_tells_when_a_conflict_begins_and_ends() {
    let (face, older) = with_two().await;
    face.delete(&format!("/api/v1/allocations/s?resource={older}")).await;
    let text =
        read_until(&face, watch("after=0"), |text| text.contains("event: conflict-closed") && text.ends_with("\n\n"));
    let text = text.await;
    let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = ["start", "pool-created", "allocated", "allocated", "conflict", "released", "conflict-closed"];
    assert_eq!(named, expected);
    let places: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let last_four: Vec<_> = places.iter().rev().take(4).collect();
    assert_eq!((last_four[0], last_four[2]), (last_four[1], last_four[3]), "{text}");
}
