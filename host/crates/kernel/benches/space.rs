//! How fast is free space found and taken, at which fill, with which strategy? The goal is 1,000,000 allocations a second
//! for the whole kernel on one core, and a last percent that is no slower than three times the first.
//!
//! `cargo bench -p kernel --bench space`

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints its figures and looks at the clock"
)]

use std::fmt::Write;
use std::time::Instant;
use std::{fs, thread};

use kernel::{Alignment, Geometry, Series, Sizing, SpaceProbe, Span, Strategy};

const STRATEGIES: [Strategy; 5] =
    [Strategy::FirstFree, Strategy::NextFree, Strategy::Random, Strategy::Hash, Strategy::OldestFree];

fn main() {
    println!("100.64.0.0/10, one address at a time, million a second of one core (choose and take)");
    println!("{:<12} {:>8} {:>8} {:>8} {:>8} {:>8}", "strategy", "all", "0-1 %", "50-51 %", "98-99 %", "99-100 %");
    for strategy in STRATEGIES {
        fill(strategy);
    }
    println!("\n100.64.0.0/10, release one and allocate one, million pairs a second");
    println!("{:<12} {:>8} {:>8} {:>8}", "strategy", "50 %", "99.9 %", "full");
    for strategy in STRATEGIES {
        churn(strategy);
    }
    println!("\n2001:db8::/32 with /48 to /64 in turn (ranges), and 10.0.0.0/8 with /24 to /32 in turn (bitmaps)");
    for strategy in STRATEGIES {
        mixed(strategy);
    }
}

fn pool(start: u128, len: u128, max_len: u128, default_len: u128, grain: u128, strategy: Strategy) -> SpaceProbe {
    let sizing = Sizing { default_len, min_len: grain, max_len, align: Alignment::Natural };
    let span = Span::new(start, len).expect("the pool is on the line");
    let geometry = Geometry {
        spans: vec![Series::one(span)],
        excluded: Vec::new(),
        grain,
        sizing,
        cut: 256 * grain,
        attributes: Vec::new(),
        strategy,
    };
    SpaceProbe::new(geometry).expect("the geometry is sound")
}

/// Seconds of a core spent on this thread (so that a busy machine spoils no figure); where the kernel does not tell,
/// seconds on the clock.
struct Stopwatch {
    clock: Instant,
    on_core: Option<u64>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { clock: Instant::now(), on_core: nanos_on_core() }
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn seconds(&self) -> f64 {
        match (self.on_core, nanos_on_core()) {
            (Some(then), Some(now)) => (now - then) as f64 / 1e9,
            _ => self.clock.elapsed().as_secs_f64(),
        }
    }
}

fn nanos_on_core() -> Option<u64> {
    // The account is brought up to date when the thread leaves the core.
    thread::yield_now();
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// `SplitMix64`.
fn spread(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn millions(count: u128, since: &Stopwatch) -> f64 {
    count as f64 / since.seconds() / 1e6
}

fn fill(strategy: Strategy) {
    let size: u128 = 1 << 22;
    let mut probe = pool(0x6440_0000, size, 1, 1, 1, strategy);
    let mut seed = 1;
    let mut figures = Vec::new();
    let begun = Stopwatch::start();
    for percent in 0..100 {
        let since = Stopwatch::start();
        let count = size * (percent + 1) / 100 - size * percent / 100;
        for _ in 0..count {
            probe.allocate(1, strategy, spread(&mut seed)).expect("the pool is not full");
        }
        figures.push(millions(count, &since));
    }
    let all = millions(size, &begun);
    assert!(probe.free() == 0 && probe.allocate(1, strategy, 0).is_none(), "the pool is full");
    let at = |percent: usize| figures.get(percent).copied().unwrap_or_default();
    println!("{:<12} {all:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1}", strategy.as_str(), at(0), at(50), at(98), at(99));
}

fn churn(strategy: Strategy) {
    let size: usize = 1 << 22;
    let mut figures = Vec::new();
    for held in [size / 2, size - size / 1_000, size] {
        let mut probe = pool(0x6440_0000, size as u128, 1, 1, 1, strategy);
        let mut seed = 1;
        let mut spans: Vec<Span> =
            (0..held).filter_map(|_| probe.allocate(1, Strategy::Random, spread(&mut seed))).collect();
        let count = 1 << 20;
        let since = Stopwatch::start();
        for _ in 0..count {
            let nth = usize::try_from(spread(&mut seed) % held as u64).expect("an index fits");
            let slot = spans.get_mut(nth).expect("held is not empty");
            probe.release(*slot);
            *slot = probe.allocate(1, strategy, spread(&mut seed)).expect("one is free");
        }
        figures.push(millions(count, &since));
    }
    let at = |nth: usize| figures.get(nth).copied().unwrap_or_default();
    println!("{:<12} {:>8.1} {:>8.1} {:>8.1}", strategy.as_str(), at(0), at(1), at(2));
}

/// Lengths in turn until the longest no longer fits, then a quarter given back, and so on for ten rounds.
fn mixed(strategy: Strategy) {
    let v6 = pool(0x2001_0db8 << 96, 1 << 96, 1 << 80, 1 << 72, 1 << 64, strategy);
    let v4 = pool(0x0a00_0000, 1 << 24, 256, 1, 1, strategy);
    let mut line = format!("{:<12}", strategy.as_str());
    for (mut probe, grain, orders) in [(v6, 1_u128 << 64, 17), (v4, 1, 9)] {
        let mut seed = 1;
        let mut held: Vec<Span> = Vec::new();
        let (mut taken, mut given) = (0, 0);
        let since = Stopwatch::start();
        for _ in 0..10 {
            for order in (0..orders).cycle().take(200_000) {
                match probe.allocate(grain << order, strategy, spread(&mut seed)) {
                    Some(span) => held.push(span),
                    None => break,
                }
                taken += 1;
            }
            for _ in 0..held.len() / 4 {
                let nth = usize::try_from(spread(&mut seed)).unwrap_or_default() % held.len();
                probe.release(held.swap_remove(nth));
                given += 1;
            }
        }
        let rate = millions(taken + given, &since);
        write!(line, "  {rate:>6.2} M/s ({taken} taken, {given} given back)").expect("a string takes any text");
    }
    println!("{line}");
}
