//! From the log back into memory. What the kernel knows is what its log says: indexes, free space and queues are made
//! anew from the last fact of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashTable;

use super::pools::layout;
use super::{Kernel, KernelSettings, Log, Nodes, PoolState, Realms};
use crate::allocation::{Allocation, Reservation, Resting};
use crate::clock::{Allowed, Clock};
use crate::conflict::Conflicts;
use crate::fact::{Fact, Op, SpanKey};
use crate::hash::{self, Draws};
use crate::holders::Holders;
use crate::id::{Origin, PoolUid, RealmUid, Seq, Tick};
use crate::leases::Agenda;
use crate::note::Recovered;
use crate::pool::Pool;
use crate::rules::{Rule, Rules};
use crate::stock::{HeldByItsOwn, Stock};

/// Facts on their way back into memory, in the order of their log.
#[derive(Debug)]
pub struct Recovery {
    settings: KernelSettings,
    rules: Rules,
    last: Seq,
    high_water_ms: u64,
    pools: BTreeMap<PoolUid, (Seq, Arc<Pool>)>,
    deleted: BTreeSet<PoolUid>,
    next_pool: PoolUid,
    realms: Realms,
    realm_names: BTreeMap<RealmUid, (Option<crate::id::TenantId>, crate::id::RealmName)>,
    spans: HashTable<Last>,
    reservations: BTreeMap<SpanKey, (Seq, Option<Arc<Reservation>>)>,
    heard: BTreeMap<Origin, Seq>,
    notes: Recovered,
    conflicts: Conflicts,
    /// The last operation of this host's own about a span.
    last_word: Seq,
    /// Of the kernel before, if the process lives on.
    clock: Option<Clock>,
    quarantined: BTreeSet<PoolUid>,
}

/// What the log says but cannot be. A sound disk gives none; whoever finds one should hand out nothing from that pool.
#[derive(Clone, Debug)]
pub enum RecoveryFault {
    /// The pool's geometry cannot be laid out; it is left out with everything in it.
    PoolUnreadable { pool: Arc<Pool>, why: String },
    /// The allocation's span is not in its pool, or held by an older allocation.
    NotHeld(Arc<Allocation>),
    /// The reservation's span is not in its pool, or held by somebody else.
    NotReserved(Arc<Reservation>),
}

/// The last fact of a span.
#[derive(Debug)]
enum Last {
    Held(Arc<Allocation>),
    Resting(Arc<Resting>),
    /// Boxed: there are few, and a million of the others.
    Free(Box<(Seq, SpanKey)>),
}

impl Last {
    fn key(&self) -> SpanKey {
        match self {
            Self::Held(held) => SpanKey { pool: held.pool, realm: held.realm, span: held.span },
            Self::Resting(rest) => SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span },
            Self::Free(free) => free.1,
        }
    }

    fn seq(&self) -> Seq {
        match self {
            Self::Held(held) => held.seq(),
            Self::Resting(rest) => rest.seq,
            Self::Free(free) => free.0,
        }
    }
}

impl Recovery {
    /// Nothing read yet.
    pub fn new(settings: KernelSettings) -> Self {
        Self {
            settings,
            rules: Rules::default(),
            last: Seq(0),
            high_water_ms: 0,
            pools: BTreeMap::new(),
            deleted: BTreeSet::new(),
            next_pool: PoolUid(0),
            realms: Realms::default(),
            realm_names: BTreeMap::new(),
            spans: HashTable::new(),
            reservations: BTreeMap::new(),
            heard: BTreeMap::new(),
            notes: Recovered::default(),
            conflicts: Conflicts::default(),
            last_word: Seq(0),
            clock: None,
            quarantined: BTreeSet::new(),
        }
    }

    /// The log is an older state of itself: more may have been handed out from these pools than it says. What it says is
    /// answered, and nothing else is handed out of them, whether it looks free or becomes so, until
    /// [`News::QuarantineOver`](crate::News::QuarantineOver). Of a host in a cluster the ledger says what is quarantined.
    pub fn quarantines(&mut self, pools: BTreeSet<PoolUid>) {
        self.quarantined = pools;
    }

