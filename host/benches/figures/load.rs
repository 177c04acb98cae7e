//! The generator: so many calls under way on so many connections for so long, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::transport::Channel;

/// Rate and latencies of one measurement.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Figures {
    pub(crate) fn of(mut latencies: Vec<u32>, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list")]
            let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            Duration::from_micros(u64::from(latencies.get(index).copied().unwrap_or_default()))
        };
        Self { per_second: latencies.len() as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
    }
}

/// The middle one by rate.
pub(crate) fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = runs.len() / 2;
    runs.swap_remove(middle)
}

pub(crate) async fn connections(address: &str, count: usize) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..count {
        channels.push(Channel::from_shared(address.to_owned())?.tcp_nodelay(true).connect().await?);
    }
    Ok(channels)
}

/// Keeps `streams` calls under way for so long. `call` gets its stream's number and how many it made before.
pub(crate) async fn drive<C, F>(
    channels: &[Channel],
    streams: usize,
    length: Duration,
    call: C,
) -> anyhow::Result<Figures>
where
    C: Fn(Channel, usize, u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for (stream, channel) in (0..streams).zip(channels.iter().cycle()) {
        let (stop, channel, call) = (Arc::clone(&stop), channel.clone(), call.clone());
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 16);
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                let sent = Instant::now();
                call(channel.clone(), stream, made).await?;
                latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                made += 1;
            }
            anyhow::Ok(latencies)
        }));
    }
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(Figures::of(all, began.elapsed()))
}
