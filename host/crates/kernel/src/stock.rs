//! What one pool has in one realm: free, held, resting and reserved space, counted (I6). Each span is in exactly one of
//! these states; the methods here are the only ways from one to another.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::allocation::{Reservation, Resting};
use crate::id::ShardId;
use crate::leases::Leases;
use crate::plan::Strategy;
use crate::pool::{Occupancy, Pool, Shard};
use crate::reservations::Reservations;
use crate::rest::Rests;
use crate::space::{Blocked, Layout, Space, Want};
use crate::span::Span;

/// The state of one (pool, realm).
#[derive(Debug)]
pub(crate) struct Stock {
    layout: Arc<Layout>,
    space: Space,
    /// The pool's strategy asks for the order of releases.
    ordered: bool,
    /// What is free or rests, as one; only where lengths differ and resting space may be handed out, so that "no aligned
    /// span is left" can be said exactly when free and resting spans together would make a longer one.
    claimable: Option<Space>,
    rests: Rests,
    reservations: Reservations,
    /// Of allocations whose leases this host ends.
    pub(crate) leases: Leases,
    /// Shards that this host hands nothing out of.
    closed: BTreeSet<ShardId>,
    allocations: u64,
    held: u128,
    /// Where it stands in the agendas of leases and of rests.
    pub(crate) lease_due: Option<u64>,
    pub(crate) rest_due: Option<u64>,
}

/// What becomes of a span that is held no more.
#[derive(Debug)]
pub(crate) enum Afterwards {
    Free,
    /// It rests until a moment of the kept clock.
    Rests(Arc<Resting>, u64),
    /// Nobody gets it until enough hosts know that it was released.
    Limbo(Arc<Resting>),
    /// It is reserved, and waits for its subscriber.
    Reserved,
    /// The same, but until enough hosts know that it was released it waits for nobody else, reserved or not.
    ReservedInLimbo(Arc<Resting>),
}

impl Stock {
    /// All free.
    pub(crate) fn new(pool: &Pool, layout: &Arc<Layout>) -> Self {
        let terms = &pool.draft.terms;
        let ordered = terms.strategy == Strategy::OldestFree;
        let space = Space::new(Arc::clone(layout), ordered);
        let mut stock = Self {
            layout: Arc::clone(layout),
            space,
            ordered,
            claimable: None,
            rests: Rests::default(),
            reservations: Reservations::default(),
            leases: Leases::default(),
            closed: BTreeSet::new(),
            allocations: 0,
            held: 0,
            lease_due: None,
            rest_due: None,
        };
        stock.adopt_terms(pool, std::iter::empty());
        stock
    }

    /// Follows an update of the pool; `held` are the spans held here. Gives the rests that ended because their spans are no
    /// longer in the pool.
    pub(crate) fn reshape(&mut self, pool: &Pool, layout: &Arc<Layout>, held: impl Iterator<Item = Span>) -> Vec<Span> {
        self.layout = Arc::clone(layout);
        let rests = self.rests.iter().map(|rest| rest.span);
        let outside: Vec<Span> = rests.filter(|span| layout.place(*span).is_err()).collect();
        for span in &outside {
            self.wake(span.start());
        }
        self.space.reshape(Arc::clone(layout));
        self.claimable = None;
        self.adopt_terms(pool, held);
        outside
    }

    fn adopt_terms(&mut self, pool: &Pool, held: impl Iterator<Item = Span>) {
        let terms = &pool.draft.terms;
        let sizing = pool.draft.geometry.sizing;
        let mixed = sizing.min_len != sizing.max_len;
        if !mixed || terms.strict {
            return;
        }
        let mut claimable = Space::new(Arc::clone(&self.layout), false);
        let limbo = self.rests.iter().map(|rest| rest.span).filter(|span| self.rests.is_in_limbo(span.start()));
        for span in held.chain(self.reservations.iter().map(|reservation| reservation.span)).chain(limbo) {
            // A reserved span that is held comes twice; the second time it is taken already.
            let _first_time = claimable.take(span).is_ok();
        }
        for shard in self.closed.iter().copied() {
            claimable.set_open(shard, false);
        }
        self.claimable = Some(claimable);
    }

