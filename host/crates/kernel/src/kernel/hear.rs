//! What other hosts wrote: taken into this host's state and log, in their order, never judged again. The owner of a shard is
//! the only one who writes about it in its term, so there is nothing to decide; what contradicts that is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::late::{Late, is_over_by};
use super::{Kernel, PoolState};
use crate::allocation::{Allocation, Made, Reservation, Resting};
use crate::command::Reply;
use crate::conflict::{Conflict, Conflicts};
use crate::effects::{Effects, Notice};
use crate::fact::{Fact, Op, SpanKey};
use crate::id::{Dot, Epoch, Origin, PoolUid, RealmUid, Revision, Seq};
use crate::replica::{Batch, moved, with_realm};
use crate::rules::Rule;
use crate::span::Span;
use crate::stock::{Afterwards, HeldByItsOwn, Stock};

/// Whether an operation can be taken in now.
pub(super) enum Readiness {
    Now,
    /// It rests on something that was not heard yet: a pool's record, a grant, or the last words of a shard's former owner.
    Later,
}

impl Kernel {
    /// Takes in what continues the known part of an origin's log, up to the first operation that must wait. What was heard
    /// before is passed over.
    pub(super) fn hear(&mut self, batch: &Batch, effects: &mut Effects) -> Reply {
        let origin = batch.origin;
        let known = self.heard.get(&origin).copied().unwrap_or_default();
        // What a snapshot brings must not be mixed with what came before it.
        let gap = batch.after > known && self.rules.keep(Rule::NoGaps);
        if gap || batch.through <= known || self.adoption.is_some() {
            return Reply::Heard(Dot { origin, seq: known });
        }
        let mut through = batch.through;
        let mut realms: Vec<Option<RealmUid>> = vec![None; batch.realms.len()];
        let mut rests_on = None;
        for op in batch.ops.iter().filter(|op| op.seq > known && op.seq <= batch.through) {
            if matches!(self.readiness(&op.fact, &batch.pools), Readiness::Later) {
                through = Seq(op.seq.0 - 1);
                break;
            }
            if matches!(self.take_in(origin, op, batch, &mut realms, effects), Some(Late::Unanswered)) {
                rests_on = Some(Dot { origin, seq: op.seq });
            }
            self.words.insert(origin, op.seq);
        }
        if let Some(dot) = rests_on {
            self.log.write(effects, |_| Fact::RestsOn(dot));
        }
        if through > known {
            self.heard.insert(origin, through);
            self.log.write(effects, |_| Fact::Heard { origin, through });
            self.collect_notes(effects);
        }
        Reply::Heard(Dot { origin, seq: through })
    }

    /// How far each other origin's operations are in this host's log: the version vector, less this host's own part.
    pub fn heard(&self) -> &BTreeMap<Origin, Seq> {
        &self.heard
    }

    /// What contradicts what is known, and nobody looked after it yet.
    pub const fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    /// `pools`: the records that whoever told of it goes by.
    pub(super) fn readiness(&self, fact: &Fact, pools: &BTreeMap<PoolUid, Revision>) -> Readiness {
        let said_in = |pool: PoolUid, span: Span, epoch: Epoch| {
            let shard = self.pools.get(&pool)?.layout.place(span).ok()?;
            Some((shard, epoch))
        };
        let (pool, term) = match fact {
            Fact::RestsOn(dot) if self.rules.keep(Rule::Barrier) => return self.has_heard(*dot),
            Fact::Held(held) => (held.pool, Some((held.shard, held.epoch))),
            Fact::Resting(rest) => (rest.pool, said_in(rest.pool, rest.span, rest.epoch)),
            Fact::Reserved(kept) => (kept.pool, said_in(kept.pool, kept.span, kept.epoch)),
            Fact::Free(key) | Fact::Unreserved { key, .. } => (key.pool, None),
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => {
                return Readiness::Now;
            }
        };
        let Some(state) = self.pools.get(&pool) else {
            // A pool that was removed is not waited for.
            return if pool < self.next_pool { Readiness::Now } else { Readiness::Later };
        };
        if self.rules.keep(Rule::PoolFirst) && pools.get(&pool).is_some_and(|known| *known > state.pool.revision) {
            return Readiness::Later;
        }
        match term {
            // The ledger's word on this term is not known here yet.
            Some((shard, epoch)) if state.term(shard).is_some_and(|term| term.epoch < epoch) => Readiness::Later,
            Some(_) | None => Readiness::Now,
        }
    }

    fn has_heard(&self, dot: Dot) -> Readiness {
        let known = self.heard.get(&dot.origin).copied().unwrap_or_default() >= dot.seq;
        let own = self.cluster.as_ref().is_some_and(|cluster| cluster.origin == dot.origin);
        if known || own { Readiness::Now } else { Readiness::Later }
    }

