//! One sled database of a table: everything that sled does differently from what its name promises is dealt with here.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::row;

/// How long a database that was just closed may keep its lock: sled lets go on a thread of its own.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Why a database could not be used.
#[derive(Debug)]
pub(super) enum VolumeError {
    Io(io::Error),
    Damaged(String),
}

impl From<sled::Error> for VolumeError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            other @ (sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. }) => Self::Damaged(other.to_string()),
        }
    }
}

/// sled reports some damage by a panic; damage must be an error like any other.
fn guarded<T>(ask: impl FnOnce() -> sled::Result<T>) -> Result<T, VolumeError> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(VolumeError::from),
        Err(_) => Err(VolumeError::Damaged("sled panicked".into())),
    }
}

/// The database of this number in a table's directory.
pub(super) fn path(table: &Path, number: usize) -> PathBuf {
    table.join(format!("{number:04}"))
}

/// An open database.
#[derive(Debug)]
pub(super) struct Volume {
    db: sled::Db,
}

/// A row's part as sled keeps it.
type RawPart = (sled::IVec, sled::IVec);

impl Volume {
    pub(super) fn create(path: &Path, cache_bytes: u64) -> Result<Self, VolumeError> {
        // `flush_every_ms(None)`: no thread of sled's own writes behind our back.
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        Ok(Self { db: guarded(|| config.open())? })
    }

    /// Opens a database that must be there.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, VolumeError> {
        // sled would make an empty one.
        if !path.join("db").exists() {
            return Err(VolumeError::Damaged("it is missing".into()));
        }
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::create(path, cache_bytes) {
                Err(VolumeError::Io(error)) if is_locked(&error) && Instant::now() < patience => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    pub(super) fn insert(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), VolumeError> {
        guarded(|| self.db.insert(key, value).map(drop))
    }

    /// Hands everything to the operating system. Syncing it is [`sync_tree`]'s.
    pub(super) fn close(self) -> Result<(), VolumeError> {
        guarded(|| self.db.flush().map(drop))
    }

    /// All parts.
    pub(super) fn parts(&self) -> Parts {
        Parts { raw: self.db.iter() }
    }

    /// The parts from those of the last row that begins at or before `from`.
    pub(super) fn parts_from(&self, from: &[u8]) -> Result<Parts, VolumeError> {
        // Parts of a row share its key, so the row's last part sorts directly before a larger key.
        let mut row_end = from.to_vec();
        row_end.extend([u8::MAX; 2]);
        let last = guarded(|| self.db.range(..=row_end).next_back().transpose())?;
        let begins = last.map_or_else(Vec::new, |(key, _)| row::without_part(&key).to_vec());
        Ok(Parts { raw: self.db.range((Bound::Included(begins), Bound::Unbounded)) })
    }

    #[cfg(test)]
    pub(super) fn database(&self) -> &sled::Db {
        &self.db
    }
}

/// Iterates the parts of a database's rows.
pub(super) struct Parts {
    raw: sled::Iter,
}

impl Parts {
    pub(super) fn next(&mut self) -> Result<Option<RawPart>, VolumeError> {
        guarded(|| self.raw.next().transpose())
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// Syncs everything below a directory, which sled does not do itself, and the directories the files are named in.
pub(super) fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}
