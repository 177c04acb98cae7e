//! What a grant means for the host that reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grants::{Grant, GrantKind, GrantState};
use super::state::LedgerPool;
use super::{Ledger, LedgerError, Wish};
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Seq, ShardId};
use crate::tenure::Tenure;

/// Shards of one term that should live elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub pool: PoolUid,
    pub shards: Vec<ShardId>,
    pub epoch: Epoch,
    pub to: MemberId,
}

/// Shards of one term that wait for logs whose hosts are no members any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bereft {
    pub pool: PoolUid,
    pub shards: Vec<ShardId>,
    pub epoch: Epoch,
    /// How far each of these logs is known here.
    pub logs: Vec<Dot>,
}

impl Ledger {
    /// Shards of `me` that nobody will ever open by what he has: the hosts whose logs they wait for are gone. At most so many.
    /// `heard` is how far this host knows each log.
    pub fn next_bereft(&self, me: MemberId, heard: &BTreeMap<Origin, Seq>, most: usize) -> Option<Bereft> {
        let mut all: BTreeMap<(PoolUid, Epoch, Vec<Dot>), Vec<ShardId>> = BTreeMap::new();
        for (uid, pool) in self.pools() {
            for (shard, grant) in pool.grants.iter().filter(|(_, grant)| grant.holder == me) {
                let gone = |need: &Dot| !self.members().values().any(|member| member.origin == need.origin);
                let lost = pool.lacks(shard, grant, heard).filter(gone).map(|need| need.origin);
                let logs: BTreeSet<Dot> = lost.map(|origin| Dot { origin, seq: known(heard, origin) }).collect();
                if !logs.is_empty() {
                    let shards = all.entry((*uid, grant.epoch, logs.into_iter().collect())).or_default();
                    if shards.len() < most {
                        shards.push(shard);
                    }
                }
            }
        }
        let ((pool, epoch, logs), shards) = all.into_iter().next()?;
        Some(Bereft { pool, shards, epoch, logs })
    }

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
            if pool.tenure(me, (wish.shard, grant), heard, false) == Tenure::Silent || !reaches(wish.to) {
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

    /// How far a log counts for whoever was given a shard by it; `None`: nobody was.
    pub fn last_cut(&self, of: Origin) -> Option<Seq> {
        let all = self.pools().values().flat_map(|pool| &pool.cuts);
        all.filter(|((_, origin), _)| *origin == of).map(|(_, through)| *through).max()
    }

    /// An error if shards are this member's: it may not leave yet.
    pub fn check_empty(&self, member: MemberId) -> Result<(), LedgerError> {
        self.state.check_empty(member)
    }

    /// Whether most of the others have everything of this member's log that a shard's new owner waits for, and everything it
    /// heard of the others' logs, so that it may leave and its copies with it: what a majority knew, which it was one of, a
    /// majority of those who stay must know. While shards are its own more of its log may come to count. `heard` is how far it knows each log, `known` how far others say they do.
    pub fn is_handed_on(
        &self,
        member: MemberId,
        heard: &BTreeMap<Origin, Seq>,
        known: impl Fn(MemberId, Origin) -> Seq,
    ) -> bool {
        let Some(own) = self.member(member).map(|found| found.origin) else { return true };
        let counts = self.last_cut(own).unwrap_or_default();
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
    pub fn tenure(
        &self,
        me: MemberId,
        (shard, grant): (ShardId, Grant),
        heard: &BTreeMap<Origin, Seq>,
        stopped: bool,
    ) -> Tenure {
        if grant.holder != me {
            return Tenure::Theirs(grant.holder);
        }
        if stopped || self.lacks(shard, grant, heard).next().is_some() {
            return Tenure::Silent;
        }
        match (grant.state, grant.kind) {
            (GrantState::Held, GrantKind::Escrow) => Tenure::Escrow,
            (GrantState::Held, GrantKind::Leased) => Tenure::Leased,
            (GrantState::Closing | GrantState::Quarantined | GrantState::Forced, _) => Tenure::Kept,
        }
    }

    /// How far each log must be known to whoever uses a shard. Who came by it without a cut needs none: it is quarantined.
    pub(super) fn needs(&self, shard: ShardId, grant: Grant) -> impl Iterator<Item = Dot> + '_ {
        let from = grant.cut.map(|_| self.cuts.range((shard, Origin::default())..));
        let cuts = from.into_iter().flatten().take_while(move |((of, _), _)| *of == shard);
        cuts.map(|((_, origin), seq)| Dot { origin: *origin, seq: *seq })
    }

    /// Whether a host that has heard so much has all that counts of those who had a shard before.
    pub fn is_covered(&self, shard: ShardId, heard: &BTreeMap<Origin, Seq>) -> bool {
        self.grants.of(shard).is_some_and(|grant| self.lacks(shard, grant, heard).next().is_none())
    }

    /// What of that a host lacks that has heard so much.
    fn lacks(&self, shard: ShardId, grant: Grant, heard: &BTreeMap<Origin, Seq>) -> impl Iterator<Item = Dot> {
        self.needs(shard, grant).filter(|need| known(heard, need.origin) < need.seq)
    }
}

/// Of whom nothing was heard wrote nothing that is known.
fn known(heard: &BTreeMap<Origin, Seq>, of: Origin) -> Seq {
    heard.get(&of).copied().unwrap_or_default()
}