    /// The process lives on, only its kernel is made again: its clock runs on. Without this the wall clock is believed as it
    /// is, as it must be at start, and a jump that was under suspicion would move every deadline.
    pub fn replaces(&mut self, former: &Kernel) {
        self.clock = Some(former.log.clock.clone());
    }

    /// For the simulator: a kernel that breaks one rule.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn breaking(mut self, rule: Rule) -> Self {
        self.rules = Rules::without(rule);
        self
    }

    /// The log reaches further than its facts show: numbers up to `last` were used and stamps up to `high_water_ms`, even
    /// if the operations that had them were dropped as replaced.
    pub fn reaches(&mut self, last: Seq, high_water_ms: u64) {
        self.last = self.last.max(last);
        self.high_water_ms = self.high_water_ms.max(high_water_ms);
    }

    /// One operation of a checkpoint or the log. Repeats and older operations of a key are ignored.
    pub fn apply(&mut self, op: &Op) {
        self.reaches(op.seq, op.stamp_ms);
        match &op.fact {
            Fact::Pool(pool) => {
                self.uses_pool(pool.uid);
                let found = self.pools.entry(pool.uid).or_insert_with(|| (op.seq, Arc::clone(pool)));
                if found.1.revision < pool.revision {
                    *found = (op.seq, Arc::clone(pool));
                }
            }
            Fact::PoolDeleted(uid) => {
                self.uses_pool(*uid);
                self.deleted.insert(*uid);
            }
            Fact::Realm(realm) => {
                self.realms.remember(realm.uid, realm.tenant.clone(), realm.name.clone());
                self.realm_names.insert(realm.uid, (realm.tenant.clone(), realm.name.clone()));
            }
            Fact::Held(allocation) => self.remember(Last::Held(Arc::clone(allocation))),
            Fact::Resting(resting) => self.remember(Last::Resting(Arc::clone(resting))),
            Fact::Free(key) => self.remember(Last::Free(Box::new((op.seq, *key)))),
            Fact::Reserved(reservation) => {
                let key = SpanKey { pool: reservation.pool, realm: reservation.realm, span: reservation.span };
                self.remember_reservation(key, op.seq, Some(Arc::clone(reservation)));
            }
            Fact::Unreserved { key, .. } => self.remember_reservation(*key, op.seq, None),
            Fact::Clock | Fact::RestsOn(_) => {}
            Fact::Heard { origin, through } => self.heard(*origin, *through),
            Fact::Noted(_) | Fact::Unnoted(_) => self.notes.apply(op),
            Fact::Conflict(_) | Fact::ConflictClosed(_) => self.conflicts.apply(op),
            Fact::Adopted(vector) => {
                for (origin, through) in vector.iter() {
                    self.heard(*origin, *through);
                }
            }
        }
        if op.from.is_none() && op.fact.is_word() {
            self.last_word = self.last_word.max(op.seq);
        }
    }

    fn heard(&mut self, origin: Origin, through: Seq) {
        let known = self.heard.entry(origin).or_default();
        *known = (*known).max(through);
    }

    fn uses_pool(&mut self, uid: PoolUid) {
        self.next_pool = self.next_pool.max(PoolUid(uid.0.saturating_add(1)));
    }

    /// No pool and no realm made later may have the numbers of this one: damage can take their records and leave what is
    /// in them, which would then be somebody else's.
    fn uses(&mut self, key: &SpanKey) {
        self.uses_pool(key.pool);
        self.realms.next = self.realms.next.max(RealmUid(key.realm.0.saturating_add(1)));
    }

    fn remember(&mut self, last: Last) {
        let key = last.key();
        self.uses(&key);
        let hash = key_hash(self.settings.seed, &key);
        match self.spans.find_mut(hash, |found| found.key() == key) {
            Some(found) if found.seq() < last.seq() => *found = last,
            Some(_) => {}
            None => {
                let seed = self.settings.seed;
                self.spans.insert_unique(hash, last, |found| key_hash(seed, &found.key()));
            }
        }
    }

    fn remember_reservation(&mut self, key: SpanKey, seq: Seq, reservation: Option<Arc<Reservation>>) {
        self.uses(&key);
        let found = self.reservations.entry(key).or_insert((Seq(0), None));
        if found.0 < seq {
            *found = (seq, reservation);
        }
    }

    /// The kernel as it was, at this time.
    ///
    /// What contradicts itself is left out and told by [`Kernel::faults`].
    pub fn finish(self, now: Tick) -> Kernel {
        let Self { settings, rules, last, high_water_ms, pools, deleted, next_pool, clock, mut conflicts, .. } = self;
        let Self { realms, realm_names, spans, reservations, heard, notes, last_word, quarantined, .. } = self;
        for uid in &deleted {
            conflicts.forget_pool(*uid);
        }
        let next = Seq(last.0 + 1);
        let slack = settings.cluster.is_some() && rules.keep(Rule::LeaseSlack);
        let allowed = Allowed {
            tolerance: settings.clock_tolerance_ms,
            restart_grace: if rules.keep(Rule::RestartGrace) { settings.restart_grace_ms } else { 0 },
            slack: if slack { settings.lease_slack_ms } else { 0 },
            alone: settings.cluster.is_none(),
        };
        let clock = match clock {
            Some(clock) => clock.run_on(now, high_water_ms, next),
            None => Clock::start(now, high_water_ms, next, allowed),
        };
        let own = settings.cluster.unwrap_or_default();
        let notes = notes.finish(own);
        let note_clock = notes.latest_within(clock.now_ms());
        let mut kernel = Kernel {
            notes,
            note_clock,
            collector: super::collect::Collector::default(),
            log: Log { next, clock, last_word },
            rules,
            pools: BTreeMap::new(),
            next_pool,
            realms,
            stocks: BTreeMap::new(),
            holders: Holders::new(settings.seed),
            nodes: Nodes::default(),
            lease_agenda: Agenda::default(),
            rest_agenda: Agenda::default(),
            leases: 0,
            draws: Draws::new(settings.seed ^ next.0),
            parked: std::collections::VecDeque::new(),
            early: std::collections::VecDeque::new(),
            deletions: std::collections::VecDeque::new(),
            conflicts,
            cluster: settings.cluster.map(|origin| super::cluster::Cluster::new(origin, last)),
            touched: Vec::new(),
            // Operations may be forgotten that were words: then nothing is said of what is not known for sure.
            words: heard.clone(),
            heard,
            quarantined,
            adoption: None,
            faults: Vec::new(),
        };
        for (uid, (_, pool)) in pools {
            if !deleted.contains(&uid) {
                kernel.restore_pool(pool);
            }
        }
        let graced = kernel.restore_spans(spans, &realm_names);
        kernel.restore_reservations(reservations, &realm_names);
        if !graced {
            kernel.log.clock.forgo_grace();
        }
        let stocks: Vec<_> = kernel.stocks.keys().copied().collect();
        for of in stocks {
            kernel.reschedule(of);
        }
        kernel.find_early();
        kernel
    }
}

