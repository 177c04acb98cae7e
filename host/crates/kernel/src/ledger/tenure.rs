//! What a grant means for the host that reads it.

use std::collections::BTreeMap;

use super::grants::{Grant, GrantKind, GrantState};
use super::state::LedgerPool;
use super::{Ledger, Wish};
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Seq, ShardId};
use crate::tenure::Tenure;

/// Shards of one term that should live elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub pool: PoolUid,
    pub shards: Vec<ShardId>,
    pub epoch: Epoch,
    pub to: MemberId,
}

impl Ledger {
    /// What `me` should offer next of these wishes, at most so many shards: what it holds, to whom it can reach. Not what it
    /// was given and has not all of yet: whoever waits for its log would not wait for what it waits for itself.
    pub fn next_offer(
        &self,
        me: MemberId,
        wishes: &[Wish],
        heard: &BTreeMap<Origin, Seq>,
        reaches: impl Fn(MemberId) -> bool,
        most: usize,
    ) -> Option<Offer> {
        let mut offers: BTreeMap<(PoolUid, MemberId, Epoch), Vec<ShardId>> = BTreeMap::new();
        for wish in wishes.iter().filter(|wish| wish.from == me && wish.to != me) {
            let Some(pool) = self.pool(wish.pool) else { continue };
            let Some(grant) = pool.grants.of(wish.shard).filter(|grant| grant.state == GrantState::Held) else {
                continue;
            };
            if pool.tenure(me, grant, heard, false) == Tenure::Silent || !reaches(wish.to) {
                continue;
            }
            let offer = offers.entry((wish.pool, wish.to, grant.epoch)).or_default();
            if offer.len() < most {
                offer.push(wish.shard);
            }
        }
        let ((pool, to, epoch), shards) = offers.into_iter().next()?;
        Some(Offer { pool, shards, epoch, to })
    }

    /// Whether most of the others have everything of this member's log that a shard's new owner waits for, and everything it
    /// heard of the others' logs, so that it may leave and its copies with it: what a majority knew, which it was one of, a
    /// majority of those who stay must know. `heard` is how far it knows each log, `known` how far others say they do.
    pub fn is_handed_on(
        &self,
        member: MemberId,
        heard: &BTreeMap<Origin, Seq>,
        known: impl Fn(MemberId, Origin) -> Seq,
    ) -> bool {
        let Some(own) = self.member(member).map(|found| found.origin) else { return true };
        let counts = self.pools().values().filter_map(|pool| pool.cuts.get(&own)).max().copied().unwrap_or_default();
        let others: Vec<MemberId> = self.members().keys().copied().filter(|other| *other != member).collect();
        let copies: Vec<(Origin, Seq)> = heard
            .iter()
            .map(|(origin, through)| (*origin, *through))
            .filter(|(origin, _)| *origin != own)
            .chain([(own, counts)])
            .collect();
        let has = |other: MemberId| copies.iter().all(|(origin, through)| known(other, *origin) >= *through);
        others.iter().filter(|other| has(**other)).count() * 2 > others.len()
    }
}

impl LedgerPool {
    /// What `me` may do with a shard of this pool. `heard` is how far this host's copy reaches of each log; `stopped`: it has
    /// offered the shard in this term.
    pub fn tenure(&self, me: MemberId, grant: Grant, heard: &BTreeMap<Origin, Seq>, stopped: bool) -> Tenure {
        if grant.holder != me {
            return Tenure::Theirs(grant.holder);
        }
        let covered = |origin: &Origin, through: Seq| heard.get(origin).is_some_and(|known| *known >= through);
        let cut = grant.cut.is_none_or(|Dot { origin, seq }| covered(&origin, seq));
        let cuts = grant.cut.is_none() || self.cuts.iter().all(|(origin, seq)| covered(origin, *seq));
        if !(cut && cuts) || stopped {
            return Tenure::Silent;
        }
        match (grant.state, grant.kind) {
            (GrantState::Held, GrantKind::Escrow) => Tenure::Escrow,
            (GrantState::Held, GrantKind::Leased) => Tenure::Leased,
            (GrantState::Closing | GrantState::Quarantined | GrantState::Forced, _) => Tenure::Kept,
        }
    }
}
