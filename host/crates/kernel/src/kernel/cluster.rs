//! What changes when this host is one of several: which shards it hands out from, whom it sends a request to, and pools
//! that the ledger makes instead of this kernel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::pools::layout;
use super::update::is_reshaped;
use super::{Kernel, PoolState, Term};
use crate::allocation::{Allocation, Reservation};
use crate::command::{AllocateRequest, CommandError, News, Reply};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{Epoch, Key, MemberId, Origin, PoolUid, RealmUid, Seq, ShardId, SubscriberId};
use crate::pool::{Pool, Shard};
use crate::rules::{Rule, Rules};
use crate::space::Layout;
use crate::span::Span;
use crate::stock::{Afterwards, HeldByItsOwn, Stock};
use crate::tenure::{Detour, Leg, ShardTenure, Sight, Tenure};

/// How long a process that starts may take to get its first node lease, before its subscribers are served as those of a host that
/// cannot be reached, milliseconds.
const LEASE_WITHIN_MS: u64 = 10_000;

/// What a kernel knows of the cluster it is in.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Under which name this host writes its log.
    pub(super) origin: Origin,
    sight: Option<Sight>,
    /// Boot milliseconds: until when the node lease is good.
    lease_until_ms: u64,
    lease_good: bool,
    /// The boot clock when this process began, or learned that it did.
    began_ms: Option<u64>,
    /// This host's operations up to here are known to a majority of voters.
    stable: Seq,
    /// What must be stable before leased shards are handed out from: whatever an earlier life wrote.
    life: Seq,
    /// Released in leased shards, in order: who takes such a shard over must not miss that it was released before somebody
    /// else got it.
    unstable: VecDeque<(Seq, (PoolUid, RealmUid), Span)>,
    /// Of these shards it has to say again what is reserved since before its term.
    pub(super) owed: BTreeSet<(PoolUid, ShardId)>,
    /// How far this host said last, in this life, that its words rest on each other one's.
    pub(super) rests_on: BTreeMap<Origin, Seq>,
}

impl Cluster {
    /// `life`: the last operation of the life before.
    pub(super) fn new(origin: Origin, life: Seq) -> Self {
        let (stable, unstable) = (Seq(0), VecDeque::new());
        let (sight, lease_until_ms, lease_good, began_ms) = (None, 0, false, None);
        let (owed, rests_on) = (BTreeSet::new(), BTreeMap::new());
        Self { origin, sight, lease_until_ms, lease_good, began_ms, stable, life, unstable, owed, rests_on }
    }

    /// The hosts as this one sees them; `None`: it was not told yet.
    pub(super) const fn sight(&self) -> Option<&Sight> {
        self.sight.as_ref()
    }

    /// Whether an operation of this host may be lost with it.
    pub(super) fn is_unstable(&self, seq: Seq) -> bool {
        seq > self.stable
    }

    pub(super) fn await_stable(&mut self, seq: Seq, of: (PoolUid, RealmUid), span: Span) {
        self.unstable.push_back((seq, of, span));
    }

    pub(super) const fn lease_good(&self) -> bool {
        self.lease_good
    }

    /// Whether leased shards may be handed out from at a moment of the boot clock.
    pub(super) fn is_good_at(&self, boot_ms: u64, rules: Rules) -> bool {
        boot_ms < self.lease_until_ms || (self.lease_until_ms > 0 && !rules.keep(Rule::NodeLease))
    }

    /// Whether what is held in leased shards may be answered at a moment of the boot clock. Without a lease somebody else may own
    /// them by now, who gives to others what nobody renews there.
    fn answers_leased(&self, boot_ms: u64, rules: Rules) -> bool {
        self.is_good_at(boot_ms, rules) || !rules.keep(Rule::LeasedAnswers)
    }

    /// Whether it would be good by now if it were to be had.
    fn is_lease_lost(&self, boot_ms: u64) -> bool {
        let waits_until_ms = self.began_ms.map_or(u64::MAX, |began_ms| began_ms.saturating_add(LEASE_WITHIN_MS));
        boot_ms >= self.lease_until_ms && (self.lease_until_ms > 0 || boot_ms >= waits_until_ms)
    }
}

