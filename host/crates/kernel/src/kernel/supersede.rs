//! A subscriber whose allocation's owner cannot be reached gets another one, marked; and afterwards all hosts know which of
//! the two stands. The other one ends by its owner's word like any allocation: its lease runs out, because nobody renews it,
//! or it is released by name.

use std::sync::Arc;

use super::Kernel;
use super::allocate::Site;
use crate::allocation::Allocation;
use crate::command::{AllocateRequest, AllocationTarget, CommandError, Held};
use crate::id::{Key, MemberId, PoolUid, SubscriberId};
use crate::plan::Strategy;
use crate::rules::Rule;
use crate::survivor::{Pair, is_same, survivor};
use crate::tenure::Tenure;

impl Kernel {
    /// What a subscriber is answered: what he holds, and of several the one that stands.
    pub(super) fn held_by(
        &self,
        pool: PoolUid,
        subscriber: &SubscriberId,
        key: Option<&Key>,
    ) -> Option<&Arc<Allocation>> {
        let place = self.holders.place(pool, subscriber, key);
        if self.rules.keep(Rule::Survivor) {
            return self.holders.find(place, pool, subscriber, key);
        }
        self.holders.all_of(place, pool, subscriber, key).max_by_key(|held| held.seq())
    }

    /// The allocation that is named, whether it stands or not; without a span the one that stands.
    pub(super) fn meant(&self, target: &AllocationTarget) -> Option<&Arc<Allocation>> {
        let AllocationTarget { pool, subscriber, key, span, made_ms } = target;
        let is_that = |held: &&Arc<Allocation>| made_ms.is_none_or(|ms| held.created_ms() == ms);
        let Some(span) = span else { return self.held_by(*pool, subscriber, key.as_ref()).filter(is_that) };
        let place = self.holders.place(*pool, subscriber, key.as_ref());
        let all = self.holders.all_of(place, *pool, subscriber, key.as_ref()).filter(is_that);
        survivor(all.filter(|held| held.span == *span))
    }

    /// Whether a request may be given another resource than what its subscriber holds: the owner cannot be reached, and what
    /// is asked for is not that very resource, which only its owner can say anything of. Where nothing is handed out but by
    /// name there is no other one.
    pub(super) fn may_supersede(&self, held: &Allocation, request: &AllocateRequest, site: &Site) -> bool {
        let strategy = self.pools.get(&held.pool).map(|state| state.pool.draft.terms.strategy);
        let chosen = request.plan.strategy.or(strategy) != Some(Strategy::Exact) || request.plan.at.is_some();
        let free_choice = chosen && !request.explicit && request.plan.at != Some(held.span);
        free_choice && site.realm() == Some(held.realm) && self.is_out_of_reach(held)
    }

    /// Whether another host owns it, and cannot be reached as far as this one sees; or perhaps does, because this host has no
    /// node lease.
    fn is_out_of_reach(&self, held: &Allocation) -> bool {
        let sight = self.cluster.as_ref().and_then(super::cluster::Cluster::sight);
        let term = self.pools.get(&held.pool).and_then(|state| state.term(held.shard));
        let (Some(sight), Some(term)) = (sight, term) else { return false };
        let Tenure::Theirs(owner) = term.tenure else {
            return term.tenure.answers() && self.is_void(term) && self.is_lease_lost();
        };
        // Of member 0 nothing is known yet, not even that it is another host.
        owner != MemberId(0) && !sight.alive.contains(&owner)
    }

    /// An error if another allocation of the subscriber stands in place of this one: then it runs out.
    pub(super) fn check_stands(&self, held: &Allocation) -> Result<(), CommandError> {
        let stands = self.held_by(held.pool, &held.subscriber, held.key());
        match stands.filter(|stands| !is_same(stands, held)) {
            None => Ok(()),
            Some(stands) => {
                let Some(state) = self.pools.get(&held.pool) else { return Ok(()) };
                Err(CommandError::Superseded { pool: state.pool.draft.id.clone(), by: Held(Arc::clone(stands)) })
            }
        }
    }

    /// Every live allocation that does not stand, with the one that does. Empty unless hosts could not reach each other.
    pub fn superseded(&self) -> impl Iterator<Item = Pair> + '_ {
        self.holders.pairs()
    }
}