    /// From now on this host hands out from the shard, or does not. What happens in it is accounted for all the same.
    pub(crate) fn set_open(&mut self, shard: &Shard, open: bool) {
        if open {
            self.closed.remove(&shard.id)
        } else {
            self.closed.insert(shard.id)
        };
        self.space.set_open(shard.id, open);
        if let Some(claimable) = &mut self.claimable {
            claimable.set_open(shard.id, open);
        }
        self.rests.set_open(shard.cover, open);
    }

    /// Whether this host hands out where the span lies.
    pub(crate) fn is_open(&self, span: Span) -> bool {
        self.space.is_open(span)
    }

    /// A free span, by the strategy.
    pub(crate) fn choose(&mut self, want: &Want<'_>) -> Option<Span> {
        self.space.choose(want)
    }

    /// A span that is free as far as it does not rest.
    pub(crate) fn choose_claimable(&mut self, want: &Want<'_>) -> Option<Span> {
        self.claimable.as_mut()?.choose(want)
    }

    /// Whether a span is free.
    pub(crate) fn check(&self, span: Span) -> Result<ShardId, Blocked> {
        self.space.check(span)
    }

    /// Free, or kept for whoever comes now: held.
    pub(crate) fn hold(&mut self, span: Span) -> Result<ShardId, Blocked> {
        let shard = if self.reservations.exactly(span).is_some() {
            let shard = self.layout.place(span)?;
            self.reservations.taken_up(span);
            shard
        } else {
            self.occupy(span)?
        };
        self.held += span.len();
        self.allocations += 1;
        Ok(shard)
    }

    /// Held: no more.
    pub(crate) fn let_go(&mut self, span: Span, afterwards: Afterwards) {
        self.held -= span.len();
        self.allocations -= 1;
        match afterwards {
            Afterwards::Free => self.vacate(span),
            Afterwards::Reserved => self.reservations.left(span),
            Afterwards::ReservedInLimbo(record) => {
                self.reservations.left(span);
                self.reservations.await_stable(record);
            }
            Afterwards::Limbo(record) => {
                let open = self.space.is_open(span);
                self.rests.insert_in_limbo(record, open);
            }
            Afterwards::Rests(record, ends_ms) => {
                let open = self.space.is_open(span);
                self.rests.insert(record, ends_ms, open);
                if let Some(claimable) = &mut self.claimable {
                    claimable.give(span);
                }
            }
        }
    }

    /// In limbo: rests until a moment of the kept clock, or is free if that is over. Nothing happens if something else is
    /// there since.
    pub(crate) fn surface(&mut self, span: Span, seq: crate::id::Seq, ends_ms: u64, now_ms: u64) {
        if self.reservations.in_limbo_since(span) == Some(seq) {
            self.reservations.surface(span);
            return;
        }
        let same = self.rests.starting_at(span.start()).is_some_and(|rest| rest.span == span && rest.seq == seq);
        if !same || !self.rests.is_in_limbo(span.start()) {
            return;
        }
        let Some(record) = self.rests.remove(span.start()) else { return };
        if let Some(claimable) = &mut self.claimable {
            claimable.give(span);
        }
        if ends_ms <= now_ms {
            self.space.give(span);
        } else {
            let open = self.space.is_open(span);
            self.rests.insert(record, ends_ms, open);
        }
    }

    /// Free: rests (when it is read back from disk).
    pub(crate) fn lay_to_rest(&mut self, record: Arc<Resting>, ends_ms: u64) -> Result<(), Blocked> {
        self.space.take(record.span)?;
        let open = self.space.is_open(record.span);
        self.rests.insert(record, ends_ms, open);
        Ok(())
    }

