//! Late words: what another host wrote about a shard before it heard that the shard is this host's by now. They come from a
//! host that was lost, from behind the cut of its shard, while this host may have spoken of the same spans already.
//!
//! Other hosts hear the two in any order. So the owner takes a late word in and says afterwards, in its own name, what became of
//! the span; that rests on the late word, so everywhere it is the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Kernel;
use crate::allocation::{Allocation, Made, Reservation, Resting};
use crate::digest;
use crate::effects::Effects;
use crate::fact::{Fact, SpanKey};
use crate::id::{Dot, Epoch, PoolUid, ShardId, SubscriberId};
use crate::rules::Rule;
use crate::stock::Afterwards;

/// How a word of another host meets a shard of this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// This host says what counts.
    Answered,
    /// It cannot tell what counts, or not now; but what it says later rests on this word.
    Unanswered,
}

impl Kernel {
    /// Whether another host's word is about a shard that this host answers for, from an earlier term; `None`: it is not. `changed`:
    /// by that word something is reserved here that was not, or no more.
    pub(super) fn late(&self, key: SpanKey, fact: &Fact, changed: bool) -> Option<Late> {
        let state = self.pools.get(&key.pool)?;
        let term = state.term(state.layout.place(key.span).ok()?)?;
        let said_in = match fact {
            Fact::Held(held) => Some(held.epoch),
            Fact::Resting(rest) => Some(rest.epoch),
            Fact::Reserved(kept) => Some(kept.epoch),
            Fact::Unreserved { .. } => Some(Epoch(0)),
            Fact::Free(_)
            | Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_)
            | Fact::ConflictClosed(_) => None,
        };
        if said_in.is_some_and(|epoch| epoch >= term.epoch) {
            return None;
        }
        // Without a node lease the shard may be another's by now, whose word it is then: of these no term tells. But who said
        // that it is reserved, and hears that it is not, says that too: others hear the two in the other order.
        let told_later = matches!(fact, Fact::Reserved(_)) || (matches!(fact, Fact::Unreserved { .. }) && !changed);
        let untold = told_later && self.is_void(term);
        let answers = if said_in.is_some() && !untold { Late::Answered } else { Late::Unanswered };
        term.tenure.answers().then_some(answers)
    }

    /// Says in this host's own words what became of the span of a late word.
    pub(super) fn say_again(&mut self, key: SpanKey, fact: &Fact, from: Dot, changed: bool, effects: &mut Effects) {
        self.log.write(effects, |_| Fact::RestsOn(from));
        let there = self.holding(key);
        for held in &there {
            self.take_over(held, effects);
        }
        if let (Fact::Resting(rest), true) = (fact, there.is_empty()) {
            self.rest_again(rest, effects);
        }
        let mut reserved = self.reserved_in(key);
        let removed = |made| Fact::Unreserved { key, made };
        if let Fact::Reserved(said) = fact {
            if reserved.is_empty() {
                self.log.write(effects, |_| removed(said.made()));
            }
            // Unless it was not so before: what this host said meanwhile, and is over, made it give way elsewhere.
            reserved.retain(|kept| changed || digest::of_reserved(kept) != digest::of_reserved(said));
        } else if let Fact::Unreserved { made, .. } = fact
            && reserved.is_empty()
        {
            self.log.write(effects, |_| removed(*made));
        }
        self.reserve_again(reserved, effects);
    }

    /// This host begins to answer for these shards: what it says of them rests on all that it has heard, be it from their former
    /// owners or not, for who had one for a moment may not have said a word in its term. And it owes it to say what is reserved there.
    pub(super) fn begin_in(&mut self, shards: Vec<(PoolUid, ShardId)>, effects: &mut Effects) {
        let Some(cluster) = self.cluster.as_mut().filter(|_| !shards.is_empty()) else { return };
        cluster.owed.extend(shards);
        for (origin, seq) in &self.words {
            if cluster.rests_on.insert(*origin, *seq) != Some(*seq) {
                self.log.write(effects, |_| Fact::RestsOn(Dot { origin: *origin, seq: *seq }));
            }
        }
    }

    /// Says again what is reserved since before this host's term in shards of which it owes that; in leased ones not before it has a
    /// good node lease: they may be another's by now. Nobody else says it: who had the shard before may have heard of a
    /// reservation only when it had given the shard away, behind what it had said of the span itself, and others hear the two in the
    /// other order.
    pub(super) fn reserve_owed(&mut self, effects: &mut Effects) {
        if self.is_adopting() {
            // What a part of a snapshot says counts once all of it was taken in.
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        let owed = std::mem::take(&mut cluster.owed);
        let (mut now, mut later): (BTreeMap<PoolUid, BTreeSet<ShardId>>, _) = (BTreeMap::new(), BTreeSet::new());
        for (pool, shard) in owed {
            let term = self.pools.get(&pool).and_then(|state| state.term(shard)).filter(|term| term.tenure.answers());
            match term.map(|term| self.is_void(term)) {
                Some(true) => later.insert((pool, shard)),
                Some(false) => now.entry(pool).or_default().insert(shard),
                None => false,
            };
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.owed = later;
        }
        if !self.rules.keep(Rule::LastWord) {
            return;
        }
        let mut reserved: Vec<Arc<Reservation>> = Vec::new();
        for (pool, shards) in &now {
            let Some(state) = self.pools.get(pool) else { continue };
            let former = |kept: &&Arc<Reservation>| {
                let shard = state.layout.place(kept.span).ok().filter(|shard| shards.contains(shard));
                shard.and_then(|shard| state.term(shard)).is_some_and(|term| term.epoch > kept.epoch)
            };
            for (_, stock) in self.stocks_of(*pool) {
                reserved.extend(stock.reservations().iter().filter(former).cloned());
            }
        }
        self.reserve_again(reserved, effects);
    }

    /// What is reserved of a span was heard when nobody could tell whose its shard is.
    pub(super) fn owe_reserved(&mut self, key: SpanKey) {
        let shard = self.pools.get(&key.pool).and_then(|state| state.layout.place(key.span).ok());
        if let (Some(shard), Some(cluster)) = (shard, &mut self.cluster) {
            cluster.owed.insert((key.pool, shard));
        }
    }

    /// Says in this host's own words what is reserved.
    fn reserve_again(&mut self, reserved: Vec<Arc<Reservation>>, effects: &mut Effects) {
        for kept in reserved {
            self.log.write(effects, |seq| Fact::Reserved(Arc::new(Reservation { seq, ..(*kept).clone() })));
        }
    }

    /// What is reserved of a span.
    pub(super) fn reserved_in(&self, key: SpanKey) -> Vec<Arc<Reservation>> {
        let stock = self.stocks.get(&(key.pool, key.realm));
        stock.map_or_else(Vec::new, |stock| stock.reservations().all_touching(key.span).cloned().collect())
    }

    /// What is reserved of a span for anybody but this subscriber, or in part.
    pub(super) fn reserved_for_others(&self, key: SpanKey, subscriber: &SubscriberId) -> Vec<Arc<Reservation>> {
        let mut reserved = self.reserved_in(key);
        reserved.retain(|kept| kept.span != key.span || kept.subscriber != *subscriber);
        reserved
    }

    /// What was reserved gives way.
    pub(super) fn give_up_reserved(&mut self, reserved: Vec<Arc<Reservation>>, from: Dot, effects: &mut Effects) {
        for kept in reserved {
            let key = kept.key();
            self.drop_reservation(key, from, effects);
        }
    }

    /// Says in this host's own words what is held in shards that were taken over: it may have been said late, while this host
    /// was silent.
    pub(super) fn say_all_again(&mut self, pool: PoolUid, shards: &BTreeSet<ShardId>, effects: &mut Effects) {
        let Some(state) = self.pools.get(&pool).filter(|_| self.rules.keep(Rule::LastWord)) else { return };
        let former = |held: &&Arc<Allocation>| {
            let term = state.term(held.shard).filter(|term| term.doubted && term.epoch > held.epoch);
            held.pool == pool && shards.contains(&held.shard) && term.is_some()
        };
        let mut former: Vec<Arc<Allocation>> = self.holders.iter().filter(former).cloned().collect();
        former.sort_unstable_by_key(|held| held.seq());
        for held in &former {
            self.take_over(held, effects);
        }
    }

    /// What is held of a span, in order.
    pub(super) fn holding(&self, key: SpanKey) -> Vec<Arc<Allocation>> {
        if let Some(held) = self.holders.starting_at(key.pool, key.realm, key.span.start())
            && held.span == key.span
        {
            return vec![Arc::clone(held)];
        }
        let free = self.stocks.get(&(key.pool, key.realm)).is_none_or(|stock| stock.check(key.span).is_ok());
        if free {
            return Vec::new();
        }
        // Rare: of lost hosts' words only, and only where lengths differ.
        let touches = |held: &&Arc<Allocation>| {
            held.pool == key.pool && held.realm == key.realm && held.span.intersects(key.span)
        };
        let mut there: Vec<Arc<Allocation>> = self.holders.iter().filter(touches).cloned().collect();
        there.sort_unstable_by_key(|held| held.span);
        there
    }

    /// The same rest in this host's own words. Like everything that is released here, it is nobody's until enough hosts know.
    fn rest_again(&mut self, rest: &Resting, effects: &mut Effects) {
        let of = (rest.pool, rest.realm);
        let Some(state) = self.pools.get(&rest.pool) else { return };
        let Ok(shard) = state.layout.place(rest.span) else { return };
        let epoch = state.tenure(shard).0;
        let record = Arc::new(Resting { epoch, seq: self.log.next, ..rest.clone() });
        self.log.write(effects, |_| Fact::Resting(Arc::clone(&record)));
        let Some(stock) = self.stocks.get_mut(&of) else { return };
        if stock.rests().starting_at(rest.span.start()).is_some_and(|there| there.span == rest.span) {
            stock.wake(rest.span.start());
        }
        if stock.lay_in_limbo(&record).is_ok()
            && let Some(cluster) = &mut self.cluster
        {
            cluster.await_stable(record.seq, of, record.span);
        }
        self.reschedule(of);
        self.touch(of);
    }

    /// What former owners handed out of a span gives way to what its owner says in a later term. False: there is nothing, or
    /// something else. What was over by then contradicts nothing.
    pub(super) fn make_way(
        &mut self,
        key: SpanKey,
        Made { epoch, created_ms: since_ms }: Made,
        from: Dot,
        effects: &mut Effects,
    ) -> bool {
        let there = self.holding(key);
        if there.is_empty() || there.iter().any(|there| there.epoch >= epoch) {
            return false;
        }
        for there in there {
            if !is_over_by(&there, since_ms) {
                self.conflict(Arc::clone(&there), from, effects);
            }
            self.holders.remove(&there);
            let end_ms = there.expires_ms().map(|end| self.log.clock.lease_end(end.get(), there.seq()));
            let Some(stock) = self.stocks.get_mut(&(key.pool, key.realm)) else { return false };
            if let Some(end_ms) = end_ms {
                self.leases -= usize::from(stock.leases.remove(end_ms, there.seq()));
            }
            let reserved = stock.reservations().exactly(there.span).is_some();
            stock.let_go(there.span, if reserved { Afterwards::Reserved } else { Afterwards::Free });
            if there.span != key.span {
                let key = SpanKey { span: there.span, ..key };
                self.log.relay(effects, from, Fact::Free(key));
            }
        }
        true
    }
}

/// Whether a lease was over at a moment, as its owner says: a shard is kept until every lease that a lost owner may have given is
/// over, so such a word is late and contradicts nothing.
pub(super) fn is_over_by(one: &Allocation, at_ms: u64) -> bool {
    one.expires_ms().is_some_and(|end| end.get() <= at_ms)
}
