//! Writes a table: operations in the order of their keys, packed into rows, everything synced and read back at the end.

use std::path::{Path, PathBuf};

use kernel::Op;

use super::{Table, config, row, sled_error, sync_tree};
use crate::error::StoreError;
use crate::key::RowKey;
use crate::manifest::{Summary, TableId};
use crate::record::BlockWriter;

/// A row is closed at about this size. Half a value: sled keeps up to 16 rows in a page and whole pages in memory.
const ROW_BYTES: usize = 4 << 10;

/// A table that is being written. Nobody else knows of it; dropped unfinished, its directory is rubbish.
#[derive(Debug)]
pub(crate) struct TableWriter {
    dir: PathBuf,
    id: TableId,
    cache_bytes: u64,
    db: sled::Db,
    block: BlockWriter,
    first: Option<RowKey>,
    written: Summary,
    raw: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn create(dir: &Path, id: TableId, cache_bytes: u64) -> Result<Self, StoreError> {
        let db = config(&dir.join(id.dir_name()), cache_bytes).open().map_err(|error| sled_error("create", id, error))?;
        Ok(Self {
            dir: dir.to_owned(),
            id,
            cache_bytes,
            db,
            block: BlockWriter::default(),
            first: None,
            written: Summary::default(),
            raw: Vec::new(),
        })
    }

    /// Adds an operation whose key is not below the last one's.
    pub(crate) fn push(&mut self, key: RowKey, op: &Op) -> Result<(), StoreError> {
        let full = self.block.len() >= ROW_BYTES;
        if self.first.is_some_and(|first| full || first.group() != key.group()) {
            self.close_row()?;
        }
        self.first.get_or_insert(key);
        self.block.push(op);
        Ok(())
    }

    fn close_row(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.first.take() else { return Ok(()) };
        let too_long = |len| StoreError::corrupt(key, format!("{len} bytes are too long for a row"));
        let ops = u32::try_from(self.block.count()).map_err(|_| too_long(self.raw.len()))?;
        self.raw.clear();
        self.block.finish(&mut self.raw);
        let (parts, row) = row::parts(key, &self.raw, ops).ok_or_else(|| too_long(self.raw.len()))?;
        for (part_key, value) in parts {
            self.db.insert(part_key, value).map_err(|error| sled_error("write", self.id, error))?;
        }
        row.count_into(&mut self.written);
        Ok(())
    }

    /// Closes, reads everything back and syncs: after this the table may be named.
    pub(crate) fn finish(mut self) -> Result<Summary, StoreError> {
        self.close_row()?;
        self.db.flush().map_err(|error| sled_error("flush", self.id, error))?;
        let Self { dir, id, cache_bytes, db, written, .. } = self;
        drop(db);
        {
            let table = Table::open(&dir, id, cache_bytes)?;
            let (found, damage) = table.survey()?;
            if let Some(damage) = damage.into_iter().next().or_else(|| table.compare(written, found)) {
                return Err(StoreError::corrupt(damage.key, damage.why));
            }
        }
        let path = dir.join(id.dir_name());
        sync_tree(&path).map_err(|error| StoreError::path("sync", &path, error))?;
        std::fs::File::open(&dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| StoreError::path("sync", &dir, error))?;
        Ok(written)
    }
}
