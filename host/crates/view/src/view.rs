//! The view itself: applies operations, answers questions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use kernel::{
    Allocation, Fact, Key, NodeId, Notes, Occupancy, Op, Origin, Pool, PoolId, PoolUid, RealmName, RealmRecord,
    RealmUid, Reservation, Seq, Span, SpanKey, SubscriberId, TenantId,
};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::conflicts::Conflicts;
use crate::cursor::ListCursor;
use crate::events::{Event, EventGap, EventKind, Events, PoolChange, event_of};
use crate::places::Places;
use crate::pools::Pools;
use crate::subscribers::Subscribers;

/// Reads the boot clock in milliseconds. Handed in, so that tests own the time.
pub type BootClock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Rows looked at under one lock; a long scan lets writers in between.
const SCAN: usize = 4096;

/// What of the allocations to list. Empty: all.
#[derive(Clone, Debug, Default)]
pub struct AllocationFilter {
    pub tenant: Option<TenantId>,
    pub pool: Option<PoolUid>,
    pub realm: Option<RealmUid>,
    pub subscriber: Option<SubscriberId>,
    pub node: Option<NodeId>,
    /// Only leases that end before this Unix time in milliseconds.
    pub expires_before_ms: Option<u64>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    pub rows: Vec<Arc<Allocation>>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<ListCursor>,
}

type PlaceKey = (PoolUid, RealmUid);

type PlaceMap = BTreeMap<PlaceKey, Arc<RwLock<Places>>>;

/// Everything that was committed.
pub struct View {
    pools: RwLock<Pools>,
    places: RwLock<PlaceMap>,
    pub(crate) subscribers: Subscribers,
    pub(crate) conflicts: Conflicts,
    nodes: RwLock<BTreeMap<Arc<NodeId>, u64>>,
    pub(crate) notes: RwLock<Notes>,
    events: Events,
    /// The last operation of this host's own that says what became of a span.
    last_word: AtomicU64,
    /// Times that somebody looked something up.
    gets: AtomicU64,
    clock: BootClock,
    wall_offset_ms: AtomicI64,
    expiring: AtomicBool,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    /// An empty view that keeps the last `window` events for watches.
    pub fn new(clock: BootClock, window: usize) -> Self {
        Self {
            pools: RwLock::default(),
            places: RwLock::default(),
            subscribers: Subscribers::new(),
            conflicts: Conflicts::default(),
            nodes: RwLock::default(),
            notes: RwLock::default(),
            events: Events::new(window),
            last_word: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            clock,
            wall_offset_ms: AtomicI64::new(0),
            expiring: AtomicBool::new(false),
        }
    }

    /// Under which name this host writes its log.
    #[must_use]
    pub fn of_host(self, own: Origin) -> Self {
        Self { notes: RwLock::new(Notes::of_host(own)), ..self }
    }

    /// Applies a durable group, in order, and tells the watches.
    pub fn apply(&self, ops: &[Op]) {
        let Some(last) = ops.last() else { return };
        let mut events = Vec::with_capacity(ops.len());
        for op in ops {
            events.extend(event_of(op, |uid| self.pool_by_uid(uid)));
            events.extend(self.apply_note(op));
            if let Some((pool, change)) = self.apply_fact(op)
                && let Some(pool) = self.pool_by_uid(pool)
            {
                events.push(Event { seq: op.seq, stamp_ms: op.stamp_ms, kind: EventKind::InPool(pool, change) });
            }
        }
        if let Some(word) = ops.iter().rfind(|op| op.from.is_none() && op.fact.is_word()) {
            self.last_word.fetch_max(word.seq.0, Ordering::AcqRel);
        }
        self.events.push(events.into_iter(), last.seq);
    }

    /// Applies one operation on its way back from disk; no watch hears of it.
    pub fn load(&self, op: &Op) {
        self.notes.write().apply(op);
        let _nobody_watches_yet = self.apply_fact(op);
    }

    /// Ends loading: everything up to `last` happened before this daemon's time.
    pub fn loaded(&self, last: Seq) {
        self.events.start_after(last);
    }

