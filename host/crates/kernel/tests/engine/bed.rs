//! A kernel on a bench: commands in, answers and operations out, time as the test says, restarts from what was written.

use std::convert::Infallible;
use std::sync::Arc;

use compact_str::CompactString;
use kernel::{
    Alignment, AllocateRequest, Allocation, AllocationTarget, Command, CommandError, Effects, Fact, Geometry, Input,
    Kernel, KernelSettings, LeaseTerms, Notice, Occupancy, Op, Plan, Pool, PoolDraft, PoolTerms, PoolUid, RealmRef,
    Recovery, Reply, RequestId, Series, Sizing, Span, Strategy, Tick, Ttl,
};

pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;
pub(crate) const SETTINGS: KernelSettings =
    KernelSettings { seed: 7, restart_grace_ms: 300_000, clock_tolerance_ms: 60_000, lease_slack_ms: 0, cluster: None };

pub(crate) type Answer = Result<Reply, CommandError>;

pub(crate) struct Bed {
    settings: KernelSettings,
    pub(crate) kernel: Kernel,
    pub(crate) now: Tick,
    pub(crate) log: Vec<Op>,
    pub(crate) notices: Vec<Notice>,
    /// Answers that came later than their step.
    pub(crate) late: Vec<(RequestId, Answer)>,
    next: u64,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with_settings(SETTINGS)
    }

    pub(crate) fn with_settings(settings: KernelSettings) -> Self {
        let now = Tick { boot_ms: 1_000, wall_ms: BEGIN_MS };
        let kernel = Recovery::new(settings).finish(now);
        Self { settings, kernel, now, log: Vec::new(), notices: Vec::new(), late: Vec::new(), next: 0 }
    }

    /// A kernel with one pool in it.
    pub(crate) fn with(draft: PoolDraft) -> (Self, Arc<Pool>) {
        let mut bed = Self::new();
        let pool = bed.create(draft);
        (bed, pool)
    }

    pub(crate) fn create(&mut self, draft: PoolDraft) -> Arc<Pool> {
        match self.ask(Command::CreatePool(Box::new(draft))) {
            Ok(Reply::PoolCreated(pool)) => pool,
            other => panic!("not created: {other:?}"),
        }
    }

    /// One command, one group. Panics if the answer is not given at once.
    pub(crate) fn ask(&mut self, command: Command) -> Answer {
        self.try_ask(command).expect("answered at once")
    }

    pub(crate) fn try_ask(&mut self, command: Command) -> Option<Answer> {
        let id = RequestId(self.next);
        self.next += 1;
        self.step(Input::Request { id, command });
        let at = self.late.iter().position(|(of, _)| *of == id)?;
        Some(self.late.remove(at).1)
    }

    /// Gives how many operations the step wrote.
    pub(crate) fn step(&mut self, input: Input) -> usize {
        let mut effects = Effects::default();
        self.kernel.step(self.now, input, &mut effects);
        self.kernel.seal(&mut effects);
        let durable = effects.persist(Ok::<_, Infallible>).expect("cannot fail");
        self.notices.extend(durable.notices);
        self.late.extend(durable.replies);
        let written = durable.written.len();
        self.log.extend(durable.written);
        written
    }

    /// All alarms that are due; gives how many.
    pub(crate) fn alarms(&mut self) -> usize {
        let mut count = 0;
        while self.kernel.next_alarm().is_some_and(|due_ms| due_ms <= self.now.boot_ms) {
            self.step(Input::Alarm);
            count += 1;
            assert!(count < 1_000_000, "the alarm does not come to rest");
        }
        count
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.boot_ms += ms;
        self.now.wall_ms += ms;
    }

    /// A new life from the log, so many milliseconds later; the boot clock begins anew.
    pub(crate) fn restart(&mut self, later_ms: u64) {
        self.now = Tick { boot_ms: 0, wall_ms: self.now.wall_ms + later_ms };
        self.recover();
    }

    /// A new life from the first so many operations of the log: what came later is forgotten.
    pub(crate) fn restore(&mut self, operations: usize, quarantined: impl IntoIterator<Item = PoolUid>) {
        self.log.truncate(operations);
        let mut recovery = Recovery::new(self.settings);
        recovery.quarantines(quarantined.into_iter().collect());
        self.recover_with(recovery);
    }

    pub(crate) fn recover(&mut self) {
        self.recover_with(Recovery::new(self.settings));
    }

    /// The process lives on, its kernel is made again from the log.
    pub(crate) fn replace_kernel(&mut self) {
        let mut recovery = Recovery::new(self.settings);
        recovery.replaces(&self.kernel);
        self.recover_with(recovery);
    }

    fn recover_with(&mut self, mut recovery: Recovery) {
        for op in &self.log {
            recovery.apply(op);
        }
        self.kernel = recovery.finish(self.now);
        assert!(self.kernel.faults().is_empty(), "{:?}", self.kernel.faults());
    }

    /// What a subscriber gets, whoever else asked before.
    pub(crate) fn allocate(&mut self, pool: &Pool, subscriber: &str) -> Arc<Allocation> {
        given(self.ask(Command::Allocate(Box::new(request(pool, subscriber)))))
    }

    pub(crate) fn allocate_with(
        &mut self,
        pool: &Pool,
        subscriber: &str,
        change: impl FnOnce(&mut AllocateRequest),
    ) -> Answer {
        let mut request = request(pool, subscriber);
        change(&mut request);
        self.ask(Command::Allocate(Box::new(request)))
    }

    /// Exactly this span, named by the client.
    pub(crate) fn ask_for(&mut self, pool: &Pool, subscriber: &str, start: u128, len: u128) -> Answer {
        self.allocate_with(pool, subscriber, |request| {
            request.plan = Plan::exactly(span(start, len));
            request.explicit = true;
        })
    }

    pub(crate) fn release(&mut self, pool: &Pool, subscriber: &str) -> Answer {
        self.ask(Command::Release(target(pool, subscriber)))
    }

    /// Of the pool's first realm.
    pub(crate) fn occupancy(&self, pool: PoolUid) -> Occupancy {
        let of = |((found, _), occupancy): ((PoolUid, _), Occupancy)| (found == pool).then_some(occupancy);
        self.kernel.occupancy().into_iter().find_map(of).expect("the pool was used")
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.log.iter().filter(|op| wanted(&op.fact)).count()
    }
}

