//! Snapshots: one file each, complete before it has its name; the newest counts, older ones go.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Disk;
use super::seal::{self, HEAD_BYTES, Kind};
use crate::error::StorageError;
use crate::raft::SnapshotMeta;
use crate::record;

const KIND: Kind = Kind(b"nx-snap\0");
const PREFIX: &str = "snapshot-";

/// What a snapshot covers, and the machine's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) meta: SnapshotMeta,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Snapshots {
    disk: Arc<Disk>,
    /// The newest on the disk. Locked while one is written, since one may be taken while another is received.
    newest: Mutex<Option<SnapshotMeta>>,
}

fn name(meta: &SnapshotMeta) -> String {
    format!("{PREFIX}{:020}", meta.last_log_id.map_or(0, |id| id.index))
}

fn ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
}

impl Snapshots {
    /// Also the newest snapshot itself, for the machine.
    pub(crate) fn open(disk: Arc<Disk>) -> Result<(Self, Option<Stored>), StorageError> {
        let mut names: Vec<String> = disk.names()?.into_iter().filter(|name| ours(name)).collect();
        let newest = names.pop();
        let stored = match &newest {
            Some(name) => disk.read(name)?.map(|bytes| parse(&disk.path(name), &bytes)).transpose()?,
            None => None,
        };
        for old in names {
            disk.remove(&old)?;
        }
        let newest = Mutex::new(stored.as_ref().map(|stored| stored.meta.clone()));
        Ok((Self { disk, newest }, stored))
    }

    /// Keeps a snapshot, unless a newer one is there. Durable when it returns.
    pub(crate) fn save(&self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), StorageError> {
        let mut newest = self.newest.lock();
        if newest.as_ref().is_some_and(|newest| newest.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        let _writing = self.disk.writing()?;
        let head = seal::encode(&record::SnapshotMeta::of(meta));
        let length = (head.len() as u64).to_le_bytes();
        let (before, after) = seal::around(KIND, &[&length, &head, bytes]);
        self.disk.replace(&name(meta), &[&before, &length, &head, bytes, &after])?;
        let old = newest.replace(meta.clone()).map(|old| name(&old)).filter(|old| *old != name(meta));
        if let Some(old) = old {
            self.disk.remove(&old)?;
        }
        Ok(())
    }

    pub(crate) fn load(&self) -> Result<Option<Stored>, StorageError> {
        let newest = self.newest.lock();
        let Some(meta) = newest.as_ref() else { return Ok(None) };
        let name = name(meta);
        let path = self.disk.path(&name);
        match self.disk.read(&name)? {
            Some(bytes) => parse(&path, &bytes).map(Some),
            None => Err(StorageError::Damaged { path, offset: 0, why: "it is gone".to_owned() }),
        }
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Stored, StorageError> {
    let (content, _) = seal::open(KIND, path, bytes)?;
    let damaged = |why: String| StorageError::Damaged { path: path.to_owned(), offset: HEAD_BYTES as u64, why };
    let split = content.split_first_chunk::<8>().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    let (head, bytes) = split.ok_or_else(|| damaged("it ends within the record of what it covers".to_owned()))?;
    let meta: record::SnapshotMeta = seal::decode(path, head)?;
    let meta = meta.to_raft().map_err(|why| damaged(why.to_string()))?;
    Ok(Stored { meta, bytes: bytes.to_vec() })
}