impl PoolState {
    /// The epoch of a shard, and who owns it.
    pub(super) fn tenure(&self, shard: ShardId) -> (Epoch, Tenure) {
        let term = self.term(shard).expect("shards are numbered from 0 without gaps");
        (term.epoch, term.tenure)
    }

    /// What is known of a shard's ownership; `None` if the pool has no such shard.
    pub(super) fn term(&self, shard: ShardId) -> Option<&Term> {
        usize::try_from(shard.0).ok().and_then(|at| self.tenures.get(at))
    }

    /// A (pool, realm) that was never used.
    pub(super) fn fresh_stock(&self, lease_good: bool) -> Stock {
        let mut stock = Stock::new(&self.pool, &self.layout);
        for shard in &self.pool.shards {
            if !is_open(self.tenure(shard.id).1, lease_good) {
                stock.set_open(shard, false);
            }
        }
        stock
    }
}

pub(super) fn is_open(tenure: Tenure, lease_good: bool) -> bool {
    match tenure {
        Tenure::Escrow => true,
        Tenure::Leased => lease_good,
        Tenure::Kept | Tenure::Silent | Tenure::Theirs(_) => false,
    }
}

impl Kernel {
    /// Whether leased shards may be handed out from; always, while this host is alone.
    pub(super) fn lease_good(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.lease_good)
    }

    /// Whom the ledger would give a shard of which it has not spoken yet. Where there is no ledger all is this host's, and what
    /// is quarantined is only kept.
    pub(super) fn unknown_tenure(&self, pool: PoolUid) -> Tenure {
        match &self.cluster {
            Some(_) => Tenure::Theirs(MemberId(0)),
            None if self.quarantined.contains(&pool) => Tenure::Kept,
            None => Tenure::Escrow,
        }
    }

    /// Nobody can hold any more what was handed out of the pool and forgotten. In a cluster the ledger says so.
    fn end_quarantine(&mut self, uid: PoolUid) -> Reply {
        if self.quarantined.remove(&uid) && self.cluster.is_none() {
            let shards = self.pools.get_mut(&uid).map_or_else(Vec::new, |state| {
                for term in &mut state.tenures {
                    term.tenure = Tenure::Escrow;
                }
                state.pool.shards.clone()
            });
            self.set_open(uid, &shards, true);
        }
        Reply::Noted
    }

    /// Whether this host answers for an allocation.
    pub(super) fn is_ours(&self, held: &Allocation) -> bool {
        let state = self.pools.get(&held.pool);
        state.is_some_and(|state| state.tenure(held.shard).1.answers())
    }

    /// Whether a shard is this host's only by a lease that it does not have.
    pub(super) fn is_void(&self, term: &Term) -> bool {
        let boot_ms = self.log.clock.boot_ms();
        term.leased && self.cluster.as_ref().is_some_and(|cluster| !cluster.answers_leased(boot_ms, self.rules))
    }

    /// Whether that lease will not come as fast as usual.
    pub(super) fn is_lease_lost(&self) -> bool {
        let boot_ms = self.log.clock.boot_ms();
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_lease_lost(boot_ms))
    }

    pub(super) fn note(&mut self, news: News, effects: &mut Effects) -> Result<Reply, CommandError> {
        Ok(match news {
            News::Pool(pool) => return self.adopt_pool(&pool, effects),
            News::PoolGone(uid) => self.drop_pool(uid, effects),
            News::Tenures { pool, tenures } => self.set_tenures(pool, &tenures, effects),
            News::Sight(sight) => self.set_sight(*sight),
            News::NodeLease { until_ms } => self.set_node_lease(until_ms, effects),
            News::Stable { through } => self.set_stable(through),
            News::Batch(batch) => self.hear(&batch, effects),
            News::Snapshot(part) => Reply::Adopting(self.adopt_part(&part, effects)),
            News::SnapshotEnd { by, vector } => Reply::Adopting(self.adopt_end(by, &vector, effects)),
            News::Members(list) => self.set_members(list, effects),
            News::Seen { member, told, vector } => self.hear_seen(member, told, &vector, effects),
            News::Fingerprint => Reply::Fingerprint(Box::new(self.fingerprint())),
            News::QuarantineOver(uid) => self.end_quarantine(uid),
        })
    }

    /// What the driver sees of the cluster now.
    fn set_sight(&mut self, sight: Sight) -> Reply {
        if let Some(cluster) = &mut self.cluster {
            let keeps = self.rules.keep(Rule::AgreedClocks);
            let agreed_ms = if keeps { sight.agreed_offset_ms } else { Some(self.log.clock.offset_ms()) };
            self.log.clock.set_agreed(agreed_ms);
            cluster.sight = Some(sight);
        }
        Reply::Noted
    }

    /// The node lease is good until a moment of the boot clock.
    fn set_node_lease(&mut self, until_ms: u64, effects: &mut Effects) -> Reply {
        if let Some(cluster) = &mut self.cluster {
            cluster.lease_until_ms = until_ms;
        }
        self.look_at_lease();
        self.reserve_owed(effects);
        Reply::Noted
    }

    /// A majority of voters knows this host's operations up to here.
    fn set_stable(&mut self, through: Seq) -> Reply {
        let now_ms = self.log.clock.now_ms();
        let Some(cluster) = &mut self.cluster else { return Reply::Noted };
        cluster.stable = cluster.stable.max(through);
        let mut surfaced = Vec::new();
        while let Some(first) = cluster.unstable.front().filter(|(seq, _, _)| *seq <= through).copied() {
            cluster.unstable.pop_front();
            surfaced.push(first);
        }
        for (seq, of, span) in surfaced {
            if let Some(stock) = self.stocks.get_mut(&of) {
                let until_ms = stock.rests().starting_at(span.start()).map_or(0, |rest| rest.until_ms);
                stock.surface(span, seq, self.log.clock.rest_end(until_ms, seq), now_ms);
            }
            self.reschedule(of);
            self.touch(of);
        }
        self.look_at_lease();
        Reply::Noted
    }

    /// Opens or closes the leased shards when the lease begins or ends.
    pub(super) fn look_at_lease(&mut self) {
        let boot_ms = self.log.clock.boot_ms();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.began_ms.get_or_insert(boot_ms);
        let good = cluster.is_good_at(boot_ms, self.rules) && cluster.life <= cluster.stable;
        if cluster.lease_good == good {
            return;
        }
        cluster.lease_good = good;
        let leased: Vec<(PoolUid, Vec<Shard>)> = self
            .pools
            .values()
            .map(|state| {
                let leased = state.pool.shards.iter().filter(|shard| state.tenure(shard.id).1 == Tenure::Leased);
                (state.pool.uid, leased.copied().collect())
            })
            .collect();
        for (uid, shards) in leased {
            self.set_open(uid, &shards, good);
        }
    }

    fn set_open(&mut self, uid: PoolUid, shards: &[Shard], open: bool) {
        for (of, stock) in self.stocks.range_mut((uid, RealmUid(0))..=(uid, RealmUid(u32::MAX))) {
            for shard in shards {
                stock.set_open(shard, open);
            }
            self.touched.push(*of);
        }
    }

    /// The ledger made a pool or changed it. An older revision than the known one changes nothing.
    fn adopt_pool(&mut self, pool: &Arc<Pool>, effects: &mut Effects) -> Result<Reply, CommandError> {
        let known = self.pools.get(&pool.uid).map(|state| (state.pool.revision, Arc::clone(&state.pool)));
        if known.as_ref().is_some_and(|(revision, _)| *revision >= pool.revision) {
            return Ok(Reply::Noted);
        }
        let layout = layout(&pool.draft, &pool.shards)?;
        match known {
            None => self.insert_pool(pool, layout, effects),
            Some((_, former)) => self.replace_pool(&former, pool, &layout, effects),
        }
        Ok(Reply::Noted)
    }

    fn insert_pool(&mut self, pool: &Arc<Pool>, layout: Arc<Layout>, effects: &mut Effects) {
        let realm = pool.draft.terms.realm_by.is_empty().then(|| {
            let tenant = (!pool.draft.realm.shared).then_some(&pool.draft.tenant);
            self.realms.enter(tenant, pool.draft.realm.name.clone(), &mut self.log, effects)
        });
        self.next_pool = self.next_pool.max(PoolUid(pool.uid.0.saturating_add(1)));
        self.log.write(effects, |_| Fact::Pool(Arc::clone(pool)));
        let state = PoolState::new(Arc::clone(pool), layout, realm, self.unknown_tenure(pool.uid));
        if let Some(realm) = realm {
            self.stocks.insert((pool.uid, realm), state.fresh_stock(self.lease_good()));
            self.touch((pool.uid, realm));
        }
        self.pools.insert(pool.uid, state);
    }

    fn replace_pool(&mut self, former: &Pool, pool: &Arc<Pool>, layout: &Arc<Layout>, effects: &mut Effects) {
        self.log.write(effects, |_| Fact::Pool(Arc::clone(pool)));
        let unknown = self.unknown_tenure(pool.uid);
        if let Some(state) = self.pools.get_mut(&pool.uid) {
            state.pool = Arc::clone(pool);
            state.layout = Arc::clone(layout);
            state.number_tenures(unknown);
        }
        if is_reshaped(former, pool) {
            self.leave_behind(pool.uid, layout, effects);
            self.reshape(pool, layout, effects);
        }
    }

    /// What stands in space that leaves the pool: its owners said that it is empty, and this host has not heard yet how that
    /// came.
    fn leave_behind(&mut self, uid: PoolUid, layout: &Layout, effects: &mut Effects) {
        let outside = |held: &&Arc<Allocation>| held.pool == uid && layout.place(held.span).is_err();
        let mut gone: Vec<Arc<Allocation>> = self.holders.iter().filter(outside).cloned().collect();
        gone.sort_unstable_by_key(|held| held.seq());
        for held in gone {
            self.holders.remove(&held);
            let end_ms = held.expires_ms().map(|end| self.log.clock.lease_end(end.get(), held.seq()));
            let Some(stock) = self.stocks.get_mut(&(uid, held.realm)) else { continue };
            if let Some(end_ms) = end_ms {
                self.leases -= usize::from(stock.leases.remove(end_ms, held.seq()));
            }
            let reserved = stock.reservations().exactly(held.span).is_some();
            stock.let_go(held.span, if reserved { Afterwards::Reserved } else { Afterwards::Free });
            let key = SpanKey { pool: uid, realm: held.realm, span: held.span };
            self.log.note_of_pool(effects, self.cluster.as_ref(), Fact::Free(key));
        }
        let kept = |stock: &Stock| -> Vec<Arc<Reservation>> {
            stock.reservations().iter().filter(|kept| layout.place(kept.span).is_err()).cloned().collect()
        };
        let reserved: Vec<_> = self.stocks_of(uid).map(|((_, realm), stock)| (realm, kept(stock))).collect();
        for (realm, gone) in reserved {
            for kept in gone {
                if let Some(stock) = self.stocks.get_mut(&(uid, realm)) {
                    stock.unreserve(kept.span, HeldByItsOwn::No);
                }
                self.log.note_of_pool(effects, self.cluster.as_ref(), Fact::unreserved(&kept));
            }
        }
    }

    /// The ledger removed a pool: every grant of it was given back before, so nothing is held.
    fn drop_pool(&mut self, uid: PoolUid, effects: &mut Effects) -> Reply {
        if self.pools.contains_key(&uid) {
            let held: Vec<Arc<Allocation>> =
                self.holders.iter().filter(|held| held.pool == uid).map(Arc::clone).collect();
            for held in held {
                self.holders.remove(&held);
            }
            self.forget_pool(uid, effects);
        }
        Reply::Noted
    }

    /// The ledger says who owns these shards. Older epochs than the known ones change nothing.
    fn set_tenures(&mut self, uid: PoolUid, tenures: &[ShardTenure], effects: &mut Effects) -> Reply {
        let (lease_good, adopting) = (self.lease_good(), self.is_adopting());
        let Some(state) = self.pools.get_mut(&uid) else { return Reply::Noted };
        let covers: BTreeMap<ShardId, Shard> = state.pool.shards.iter().map(|shard| (shard.id, *shard)).collect();
        let mut opened = Vec::new();
        let mut closed = Vec::new();
        let mut begun = Vec::new();
        let mut gained = BTreeSet::new();
        let mut lost = BTreeSet::new();
        let mut doubts = false;
        for said in tenures {
            let slot = usize::try_from(said.shard.0).ok().and_then(|at| state.tenures.get_mut(at));
            let (Some(slot), Some(shard)) = (slot, covers.get(&said.shard)) else { continue };
            if slot.epoch > said.epoch {
                continue;
            }
            // Not from what only a part of a snapshot says is free.
            let tenure = match said.tenure {
                Tenure::Escrow | Tenure::Leased if adopting => Tenure::Kept,
                tenure @ (Tenure::Escrow | Tenure::Leased | Tenure::Kept | Tenure::Silent | Tenure::Theirs(_)) => {
                    tenure
                }
            };
            let doubted = said.doubtful || (slot.doubted && slot.epoch == said.epoch);
            let ShardTenure { epoch, leased, doubtful, .. } = *said;
            let term = Term { epoch, tenure, leased, doubtful, doubted };
            // In the same term, too, if it was said before that it is nobody's: this host had yet to hear what there is.
            if said.tenure.answers() && (slot.epoch < said.epoch || !slot.tenure.answers()) {
                begun.push((uid, said.shard));
            }
            let was = std::mem::replace(slot, term).tenure;
            match (is_open(was, lease_good), is_open(tenure, lease_good)) {
                (false, true) => opened.push(*shard),
                (true, false) => closed.push(*shard),
                (true, true) | (false, false) => {}
            }
            match (was.answers(), said.tenure.answers()) {
                (false, true) => {
                    doubts |= doubted;
                    gained.insert(said.shard)
                }
                (true, false) => lost.insert(said.shard),
                (true, true) | (false, false) => false,
            };
        }
        self.begin_in(begun, effects);
        self.set_open(uid, &closed, false);
        self.set_open(uid, &opened, true);
        self.take_up_leases(uid, &gained);
        if doubts {
            self.say_all_again(uid, &gained, effects);
        }
        self.lay_down_leases(uid, &lost);
        self.reserve_owed(effects);
        Reply::Noted
    }

    /// Leases in these shards are ours to end from now on.
    fn take_up_leases(&mut self, uid: PoolUid, shards: &BTreeSet<ShardId>) {
        if shards.is_empty() {
            return;
        }
        let theirs = |held: &&Arc<Allocation>| held.pool == uid && shards.contains(&held.shard);
        let mut gained: Vec<Arc<Allocation>> = self.holders.iter().filter(theirs).cloned().collect();
        gained.sort_unstable_by_key(|held| held.seq());
        for held in gained {
            let Some(end) = held.expires_ms() else { continue };
            let ends_ms = self.log.clock.lease_end(end.get(), held.seq());
            let of = (held.pool, held.realm);
            if let Some(stock) = self.stocks.get_mut(&of)
                && stock.leases.insert(ends_ms, held)
            {
                self.leases += 1;
            }
            self.reschedule(of);
        }
    }

    /// Leases in these shards are another host's to end from now on.
    fn lay_down_leases(&mut self, uid: PoolUid, shards: &BTreeSet<ShardId>) {
        if shards.is_empty() {
            return;
        }
        let stocks: Vec<_> = self.stocks_of(uid).map(|(of, _)| of).collect();
        for of in stocks {
            if let Some(stock) = self.stocks.get_mut(&of) {
                let before = stock.leases.len();
                stock.leases.retain(|lease| !shards.contains(&lease.shard));
                self.leases -= before - stock.leases.len();
            }
            self.reschedule(of);
        }
    }

    /// Who must decide about a request that no known allocation answers: `None`: this host.
    pub(super) fn home_of(&self, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> Option<MemberId> {
        let sight = self.cluster.as_ref()?.sight.as_ref()?;
        let home = sight.ring.home(pool, subscriber, key, |member| sight.alive.contains(&member))?;
        (home != sight.me).then_some(home)
    }

    /// Whether a request would be sent on to another host before anything is written here.
    pub fn goes_elsewhere(&self, request: &AllocateRequest) -> bool {
        let AllocateRequest { pool, subscriber, key, .. } = request;
        match self.held_by(*pool, subscriber, key.as_ref()) {
            Some(held) => self.check_answers(held).is_err(),
            None => self.home_of(*pool, subscriber, key.as_ref()).is_some(),
        }
    }

    /// This host's number among the members, once it knows.
    pub(super) fn own_number(&self) -> Option<MemberId> {
        Some(self.cluster.as_ref()?.sight.as_ref()?.me)
    }

    /// The detour for a subscriber who holds nothing that this host knows of.
    pub(super) fn detour_home(
        &self,
        leg: Leg,
        pool: PoolUid,
        subscriber: &SubscriberId,
        key: Option<&Key>,
    ) -> Option<Detour> {
        match leg {
            Leg::Entry | Leg::Owner if self.rules.keep(Rule::Home) => {
                self.home_of(pool, subscriber, key).map(Detour::Home)
            }
            Leg::Entry | Leg::Owner | Leg::Home | Leg::Space => None,
        }
    }

    /// An error if not this host answers for an allocation: who does, or that nobody can just now.
    pub(super) fn check_answers(&self, held: &Allocation) -> Result<(), CommandError> {
        let Some(state) = self.pools.get(&held.pool) else { return Ok(()) };
        let pool = || state.pool.draft.id.clone();
        let Some(term) = state.term(held.shard) else { return Ok(()) };
        match term.tenure {
            Tenure::Theirs(owner) => Err(CommandError::elsewhere(pool(), Detour::Owner(owner))),
            Tenure::Silent => Err(CommandError::Withheld { pool: pool() }),
            Tenure::Escrow | Tenure::Leased | Tenure::Kept if self.is_void(term) => {
                Err(CommandError::Withheld { pool: pool() })
            }
            Tenure::Escrow | Tenure::Leased | Tenure::Kept => Ok(()),
        }
    }

    /// Who else has shards of a pool: asked in an order that follows the subscriber, so that not all go to the same one.
    pub(super) fn other_owners(&self, request: &AllocateRequest) -> Vec<MemberId> {
        let Some(state) = self.pools.get(&request.pool) else { return Vec::new() };
        let owners: BTreeSet<MemberId> = state
            .tenures
            .iter()
            .filter_map(|term| match term.tenure {
                Tenure::Theirs(owner) if owner != MemberId(0) => Some(owner),
                Tenure::Theirs(_) | Tenure::Escrow | Tenure::Leased | Tenure::Kept | Tenure::Silent => None,
            })
            .collect();
        let mut owners: Vec<MemberId> = owners.into_iter().collect();
        if !owners.is_empty() {
            let hash = crate::hash::bytes(0, request.subscriber.as_str().as_bytes());
            let first = usize::try_from(hash % owners.len() as u64).unwrap_or(0);
            owners.rotate_left(first);
        }
        owners
    }

    /// Whether some shard that is ours, or may be, may not be handed out from now.
    pub(super) fn keeps_some(&self, pool: PoolUid) -> bool {
        let lease_good = self.lease_good();
        self.pools.get(&pool).is_some_and(|state| {
            state.tenures.iter().any(|term| match term.tenure {
                // Nobody's that this host knows of; or its own, of which it was not told yet.
                Tenure::Theirs(owner) => owner == MemberId(0),
                ours @ (Tenure::Escrow | Tenure::Leased | Tenure::Kept | Tenure::Silent) => !is_open(ours, lease_good),
            })
        })
    }

    /// Who owns which shard of a pool, as the kernel was told.
    pub fn tenures(&self, pool: PoolUid) -> Vec<ShardTenure> {
        let Some(state) = self.pools.get(&pool) else { return Vec::new() };
        let shards = (0..).map(ShardId).zip(&state.tenures);
        let said = |(shard, term): (ShardId, &Term)| {
            let Term { epoch, tenure, leased, doubtful, doubted: _ } = *term;
            ShardTenure { shard, epoch, tenure, leased, doubtful }
        };
        shards.map(said).collect()
    }
}
