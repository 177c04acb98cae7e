//! How many allocations a second does the kernel alone make, by strategy and fill, and what does it cost when a million
//! leases end at once? Prints; asserts no time.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use compact_str::{CompactString, format_compact};
use kernel::{
    Alignment, AllocateRequest, Command, Effects, Geometry, Input, Kernel, KernelSettings, LeaseTerms, Plan, PoolDraft,
    PoolTerms, PoolUid, RealmRef, Recovery, Reply, RequestId, Series, Sizing, Span, Strategy, SubscriberId, TenantId,
    Tick, Ttl,
};

const START: u128 = 0x6440_0000;
const SIZE: u128 = 1 << 22;
const GROUP: u64 = 64;
const WALL_MS: u64 = 1_800_000_000_000;

fn draft(strategy: Strategy, lease: LeaseTerms, len: u128) -> PoolDraft {
    let geometry = Geometry {
        spans: vec![Series::one(Span::new(START, len).expect("not empty"))],
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Natural },
        cut: 256,
        attributes: Vec::new(),
        strategy,
    };
    PoolDraft {
        tenant: TenantId::default(),
        id: "bench".parse().expect("a pool id"),
        type_id: "ipv4".parse().expect("a type"),
        realm: RealmRef { name: "default".parse().expect("a realm"), shared: false },
        spec: "{}".into(),
        geometry: Arc::new(geometry),
        mapping_id: CompactString::default(),
        terms: PoolTerms {
            strategy,
            lease,
            hold_down_ms: 60_000,
            strict: false,
            realm_by: Vec::new(),
            metadata: CompactString::default(),
        },
        sharding_factor: None,
        extra: CompactString::default(),
    }
}

struct Bench {
    kernel: Kernel,
    effects: Effects,
    requests: u64,
    now: Tick,
}

impl Bench {
    fn new(draft: PoolDraft) -> Self {
        let settings = KernelSettings { seed: 1, restart_grace_ms: 300_000, clock_tolerance_ms: 60_000 };
        let now = Tick { boot_ms: 0, wall_ms: WALL_MS };
        let kernel = Recovery::new(settings).finish(now);
        let mut bench = Self { kernel, effects: Effects::default(), requests: 0, now };
        bench.ask(Command::CreatePool(Box::new(draft)));
        bench.flush();
        bench
    }

    fn ask(&mut self, command: Command) {
        let id = RequestId(self.requests);
        self.requests += 1;
        self.kernel.step(self.now, Input::Request { id, command }, &mut self.effects);
        if self.requests.is_multiple_of(GROUP) {
            self.flush();
        }
    }

    /// Seals and "writes" the group; gives how many allocations it answered.
    fn flush(&mut self) -> usize {
        let mut effects = std::mem::take(&mut self.effects);
        self.kernel.seal(&mut effects);
        let durable = effects.persist(|ops| Ok::<_, Infallible>(ops.len())).expect("cannot fail");
        durable.replies.iter().filter(|(_, answer)| matches!(answer, Ok(Reply::Allocated { .. }))).count()
    }

    fn allocate(&mut self, subscriber: u64) {
        let mac = format_compact!(
            "02:00:{:02x}:{:02x}:{:02x}:{:02x}",
            subscriber >> 24 & 255,
            subscriber >> 16 & 255,
            subscriber >> 8 & 255,
            subscriber & 255
        );
        let request = AllocateRequest {
            pool: PoolUid(0),
            subscriber: SubscriberId::from_str(&mac).expect("a subscriber id"),
            key: None,
            realm_value: None,
            plan: Plan::anywhere(1),
            explicit: false,
            ttl: Ttl::Default,
            node: None,
            metadata: CompactString::default(),
        };
        self.ask(Command::Allocate(Box::new(request)));
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

fn fill(strategy: Strategy) {
    let mut bench = Bench::new(draft(strategy, LeaseTerms::None, SIZE));
    let size = u64::try_from(SIZE).expect("fits");
    let percent = size / 100;
    let began = Instant::now();
    let (mut first, mut middle, mut last) = (0.0, 0.0, 0.0);
    for (from, to, rate) in [
        (0, percent, Some(&mut first)),
        (percent, 50 * percent, None),
        (50 * percent, 51 * percent, Some(&mut middle)),
        (51 * percent, size - percent, None),
        (size - percent, size, Some(&mut last)),
    ] {
        let began = Instant::now();
        for subscriber in from..to {
            bench.allocate(subscriber);
        }
        if let Some(rate) = rate {
            *rate = per_second(to - from, began);
        }
    }
    bench.flush();
    let total = per_second(size, began);
    println!(
        "{:<12} {total:>12.0}/s   first 1 % {first:>10.0}/s   at 50 % {middle:>10.0}/s   last 1 % {last:>10.0}/s   held {}",
        strategy.as_str(),
        bench.kernel.allocations()
    );
}

fn expire_a_million() {
    let lease = LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 1_000, max_ms: 86_400_000 };
    let mut bench = Bench::new(draft(Strategy::FirstFree, lease, SIZE));
    let began = Instant::now();
    for subscriber in 0..1_000_000 {
        bench.allocate(subscriber);
    }
    bench.flush();
    println!("1,000,000 leases made at {:.0}/s", per_second(1_000_000, began));
    bench.now = Tick { boot_ms: 3_600_001, wall_ms: WALL_MS + 3_600_001 };
    let began = Instant::now();
    let (mut alarms, mut longest) = (0_u64, std::time::Duration::ZERO);
    while bench.kernel.allocations() > 0 {
        let slice = Instant::now();
        bench.kernel.step(bench.now, Input::Alarm, &mut bench.effects);
        longest = longest.max(slice.elapsed());
        bench.flush();
        alarms += 1;
    }
    println!(
        "1,000,000 leases ended at {:.0}/s in {alarms} slices, the longest {longest:?}",
        per_second(1_000_000, began)
    );
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| name.contains(one.as_str()));
    for strategy in Strategy::ALL {
        if strategy != Strategy::Exact && wants(strategy.as_str()) {
            fill(strategy);
        }
    }
    if wants("expire") {
        expire_a_million();
    }
}
