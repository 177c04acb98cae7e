//! How long does the ring take to place a pool's shards, how fast does it find a subscriber's home (once for each
//! allocation: below 200 ns with 3 hosts), and how many shards move when a host comes or goes (its fair share: 1.00), as the
//! cluster does it, and were each pool placed anew? Prints; asserts no time. Counts the time this thread ran, so that a busy machine does not show.
//!
//! `cargo bench -p kernel --bench ring`

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::time::Duration;

use kernel::{Lives, MemberId, PoolUid, Ring, RingMember, ShardId, SubscriberId};

fn main() {
    println!("place all shards of a pool");
    println!("{:>6} {:>8} {:>10} {:>12} {:>12}", "hosts", "shards", "ms", "most/fair", "least/fair");
    for hosts in [3, 10, 100] {
        for shards in [1_024, 16_384] {
            place(hosts, shards);
        }
    }
    println!("\nfind the home of a subscriber, all hosts alive");
    println!("{:>6} {:>10} {:>14}", "hosts", "ns", "a second");
    for hosts in [1, 3, 10, 100] {
        home(hosts);
    }
    println!(
        "\nshards moved when a host joins or leaves, over its fair share of them: as it is done, then placed anew"
    );
    println!(
        "{:>6} {:>8} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "hosts", "shards", "pools", "join", "worst", "leave", "worst", "join", "worst", "leave", "worst"
    );
    for (hosts, shards, pools) in [
        (3, 1_024, 50),
        (10, 1_024, 50),
        (20, 1_024, 50),
        (100, 1_024, 4),
        (3, 16_384, 8),
        (10, 16_384, 4),
        (100, 16_384, 1),
    ] {
        moves(hosts, shards, pools);
    }
}

struct Ran(Duration);

impl Ran {
    fn now() -> Self {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(spent.tv_sec).expect("time is positive");
        Self(Duration::new(seconds, u32::try_from(spent.tv_nsec).expect("below a second")))
    }

    fn seconds(&self) -> f64 {
        Self::now().0.saturating_sub(self.0).as_secs_f64()
    }
}

/// All hosts from 1 on but one; 0 is nobody.
fn ring_without(hosts: u32, gone: u32) -> Ring {
    let ids = (1..=hosts).filter(|id| *id != gone);
    Ring::new(ids.map(|id| RingMember { id: MemberId(id), weight: 1 }), Ring::VIRTUAL_NODES)
}

fn shards(count: u32) -> Vec<ShardId> {
    (0..count).map(ShardId).collect()
}

fn owners(ring: &Ring, pool: u32, shards: &[ShardId]) -> Vec<MemberId> {
    ring.place(PoolUid(pool), shards).expect("all hosts have a weight")
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn place(hosts: u32, count: u32) {
    let (ring, shards) = (ring_without(hosts, 0), shards(count));
    let rounds = (2_000_000 / (count * hosts)).clamp(3, 100);
    let since = Ran::now();
    for pool in 0..rounds {
        black_box(owners(&ring, pool, &shards));
    }
    let ms = since.seconds() * 1e3 / f64::from(rounds);
    let given = ring.shares(PoolUid(0), &shards);
    let ratios = || given.iter().map(|share| share.shards as f64 / share.fair);
    let (most, least) = (ratios().fold(0.0, f64::max), ratios().fold(f64::INFINITY, f64::min));
    println!("{hosts:>6} {count:>8} {ms:>10.2} {most:>12.3} {least:>12.3}");
}

fn home(hosts: u32) {
    let ring = ring_without(hosts, 0);
    let subscribers: Vec<SubscriberId> =
        (0..1_024_u32).map(|n| format!("00:11:22:33:{:02x}:{:02x}", n >> 8, n & 255).parse().expect("an id")).collect();
    let rounds = 6_000 / hosts;
    let since = Ran::now();
    for pool in 0..rounds {
        for subscriber in &subscribers {
            black_box(ring.home(PoolUid(pool), subscriber, None, |_| true));
        }
    }
    let seconds = since.seconds() / f64::from(rounds * 1_024);
    println!("{hosts:>6} {:>10.1} {:>14.0}", seconds * 1e9, 1.0 / seconds);
}

/// Joining is leaving in the other direction, but the newcomer always has the largest id.
fn moves(hosts: u32, count: u32, pools: u32) {
    let shards = shards(count);
    let mut done = [Figure::default(), Figure::default()];
    let mut anew = [Figure::default(), Figure::default()];
    let (ring, larger) = (ring_without(hosts, 0), ring_without(hosts + 1, 0));
    let smaller: Vec<Ring> = (1..=hosts).map(|gone| ring_without(hosts, gone)).collect();
    for pool in 0..pools {
        let lives = settled(&ring, pool, &shards.iter().map(|shard| (*shard, None)).collect::<Vec<_>>());
        let at: Vec<(ShardId, Option<MemberId>)> =
            shards.iter().zip(&lives).map(|(shard, owner)| (*shard, Some(*owner))).collect();
        let before = owners(&ring, pool, &shards);
        let [join, leave] = &mut done;
        join.add(moved(&lives, &settled(&larger, pool, &at)) / (f64::from(count) / f64::from(hosts + 1)));
        for ring in &smaller {
            leave.add(moved(&lives, &settled(ring, pool, &at)) / (f64::from(count) / f64::from(hosts)));
        }
        let [join, leave] = &mut anew;
        join.add(moved(&before, &owners(&larger, pool, &shards)) / (f64::from(count) / f64::from(hosts + 1)));
        for ring in &smaller {
            leave.add(moved(&before, &owners(ring, pool, &shards)) / (f64::from(count) / f64::from(hosts)));
        }
    }
    let figures = done.iter().chain(&anew).map(|figure| format!(" {:>9.3} {:>9.3}", figure.mean(), figure.worst));
    println!("{hosts:>6} {count:>8} {pools:>6}{}", figures.collect::<String>());
}

/// Who has each shard in the end, if so many live with somebody now.
fn settled(ring: &Ring, pool: u32, at: &[(ShardId, Option<MemberId>)]) -> Vec<MemberId> {
    let lives: Vec<Lives> = at.iter().map(|(shard, at)| Lives { shard: *shard, at: *at, is_fixed: false }).collect();
    ring.settle(PoolUid(pool), &lives).expect("all hosts have a weight")
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn moved(before: &[MemberId], after: &[MemberId]) -> f64 {
    before.iter().zip(after).filter(|(before, after)| before != after).count() as f64
}

#[derive(Default)]
struct Figure {
    sum: f64,
    count: u32,
    worst: f64,
}

impl Figure {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        self.worst = self.worst.max(value);
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count)
    }
}
