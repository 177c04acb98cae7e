//! Renewing, releasing and expiring: how an allocation lasts and how it ends.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::Kernel;
use super::allocate::Site;
use crate::allocation::{Allocation, AllocationKind, EndCause, Resting};
use crate::command::{AllocationTarget, CommandError, Reply, Ttl};
use crate::effects::Effects;
use crate::fact::Fact;
use crate::id::{Epoch, PoolUid, RealmUid};
use crate::pool::{Durability, LeaseTerms, PoolTerms};
use crate::rules::Rule;
use crate::stock::{Afterwards, Stock};
use crate::tenure::{Leg, Tenure};

/// From this hold-down on, a pool's allocations are sticky.
const STICKY_MS: u64 = 3_600_000;

/// When a lease ends that is asked for now, and of which kind the allocation is. `former` is how long the lease was that
/// is renewed: a pool without terms of its own goes on with what was asked for at first.
pub(super) fn term(
    terms: &PoolTerms,
    ttl: Ttl,
    former: Option<u64>,
    now_ms: u64,
) -> (Option<NonZeroU64>, AllocationKind) {
    let lease_ms = match (ttl, terms.lease) {
        (Ttl::Permanent, _) => return (None, AllocationKind::Permanent),
        (Ttl::Default, LeaseTerms::None) => former,
        (Ttl::Millis(asked_ms), LeaseTerms::None) => Some(asked_ms),
        (Ttl::Default, LeaseTerms::Timed { default_ms, .. }) => Some(default_ms),
        (Ttl::Millis(asked_ms), LeaseTerms::Timed { min_ms, max_ms, .. }) => Some(asked_ms.min(max_ms).max(min_ms)),
    };
    let kind = if terms.hold_down_ms >= STICKY_MS { AllocationKind::Sticky } else { AllocationKind::Session };
    (lease_ms.and_then(|lease_ms| NonZeroU64::new(now_ms.saturating_add(lease_ms.max(1)))), kind)
}

/// Whether what is asked for lasts for ever in a pool whose allocations do not.
pub(super) const fn outlasts(terms: Option<LeaseTerms>, ttl: Ttl) -> bool {
    matches!((terms, ttl), (Some(LeaseTerms::Timed { .. }), Ttl::Permanent))
}

impl Kernel {
    pub(super) fn renew(
        &mut self,
        leg: Leg,
        target: &AllocationTarget,
        ttl: Ttl,
        effects: &mut Effects,
    ) -> Result<Reply, CommandError> {
        let pool = self.open_pool(target.pool)?.pool.draft.id.clone();
        let held = self.live(leg, target, effects)?;
        self.check_stands(&held)?;
        if held.expires_ms().is_none() {
            return Err(CommandError::NoLease { pool });
        }
        let allocation = self.renew_lease(&held, ttl, effects);
        Ok(Reply::Renewed { allocation, durability: Durability::Local })
    }

    pub(super) fn release(
        &mut self,
        leg: Leg,
        target: &AllocationTarget,
        effects: &mut Effects,
    ) -> Result<Reply, CommandError> {
        let held = self.live(leg, target, effects)?;
        self.end(&held, EndCause::Released, effects);
        Ok(Reply::Released(held))
    }

    /// The allocation that is meant, unless its lease is over: then it is ended here.
    fn live(
        &mut self,
        leg: Leg,
        target: &AllocationTarget,
        effects: &mut Effects,
    ) -> Result<Arc<Allocation>, CommandError> {
        let state = self.pools.get(&target.pool).ok_or(CommandError::PoolUnknown { pool: target.pool })?;
        let pool = state.pool.draft.id.clone();
        let not_held = CommandError::NotHeld { pool: pool.clone() };
        let Some(held) = self.meant(target).cloned() else {
            // Perhaps another host has handed it out just now.
            let detour = self.detour_home(leg, target.pool, &target.subscriber, target.key.as_ref());
            return Err(detour.map_or(not_held, |detour| CommandError::elsewhere(pool, detour)));
        };
        self.check_answers(&held)?;
        if self.lapsed(&held) {
            self.end(&held, EndCause::Expired, effects);
            return Err(not_held);
        }
        Ok(held)
    }

    /// When an allocation's lease ends, by the kept clock.
    fn lease_end(&self, held: &Allocation) -> Option<u64> {
        held.expires_ms().map(|end| self.log.clock.lease_end(end.get(), held.seq()))
    }

    /// True if the lease is over and the clocks can be believed.
    pub(super) fn lapsed(&self, held: &Allocation) -> bool {
        self.expiring() && self.lease_end(held).is_some_and(|end_ms| end_ms <= self.log.clock.now_ms())
    }

    /// Whether leases end at all now: not by what only a part of a snapshot says.
    pub(super) fn expiring(&self) -> bool {
        self.adoption.is_none() && self.trusts_clock()
    }