type RealmNames = BTreeMap<RealmUid, (Option<crate::id::TenantId>, crate::id::RealmName)>;

impl Kernel {
    fn restore_pool(&mut self, pool: Arc<Pool>) {
        let layout = match layout(&pool.draft, &pool.shards) {
            Ok(layout) => layout,
            Err(error) => {
                self.faults.push(RecoveryFault::PoolUnreadable { pool, why: error.to_string() });
                return;
            }
        };
        let mut state = PoolState::new(Arc::clone(&pool), layout, None, self.unknown_tenure(pool.uid));
        if pool.draft.terms.realm_by.is_empty() {
            let base = self.realms.find(state.realm_tenant(), &pool.draft.realm.name);
            if let Some(realm) = base {
                self.stocks.insert((pool.uid, realm), state.fresh_stock(self.lease_good()));
            }
            state.base = base;
        }
        self.pools.insert(pool.uid, state);
    }

    /// The stock a fact belongs to, made if this is the first one; `None` if its pool is gone.
    fn stock_for(&mut self, of: (PoolUid, RealmUid), names: &RealmNames) -> Option<&mut Stock> {
        let lease_good = self.lease_good();
        let state = self.pools.get_mut(&of.0)?;
        Some(self.stocks.entry(of).or_insert_with(|| {
            let base = state.pool.draft.realm.name.as_str();
            let value = names.get(&of.1).and_then(|(_, name)| name.as_str().strip_prefix(base)?.strip_prefix('/'));
            if let Some(value) = value {
                state.by_value.insert(value.into(), of.1);
            }
            state.fresh_stock(lease_good)
        }))
    }

