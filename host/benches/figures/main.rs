//! The figures of a whole daemon beside their baselines, in one run: `cargo bench -p nexus --bench figures`.
//!
//! The load generator is this process, the daemon and the echo are processes of their own on the same machine. The echo is
//! an empty unary call on the same stack, driven by the same generator. What counts is the ratio within a run.
//! Arguments: names of sections to run (default: all); `BENCH_SECONDS` sets the length of one measurement.

#![allow(clippy::print_stdout, reason = "figures are what this prints")]
#![allow(clippy::indexing_slicing, reason = "of JSON: what is not there is null")]
#![allow(clippy::cast_precision_loss, reason = "rates and ratios for people")]

mod cluster;
#[path = "../../tests/common/mod.rs"]
mod common;
mod crowd;
mod echo;
mod load;
#[path = "../../tests/namespaces/net.rs"]
#[allow(dead_code, reason = "the tests cut one way too")]
mod net;
mod resident;
mod unary;

use std::time::Duration;

fn seconds() -> Duration {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    Duration::from_secs(seconds)
}

fn main() -> anyhow::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if named.first().is_some_and(|first| first == "echo") {
        return echo::serve();
    }
    let wanted = |section: &str| named.is_empty() || named.iter().any(|name| name == section);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if wanted("unary") {
        runtime.block_on(unary::many_clients(seconds()))?;
    }
    if wanted("single") {
        runtime.block_on(unary::one_client(seconds()))?;
    }
    if wanted("stream") {
        runtime.block_on(unary::stream(seconds()))?;
    }
    if wanted("rest") {
        unary::rest(seconds());
    }
    if wanted("crowd") {
        runtime.block_on(crowd::million(seconds()))?;
    }
    if wanted("idle") {
        resident::idle()?;
    }
    let parts: Vec<&str> = named.iter().filter_map(|name| name.strip_prefix("cluster-")).collect();
    if wanted("cluster") || !parts.is_empty() {
        cluster::run(seconds(), &parts)?;
    }
    Ok(())
}
