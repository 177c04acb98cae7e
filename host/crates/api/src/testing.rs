//! A daemon for tests: the real kernel on a thread, the real read view, two resource types written in a few lines, and a
//! clock that tests move. What it leaves out is the disk: a group is durable as soon as the kernel has decided it.

pub(crate) mod pair;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use compact_str::{CompactString, format_compact};
use kernel::{
    Alignment, Allocation, AllocationExtra, AllocationParts, Batch, Command, Effects, Fact, Geometry, Input, Kernel,
    KernelSettings, News, Op, Origin, Plan, Pool, PoolUid, RealmUid, Recovery, Reply, RequestId, Seq, Series, Sizing,
    Span, Strategy, Superseded, Tick, TypeId,
};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use view::View;

use crate::app::{ApiMetrics, App, Parts, Settings};
use crate::engine::{Carried, CaughtUp, Engine, Inbox, Job, Outcome, Relay};
use crate::ports::{
    History, HistoryAnswer, OpenedSpec, PluginState, PluginStatus, Problem, Readiness, ResourceTypes, RetireError,
    TypeError,
};
use pair::Pair;

/// Where the wall clock of every test begins: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN_MS: u64 = 1_767_225_600_000;

/// Events a watch may lag behind.
pub(crate) const WATCH_WINDOW: usize = 64;

/// A running daemon without faces.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) app: Arc<App>,
    pub(crate) registry: Registry,
    clock: Arc<Clock>,
    types: Arc<Types>,
    /// The cluster it is in.
    pub(crate) pair: Arc<Pair>,
    engine: Engine,
    pub(crate) relay: Arc<Through>,
    view: Arc<View>,
}

/// Carries everything to this host itself, and remembers how long each caller said that it waits.
#[derive(Debug)]
pub(crate) struct Through {
    engine: Engine,
    pub(crate) untils: Mutex<Vec<Option<Instant>>>,
}

impl Relay for Through {
    fn carry(&self, commands: Vec<Command>, until: Option<Instant>) -> Carried {
        self.untils.lock().push(until);
        let engine = self.engine.clone();
        Box::pin(async move { engine.submit_here(commands).await })
    }

    fn catch_up(&self) -> CaughtUp {
        Box::pin(async { Ok(()) })
    }
}

/// Boot time: what passed, and what the test added.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    added_ms: AtomicU64,
}

impl Clock {
    fn boot_ms(&self) -> u64 {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).expect("a test is short");
        1_000 + passed + self.added_ms.load(Ordering::SeqCst)
    }

    fn tick(&self) -> Tick {
        let boot_ms = self.boot_ms();
        Tick { boot_ms, wall_ms: BEGIN_MS + boot_ms }
    }
}

impl Daemon {
    /// Starts one; its thread ends when the last `App` is dropped.
    pub(crate) fn start() -> Self {
        Self::with_window(WATCH_WINDOW)
    }

    /// One whose watches may lag behind by this many events.
    pub(crate) fn with_window(window: usize) -> Self {
        let clock = Arc::new(Clock { begun: Instant::now(), added_ms: AtomicU64::new(0) });
        let boot = Arc::clone(&clock);
        let view = Arc::new(View::new(Box::new(move || boot.boot_ms()), window));
        view.loaded(Seq(0));
        let (engine, inbox) = Engine::channel(1_024);
        let own_types = Arc::new(Types { broken: AtomicBool::new(false), retired: AtomicBool::new(false) });
        let types: Arc<dyn ResourceTypes> = Arc::<Types>::clone(&own_types);
        let settings = KernelSettings {
            seed: 7,
            restart_grace_ms: 0,
            clock_tolerance_ms: 60_000,
            lease_slack_ms: 0,
            cluster: None,
        };
        let kernel = Recovery::new(settings).finish(clock.tick());
        let running = Loop {
            kernel,
            clock: Arc::clone(&clock),
            view: Arc::clone(&view),
            types: Arc::clone(&types),
            open: Vec::new(),
            next: 0,
        };
        std::thread::spawn(move || running.run(&inbox));
        let registry = Registry::new();
        let pair = Arc::new(Pair::new(Arc::clone(&view)));
        let relay = Arc::new(Through { engine: engine.clone(), untils: Mutex::default() });
        let app = App::new(Parts {
            engine: engine.clone().relayed(Arc::<Through>::clone(&relay)),
            view: Arc::clone(&view),
            types,
            history: Arc::new(NoHistory),
            readiness: Arc::new(Ready),
            cluster: Arc::<Pair>::clone(&pair),
            backups: Arc::<Pair>::clone(&pair),
            metrics: ApiMetrics::register(&registry).expect("the registry is new"),
            host: "core-1".parse().expect("a plain word"),
            settings: Settings { batch_limit: 1_000, body_limit: 1 << 20, openapi: true },
            stopping: CancellationToken::new(),
        });
        Self { app: Arc::new(app), registry, clock, types: own_types, pair, engine, relay, view }
    }