    /// How full each (pool, realm) is, as the kernel counted after a group.
    pub fn set_occupancy(&self, counts: &[((PoolUid, RealmUid), Occupancy)]) {
        if counts.is_empty() {
            return;
        }
        let mut pools = self.pools.write();
        for (of, occupancy) in counts {
            pools.set_occupancy(*of, *occupancy);
        }
    }

    /// The kernel's wall clock as an offset to the boot clock, and whether leases end at all now.
    pub fn set_lease_clock(&self, wall_offset_ms: i64, expiring: bool) {
        self.wall_offset_ms.store(wall_offset_ms, Ordering::Release);
        self.expiring.store(expiring, Ordering::Release);
    }

    /// What was set last: kept clock less the clock that this view reads, milliseconds.
    pub fn wall_offset_ms(&self) -> i64 {
        self.wall_offset_ms.load(Ordering::Acquire)
    }

    /// The wall clock as the kernel keeps it, Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.clock)().saturating_add_signed(self.wall_offset_ms.load(Ordering::Acquire))
    }

    /// Gives what is to be told beside the fact itself: that a subscriber has two allocations now, or one again.
    fn apply_fact(&self, op: &Op) -> Option<(PoolUid, PoolChange)> {
        match &op.fact {
            Fact::Held(allocation) => return self.hold(allocation).map(|kind| (allocation.pool, kind)),
            Fact::Resting(resting) => {
                return self.end((resting.pool, resting.realm), resting.span).map(|kind| (resting.pool, kind));
            }
            Fact::Free(key) => return self.end((key.pool, key.realm), key.span).map(|kind| (key.pool, kind)),
            Fact::Pool(pool) => self.pools.write().put(pool),
            Fact::PoolDeleted(uid) => {
                self.places.write().retain(|(pool, _), _| pool != uid);
                self.pools.write().delete(*uid);
                self.conflicts.forget_pool(*uid);
            }
            Fact::Realm(realm) => self.pools.write().put_realm(realm),
            Fact::Reserved(reservation) => self.pools.write().reserve(reservation),
            Fact::Unreserved { key, .. } => self.pools.write().unreserve(key),
            Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_) => {}
            Fact::Conflict(_) | Fact::ConflictClosed(_) => return self.apply_conflict(op),
        }
        None
    }

    fn places_of(&self, of: (PoolUid, RealmUid)) -> Option<Arc<RwLock<Places>>> {
        self.places.read().get(&of).cloned()
    }

    fn hold(&self, allocation: &Arc<Allocation>) -> Option<PoolChange> {
        let of = (allocation.pool, allocation.realm);
        let places = self.places_of(of).unwrap_or_else(|| Arc::clone(self.places.write().entry(of).or_default()));
        let replaced = places.write().insert(Arc::clone(allocation));
        if let Some(former) = &replaced {
            if former.subscriber != allocation.subscriber || former.key() != allocation.key() {
                self.subscribers.remove(former);
                self.no_longer_doubled(former);
            }
            self.count_node(former.node.as_ref(), false);
        }
        let doubled = self.subscribers.insert(allocation);
        self.count_node(allocation.node.as_ref(), true);
        if doubled { self.doubled(allocation) } else { None }
    }

    fn end(&self, of: (PoolUid, RealmUid), span: Span) -> Option<PoolChange> {
        let places = self.places_of(of)?;
        let former = places.write().remove(span)?;
        self.subscribers.remove(&former);
        self.count_node(former.node.as_ref(), false);
        self.no_longer_doubled(&former)
    }

    fn count_node(&self, node: Option<&Arc<NodeId>>, up: bool) {
        let Some(node) = node else { return };
        let mut nodes = self.nodes.write();
        if up {
            *nodes.entry(Arc::clone(node)).or_insert(0) += 1;
        } else if let Some(count) = nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                nodes.remove(node);
            }
        }
    }

    /// True until the lease ends; from then on no look-up shows it, even if the kernel has not come round to it yet.
    pub(crate) fn live(&self, allocation: &Allocation, now_ms: u64) -> bool {
        match allocation.expires_ms() {
            Some(end) => end.get() > now_ms || !self.expiring.load(Ordering::Acquire),
            None => true,
        }
    }

    /// A tenant's pool by its id.
    pub fn pool(&self, tenant: &TenantId, id: &PoolId) -> Option<Arc<Pool>> {
        self.pools.read().find(tenant, id).cloned()
    }

    /// The numbers of all pools.
    pub fn pool_uids(&self) -> Vec<PoolUid> {
        self.pools.read().uids()
    }

    /// A pool by its number.
    pub fn pool_by_uid(&self, uid: PoolUid) -> Option<Arc<Pool>> {
        self.pools.read().get(uid).cloned()
    }

    /// Pools of a tenant, or of all, in order of tenant and id.
    pub fn pools(&self, tenant: Option<&TenantId>) -> Vec<Arc<Pool>> {
        self.pools.read().list(tenant)
    }

    /// Which realm a number is.
    pub fn realm(&self, uid: RealmUid) -> Option<Arc<RealmRecord>> {
        self.pools.read().realm(uid).cloned()
    }

    /// The number of a realm; `tenant` `None`: among the shared ones.
    pub fn realm_named(&self, tenant: Option<&TenantId>, name: &RealmName) -> Option<RealmUid> {
        self.pools.read().realm_named(tenant, name)
    }

    /// How full a pool is, by realm. A realm that was never used is not in it.
    pub fn occupancy(&self, pool: PoolUid) -> Vec<(RealmUid, Occupancy)> {
        self.pools.read().occupancy(pool)
    }

    /// Reservations of a pool, or all, in order of pool, realm and position.
    pub fn reservations(&self, pool: Option<PoolUid>) -> Vec<Arc<Reservation>> {
        self.pools.read().reservations(pool)
    }

    /// The reservation of exactly this span.
    pub fn reservation(&self, key: &SpanKey) -> Option<Arc<Reservation>> {
        self.reservations(Some(key.pool)).into_iter().find(|found| found.realm == key.realm && found.span == key.span)
    }

    /// All live allocations of a subscriber within a tenant, newest first; behind them those that another one of the same pool
    /// and key stands in place of.
    pub fn of_subscriber(&self, tenant: &TenantId, subscriber: &SubscriberId) -> Vec<Arc<Allocation>> {
        self.got();
        let now_ms = self.now_ms();
        let mut found = self.subscribers.of(subscriber);
        let pools = self.pools.read();
        found.retain(|held| {
            self.live(held, now_ms) && pools.get(held.pool).is_some_and(|pool| pool.draft.tenant == *tenant)
        });
        let behind = |held: &Allocation| self.stands_in_place_of(held).is_some();
        found.sort_by_cached_key(|held| (behind(held), std::cmp::Reverse((held.created_ms(), held.seq()))));
        found
    }

    /// Look-ups so far: of a subscriber, of a position, and pages of lists.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    pub(crate) fn got(&self) {
        self.gets.fetch_add(1, Ordering::Relaxed);
    }

    /// A subscriber's live allocation of this very span.
    pub fn allocation(
        &self,
        pool: PoolUid,
        subscriber: &SubscriberId,
        key: Option<&Key>,
        span: Span,
    ) -> Option<Arc<Allocation>> {
        let now_ms = self.now_ms();
        let mut found = self.subscribers.under(pool, subscriber, key).into_iter();
        found.find(|held| held.span == span && self.live(held, now_ms))
    }

    /// Who holds this position of a pool's line, by realm: in one, or in all of the pool's realms.
    pub fn holders(&self, pool: PoolUid, realm: Option<RealmUid>, position: u128) -> Vec<Arc<Allocation>> {
        self.got();
        let now_ms = self.now_ms();
        let least = (pool, realm.unwrap_or(RealmUid(0)));
        let most = (pool, realm.unwrap_or(RealmUid(u32::MAX)));
        let places: Vec<_> = self.places.read().range(least..=most).map(|(_, places)| Arc::clone(places)).collect();
        let held = places.iter().filter_map(|places| places.read().at(position).cloned());
        held.filter(|held| self.live(held, now_ms)).collect()
    }

    /// The live allocations after `after` that match, ordered by pool, realm and position, at most `limit`.
    pub fn list(&self, filter: &AllocationFilter, after: Option<ListCursor>, limit: usize) -> Page {
        self.got();
        let mut rows = Vec::new();
        let more = self.scan(filter, after, |held| {
            if rows.len() == limit {
                return false;
            }
            rows.push(Arc::clone(held));
            true
        });
        let place =
            |held: &Arc<Allocation>| ListCursor { pool: held.pool, realm: held.realm, start: held.span.start() };
        let next = if more { rows.last().map(place) } else { None };
        Page { rows, next }
    }

    /// How many live allocations match.
    pub fn count(&self, filter: &AllocationFilter) -> u64 {
        let mut count = 0;
        self.scan(filter, None, |_| {
            count += 1;
            true
        });
        count
    }

    /// Shows matching rows in order until `each` says stop; true if it did.
    fn scan(
        &self,
        filter: &AllocationFilter,
        after: Option<ListCursor>,
        mut each: impl FnMut(&Arc<Allocation>) -> bool,
    ) -> bool {
        let now_ms = self.now_ms();
        let wanted = |held: &Arc<Allocation>| self.live(held, now_ms) && matches(filter, held);
        if let Some(subscriber) = &filter.subscriber {
            let mut rows = self.subscribers.of(subscriber);
            let place = |held: &Arc<Allocation>| (held.pool, held.realm, held.span.start());
            rows.sort_by_key(place);
            let behind = |held: &&Arc<Allocation>| {
                after.is_none_or(|after| place(held) > (after.pool, after.realm, after.start))
            };
            let mut rows = rows.iter().filter(behind).filter(|held| wanted(held) && self.of_tenant(filter, held.pool));
            return rows.any(|held| !each(held));
        }
        for (of, places) in self.tables(filter, after) {
            let mut from = match after {
                Some(after) if (after.pool, after.realm) == of => after.start.saturating_add(1),
                _ => 0,
            };
            loop {
                let mut looked = 0;
                let mut last = None;
                let guard = places.read();
                for held in guard.from(from).take(SCAN) {
                    looked += 1;
                    last = Some(held.span.end());
                    if wanted(held) && !each(held) {
                        return true;
                    }
                }
                drop(guard);
                match last {
                    Some(end) if looked == SCAN => from = end,
                    _ => break,
                }
            }
        }
        false
    }

    fn of_tenant(&self, filter: &AllocationFilter, pool: PoolUid) -> bool {
        let Some(tenant) = &filter.tenant else { return true };
        self.pools.read().get(pool).is_some_and(|pool| pool.draft.tenant == *tenant)
    }

    fn tables(&self, filter: &AllocationFilter, after: Option<ListCursor>) -> Vec<(PlaceKey, Arc<RwLock<Places>>)> {
        let first = after.map_or((PoolUid(0), RealmUid(0)), |after| (after.pool, after.realm));
        let places = self.places.read();
        let tables = places.range(first..).filter(|((pool, realm), _)| {
            filter.pool.is_none_or(|wanted| wanted == *pool)
                && filter.realm.is_none_or(|wanted| wanted == *realm)
                && self.of_tenant(filter, *pool)
        });
        tables.map(|(of, table)| (*of, Arc::clone(table))).collect()
    }

    /// The OLT-BNGs that have live allocations, and how many each.
    pub fn nodes(&self) -> Vec<(Arc<NodeId>, u64)> {
        self.nodes.read().iter().map(|(node, count)| (Arc::clone(node), *count)).collect()
    }

    /// At most `most` events after `seq`, or that they are no longer kept.
    pub fn events_after(&self, seq: Seq, most: usize) -> Result<Vec<Event>, EventGap> {
        self.events.after(seq, most)
    }

    /// The last committed operation since the start that this host said of a span; 0: none yet. What comes after it in the log
    /// concerns nobody else.
    pub fn last_word(&self) -> Seq {
        Seq(self.last_word.load(Ordering::Acquire))
    }

    /// Changes with every committed group; its value is the last operation's place.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}

fn matches(filter: &AllocationFilter, held: &Allocation) -> bool {
    filter.pool.is_none_or(|pool| pool == held.pool)
        && filter.realm.is_none_or(|realm| realm == held.realm)
        && filter.node.as_ref().is_none_or(|node| held.node.as_deref() == Some(node))
        && filter.expires_before_ms.is_none_or(|end| held.expires_ms().is_some_and(|at| at.get() < end))
}
