//! Allocating: repeat what is held, else hand out what [`Seek`] finds, else wait for what has ended, else refuse.

use std::sync::Arc;

use super::seek::{Found, Obstacle, Seek};
use super::{Kernel, PoolState, cluster};
use crate::allocation::{Allocation, AllocationExtra, AllocationParts, EndCause, Superseded};
use crate::command::{AllocateRequest, CommandError, Held, Reply, RequestId};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::holders::Place;
use crate::id::{PoolUid, RealmName, RealmUid};
use crate::plan::{Plan, Strategy};
use crate::pool::{Durability, Occupancy};
use crate::rules::Rule;
use crate::span::Span;
use crate::stock::Stock;
use crate::tenure::{Detour, Leg, Tenure};

/// Most realms one pool may serve.
pub(super) const REALMS: usize = 65_536;

/// Most ended leases and rests one request ends before it looks again for free space and, if there is none, waits.
pub(super) const SETTLED: usize = 1_000;

/// Requests that wait for leases to be ended. Each alarm tries one of them again.
const MOST_PARKED: usize = 4_096;

/// Where a request's resource would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Site {
    Known(RealmUid),
    /// Nobody ever used it in this pool.
    New(RealmName),
}

/// Whose a new allocation is going to be.
struct ForWhom {
    place: Place,
    /// What he holds and cannot be answered.
    supersedes: Option<Box<Superseded>>,
}

/// Where a request stands after one try.
enum Outcome {
    Answered(Reply),
    /// Leases that have ended must be ended first, more than one step may.
    Wait,
}

impl Kernel {
    pub(super) fn allocate(&mut self, id: RequestId, leg: Leg, request: Box<AllocateRequest>, effects: &mut Effects) {
        match self.try_allocate(leg, &request, effects) {
            Ok(Outcome::Answered(reply)) => effects.replies.push((id, Ok(reply))),
            Ok(Outcome::Wait) => self.park(id, leg, request, effects),
            Err(error) => effects.replies.push((id, Err(error))),
        }
    }

    /// Keeps a request until more leases are ended, or says that too many wait: a queue without end would only be where
    /// they are forgotten.
    fn park(&mut self, id: RequestId, leg: Leg, request: Box<AllocateRequest>, effects: &mut Effects) {
        if self.parked.len() >= MOST_PARKED {
            effects.replies.push((id, Err(CommandError::Crowded { limit: MOST_PARKED })));
        } else {
            self.parked.push_back((id, leg, request));
        }
    }

