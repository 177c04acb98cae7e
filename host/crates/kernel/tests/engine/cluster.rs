//! Several kernels that share a pool: what each may hand out, whom it sends others to, and what it knows of the others.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, which the lints do not take for such; what is missing or unexpected fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use kernel::{
    AllocateRequest, AllocationTarget, Batch, Choice, Command, CommandError, Detour, Dot, Effects, Epoch,
    ExplainedOutcome, Fact, Input, KernelSettings, Leg, MemberId, NamedRealm, Names, News, Op, Origin, Plan, Pool,
    PoolDraft, PoolUid, RealmUid, Reply, RequestId, ReserveRequest, Revision, Ring, RingMember, Seq, Series, ShardId,
    ShardTenure, Sight, Span, Strategy, Tenure, Ttl,
};

use crate::bed::{Answer, Bed, SETTINGS, addresses, given, leased, request, target};

/// Hosts that hear of each other when the test says so.
pub(crate) struct Hosts {
    pub(crate) beds: Vec<Bed>,
    pub(crate) pool: Arc<Pool>,
}

pub(crate) fn member(host: usize) -> MemberId {
    MemberId(u32::try_from(host).expect("few hosts") + 1)
}

pub(crate) fn origin(host: usize) -> Origin {
    Origin { host: u64::from(member(host).0) * 1_000, incarnation: 0 }
}

impl Hosts {
    /// A pool of 256 addresses in 4 shards a host, dealt out in turn.
    pub(crate) fn new(count: usize) -> Self {
        let mut draft = addresses(0x0a00_0000, 256);
        draft.sharding_factor = Some(u32::try_from(count * 4).expect("few"));
        let mut geometry = (*draft.geometry).clone();
        geometry.cut = 1;
        draft.geometry = Arc::new(geometry);
        draft.terms.strategy = Strategy::FirstFree;
        Self::sharing(draft, count, count)
    }

    /// So many hosts, the first of which own the shards of this pool in turn.
    pub(crate) fn sharing(draft: PoolDraft, count: usize, owners: usize) -> Self {
        let (_, pool) = Bed::with(draft);
        let mut hosts = Self {
            beds: (0..count)
                .map(|host| Bed::with_settings(KernelSettings { cluster: Some(origin(host)), ..SETTINGS }))
                .collect(),
            pool: Arc::clone(&pool),
        };
        let all: Vec<usize> = (0..count).collect();
        for host in 0..count {
            hosts.tell(host, News::Pool(Arc::clone(&pool)));
            hosts.see(host, &all);
            hosts.grant(host, Epoch(1), |shard| usize::try_from(shard.0).expect("few") % owners);
        }
        hosts
    }

    pub(crate) fn tell(&mut self, host: usize, news: News) -> Reply {
        self.beds[host].ask(Command::News(news)).expect("news are taken in")
    }

    pub(crate) fn see(&mut self, host: usize, alive: &[usize]) {
        let members = (0..self.beds.len()).map(|host| RingMember { id: member(host), weight: 1 });
        let ring = Arc::new(Ring::new(members, Ring::VIRTUAL_NODES));
        let alive: BTreeSet<MemberId> = alive.iter().map(|host| member(*host)).collect();
        let agreed_offset_ms = Some(self.beds[host].kernel.lease_clock().0);
        self.tell(host, News::Sight(Box::new(Sight { me: member(host), ring, alive, agreed_offset_ms })));
    }

    pub(crate) fn grant(&mut self, host: usize, epoch: Epoch, owner: impl Fn(ShardId) -> usize) {
        let tenures = self.pool.shards.iter().map(|shard| {
            let owner = owner(shard.id);
            let tenure = if owner == host { Tenure::Escrow } else { Tenure::Theirs(member(owner)) };
            ShardTenure { shard: shard.id, epoch, tenure, leased: tenure == Tenure::Leased, doubtful: false }
        });
        let news = News::Tenures { pool: self.pool.uid, tenures: tenures.collect() };
        self.tell(host, news);
    }

    /// What one host wrote, to another.
    pub(crate) fn share(&mut self, from: usize, to: usize) -> Seq {
        let origin = origin(from);
        let known = self.beds[to].kernel.heard().get(&origin).copied().unwrap_or_default();
        let log = &self.beds[from].log;
        let through = log.last().map_or(Seq(0), |op| op.seq);
        let own: Vec<_> = log.iter().filter(|op| op.from.is_none() && op.seq > known).collect();
        let batch = Batch::pack(origin, known, through, own, &Namer(log));
        match self.tell(to, News::Batch(Arc::new(batch))) {
            Reply::Heard(Dot { seq, .. }) => seq,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn share_all(&mut self) {
        for from in 0..self.beds.len() {
            for to in (0..self.beds.len()).filter(|to| *to != from) {
                self.share(from, to);
            }
        }
    }

    pub(crate) fn allocate(&mut self, host: usize, leg: Leg, subscriber: &str) -> Answer {
        let command = Box::new(Command::Allocate(Box::new(request(&self.pool, subscriber))));
        self.beds[host].ask(Command::Relayed { leg, command })
    }

    fn owned(&self, host: usize, shard: ShardId) -> bool {
        self.beds[host]
            .kernel
            .tenures(self.pool.uid)
            .iter()
            .any(|said| said.shard == shard && matches!(said.tenure, Tenure::Escrow | Tenure::Leased | Tenure::Kept))
    }

    fn held(&self, host: usize) -> u128 {
        self.beds[host].occupancy(self.pool.uid).held
    }
}

/// What the numbers in a log stand for.
pub(crate) struct Namer<'l>(pub(crate) &'l [Op]);

impl Names for Namer<'_> {
    fn realm(&self, uid: RealmUid) -> Option<NamedRealm> {
        self.0.iter().find_map(|op| match &op.fact {
            Fact::Realm(realm) if realm.uid == uid => Some((realm.tenant.clone(), realm.name.clone())),
            _ => None,
        })
    }

