//! Which span a request gets: what is reserved for the subscriber, else what he held and still rests, else what the
//! strategy chooses, else (unless the pool is strict) what rested longest.

use std::sync::Arc;

use super::PoolState;
use crate::allocation::Allocation;
use crate::clock::Clock;
use crate::command::{AllocateRequest, Choice, CommandError};
use crate::hash;
use crate::holders::Holders;
use crate::id::{Key, PoolId, PoolUid, RealmUid, SubscriberId};
use crate::plan::{Plan, Strategy, inside};
use crate::pool::Alignment;
use crate::rules::{Rule, Rules};
use crate::space::{Blocked, Want};
use crate::span::Span;
use crate::stock::Stock;
use crate::tenure::{Detour, Tenure};

/// How many places are looked at to name the holder of part of a span, where lengths differ.
const PROBES: u128 = 4_096;

/// A request and what is needed to judge it.
#[derive(Debug)]
pub(super) struct Seek<'a> {
    pub(super) state: &'a PoolState,
    pub(super) holders: &'a Holders,
    pub(super) clock: &'a Clock,
    pub(super) rules: Rules,
    /// `None`: nothing was ever held there.
    pub(super) realm: Option<RealmUid>,
    pub(super) subscriber: &'a SubscriberId,
    pub(super) key: Option<&'a Key>,
    pub(super) plan: &'a Plan,
    pub(super) draw: u64,
}

/// A span to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Span,
    pub(super) why: Choice,
}

/// Why nothing can be handed out as things stand.
#[derive(Debug)]
pub(super) enum Obstacle {
    Refused(CommandError),
    /// Its lease is over: end it, then look again.
    Lapsed(Arc<Allocation>),
    /// The rest that begins here is over: end it, then look again.
    Rested(u128),
    /// Nothing is left; ended leases and rests that wait for their turn may help.
    Short,
}

impl<'a> Seek<'a> {
    pub(super) fn new(
        request: &'a AllocateRequest,
        state: &'a PoolState,
        holders: &'a Holders,
        clock: &'a Clock,
        rules: Rules,
        realm: Option<RealmUid>,
        draw: u64,
    ) -> Self {
        let AllocateRequest { subscriber, key, plan, .. } = request;
        Self { state, holders, clock, rules, realm, subscriber, key: key.as_ref(), plan, draw }
    }

    pub(super) fn find(&self, stock: &mut Stock) -> Result<Found, Obstacle> {
        match self.plan.at {
            Some(span) => self.asked(stock, span),
            None => self.anywhere(stock),
        }
    }

    fn anywhere(&self, stock: &mut Stock) -> Result<Found, Obstacle> {
        self.check_length(self.plan.len).map_err(Obstacle::Refused)?;
        if let Some(found) = self.own(stock)? {
            return Ok(found);
        }
        let terms = &self.state.pool.draft.terms;
        let strategy = self.plan.strategy.unwrap_or(terms.strategy);
        if strategy == Strategy::Exact {
            return Err(Obstacle::Refused(CommandError::MustBeAsked { pool: self.pool_id() }));
        }
        let want = Want {
            len: self.plan.len,
            within: &self.plan.within,
            strategy,
            hash: if strategy == Strategy::Hash { self.position() } else { 0 },
            draw: self.draw,
        };
        if let Some(span) = stock.choose(&want) {
            return Ok(Found { span, why: Choice::Strategy });
        }
        let rested = stock.rests().over(self.clock.now_ms()).is_some();
        if rested || terms.strict || !self.rules.keep(Rule::RestingIsFree) {
            return Err(Obstacle::Short);
        }
        let longest = stock.rests().longest(self.plan.len, &self.plan.within).map(|rest| rest.span);
        let span = longest.or_else(|| stock.choose_claimable(&Want { strategy: Strategy::FirstFree, ..want }));
        span.map(|span| Found { span, why: Choice::LongestRested }).ok_or(Obstacle::Short)
    }

    /// What is reserved for the subscriber, or what he held and still rests.
    fn own(&self, stock: &Stock) -> Result<Option<Found>, Obstacle> {
        let fits = |span: Span| {
            let sizing = self.state.pool.draft.geometry.sizing;
            let long = span.len() == self.plan.len || self.plan.len == sizing.default_len;
            long && inside(&self.plan.within, span)
        };
        let mut reserved = stock.reservations().of(self.subscriber).map(|reservation| reservation.span);
        if let Some(span) = reserved.find(|span| fits(*span) && self.holder_at(span.start()).is_none()) {
            self.check_open(stock, span)?;
            self.check_known(stock, span)?;
            return Ok(Some(Found { span, why: Choice::Reserved }));
        }
        let rest = stock.rests().own(self.subscriber, self.key, fits);
        Ok(rest.map(|rest| Found { span: rest.span, why: Choice::Sticky }))
    }

