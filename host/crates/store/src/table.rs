//! Tables: sled databases that are written once, from the first key to the last, and then only read.
//!
//! Why never in place: sled moves pages as it writes and reuses the segments they were in before the copies are on the
//! disk (it never calls `fsync` itself). A power cut during a cycle can so take rows that were synced long before and
//! that the cycle did not touch; seen, see `FORMAT.md`. A table that is complete and synced before anything refers to
//! it, and never changed after, has no such moment.
//!
//! This module is the only one that knows sled.

mod row;
mod writer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kernel::Op;

use row::Assembler;
pub(crate) use row::Row;
pub(crate) use writer::TableWriter;

use crate::error::{Damage, StoreError};
use crate::key::RowKey;
use crate::manifest::{Summary, TableId};
use crate::record::{Block, Interner};

/// Longer values go to files of their own that nobody syncs, so none is longer.
pub(crate) const MAX_VALUE_BYTES: usize = 8 << 10;

/// How long a database that was just closed may keep its lock: sled lets go on a thread of its own.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

/// A table that can be read.
#[derive(Debug)]
pub(crate) struct Table {
    db: sled::Db,
    pub(crate) id: TableId,
}

fn config(path: &Path, cache_bytes: u64) -> sled::Config {
    // `flush_every_ms(None)`: no thread of sled's own writes behind our back.
    sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None).use_compression(false)
}

fn sled_error(action: &'static str, id: TableId, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::io(action, id.dir_name(), error),
        other @ (sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. }) => StoreError::corrupt(id.dir_name(), other),
    }
}

/// sled reports some damage by a panic; a damaged table must be an error like any other.
fn open_database(dir: &Path, id: TableId, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let path = dir.join(id.dir_name());
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = std::panic::catch_unwind(|| config(&path, cache_bytes).open());
        let error = match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => error,
            Err(_) => return Err(StoreError::corrupt(id.dir_name(), "sled cannot open it")),
        };
        let locked = matches!(&error, sled::Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock
            || error.to_string().contains("could not acquire lock"));
        if !locked || Instant::now() > patience {
            return Err(sled_error("open", id, error));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Table {
    /// Opens a table that the manifest names.
    pub(crate) fn open(dir: &Path, id: TableId, cache_bytes: u64) -> Result<Self, StoreError> {
        let path = dir.join(id.dir_name());
        // sled would make an empty database where there is none.
        if !path.join("db").exists() {
            return Err(StoreError::corrupt(id.dir_name(), "it is missing"));
        }
        Ok(Self { db: open_database(dir, id, cache_bytes)?, id })
    }

    /// The rows from the last one that begins at or before `from`, in order.
    pub(crate) fn rows_from(&self, from: &[u8]) -> Rows<'_> {
        // Parts of a row share its key, so the row's last part sorts directly before a larger key.
        let mut least = from.to_vec();
        least.extend([u8::MAX; 2]);
        let begins = match self.db.range(..=least).next_back() {
            Some(Ok((key, _))) => row::without_part(&key).to_vec(),
            Some(Err(_)) | None => Vec::new(),
        };
        Rows { table: self, raw: self.db.range((Bound::Included(begins), Bound::Unbounded)), assembler: Assembler::default(), ended: false }
    }

    /// All rows, in order.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { table: self, raw: self.db.iter(), assembler: Assembler::default(), ended: false }
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
}

/// Iterates rows. The outer error ends it; a damaged row is reported in its place and the rest goes on.
pub(crate) struct Rows<'a> {
    table: &'a Table,
    raw: sled::Iter,
    assembler: Assembler,
    ended: bool,
}

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("table", &self.table.id).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Result<Row, Damage>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.table.id;
        loop {
            if let Some(outcome) = self.assembler.ready() {
                return Some(Ok(outcome));
            }
            if self.ended {
                return None;
            }
            match self.raw.next() {
                Some(Ok((key, value))) => self.assembler.feed(id, &key, &value),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(sled_error("read", id, error)));
                }
                None => {
                    self.ended = true;
                    self.assembler.end(id);
                }
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

    /// The row's key, for a look-up that must know where to stop.
    pub(crate) fn key(&self) -> RowKey {
        self.key
    }
}

/// Syncs everything sled made, which it does not do itself, and the directories the files are named in.
fn sync_tree(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let path: PathBuf = entry.path();
        if entry.file_type()?.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    File::open(path)?.sync_all()
}