    fn revision(&self, uid: PoolUid) -> Option<Revision> {
        self.0.iter().rev().find_map(|op| match &op.fact {
            Fact::Pool(pool) if pool.uid == uid => Some(pool.revision),
            _ => None,
        })
    }
}

fn detour(answer: Answer) -> Detour {
    match answer {
        Err(CommandError::Elsewhere { detour, .. }) => detour,
        other => panic!("not sent elsewhere: {other:?}"),
    }
}

#[test]
fn a_host_hands_out_from_its_own_shards_only_and_says_who_has_more() {
    let mut hosts = Hosts::new(2);
    let share: u32 = 128;
    for line in 0..share {
        let allocation = given(hosts.allocate(0, Leg::Home, &format!("line-{line}")));
        assert!(hosts.owned(0, allocation.shard));
    }
    assert_eq!(detour(hosts.allocate(0, Leg::Home, "one more")), Detour::Space(vec![member(1)]));
    let elsewhere = given(hosts.allocate(1, Leg::Space, "one more"));
    assert!(hosts.owned(1, elsewhere.shard));
    assert!(matches!(hosts.allocate(0, Leg::Space, "another"), Err(CommandError::Exhausted { .. })));
}

#[test]
fn who_must_be_asked_elsewhere_hears_so_before_anything_is_written() {
    let hosts = Hosts::new(2);
    let Hosts { mut beds, pool } = hosts;
    let bed = &mut beds[0];
    let mut effects = Effects::default();
    for id in 0..40 {
        let request = Box::new(request(&pool, &format!("line-{id}")));
        bed.kernel.step(
            bed.now,
            Input::Request { id: RequestId(id), command: Command::Allocate(request) },
            &mut effects,
        );
    }
    let (first, waits) = (RequestId(20), effects.writes_len());
    let detours = effects.take_detours(first);
    assert!(!detours.is_empty() && detours.iter().all(|(id, _)| *id >= first), "{detours:?}");
    assert!(detours.iter().all(|(_, refused)| matches!(refused, CommandError::Elsewhere { .. })));
    assert!(effects.take_detours(first).is_empty());
    let earlier = effects.take_detours(RequestId(0));
    assert!(effects.take_detours(RequestId(0)).is_empty());
    let durable = effects.persist(Ok::<_, Infallible>).expect("cannot fail");
    assert!(durable.replies.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!((durable.replies.len(), durable.written.len()), (40 - detours.len() - earlier.len(), waits));
}

#[test]
fn all_hosts_agree_on_a_subscribers_home() {
    let mut hosts = Hosts::new(3);
    for line in 0..50 {
        let name = format!("line-{line}");
        let homes: Vec<MemberId> = (0..3)
            .map(|host| match hosts.allocate(host, Leg::Entry, &name) {
                Ok(_) => member(host),
                other => match detour(other) {
                    Detour::Home(home) => home,
                    detour => panic!("{detour:?}"),
                },
            })
            .collect();
        assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
    }
}

#[test]
fn what_is_held_elsewhere_is_known_and_its_owner_decides() {
    let mut hosts = Hosts::new(2);
    let there = given(hosts.allocate(1, Leg::Home, "line-1"));
    hosts.share_all();
    assert_eq!(hosts.held(0), 1);
    assert_eq!(detour(hosts.allocate(0, Leg::Entry, "line-1")), Detour::Owner(member(1)));
    let release = Command::Release(target(&hosts.pool, "line-1"));
    assert_eq!(detour(hosts.beds[0].ask(release.clone())), Detour::Owner(member(1)));
    assert!(matches!(hosts.beds[1].ask(release), Ok(Reply::Released(_))));
    hosts.share_all();
    assert_eq!(hosts.held(0), 0);
    // Asked for by name, it is its owner's to give.
    let asked = hosts.beds[0].ask_for(&hosts.pool.clone(), "line-1", there.span.start(), 1);
    match asked {
        Err(CommandError::Elsewhere { detour: Detour::Space(owners), .. }) => assert_eq!(owners, [member(1)]),
        Err(CommandError::Elsewhere { detour: Detour::Home(home), .. }) => assert_eq!(home, member(1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_heard_twice_or_with_a_gap_changes_nothing() {
    let mut hosts = Hosts::new(2);
    given(hosts.allocate(0, Leg::Home, "line-1"));
    let once = hosts.share(0, 1);
    let written = hosts.beds[1].log.len();
    assert_eq!(hosts.share(0, 1), once);
    assert_eq!(hosts.beds[1].log.len(), written);
    let gap = Batch {
        origin: origin(0),
        after: Seq(once.0 + 5),
        through: Seq(once.0 + 9),
        realms: vec![],
        ops: vec![],
        pools: BTreeMap::new(),
    };
    assert!(matches!(hosts.tell(1, News::Batch(Arc::new(gap))), Reply::Heard(Dot { seq, .. }) if seq == once));
}

#[test]
fn what_was_heard_is_there_after_a_restart_and_nothing_is_handed_out_before_the_ledger_speaks() {
    let mut hosts = Hosts::new(2);
    for line in 0..10 {
        given(hosts.allocate(0, Leg::Home, &format!("line-{line}")));
    }
    hosts.share_all();
    let vector = hosts.beds[1].kernel.heard().clone();
    hosts.beds[1].restart(1_000);
    assert_eq!(hosts.beds[1].kernel.heard(), &vector);
    assert_eq!(hosts.held(1), 10);
    assert!(matches!(hosts.allocate(1, Leg::Space, "new"), Err(CommandError::Withheld { .. })));
    hosts.grant(1, Epoch(1), |shard| usize::try_from(shard.0).expect("few") % 2);
    given(hosts.allocate(1, Leg::Space, "new"));
    assert!(matches!(hosts.share(0, 1), Seq(_)));
}

#[test]
fn a_leased_shard_is_handed_out_from_only_while_the_node_lease_is_good() {
    let mut hosts = Hosts::new(1);
    let leased = hosts.pool.shards.iter().map(|shard| ShardTenure {
        shard: shard.id,
        epoch: Epoch(2),
        tenure: Tenure::Leased,
        leased: true,
        doubtful: false,
    });
    let news = News::Tenures { pool: hosts.pool.uid, tenures: leased.collect() };
    hosts.tell(0, news);
    assert!(matches!(hosts.allocate(0, Leg::Home, "early"), Err(CommandError::Withheld { .. })));
    let until_ms = hosts.beds[0].now.boot_ms + 1_000;
    hosts.tell(0, News::NodeLease { until_ms });
    let first = given(hosts.allocate(0, Leg::Home, "line-1"));
    let (epoch, held_span) = (first.epoch, first.span);
    assert_eq!(epoch, Epoch(2));
    hosts.beds[0].pass(1_000);
    assert!(matches!(hosts.allocate(0, Leg::Home, "late"), Err(CommandError::Withheld { .. })));
    // Somebody else may own it by now: what is held there is not answered, renewed or released.
    let held = target(&hosts.pool, "line-1");
    let renewal = Command::Renew { target: held.clone(), ttl: Ttl::Default };
    for command in [renewal, Command::Release(held)] {
        assert!(matches!(hosts.beds[0].ask(command), Err(CommandError::Withheld { .. })));
    }
    assert!(matches!(hosts.allocate(0, Leg::Home, "line-1"), Err(CommandError::Withheld { .. })));
    // From what is its own whatever comes its holder is given another one.
    let escrow = hosts.pool.shards.iter().skip(1).map(|shard| ShardTenure {
        shard: shard.id,
        epoch: Epoch(3),
        tenure: Tenure::Escrow,
        leased: false,
        doubtful: false,
    });
    let news = News::Tenures { pool: hosts.pool.uid, tenures: escrow.collect() };
    hosts.tell(0, news);
    let other = given(hosts.allocate(0, Leg::Home, "line-1"));
    assert_eq!((other.epoch, other.supersedes().map(|former| former.epoch)), (Epoch(3), Some(Epoch(2))));
    // With a lease it answers for what is held there again.
    let until_ms = hosts.beds[0].now.boot_ms + 1_000;
    hosts.tell(0, News::NodeLease { until_ms });
    let first = AllocationTarget { span: Some(held_span), ..target(&hosts.pool, "line-1") };
    assert!(matches!(hosts.beds[0].ask(Command::Release(first)), Ok(Reply::Released(_))));
}

#[test]
fn what_shall_last_for_ever_where_others_get_leases_comes_from_escrow() {
    let mut draft = leased(addresses(0x0a00_0000, 16));
    draft.sharding_factor = Some(4);
    let mut geometry = (*draft.geometry).clone();
    geometry.cut = 1;
    draft.geometry = Arc::new(geometry);
    draft.terms.strategy = Strategy::FirstFree;
    let mut hosts = Hosts::sharing(draft, 1, 1);
    let said = |shard: ShardId, tenure| ShardTenure {
        shard,
        epoch: Epoch(2),
        tenure,
        leased: tenure == Tenure::Leased,
        doubtful: false,
    };
    let tenures = hosts
        .pool
        .shards
        .iter()
        .map(|shard| said(shard.id, if shard.id == ShardId(2) { Tenure::Escrow } else { Tenure::Leased }));
    let news = News::Tenures { pool: hosts.pool.uid, tenures: tenures.collect() };
    hosts.tell(0, news);
    hosts.tell(0, News::NodeLease { until_ms: u64::MAX });
    let pool = Arc::clone(&hosts.pool);
    let request = |name: &str| Box::new(AllocateRequest { ttl: Ttl::Permanent, ..request(&pool, name) });
    let relayed = |command| Command::Relayed { leg: Leg::Home, command: Box::new(command) };
    let lasting = |name: &str| relayed(Command::Allocate(request(name)));
    let explain = |hosts: &mut Hosts, name: &str| {
        let answer = hosts.beds[0].ask(relayed(Command::Explain(request(name))));
        let Ok(Reply::Explained(explained)) = answer else { panic!("{answer:?}") };
        explained.outcome
    };
    for line in 0..4 {
        let name = format!("line-{line}");
        let foretold = explain(&mut hosts, &name);
        let held = given(hosts.beds[0].ask(lasting(&name)));
        assert_eq!((held.shard, held.expires_ms()), (ShardId(2), None));
        assert_eq!(foretold, ExplainedOutcome::WouldGet { span: held.span, why: Choice::Strategy });
    }
    // Others may have it, so it is not said that there is none.
    assert!(matches!(hosts.beds[0].ask(lasting("line-4")), Err(CommandError::Withheld { .. })));
    let foretold = explain(&mut hosts, "line-4");
    assert!(
        matches!(&foretold, ExplainedOutcome::WouldFail(error) if matches!(**error, CommandError::Withheld { .. })),
        "{foretold:?}"
    );
    // What is held by lease stays so, for as long as a lease may be.
    let short = given(hosts.allocate(0, Leg::Home, "line-5"));
    assert_eq!(short.shard, ShardId(0));
    let again = given(hosts.beds[0].ask(lasting("line-5")));
    assert_eq!(again.expires_ms().map(|end| end.get() - again.renewed_ms()), Some(60_000));
}

#[test]
fn what_is_released_in_a_leased_shard_waits_until_a_majority_knows_it() {
    let mut hosts = Hosts::new(1);
    let uid = hosts.pool.uid;
    let leased = hosts.pool.shards.iter().map(|shard| ShardTenure {
        shard: shard.id,
        epoch: Epoch(2),
        tenure: Tenure::Leased,
        leased: true,
        doubtful: false,
    });
    let tenures = leased.collect();
    hosts.tell(0, News::Tenures { pool: uid, tenures });
    hosts.tell(0, News::NodeLease { until_ms: u64::MAX });
    for line in 0..256 {
        given(hosts.allocate(0, Leg::Home, &format!("line-{line}")));
    }
    assert!(matches!(hosts.beds[0].release(&hosts.pool.clone(), "line-7"), Ok(Reply::Released(_))));
    hosts.beds[0].pass(600_000);
    hosts.beds[0].alarms();
    // Its rest is over, but who takes the shard over may not know that it was released.
    assert!(matches!(hosts.allocate(0, Leg::Home, "new"), Err(CommandError::Exhausted { .. })));
    let through = hosts.beds[0].log.last().expect("something was written").seq;
    hosts.tell(0, News::Stable { through: Seq(through.0 - 1) });
    assert!(matches!(hosts.allocate(0, Leg::Home, "new"), Err(CommandError::Exhausted { .. })));
    hosts.tell(0, News::Stable { through });
    given(hosts.allocate(0, Leg::Home, "new"));
}

#[test]
fn a_shard_taken_over_keeps_what_turns_up_late_and_forgets_nothing_that_was_answered_since() {
    let mut hosts = Hosts::new(3);
    let uid = hosts.pool.uid;
    let known = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.share_all();
    // The first host answers and releases once more, and nobody hears of it.
    let late = given(hosts.allocate(0, Leg::Home, "line-2"));
    assert!(matches!(hosts.beds[0].release(&hosts.pool.clone(), "line-1"), Ok(Reply::Released(_))));
    for host in 0..3 {
        let pool = Arc::clone(&hosts.pool);
        let lost = pool.shards.iter().filter(|shard| shard.id.0 % 3 == 0);
        let tenures = lost.map(|shard| {
            let tenure = if host == 1 { Tenure::Kept } else { Tenure::Theirs(member(1)) };
            ShardTenure { shard: shard.id, epoch: Epoch(2), tenure, leased: tenure == Tenure::Leased, doubtful: true }
        });
        let tenures = tenures.collect();
        hosts.tell(host, News::Tenures { pool: uid, tenures });
    }
    // The new owner repeats what it knows, in its own term, and hands out nothing new there.
    let again = given(hosts.allocate(1, Leg::Owner, "line-1"));
    assert_eq!((again.span, again.epoch), (known.span, Epoch(2)));
    hosts.share(1, 2);
    // The first host's last words turn up: what it handed out stands, what it took back was answered again since.
    hosts.share_all();
    hosts.share_all();
    for host in 1..3 {
        assert_eq!(hosts.held(host), 2, "host {host}");
        assert!(hosts.beds[host].kernel.conflicts().is_empty(), "host {host}");
    }
    let adopted = given(hosts.allocate(1, Leg::Owner, "line-2"));
    assert_eq!((adopted.span, adopted.epoch), (late.span, Epoch(2)));
}

#[test]
fn what_turns_up_late_is_said_again_so_that_every_host_knows_the_same() {
    let mut draft = leased(addresses(0x0a00_0000, 256));
    draft.terms.hold_down_ms = 0;
    let mut hosts = Hosts::sharing(draft, 3, 3);
    let uid = hosts.pool.uid;
    let known = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.share_all();
    for other in 1..3 {
        hosts.share(0, other);
    }
    // The first host renews, and nobody hears of it.
    hosts.beds[0].pass(5_000);
    given(hosts.allocate(0, Leg::Owner, "line-1"));
    for host in 0..3 {
        let tenure = if host == 1 { Tenure::Kept } else { Tenure::Theirs(member(1)) };
        let said = ShardTenure {
            shard: known.shard,
            epoch: Epoch(2),
            tenure,
            leased: tenure == Tenure::Leased,
            doubtful: true,
        };
        hosts.tell(host, News::Tenures { pool: uid, tenures: vec![said] });
    }
    // To the new owner the lease is over, and the third host hears of that before it hears the renewal.
    hosts.beds[1].pass(12_000);
    hosts.beds[1].alarms();
    hosts.share(1, 2);
    assert_eq!(hosts.held(2), 0);
    hosts.share(0, 2);
    hosts.share(0, 1);
    hosts.share(1, 2);
    hosts.share(1, 0);
    for host in 0..3 {
        assert_eq!(hosts.held(host), 1, "host {host}");
        let log = &hosts.beds[host].log;
        let last =
            log.iter().rev().find_map(|op| if let Fact::Held(held) = &op.fact { Some(held.epoch) } else { None });
        assert_eq!(last, Some(Epoch(2)), "host {host}");
    }
}

/// Reserves a span, in whatever term the host believes to be in.
fn reserves(hosts: &mut Hosts, host: usize, subscriber: &str, span: Span) {
    let (name, note) = ("".into(), "".into());
    let subscriber = subscriber.parse().expect("a subscriber id");
    let asked = ReserveRequest { pool: hosts.pool.uid, realm_value: None, span, subscriber, name, note };
    let answer = hosts.beds[host].ask(Command::Reserve(Box::new(asked)));
    assert!(matches!(answer, Ok(Reply::Reserved { .. })), "{answer:?}");
}

fn unreserves(hosts: &mut Hosts, host: usize, span: Span) {
    let gone = hosts.beds[host].ask(Command::Unreserve { pool: hosts.pool.uid, realm_value: None, span });
    assert!(matches!(gone, Ok(Reply::Unreserved(_))), "{gone:?}");
}

/// Hands a span out, which is free again at once.
fn gives_and_gets_back(hosts: &mut Hosts, host: usize, span: Span) {
    let asked = AllocateRequest { plan: Plan::exactly(span), ..request(&hosts.pool, "line-2") };
    let command = Box::new(Command::Allocate(Box::new(asked)));
    given(hosts.beds[host].ask(Command::Relayed { leg: Leg::Home, command }));
    let pool = Arc::clone(&hosts.pool);
    assert!(matches!(hosts.beds[host].release(&pool, "line-2"), Ok(Reply::Released(_))));
}

/// All shards are one host's from now on, who says nothing of them yet.
fn gives_all_to(hosts: &mut Hosts, owner: usize, epoch: Epoch) {
    let shards: Vec<ShardId> = hosts.pool.shards.iter().map(|shard| shard.id).collect();
    for host in 0..hosts.beds.len() {
        let tenure = if host == owner { Tenure::Silent } else { Tenure::Theirs(member(owner)) };
        let said = |shard| ShardTenure { shard, epoch, tenure, leased: true, doubtful: false };
        let tenures = shards.iter().copied().map(said).collect();
        hosts.tell(host, News::Tenures { pool: hosts.pool.uid, tenures });
    }
}

/// The owner of all shards has heard what counts.
fn opens_all(hosts: &mut Hosts, owner: usize) {
    let told = hosts.beds[owner].kernel.tenures(hosts.pool.uid);
    let tenures = told.into_iter().map(|said| ShardTenure { tenure: Tenure::Leased, ..said }).collect();
    hosts.tell(owner, News::Tenures { pool: hosts.pool.uid, tenures });
}

/// All shards are the second host's in the second term, in doubt about what the first one wrote last.
fn take_all_over(hosts: &mut Hosts, tenure: Tenure, leased: bool) {
    let shards: Vec<ShardId> = hosts.pool.shards.iter().map(|shard| shard.id).collect();
    for host in 0..hosts.beds.len() {
        let tenure = if host == 1 { tenure } else { Tenure::Theirs(member(1)) };
        let said = |shard| ShardTenure { shard, epoch: Epoch(2), tenure, leased, doubtful: true };
        let tenures = shards.iter().copied().map(said).collect();
        hosts.tell(host, News::Tenures { pool: hosts.pool.uid, tenures });
    }
}

#[test]
fn what_was_reserved_late_gives_way_to_what_the_new_owner_has_done_since() {
    let mut hosts = Hosts::sharing(addresses(0x0a00_0000, 8), 3, 1);
    let uid = hosts.pool.uid;
    let span = |at: u128| Span::new(0x0a00_0000 + at, 1).expect("not empty");
    reserves(&mut hosts, 0, "old", span(2));
    reserves(&mut hosts, 0, "kept", span(3));
    reserves(&mut hosts, 0, "former", span(4));
    hosts.share_all();
    // Nobody hears of these: two reservations, and that those of before are given up.
    reserves(&mut hosts, 0, "late-0", span(0));
    reserves(&mut hosts, 0, "late-1", span(1));
    for span in [span(2), span(3), span(4)] {
        unreserves(&mut hosts, 0, span);
    }
    take_all_over(&mut hosts, Tenure::Escrow, false);
    // The new owner reserves the second for the same one once more, says again that one of before is reserved, reserves the last for
    // another one, and gives the first to somebody.
    hosts.beds[1].pass(1_000);
    reserves(&mut hosts, 1, "late-1", span(1));
    reserves(&mut hosts, 1, "kept", span(3));
    unreserves(&mut hosts, 1, span(4));
    reserves(&mut hosts, 1, "other", span(4));
    let asked = AllocateRequest { plan: Plan::exactly(span(0)), ..request(&hosts.pool, "line-1") };
    let command = Box::new(Command::Allocate(Box::new(asked)));
    let held = given(hosts.beds[1].ask(Command::Relayed { leg: Leg::Home, command }));
    hosts.share(1, 2);
    hosts.share_all();
    hosts.share_all();
    for host in 0..3 {
        assert!(hosts.beds[host].kernel.conflicts().is_empty(), "host {host}");
        let found = hosts.beds[host].occupancy(uid);
        assert_eq!((found.held, found.reserved), (1, 3), "host {host}");
        assert_eq!(hosts.beds[host].kernel.digest(), hosts.beds[1].kernel.digest(), "host {host}");
    }
    assert_eq!(held.span, span(0));
}

/// What the first host reserved nobody heard of; the second one took all over, and handed the span out and got it back.
fn reserved_unheard_and_handed_out_since() -> Hosts {
    let mut hosts = Hosts::sharing(leased(addresses(0x0a00_0000, 8)), 3, 1);
    let span = Span::new(0x0a00_0002, 1).expect("not empty");
    reserves(&mut hosts, 0, "line-1", span);
    take_all_over(&mut hosts, Tenure::Leased, true);
    hosts.tell(1, News::NodeLease { until_ms: u64::MAX });
    gives_and_gets_back(&mut hosts, 1, span);
    hosts
}

fn all_know_one_reservation(hosts: &Hosts) {
    for (host, bed) in hosts.beds.iter().enumerate() {
        assert_eq!(bed.occupancy(hosts.pool.uid).reserved, 1, "host {host}");
        assert_eq!(bed.kernel.digest(), hosts.beds[0].kernel.digest(), "host {host}");
    }
}

#[test]
fn what_a_lost_owner_reserved_stands_everywhere_or_nowhere_though_another_had_it_meanwhile() {
    for leased_then in [true, false] {
        let mut hosts = reserved_unheard_and_handed_out_since();
        // The lost one hears that another had the span, and gives way; the new owner hears of the reservation when he has it no
        // more, perhaps while it cannot tell whether the shard is its own.
        if !leased_then {
            hosts.tell(1, News::NodeLease { until_ms: 0 });
        }
        hosts.share(1, 0);
        hosts.share(0, 1);
        hosts.share(1, 2);
        hosts.tell(1, News::NodeLease { until_ms: u64::MAX });
        hosts.share_all();
        hosts.share_all();
        all_know_one_reservation(&hosts);
    }
}

#[test]
fn what_a_lost_owner_reserved_is_said_again_by_who_was_given_the_shard_since() {
    for leased_then in [true, false] {
        let mut hosts = reserved_unheard_and_handed_out_since();
        gives_all_to(&mut hosts, 2, Epoch(3));
        // The lost one hears that another had the span, and gives way. The other two hear of the reservation behind that, when it is
        // the second one's word no more and not yet the third one's.
        hosts.share(1, 0);
        hosts.share(1, 2);
        hosts.share(0, 1);
        hosts.share(0, 2);
        if leased_then {
            hosts.tell(2, News::NodeLease { until_ms: u64::MAX });
        }
        opens_all(&mut hosts, 2);
        let says_it = |op: &Op| op.from.is_none() && matches!(op.fact, Fact::Reserved(_));
        assert_eq!(hosts.beds[2].log.iter().any(says_it), leased_then, "without a lease it may be another's");
        hosts.tell(2, News::NodeLease { until_ms: u64::MAX });
        hosts.share_all();
        all_know_one_reservation(&hosts);
    }
}

#[test]
fn what_a_lost_owner_removed_is_removed_everywhere_though_the_new_one_has_no_lease_as_it_hears_of_it() {
    let mut hosts = Hosts::sharing(leased(addresses(0x0a00_0000, 8)), 3, 1);
    let uid = hosts.pool.uid;
    let span = Span::new(0x0a00_0002, 1).expect("not empty");
    reserves(&mut hosts, 0, "line-1", span);
    hosts.share_all();
    unreserves(&mut hosts, 0, span);
    take_all_over(&mut hosts, Tenure::Kept, true);
    // The new owner said that the span is reserved; its lease is over when it hears that it was not. The lost one hears the
    // two words in the other order.
    hosts.tell(1, News::NodeLease { until_ms: 0 });
    hosts.share(1, 0);
    hosts.share(0, 1);
    hosts.share(1, 2);
    hosts.share_all();
    for host in 0..3 {
        assert_eq!(hosts.beds[host].occupancy(uid).reserved, 0, "host {host}");
        assert_eq!(hosts.beds[host].kernel.digest(), hosts.beds[1].kernel.digest(), "host {host}");
    }
}

#[test]
fn a_moved_shard_is_the_new_owners_with_all_that_is_held_in_it() {
    let mut hosts = Hosts::new(2);
    let pool = Arc::clone(&hosts.pool);
    let given_out: Vec<_> = (0..20).map(|line| given(hosts.allocate(0, Leg::Home, &format!("line-{line}")))).collect();
    hosts.share_all();
    let everything_to_the_second = |_: ShardId| 1;
    for host in 0..2 {
        hosts.grant(host, Epoch(2), everything_to_the_second);
    }
    for allocation in &given_out {
        let again = given(hosts.allocate(1, Leg::Entry, allocation.subscriber.as_str()));
        assert_eq!(again.span, allocation.span);
        assert!(matches!(
            hosts.allocate(0, Leg::Entry, allocation.subscriber.as_str()),
            Err(CommandError::Elsewhere { detour: Detour::Owner(owner), .. }) if owner == member(1)
        ));
    }
    let mut seen: BTreeSet<u128> = given_out.iter().map(|held| held.span.start()).collect();
    for line in 20..256 {
        let allocation = given(hosts.allocate(1, Leg::Home, &format!("line-{line}")));
        assert!(seen.insert(allocation.span.start()), "{:?} twice", allocation.span);
    }
    hosts.share_all();
    assert_eq!((hosts.held(0), hosts.held(1)), (256, 256));
    assert_eq!(hosts.beds[0].occupancy(pool.uid), hosts.beds[1].occupancy(pool.uid));
}

#[test]
fn what_became_a_hosts_own_in_a_known_term_rests_on_the_former_owners_words_too() {
    let mut hosts = Hosts::new(3);
    let first = given(hosts.allocate(0, Leg::Home, "line-1"));
    let cut = hosts.beds[0].log.last().expect("something was written").seq;
    hosts.share(0, 1);
    let uid = hosts.pool.uid;
    let said = |tenure| ShardTenure {
        shard: first.shard,
        epoch: Epoch(2),
        tenure,
        leased: tenure == Tenure::Leased,
        doubtful: false,
    };
    let rests_on = |op: &Op| matches!(op.fact, Fact::RestsOn(dot) if dot == Dot { origin: origin(0), seq: cut });
    for (host, tenure) in [(0, Tenure::Theirs(member(1))), (1, Tenure::Theirs(MemberId(0))), (1, Tenure::Silent)] {
        hosts.tell(host, News::Tenures { pool: uid, tenures: vec![said(tenure)] });
    }
    assert!(
        !hosts.beds[1].log.iter().any(rests_on),
        "what it waits for may be lost, and all it writes would wait, too"
    );
    hosts.tell(1, News::Tenures { pool: uid, tenures: vec![said(Tenure::Escrow)] });
    assert!(hosts.beds[1].log.iter().any(rests_on));
}

#[test]
fn what_is_said_in_a_term_rests_on_all_former_owners_though_one_between_them_never_said_anything() {
    let mut hosts = Hosts::sharing(leased(addresses(0x0a00_0000, 8)), 4, 1);
    let span = Span::new(0x0a00_0002, 1).expect("not empty");
    gives_and_gets_back(&mut hosts, 0, span);
    hosts.share(0, 1);
    gives_all_to(&mut hosts, 1, Epoch(2));
    hosts.share(0, 2);
    gives_all_to(&mut hosts, 2, Epoch(3));
    hosts.tell(2, News::NodeLease { until_ms: u64::MAX });
    opens_all(&mut hosts, 2);
    given(hosts.allocate(2, Leg::Home, "line-3"));
    let before = hosts.share(2, 3);
    assert_eq!(hosts.held(3), 0, "the first owner's words are missing");
    hosts.share(0, 3);
    assert!(hosts.share(2, 3) > before);
    assert_eq!(hosts.held(3), 1);
}

#[test]
fn that_space_left_a_pool_is_no_hosts_word_so_it_cannot_come_late_and_end_what_was_handed_out_since() {
    let mut hosts = Hosts::sharing(leased(addresses(0x0a00_0000, 8)), 2, 1);
    let first = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.share(0, 1);
    let pool = Arc::clone(&hosts.pool);
    assert!(matches!(hosts.beds[0].release(&pool, "line-1"), Ok(Reply::Released(_))));
    // The space leaves the pool before the second host hears that it is free, and comes back.
    let mut shrunk = Pool { revision: Revision(2), ..(*pool).clone() };
    Arc::make_mut(&mut shrunk.draft.geometry).excluded = vec![Series::one(first.span)];
    let shrunk = Arc::new(shrunk);
    let back = Arc::new(Pool { revision: Revision(3), ..(*pool).clone() });
    for host in 0..2 {
        hosts.tell(host, News::Pool(Arc::clone(&shrunk)));
        hosts.tell(host, News::Pool(Arc::clone(&back)));
    }
    assert_eq!(hosts.held(1), 0);
    let asked = AllocateRequest { plan: Plan::exactly(first.span), ..request(&pool, "line-2") };
    let command = Box::new(Command::Allocate(Box::new(asked)));
    given(hosts.beds[0].ask(Command::Relayed { leg: Leg::Home, command }));
    hosts.share(1, 0);
    for host in 0..2 {
        hosts.share(0, 1);
        hosts.beds[host].replace_kernel();
        assert_eq!(hosts.held(host), 1, "host {host}");
    }
}

#[test]
fn what_is_said_of_a_pool_waits_until_its_record_is_known() {
    let mut hosts = Hosts::new(2);
    let held = given(hosts.allocate(0, Leg::Home, "line-1"));
    // Space left the pool and came back, and the second host has not heard that it did.
    let mut shrunk = (*hosts.pool).clone();
    shrunk.revision = Revision(2);
    let gone = Series::one(held.span);
    Arc::make_mut(&mut shrunk.draft.geometry).excluded = vec![gone];
    let back = Pool { revision: Revision(3), ..(*hosts.pool).clone() };
    hosts.tell(1, News::Pool(Arc::new(shrunk)));
    hosts.tell(0, News::Pool(Arc::new(back.clone())));
    let before = hosts.share(0, 1);
    assert_eq!(hosts.held(1), 0);
    hosts.tell(1, News::Pool(Arc::new(back)));
    assert!(hosts.share(0, 1) > before);
    assert_eq!(hosts.held(1), 1, "it is not lost");
}

#[test]
fn who_does_not_know_whose_a_shard_is_does_not_say_that_the_pool_is_exhausted() {
    let mut hosts = Hosts::sharing(addresses(0x0a00_0000, 256), 2, 1);
    let uid = hosts.pool.uid;
    assert!(matches!(hosts.allocate(1, Leg::Space, "line"), Err(CommandError::Exhausted { shards: 0, .. })));
    let nobodys = hosts.pool.shards.iter().map(|shard| {
        let tenure = Tenure::Theirs(MemberId(0));
        ShardTenure { shard: shard.id, epoch: Epoch(2), tenure, leased: tenure == Tenure::Leased, doubtful: false }
    });
    let tenures = nobodys.collect();
    hosts.tell(1, News::Tenures { pool: uid, tenures });
    for leg in [Leg::Home, Leg::Space] {
        assert!(matches!(hosts.allocate(1, leg, "line"), Err(CommandError::Withheld { .. })), "{leg:?}");
    }
}

#[test]
fn words_of_a_new_term_wait_for_the_former_owners_last_ones() {
    let mut hosts = Hosts::new(3);
    let first = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.share(0, 1);
    let said: Vec<ShardTenure> = hosts
        .pool
        .shards
        .iter()
        .filter(|shard| hosts.owned(0, shard.id))
        .map(|shard| ShardTenure {
            shard: shard.id,
            epoch: Epoch(2),
            tenure: Tenure::Theirs(member(1)),
            leased: false,
            doubtful: false,
        })
        .collect();
    let mine: Vec<_> = said.iter().map(|said| ShardTenure { tenure: Tenure::Escrow, ..*said }).collect();
    let uid = hosts.pool.uid;
    hosts.tell(0, News::Tenures { pool: uid, tenures: said.clone() });
    hosts.tell(1, News::Tenures { pool: uid, tenures: mine });
    // The third host knows nothing of the move yet: what the second writes in the new term must wait.
    let release = Command::Release(target(&hosts.pool, "line-1"));
    assert!(matches!(hosts.beds[1].ask(release), Ok(Reply::Released(_))));
    hosts.beds[1].pass(120_000);
    hosts.beds[1].alarms();
    let again = hosts.beds[1].ask_for(&hosts.pool.clone(), "line-2", first.span.start(), 1);
    let again = match again {
        Ok(_) => given(again),
        Err(_) => given(hosts.allocate(1, Leg::Space, "line-2")),
    };
    assert_eq!(again.epoch, Epoch(if again.shard == first.shard { 2 } else { 1 }));
    let before = hosts.share(1, 2);
    hosts.tell(2, News::Tenures { pool: uid, tenures: said });
    assert_eq!(hosts.share(1, 2), before, "the former owner's words are missing");
    hosts.share(0, 2);
    assert!(hosts.share(1, 2) > before);
    hosts.share(1, 2);
    hosts.share_all();
    for host in 0..3 {
        assert_eq!(hosts.held(host), 1, "host {host}");
        assert!(hosts.beds[host].kernel.conflicts().is_empty());
    }
}

#[test]
fn what_a_pool_gained_is_not_handed_out_before_the_ledger_says_whose_it_is() {
    let mut hosts = Hosts::new(2);
    given(hosts.allocate(0, Leg::Home, "first"));
    let (mut bed, small) = Bed::with(hosts.pool.draft.clone());
    let mut draft = small.draft.clone();
    let mut geometry = (*draft.geometry).clone();
    geometry.spans = addresses(0x0a00_0000, 512).geometry.spans.clone();
    draft.geometry = Arc::new(geometry);
    let update = Command::UpdatePool { pool: small.uid, expected: None, draft: Box::new(draft), dry_run: false };
    let Ok(Reply::PoolUpdated(grown)) = bed.ask(update) else { panic!("not updated") };
    assert!(grown.shards.len() > small.shards.len());
    hosts.tell(0, News::Pool(grown));
    for line in 0..600 {
        match hosts.allocate(0, Leg::Home, &format!("line-{line}")) {
            Ok(Reply::Allocated { allocation, .. }) => {
                assert!(hosts.owned(0, allocation.shard), "{:?} of shard {}", allocation.span, allocation.shard);
            }
            other => return assert!(matches!(other, Err(CommandError::Elsewhere { .. })), "{other:?}"),
        }
    }
    panic!("the host handed out more than it owns");
}

/// An operator seized shards from a host that was alive: both handed out the same.
#[test]
fn a_contradiction_is_known_after_a_restart_until_somebody_looked_after_it() {
    let mut hosts = Hosts::new(2);
    hosts.grant(0, Epoch(1), |_| 0);
    let lost = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.grant(1, Epoch(2), |_| 1);
    let stands = given(hosts.allocate(1, Leg::Home, "line-2"));
    assert_eq!(lost.span, stands.span);
    hosts.grant(0, Epoch(2), |_| 1);
    hosts.share(1, 0);
    let bed = &mut hosts.beds[0];
    let open =
        |bed: &Bed| bed.kernel.conflicts().iter().map(|(place, open)| (place, open.heard.span)).collect::<Vec<_>>();
    let known = open(bed);
    assert_eq!(known.iter().map(|(_, span)| *span).collect::<Vec<_>>(), [lost.span]);
    bed.recover();
    assert_eq!(open(bed), known);
    assert_eq!(bed.occupancy(stands.pool).held, 1, "who holds it now is not forgotten either");
    let (place, _) = known[0];
    assert!(matches!(bed.ask(Command::CloseConflict(place)), Ok(Reply::Noted)));
    assert!(open(bed).is_empty());
    let written = bed.log.len();
    assert!(matches!(bed.ask(Command::CloseConflict(place)), Ok(Reply::Noted)));
    assert_eq!(bed.log.len(), written, "what is closed is not closed again");
    bed.recover();
    assert!(open(bed).is_empty());
}
