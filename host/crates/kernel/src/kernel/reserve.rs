//! Reservations: a span kept for a named subscriber.

use std::sync::Arc;

use super::Kernel;
use super::allocate::Site;
use super::seek::blocked_error;
use crate::allocation::{EndCause, Reservation};
use crate::command::{AllocateRequest, CommandError, Reply, ReserveRequest, Ttl};
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{Epoch, PoolUid, RealmUid};
use crate::plan::Plan;
use crate::rules::Rule;
use crate::span::Span;
use crate::stock::{HeldByItsOwn, Stock};
use crate::tenure::{Detour, Tenure};

/// Whether a reservation may be written, and what stands there now.
enum Ground {
    /// Reserved for the same subscriber already.
    Same(Arc<Reservation>),
    /// Free, as far as it does not rest.
    Open,
    /// Held by the very subscriber.
    HeldByItsOwn,
}

impl Kernel {
    pub(super) fn reserve(&mut self, request: ReserveRequest, effects: &mut Effects) -> Result<Reply, CommandError> {
        let state = self.open_pool(request.pool)?;
        let site = state.site(request.realm_value.as_deref(), &self.realms)?;
        let ground = self.ground(&request, &site, effects)?;
        if let Ground::Same(kept) = ground {
            let kept = self.keep_on(kept, effects);
            return self.confirmed(kept, false);
        }
        let known = site.realm().is_some_and(|realm| self.stocks.contains_key(&(request.pool, realm)));
        let fresh = if known { None } else { self.fresh_stock(request.pool) };
        let realm = self.enter(request.pool, &site, request.realm_value.as_deref(), fresh, effects);
        let of = (request.pool, realm);
        self.write_off_rests(of, request.span, effects);
        let reservation = Arc::new(Reservation {
            pool: request.pool,
            realm,
            span: request.span,
            subscriber: request.subscriber,
            // A removal that turns up late names what it removed by this.
            created_ms: self.log.clock.later_stamp(),
            epoch: self.term_of(request.pool, request.span),
            name: request.name,
            note: request.note,
            seq: self.log.next,
        });
        let held_by_its_own = match ground {
            Ground::HeldByItsOwn => HeldByItsOwn::Yes,
            Ground::Open | Ground::Same(_) => HeldByItsOwn::No,
        };
        let stock = self.stocks.get_mut(&of).expect("the realm was entered");
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        stock
            .reserve(Arc::clone(&reservation), held_by_its_own)
            .map_err(|blocked| blocked_error(&state.pool.draft.id, blocked, reservation.span, state))?;
        self.log.write(effects, |_| Fact::Reserved(Arc::clone(&reservation)));
        self.touch(of);
        self.confirmed(reservation, true)
    }

    /// The same reservation as of this host's term: what a former owner may say late of that span was before it.
    fn keep_on(&mut self, kept: Arc<Reservation>, effects: &mut Effects) -> Arc<Reservation> {
        let epoch = self.term_of(kept.pool, kept.span);
        if kept.epoch >= epoch {
            return kept;
        }
        let created_ms = self.log.clock.later_stamp().max(kept.created_ms.saturating_add(1));
        let anew = Arc::new(Reservation { created_ms, epoch, seq: self.log.next, ..(*kept).clone() });
        if let Some(stock) = self.stocks.get_mut(&(kept.pool, kept.realm)) {
            stock.replace_reservation(Arc::clone(&anew));
        }
        self.log.write(effects, |_| Fact::Reserved(Arc::clone(&anew)));
        anew
    }

    fn term_of(&self, pool: PoolUid, span: Span) -> Epoch {
        let term = self.pools.get(&pool).and_then(|state| Some(state.tenure(state.layout.place(span).ok()?).0));
        term.unwrap_or_default()
    }

    /// A reservation has no end that whoever takes a leased shard over could wait for, so it counts once he will hear of it:
    /// he asks a majority.
    fn confirmed(&self, reservation: Arc<Reservation>, created: bool) -> Result<Reply, CommandError> {
        let state = self.open_pool(reservation.pool)?;
        let escrow = state.layout.place(reservation.span).is_ok_and(|shard| state.tenure(shard).1 == Tenure::Escrow);
        let unstable = self.cluster.as_ref().is_some_and(|cluster| cluster.is_unstable(reservation.seq));
        if unstable && !escrow && self.rules.keep(Rule::ReservedKnown) {
            return Err(CommandError::Unconfirmed { pool: state.pool.draft.id.clone(), seq: reservation.seq, created });
        }
        Ok(Reply::Reserved { reservation, created })
    }

    fn fresh_stock(&self, pool: PoolUid) -> Option<Stock> {
        self.pools.get(&pool).map(|state| state.fresh_stock(self.lease_good()))
    }

