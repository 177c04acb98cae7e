//! Requests to a daemon, beside the empty echo.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::plugin_service_client::PluginServiceClient;
use nexus_proto::v1::{
    AllocateRequest, AllocateStreamRequest, ListPluginsRequest, LookupByResourceRequest, LookupRequest,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::common::{Daemon, Start, directory};
use crate::echo::Echo;
use crate::load::{Figures, connections, drive, median};

const STREAMS: usize = 64;
const CONNECTIONS: usize = 4;
const ROUNDS: u64 = 3;

/// 17 bytes, as a MAC address is written.
pub(crate) fn subscriber(number: u64) -> String {
    format!("s{number:016x}")
}

pub(crate) fn request(number: u64) -> AllocateRequest {
    AllocateRequest {
        pool_id: "bench".to_owned(),
        subscriber_id: subscriber(number),
        omit_attributes: true,
        ..AllocateRequest::default()
    }
}

/// A daemon with one pool of 16 million addresses.
pub(crate) fn daemon(directory: &tempfile::TempDir) -> Daemon {
    let daemon = Start::on(directory.path()).with(&["--log-level", "warn"]).run();
    let pool = json!({"id": "bench", "cidr": "10.0.0.0/8", "hold_down": "0s"});
    assert_eq!(daemon.post("/api/v1/pools", &pool).0, 201);
    daemon
}

fn print(what: &str, figures: &Figures, baseline: &Figures) {
    let Figures { per_second, p50, p99 } = figures;
    let ratio = per_second / baseline.per_second * 100.0;
    println!("{what:<44} {per_second:>9.0}/s  p50 {p50:>8.1?}  p99 {p99:>8.1?}  {ratio:>5.1} % of the echo");
}

pub(crate) async fn echo(channel: Channel, _: usize, _: u64) -> anyhow::Result<()> {
    PluginServiceClient::new(channel).list_plugins(ListPluginsRequest {}).await?;
    Ok(())
}

/// 64 calls under way on 4 connections: echo, allocate and both look-ups in turn, medians of the rounds.
pub(crate) async fn many_clients(length: Duration) -> anyhow::Result<()> {
    let directory = directory();
    let (daemon, empty) = (daemon(&directory), Echo::start()?);
    let to_daemon = connections(&daemon.grpc, CONNECTIONS).await?;
    let to_echo = connections(&empty.address, CONNECTIONS).await?;
    let next = Arc::new(AtomicU64::new(0));
    let allocate = {
        let next = Arc::clone(&next);
        move |channel, _, _| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            async move {
                NexusClient::new(channel).allocate(request(number)).await?;
                Ok(())
            }
        }
    };
    let by_subscriber = |channel, stream, made| async move {
        let subscriber_id = subscriber((stream as u64 * 7_919 + made * 13) % 1_000);
        let request = LookupRequest { subscriber_id, pool_id: "bench".to_owned(), ..LookupRequest::default() };
        NexusClient::new(channel).get_allocation(request).await?;
        Ok(())
    };
    let by_resource = |channel, stream, made| async move {
        let last = (stream as u64 * 7_919 + made * 13) % 1_000 + 1;
        let resource = format!("10.0.{}.{}", last / 256, last % 256);
        let request =
            LookupByResourceRequest { r#type: "ipv4".to_owned(), resource, ..LookupByResourceRequest::default() };
        NexusClient::new(channel).lookup_by_resource(request).await?;
        Ok(())
    };
    drive(&to_daemon, STREAMS, Duration::from_secs(1), allocate.clone()).await?;
    drive(&to_echo, STREAMS, Duration::from_secs(1), echo).await?;
    let (mut base, mut made, mut found, mut held) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        base.push(drive(&to_echo, STREAMS, length, echo).await?);
        made.push(drive(&to_daemon, STREAMS, length, allocate.clone()).await?);
        found.push(drive(&to_daemon, STREAMS, length, by_subscriber).await?);
        held.push(drive(&to_daemon, STREAMS, length, by_resource).await?);
    }
    let base = median(base);
    println!("unary gRPC, {STREAMS} calls under way on {CONNECTIONS} connections, median of {ROUNDS} rounds");
    print("  empty echo (baseline)", &base, &base);
    print("  Allocate, durable", &median(made), &base);
    print("  look-up by subscriber", &median(found), &base);
    print("  look-up by resource", &median(held), &base);
    Ok(())
}

