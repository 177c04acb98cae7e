//! Watches.

use std::time::Duration;

use super::*;
use crate::testing::WATCH_WINDOW;

/// The stream's text until `enough` of it is there.
pub(super) async fn read_until(face: &Face, request: Request<Body>, enough: impl Fn(&str) -> bool) -> String {
    let response = face.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut chunks = response.into_body().into_data_stream();
    let mut text = String::new();
    let reading = async {
        while !enough(&text) {
            let chunk = chunks.next().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap_or_else(|_| panic!("not enough came: {text}"));
    text
}

pub(super) fn watch(query: &str) -> Request<Body> {
    Request::get(format!("/api/v1/watch?{query}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn what_happened_after_an_event_is_told_in_order() {
    let face = Face::with_pool().await;
    face.allocate("a").await;
    face.allocate("b").await;
    face.delete("/api/v1/allocations/a").await;
    let text = read_until(&face, watch("after=0"), |text| text.contains("event: released")).await;
    let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(named, ["start", "pool-created", "allocated", "allocated", "released"]);
    let only_b = read_until(&face, watch("after=0&subscriber_id=b"), |text| text.contains("\"b\"")).await;
    assert!(!only_b.contains("\"a\"") && !only_b.contains("pool-created"), "{only_b}");
}

#[tokio::test]
async fn a_watch_resumes_after_the_last_event_it_had() {
    let face = Face::with_pool().await;
    face.allocate("a").await;
    let text =
        read_until(&face, watch("after=0"), |text| text.contains("event: allocated") && text.ends_with("\n\n")).await;
    let last = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    face.allocate("b").await;
    let resumed = Request::get("/api/v1/watch").header("Last-Event-ID", last).body(Body::empty()).unwrap();
    let text = read_until(&face, resumed, |text| text.contains("\"b\"")).await;
    assert!(!text.contains("\"a\""), "{text}");
}

/// More than a watch takes at once happened to a pool that was gone when the watch came back.
#[tokio::test]
async fn a_resumed_watch_hears_everything_of_a_pool_that_is_gone() {
    let face = Face::of(Daemon::with_window(2_000));
    face.post("/api/v1/pools", &json!({"id": "p", "cidr": "10.0.0.0/16"})).await.with(201);
    let made =
        read_until(&face, watch("after=0"), |text| text.contains("pool-created") && text.ends_with("\n\n")).await;
    let seen = made.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let requests: Vec<_> = (0..600).map(|at| json!({"pool_id": "p", "subscriber_id": format!("s{at}")})).collect();
    face.post("/api/v1/allocations:batch", &json!({"requests": requests})).await.with(200);
    assert_eq!(face.delete("/api/v1/pools/p?force=true").await.status, 204);
    face.post("/api/v1/pools", &json!({"id": "last", "cidr": "10.1.0.0/24"})).await.with(201);
    let text = read_until(&face, watch(&format!("after={seen}")), |text| text.contains("event: pool-created")).await;
    let count =
        |name: &str| text.lines().filter_map(|line| line.strip_prefix("event: ")).filter(|at| *at == name).count();
    assert_eq!((count("allocated"), count("pool-released"), count("pool-deleted")), (600, 600, 1));
}

#[tokio::test]
async fn a_watch_that_comes_too_late_is_told_so() {
    let face = Face::with_pool().await;
    for at in 0..WATCH_WINDOW + 10 {
        face.allocate(&format!("s{at}")).await;
    }
    let text = read_until(&face, watch("after=1"), |text| text.contains("event: allocated")).await;
    assert!(text.contains("event: gap"), "{text}");
    face.send(Request::get("/api/v1/watch").header("Last-Event-ID", "x").body(Body::empty()).unwrap())
        .await
        .problem(400, "INVALID_FIELD");
}

#[tokio::test]
async fn a_watch_ends_when_the_daemon_drains() {
    let face = Face::with_pool().await;
    let response = face.router.clone().oneshot(watch("")).await.unwrap();
    face.daemon.app.stopping().cancel();
    let reading = response.into_body().into_data_stream().collect::<Vec<_>>();
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the stream ends");
}

#[tokio::test]
async fn notes_are_watched_with_everything_or_by_their_beginning() {
    let face = Face::with_pool().await;
    for (key, value) in [("olt/1", "by the mill"), ("site/1", "x")] {
        face.put(&format!("/api/v1/notes/{key}"), &json!({ "value": value })).await.with(200);
    }
    face.delete("/api/v1/notes/olt/1").await.with(204);
    let named = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    };
    let all = read_until(&face, watch("after=0"), |text| text.contains("event: note-deleted")).await;
    assert_eq!(named(&all), ["start", "pool-created", "note-written", "note-written", "note-deleted"]);
    let of_olts = read_until(&face, watch("after=0&notes=olt/"), |text| text.contains("event: note-deleted")).await;
    assert_eq!(named(&of_olts), ["start", "note-written", "note-deleted"]);
    assert!(of_olts.contains("by the mill") && !of_olts.contains("pool_id"), "{of_olts}");
    let of_pool = read_until(&face, watch("after=0&pool_id=p"), |text| text.contains("pool-created")).await;
    assert!(!of_pool.contains("note-"), "{of_pool}");
}
