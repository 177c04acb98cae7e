//! How far the log was known to be committed: a hint, so that a restarted member applies what it knew without a majority.
//!
//! Written in place and not synced: after a power cut it may be older than the truth, or torn. Both only mean that the
//! entries behind it wait for a leader.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::disk::Disk;
use super::seal::{self, Kind};
use crate::error::StorageError;
use crate::raft::LogId;
use crate::record;

const FILE: &str = "committed";
const KIND: Kind = Kind(b"nx-comm\0");

#[derive(Debug)]
pub(crate) struct Committed {
    file: File,
    known: Option<LogId>,
}

impl Committed {
    pub(crate) fn open(disk: &Disk) -> Result<Self, StorageError> {
        let path = disk.path(FILE);
        let known = match disk.read(FILE)?.filter(|bytes| !bytes.is_empty()) {
            None => None,
            Some(bytes) => match seal::unseal::<record::LogId>(KIND, &path, &bytes) {
                Ok(id) => id.to_raft().map(Some).map_err(|why| why.to_string()),
                Err(newer @ StorageError::NewerFormat { .. }) => return Err(newer),
                Err(torn) => Err(torn.to_string()),
            }
            .unwrap_or_else(|why| {
                tracing::warn!(%why, "how far the log was committed is not known; waiting for a leader to say it");
                None
            }),
        };
        Ok(Self { file: disk.open_file(FILE)?, known })
    }

    pub(crate) fn get(&self) -> Option<LogId> {
        self.known
    }

    /// Never claims more than is in the log: entries that others have may be committed before ours are on the disk, and
    /// after a power cut they are not in it.
    pub(crate) fn limit(&mut self, last: Option<LogId>) {
        self.known = self.known.min(last);
    }

    pub(crate) fn set(&mut self, disk: &Disk, id: Option<LogId>) -> Result<(), StorageError> {
        self.known = id;
        let Some(id) = id else { return Ok(()) };
        let bytes = seal::seal(KIND, &record::LogId::of(&id));
        let failed = |source| StorageError::Io { action: "write", path: disk.path(FILE), source };
        self.file.write_all_at(&bytes, 0).map_err(failed)
    }

    pub(crate) fn sync(&self, disk: &Disk) -> Result<(), StorageError> {
        disk.sync(&self.file, FILE)
    }
}
