//! How long a request takes between two hosts in one process, and how many pass in a second.
//!
//! `cargo run --release -p net --example round_trip`
#![expect(clippy::print_stdout, reason = "its purpose is to print figures")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::{Channel, Net, NetEvent, NetEvents, NetSettings, PeerId};

const WITHIN: Duration = Duration::from_secs(10);
const ONE_BY_ONE: usize = 20_000;
const AT_ONCE: usize = 64;
const EACH: usize = 1_000;

async fn start(dir: &Path, peers: &[String]) -> Result<(Net, NetEvents), Box<dyn Error>> {
    let settings = NetSettings {
        listen: vec!["127.0.0.1:0".parse()?],
        peers: peers.iter().map(|peer| peer.parse()).collect::<Result<_, _>>()?,
        cluster_key: Some("a key for two hosts in one process".parse()?),
        data_dir: dir.to_path_buf(),
        process: rand::random(),
        majors: vec![1],
        agent: "round-trip".to_owned(),
    };
    Ok(Net::start(settings).await?)
}

/// Allows whoever comes, and answers every request with its own body.
async fn serve(net: Net, mut events: NetEvents) {
    while let Some(event) = events.next().await {
        match event {
            NetEvent::Connected { peer, .. } => net.allow(peer),
            NetEvent::Request { body, reply, .. } => reply.reply(body),
            NetEvent::Disconnected { .. }
            | NetEvent::Gossip { .. }
            | NetEvent::StrangerRefused { .. }
            | NetEvent::IdentityClash { .. }
            | NetEvent::RefusedAsCopy { .. }
            | NetEvent::CopyRefused { .. } => {}
        }
    }
}

async fn ask(net: &Net, to: PeerId) -> Result<Duration, net::RequestError> {
    let begun = Instant::now();
    net.request(to, Channel::Route, Bytes::from_static(&[7; 100]), WITHIN).await?;
    Ok(begun.elapsed())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (one_dir, two_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (one, one_events) = start(one_dir.path(), &[]).await?;
    let (two, two_events) = start(two_dir.path(), &one.local_addresses()).await?;
    let to = one.local_peer();
    tokio::spawn(serve(one.clone(), one_events));
    tokio::spawn(serve(two.clone(), two_events));
    while ask(&two, to).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut times = Vec::with_capacity(ONE_BY_ONE);
    for _ in 0..ONE_BY_ONE {
        times.push(ask(&two, to).await?);
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("100 bytes there and back, one by one: p50 {:?}, p99 {:?}", at(50), at(99));

    let begun = Instant::now();
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let two = two.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    ask(&two, to).await?;
                }
                Ok::<_, net::RequestError>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let requests = u32::try_from(AT_ONCE * EACH)?;
    println!("{AT_ONCE} at once: {:.0} a second", f64::from(requests) / seconds);
    println!("{:?}", two.stats());
    Ok(())
}
