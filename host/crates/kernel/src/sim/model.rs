//! What the facts say, worked out naively: every grain looked at, nothing indexed. It shares no code with the engine but
//! the records themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::time::Keeper;
use super::{Invariant, Verdict, broken};
use crate::allocation::{Allocation, EndCause, Reservation, Resting};
use crate::fact::{Fact, Op, RealmRecord, SpanKey};
use crate::id::{Key, PoolUid, RealmUid, Seq, SubscriberId, Tick};
use crate::kernel::Kernel;
use crate::pool::{Alignment, Geometry, Occupancy, Pool};
use crate::span::{Series, Span};

/// Where a span begins.
pub(super) type At = (PoolUid, RealmUid, u128);

/// A held span.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) allocation: Arc<Allocation>,
    /// By the kept clock.
    ends_ms: Option<u64>,
    this_life: bool,
}

/// A resting span.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) record: Arc<Resting>,
    ends_ms: u64,
    this_life: bool,
    /// It was over once; the kept clock may go back a little when the wall clock is believed at last.
    over: bool,
}

/// What is held, rests, is reserved.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    pub(super) held: BTreeMap<At, Lease>,
    pub(super) rests: BTreeMap<At, Rest>,
    pub(super) reserved: BTreeMap<At, Arc<Reservation>>,
}

/// The state, as the facts tell it.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) clock: Keeper,
    pub(super) pools: BTreeMap<PoolUid, Arc<Pool>>,
    pub(super) realms: BTreeMap<RealmUid, Arc<RealmRecord>>,
    pub(super) ground: Ground,
    /// Before the step that is judged.
    pub(super) before: Ground,
    last: (Seq, u64),
    /// Operations after this one are of this life of the host.
    life: Seq,
    /// Deadlines of this life, written up to an operation, are later by so much.
    moved: Option<(Seq, u64)>,
    replaying: bool,
}

/// A lease that ended by itself.
pub(super) fn is_expiry(op: &Op) -> bool {
    matches!(&op.fact, Fact::Resting(rest) if rest.cause == EndCause::Expired)
}

fn within(range: (PoolUid, RealmUid)) -> std::ops::RangeInclusive<At> {
    (range.0, range.1, 0)..=(range.0, range.1, u128::MAX)
}

impl Ground {
    pub(super) fn holders(&self, of: (PoolUid, RealmUid), span: Span) -> impl Iterator<Item = &Lease> {
        self.held.range(within(of)).map(|(_, lease)| lease).filter(move |lease| lease.allocation.span.intersects(span))
    }

    pub(super) fn resting(&self, of: (PoolUid, RealmUid), span: Span) -> impl Iterator<Item = &Rest> {
        self.rests.range(within(of)).map(|(_, rest)| rest).filter(move |rest| rest.record.span.intersects(span))
    }

    pub(super) fn reservations(&self, of: (PoolUid, RealmUid), span: Span) -> impl Iterator<Item = &Arc<Reservation>> {
        self.reserved.range(within(of)).map(|(_, kept)| kept).filter(move |kept| kept.span.intersects(span))
    }

    pub(super) fn held_by(&self, pool: PoolUid, subscriber: &SubscriberId, key: Option<&Key>) -> Option<&Lease> {
        self.held.values().find(|lease| {
            let held = &lease.allocation;
            held.pool == pool && held.subscriber == *subscriber && held.key() == key
        })
    }
}

impl Model {
    /// From everything that was ever written.
    pub(super) fn replay(history: &[Op], tick: Tick) -> Verdict<Self> {
        let mut model = Self::read(history)?;
        model.clock.start(tick, model.last.1);
        model.life = model.last.0;
        model.forget_rested();
        Ok(model)
    }