    /// Free, or reserved and not held: is nobody's, or nobody else's, until enough hosts know.
    pub(crate) fn lay_in_limbo(&mut self, record: &Arc<Resting>) -> Result<(), Blocked> {
        if self.reservations.exactly(record.span).is_some() {
            self.reservations.await_stable(Arc::clone(record));
            return Ok(());
        }
        self.occupy(record.span)?;
        let open = self.space.is_open(record.span);
        self.rests.insert_in_limbo(Arc::clone(record), open);
        Ok(())
    }

    /// A rest that was over before the log was read: free, but released later than what was never used.
    pub(crate) fn remember_release(&mut self, span: Span) {
        if self.ordered && self.space.take(span).is_ok() {
            self.space.give(span);
        }
    }

    /// Resting: free.
    pub(crate) fn wake(&mut self, start: u128) -> Option<Arc<Resting>> {
        if self.rests.is_in_limbo(start)
            && let (Some(claimable), Some(rest)) = (&mut self.claimable, self.rests.starting_at(start))
        {
            claimable.give(rest.span);
        }
        let record = self.rests.remove(start)?;
        self.space.give(record.span);
        Some(record)
    }

    /// Free, or held by the very subscriber: reserved.
    pub(crate) fn reserve(
        &mut self,
        reservation: Arc<Reservation>,
        held_by_its_own: HeldByItsOwn,
    ) -> Result<(), Blocked> {
        let span = reservation.span;
        match held_by_its_own {
            HeldByItsOwn::No => {
                self.occupy(span)?;
                self.reservations.insert(reservation);
            }
            HeldByItsOwn::Yes => {
                self.reservations.insert(reservation);
                self.reservations.taken_up(span);
            }
        }
        Ok(())
    }

    /// The same reservation, made anew.
    pub(crate) fn replace_reservation(&mut self, anew: Arc<Reservation>) {
        self.reservations.replace(anew);
    }

    /// Reserved: free, in limbo, or held like any other.
    pub(crate) fn unreserve(&mut self, span: Span, held_by_its_own: HeldByItsOwn) -> Option<Arc<Reservation>> {
        match held_by_its_own {
            HeldByItsOwn::No => {
                let reservation = self.reservations.remove(span)?;
                match self.reservations.surface(span) {
                    Some(record) => {
                        let open = self.space.is_open(span);
                        self.rests.insert_in_limbo(record, open);
                    }
                    None => self.vacate(span),
                }
                Some(reservation)
            }
            HeldByItsOwn::Yes => {
                self.reservations.exactly(span)?;
                self.reservations.left(span);
                self.reservations.remove(span)
            }
        }
    }

    fn occupy(&mut self, span: Span) -> Result<ShardId, Blocked> {
        let shard = self.space.take(span)?;
        if let Some(claimable) = &mut self.claimable {
            claimable.take(span)?;
        }
        Ok(shard)
    }

    fn vacate(&mut self, span: Span) {
        self.space.give(span);
        if let Some(claimable) = &mut self.claimable {
            claimable.give(span);
        }
    }

    /// Makes the orders of deadlines anew, after they moved.
    pub(crate) fn requeue(&mut self, clock: &crate::clock::Clock) {
        self.leases.requeue(|lease| lease.expires_ms().map(|ends_ms| clock.lease_end(ends_ms.get(), lease.seq())));
        self.rests.requeue(|rest| clock.rest_end(rest.until_ms, rest.seq));
    }

    pub(crate) const fn rests(&self) -> &Rests {
        &self.rests
    }

    pub(crate) const fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// Number of live allocations.
    pub(crate) const fn allocations(&self) -> u64 {
        self.allocations
    }

    /// How much is what.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let totals = self.space.totals();
        let grain = self.layout.geometry().grain;
        Occupancy {
            allocations: self.allocations,
            total: totals.total,
            held: self.held / grain,
            free: totals.free,
            resting: self.rests.positions() / grain,
            reserved: self.reservations.idle() / grain,
            excluded: totals.excluded,
        }
    }
}

/// Whether the subscriber a span is reserved for holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldByItsOwn {
    Yes,
    No,
}