    /// What stands where a reservation is wanted. It is judged as a request of the subscriber for exactly this span would
    /// be, but that a span he holds himself is fine, and that a resting one may be reserved where it could be handed out.
    fn ground(&mut self, request: &ReserveRequest, site: &Site, effects: &mut Effects) -> Result<Ground, CommandError> {
        let asked = AllocateRequest {
            pool: request.pool,
            subscriber: request.subscriber.clone(),
            key: None,
            realm_value: request.realm_value.clone(),
            plan: Plan::exactly(request.span),
            explicit: true,
            ttl: Ttl::Default,
            node: None,
            metadata: compact_str::CompactString::default(),
            supersedes: None,
        };
        loop {
            if let Some(ground) = self.own_ground(request, site) {
                return Ok(ground);
            }
            let strict = self.pools.get(&request.pool).is_some_and(|state| state.pool.draft.terms.strict);
            match self.seek(&asked, site, 0) {
                Ok(_) => return self.open_ground(request, site),
                Err(super::seek::Obstacle::Lapsed(over)) => self.end(&over, EndCause::Expired, effects),
                Err(super::seek::Obstacle::Rested(start)) => self.wake(request.pool, site, start),
                Err(super::seek::Obstacle::Refused(CommandError::RestingForAnother { .. })) if !strict => {
                    return self.open_ground(request, site);
                }
                Err(super::seek::Obstacle::Refused(error)) => return Err(error),
                Err(super::seek::Obstacle::Short) => unreachable!("only a request for any span finds nothing left"),
            }
        }
    }

    /// What rests may be reserved where this host hands out, once enough hosts know that it was released: another owner could
    /// repeat it to its former holder.
    fn open_ground(&self, request: &ReserveRequest, site: &Site) -> Result<Ground, CommandError> {
        let Some(stock) = site.realm().and_then(|realm| self.stocks.get(&(request.pool, realm))) else {
            return Ok(Ground::Open);
        };
        let limbo = stock.rests().touching(request.span).any(|rest| stock.rests().is_in_limbo(rest.span.start()));
        if limbo || !stock.is_open(request.span) {
            let pool = self.open_pool(request.pool)?.pool.draft.id.clone();
            return Err(CommandError::Withheld { pool });
        }
        Ok(Ground::Open)
    }

    /// The span is the subscriber's already.
    fn own_ground(&self, request: &ReserveRequest, site: &Site) -> Option<Ground> {
        let of = (request.pool, site.realm()?);
        let shard = self.pools.get(&of.0)?.layout.place(request.span).ok()?;
        let term = self.pools.get(&of.0)?.term(shard)?;
        if !term.tenure.answers() || self.is_void(term) {
            return None;
        }
        let stock = self.stocks.get(&of)?;
        if let Some(found) = stock.reservations().exactly(request.span) {
            let same = found.subscriber == request.subscriber;
            return same.then(|| Ground::Same(Arc::clone(found)));
        }
        let held = self.holders.starting_at(of.0, of.1, request.span.start())?;
        let own = held.span == request.span && held.subscriber == request.subscriber && !self.lapsed(held);
        own.then_some(Ground::HeldByItsOwn)
    }

    /// What rests where the reservation is written rests no more; the log must not bring it back.
    fn write_off_rests(&mut self, of: (PoolUid, RealmUid), span: Span, effects: &mut Effects) {
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        let resting: Vec<Span> = stock.rests().touching(span).map(|rest| rest.span).collect();
        for rest in resting {
            stock.wake(rest.start());
            self.log.write(effects, |_| Fact::Free(SpanKey { pool: of.0, realm: of.1, span: rest }));
        }
        self.reschedule(of);
    }

    pub(super) fn unreserve(
        &mut self,
        pool: PoolUid,
        realm_value: Option<&str>,
        span: Span,
        effects: &mut Effects,
    ) -> Result<Reply, CommandError> {
        let state = self.open_pool(pool)?;
        let not_reserved = CommandError::NotReserved { pool: state.pool.draft.id.clone(), span };
        let site = state.site(realm_value, &self.realms)?;
        let Some(realm) = site.realm() else { return Err(not_reserved) };
        if let Ok(shard) = state.layout.place(span) {
            let pool = state.pool.draft.id.clone();
            let void = state.term(shard).is_some_and(|term| self.is_void(term));
            match state.tenure(shard).1 {
                Tenure::Theirs(owner) => {
                    return Err(CommandError::elsewhere(pool, Detour::Space(vec![owner])));
                }
                Tenure::Silent => return Err(CommandError::Withheld { pool }),
                Tenure::Escrow | Tenure::Leased | Tenure::Kept if void => return Err(CommandError::Withheld { pool }),
                Tenure::Escrow | Tenure::Leased | Tenure::Kept => {}
            }
        }
        let of = (pool, realm);
        let held = self.holders.starting_at(pool, realm, span.start()).is_some_and(|held| held.span == span);
        let held_by_its_own = if held { HeldByItsOwn::Yes } else { HeldByItsOwn::No };
        let removed = self.stocks.get_mut(&of).and_then(|stock| stock.unreserve(span, held_by_its_own));
        let Some(reservation) = removed else { return Err(not_reserved) };
        self.log.write(effects, |_| Fact::unreserved(&reservation));
        self.touch(of);
        Ok(Reply::Unreserved(reservation))
    }
}
