//! What a process uses, as the kernel of the operating system counts it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::common::{Start, directory};

/// Resident memory in bytes.
pub(crate) fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a resident size")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1_024)
}

/// Processor time used so far.
fn processor(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 1_000 / per_second))
}

/// A daemon with its plugins and nothing to do.
pub(crate) fn idle() -> anyhow::Result<()> {
    let directory = directory();
    let daemon = Start::on(directory.path()).run();
    let length = Duration::from_secs(10);
    std::thread::sleep(Duration::from_secs(3));
    let (began, before) = (Instant::now(), processor(daemon.pid())?);
    std::thread::sleep(length);
    let used = processor(daemon.pid())?.saturating_sub(before);
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let mib = memory(daemon.pid())? as f64 / f64::from(1 << 20);
    println!("idle, five plugins, no pools: {share:.2} % of a core, {mib:.1} MiB resident");
    Ok(())
}