    fn take_in(
        &mut self,
        origin: Origin,
        op: &Op,
        batch: &Batch,
        realms: &mut [Option<RealmUid>],
        effects: &mut Effects,
    ) -> Option<Late> {
        let log = &mut self.log;
        let mut number = |place: RealmUid| {
            let place = usize::try_from(place.0).ok()?;
            let (tenant, name) = batch.realms.get(place)?;
            let slot = realms.get_mut(place)?;
            Some(*slot.get_or_insert_with(|| self.realms.enter(tenant.as_ref(), name.clone(), log, effects)))
        };
        // The realm's own record may come first, so the number of this operation is known only afterwards.
        let fact = with_realm(&op.fact, &mut number, Seq(0))?;
        let from = Dot { origin, seq: op.seq };
        let mut changed = false;
        let key = match &fact {
            Fact::Held(held) => {
                self.hear_held(held, from, effects);
                SpanKey { pool: held.pool, realm: held.realm, span: held.span }
            }
            Fact::Resting(rest) => {
                self.hear_resting(rest, from, effects);
                SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span }
            }
            Fact::Free(key) => {
                self.hear_free(*key, from, effects);
                *key
            }
            Fact::Reserved(kept) => {
                changed = self.hear_reserved(kept, from, effects);
                kept.key()
            }
            Fact::Unreserved { key, made } => {
                changed = self.hear_unreserved(*key, *made, from, effects);
                *key
            }
            Fact::RestsOn(dot) => {
                self.log.relay(effects, from, Fact::RestsOn(*dot));
                return None;
            }
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::Adopted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => return None,
            Fact::Noted(note) => {
                self.hear_note(note, from, effects);
                return None;
            }
        };
        let late = self.late(key, &fact, changed)?;
        if late == Late::Answered && self.rules.keep(Rule::LastWord) {
            self.say_again(key, &fact, from, changed, effects);
        } else if changed && let Fact::Reserved(_) = &fact {
            self.owe_reserved(key);
        }
        Some(late)
    }

    pub(super) fn hear_held(&mut self, held: &Allocation, from: Dot, effects: &mut Effects) {
        let of = (held.pool, held.realm);
        let inside = |state: &PoolState| state.layout.place(held.span).is_ok();
        if self.stock_of(of).is_none() || !self.pools.get(&held.pool).is_some_and(inside) {
            // The space has left the pool since, and it left it empty.
            return;
        }
        let (parts, name): (crate::allocation::AllocationParts, _) = held.clone().into();
        let node = parts.node.as_ref().map(|node| self.nodes.intern(node));
        let parts = crate::allocation::AllocationParts { seq: self.log.next, node, ..parts };
        let mut held: Arc<Allocation> = Arc::new((parts, name).into());
        let place = self.holders.place(held.pool, &held.subscriber, held.key());
        let there = self.holders.starting_at(held.pool, held.realm, held.span.start()).cloned();
        let same = |there: &&Arc<Allocation>| {
            there.span == held.span && there.subscriber == held.subscriber && there.key() == held.key()
        };
        if there.as_ref().is_some_and(|there| is_later(there, &held)) {
            // The new owner has spoken of it already, or this host heard of a renewal that the new owner did not.
            return;
        }
        if let Some(there) = there.as_ref().filter(same) {
            let lapses_ms = there.expires_ms().map(|end| self.log.clock.lease_end(end.get(), there.seq()));
            if let (Some(lapses_ms), Some(stock)) = (lapses_ms, self.stocks.get_mut(&of)) {
                self.leases -= usize::from(stock.leases.remove(lapses_ms, there.seq()));
            }
            self.holders.replace(&held);
        } else {
            let key = SpanKey { pool: held.pool, realm: held.realm, span: held.span };
            let reserved = self.reserved_for_others(key, &held.subscriber);
            let term = self.pools.get(&held.pool).and_then(|state| state.term(held.shard)).copied();
            let late = term.filter(|term| held.epoch < term.epoch);
            let made = held.made();
            let since = || {
                let later =
                    |kept: &&Arc<Reservation>| kept.epoch > held.epoch || (late.is_some() && kept.made() > made);
                reserved.iter().filter(later)
            };
            if since().next().is_some() {
                // Its owner has reserved it since.
                let answers = term.is_some_and(|term| term.tenure.answers());
                if answers && !since().all(|kept| is_over_by(&held, kept.created_ms)) {
                    self.conflict(held, from, effects);
                }
                return;
            }
            let there = self.holding(key);
            if there.iter().any(|there| there.epoch >= held.epoch) {
                if !there.iter().all(|there| is_over_by(&held, there.created_ms())) {
                    self.conflict(held, from, effects);
                }
                return;
            }
            self.give_up_reserved(reserved, from, effects);
            let Some(stock) = self.stocks.get_mut(&of) else { return };
            let rests: Vec<u128> = stock.rests().touching(held.span).map(|rest| rest.span.start()).collect();
            for start in rests {
                stock.wake(start);
            }
            let free = there.is_empty() || self.make_way(key, made, from, effects);
            if !free || self.stocks.get_mut(&of).is_none_or(|stock| stock.hold(held.span).is_err()) {
                self.conflict(held, from, effects);
                return;
            }
            if held.seq() != self.log.next {
                // What made way for it came first.
                held = Arc::new(moved(&held, held.realm, self.log.next));
            }
            self.holders.insert(place, Arc::clone(&held));
        }
        self.log.relay(effects, from, Fact::Held(held));
        self.reschedule(of);
        self.touch(of);
    }

    pub(super) fn hear_resting(&mut self, rest: &Resting, from: Dot, effects: &mut Effects) {
        let of = (rest.pool, rest.realm);
        if self.stock_of(of).is_none() {
            return;
        }
        let node = rest.node.as_ref().map(|node| self.nodes.intern(node));
        let rest = Arc::new(Resting { seq: self.log.next, node, ..rest.clone() });
        let held = self.holders.starting_at(rest.pool, rest.realm, rest.span.start()).cloned();
        let held = held.filter(|held| held.span == rest.span);
        if held.as_ref().is_some_and(|held| !is_meant(&rest, held)) {
            // What a new owner answered since does not end by what the former one said before; nor what the former one
            // answered unheard by what the new one said.
            return;
        }
        let now_ms = self.log.clock.now_ms();
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        let reserved = stock.reservations().exactly(rest.span).is_some();
        let ends_ms = self.log.clock.rest_end(rest.until_ms, rest.seq);
        let over = ends_ms <= now_ms;
        if let Some(held) = held {
            self.holders.remove(&held);
            if let Some(end) = held.expires_ms() {
                let lapses_ms = self.log.clock.lease_end(end.get(), held.seq());
                self.leases -= usize::from(stock.leases.remove(lapses_ms, held.seq()));
            }
            let afterwards = match (reserved, over) {
                (true, _) => Afterwards::Reserved,
                (false, true) => Afterwards::Free,
                (false, false) => Afterwards::Rests(Arc::clone(&rest), ends_ms),
            };
            stock.let_go(rest.span, afterwards);
        } else if !over {
            stock.wake(rest.span.start());
            // Held in part since: then it rests no more.
            let _rests = stock.lay_to_rest(Arc::clone(&rest), ends_ms).is_ok();
        }
        self.log.relay(effects, from, Fact::Resting(rest));
        self.reschedule(of);
        self.touch(of);
    }

    fn hear_free(&mut self, key: SpanKey, from: Dot, effects: &mut Effects) {
        let of = (key.pool, key.realm);
        if self.holders.starting_at(key.pool, key.realm, key.span.start()).is_some_and(|held| held.span == key.span) {
            // It ends what rested there, long ago; nothing that is held ends by it, and the log may not say so either.
            return;
        }
        let Some(stock) = self.stock_of(of) else { return };
        if stock.rests().touching(key.span).any(|rest| rest.span == key.span) {
            stock.wake(key.span.start());
        }
        self.log.relay(effects, from, Fact::Free(key));
        self.reschedule(of);
        self.touch(of);
    }

    /// What is reserved. Of what stands in the way of each other what was made in the later term counts, and in one term what was
    /// made later; and what the owner handed out in its term: a late word cannot undo it. True: it was not reserved here.
    pub(super) fn hear_reserved(&mut self, kept: &Reservation, from: Dot, effects: &mut Effects) -> bool {
        let of = (kept.pool, kept.realm);
        let key = kept.key();
        let term = self.pools.get(&of.0).and_then(|state| state.term(state.layout.place(kept.span).ok()?));
        let Some(epoch) = term.map(|term| term.epoch) else { return false };
        let reserved = self.reserved_in(key);
        let same = |other: &Arc<Reservation>| other.span == kept.span && other.subscriber == kept.subscriber;
        let mut held = self.holding(key);
        let own = |held: &Arc<Allocation>| held.span == kept.span && held.subscriber == kept.subscriber;
        let is_own = held.iter().any(own);
        held.retain(|held| !own(held));
        let made = kept.made();
        let stays = |held: &Arc<Allocation>| (held.epoch >= epoch && kept.epoch < epoch) || held.made() > made;
        let later = |other: &Arc<Reservation>| other.made() > made || (same(other) && other.made() == made);
        if held.iter().any(stays) || reserved.iter().any(later) {
            return false;
        }
        self.give_up_reserved(reserved, from, effects);
        if !held.is_empty() && self.make_way(key, Made { epoch, created_ms: kept.created_ms }, from, effects) {
            // Nothing is held in its place.
            self.log.relay(effects, from, Fact::Free(key));
        }
        let kept = Arc::new(Reservation { seq: self.log.next, ..kept.clone() });
        let Some(stock) = self.stock_of(of) else { return false };
        let rests: Vec<u128> = stock.rests().touching(kept.span).map(|rest| rest.span.start()).collect();
        for start in rests {
            stock.wake(start);
        }
        let reserved = stock.reserve(Arc::clone(&kept), if is_own { HeldByItsOwn::Yes } else { HeldByItsOwn::No });
        if reserved.is_ok() {
            self.log.relay(effects, from, Fact::Reserved(kept));
        }
        self.reschedule(of);
        self.touch(of);
        reserved.is_ok()
    }

    /// What was reserved by then is so no more; what its owner reserved since stays. True: it was reserved here.
    fn hear_unreserved(&mut self, key: SpanKey, made: Made, from: Dot, effects: &mut Effects) -> bool {
        let of = (key.pool, key.realm);
        let held = self.holders.starting_at(key.pool, key.realm, key.span.start());
        let own = held.is_some_and(|held| held.span == key.span);
        let Some(stock) = self.stock_of(of) else { return false };
        if stock.reservations().exactly(key.span).is_some_and(|kept| kept.made() > made) {
            return false;
        }
        let gone = stock.unreserve(key.span, if own { HeldByItsOwn::Yes } else { HeldByItsOwn::No });
        self.log.relay(effects, from, Fact::Unreserved { key, made });
        self.touch(of);
        gone.is_some()
    }

    /// The (pool, realm), made at first use; `None` if the pool is gone.
    pub(super) fn stock_of(&mut self, of: (PoolUid, RealmUid)) -> Option<&mut Stock> {
        let lease_good = self.lease_good();
        let state = self.pools.get_mut(&of.0)?;
        Some(self.stocks.entry(of).or_insert_with(|| {
            if state.base.is_none() {
                let base = state.pool.draft.realm.name.as_str();
                let value = self.realms.name(of.1).and_then(|name| name.as_str().strip_prefix(base)?.strip_prefix('/'));
                if let Some(value) = value {
                    state.by_value.insert(value.into(), of.1);
                }
            }
            state.fresh_stock(lease_good)
        }))
    }

    pub(super) fn conflict(&mut self, heard: Arc<Allocation>, from: Dot, effects: &mut Effects) {
        effects.notices.push(Notice::Conflict);
        if self.conflicts.has_room() {
            self.write_of_conflict(Fact::Conflict(Arc::new(Conflict { heard, from })), effects);
        }
    }

    pub(super) fn close_conflict(&mut self, place: Seq, effects: &mut Effects) -> Reply {
        if self.conflicts.get(place).is_some() {
            self.write_of_conflict(Fact::ConflictClosed(place), effects);
        }
        Reply::Noted
    }

    fn write_of_conflict(&mut self, fact: Fact, effects: &mut Effects) {
        self.conflicts.apply(&Op { seq: self.log.next, stamp_ms: 0, from: None, fact: fact.clone() });
        self.log.write(effects, |_| fact);
    }
}

/// Whether what stands there is a later word than what is heard. Of one allocation the last renewal counts, whoever heard of
/// it: its holder was answered. No owner dates a renewal before the one it follows.
fn is_later(there: &Allocation, heard: &Allocation) -> bool {
    let one = there.span == heard.span
        && there.subscriber == heard.subscriber
        && there.key() == heard.key()
        && there.created_ms() == heard.created_ms();
    let renewals = if one { there.renewed_ms().cmp(&heard.renewed_ms()) } else { std::cmp::Ordering::Equal };
    renewals.then(there.epoch.cmp(&heard.epoch)).is_gt()
}

/// Whether a rest ends just this allocation. Within a term words come in order.
fn is_meant(rest: &Resting, held: &Allocation) -> bool {
    let same = || {
        held.subscriber == rest.subscriber
            && held.key() == rest.key.as_ref()
            && (held.created_ms(), held.renewed_ms()) == (rest.created_ms, rest.renewed_ms)
    };
    held.epoch == rest.epoch || (held.epoch < rest.epoch && same())
}