    /// Another host says that it gave a subscriber this position of his pool, in place of what he holds or without knowing
    /// of it.
    pub(crate) async fn hear_of_another(&self, held: &Allocation, position: u128, marked: bool) {
        let created_ms = held.created_ms() + 1;
        let mark =
            || Superseded { span: held.span, shard: held.shard, epoch: held.epoch, created_ms: held.created_ms() };
        let extra = marked.then(|| {
            let supersedes = Some(Box::new(mark()));
            Box::new(AllocationExtra { key: held.key().cloned(), metadata: CompactString::default(), supersedes })
        });
        let other = Allocation::new(AllocationParts {
            span: Span::new(position, held.span.len()).expect("it fits"),
            subscriber: held.subscriber.clone(),
            pool: held.pool,
            realm: RealmUid(0),
            shard: held.shard,
            epoch: held.epoch,
            created_ms,
            renewed_ms: created_ms,
            expires_ms: held.expires_ms(),
            seq: Seq(1),
            node: None,
            extra,
            kind: held.kind(),
        });
        let op = Op { seq: Seq(1), stamp_ms: created_ms, from: None, fact: Fact::Held(Arc::new(other)) };
        let realm = (Some(kernel::TenantId::default()), "default".parse().expect("a realm"));
        let origin = Origin { host: u64::try_from(position).expect("small"), incarnation: 0 };
        let batch = Batch {
            origin,
            after: Seq(0),
            through: Seq(1),
            realms: vec![realm],
            ops: vec![op],
            pools: std::collections::BTreeMap::new(),
        };
        let heard = self.engine.submit_here(vec![Command::News(News::Batch(Arc::new(batch)))]).await;
        assert!(matches!(heard.expect("the daemon runs").as_slice(), [Ok(Ok(Reply::Heard(_)))]));
    }

    /// What the view shows of a subscriber first.
    pub(crate) fn shown(&self, subscriber: &str) -> Arc<Allocation> {
        let subscriber = subscriber.parse().expect("a plain word");
        let held = self.view.of_subscriber(&kernel::TenantId::default(), &subscriber);
        Arc::clone(held.first().expect("the subscriber holds something"))
    }

    /// From now on no plugin answers, or again all do.
    pub(crate) fn break_plugins(&self, broken: bool) {
        self.types.broken.store(broken, Ordering::SeqCst);
    }