    fn trusts_clock(&self) -> bool {
        self.log.clock.trusted() || !self.rules.keep(Rule::TrustedClock)
    }

    pub(super) fn renew_lease(&mut self, held: &Arc<Allocation>, ttl: Ttl, effects: &mut Effects) -> Arc<Allocation> {
        let state = self.pools.get(&held.pool).expect("an allocation's pool exists");
        // Of a leased shard nothing lasts for ever: who takes it over waits for the longest lease only.
        let leased = self.cluster.is_some() && state.tenure(held.shard).1 != Tenure::Escrow;
        let lasting = leased && outlasts(Some(state.pool.draft.terms.lease), ttl) && held.expires_ms().is_some();
        let ttl = if lasting && self.rules.keep(Rule::LastingInEscrow) { Ttl::Millis(u64::MAX) } else { ttl };
        // Not before the last renewal, though a former owner's clock may have been ahead: hosts that hear both go by that.
        let now_ms = self.log.clock.now_ms().max(held.renewed_ms());
        let former = held.expires_ms().map(|end| end.get().saturating_sub(held.renewed_ms()));
        let (expires_ms, kind) = term(&state.pool.draft.terms, ttl, former, now_ms);
        let epoch = state.tenure(held.shard).0;
        let renewed = Arc::new(held.renewed(now_ms, expires_ms, kind, self.log.next, epoch));
        self.replace_lease(held, &renewed, effects);
        renewed
    }

    /// Writes the same allocation in this host's own words: what a former owner still says of it does not count any more.
    pub(super) fn take_over(&mut self, held: &Arc<Allocation>, effects: &mut Effects) -> Arc<Allocation> {
        let state = self.pools.get(&held.pool).expect("an allocation's pool exists");
        let epoch = state.tenure(held.shard).0;
        let ours = Arc::new(held.taken_over(epoch, self.log.next));
        self.replace_lease(held, &ours, effects);
        ours
    }

    /// Writes the same allocation with another lease.
    fn replace_lease(&mut self, held: &Arc<Allocation>, renewed: &Arc<Allocation>, effects: &mut Effects) {
        let of = (held.pool, held.realm);
        let former_end = self.lease_end(held);
        self.log.write(effects, |_| Fact::Held(Arc::clone(renewed)));
        self.holders.replace(renewed);
        let new_end = self.lease_end(renewed);
        if let Some(stock) = self.stocks.get_mut(&of) {
            if let Some(end_ms) = former_end {
                self.leases -= usize::from(stock.leases.remove(end_ms, held.seq()));
            }
            if let Some(end_ms) = new_end {
                stock.leases.insert(end_ms, Arc::clone(renewed));
                self.leases += 1;
            }
        }
        self.reschedule(of);
    }

    /// After the wall clock was believed for the first time: finds the leases whose records end too early.
    pub(super) fn find_early(&mut self) {
        let clock = &self.log.clock;
        let leases = self.stocks.values().flat_map(|stock| stock.leases.iter());
        self.early = leases.filter(|lease| clock.shift_of(lease.seq()).is_some()).cloned().collect();
    }

    /// Writes up to `most` of those anew, as they are meant. Gives how many. Only this life knows by how much they are
    /// early: the next one would take them for leases that ended long ago, and end them while their holders count on.
    pub(super) fn rewrite_early(&mut self, most: usize, effects: &mut Effects) -> usize {
        let mut rewritten = 0;
        while rewritten < most
            && let Some(early) = self.early.pop_front()
        {
            let held = self.holders.starting_at(early.pool, early.realm, early.span.start());
            // Whoever renewed or released meanwhile is right already.
            if held.is_none_or(|held| held.seq() != early.seq()) {
                continue;
            }
            let (Some(by_ms), Some(end)) = (self.log.clock.shift_of(early.seq()), early.expires_ms()) else { continue };
            // Begin and end alike: a lease of the same length follows it.
            let renewed_ms = early.renewed_ms().saturating_add(by_ms);
            let expires_ms = Some(end.saturating_add(by_ms));
            let meant = Arc::new(early.renewed(renewed_ms, expires_ms, early.kind(), self.log.next, early.epoch));
            self.replace_lease(&early, &meant, effects);
            rewritten += 1;
        }
        rewritten
    }