    /// The same while the process lives on: its clock and what it knows of this life stay.
    pub(super) fn replay_within(self, history: &[Op], tick: Tick) -> Verdict<Self> {
        let mut model = Self::read(history)?;
        model.clock = self.clock;
        model.clock.run_on(tick);
        model.life = self.life;
        model.moved = self.moved.map(|(until, by_ms)| (until.min(model.last.0), by_ms));
        let (life, moved) = (model.life, model.moved);
        let later = |seq: Seq| moved.filter(|(until, _)| seq <= *until).map_or(0, |(_, by_ms)| by_ms);
        for lease in model.ground.held.values_mut().filter(|lease| lease.allocation.seq() > life) {
            lease.this_life = true;
            lease.ends_ms = lease.ends_ms.map(|ends_ms| ends_ms + later(lease.allocation.seq()));
        }
        for rest in model.ground.rests.values_mut().filter(|rest| rest.record.seq > life) {
            rest.this_life = true;
            rest.ends_ms += later(rest.record.seq);
        }
        model.forget_rested();
        Ok(model)
    }

    fn read(history: &[Op]) -> Verdict<Self> {
        let mut model = Self { replaying: true, ..Self::default() };
        for op in history {
            model.apply(op)?;
        }
        model.replaying = false;
        Ok(model)
    }

    /// Rests that were over before the log was read.
    fn forget_rested(&mut self) {
        let now_ms = self.clock.kept_ms();
        self.ground.rests.retain(|_, rest| rest.ends_ms > now_ms);
    }

    pub(super) fn begin_step(&mut self, tick: Tick) {
        if let Some(by_ms) = self.clock.observe(tick) {
            self.moved = Some((self.last.0, by_ms));
            for lease in self.ground.held.values_mut().filter(|lease| lease.this_life) {
                lease.ends_ms = lease.ends_ms.map(|ends_ms| ends_ms + by_ms);
            }
            for rest in self.ground.rests.values_mut().filter(|rest| rest.this_life) {
                rest.ends_ms += by_ms;
            }
        }
        let now_ms = self.clock.kept_ms();
        for rest in self.ground.rests.values_mut() {
            rest.over |= rest.ends_ms <= now_ms;
        }
        self.before = self.ground.clone();
    }

    /// Whether a lease is over: then its holder is as good as gone.
    pub(super) fn over(&self, lease: &Lease) -> bool {
        self.clock.trusted()
            && lease.ends_ms.is_some_and(|ends_ms| {
                ends_ms <= self.clock.kept_ms() && (lease.this_life || self.clock.grace_is_over(ends_ms))
            })
    }

    /// Whether a rest is over: then its span is as good as free.
    pub(super) fn rested(&self, rest: &Rest) -> bool {
        rest.over || rest.ends_ms <= self.clock.kept_ms()
    }

    /// Whether leases are over that nobody has ended yet.
    pub(super) fn had_ended_leases(&self) -> bool {
        self.before.held.values().any(|lease| self.over(lease))
    }

    pub(super) fn apply(&mut self, op: &Op) -> Verdict {
        if op.seq.0 != self.last.0.0 + 1 {
            return broken(Invariant::Log, format!("operation {} follows {}", op.seq, self.last.0));
        }
        if op.stamp_ms < self.last.1 {
            return broken(Invariant::Log, format!("stamp {} follows {}", op.stamp_ms, self.last.1));
        }
        self.last = (op.seq, op.stamp_ms);
        match &op.fact {
            Fact::Pool(pool) => self.pool(pool),
            Fact::PoolDeleted(uid) => self.pool_deleted(*uid),
            Fact::Realm(realm) => {
                self.realms.insert(realm.uid, Arc::clone(realm));
                Ok(())
            }
            Fact::Held(allocation) => self.held(allocation),
            Fact::Resting(resting) => self.resting(resting),
            Fact::Free(SpanKey { pool, realm, span }) => {
                self.ground.rests.remove(&(*pool, *realm, span.start()));
                Ok(())
            }
            Fact::Reserved(reservation) => self.reserved(reservation),
            Fact::Unreserved { key: SpanKey { pool, realm, span }, .. } => {
                match self.ground.reserved.remove(&(*pool, *realm, span.start())) {
                    Some(kept) if kept.span == *span => Ok(()),
                    other => broken(Invariant::Reserved, format!("{span:?} was not reserved but {other:?}")),
                }
            }
            Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => Ok(()),
        }
    }

