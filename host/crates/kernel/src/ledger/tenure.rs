//! What a grant means for the host that reads it.

use std::collections::BTreeMap;

use super::grants::{Grant, GrantKind, GrantState};
use super::state::LedgerPool;
use super::Ledger;
use crate::id::{Dot, MemberId, Origin, Seq};
use crate::tenure::Tenure;

impl Ledger {
    /// Whether most of the others have everything of this member's log that a shard's new owner waits for, so that it may
    /// leave and its log with it. `known` is how far they say they know it.
    pub fn is_handed_on(&self, member: MemberId, known: impl Fn(MemberId) -> Seq) -> bool {
        let Some(origin) = self.member(member).map(|found| found.origin) else { return true };
        let counts = self.pools().values().filter_map(|pool| pool.cuts.get(&origin)).max().copied().unwrap_or_default();
        let others: Vec<MemberId> = self.members().keys().copied().filter(|other| *other != member).collect();
        let have = others.iter().filter(|other| known(**other) >= counts).count();
        have * 2 > others.len()
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