pub(crate) fn given(answer: Answer) -> Arc<Allocation> {
    match answer {
        Ok(Reply::Allocated { allocation, .. }) => allocation,
        other => panic!("nothing allocated: {other:?}"),
    }
}

pub(crate) fn request(pool: &Pool, subscriber: &str) -> AllocateRequest {
    AllocateRequest {
        pool: pool.uid,
        subscriber: subscriber.parse().expect("a subscriber id"),
        key: None,
        realm_value: None,
        plan: Plan::anywhere(pool.draft.geometry.sizing.default_len),
        explicit: false,
        ttl: Ttl::Default,
        node: None,
        metadata: CompactString::default(),
        supersedes: None,
    }
}

pub(crate) fn target(pool: &Pool, subscriber: &str) -> AllocationTarget {
    AllocationTarget {
        pool: pool.uid,
        subscriber: subscriber.parse().expect("a subscriber id"),
        key: None,
        span: None,
        made_ms: None,
    }
}

pub(crate) fn span(start: u128, len: u128) -> Span {
    Span::new(start, len).expect("not empty")
}

/// Addresses `start..start + len`.
pub(crate) fn addresses(start: u128, len: u128) -> PoolDraft {
    let geometry = Geometry {
        spans: vec![Series::one(span(start, len))],
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Natural },
        cut: 8,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    };
    let lease = LeaseTerms::None;
    let terms = PoolTerms {
        strategy: Strategy::FirstFree,
        lease,
        hold_down_ms: 60_000,
        strict: false,
        ack: None,
        realm_by: Vec::new(),
        metadata: CompactString::default(),
    };
    let draft = PoolDraft {
        tenant: kernel::TenantId::default(),
        id: "homes".parse().expect("a pool id"),
        type_id: "ipv4".parse().expect("a type"),
        realm: RealmRef { name: "default".parse().expect("a realm"), shared: false },
        spec: "".into(),
        geometry: Arc::new(geometry),
        mapping_id: CompactString::default(),
        terms,
        sharding_factor: None,
        extra: CompactString::default(),
    };
    respecified(draft)
}

/// Lengths 1 to 8 in 32 positions, aligned to themselves.
pub(crate) fn prefixes() -> PoolDraft {
    with_geometry(addresses(0, 32), |geometry| {
        geometry.sizing.max_len = 8;
        geometry.cut = 8;
    })
}

pub(crate) fn with_geometry(mut draft: PoolDraft, change: impl FnOnce(&mut Geometry)) -> PoolDraft {
    let mut geometry = Geometry::clone(&draft.geometry);
    change(&mut geometry);
    draft.geometry = Arc::new(geometry);
    respecified(draft)
}

pub(crate) fn with_terms(mut draft: PoolDraft, change: impl FnOnce(&mut PoolTerms)) -> PoolDraft {
    change(&mut draft.terms);
    draft
}

pub(crate) fn named(mut draft: PoolDraft, id: &str) -> PoolDraft {
    draft.id = id.parse().expect("a pool id");
    draft
}

/// The kernel compares specs, not geometries: a plugin reads one from the other.
fn respecified(mut draft: PoolDraft) -> PoolDraft {
    draft.spec = format!("{:?} {:?}", draft.geometry.spans, draft.geometry.excluded).into();
    draft
}

/// Ten seconds unless asked for between one second and a minute.
pub(crate) fn leased(draft: PoolDraft) -> PoolDraft {
    let lease = LeaseTerms::Timed { default_ms: 10_000, min_ms: 1_000, max_ms: 60_000 };
    with_terms(draft, |terms| terms.lease = lease)
}
