//! The allocation stream and watches.

use std::collections::BTreeMap;

use futures_util::stream;
use nexus_proto::v1::watch_allocations_response::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tonic::Streaming;

use super::*;
use crate::testing::WATCH_WINDOW;

async fn watch(client: &Client, resume_token: &str) -> Streaming<v1::WatchAllocationsResponse> {
    let request = v1::WatchAllocationsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
    answered(client.nexus().watch_allocations(request).await).unwrap()
}

async fn next(events: &mut Streaming<v1::WatchAllocationsResponse>) -> (Event, String) {
    let message = timeout(DEADLINE, events.message()).await.unwrap().unwrap().unwrap();
    (message.event.unwrap(), message.resume_token)
}

#[tokio::test]
async fn every_request_of_a_stream_is_answered_with_its_id() {
    let (_served, client) = with_pool().await;
    create(&client, r#"{"id": "wide", "cidr": "10.1.0.0/16"}"#).await.unwrap();
    let requests = (0..3_000_u64).map(|id| {
        let pool = if id % 100 == 99 { "nowhere" } else { "wide" };
        v1::AllocateStreamRequest { id: id + 7, request: Some(request(pool, &format!("line-{id}"))) }
    });
    let mut answers = answered(client.nexus().allocate_stream(stream::iter(requests)).await).unwrap();
    let mut given = BTreeMap::new();
    let mut refused = 0;
    while let Some(answer) = timeout(DEADLINE, answers.message()).await.unwrap().unwrap() {
        match answer.outcome.unwrap() {
            v1::allocate_stream_response::Outcome::Allocated(allocated) => {
                assert_eq!(allocated.allocation.unwrap().subscriber_id, format!("line-{}", answer.id - 7));
                assert!(given.insert(allocated.ip, answer.id).is_none(), "an address was given twice");
            }
            v1::allocate_stream_response::Outcome::Error(error) => {
                assert_eq!((error.reason.as_str(), (answer.id - 7) % 100), ("POOL_UNKNOWN", 99));
                refused += 1;
            }
        }
    }
    assert_eq!((given.len(), refused), (2_970, 30));
}

#[tokio::test]
async fn a_stream_item_without_a_request_is_refused_alone() {
    let (_served, client) = with_pool().await;
    let items = [
        v1::AllocateStreamRequest { id: 1, request: None },
        v1::AllocateStreamRequest { id: 2, request: Some(request("p1", "line-7")) },
    ];
    let mut answers = answered(client.nexus().allocate_stream(stream::iter(items)).await).unwrap();
    let first = answers.message().await.unwrap().unwrap();
    assert!(matches!(first.outcome.unwrap(), v1::allocate_stream_response::Outcome::Error(error) if error.code == 3));
    let second = answers.message().await.unwrap().unwrap();
    assert!(matches!(second.outcome.unwrap(), v1::allocate_stream_response::Outcome::Allocated(_)));
}

#[tokio::test]
async fn a_watch_tells_what_happens_and_resumes() {
    let (_served, client) = with_pool().await;
    let mut events = watch(&client, "").await;
    assert!(matches!(next(&mut events).await.0, Event::Ready(_)));
    allocate(&client, request("p1", "line-7")).await.unwrap();
    let (allocated, token) = next(&mut events).await;
    assert!(matches!(allocated, Event::Allocated(one) if one.subscriber_id == "line-7"));
    let release = v1::ReleaseRequest { subscriber_id: "line-7".to_owned(), ..Default::default() };
    answered(client.nexus().deallocate(release).await).unwrap();
    let ended =
        |event| matches!(event, Event::Ended(past) if past.cause() == v1::EndCause::Released && past.r#type == "ipv4");
    assert!(ended(next(&mut events).await.0));
    let mut resumed = watch(&client, &token).await;
    assert!(matches!(next(&mut resumed).await.0, Event::Ready(_)));
    assert!(ended(next(&mut resumed).await.0));
}

#[tokio::test]
async fn a_watch_that_fell_out_of_the_window_is_told_so() {
    let (_served, client) = with_pool().await;
    for line in 0..=WATCH_WINDOW {
        allocate(&client, request("p1", &format!("line-{line}"))).await.unwrap();
    }
    let mut events = watch(&client, "1").await;
    assert!(matches!(next(&mut events).await.0, Event::Ready(_)));
    assert!(matches!(next(&mut events).await.0, Event::Gap(_)));
    assert!(matches!(next(&mut events).await.0, Event::Allocated(_)));
    let nonsense = v1::WatchAllocationsRequest { resume_token: "later".to_owned(), ..Default::default() };
    let refused = answered(client.nexus().watch_allocations(nonsense).await);
    assert_eq!(blame(refused.map(|_| ())).2, "resume_token");
}

#[tokio::test]
async fn draining_ends_streams_and_the_server() {
    let (mut served, client) = with_pool().await;
    let mut events = watch(&client, "").await;
    assert!(matches!(next(&mut events).await.0, Event::Ready(_)));
    let mut answers = answered(client.nexus().allocate_stream(stream::pending()).await).unwrap();
    served.daemon.app.stopping().cancel();
    let ended = timeout(DEADLINE, events.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    let ended = timeout(DEADLINE, answers.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    timeout(DEADLINE, &mut served.server).await.unwrap().unwrap().unwrap();
}

/// One that never says a word, and one that stops after the preface.
#[tokio::test]
async fn silent_peers_do_not_hold_up_the_drain() {
    let (mut served, _client) = with_pool().await;
    let _silent = tokio::net::TcpStream::connect(&served.address).await.unwrap();
    let mut begun = tokio::net::TcpStream::connect(&served.address).await.unwrap();
    begun.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    // What the server says first shows that it has taken the connection.
    begun.read_u8().await.unwrap();
    served.daemon.app.stopping().cancel();
    timeout(DEADLINE, &mut served.server).await.unwrap().unwrap().unwrap();
}

/// A drain that is cut short leaves nothing behind that still holds the application.
#[tokio::test]
async fn connections_end_with_the_server() {
    let (served, client) = with_pool().await;
    let mut events = watch(&client, "").await;
    assert!(matches!(next(&mut events).await.0, Event::Ready(_)));
    served.server.abort();
    assert!(timeout(DEADLINE, events.message()).await.unwrap().is_err());
}
