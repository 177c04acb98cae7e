//! How long until a new host knows 100,000 allocations of another, from checkpoint to its own disk, without the network?
//! For comparison: how long the giver took to write them.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#[path = "../tests/support/takeover.rs"]
mod takeover;

use std::time::Instant;

const COUNT: u32 = 100_000;

fn main() {
    let started = Instant::now();
    let (giver, mut newcomer) = takeover::giver_and_newcomer(COUNT);
    println!("{COUNT} allocations in groups of 1,000 and a checkpoint of them: {:.2?}", started.elapsed());
    let started = Instant::now();
    let parts = newcomer.take_over(&giver);
    println!("taken over in {parts} parts, each synced: {:.2?}", started.elapsed());
    assert_eq!(newcomer.restarted(), giver.restarted(), "both know the same after a restart");
}
