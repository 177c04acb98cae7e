//! How far the log is known to be committed, so that a restarted member applies again, without a majority, all that it ever
//! applied: whoever follows the machine acted on it.
//!
//! Two slots, written in turn and synced each time before what is committed is applied. A power cut tears at most the slot
//! that was being written, and nothing was applied on its word; the other one has what was applied.

use std::fs::File;

use super::disk::Disk;
use super::seal::{self, Kind};
use crate::error::StorageError;
use crate::raft::LogId;
use crate::record;

pub(super) const FILE: &str = "committed";
const KIND: Kind = Kind(b"nx-comm\0");

/// Slots are apart by what disks write at once. Builds before this one wrote the first alone, and did not sync it.
pub(super) const SLOT_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Committed {
    file: File,
    known: Option<LogId>,
    /// What a slot has that is not to be written next.
    synced: Option<LogId>,
    next: Slot,
    /// Whether what was read was synced before it was acted on.
    sure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    First,
    Second,
}

impl Slot {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn offset(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => SLOT_BYTES,
        }
    }
}

impl Committed {
    /// # Errors
    ///
    /// If neither slot can be believed although both were written: then nobody knows what was applied.
    pub(crate) fn open(disk: &Disk) -> Result<Self, StorageError> {
        let bytes = disk.read(FILE)?.unwrap_or_default();
        let first = read(disk, &bytes, Slot::First)?;
        let second = read(disk, &bytes, Slot::Second)?;
        let sure = bytes.len() > SLOT_BYTES;
        let torn = first.is_err() || second.is_err();
        if let (true, Err(why), Err(_)) = (sure, &first, &second) {
            return Err(StorageError::Damaged {
                path: disk.path(FILE),
                offset: 0,
                why: format!("neither slot: {why}"),
            });
        }
        let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
        if torn && first.max(second).is_none() {
            tracing::warn!("how far the log was committed is not known; waiting for a leader to say it");
        }
        // The newest stays as it is until the other one has what is newer.
        let next = if first > second { Slot::Second } else { Slot::First };
        let known = first.max(second);
        let file = disk.open_file(FILE)?;
        if let Some(id) = &known {
            // If its sync failed, it may be in the system's memory alone, and no later sync would write it.
            write(disk, &file, next.other(), id)?;
        }
        Ok(Self { file, known, synced: known, next, sure })
    }

    pub(crate) fn get(&self) -> Option<LogId> {
        self.known
    }

    /// What was read if it was acted on, so that a log that ends before it has gone back.
    pub(crate) fn promised(&self) -> Option<LogId> {
        self.known.filter(|_| self.sure)
    }

    /// Never claims more than is in the log. Builds before this one did not see to that.
    pub(crate) fn limit(&mut self, last: Option<LogId>) {
        self.known = self.known.min(last);
    }

    /// Durable when it returns, as far as the log goes; what is behind that comes with a snapshot, which says so itself.
    pub(crate) fn set(&mut self, disk: &Disk, id: Option<LogId>, last: Option<LogId>) -> Result<(), StorageError> {
        self.known = id;
        let Some(id) = id.min(last).filter(|id| Some(*id) > self.synced) else { return Ok(()) };
        write(disk, &self.file, self.next, &id)?;
        self.synced = Some(id);
        self.next = self.next.other();
        Ok(())
    }
}

fn write(disk: &Disk, file: &File, slot: Slot, id: &LogId) -> Result<(), StorageError> {
    disk.write_at(file, FILE, &seal::seal(KIND, &record::LogId::of(id)), slot.offset() as u64)
}

/// What a slot says: nothing if it was never written, an error if it is torn.
fn read(disk: &Disk, bytes: &[u8], slot: Slot) -> Result<Result<Option<LogId>, String>, StorageError> {
    let path = disk.path(FILE);
    let Some(bytes) = bytes.get(slot.offset()..).filter(|bytes| !bytes.is_empty()) else { return Ok(Ok(None)) };
    let slot = bytes.get(..SLOT_BYTES).unwrap_or(bytes);
    if slot.iter().all(|byte| *byte == 0) {
        return Ok(Ok(None));
    }
    match seal::unseal::<record::LogId>(KIND, &path, slot) {
        Ok(id) => Ok(id.to_raft().map(Some).map_err(|why| why.to_string())),
        Err(newer @ StorageError::NewerFormat { .. }) => Err(newer),
        Err(torn) => Ok(Err(torn.to_string())),
    }
}
