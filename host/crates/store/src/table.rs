//! Tables: operations in the order of their keys, written once from the first to the last, and then only read.
//!
//! A table is a directory of sled databases, its *volumes*, each with a stretch of the keys. There are several because
//! sled keeps most of what it ever read or wrote of a database in memory, whatever its cache is told; only one volume is
//! open at a time, so this bounds it. The file `index` says with which key each begins.
//!
//! Why never in place: sled moves pages as it writes and reuses the segments they were in before the copies are on the
//! disk (it never calls `fsync` itself). A power cut during a cycle can so take rows that were synced long before and
//! that the cycle did not touch; seen, see `FORMAT.md`. A table that is complete and synced before anything refers to
//! it, and never changed after, has no such moment.
//!
//! This module is the only one that knows sled, and `volume` the only part of it.

mod index;
mod row;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use kernel::Op;
use parking_lot::Mutex;

use row::Assembler;
pub(crate) use row::Row;
use volume::{Parts, Volume, VolumeError};
pub(crate) use writer::TableWriter;

use crate::error::{Damage, StoreError};
use crate::key::RowKey;
use crate::manifest::{Summary, TableId};
use crate::record::{Block, Interner};

/// Longer values go to files of their own that nobody syncs, so none is longer.
pub(crate) const MAX_VALUE_BYTES: usize = 8 << 10;

/// A table that can be read, by several at once.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: TableId,
    dir: PathBuf,
    cache_bytes: u64,
    /// The first key of each volume.
    firsts: Vec<RowKey>,
    /// Volumes that somebody reads now: sled allows one opener at a time, so readers share it.
    open: Mutex<Vec<Weak<Volume>>>,
}

impl Table {
    /// Opens a table that the manifest names.
    pub(crate) fn open(dir: &Path, id: TableId, cache_bytes: u64) -> Result<Self, StoreError> {
        let dir = dir.join(id.dir_name());
        let firsts = index::read(&dir, id)?;
        let open = Mutex::new(firsts.iter().map(|_| Weak::new()).collect());
        Ok(Self { id, dir, cache_bytes, firsts, open })
    }

    /// The rows from the last one that begins at or before `from`, in order.
    pub(crate) fn rows_from(&self, from: RowKey) -> Rows<'_> {
        let after = self.firsts.partition_point(|first| *first <= from);
        Rows::new(self, after.saturating_sub(1), Some(from))
    }

    /// All rows, in order.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows::new(self, 0, None)
    }

    /// What is in it, to compare with what was written; and what cannot be read.
    pub(crate) fn survey(&self) -> Result<(Summary, Vec<Damage>), StoreError> {
        let mut found = Summary::default();
        let mut damage = Vec::new();
        for row in self.rows() {
            match row? {
                Ok(row) => row.count_into(&mut found),
                Err(fault) => damage.push(fault),
            }
        }
        Ok((found, damage))
    }

    /// The damage if what was found is not what was written.
    pub(crate) fn compare(&self, written: Summary, found: Summary) -> Option<Damage> {
        (written != found).then(|| Damage {
            key: self.id.dir_name(),
            pool: None,
            why: format!("it holds {} rows, {} were written", found.rows, written.rows),
        })
    }

    fn volume(&self, number: usize) -> Result<Arc<Volume>, VolumeError> {
        let mut open = self.open.lock();
        if let Some(shared) = open.get(number).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let volume = Arc::new(Volume::open(&volume::path(&self.dir, number), self.cache_bytes)?);
        if let Some(slot) = open.get_mut(number) {
            *slot = Arc::downgrade(&volume);
        }
        Ok(volume)
    }

    /// What is lost when a volume cannot be read from `from` on: up to where the next begins.
    fn rest_of_volume(&self, number: usize, from: Option<RowKey>, why: String) -> Damage {
        let from = from.or_else(|| self.firsts.get(number).copied()).and_then(RowKey::pool);
        let until = self.firsts.get(number + 1).copied().and_then(RowKey::pool);
        let pool = if from == until { from } else { None };
        Damage { key: format!("{}/{number:04}", self.id.dir_name()), pool, why }
    }
}

/// Keeps a volume open: opening one costs more than reading a few rows of it.
#[derive(Debug)]
pub(crate) struct OpenVolume {
    _volume: Arc<Volume>,
}

/// Iterates rows. The outer error ends it; a damaged row or volume is reported in its place and the rest goes on.
pub(crate) struct Rows<'a> {
    table: &'a Table,
    next_volume: usize,
    /// Where to begin in the first volume, if not at its beginning.
    from: Option<RowKey>,
    last_key: Option<RowKey>,
    current: Option<(Parts, Arc<Volume>)>,
    assembler: Assembler,
}

impl<'a> Rows<'a> {
    fn new(table: &'a Table, next_volume: usize, from: Option<RowKey>) -> Self {
        Self { table, next_volume, from, last_key: None, current: None, assembler: Assembler::default() }
    }

    /// Takes the next part, of the next volume if need be. False: there are no more.
    fn advance(&mut self) -> Result<bool, VolumeError> {
        if let Some((parts, _)) = &mut self.current {
            if let Some((key, value)) = parts.next()? {
                self.assembler.feed(self.table.id, &key, &value);
                return Ok(true);
            }
            self.current = None;
            self.assembler.end(self.table.id);
            return Ok(true);
        }
        if self.next_volume >= self.table.firsts.len() {
            return Ok(false);
        }
        self.last_key = None;
        self.next_volume += 1;
        let volume = self.table.volume(self.next_volume - 1)?;
        let parts = match self.from.take() {
            Some(from) => volume.parts_from(&from.to_bytes())?,
            None => volume.parts(),
        };
        self.current = Some((parts, volume));
        Ok(true)
    }

    /// The volume that is being read, to be kept open until the next call goes on in it.
    pub(crate) fn open_volume(&self) -> Option<OpenVolume> {
        self.current.as_ref().map(|(_, volume)| OpenVolume { _volume: Arc::clone(volume) })
    }

    /// A volume cannot be read further.
    fn give_up(&mut self, error: VolumeError) -> Result<Damage, StoreError> {
        let number = self.next_volume.saturating_sub(1);
        self.current = None;
        self.from = None;
        match error {
            VolumeError::Io(error) => Err(StoreError::path("read", &volume::path(&self.table.dir, number), error)),
            VolumeError::Damaged(why) => Ok(self.table.rest_of_volume(number, self.last_key, why)),
        }
    }
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("table", &self.table.id).field("at", &self.last_key).finish_non_exhaustive()
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Result<Row, Damage>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(outcome) = self.assembler.ready() {
                if let Ok(row) = &outcome {
                    self.last_key = Some(row.key());
                }
                return Some(Ok(outcome));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(self.give_up(error).map(Err)),
            }
        }
    }
}

impl Row {
    /// Decodes the row's operations. A fault is reported as damage of this row.
    pub(crate) fn decode(&self, id: TableId, interner: &mut Interner, each: impl FnMut(Op)) -> Result<(), Damage> {
        let fault = |why: crate::record::RecordFault| row::damage(id, self.key, &why);
        Block::parse(&self.block).map_err(fault)?.decode_all(interner, each).map_err(fault)
    }

    /// How many operations are in it.
    pub(crate) fn ops(&self) -> u32 {
        self.ops
    }

    /// The row's key, for a look-up that must know where to stop.
    pub(crate) fn key(&self) -> RowKey {
        self.key
    }
}
