//! A million allocations: memory, a start with them on disk, and all their leases ending at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::{AllocateRequest, BatchRequest};
use prost_types::Duration as ProtoDuration;

use crate::common::{Daemon, Start, directory};
use crate::load::{Figures, connections, drive};
use crate::resident::memory;
use crate::unary::{daemon, request};

const CROWD: u64 = 1_000_000;
const BATCH: u64 = 5_000;

/// Allocates for subscribers `0..CROWD`, in batches.
async fn fill(daemon: &Daemon, ends: Option<Instant>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for channel in connections(&daemon.grpc, 2).await? {
        let next = Arc::clone(&next);
        tasks.push(tokio::spawn(async move {
            let mut client = AllocationServiceClient::new(channel).max_decoding_message_size(64 << 20);
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= CROWD {
                    return anyhow::Ok(());
                }
                // The lease shrinks as time goes by, so that all end at the same moment.
                let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                let ttl = left.and_then(|left| ProtoDuration::try_from(left).ok());
                let requests =
                    (first..first + BATCH).map(|number| AllocateRequest { ttl, ..request(number) }).collect();
                let answer = client.batch(BatchRequest { requests }).await?.into_inner();
                anyhow::ensure!(answer.results.len() as u64 == BATCH, "a batch is answered whole");
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(began.elapsed())
}

async fn allocate_meanwhile(daemon: &Daemon, from: u64, length: Duration) -> anyhow::Result<Figures> {
    let next = Arc::new(AtomicU64::new(from));
    let channels = connections(&daemon.grpc, 1).await?;
    let call = move |channel, _, _| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        async move {
            NexusClient::new(channel).allocate(request(number)).await?;
            Ok(())
        }
    };
    drive(&channels, 8, length, call).await
}

/// Fills, weighs, restarts, and lets a million leases end while allocating goes on.
pub(crate) async fn million(length: Duration) -> anyhow::Result<()> {
    let directory_kept = directory();
    let kept = daemon(&directory_kept);
    let empty = memory(kept.pid())?;
    let took = fill(&kept, None).await?;
    let full = memory(kept.pid())?;
    println!("a million allocations in batches of {BATCH}: {:.0}/s durable", CROWD as f64 / took.as_secs_f64());
    println!("memory per allocation: {} bytes (resident {full} less {empty})", (full.saturating_sub(empty)) / CROWD);
    kept.kill();
    let began = Instant::now();
    let again = Start::on(directory_kept.path()).with(&["--log-level", "warn"]).run();
    println!("start with a million on disk, after SIGKILL: {:.2?} to ready", began.elapsed());
    println!("memory per allocation after the start: {} bytes", memory(again.pid())?.saturating_sub(empty) / CROWD);
    drop(again);

    let directory_leased = directory();
    let leased = daemon(&directory_leased);
    let ends = Instant::now() + Duration::from_secs(45);
    fill(&leased, Some(ends)).await?;
    let wait = ends.saturating_duration_since(Instant::now());
    anyhow::ensure!(wait > length, "the machine is too slow to make a million leases that end together");
    let calm = allocate_meanwhile(&leased, CROWD, wait.saturating_sub(Duration::from_secs(2)).min(length)).await?;
    tokio::time::sleep(ends.saturating_duration_since(Instant::now())).await;
    let storm = allocate_meanwhile(&leased, CROWD * 2, length).await?;
    let ratio = storm.p99.as_secs_f64() / calm.p99.as_secs_f64();
    println!(
        "a million leases end at once: Allocate p99 {:.1?} before, {:.1?} meanwhile ({ratio:.2} times)",
        calm.p99, storm.p99
    );
    Ok(())
}
