//! The one entry: inputs in, effects out. What each command means is in the modules below; this one joins the parts.

mod adopt;
mod alarm;
mod allocate;
mod cluster;
mod collect;
mod digest;
mod explain;
mod hear;
mod late;
mod lease;
mod note;
mod pools;
#[cfg(feature = "sim")]
mod probe;
mod recovery;
mod reserve;
mod seek;
mod supersede;
mod update;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashTable;

use crate::allocation::Allocation;
use crate::clock::{Clock, Seen};
use crate::command::{AllocateRequest, Command, CommandError, RequestId};
use crate::conflict::Conflicts;
use crate::effects::{Effects, Notice};
use crate::fact::{Fact, Op, RealmRecord};
use crate::hash::{self, Draws};
use crate::holders::Holders;
use crate::id::{Dot, Epoch, NodeId, Origin, PoolUid, RealmName, RealmUid, Seq, TenantId, Tick};
use crate::leases::Agenda;
use crate::note::{NoteStamp, Notes};
use crate::pool::{Occupancy, Pool};
use crate::rules::Rules;
use crate::space::Layout;
use crate::stock::Stock;
use crate::tenure::{Leg, Tenure};

pub use recovery::{Recovery, RecoveryFault};

/// What the kernel is told.
#[derive(Debug)]
pub enum Input {
    Request {
        id: RequestId,
        command: Command,
    },
    /// The time of [`Kernel::next_alarm`] has come (early ones do no harm).
    Alarm,
}

/// What an operator may set of the kernel itself.
#[derive(Clone, Copy, Debug)]
pub struct KernelSettings {
    /// Where the kernel's own generator starts (strategy `random`), and what its tables are keyed with.
    pub seed: u64,
    /// How long a lease that ended while the daemon was down may still be renewed, milliseconds.
    pub restart_grace_ms: u64,
    /// Boot and wall clock further apart than this stop expiry, milliseconds.
    pub clock_tolerance_ms: u64,
    /// How far the wall clocks of several hosts may be apart, milliseconds: so much longer than its record says a lease is kept
    /// where this host is one of them.
    pub lease_slack_ms: u64,
    /// This host is one of several, and writes its log under this name: it owns nothing until the ledger says so. `None`: it
    /// is alone and owns everything.
    pub cluster: Option<Origin>,
}

/// Pools, shards, free space, allocations, leases.
#[derive(Debug)]
pub struct Kernel {
    log: Log,
    rules: Rules,
    pools: BTreeMap<PoolUid, PoolState>,
    next_pool: PoolUid,
    realms: Realms,
    stocks: BTreeMap<(PoolUid, RealmUid), Stock>,
    holders: Holders,
    nodes: Nodes,
    lease_agenda: Agenda,
    rest_agenda: Agenda,
    leases: usize,
    draws: Draws,
    /// Allocations that found nothing free while leases that have ended wait for their turn. Bounded by the driver's queue:
    /// each is a request that waits for its answer.
    parked: VecDeque<(RequestId, Leg, Box<AllocateRequest>)>,
    /// Leases whose records end too early, because they were written before the wall clock was believed. Each is written
    /// anew; until then this life knows better than the log.
    early: VecDeque<Arc<Allocation>>,
    /// Pools being deleted by force, first come first.
    deletions: VecDeque<pools::Deletion>,
    /// `None`: this host is alone and owns everything.
    cluster: Option<cluster::Cluster>,
    /// Every (pool, realm) changed since the last seal, with repetitions.
    touched: Vec<(PoolUid, RealmUid)>,
    /// How far each other origin's operations are in this host's log.
    heard: BTreeMap<Origin, Seq>,
    /// The last operation of each of them that said something of a span, or a later one.
    words: BTreeMap<Origin, Seq>,
    /// The snapshot that is being taken in.
    adoption: Option<adopt::Adoption>,
    /// Pools whose log is an older state of itself: of a host that is alone, nothing is handed out of them.
    quarantined: BTreeSet<PoolUid>,
    conflicts: Conflicts,
    notes: Notes,
    /// The last stamp of a note that was given or heard and believed.
    note_clock: NoteStamp,
    /// Which deletions may be forgotten.
    collector: collect::Collector,
    faults: Vec<RecoveryFault>,
}

/// A pool and what was worked out from it.
#[derive(Debug)]
struct PoolState {
    pool: Arc<Pool>,
    layout: Arc<Layout>,
    /// By shard id: the term of ownership, and whose.
    tenures: Vec<Term>,
    /// The realm of a pool that has only one.
    base: Option<RealmUid>,
    /// The realms of a pool with `realm_by` that were used, by the attributes' values.
    by_value: BTreeMap<CompactString, RealmUid>,
    closing: bool,
}

/// One term of ownership of one shard.
#[derive(Clone, Copy, Debug)]
struct Term {
    epoch: Epoch,
    tenure: Tenure,
    /// It is good for nothing without a node lease.
    leased: bool,
    /// The former owner may still turn up with words from behind what counts of it.
    doubtful: bool,
    /// It was doubtful once in this term: what was heard late in it this host says again when it answers.
    doubted: bool,
}

