//! Who holds which shards of one pool. Shards with one value are kept as one run.

use serde::{Deserialize, Serialize};

use crate::draft::MOST_SHARDS;
use crate::id::{Dot, Epoch, MemberId, ShardId};

/// How a shard is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantKind {
    /// Outright: needs neither clock nor majority.
    Escrow,
    /// While the holder's node lease is good.
    Leased,
}

/// What may be done with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantState {
    /// Its holder hands out.
    Held,
    /// Its holder hands out nothing from what closes.
    Closing,
    /// Its holder keeps what is allocated and hands out nothing: a former holder may have.
    Quarantined,
    /// As quarantined, and the former holder may still think that it holds it.
    Forced,
}

/// One term of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    pub epoch: Epoch,
    pub holder: MemberId,
    pub kind: GrantKind,
    pub state: GrantState,
    /// The last operation of the holder before that counts. `None`: there was none before, or how far it came is unknown.
    pub cut: Option<Dot>,
}

impl Grant {
    /// Whether its former holder may still turn up with words from behind the cut.
    pub fn is_doubtful(&self) -> bool {
        matches!(self.state, GrantState::Quarantined | GrantState::Forced)
    }

    /// The next epoch of it; `None`: the numbers are used up.
    pub(super) fn next_epoch(self) -> Option<Epoch> {
        self.epoch.0.checked_add(1).map(Epoch)
    }
}

/// Shards in a row with one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRun {
    pub first: ShardId,
    pub count: u32,
    pub grant: Grant,
}

impl GrantRun {
    /// Its shards.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(ShardId)
    }
}

/// The grants of all shards of a pool: runs in order, from shard 0 without a gap, so that no shard has two or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<GrantRun>", into = "Vec<GrantRun>")]
pub struct Grants {
    runs: Vec<GrantRun>,
}

impl Grants {
    /// In order; neighbours differ.
    pub fn runs(&self) -> &[GrantRun] {
        &self.runs
    }

    /// How many shards there are.
    pub fn shards(&self) -> u32 {
        self.runs.last().map_or(0, |last| last.first.0 + last.count)
    }

    /// The grant of a shard; `None`: the pool has no such shard.
    pub fn of(&self, shard: ShardId) -> Option<Grant> {
        let after = self.runs.partition_point(|run| run.first <= shard);
        let run = after.checked_sub(1).and_then(|at| self.runs.get(at))?;
        (shard.0 - run.first.0 < run.count).then_some(run.grant)
    }

    /// Each shard's grant, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, Grant)> + '_ {
        self.runs.iter().flat_map(|run| run.shards().map(|shard| (shard, run.grant)))
    }

    /// Adds the grant of the next shard.
    pub(super) fn push(&mut self, grant: Grant) {
        self.append(1, grant);
    }

    fn append(&mut self, count: u32, grant: Grant) {
        let first = ShardId(self.shards());
        match self.runs.last_mut() {
            Some(last) if last.grant == grant => last.count += count,
            _ => self.runs.push(GrantRun { first, count, grant }),
        }
    }

    /// The same shards with other values.
    pub(super) fn rewritten(&self, mut value: impl FnMut(Grant) -> Grant) -> Self {
        let mut to = Self::default();
        for run in &self.runs {
            to.append(run.count, value(run.grant));
        }
        to
    }

    /// The same, with other values of these shards, which are sorted.
    pub(super) fn with(&self, shards: &[ShardId], mut value: impl FnMut(Grant) -> Grant) -> Self {
        let mut named = shards.iter().copied().peekable();
        let mut to = Self::default();
        for (shard, grant) in self.iter() {
            let hit = named.next_if_eq(&shard).is_some();
            to.push(if hit { value(grant) } else { grant });
        }
        to
    }

    /// What is here and not the same in `before`.
    pub(super) fn changed_since(&self, before: &Self) -> Vec<GrantRun> {
        let mut runs: Vec<GrantRun> = Vec::new();
        let mut former = before.iter().map(|(_, grant)| grant);
        for (shard, grant) in self.iter() {
            if former.next() == Some(grant) {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.grant == grant && last.first.0 + last.count == shard.0 => last.count += 1,
                _ => runs.push(GrantRun { first: shard, count: 1, grant }),
            }
        }
        runs
    }
}

impl TryFrom<Vec<GrantRun>> for Grants {
    type Error = &'static str;
    fn try_from(runs: Vec<GrantRun>) -> Result<Self, Self::Error> {
        let mut next = 0_u32;
        for run in &runs {
            let fits = run.first.0 == next && run.count > 0;
            let end =
                next.checked_add(run.count).filter(|end| usize::try_from(*end).is_ok_and(|end| end <= MOST_SHARDS));
            next = end.filter(|_| fits).ok_or("runs of shards follow each other from 0, at most 16384 shards")?;
        }
        Ok(Self { runs })
    }
}

impl From<Grants> for Vec<GrantRun> {
    fn from(grants: Grants) -> Self {
        grants.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(holder: u32) -> Grant {
        let (kind, state) = (GrantKind::Escrow, GrantState::Held);
        Grant { epoch: Epoch(1), holder: MemberId(holder), kind, state, cut: None }
    }

    fn grants(holders: &[u32]) -> Grants {
        let mut grants = Grants::default();
        for holder in holders {
            grants.push(grant(*holder));
        }
        grants
    }

    #[test]
    fn shards_with_one_value_are_one_run() {
        let grants = grants(&[1, 1, 1, 2, 2, 1]);
        assert_eq!((grants.runs().len(), grants.shards()), (3, 6));
        let holders: Vec<u32> = grants.iter().map(|(_, grant)| grant.holder.0).collect();
        assert_eq!(holders, [1, 1, 1, 2, 2, 1]);
        assert_eq!(grants.of(ShardId(4)), Some(grant(2)));
        assert_eq!(grants.of(ShardId(6)), None);
    }

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let before = grants(&[1, 1, 1, 1]);
        let mut after = before.with(&[ShardId(1), ShardId(2)], |_| grant(2));
        after.push(grant(2));
        let told: Vec<(u32, u32)> = after.changed_since(&before).iter().map(|run| (run.first.0, run.count)).collect();
        assert_eq!(told, [(1, 2), (4, 1)]);
        assert_eq!(after.rewritten(|_| grant(3)).runs().len(), 1);
    }

    #[test]
    fn runs_with_a_gap_or_without_an_end_are_refused() {
        let run = |first, count| GrantRun { first: ShardId(first), count, grant: grant(1) };
        assert!(Grants::try_from(vec![run(0, 2), run(2, 1)]).is_ok());
        for wrong in [vec![run(1, 1)], vec![run(0, 2), run(3, 1)], vec![run(0, 0)], vec![run(0, u32::MAX)]] {
            assert!(Grants::try_from(wrong).is_err());
        }
    }
}