    /// Ends an allocation: one fact, which is its history too; then its span rests, waits for who has it reserved, or is
    /// free.
    pub(super) fn end(&mut self, held: &Arc<Allocation>, cause: EndCause, effects: &mut Effects) {
        let of = (held.pool, held.realm);
        let lease_end = self.lease_end(held);
        let state = self.pools.get(&held.pool).expect("an allocation's pool exists");
        let stock = self.stocks.get_mut(&of).expect("an allocation's realm exists");
        self.holders.remove(held);
        if let Some(end_ms) = lease_end {
            self.leases -= usize::from(stock.leases.remove(end_ms, held.seq()));
        }
        let reserved = stock.reservations().exactly(held.span).is_some();
        let rests = !reserved && cause != EndCause::PoolDeleted && self.rules.keep(Rule::HoldDown);
        let hold_down_ms = if rests { state.pool.draft.terms.hold_down_ms } else { 0 };
        let now_ms = self.log.clock.now_ms();
        let epoch = state.tenure(held.shard).0;
        let record = Arc::new(Resting {
            span: held.span,
            pool: held.pool,
            realm: held.realm,
            subscriber: held.subscriber.clone(),
            key: held.key().cloned(),
            node: held.node.clone(),
            created_ms: held.created_ms(),
            ended_ms: now_ms,
            until_ms: now_ms.saturating_add(hold_down_ms),
            cause,
            epoch,
            renewed_ms: if epoch == Epoch(1) { 0 } else { held.renewed_ms() },
            seq: self.log.next,
            name: held.name().map(Into::into),
        });
        self.log.write(effects, |_| Fact::Resting(Arc::clone(&record)));
        let limbo = self.cluster.as_ref().is_some_and(|cluster| cluster.is_unstable(record.seq));
        // What is kept may be leased: it may be taken over before its release is known, too.
        let limbo = limbo && state.tenure(held.shard).1 != Tenure::Escrow && self.rules.keep(Rule::Limbo);
        let afterwards = if limbo && cause != EndCause::PoolDeleted {
            if let Some(cluster) = &mut self.cluster {
                cluster.await_stable(record.seq, of, held.span);
            }
            // The reservation may be removed before a majority knows.
            if reserved { Afterwards::ReservedInLimbo(record) } else { Afterwards::Limbo(record) }
        } else if reserved {
            Afterwards::Reserved
        } else if hold_down_ms == 0 {
            Afterwards::Free
        } else {
            let ends_ms = self.log.clock.rest_end(record.until_ms, record.seq);
            Afterwards::Rests(record, ends_ms)
        };
        stock.let_go(held.span, afterwards);
        self.reschedule(of);
        self.touch(of);
    }

    /// Ends the rest that begins here.
    pub(super) fn wake(&mut self, pool: PoolUid, site: &Site, start: u128) {
        let Some(of) = site.realm().map(|realm| (pool, realm)) else { return };
        if let Some(stock) = self.stocks.get_mut(&of) {
            stock.wake(start);
        }
        self.reschedule(of);
        self.touch(of);
    }

    /// Ends what is over in a (pool, realm) where a request found nothing: rests, and leases if that makes room. Gives how
    /// many, at most `most`.
    pub(super) fn settle(&mut self, pool: PoolUid, site: &Site, most: usize, effects: &mut Effects) -> usize {
        let Some(of) = site.realm().map(|realm| (pool, realm)) else { return 0 };
        let rested = self.wake_over(of, most);
        if rested > 0 || !self.ending_helps(pool) {
            return rested;
        }
        self.expire(of, most, effects)
    }

    /// A strict pool hands out nothing that rests, so ending a lease there helps nobody at once.
    fn ending_helps(&self, pool: PoolUid) -> bool {
        let terms = self.pools.get(&pool).map(|state| &state.pool.draft.terms);
        terms.is_some_and(|terms| !terms.strict || terms.hold_down_ms == 0)
    }

    /// Ends up to `most` rests of a (pool, realm) that are over.
    pub(super) fn wake_over(&mut self, of: (PoolUid, RealmUid), most: usize) -> usize {
        let now_ms = self.log.clock.now_ms();
        let Some(stock) = self.stocks.get_mut(&of) else { return 0 };
        let mut woken = 0;
        while woken < most
            && let Some(start) = stock.rests().over(now_ms)
        {
            stock.wake(start);
            woken += 1;
        }
        self.reschedule(of);
        self.touch(of);
        woken
    }

    /// Ends up to `most` leases of a (pool, realm) that are over.
    pub(super) fn expire(&mut self, of: (PoolUid, RealmUid), most: usize, effects: &mut Effects) -> usize {
        if !self.expiring() {
            return 0;
        }
        let now_ms = self.log.clock.now_ms();
        let Some(stock) = self.stocks.get(&of) else { return 0 };
        let over: Vec<Arc<Allocation>> = stock.leases.ended(now_ms).take(most).cloned().collect();
        for held in &over {
            self.end(held, EndCause::Expired, effects);
        }
        over.len()
    }

    /// Puts a (pool, realm) where it belongs in the agendas.
    pub(super) fn reschedule(&mut self, of: (PoolUid, RealmUid)) {
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        let (lease_due, rest_due) = (stock.leases.first_end(), stock.rests().first_end());
        let Stock { lease_due: lease_stood, rest_due: rest_stood, .. } = stock;
        self.lease_agenda.set(of, lease_stood, lease_due);
        self.rest_agenda.set(of, rest_stood, rest_due);
    }
}