    fn pool(&mut self, pool: &Arc<Pool>) -> Verdict {
        let grains = grains(&pool.draft.geometry);
        for other in self.pools.values().filter(|other| other.uid != pool.uid && same_line(other, pool)) {
            let theirs = self::grains(&other.draft.geometry);
            if grains.iter().any(|(one, _)| theirs.iter().any(|(other, _)| one.intersects(*other))) {
                let (one, other) = (&pool.draft.id, &other.draft.id);
                return broken(Invariant::Unique, format!("pools {one} and {other} lie over each other"));
            }
        }
        self.pools.insert(pool.uid, Arc::clone(pool));
        self.ground.rests.retain(|at, rest| at.0 != pool.uid || legal(pool, rest.record.span));
        let inside = |span: Span| legal(pool, span);
        match self.ground.held.iter().find(|(at, lease)| at.0 == pool.uid && !inside(lease.allocation.span)) {
            Some((_, lease)) => broken(Invariant::Kept, format!("{:?} fell out of its pool", lease.allocation)),
            None => Ok(()),
        }
    }

    fn pool_deleted(&mut self, uid: PoolUid) -> Verdict {
        if let Some((_, lease)) = self.ground.held.iter().find(|(at, _)| at.0 == uid) {
            return broken(Invariant::Kept, format!("its pool was deleted over {:?}", lease.allocation));
        }
        self.pools.remove(&uid);
        self.ground.rests.retain(|at, _| at.0 != uid);
        self.ground.reserved.retain(|at, _| at.0 != uid);
        Ok(())
    }

    fn held(&mut self, allocation: &Arc<Allocation>) -> Verdict {
        let of = (allocation.pool, allocation.realm);
        let at = (of.0, of.1, allocation.span.start());
        let lease = Lease {
            allocation: Arc::clone(allocation),
            ends_ms: allocation.expires_ms().map(std::num::NonZeroU64::get),
            this_life: !self.replaying,
        };
        if let Some(former) = self.ground.held.get(&at) {
            let (was, is) = (&former.allocation, allocation);
            if (was.span, &was.subscriber, was.key()) != (is.span, &is.subscriber, is.key()) {
                return broken(Invariant::Unique, format!("{is:?} while {was:?}"));
            }
            self.ground.held.insert(at, lease);
            return Ok(());
        }
        self.newly_held(allocation)?;
        let span = allocation.span;
        for rest in self.ground.resting(of, span) {
            if !self.rested(rest) && rest.record.span != span && !self.replaying {
                return broken(Invariant::Accounted, format!("{:?} was not written off", rest.record));
            }
        }
        self.ground.rests.retain(|at, rest| (at.0, at.1) != of || !rest.record.span.intersects(span));
        self.ground.held.insert(at, lease);
        Ok(())
    }

    fn newly_held(&self, allocation: &Allocation) -> Verdict {
        let span = allocation.span;
        let Some(pool) = self.pools.get(&allocation.pool) else {
            return broken(Invariant::Accounted, format!("{allocation:?} is of no pool"));
        };
        if !self.realms.contains_key(&allocation.realm) {
            return broken(Invariant::Log, format!("the realm of {allocation:?} was not written"));
        }
        let shard = pool.shards.iter().find(|shard| shard.cover.contains(span));
        let fence = shard.map(|shard| (shard.id, shard.epoch));
        if !legal(pool, span) || fence != Some((allocation.shard, allocation.epoch)) {
            return broken(Invariant::Accounted, format!("{allocation:?} is not a span of its pool"));
        }
        let on_line = self.ground.held.values().filter(|lease| {
            let other = self.pools.get(&lease.allocation.pool);
            lease.allocation.realm == allocation.realm
                && other.is_some_and(|other| other.draft.type_id == pool.draft.type_id)
        });
        for lease in on_line {
            if lease.allocation.span.intersects(span) {
                return broken(Invariant::Unique, format!("{allocation:?} and {:?}", lease.allocation));
            }
        }
        if let Some(lease) = self.ground.held_by(allocation.pool, &allocation.subscriber, allocation.key()) {
            return broken(Invariant::Idempotent, format!("{allocation:?} beside {:?}", lease.allocation));
        }
        let own = |kept: &Arc<Reservation>| kept.span == span && kept.subscriber == allocation.subscriber;
        match self.ground.reservations((allocation.pool, allocation.realm), span).find(|kept| !own(kept)) {
            Some(kept) => broken(Invariant::Reserved, format!("{allocation:?} where {kept:?}")),
            None => Ok(()),
        }
    }

