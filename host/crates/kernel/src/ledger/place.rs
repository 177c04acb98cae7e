//! Where shards should live and as what: the ring, the share of escrow, the voters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::{Change, HostRole, LedgerReply};
use super::error::LedgerError;
use super::grants::{Grant, GrantKind, GrantState, Grants};
use super::members::Member;
use super::reading::Misread;
use super::state::{LedgerPool, Outcome, State};
use crate::id::{Epoch, MemberId, PoolUid, ShardId};
use crate::pool::PoolDraft;
use crate::ring::{Lives, Ring, RingMember};

/// Most hosts that vote.
const MOST_VOTERS: usize = 5;

/// What holds for the whole cluster; set by the host that forms it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Points on the ring of a host of weight 1; 1 to 2,048.
    pub virtual_nodes: u32,
    /// How long a node lease is, milliseconds; 3 s to 1 h.
    pub lease_ms: u64,
    /// How long after its end a lease is counted as over, milliseconds: clock rates differ by 1 %, and a client may still
    /// wait for an answer. 1 s to 1 h, at least a hundredth of the lease.
    pub grace_ms: u64,
    /// Of the shards a host is given, so many in 1,000 are escrow, but at least one of each pool; 0 to 1,000.
    pub escrow_share: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self { virtual_nodes: Ring::VIRTUAL_NODES, lease_ms: 60_000, grace_ms: 30_000, escrow_share: 500 }
    }
}

/// A shard that has to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wish {
    pub pool: PoolUid,
    pub shard: ShardId,
    pub from: MemberId,
    pub to: MemberId,
}

impl State {
    pub(super) fn set_terms(&mut self, terms: Terms, changes: &mut Vec<Change>) -> Outcome {
        if !(1..=2_048).contains(&terms.virtual_nodes) {
            return Err(LedgerError::field("virtual_nodes", terms.virtual_nodes, "1 to 2048"));
        }
        if !(3_000..=3_600_000).contains(&terms.lease_ms) {
            return Err(LedgerError::field("lease_ms", terms.lease_ms, "3000 to 3600000"));
        }
        let least_ms = (terms.lease_ms / 100).max(1_000);
        if !(least_ms..=3_600_000).contains(&terms.grace_ms) {
            return Err(LedgerError::field("grace_ms", terms.grace_ms, &format!("{least_ms} to 3600000")));
        }
        if terms.escrow_share > 1_000 {
            return Err(LedgerError::field("escrow_share", terms.escrow_share, "0 to 1000"));
        }
        if terms != self.terms {
            self.terms = terms;
            changes.push(Change::Terms(terms));
        }
        Ok(LedgerReply::TermsSet)
    }

    /// Who is on it: core and write hosts with a weight, but for the deposed.
    pub(super) fn ring(&self) -> Ring {
        self.ring_without(&BTreeMap::new())
    }

    /// The same, less those who read a pool otherwise than its record says.
    fn ring_without(&self, misread: &BTreeMap<MemberId, Misread>) -> Ring {
        let weighed =
            |member: &&Member| member.role.on_ring() && member.takes_shards() && !misread.contains_key(&member.id);
        let members = self.members.values().filter(weighed);
        Ring::new(members.map(|member| RingMember { id: member.id, weight: member.share() }), self.terms.virtual_nodes)
    }

    /// The grants of a pool with those of new shards, which are numbered behind the ones there are: their holders by the
    /// ring, epoch 1.
    pub(super) fn grants_with(
        &self,
        uid: PoolUid,
        draft: &PoolDraft,
        found: &Grants,
        count: usize,
    ) -> Result<Grants, LedgerError> {
        let first = found.shards();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count <= first {
            return Ok(found.clone());
        }
        let no_owner = || LedgerError::NoOwner { pool: draft.id.clone() };
        let ring = self.pools.get(&uid).map_or_else(|| self.ring(), |pool| self.ring_without(&pool.misread));
        // Asked for all shards at once, because its bounds are about all of them.
        let mut lives = self.lives(&ring, found);
        let there = lives.len();
        lives.extend((first..count).map(|new| Lives { shard: ShardId(new), at: None, is_fixed: false }));
        let new = ring.settle(uid, &lives).ok_or_else(no_owner)?.split_off(there);
        let mut counts: BTreeMap<MemberId, usize> = BTreeMap::new();
        for holder in &new {
            *counts.entry(*holder).or_default() += 1;
        }
        let of_holder = |(holder, more)| (holder, self.kinds(found, holder, more));
        let mut kinds: BTreeMap<_, _> = counts.into_iter().map(of_holder).collect();
        let mut grants = found.clone();
        for holder in new {
            let kind = kinds.get_mut(&holder).and_then(Iterator::next).unwrap_or(GrantKind::Escrow);
            grants.push(Grant { epoch: Epoch(1), holder, kind, state: GrantState::Held, cut: None });
        }
        Ok(grants)
    }

