//! When the doubt about a shard ends by itself: nobody can use any more what its former holders handed out unheard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::grants::GrantKind;
use super::place::Terms;
use super::state::LedgerPool;
use crate::id::{Epoch, MemberId, PoolUid, Revision, ShardId};
use crate::pool::Longest;

/// Lease terms of a pool that do not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// How long allocations lasted at most by any of them.
    pub longest: Longest,
    /// The first record without them.
    pub until: Revision,
}

/// Since when a host knows of its doubtful shards and of the pools' lease terms, by its clock since boot, in milliseconds. No
/// clock is in the ledger, so each process counts anew.
#[derive(Debug)]
pub struct Quarantines {
    /// How far hosts' clocks may be apart, milliseconds.
    slack_ms: u64,
    doubts: BTreeMap<(PoolUid, ShardId, Epoch), u64>,
    changes: BTreeMap<PoolUid, (Revision, u64)>,
}

impl Quarantines {
    /// `slack_ms`: how far hosts' clocks may be apart, milliseconds. Who was told a moment by a host that is ahead goes by that.
    pub const fn new(slack_ms: u64) -> Self {
        Self { slack_ms, doubts: BTreeMap::new(), changes: BTreeMap::new() }
    }

    /// Looks at what the ledger says now of the shards of this host. Who looks seldom waits longer.
    pub fn look(&mut self, ledger: &Ledger, me: MemberId, boot_ms: u64) {
        let mut doubts = BTreeMap::new();
        for (uid, pool) in ledger.pools() {
            for (shard, grant) in pool.grants.iter().filter(|(_, grant)| grant.holder == me && grant.is_doubtful()) {
                let of = (*uid, shard, grant.epoch);
                doubts.insert(of, self.doubts.get(&of).copied().unwrap_or(boot_ms));
            }
            if let Some(former) = pool.former {
                let seen = self.changes.entry(*uid).or_insert((former.until, boot_ms));
                if seen.0 != former.until {
                    *seen = (former.until, boot_ms);
                }
            }
        }
        self.doubts = doubts;
        self.changes.retain(|uid, _| ledger.pools().contains_key(uid));
    }

    /// Whether time has ended the doubt about a shard of this host.
    pub fn are_outlived(&self, uid: PoolUid, pool: &LedgerPool, shard: ShardId, terms: Terms, boot_ms: u64) -> bool {
        let Some(grant) = pool.grants.of(shard) else { return false };
        let Some(doubted) = self.doubts.get(&(uid, shard, grant.epoch)) else { return false };
        let changed = self.changes.get(&uid).map_or(boot_ms, |(_, seen)| *seen);
        // Clocks differ in rate by up to 1 %. Who does not know that a shard is not its own any more, or of a change, goes on until
        // its node lease ends.
        let more_ms = terms.lease_ms.saturating_add(terms.grace_ms).saturating_add(self.slack_ms);
        let is_over = |longest: Longest, since_ms: u64| match longest {
            Longest::Ever => false,
            Longest::Millis(ms) => {
                boot_ms.saturating_sub(since_ms) > ms.saturating_add(ms / 100).saturating_add(more_ms)
            }
        };
        let of_former = |former: Former| is_over(former.longest, *doubted) || is_over(former.longest, changed);
        pool.is_ended_by_time(shard)
            && is_over(pool.record.draft.terms.lease.longest(), *doubted)
            && pool.former.is_none_or(of_former)
    }
}

impl LedgerPool {
    /// Whether the doubt about a shard ends by itself one day. Who held it outright may have handed out of it what has no
    /// lease, and nobody's clock ends that.
    pub fn is_ended_by_time(&self, shard: ShardId) -> bool {
        let outright = self.doubts.get(&shard).is_some_and(|held| held.values().any(|kind| *kind == GrantKind::Escrow));
        let former = self.former.map_or(Longest::Millis(0), |former| former.longest);
        !outright && self.record.draft.terms.lease.longest().max(former) != Longest::Ever
    }
}
