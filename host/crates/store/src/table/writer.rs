//! Writes a table: operations in the order of their keys, packed into rows, everything read back and synced at the end.

use std::fs::File;
use std::path::{Path, PathBuf};

use kernel::Op;

use super::volume::{self, Volume, VolumeError, sync_tree};
use super::{Table, index, row};
use crate::error::StoreError;
use crate::key::RowKey;
use crate::manifest::{Summary, TableId};
use crate::record::BlockWriter;

/// A row is closed at about this size. Half a value: sled keeps up to 16 rows in a page.
const ROW_BYTES: usize = 4 << 10;
/// A volume is full at this part of the memory sled may take: it keeps what it writes, and more than once.
const VOLUME_PARTS: u64 = 8;

/// A table that is being written. Nobody else knows of it; dropped unfinished, its directory is rubbish.
#[derive(Debug)]
pub(crate) struct TableWriter {
    /// The data directory.
    dir: PathBuf,
    id: TableId,
    cache_bytes: u64,
    volume: Option<Volume>,
    volume_bytes: u64,
    firsts: Vec<RowKey>,
    block: BlockWriter,
    /// The key of the row in `block`.
    first: Option<RowKey>,
    written: Summary,
    raw: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn create(dir: &Path, id: TableId, cache_bytes: u64) -> Result<Self, StoreError> {
        let path = dir.join(id.dir_name());
        std::fs::create_dir(&path).map_err(|error| StoreError::path("create", &path, error))?;
        Ok(Self {
            dir: dir.to_owned(),
            id,
            cache_bytes,
            volume: None,
            volume_bytes: 0,
            firsts: Vec::new(),
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

    fn failed(&self, error: VolumeError) -> StoreError {
        let what = format!("{}/{:04}", self.id.dir_name(), self.firsts.len().saturating_sub(1));
        match error {
            VolumeError::Io(error) => StoreError::io("write", what, error),
            VolumeError::Damaged(why) => StoreError::corrupt(what, why),
        }
    }

    fn close_row(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.first.take() else { return Ok(()) };
        let too_long = |len| StoreError::corrupt(key, format!("{len} bytes are too long for a row"));
        let ops = u32::try_from(self.block.count()).map_err(|_| too_long(self.raw.len()))?;
        self.raw.clear();
        self.block.finish(&mut self.raw);
        let (parts, row) = row::parts(key, &self.raw, ops).ok_or_else(|| too_long(self.raw.len()))?;
        if self.volume_bytes >= self.cache_bytes / VOLUME_PARTS {
            self.close_volume()?;
        }
        let volume = if let Some(volume) = self.volume.take() {
            volume
        } else {
            let path = volume::path(&self.dir.join(self.id.dir_name()), self.firsts.len());
            self.firsts.push(key);
            Volume::create(&path, self.cache_bytes).map_err(|error| self.failed(error))?
        };
        for (part_key, value) in parts {
            self.volume_bytes += (part_key.len() + value.len()) as u64;
            volume.insert(part_key, value).map_err(|error| self.failed(error))?;
        }
        self.volume = Some(volume);
        row.count_into(&mut self.written);
        Ok(())
    }

    fn close_volume(&mut self) -> Result<(), StoreError> {
        self.volume_bytes = 0;
        match self.volume.take() {
            Some(volume) => volume.close().map_err(|error| self.failed(error)),
            None => Ok(()),
        }
    }

    /// Closes, reads everything back and syncs: after this the table may be named.
    pub(crate) fn finish(mut self) -> Result<Summary, StoreError> {
        self.close_row()?;
        self.close_volume()?;
        let Self { dir, id, cache_bytes, firsts, written, .. } = self;
        let path = dir.join(id.dir_name());
        index::write(&path, &firsts).map_err(|error| StoreError::path("write", &path, error))?;
        let table = Table::open(&dir, id, cache_bytes)?;
        let (found, damage) = table.survey()?;
        if let Some(damage) = damage.into_iter().next().or_else(|| table.compare(written, found)) {
            return Err(StoreError::corrupt(damage.key, damage.why));
        }
        sync_tree(&path)
            .and_then(|()| File::open(&dir)?.sync_all())
            .map_err(|error| StoreError::path("finish", &path, error))?;
        Ok(written)
    }
}
