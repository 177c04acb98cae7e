//! What a grant means for the host that reads it.

use std::collections::BTreeMap;

use super::grants::{Grant, GrantKind, GrantState};
use super::state::LedgerPool;
use crate::id::{Dot, MemberId, Origin, Seq};
use crate::tenure::Tenure;

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