    /// Exactly one span, if it is free or the subscriber's own.
    fn asked(&self, stock: &Stock, span: Span) -> Result<Found, Obstacle> {
        self.check_length(span.len()).map_err(Obstacle::Refused)?;
        match stock.check(span) {
            Ok(_) => self.check_open(stock, span).map(|()| Found { span, why: Choice::Asked }),
            Err(Blocked::Taken) => {
                self.check_owned(stock, span)?;
                let found = self.contested(stock, span)?;
                // Resting or reserved, it is still where nothing may be handed out.
                self.check_open(stock, span).map(|()| found)
            }
            Err(blocked) => Err(Obstacle::Refused(self.blocked(blocked, span))),
        }
    }

    /// Whether enough hosts know that the subscriber gave up what is reserved for him, where he had it under another key.
    fn check_known(&self, stock: &Stock, span: Span) -> Result<(), Obstacle> {
        if stock.reservations().is_in_limbo_for_another(span.start(), self.key) {
            return Err(Obstacle::Refused(CommandError::Withheld { pool: self.pool_id() }));
        }
        Ok(())
    }

    /// Whether this host hands out where the span lies; if not, who decides.
    fn check_open(&self, stock: &Stock, span: Span) -> Result<(), Obstacle> {
        if stock.is_open(span) {
            return Ok(());
        }
        self.check_owned(stock, span)?;
        Err(Obstacle::Refused(CommandError::Withheld { pool: self.pool_id() }))
    }

    /// Whether this host answers for what lies there.
    fn check_owned(&self, stock: &Stock, span: Span) -> Result<(), Obstacle> {
        if stock.is_open(span) {
            return Ok(());
        }
        let owner = self.state.layout.place(span).ok().map(|shard| self.state.tenure(shard).1);
        match owner {
            Some(Tenure::Theirs(owner)) => {
                let detour = Detour::Space(vec![owner]);
                Err(Obstacle::Refused(CommandError::elsewhere(self.pool_id(), detour)))
            }
            Some(Tenure::Silent) => Err(Obstacle::Refused(CommandError::Withheld { pool: self.pool_id() })),
            Some(Tenure::Escrow | Tenure::Leased | Tenure::Kept) | None => Ok(()),
        }
    }

    /// Who stands in the way of a span of which some is not free.
    fn contested(&self, stock: &Stock, span: Span) -> Result<Found, Obstacle> {
        if let Some(holder) = self.holder_of(span) {
            return Err(self.standing(&holder, span));
        }
        if let Some(reservation) = stock.reservations().touching(span) {
            let own = reservation.subscriber == *self.subscriber || !self.rules.keep(Rule::Reserved);
            let own = own && reservation.span == span;
            let by = Some(reservation.subscriber.clone());
            if !own {
                let pool = self.pool_id();
                return Err(Obstacle::Refused(CommandError::ReservedForAnother { pool, span, by }));
            }
            self.check_known(stock, span)?;
            return Ok(Found { span, why: Choice::Reserved });
        }
        let mut resting = Span::len(span);
        let mut until_ms = None;
        for rest in stock.rests().touching(span) {
            let ends_ms = self.clock.rest_end(rest.until_ms, rest.seq);
            let limbo = stock.rests().is_in_limbo(rest.span.start());
            if ends_ms <= self.clock.now_ms() && !limbo {
                return Err(Obstacle::Rested(rest.span.start()));
            }
            let same = rest.span == span && rest.key.as_ref() == self.key;
            if limbo && !same && rest.subscriber == *self.subscriber {
                // With a part of it the rest of it would come out of limbo, too, and be anybody's.
                return Err(Obstacle::Refused(CommandError::Withheld { pool: self.pool_id() }));
            }
            resting -= rest.span.intersection(span).map_or(0, Span::len);
            if rest.subscriber != *self.subscriber {
                until_ms = until_ms.max(Some(ends_ms));
            }
        }
        let pool = self.pool_id();
        match until_ms {
            Some(until_ms) => Err(Obstacle::Refused(CommandError::RestingForAnother { pool, span, until_ms })),
            None if resting == 0 || self.rest_is_free(stock, span) => Ok(Found { span, why: Choice::Sticky }),
            None => Err(Obstacle::Refused(CommandError::Held { pool, span, by: None })),
        }
    }