    /// In the order of the log, so that cursors and the order of releases come out as they were; what is held first,
    /// because the older word of a span that was cut anew gives way. True if a lease is given longer than its record says.
    fn restore_spans(&mut self, spans: HashTable<Last>, names: &RealmNames) -> bool {
        let mut held = Vec::new();
        let mut rests = Vec::new();
        for last in spans {
            match last {
                Last::Held(allocation) => held.push((allocation.seq(), allocation)),
                Last::Resting(resting) => rests.push((resting.seq, resting)),
                Last::Free(_) => {}
            }
        }
        held.sort_unstable_by_key(|(seq, _)| *seq);
        rests.sort_unstable_by_key(|(seq, _)| *seq);
        self.holders.reserve(held.len());
        let mut graced = false;
        for (_, allocation) in held {
            graced |= self.restore_allocation(allocation, names);
        }
        for (_, resting) in rests {
            self.restore_rest(resting, names);
        }
        graced
    }

    /// True if its lease is given longer than its record says.
    fn restore_allocation(&mut self, allocation: Arc<Allocation>, names: &RealmNames) -> bool {
        let of = (allocation.pool, allocation.realm);
        let Some(stock) = self.stock_for(of, names) else { return false };
        if stock.hold(allocation.span).is_err() {
            self.faults.push(RecoveryFault::NotHeld(allocation));
            return false;
        }
        if let Some(node) = &allocation.node {
            self.nodes.adopt(node);
        }
        let mut graced = false;
        if let Some(end) = allocation.expires_ms() {
            let ends_ms = self.log.clock.lease_end(end.get(), allocation.seq());
            graced = ends_ms != end.get();
            if self.is_ours(&allocation)
                && let Some(stock) = self.stocks.get_mut(&of)
            {
                stock.leases.insert(ends_ms, Arc::clone(&allocation));
                self.leases += 1;
            }
        }
        let place = self.holders.place(allocation.pool, &allocation.subscriber, allocation.key());
        self.holders.insert(place, allocation);
        graced
    }

    fn restore_rest(&mut self, resting: Arc<Resting>, names: &RealmNames) {
        let now_ms = self.log.clock.now_ms();
        let until_ms = self.log.clock.rest_end(resting.until_ms, resting.seq);
        let Some(stock) = self.stock_for((resting.pool, resting.realm), names) else { return };
        let over = until_ms <= now_ms;
        let span = resting.span;
        if over {
            stock.remember_release(span);
        } else {
            // If some of it is held since, or it left the pool, it rests no more.
            let _rests = stock.lay_to_rest(resting, until_ms).is_ok();
        }
    }

    fn restore_reservations(
        &mut self,
        reservations: BTreeMap<SpanKey, (Seq, Option<Arc<Reservation>>)>,
        names: &RealmNames,
    ) {
        for reservation in reservations.into_values().filter_map(|(_, reservation)| reservation) {
            let of = (reservation.pool, reservation.realm);
            let held = self.holders.starting_at(of.0, of.1, reservation.span.start());
            let own =
                held.is_some_and(|held| held.span == reservation.span && held.subscriber == reservation.subscriber);
            let held_by_its_own = if own { HeldByItsOwn::Yes } else { HeldByItsOwn::No };
            let Some(stock) = self.stock_for(of, names) else { continue };
            let resting: Vec<u128> = stock.rests().touching(reservation.span).map(|rest| rest.span.start()).collect();
            for start in resting {
                stock.wake(start);
            }
            if stock.reserve(Arc::clone(&reservation), held_by_its_own).is_err() {
                self.faults.push(RecoveryFault::NotReserved(reservation));
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "all parts of the position are hashed")]
fn key_hash(seed: u64, key: &SpanKey) -> u64 {
    let state = hash::word(seed, u64::from(key.pool.0) << 32 | u64::from(key.realm.0));
    let (start, len) = (key.span.start(), key.span.len());
    let state = hash::word(hash::word(state, (start >> 64) as u64), start as u64);
    hash::word(hash::word(state, (len >> 64) as u64), len as u64)
}