    fn resting(&mut self, resting: &Arc<Resting>) -> Verdict {
        let of = (resting.pool, resting.realm);
        let at = (of.0, of.1, resting.span.start());
        let Some(lease) = self.ground.held.remove(&at).filter(|lease| lease.allocation.span == resting.span) else {
            return broken(Invariant::Log, format!("{resting:?} was not held"));
        };
        let reserved = self.ground.reservations(of, resting.span).next().is_some();
        if !self.replaying {
            if resting.cause == EndCause::Expired && !self.over(&lease) {
                let now_ms = self.clock.kept_ms();
                return broken(Invariant::Lease, format!("{lease:?} ended early, at {now_ms}"));
            }
            let terms = self.pools.get(&of.0).map(|pool| &pool.draft.terms);
            let rests = !reserved && resting.cause != EndCause::PoolDeleted;
            let hold_down_ms = terms.filter(|_| rests).map_or(0, |terms| terms.hold_down_ms);
            if resting.until_ms != self.clock.kept_ms() + hold_down_ms {
                return broken(Invariant::HoldDown, format!("{resting:?} should rest for {hold_down_ms} ms"));
            }
        }
        if resting.until_ms > resting.ended_ms {
            let rest = Rest {
                record: Arc::clone(resting),
                ends_ms: resting.until_ms,
                this_life: !self.replaying,
                over: false,
            };
            self.ground.rests.insert(at, rest);
        }
        Ok(())
    }

    fn reserved(&mut self, reservation: &Arc<Reservation>) -> Verdict {
        let of = (reservation.pool, reservation.realm);
        let span = reservation.span;
        if let Some(kept) = self.ground.reservations(of, span).next() {
            return broken(Invariant::Reserved, format!("{reservation:?} over {kept:?}"));
        }
        let own = |held: &Allocation| held.span == span && held.subscriber == reservation.subscriber;
        if let Some(lease) = self.ground.holders(of, span).find(|lease| !own(&lease.allocation)) {
            return broken(Invariant::Reserved, format!("{reservation:?} over {:?}", lease.allocation));
        }
        if !self.pools.get(&of.0).is_some_and(|pool| legal(pool, span)) {
            return broken(Invariant::Reserved, format!("{reservation:?} is not a span of its pool"));
        }
        self.ground.rests.retain(|at, rest| (at.0, at.1) != of || !rest.record.span.intersects(span));
        self.ground.reserved.insert((of.0, of.1, span.start()), Arc::clone(reservation));
        Ok(())
    }

    /// I6, and the clock: what the kernel counts is what is there.
    pub(super) fn compare(&self, kernel: &Kernel) -> Verdict {
        if kernel.lease_clock().0 != self.clock.offset_ms() {
            let (is, should) = (kernel.lease_clock().0, self.clock.offset_ms());
            return broken(Invariant::Lease, format!("the kept clock is {is} ms ahead of boot time, not {should}"));
        }
        let mut allocations = 0;
        for (of, occupancy) in kernel.occupancy() {
            allocations += occupancy.allocations;
            self.compare_one(of, occupancy)?;
        }
        let held = self.ground.held.len() as u64;
        if allocations == held && kernel.allocations() as u64 == held {
            Ok(())
        } else {
            broken(Invariant::Accounted, format!("{allocations} and {} held, not {held}", kernel.allocations()))
        }
    }