impl PoolState {
    fn new(pool: Arc<Pool>, layout: Arc<Layout>, base: Option<RealmUid>, unknown: Tenure) -> Self {
        let mut state = Self { pool, layout, tenures: Vec::new(), base, by_value: BTreeMap::new(), closing: false };
        state.number_tenures(unknown);
        state
    }

    /// What was said of the shards stays; those that are new are as if nobody had said anything of them.
    fn number_tenures(&mut self, unknown: Tenure) {
        let known = self.tenures.len();
        self.tenures.resize(
            self.pool.shards.len(),
            Term { epoch: Epoch(0), tenure: unknown, leased: false, doubtful: false, doubted: false },
        );
        for shard in &self.pool.shards {
            let at = usize::try_from(shard.id.0).ok().filter(|at| *at >= known);
            if let Some(term) = at.and_then(|at| self.tenures.get_mut(at)) {
                term.epoch = shard.epoch;
            }
        }
    }
}

/// This host's log as far as the kernel knows it: what comes next, and when.
#[derive(Debug)]
struct Log {
    next: Seq,
    clock: Clock,
    /// The last operation of this host's own about a span.
    last_word: Seq,
}

impl Log {
    /// Adds an operation to the group and gives its number.
    fn write(&mut self, effects: &mut Effects, fact: impl FnOnce(Seq) -> Fact) -> Seq {
        let seq = self.next;
        self.next = Seq(seq.0 + 1);
        let fact = fact(seq);
        if fact.is_word() {
            self.last_word = seq;
        }
        effects.writes.push(Op { seq, stamp_ms: self.clock.stamp(), from: None, fact });
        seq
    }

    /// Adds what another host wrote, under its name.
    fn relay(&mut self, effects: &mut Effects, from: Dot, fact: Fact) {
        let seq = self.next;
        self.next = Seq(seq.0 + 1);
        effects.writes.push(Op { seq, stamp_ms: self.clock.stamp(), from: Some(from), fact });
    }

    /// Adds what follows from the ledger's word on a pool. Each host does this itself, so among several it is nobody's word: who
    /// hears of it late would take it for what the space's owner says of it now.
    fn note_of_pool(&mut self, effects: &mut Effects, cluster: Option<&cluster::Cluster>, fact: Fact) {
        match cluster {
            Some(cluster) => self.relay(effects, Dot { origin: cluster.origin, seq: Seq(0) }, fact),
            None => {
                self.write(effects, |_| fact);
            }
        }
    }
}

/// Which realm each number is.
#[derive(Debug, Default)]
struct Realms {
    by_name: BTreeMap<(Option<TenantId>, RealmName), RealmUid>,
    names: BTreeMap<RealmUid, RealmName>,
    next: RealmUid,
}

impl Realms {
    fn find(&self, tenant: Option<&TenantId>, name: &RealmName) -> Option<RealmUid> {
        self.by_name.get(&(tenant.cloned(), name.clone())).copied()
    }

    /// The realm's number; if it is new, it is written.
    fn enter(&mut self, tenant: Option<&TenantId>, name: RealmName, log: &mut Log, effects: &mut Effects) -> RealmUid {
        if let Some(uid) = self.find(tenant, &name) {
            return uid;
        }
        let uid = self.next;
        let tenant = tenant.cloned();
        log.write(effects, |seq| {
            Fact::Realm(Arc::new(RealmRecord { uid, tenant: tenant.clone(), name: name.clone(), seq }))
        });
        self.remember(uid, tenant, name);
        uid
    }

    fn remember(&mut self, uid: RealmUid, tenant: Option<TenantId>, name: RealmName) {
        self.next = self.next.max(RealmUid(uid.0.saturating_add(1)));
        self.names.insert(uid, name.clone());
        self.by_name.insert((tenant, name), uid);
    }

    fn name(&self, uid: RealmUid) -> Option<&RealmName> {
        self.names.get(&uid)
    }
}

/// Node ids, each kept once.
#[derive(Debug, Default)]
struct Nodes {
    known: HashTable<Arc<NodeId>>,
    /// At this many the unused are dropped, so that clients who make up a node for each request cost nothing lasting.
    sweep_at: usize,
}

impl Nodes {
    const FEW: usize = 4_096;

    fn intern(&mut self, node: &NodeId) -> Arc<NodeId> {
        if let Some(known) = self.known.find(Self::hash(node), |known| **known == *node) {
            return Arc::clone(known);
        }
        let node = Arc::new(node.clone());
        self.adopt(&node);
        node
    }

    /// Knows a node that was interned elsewhere.
    fn adopt(&mut self, node: &Arc<NodeId>) {
        let hash = Self::hash(node);
        if self.known.find(hash, |known| known == node).is_some() {
            return;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|node| Arc::strong_count(node) > 1);
            self.sweep_at = (self.known.len() * 2).max(Self::FEW);
        }
        self.known.insert_unique(hash, Arc::clone(node), |known| Self::hash(known));
    }

    fn hash(node: &NodeId) -> u64 {
        hash::bytes(0, node.as_str().as_bytes())
    }
}

