//! How many allocations a second does the kernel alone make, by strategy and fill, and what does it cost when a million
//! leases end at once? Prints; asserts no time. Counts the time this thread ran, so that a busy machine does not show.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use kernel::{
    Alignment, AllocateRequest, Allocation, Command, Effects, Geometry, Input, Kernel, KernelSettings, LeaseTerms, Op,
    Plan, PoolDraft, PoolTerms, PoolUid, RealmRef, Recovery, RequestId, Series, Sizing, Span, Strategy, SubscriberId,
    TenantId, Tick, Ttl,
};

const START: u128 = 0x6440_0000;
const SIZE: u128 = 1 << 22;
const GROUP: u64 = 64;
const WALL_MS: u64 = 1_800_000_000_000;

const SETTINGS: KernelSettings =
    KernelSettings { seed: 1, restart_grace_ms: 300_000, clock_tolerance_ms: 60_000, lease_slack_ms: 0, cluster: None };

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
            ack: None,
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
    /// Time spent in the kernel.
    spent: Duration,
    log: Vec<Op>,
}

impl Bench {
    fn new(draft: PoolDraft) -> Self {
        let now = Tick { boot_ms: 0, wall_ms: WALL_MS };
        let kernel = Recovery::new(SETTINGS).finish(now);
        let mut bench =
            Self { kernel, effects: Effects::default(), requests: 0, now, spent: Duration::ZERO, log: Vec::new() };
        bench.log = bench.ask(vec![Command::CreatePool(Box::new(draft))]);
        bench
    }

    /// One commit group: steps, seals, "writes".
    fn ask(&mut self, commands: Vec<Command>) -> Vec<Op> {
        let began = Ran::now();
        for command in commands {
            let id = RequestId(self.requests);
            self.requests += 1;
            self.kernel.step(self.now, Input::Request { id, command }, &mut self.effects);
        }
        let written = self.flush();
        self.spent += began.elapsed();
        written
    }

    /// What was written.
    fn flush(&mut self) -> Vec<Op> {
        let mut effects = std::mem::take(&mut self.effects);
        self.kernel.seal(&mut effects);
        let durable = effects.persist(Ok::<_, Infallible>).expect("cannot fail");
        let answered = durable.replies.iter().all(|(_, answer)| answer.is_ok());
        assert!(answered, "every request of the bench is served");
        durable.written
    }

    /// Gives allocations a second of the kernel's time.
    fn allocate(&mut self, subscribers: std::ops::Range<u64>) -> f64 {
        self.spent = Duration::ZERO;
        let count = subscribers.end - subscribers.start;
        let mut from = subscribers.start;
        while from < subscribers.end {
            let to = (from + GROUP).min(subscribers.end);
            self.ask((from..to).map(request).collect());
            from = to;
        }
        per_second(count, self.spent)
    }
}

/// A household with a MAC address.
fn request(subscriber: u64) -> Command {
    let [.., a, b, c, d] = subscriber.to_be_bytes();
    let mac = format_compact!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
    Command::Allocate(Box::new(AllocateRequest {
        pool: PoolUid(0),
        subscriber: SubscriberId::from_str(&mac).expect("a subscriber id"),
        key: None,
        realm_value: None,
        plan: Plan::anywhere(1),
        explicit: false,
        ttl: Ttl::Default,
        node: None,
        metadata: CompactString::default(),
        supersedes: None,
    }))
}

/// A stopwatch of this thread's own time.
struct Ran(Duration);

impl Ran {
    fn now() -> Self {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(spent.tv_sec).expect("time is positive");
        Self(Duration::new(seconds, u32::try_from(spent.tv_nsec).expect("below a second")))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64()
}

fn fill(strategy: Strategy) {
    let mut bench = Bench::new(draft(strategy, LeaseTerms::None, SIZE));
    let size = u64::try_from(SIZE).expect("fits");
    let percent = size / 100;
    let first = bench.allocate(0..percent);
    let whole = bench.spent;
    let rising = bench.allocate(percent..50 * percent);
    let whole = whole + bench.spent;
    let middle = bench.allocate(50 * percent..60 * percent);
    let whole = whole + bench.spent;
    bench.allocate(60 * percent..size - percent);
    let whole = whole + bench.spent;
    let last = bench.allocate(size - percent..size);
    let total = per_second(size, whole + bench.spent);
    let name = strategy.as_str();
    println!(
        "{name:<12} whole {total:>9.0}/s   first 1 % {first:>9.0}/s   1-50 % {rising:>9.0}/s   50-60 % {middle:>9.0}/s   last 1 % {last:>9.0}/s"
    );
}

fn expire_a_million() {
    let lease = LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 1_000, max_ms: 86_400_000 };
    let mut bench = Bench::new(draft(Strategy::FirstFree, lease, SIZE));
    let made = bench.allocate(0..1_000_000);
    println!("1,000,000 leases made at {made:.0}/s");
    bench.now = Tick { boot_ms: 3_600_001, wall_ms: WALL_MS + 3_600_001 };
    let (mut slices, mut longest, mut spent) = (0_u64, Duration::ZERO, Duration::ZERO);
    while bench.kernel.allocations() > 0 {
        let began = Ran::now();
        bench.kernel.step(bench.now, Input::Alarm, &mut bench.effects);
        let slice = began.elapsed();
        longest = longest.max(slice);
        bench.flush();
        spent += began.elapsed();
        slices += 1;
    }
    let ended = per_second(1_000_000, spent);
    println!("1,000,000 leases ended at {ended:.0}/s in {slices} slices, the longest {longest:?}");
}

/// What a start costs the kernel, once the disk has given everything back.
fn read_back_a_million() {
    let mut bench = Bench::new(draft(Strategy::FirstFree, LeaseTerms::None, SIZE));
    for from in (0..1_000_000).step_by(1_000) {
        let written = bench.ask((from..from + 1_000).map(request).collect());
        bench.log.extend(written);
    }
    let began = Ran::now();
    let mut recovery = Recovery::new(SETTINGS);
    for op in &bench.log {
        recovery.apply(op);
    }
    let applied = began.elapsed();
    let kernel = recovery.finish(bench.now);
    let whole = began.elapsed();
    println!("{} allocations read back in {whole:?} ({applied:?} of it fact by fact)", kernel.allocations());
}

/// What an allocation costs in memory: the shared record, the indexes, the free space, the lease.
fn weigh_a_million(lease: LeaseTerms, what: &str) -> Bench {
    let mut bench = Bench::new(draft(Strategy::FirstFree, lease, SIZE));
    let before = resident_kib();
    bench.allocate(0..1_000_000);
    let each = resident_kib().saturating_sub(before) * 1_024 / 1_000_000;
    let record = size_of::<Allocation>();
    println!("{each} bytes an allocation {what}, {record} of them the record itself");
    bench
}

/// On Linux; elsewhere 0.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| name.contains(one.as_str()));
    // First, while no freed memory is there to be used again.
    if wants("memory") {
        let _kept_so_that_its_memory_is_not_used_again = weigh_a_million(LeaseTerms::None, "without a lease");
        let timed = LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 1_000, max_ms: 86_400_000 };
        weigh_a_million(timed, "with a lease");
    }
    for strategy in Strategy::ALL {
        if strategy != Strategy::Exact && wants(strategy.as_str()) {
            fill(strategy);
        }
    }
    if wants("expire") {
        expire_a_million();
    }
    if wants("recover") {
        read_back_a_million();
    }
}