/// One call at a time, beside one echo plus an append and sync of about the same bytes.
pub(crate) async fn one_client(length: Duration) -> anyhow::Result<()> {
    let directory = directory();
    let (daemon, empty) = (daemon(&directory), Echo::start()?);
    let to_daemon = connections(&daemon.grpc, 1).await?;
    let to_echo = connections(&empty.address, 1).await?;
    let allocate = |channel, _, made| async move {
        NexusClient::new(channel).allocate(request(made)).await?;
        Ok(())
    };
    let base = drive(&to_echo, 1, length, echo).await?;
    let made = drive(&to_daemon, 1, length, allocate).await?;
    let sync = append_and_sync(directory.path(), length)?;
    let above = made.p50.saturating_sub(base.p50 + sync.p50);
    println!("one client at a time");
    print("  empty echo (baseline)", &base, &base);
    print_sync(&sync);
    print("  Allocate, durable", &made, &base);
    println!("  above echo + sync, at p50: {above:.1?}");
    Ok(())
}

pub(crate) fn print_sync(sync: &Figures) {
    println!("  append of 128 bytes and fdatasync (baseline)  p50 {:>8.1?}  p99 {:>8.1?}", sync.p50, sync.p99);
}

pub(crate) fn append_and_sync(directory: &std::path::Path, length: Duration) -> anyhow::Result<Figures> {
    let mut file = std::fs::File::create(directory.join("baseline"))?;
    let began = Instant::now();
    let mut latencies = Vec::new();
    while began.elapsed() < length {
        let sent = Instant::now();
        file.write_all(&[7; 128])?;
        file.sync_data()?;
        latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(Figures::of(latencies, began.elapsed()))
}

/// `AllocateStream`: as fast as answers come, 4 streams.
pub(crate) async fn stream(length: Duration) -> anyhow::Result<()> {
    let directory = directory();
    let daemon = daemon(&directory);
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for channel in connections(&daemon.grpc, CONNECTIONS).await? {
        let next = Arc::clone(&next);
        tasks.push(tokio::spawn(async move {
            let (sender, requests) = mpsc::channel(2_048);
            tokio::spawn(async move {
                while began.elapsed() < length {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if sender.send(AllocateStreamRequest { id, request: Some(request(id)) }).await.is_err() {
                        break;
                    }
                }
            });
            let mut answers =
                NexusClient::new(channel).allocate_stream(ReceiverStream::new(requests)).await?.into_inner();
            let mut count = 0_u64;
            while answers.message().await?.is_some() {
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!(
        "AllocateStream, durable, {CONNECTIONS} streams: {rate:.0} allocations/s ({count} in {:.1?})",
        began.elapsed()
    );
    Ok(())
}

/// REST with 64 connections, one request each at a time, and the batch call.
pub(crate) fn rest(length: Duration) {
    let directory = directory();
    let daemon = daemon(&directory);
    let agent = || -> ureq::Agent { ureq::Agent::config_builder().max_idle_connections(64).build().into() };
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let mut latencies = Vec::new();
    std::thread::scope(|scope| {
        let (next, daemon) = (&next, &daemon);
        let clients: Vec<_> = (0..STREAMS).map(|_| {
            scope.spawn(move || {
                let agent = agent();
                let mut latencies = Vec::new();
                while began.elapsed() < length {
                    let body = json!({"pool_id": "bench", "subscriber_id": subscriber(next.fetch_add(1, Ordering::Relaxed))});
                    let sent = Instant::now();
                    let url = format!("{}/api/v1/allocate", daemon.rest);
                    let mut answer = agent.post(url).send(body.to_string()).expect("allocated");
                    answer.body_mut().read_to_vec().expect("a body");
                    latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                latencies
            })
        }).collect();
        for client in clients {
            latencies.extend(client.join().expect("no client panicked"));
        }
    });
    let Figures { per_second, p50, p99 } = Figures::of(latencies, began.elapsed());
    println!(
        "REST POST /api/v1/allocate, durable, {STREAMS} connections: {per_second:.0}/s  p50 {p50:.1?}  p99 {p99:.1?}"
    );
}