impl Kernel {
    /// Takes one input. Adds to the group's effects. The answer to a request may come in a later group: forced deletion of
    /// a pool and an allocation that waits for ended leases are done in slices.
    pub fn step(&mut self, now: Tick, input: Input, effects: &mut Effects) {
        self.look_at_clocks(now, effects);
        self.look_at_lease();
        match input {
            Input::Request { id, command } => self.request(id, Leg::Entry, command, effects),
            Input::Alarm => self.alarm(effects),
        }
    }

    fn request(&mut self, id: RequestId, leg: Leg, command: Command, effects: &mut Effects) {
        let answer = match command {
            Command::CreatePool(_) | Command::UpdatePool { dry_run: false, .. } | Command::DeletePool { .. }
                if self.cluster.is_some() =>
            {
                Err(CommandError::LedgerDecides)
            }
            Command::Allocate(request) => return self.allocate(id, leg, request, effects),
            Command::PutNote(put) => self.put_note(*put, effects),
            Command::CloseConflict(place) => Ok(self.close_conflict(place, effects)),
            Command::Relayed { leg, command } => return self.request(id, leg, *command, effects),
            Command::News(news) => self.note(news, effects),
            Command::DeletePool { pool, force } => match self.delete_pool(id, pool, force, effects) {
                Ok(None) => return,
                Ok(Some(reply)) => Ok(reply),
                Err(error) => Err(error),
            },
            Command::CreatePool(draft) => self.create_pool(*draft, effects),
            Command::CheckPool(draft) => self.check_pool(*draft),
            Command::UpdatePool { pool, expected, draft, dry_run: true } => self.try_update(pool, expected, *draft),
            Command::UpdatePool { pool, expected, draft, dry_run: false } => {
                self.update_pool(pool, expected, *draft, effects)
            }
            Command::Explain(request) => self.explain(leg, &request),
            Command::Renew { target, ttl } => self.renew(leg, &target, ttl, effects),
            Command::Release(target) => self.release(leg, &target, effects),
            Command::Reserve(request) => self.reserve(*request, effects),
            Command::Unreserve { pool, realm_value, span } => {
                self.unreserve(pool, realm_value.as_deref(), span, effects)
            }
        };
        effects.replies.push((id, answer));
    }

    fn look_at_clocks(&mut self, now: Tick, effects: &mut Effects) {
        match self.log.clock.observe(now, self.log.next) {
            Seen::Unchanged => {}
            Seen::Changed(notice) => effects.notices.push(notice),
            Seen::Anchored => {
                effects.notices.push(Notice::ClockTrusted);
                let stocks: Vec<_> = self.stocks.keys().copied().collect();
                for of in stocks {
                    if let Some(stock) = self.stocks.get_mut(&of) {
                        stock.requeue(&self.log.clock);
                    }
                    self.reschedule(of);
                }
                self.find_early();
            }
        }
    }

    /// Ends a commit group: adds how full every (pool, realm) is that the group touched.
    pub fn seal(&mut self, effects: &mut Effects) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for of in self.touched.drain(..) {
            if let Some(stock) = self.stocks.get(&of) {
                effects.occupancy.push((of, stock.occupancy()));
            }
        }
    }

    /// What must be added to boot time to get the wall clock the kernel keeps, and whether a lease is over exactly when its
    /// record says so (not while the clocks disagree, nor while leases that ended before a restart are given longer, nor
    /// before all records are right that were written on a wall clock nobody believed).
    pub fn lease_clock(&self) -> (i64, bool) {
        let exact = self.log.clock.exact() && self.early.is_empty();
        (self.log.clock.offset_ms(), exact && self.rules.keep(crate::rules::Rule::TrustedClock))
    }

    /// How far boot and wall clock were apart when last looked at, milliseconds; `None`: they agree.
    pub fn clocks_apart_ms(&self) -> Option<u64> {
        self.log.clock.apart_ms()
    }

    /// How full each (pool, realm) is, for the read view at start.
    pub fn occupancy(&self) -> Vec<((PoolUid, RealmUid), Occupancy)> {
        self.stocks.iter().map(|(of, stock)| (*of, stock.occupancy())).collect()
    }

    /// Number of live allocations.
    pub fn allocations(&self) -> usize {
        self.holders.len()
    }

    /// What the log said that cannot be.
    pub fn faults(&self) -> &[RecoveryFault] {
        &self.faults
    }

    fn touch(&mut self, of: (PoolUid, RealmUid)) {
        if self.touched.last() != Some(&of) {
            self.touched.push(of);
        }
    }

    /// A pool that is not being deleted.
    fn open_pool(&self, uid: PoolUid) -> Result<&PoolState, CommandError> {
        let state = self.pools.get(&uid).ok_or(CommandError::PoolUnknown { pool: uid })?;
        if state.closing {
            return Err(CommandError::PoolClosing { pool: state.pool.draft.id.clone() });
        }
        Ok(state)
    }
}
