//! Which shards may have room for a span of some length: a row of bits for each power of two, so that finding the next
//! shard takes a few steps whatever the number of shards and however full they are.

use super::bits::Bits;

/// Row k says which shards may have room for 2^k grains or more.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    rows: Vec<Bits>,
}

impl Rooms {
    /// All shards may have room for the longest span.
    pub(super) fn new(shards: usize, longest: u128) -> Self {
        let shards = u32::try_from(shards).expect("a pool has at most 16,384 shards");
        Self { rows: vec![Bits::full(shards); longest.ilog2() as usize + 1] }
    }

    /// The first shard from `from` on that may have room for so many grains; if it has room for less, it has room for
    /// more than half of them.
    pub(super) fn next(&self, from: usize, grains: u128) -> Option<usize> {
        let row = self.rows.get(grains.ilog2() as usize)?;
        row.next(u32::try_from(from).ok()?).map(|shard| shard as usize)
    }

    /// A shard's room changed.
    pub(super) fn change(&mut self, shard: usize, old: u128, new: u128) {
        let rows = |room: u128| room.checked_ilog2().map_or(0, |log| log as usize + 1);
        let Ok(shard) = u32::try_from(shard) else { return };
        let (old, new) = (rows(old), rows(new));
        for row in self.rows.iter_mut().take(new).skip(old) {
            row.set(shard, shard + 1);
        }
        for row in self.rows.iter_mut().take(old).skip(new) {
            row.unset(shard, shard + 1);
        }
    }
}
