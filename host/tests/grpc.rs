//! A real daemon over gRPC: published numbers, streams, watches, TLS and tokens.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use common::{Daemon, Start, directory};
use nexus_proto::v1::allocate_stream_response::Outcome;
use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::cluster_service_client::ClusterServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::watch_allocations_response::Event;
use nexus_proto::v1::{
    AllocateRequest, AllocateStreamRequest, ClusterStanding, GetHashringRequest, InitRequest, ListMembersRequest,
    LookupByIpRequest, LookupRequest, ReleaseRequest, StatusRequest, WatchAllocationsRequest,
};
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

async fn connect(daemon: &Daemon) -> Channel {
    Channel::from_shared(daemon.grpc.clone()).expect("an address").connect().await.expect("the daemon listens")
}

fn started(directory: &tempfile::TempDir) -> Daemon {
    let daemon = Start::on(directory.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v4", "cidr": "10.0.0.0/16"})).0, 201);
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "v6", "cidr": "2001:db8::/40", "prefix": 56})).0, 201);
    daemon
}

fn ask(pool: &str, subscriber: &str) -> AllocateRequest {
    AllocateRequest { pool_id: pool.into(), subscriber_id: subscriber.into(), ..AllocateRequest::default() }
}

#[tokio::test]
async fn the_published_service_allocates_looks_up_and_releases() {
    let directory = directory();
    let daemon = started(&directory);
    let mut client = AllocationServiceClient::new(connect(&daemon).await);
    let made = client.allocate(ask("v4", "a")).await.expect("allocated").into_inner();
    assert_eq!((made.prefix_length, made.created), (32, true));
    let again = client.allocate(ask("v4", "a")).await.expect("the same").into_inner();
    assert_eq!((again.ip.as_str(), again.created), (made.ip.as_str(), false));
    let by_ip =
        client.lookup_by_ip(LookupByIpRequest { ip: made.ip.clone(), ..Default::default() }).await.expect("held");
    assert_eq!(by_ip.into_inner().ip, made.ip);
    let prefixes = [(1, "2001:db8::"), (2, "2001:db8:0:100::")];
    for (iaid, ip) in prefixes {
        let request = AllocateRequest { duid: "00:01".into(), iaid: Some(iaid), ..ask("v6", "house") };
        let prefix = client.allocate(request).await.expect("a prefix").into_inner();
        assert_eq!((prefix.ip.as_str(), prefix.prefix_length), (ip, 56), "each IA_PD has its own");
    }
    let request = ReleaseRequest { subscriber_id: "a".into(), pool_id: "v4".into(), ..Default::default() };
    client.release(request).await.expect("released");
    let gone = client.lookup_by_subscriber(LookupRequest { subscriber_id: "a".into(), ..Default::default() }).await;
    assert_eq!(gone.expect_err("nothing held").code(), Code::NotFound);
    let swapped = client.allocate(ask("a", "v4")).await.expect_err("no such pool");
    assert_eq!(swapped.code(), Code::InvalidArgument, "{swapped:?}");
}

#[tokio::test]
async fn a_stream_answers_every_request_by_its_id() {
    let directory = directory();
    let daemon = started(&directory);
    let (sender, requests) = tokio::sync::mpsc::channel(64);
    let feeder = tokio::spawn(async move {
        for id in 0..2_000_u64 {
            let pool = if id % 100 == 99 { "nowhere" } else { "v4" };
            let request = Some(ask(pool, &format!("s{id}")));
            sender.send(AllocateStreamRequest { id, request }).await.expect("the stream is open");
        }
    });
    let answers = NexusClient::new(connect(&daemon).await).allocate_stream(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let (mut ids, mut ips, mut errors) = (Vec::new(), std::collections::BTreeSet::new(), 0);
    while let Some(answer) = answers.message().await.expect("a whole stream") {
        ids.push(answer.id);
        match answer.outcome.expect("an outcome") {
            Outcome::Allocated(allocated) => assert!(ips.insert(allocated.ip), "handed out twice"),
            Outcome::Error(error) => {
                assert_eq!(error.reason, "POOL_UNKNOWN");
                errors += 1;
            }
        }
    }
    feeder.await.expect("fed");
    ids.sort_unstable();
    assert_eq!((ids, ips.len(), errors), ((0..2_000).collect(), 1_980, 20));
}

#[tokio::test]
async fn a_watch_tells_what_happened_after_its_place() {
    let directory = directory();
    let daemon = started(&directory);
    let mut client = NexusClient::new(connect(&daemon).await);
    let mut watch = client.watch_allocations(WatchAllocationsRequest::default()).await.expect("a watch").into_inner();
    let ready = watch.message().await.expect("alive").expect("a first message");
    assert!(matches!(ready.event, Some(Event::Ready(_))), "{ready:?}");
    drop(watch);
    client.allocate(ask("v4", "a")).await.expect("allocated");
    let request = WatchAllocationsRequest { resume_token: ready.resume_token, ..Default::default() };
    let mut watch = client.watch_allocations(request).await.expect("a watch").into_inner();
    let told = loop {
        let message = watch.message().await.expect("alive").expect("more to come");
        match message.event {
            Some(Event::Allocated(allocation)) => break allocation,
            Some(Event::Ready(_)) => {}
            other => panic!("unexpected: {other:?}"),
        }
    };
    assert_eq!(told.subscriber_id, "a");
    let request = WatchAllocationsRequest { resume_token: "1".into(), ..Default::default() };
    match client.watch_allocations(request).await {
        Ok(stream) => {
            let first = stream.into_inner().message().await.expect("alive").expect("a first message");
            assert!(matches!(first.event, Some(Event::Gap(_) | Event::Ready(_) | Event::Pool(_))), "{first:?}");
        }
        Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument),
    }
}

#[tokio::test]
async fn a_host_without_peers_shows_itself_as_the_whole_cluster() {
    let directory = directory();
    let daemon = started(&directory);
    let mut client = ClusterServiceClient::new(connect(&daemon).await);
    let status = client.status(StatusRequest {}).await.expect("a status").into_inner().status.expect("there is one");
    assert_eq!((status.standing(), status.node_id.as_str(), status.member), (ClusterStanding::Alone, "core-1", 1));
    let members = client.list_members(ListMembersRequest {}).await.expect("members").into_inner().members;
    assert_eq!(members, status.members);
    let request = GetHashringRequest { pool_id: "v4".into(), omit_points: true };
    let ring = client.get_hashring(request).await.expect("a ring").into_inner();
    assert_eq!((ring.points.len(), ring.pools.len(), ring.virtual_nodes), (0, 1, 150));
    assert!(ring.pools[0].shards.iter().all(|shard| shard.owner == 1 && shard.state == "held"));
    let refused = client.init(InitRequest {}).await.expect_err("it is alone");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("nexus cluster init"), "{refused:?}");
}