    fn compare_one(&self, of: (PoolUid, RealmUid), counted: Occupancy) -> Verdict {
        let Occupancy { allocations: _, total, held, free, resting, reserved, excluded } = counted;
        if held + free + resting + reserved + excluded != total {
            return broken(Invariant::Accounted, format!("{of:?}: {counted:?} does not add up"));
        }
        let Some(pool) = self.pools.get(&of.0) else {
            return broken(Invariant::Accounted, format!("{of:?}: no such pool"));
        };
        let grains = grains(&pool.draft.geometry);
        let mut found = Occupancy { total: grains.len() as u128, ..Occupancy::default() };
        let mut over = 0;
        for (grain, excluded) in grains {
            if excluded {
                found.excluded += 1;
            } else if self.ground.holders(of, grain).next().is_some() {
                found.held += 1;
            } else if self.ground.reservations(of, grain).next().is_some() {
                found.reserved += 1;
            } else if let Some(rest) = self.ground.resting(of, grain).next() {
                found.resting += 1;
                over += u128::from(self.rested(rest));
            } else {
                found.free += 1;
            }
        }
        // A rest that is over may wait for its turn.
        let same = (total, held, reserved, excluded) == (found.total, found.held, found.reserved, found.excluded);
        let woken = found.resting - over <= resting && resting <= found.resting;
        if same && woken && free + resting == found.free + found.resting {
            Ok(())
        } else {
            let now_ms = self.clock.kept_ms();
            let rests: Vec<&Rest> = self.ground.rests.range(within(of)).map(|(_, rest)| rest).collect();
            let what =
                format!("{of:?} at {now_ms}: counted {counted:?}, there is {found:?}, {over} rested of {rests:?}");
            broken(Invariant::Accounted, what)
        }
    }

    /// Every span of this length that may be asked for.
    pub(super) fn candidates(pool: &Pool, len: u128) -> Vec<Span> {
        let starts = grains(&pool.draft.geometry).into_iter().map(|(grain, _)| grain.start());
        starts.filter_map(|start| Span::new(start, len)).filter(|span| legal(pool, *span)).collect()
    }

    /// After all that was due: no lease is over.
    pub(super) fn nothing_overdue(&mut self, tick: Tick, kernel: &Kernel) -> Verdict {
        self.begin_step(tick);
        if let Some(lease) = self.ground.held.values().find(|lease| self.over(lease)) {
            return broken(Invariant::Lease, format!("{lease:?} is over and still held"));
        }
        match kernel.next_alarm() {
            Some(due_ms) if due_ms <= tick.boot_ms => broken(Invariant::Lease, "the alarm does not come to rest"),
            Some(_) | None => Ok(()),
        }
    }
}

/// Two pools whose spans must not meet.
fn same_line(one: &Pool, other: &Pool) -> bool {
    let of = |pool: &Pool| {
        let draft = &pool.draft;
        (draft.type_id.clone(), draft.realm.clone(), (!draft.realm.shared).then(|| draft.tenant.clone()))
    };
    of(one) == of(other)
}

fn members(series: &[Series]) -> impl Iterator<Item = Span> {
    series.iter().flat_map(|series| (0..series.count()).filter_map(|n| series.get(n)))
}

/// Every grain and whether it is excluded.
pub(super) fn grains(geometry: &Geometry) -> Vec<(Span, bool)> {
    let mut found = Vec::new();
    for member in members(&geometry.spans) {
        let count = member.len() / geometry.grain;
        for n in 0..count {
            let grain = Span::new(member.start() + n * geometry.grain, geometry.grain).expect("inside a span");
            let excluded = members(&geometry.excluded).any(|excluded| excluded.intersects(grain));
            found.push((grain, excluded));
        }
    }
    found
}

/// Whether a span may be handed out at all.
pub(super) fn legal(pool: &Pool, span: Span) -> bool {
    let geometry = &pool.draft.geometry;
    let sizing = geometry.sizing;
    let Some(member) = members(&geometry.spans).find(|member| member.contains(span)) else { return false };
    let aligned = match sizing.align {
        Alignment::Origin => (span.start() - member.start()).is_multiple_of(geometry.grain),
        Alignment::Natural => span.len().is_power_of_two() && span.start().is_multiple_of(span.len()),
    };
    let sized = (sizing.min_len..=sizing.max_len).contains(&span.len()) && span.len().is_multiple_of(geometry.grain);
    let in_one_shard = pool.shards.iter().any(|shard| shard.cover.contains(span));
    let excluded = grains(geometry).iter().any(|(grain, excluded)| *excluded && grain.intersects(span));
    aligned && sized && in_one_shard && !excluded
}