    fn try_allocate(
        &mut self,
        leg: Leg,
        request: &AllocateRequest,
        effects: &mut Effects,
    ) -> Result<Outcome, CommandError> {
        let state = self.open_pool(request.pool)?;
        let pool = state.pool.draft.id.clone();
        let site = state.site(request.realm_value.as_deref(), &self.realms)?;
        let mut supersedes = request.supersedes.clone();
        // If the lease of the one that stands is over, another one may stand in its place.
        while let Some(held) = self.held_by(request.pool, &request.subscriber, request.key.as_ref())
            && self.rules.keep(Rule::Idempotent)
        {
            let held = Arc::clone(held);
            match self.check_answers(&held) {
                Ok(()) if self.lapsed(&held) => self.end(&held, EndCause::Expired, effects),
                Ok(()) => return self.repeat(&held, request, &site, effects).map(Outcome::Answered),
                Err(_) if self.may_supersede(&held, request, &site) => {
                    supersedes = Some(Box::new(held.as_superseded()));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(detour) = self.detour_home(leg, request.pool, &request.subscriber, request.key.as_ref()) {
            return Err(CommandError::Elsewhere { pool, detour, supersedes });
        }
        let Ok(confined) = self.confined(request) else {
            return Err(self.nothing_left(leg, request, &site, supersedes));
        };
        let place = self.holders.place(request.pool, &request.subscriber, request.key.as_ref());
        let draw = self.draw(request);
        let mut settled = 0;
        loop {
            match self.seek(confined.as_ref().unwrap_or(request), &site, draw) {
                Ok((found, fresh)) => {
                    let for_whom = ForWhom { place, supersedes };
                    let allocation = self.hand_out(request, &site, for_whom, found, fresh, effects)?;
                    let durability = Durability::Local;
                    return Ok(Outcome::Answered(Reply::Allocated { allocation, created: true, durability }));
                }
                Err(Obstacle::Refused(error)) => return Err(error),
                Err(Obstacle::Lapsed(over)) => self.end(&over, EndCause::Expired, effects),
                Err(Obstacle::Rested(start)) => self.wake(request.pool, &site, start),
                Err(Obstacle::Short) if settled >= SETTLED => return Ok(Outcome::Wait),
                Err(Obstacle::Short) => match self.settle(request.pool, &site, SETTLED - settled, effects) {
                    0 => return Err(self.nothing_left(leg, request, &site, supersedes)),
                    ended => settled += ended,
                },
            }
        }
    }

    /// Whether a request wants for ever what others get for a time, of one host of several.
    fn is_lasting(&self, request: &AllocateRequest) -> bool {
        let terms = self.pools.get(&request.pool).map(|state| state.pool.draft.terms.lease);
        self.cluster.is_some() && super::lease::outlasts(terms, request.ttl) && self.rules.keep(Rule::LastingInEscrow)
    }

    /// Such a request, asked of this host's escrow only; `Err`: nothing there can be meant. Whoever takes a leased shard over waits
    /// until the longest lease is over, so what was handed out for longer, and unheard, would be handed out again.
    pub(super) fn confined(&self, request: &AllocateRequest) -> Result<Option<AllocateRequest>, ()> {
        let Some(state) = self.pools.get(&request.pool).filter(|_| self.is_lasting(request)) else { return Ok(None) };
        let tenure = |shard| state.tenure(shard).1;
        if let Some(at) = request.plan.at {
            let shard = state.layout.place(at).ok().map(tenure);
            let ours = shard.is_some_and(|tenure| !tenure.is_theirs() && tenure != Tenure::Escrow);
            return if ours { Err(()) } else { Ok(None) };
        }
        let escrow =
            state.pool.shards.iter().filter(|shard| tenure(shard.id) == Tenure::Escrow).map(|shard| shard.cover);
        let asked = &request.plan.within;
        let within: Vec<Span> = if asked.is_empty() {
            escrow.collect()
        } else {
            escrow.flat_map(|cover| asked.iter().filter_map(move |part| cover.intersection(*part))).collect()
        };
        if within.is_empty() {
            return Err(());
        }
        let plan = Plan { within, ..request.plan.clone() };
        Ok(Some(AllocateRequest { plan, ..request.clone() }))
    }

    /// The generator moves on only for who uses it.
    fn draw(&mut self, request: &AllocateRequest) -> u64 {
        let pool = self.pools.get(&request.pool).map(|state| state.pool.draft.terms.strategy);
        if request.plan.strategy.or(pool) == Some(Strategy::Random) { self.draws.next() } else { 0 }
    }

    /// Looks for a span. A (pool, realm) that does not exist yet is made up and handed back, to be kept if it is used.
    pub(super) fn seek(
        &mut self,
        request: &AllocateRequest,
        site: &Site,
        draw: u64,
    ) -> Result<(Found, Option<Stock>), Obstacle> {
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        let realm = site.realm();
        let seek = Seek::new(request, state, &self.holders, &self.log.clock, self.rules, realm, draw);
        if let Some(stock) = realm.and_then(|realm| self.stocks.get_mut(&(request.pool, realm))) {
            return seek.find(stock).map(|found| (found, None));
        }
        let mut fresh = state.fresh_stock(self.cluster.as_ref().is_none_or(cluster::Cluster::lease_good));
        seek.find(&mut fresh).map(|found| (found, Some(fresh)))
    }

    fn hand_out(
        &mut self,
        request: &AllocateRequest,
        site: &Site,
        ForWhom { place, supersedes }: ForWhom,
        found: Found,
        fresh: Option<Stock>,
        effects: &mut Effects,
    ) -> Result<Arc<Allocation>, CommandError> {
        let realm = self.enter(request.pool, site, request.realm_value.as_deref(), fresh, effects);
        let of = (request.pool, realm);
        self.clear(of, found.span, effects);
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        let stock = self.stocks.get_mut(&of).expect("the realm was entered");
        let shard = stock.hold(found.span);
        let shard =
            shard.map_err(|blocked| super::seek::blocked_error(&state.pool.draft.id, blocked, found.span, state))?;
        let now_ms = self.log.clock.now_ms();
        let (expires_ms, kind) = super::lease::term(&state.pool.draft.terms, request.ttl, None, now_ms);
        let node = request.node.as_ref().map(|node| self.nodes.intern(node));
        let rare = request.key.is_some() || !request.metadata.is_empty() || supersedes.is_some();
        let extra = rare.then(|| {
            let (key, metadata) = (request.key.clone(), request.metadata.clone());
            Box::new(AllocationExtra { key, metadata, supersedes })
        });
        let allocation = Arc::new(Allocation::new(AllocationParts {
            span: found.span,
            subscriber: request.subscriber.clone(),
            pool: request.pool,
            realm,
            shard,
            epoch: state.tenure(shard).0,
            created_ms: now_ms,
            renewed_ms: now_ms,
            expires_ms,
            seq: self.log.next,
            node,
            extra,
            kind,
        }));
        self.log.write(effects, |_| Fact::Held(Arc::clone(&allocation)));
        self.holders.insert(place, Arc::clone(&allocation));
        if let Some(end) = allocation.expires_ms() {
            stock.leases.insert(self.log.clock.lease_end(end.get(), allocation.seq()), Arc::clone(&allocation));
            self.leases += 1;
            self.reschedule(of);
        }
        self.touch(of);
        Ok(allocation)
    }

    /// Makes a (pool, realm) that is used for the first time.
    pub(super) fn enter(
        &mut self,
        pool: PoolUid,
        site: &Site,
        realm_value: Option<&str>,
        fresh: Option<Stock>,
        effects: &mut Effects,
    ) -> RealmUid {
        let state = self.pools.get_mut(&pool).expect("the pool was found open in this step");
        let realm = match site {
            Site::Known(realm) => *realm,
            Site::New(name) => {
                let tenant = state.realm_tenant().cloned();
                self.realms.enter(tenant.as_ref(), name.clone(), &mut self.log, effects)
            }
        };
        if let Some(fresh) = fresh {
            if let Some(value) = realm_value.filter(|_| state.base.is_none()) {
                state.by_value.insert(value.into(), realm);
            }
            self.stocks.entry((pool, realm)).or_insert(fresh);
        }
        realm
    }

    /// Ends the rests in a span that is about to be held. Those of another length are written off: the allocation's fact
    /// does not replace theirs.
    fn clear(&mut self, of: (PoolUid, RealmUid), span: Span, effects: &mut Effects) {
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        if stock.rests().positions() == 0 {
            return;
        }
        let replaced: Vec<Span> = stock.rests().touching(span).map(|rest| rest.span).collect();
        for rest in replaced {
            stock.wake(rest.start());
            if rest != span && self.rules.keep(Rule::FreeReplaced) {
                self.log.write(effects, |_| Fact::Free(SpanKey { pool: of.0, realm: of.1, span: rest }));
            }
        }
        self.reschedule(of);
    }

    /// What the subscriber holds already: the same answer, with a new lease if it has one.
    fn repeat(
        &mut self,
        held: &Arc<Allocation>,
        request: &AllocateRequest,
        site: &Site,
        effects: &mut Effects,
    ) -> Result<Reply, CommandError> {
        let state = self.open_pool(request.pool)?;
        let pool = state.pool.draft.id.clone();
        if site.realm() != Some(held.realm) {
            return Err(CommandError::HoldsInOtherRealm {
                pool,
                realm: held.realm,
                allocation: Held(Arc::clone(held)),
            });
        }
        if request.explicit && !request.asks_for(held.span) {
            return Err(CommandError::HoldsAnother { pool, allocation: Held(Arc::clone(held)) });
        }
        let allocation = match held.expires_ms() {
            Some(_) => self.renew_lease(held, request.ttl, effects),
            None if state.tenure(held.shard).0 != held.epoch => self.take_over(held, effects),
            None => Arc::clone(held),
        };
        Ok(Reply::Allocated { allocation, created: false, durability: Durability::Local })
    }

    /// Nothing is left here: perhaps another host has space.
    pub(super) fn nothing_left(
        &self,
        leg: Leg,
        request: &AllocateRequest,
        site: &Site,
        supersedes: Option<Box<Superseded>>,
    ) -> CommandError {
        let pool = self.pools.get(&request.pool).map(|state| state.pool.draft.id.clone());
        let Some(pool) = pool else { return CommandError::PoolUnknown { pool: request.pool } };
        let owners = if leg == Leg::Space { Vec::new() } else { self.other_owners(request) };
        if !owners.is_empty() {
            // Only the home asks for space elsewhere: whoever sent this here because of what had been held must come again for
            // that, or two hosts look for the same subscriber.
            let home = self.own_number().filter(|_| leg == Leg::Owner);
            let detour = home.map_or(Detour::Space(owners), Detour::Home);
            return CommandError::Elsewhere { pool, detour, supersedes };
        }
        let owns_more = || {
            let state = self.pools.get(&request.pool);
            state.is_some_and(|state| state.tenures.iter().any(|term| term.tenure == Tenure::Leased))
        };
        if self.keeps_some(request.pool) || (self.is_lasting(request) && owns_more()) {
            return CommandError::Withheld { pool };
        }
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        let stock = site.realm().and_then(|realm| self.stocks.get(&(request.pool, realm)));
        let occupancy = stock.map_or_else(|| state.fresh_stock(true).occupancy(), Stock::occupancy);
        state.exhausted(request, occupancy)
    }

    /// Tries again the request that waits longest.
    pub(super) fn retry_parked(&mut self, effects: &mut Effects) {
        if let Some((id, leg, request)) = self.parked.pop_front() {
            self.allocate(id, leg, request, effects);
        }
    }
}

impl AllocateRequest {
    /// Whether a span is what an explicit request names.
    pub(super) fn asks_for(&self, held: Span) -> bool {
        self.plan.at.map_or(self.plan.len == held.len(), |asked| asked == held)
    }
}

impl Site {
    pub(super) fn realm(&self) -> Option<RealmUid> {
        match self {
            Self::Known(realm) => Some(*realm),
            Self::New(_) => None,
        }
    }
}

impl PoolState {
    /// That nothing is left in the shards of this host.
    pub(super) fn exhausted(&self, request: &AllocateRequest, occupancy: Occupancy) -> CommandError {
        let owned = self.tenures.iter().filter(|term| !term.tenure.is_theirs()).count();
        CommandError::Exhausted {
            pool: self.pool.draft.id.clone(),
            len: request.plan.len,
            occupancy: Box::new(occupancy),
            shards: u32::try_from(owned).unwrap_or(u32::MAX),
        }
    }

    /// Whose realm names the pool's realms are among; `None`: the shared ones.
    pub(super) fn realm_tenant(&self) -> Option<&crate::id::TenantId> {
        (!self.pool.draft.realm.shared).then_some(&self.pool.draft.tenant)
    }

    /// Where a request with this `realm_value` belongs.
    pub(super) fn site(&self, realm_value: Option<&str>, realms: &super::Realms) -> Result<Site, CommandError> {
        if let Some(base) = self.base {
            return Ok(Site::Known(base));
        }
        let pool = || self.pool.draft.id.clone();
        let value = realm_value.ok_or_else(|| CommandError::RealmValueMissing { pool: pool() })?;
        if let Some(realm) = self.by_value.get(value) {
            return Ok(Site::Known(*realm));
        }
        let name = self.realm_name(value)?;
        if self.by_value.len() >= REALMS {
            return Err(CommandError::TooManyRealms { pool: pool(), limit: REALMS });
        }
        Ok(realms.find(self.realm_tenant(), &name).map_or(Site::New(name), Site::Known))
    }

    fn realm_name(&self, value: &str) -> Result<RealmName, CommandError> {
        let invalid = |why: String| {
            let pool = self.pool.draft.id.clone();
            CommandError::RealmValueInvalid { pool, value: value.to_owned(), why }
        };
        if value.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        let name = format!("{}/{value}", self.pool.draft.realm.name);
        name.parse().map_err(|error: crate::id::InvalidId| invalid(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Ttl;
    use crate::id::{PoolUid, Tick};
    use crate::kernel::{KernelSettings, Recovery};
    use crate::plan::Plan;

    #[test]
    fn more_requests_than_the_bound_are_told_to_come_again() {
        let settings = KernelSettings {
            seed: 1,
            restart_grace_ms: 0,
            clock_tolerance_ms: 1_000,
            lease_slack_ms: 0,
            cluster: None,
        };
        let mut kernel = Recovery::new(settings).finish(Tick { boot_ms: 1, wall_ms: 1 });
        let request = AllocateRequest {
            pool: PoolUid(1),
            subscriber: "a".parse().expect("a plain word"),
            key: None,
            realm_value: None,
            plan: Plan::anywhere(1),
            explicit: false,
            ttl: Ttl::Default,
            node: None,
            metadata: compact_str::CompactString::default(),
            supersedes: None,
        };
        let mut effects = Effects::default();
        let most = u64::try_from(MOST_PARKED).expect("it fits");
        for id in 0..=most {
            kernel.park(RequestId(id), Leg::Entry, Box::new(request.clone()), &mut effects);
        }
        assert_eq!(kernel.parked.len(), MOST_PARKED);
        let refused = vec![(RequestId(most), CommandError::Crowded { limit: MOST_PARKED })];
        let told = effects.replies.iter().map(|(id, answer)| (*id, answer.clone().expect_err("refused")));
        assert_eq!(told.collect::<Vec<_>>(), refused);
        // One leaves, one finds room.
        kernel.parked.pop_front();
        kernel.park(RequestId(most), Leg::Entry, Box::new(request), &mut effects);
        assert_eq!((kernel.parked.len(), effects.replies.len()), (MOST_PARKED, 1));
    }
}