    /// Lets so much time pass at once.
    pub(crate) fn advance(&self, ms: u64) {
        self.clock.added_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A job whose commands are not all answered.
struct Open {
    first: u64,
    outcomes: Vec<Option<Outcome>>,
    answer: oneshot::Sender<Vec<Outcome>>,
}

struct Loop {
    kernel: Kernel,
    clock: Arc<Clock>,
    view: Arc<View>,
    types: Arc<dyn ResourceTypes>,
    open: Vec<Open>,
    next: u64,
}

impl Loop {
    fn run(mut self, inbox: &Inbox) {
        loop {
            let mut effects = Effects::default();
            match inbox.wait(Duration::from_millis(5)) {
                Ok(Some(job)) => self.accept(job, &mut effects),
                Ok(None) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while self.kernel.next_alarm().is_some_and(|due| due <= self.clock.boot_ms()) {
                self.kernel.step(self.clock.tick(), Input::Alarm, &mut effects);
            }
            self.kernel.seal(&mut effects);
            self.settle(effects);
        }
    }

    fn accept(&mut self, job: Job, effects: &mut Effects) {
        let Job { commands, answer } = job;
        self.open.push(Open { first: self.next, outcomes: commands.iter().map(|_| None).collect(), answer });
        for command in commands {
            let id = RequestId(self.next);
            self.next += 1;
            self.kernel.step(self.clock.tick(), Input::Request { id, command }, effects);
        }
    }

    fn settle(&mut self, effects: Effects) {
        for allocation in effects.allocations().filter(|allocation| allocation.name().is_none()) {
            let pool = self.view.pool_by_uid(allocation.pool);
            let names = pool.and_then(|pool| self.types.render(&pool, &[allocation.span]).ok());
            if let Some(Ok(name)) = names.and_then(|names| names.into_iter().next()) {
                allocation.set_name(name);
            }
        }
        let durable = effects.persist(Ok::<_, std::convert::Infallible>).expect("there is no disk");
        let (offset, expiring) = self.kernel.lease_clock();
        self.view.set_lease_clock(offset, expiring);
        self.view.apply(&durable.written);
        self.view.set_occupancy(&durable.occupancy);
        for (RequestId(id), answer) in durable.replies {
            let of = |open: &&mut Open| (open.first..open.first + open.outcomes.len() as u64).contains(&id);
            let open = self.open.iter_mut().find(of).expect("the kernel answers what was asked");
            let at = usize::try_from(id - open.first).expect("within the job");
            open.outcomes[at] = Some(Ok(answer));
        }
        for open in self.open.extract_if(.., |open| open.outcomes.iter().all(Option::is_some)) {
            // Whoever asked may have given up.
            let _gone = open.answer.send(open.outcomes.into_iter().flatten().collect());
        }
    }
}

/// `ipv4` (`{"cidr": "10.0.0.0/24"}`, single addresses) and `vlan` (`{"range": "100-200"}`).
#[derive(Debug)]
struct Types {
    broken: AtomicBool,
    /// Of `vlan`.
    retired: AtomicBool,
}

impl Types {
    fn answers(&self, pool: &Pool) -> Result<(), TypeError> {
        if !self.broken.load(Ordering::SeqCst) {
            return Ok(());
        }
        let type_id = pool.draft.type_id.to_string();
        Err(TypeError::Unavailable { type_id, why: "it is broken for this test".to_owned() })
    }
}

impl Types {
    fn turn(&self, type_id: &TypeId, retired: bool) -> Result<(), RetireError> {
        if type_id.as_str() != "vlan" {
            return Err(RetireError::Unknown(type_id.to_string()));
        }
        self.retired.store(retired, Ordering::SeqCst);
        Ok(())
    }
}

const KNOWN: [&str; 2] = ["ipv4", "vlan"];

fn invalid(path: &str, message: &str) -> TypeError {
    TypeError::InvalidSpec(vec![Problem { path: path.to_owned(), message: message.to_owned() }])
}

fn spans(type_id: &str, spec: &str) -> Result<(Span, Vec<(CompactString, CompactString)>), TypeError> {
    let spec: serde_json::Value = serde_json::from_str(spec).map_err(|why| invalid("", &why.to_string()))?;
    let text = |name: &str| spec.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    if type_id == "ipv4" {
        let cidr = text("cidr").ok_or_else(|| invalid("/cidr", "must be given"))?;
        let wrong = || invalid("/cidr", "must be an IPv4 network such as 10.0.0.0/24");
        let (base, prefix) = cidr.split_once('/').ok_or_else(wrong)?;
        let base: Ipv4Addr = base.parse().map_err(|_| wrong())?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        let span = Span::new(u128::from(base.to_bits()), 1 << (32 - prefix)).ok_or_else(wrong)?;
        let attributes = [("cidr", cidr.as_str()), ("prefix", "32"), ("gateway", "10.0.0.1"), ("dns", "10.0.0.53")];
        return Ok((span, attributes.map(|(key, value)| (key.into(), value.into())).to_vec()));
    }
    let range = text("range").ok_or_else(|| invalid("/range", "must be given"))?;
    let wrong = || invalid("/range", "must be such as 100-200, within 1 to 4094");
    let (first, last) = range.split_once('-').ok_or_else(wrong)?;
    let bounds = first.parse::<u128>().ok().zip(last.parse::<u128>().ok());
    let (first, last) =
        bounds.filter(|(first, last)| 1 <= *first && first <= last && *last <= 4094).ok_or_else(wrong)?;
    Ok((Span::new(first, last - first + 1).ok_or_else(wrong)?, Vec::new()))
}

fn name(pool: &Pool, span: Span) -> CompactString {
    match (pool.draft.type_id.as_str(), u32::try_from(span.start())) {
        ("ipv4", Ok(bits)) => format_compact!("{}", Ipv4Addr::from_bits(bits)),
        _ => format_compact!("{}", span.start()),
    }
}

fn parse(pool: &Pool, text: &str) -> Result<Span, TypeError> {
    let wrong = || TypeError::InvalidName(format!("{text:?} is no {} resource", pool.draft.type_id));
    let start = match pool.draft.type_id.as_str() {
        "ipv4" => u128::from(text.parse::<Ipv4Addr>().map_err(|_| wrong())?.to_bits()),
        _ => text.parse().map_err(|_| wrong())?,
    };
    let span = Span::new(start, 1).ok_or_else(wrong)?;
    let inside = pool.draft.geometry.spans.iter().any(|series| series.first().contains(span));
    if inside { Ok(span) } else { Err(TypeError::OutOfRange) }
}

impl ResourceTypes for Types {
    fn open(&self, type_id: &TypeId, spec: &str) -> Result<OpenedSpec, TypeError> {
        let known = KNOWN.map(str::to_owned).to_vec();
        if !KNOWN.contains(&type_id.as_str()) {
            return Err(TypeError::Unknown { type_id: type_id.to_string(), known });
        }
        let (span, attributes) = spans(type_id.as_str(), spec)?;
        let geometry = Geometry {
            spans: vec![Series::one(span)],
            excluded: Vec::new(),
            grain: 1,
            sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Origin },
            cut: 256,
            attributes,
            strategy: Strategy::FirstFree,
        };
        Ok(OpenedSpec { geometry, mapping_id: format_compact!("{type_id}/1") })
    }

    fn render(&self, pool: &Pool, spans: &[Span]) -> Result<Vec<Result<CompactString, TypeError>>, TypeError> {
        self.answers(pool)?;
        Ok(spans.iter().map(|span| Ok(name(pool, *span))).collect())
    }

    fn parse(&self, pool: &Pool, names: &[&str]) -> Result<Vec<Result<Span, TypeError>>, TypeError> {
        self.answers(pool)?;
        Ok(names.iter().map(|text| parse(pool, text)).collect())
    }

    fn interpret(&self, _: &Pool, hints: &[(CompactString, CompactString)]) -> Result<Plan, TypeError> {
        let path = hints.first().map_or_else(String::new, |(name, _)| format!("/{name}"));
        Err(TypeError::InvalidHint(Problem { path, message: "is not known; there are no hints".to_owned() }))
    }

    fn summarize(&self, pool: &Pool, run: Span) -> Result<Vec<CompactString>, TypeError> {
        let last = Span::new(run.end() - 1, 1).ok_or(TypeError::OutOfRange)?;
        Ok(vec![format_compact!("{}-{}", name(pool, run), name(pool, last))])
    }

    fn attributes(&self, pool: &Pool, span: Span) -> Result<Vec<(CompactString, CompactString)>, TypeError> {
        Ok(vec![("Framed-IP-Address".into(), name(pool, span))])
    }

    fn list(&self) -> Vec<PluginStatus> {
        let schema = |field: &str| {
            format!(
                r#"{{"type":"object","properties":{{"{field}":{{"type":"string"}}}},"additionalProperties":false}}"#
            )
        };
        let plugin = |type_id: &str, field: &str, example: &str| PluginStatus {
            type_id: type_id.to_owned(),
            version: "1.0.0".to_owned(),
            mapping_id: format!("{type_id}/1"),
            title: type_id.to_uppercase(),
            digest: "00".repeat(32),
            source: "embedded".to_owned(),
            missing: false,
            state: PluginState::Active,
            why: String::new(),
            spec_schema: schema(field),
            hint_schema: r#"{"type":"object"}"#.to_owned(),
            examples: vec![example.to_owned()],
            loaded_ms: BEGIN_MS,
            calls: 0,
            failures: 0,
        };
        let retired = self.retired.load(Ordering::SeqCst);
        let state = if retired { PluginState::Retired } else { PluginState::Active };
        let vlan = PluginStatus {
            source: "/plugins/vlan.wasm".to_owned(),
            missing: true,
            state,
            ..plugin("vlan", "range", r#"{"range":"100-200"}"#)
        };
        vec![plugin("ipv4", "cidr", r#"{"cidr":"10.0.0.0/24"}"#), vlan]
    }

    fn retire(&self, type_id: &TypeId) -> Result<(), RetireError> {
        self.turn(type_id, true)
    }

    fn resume(&self, type_id: &TypeId) -> Result<(), RetireError> {
        self.turn(type_id, false)
    }
}

/// Nothing is kept on disk, so nothing is known of the past.
#[derive(Debug)]
struct NoHistory;

impl History for NoHistory {
    fn holders(&self, _: PoolUid, _: RealmUid, _: u128, _: Option<u64>, _: usize) -> Result<HistoryAnswer, String> {
        Ok(HistoryAnswer { entries: Vec::new(), history_from_ms: BEGIN_MS })
    }
}

#[derive(Debug)]
struct Ready;

impl Readiness for Ready {
    fn reasons(&self) -> Vec<String> {
        Vec::new()
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