    /// As what a host is given so many more shards of a pool: first as much escrow as it lacks, then leased. An edge holds
    /// nothing but escrow, because it must serve without anybody.
    pub(super) fn kinds(&self, grants: &Grants, to: MemberId, more: usize) -> impl Iterator<Item = GrantKind> + use<> {
        let (mut all, mut escrow) = (more, 0);
        for run in grants.runs().iter().filter(|run| run.grant.holder == to) {
            let count = usize::try_from(run.count).unwrap_or(usize::MAX);
            all = all.saturating_add(count);
            escrow += if run.grant.kind == GrantKind::Escrow { count } else { 0 };
        }
        let edge = self.members.get(&to).is_some_and(|member| member.role == HostRole::Edge);
        let share = usize::try_from(self.terms.escrow_share).unwrap_or(1_000);
        let wanted = if edge { all } else { all.saturating_mul(share).div_ceil(1_000).max(1) };
        let missing = wanted.saturating_sub(escrow).min(more);
        std::iter::repeat_n(GrantKind::Escrow, missing).chain(std::iter::repeat_n(GrantKind::Leased, more - missing))
    }

    fn is_delegated(&self, grant: Grant) -> bool {
        self.members.get(&grant.holder).is_some_and(|member| member.role == HostRole::Edge)
    }

    pub(super) fn wishes(&self) -> Vec<Wish> {
        let ring = self.ring();
        let of_pool = |(uid, pool): (&PoolUid, &LedgerPool)| {
            if pool.misread.is_empty() {
                self.wishes_of(&ring, *uid, pool)
            } else {
                self.wishes_of(&self.ring_without(&pool.misread), *uid, pool)
            }
        };
        self.pools.iter().flat_map(of_pool).collect()
    }

    fn wishes_of(&self, ring: &Ring, uid: PoolUid, pool: &LedgerPool) -> Vec<Wish> {
        let lives = self.lives(ring, &pool.grants);
        let Some(owners) = ring.settle(uid, &lives) else { return Vec::new() };
        let wish = |(lives, to): (&Lives, MemberId)| {
            let from = pool.grants.of(lives.shard)?.holder;
            (from != to).then_some(Wish { pool: uid, shard: lives.shard, from, to })
        };
        lives.iter().zip(owners).filter_map(wish).collect()
    }

    /// The shards that the ring places, and with whom they live. Left out is what is an edge's, and what cannot be moved from
    /// a holder that is not on the ring.
    fn lives(&self, ring: &Ring, grants: &Grants) -> Vec<Lives> {
        let placed = grants.iter().filter(|(_, grant)| !self.is_delegated(*grant));
        let lives = placed.filter_map(|(shard, grant)| {
            let deposed = self.members.get(&grant.holder).is_some_and(Member::is_deposed);
            // Who is deposed cannot give, but its leased shards can be taken; what is quarantined stays until it is known.
            let movable = if deposed { grant.kind == GrantKind::Leased } else { grant.state == GrantState::Held };
            let at = ring.has(grant.holder).then_some(grant.holder);
            (movable || at.is_some()).then_some(Lives { shard, at, is_fixed: !movable })
        });
        lives.collect()
    }

    fn core_in_order(&self) -> Vec<MemberId> {
        // Numbers are given in the order of joining.
        self.members.values().filter(|member| member.role == HostRole::Core).map(|member| member.id).collect()
    }

    pub(super) fn voters_wanted(&self) -> Vec<MemberId> {
        let mut voters = self.core_in_order();
        voters.truncate(MOST_VOTERS);
        if voters.len().is_multiple_of(2) {
            voters.pop();
        }
        voters
    }

    pub(super) fn has_two_core_hosts(&self) -> bool {
        self.core_in_order().len() == 2
    }
}
