//! Where a request would go, or why it would fail. Changes nothing: not a record, not a cursor, not the generator.

use super::Kernel;
use super::allocate::{SETTLED, Site};
use super::seek::{Found, Obstacle, Seek};
use crate::allocation::Allocation;
use crate::command::{AllocateRequest, Choice, CommandError, ExplainedOutcome, Explanation, Held, Reply};
use crate::plan::inside;
use crate::stock::Stock;
use crate::tenure::Leg;

/// How many ended leases are looked at for one that would make room.
const LOOKED_AT: usize = 256;

impl Kernel {
    pub(super) fn explain(&mut self, leg: Leg, request: &AllocateRequest) -> Result<Reply, CommandError> {
        let state = self.open_pool(request.pool)?;
        let site = state.site(request.realm_value.as_deref(), &self.realms)?;
        let strategy = request.plan.strategy.unwrap_or(state.pool.draft.terms.strategy);
        let mut fresh = None;
        let realm = site.realm().filter(|realm| self.stocks.contains_key(&(request.pool, *realm)));
        match realm {
            // What is over is over, whether its turn has come or not.
            Some(realm) => {
                self.wake_over((request.pool, realm), SETTLED);
            }
            None => fresh = Some(state.fresh_stock(self.lease_good())),
        }
        let mut outcome = self.outcome(leg, request, &site, &mut fresh);
        if let ExplainedOutcome::WouldFail(error) = &mut outcome
            && let CommandError::Exhausted { .. } = **error
        {
            **error = self.nothing_left(leg, request, &site, None);
        }
        if let ExplainedOutcome::WouldFail(error) = &outcome
            && let elsewhere @ CommandError::Elsewhere { .. } = &**error
        {
            // Whoever owns space here knows.
            return Err(elsewhere.clone());
        }
        let stock = fresh.as_ref().or_else(|| realm.and_then(|realm| self.stocks.get(&(request.pool, realm))));
        let occupancy = stock.map(Stock::occupancy).unwrap_or_default();
        Ok(Reply::Explained(Box::new(Explanation { outcome, realm, occupancy, strategy })))
    }

    fn outcome(
        &mut self,
        leg: Leg,
        request: &AllocateRequest,
        site: &Site,
        fresh: &mut Option<Stock>,
    ) -> ExplainedOutcome {
        let realm = site.realm();
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        let pool = state.pool.draft.id.clone();
        let held = self.held_by(request.pool, &request.subscriber, request.key.as_ref());
        let another = |held: &Allocation| self.may_supersede(held, request, site);
        if let Some(held) = held.filter(|held| !self.lapsed(held) && !another(held)) {
            let allocation = Held(std::sync::Arc::clone(held));
            if realm != Some(held.realm) {
                let error = CommandError::HoldsInOtherRealm { pool, realm: held.realm, allocation };
                return ExplainedOutcome::WouldFail(Box::new(error));
            }
            if request.explicit && !request.asks_for(held.span) {
                return ExplainedOutcome::WouldFail(Box::new(CommandError::HoldsAnother { pool, allocation }));
            }
            return ExplainedOutcome::AlreadyHeld { span: held.span };
        }
        let Ok(confined) = self.confined(request) else {
            return ExplainedOutcome::WouldFail(Box::new(self.nothing_left(leg, request, site, None)));
        };
        let request = confined.as_ref().unwrap_or(request);
        let state = self.pools.get(&request.pool).expect("the pool was found open in this step");
        let expiring = self.expiring();
        let seek = Seek::new(request, state, &self.holders, &self.log.clock, self.rules, realm, self.draws.peek());
        let stock = match realm.and_then(|realm| self.stocks.get_mut(&(request.pool, realm))) {
            Some(stock) => stock,
            None => fresh.as_mut().expect("made when the pool has none in this realm"),
        };
        match seek.find(stock) {
            Ok(Found { span, why }) => ExplainedOutcome::WouldGet { span, why },
            Err(Obstacle::Refused(error)) => ExplainedOutcome::WouldFail(Box::new(error)),
            Err(Obstacle::Lapsed(over)) => after_lapse(request, over.span, stock, &seek),
            Err(Obstacle::Rested(_)) => ExplainedOutcome::WouldGet {
                span: request.plan.at.expect("only an asked-for span is blocked by its rest"),
                why: Choice::Asked,
            },
            Err(Obstacle::Short) => {
                let now_ms = seek.clock.now_ms();
                let over = stock
                    .leases
                    .ended(now_ms)
                    .take(LOOKED_AT)
                    .map(|lease| lease.span)
                    .find(|span| expiring && span.len() == request.plan.len && inside(&request.plan.within, *span));
                match over {
                    Some(span) => after_lapse(request, span, stock, &seek),
                    None => ExplainedOutcome::WouldFail(Box::new(seek.state.exhausted(request, stock.occupancy()))),
                }
            }
        }
    }
}

/// A span whose lease is over but was not ended yet: free, or resting from then on.
fn after_lapse(request: &AllocateRequest, span: crate::span::Span, stock: &Stock, seek: &Seek<'_>) -> ExplainedOutcome {
    let terms = &seek.state.pool.draft.terms;
    let pool = seek.state.pool.draft.id.clone();
    let asked = request.plan.at.is_some();
    if terms.hold_down_ms == 0 {
        let why = if asked { Choice::Asked } else { Choice::Strategy };
        return ExplainedOutcome::WouldGet { span: request.plan.at.unwrap_or(span), why };
    }
    if asked {
        let until_ms = seek.clock.now_ms().saturating_add(terms.hold_down_ms);
        return ExplainedOutcome::WouldFail(Box::new(CommandError::RestingForAnother { pool, span, until_ms }));
    }
    if terms.strict {
        return ExplainedOutcome::WouldFail(Box::new(seek.state.exhausted(request, stock.occupancy())));
    }
    ExplainedOutcome::WouldGet { span, why: Choice::LongestRested }
}