    /// What of the span does not rest is free: asked gap by gap, in grains.
    fn rest_is_free(&self, stock: &Stock, span: Span) -> bool {
        let step = self.state.pool.draft.geometry.sizing.min_len;
        let mut at = span.start();
        let mut probes = 0;
        while at < span.end() && probes < PROBES {
            let Some(piece) = Span::new(at, step) else { return false };
            let rests = stock.rests().touching(piece).next().map(|rest| rest.span.end());
            match rests {
                Some(end) => at = end,
                None if stock.check(piece).is_ok() => at += step,
                None => return false,
            }
            probes += 1;
        }
        at >= span.end()
    }

    /// An allocation in the way: over already, or a conflict.
    fn standing(&self, holder: &Arc<Allocation>, span: Span) -> Obstacle {
        if self.clock.trusted()
            && holder
                .expires_ms()
                .is_some_and(|end| self.clock.lease_end(end.get(), holder.seq()) <= self.clock.now_ms())
        {
            return Obstacle::Lapsed(Arc::clone(holder));
        }
        Obstacle::Refused(CommandError::Held { pool: self.pool_id(), span, by: Some(holder.subscriber.clone()) })
    }

    fn holder_at(&self, start: u128) -> Option<&'a Arc<Allocation>> {
        self.holders.starting_at(self.pool_uid(), self.realm?, start)
    }

    /// Somebody who holds part of the span. Where all lengths are one, a single look; else the places where an allocation
    /// that reaches in may begin are tried, up to a bound: beyond it the conflict stands, without a name.
    fn holder_of(&self, span: Span) -> Option<Arc<Allocation>> {
        if let Some(exactly) = self.holder_at(span.start()) {
            return Some(Arc::clone(exactly));
        }
        let sizing = self.state.pool.draft.geometry.sizing;
        if sizing.min_len == sizing.max_len {
            return None;
        }
        let intersects = |held: &&Arc<Allocation>| held.span.intersects(span);
        let inside = (1..PROBES).map_while(|n| {
            let start = span.start() + sizing.min_len.checked_mul(n)?;
            (start < span.end()).then_some(start)
        });
        let reaching: Vec<u128> = match sizing.align {
            Alignment::Natural => {
                let longer =
                    (0..128).map_while(|shift| span.len().checked_shl(shift)).take_while(|len| *len <= sizing.max_len);
                longer.map(|len| span.start() - span.start() % len).collect()
            }
            Alignment::Origin => {
                let grain = self.state.pool.draft.geometry.grain;
                let back = (1..PROBES).map_while(|n| grain.checked_mul(n)).take_while(|back| *back < sizing.max_len);
                back.map_while(|back| span.start().checked_sub(back)).collect()
            }
        };
        let mut starts = inside.chain(reaching);
        starts.find_map(|start| self.holder_at(start).filter(intersects).cloned())
    }

    fn check_length(&self, len: u128) -> Result<(), CommandError> {
        let geometry = &self.state.pool.draft.geometry;
        let sizing = geometry.sizing;
        let allowed = (sizing.min_len..=sizing.max_len).contains(&len)
            && len.is_multiple_of(geometry.grain)
            && (sizing.align == Alignment::Origin || len.is_power_of_two());
        if allowed {
            Ok(())
        } else {
            Err(CommandError::LengthRefused { pool: self.pool_id(), len, sizing: Box::new(sizing) })
        }
    }

    fn blocked(&self, blocked: Blocked, span: Span) -> CommandError {
        blocked_error(&self.state.pool.draft.id, blocked, span, self.state)
    }

    /// Where strategy `hash` begins to look. Not keyed: the same on every host.
    fn position(&self) -> u64 {
        let state = hash::bytes(0, self.subscriber.as_str().as_bytes());
        self.key.map_or(state, |key| hash::bytes(state, key.as_str().as_bytes()))
    }

    fn pool_uid(&self) -> PoolUid {
        self.state.pool.uid
    }

    fn pool_id(&self) -> PoolId {
        self.state.pool.draft.id.clone()
    }
}

/// Why the space of a pool cannot give a span, as an answer.
pub(super) fn blocked_error(pool: &PoolId, blocked: Blocked, span: Span, state: &PoolState) -> CommandError {
    let pool = pool.clone();
    match blocked {
        Blocked::Outside => CommandError::OutsidePool { pool, span },
        Blocked::Misaligned => CommandError::Misaligned { pool, span },
        Blocked::Excluded => CommandError::Excluded { pool, span },
        Blocked::Taken => CommandError::Held { pool, span, by: None },
        Blocked::Length => {
            CommandError::LengthRefused { pool, len: span.len(), sizing: Box::new(state.pool.draft.geometry.sizing) }
        }
    }
}
