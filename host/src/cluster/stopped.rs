//! Shards that this host stopped handing out from because it offered to give them away. On disk before the offer is made: a
//! host that forgot it would hand out again from what may be somebody else's by then.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use kernel::{Epoch, PoolUid, ShardId};
use serde::{Deserialize, Serialize};

use super::seat;

const FILE: &str = "stopped.json";

/// In which term each shard was stopped last, as long as its pool is there. A later term is another grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stopped {
    shards: Vec<(PoolUid, ShardId, Epoch)>,
    #[serde(skip)]
    index: BTreeMap<(PoolUid, ShardId), Epoch>,
}

impl Stopped {
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let mut found: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged: it says which shards may not be handed out from", path.display())
        })?;
        found.index = found.shards.iter().map(|(pool, shard, epoch)| ((*pool, *shard), *epoch)).collect();
        Ok(found)
    }

    /// Whether the shard is stopped in this term. Earlier terms are over: after a power cut the ledger may be known here only
    /// as it was before the shard went, and this file is all that tells.
    pub(super) fn holds(&self, pool: PoolUid, shard: ShardId, epoch: Epoch) -> bool {
        self.index.get(&(pool, shard)).is_some_and(|stopped| *stopped >= epoch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PoolUid, ShardId, Epoch)> + '_ {
        self.index.iter().map(|((pool, shard), epoch)| (*pool, *shard, *epoch))
    }

    /// Adds shards, and drops those whose term is over; written before it is so.
    pub(super) fn changed(
        &self,
        dir: &Path,
        add: &[(PoolUid, ShardId, Epoch)],
        keep: impl Fn(PoolUid, ShardId, Epoch) -> bool,
    ) -> anyhow::Result<Self> {
        let mut index: BTreeMap<_, _> = self.index.clone();
        index.retain(|(pool, shard), epoch| keep(*pool, *shard, *epoch));
        index.extend(add.iter().map(|(pool, shard, epoch)| ((*pool, *shard), *epoch)));
        let shards = index.iter().map(|((pool, shard), epoch)| (*pool, *shard, *epoch)).collect();
        let changed = Self { shards, index };
        if changed.index != self.index {
            let text = serde_json::to_vec(&changed).context("stopped shards have no text")?;
            seat::replace(dir, FILE, &text)?;
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stopped_is_read_back_and_a_later_term_is_not_stopped() {
        let dir = tempfile::tempdir().expect("a directory");
        let none = Stopped::read(dir.path()).expect("reads");
        assert!(none.is_empty());
        let add = [(PoolUid(1), ShardId(4), Epoch(2)), (PoolUid(1), ShardId(5), Epoch(1))];
        let two = none.changed(dir.path(), &add, |_, _, _| true).expect("writes");
        let again = Stopped::read(dir.path()).expect("reads");
        assert_eq!(again.iter().collect::<Vec<_>>(), two.iter().collect::<Vec<_>>());
        assert!(again.holds(PoolUid(1), ShardId(4), Epoch(2)));
        assert!(again.holds(PoolUid(1), ShardId(4), Epoch(1)), "that term is over");
        assert!(!again.holds(PoolUid(1), ShardId(4), Epoch(3)));
        let one = again.changed(dir.path(), &[], |_, shard, _| shard == ShardId(5)).expect("writes");
        assert_eq!(one.iter().count(), 1);
        assert_eq!(Stopped::read(dir.path()).expect("reads").iter().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), b"{").expect("writes");
        assert!(Stopped::read(dir.path()).expect_err("damaged").to_string().contains(FILE));
    }
}
