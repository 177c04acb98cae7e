//! The directory: one owner at a time, small files replaced as a whole, every sync in one place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::{RwLock, RwLockReadGuard};
use rustix::fs::{FlockOperation, flock};

use crate::error::StorageError;

const LOCK: &str = "lock";

/// An open directory. Closing it waits for the writes under way and refuses later ones, so that it can be opened again
/// while tasks that know it are still ending.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    handle: File,
    /// The lock's file while the directory is open.
    lock: RwLock<Option<File>>,
    #[cfg(test)]
    pub(crate) faults: Faults,
}

/// A disk that fails on command.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) fail_syncs: std::sync::atomic::AtomicBool,
    /// One of openraft's checks of a store leaves an entry out, which no log does.
    pub(crate) allow_gaps: std::sync::atomic::AtomicBool,
}

/// Writing is allowed as long as this lives.
pub(crate) type Open<'a> = RwLockReadGuard<'a, Option<File>>;

impl Disk {
    /// Makes the directory if it is missing and locks it.
    pub(crate) fn open(dir: &Path) -> Result<Self, StorageError> {
        let failed = |action| move |source| StorageError::Io { action, path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed("make"))?;
        let handle = File::open(dir).map_err(failed("open"))?;
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|source| StorageError::Io { action: "open", path: path.clone(), source })?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StorageError::Locked { dir: dir.to_owned() }),
            Err(error) => return Err(StorageError::Io { action: "lock", path, source: error.into() }),
        }
        Ok(Self {
            dir: dir.to_owned(),
            handle,
            lock: RwLock::new(Some(lock)),
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The right to write, for as long as it is kept.
    pub(crate) fn writing(&self) -> Result<Open<'_>, StorageError> {
        let open = self.lock.read();
        if open.is_none() { Err(StorageError::Closed) } else { Ok(open) }
    }

    /// Waits for the writes under way, ends all later ones, and lets others open the directory.
    pub(crate) fn close(&self) {
        if let Some(lock) = self.lock.write().take() {
            // Closing alone is not enough: a child that is just being started may hold a copy of the descriptor. If it
            // fails, the next owner waits for that child.
            flock(&lock, FlockOperation::Unlock).unwrap_or_default();
        }
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, StorageError> {
        let failed = |source| StorageError::Io { action: "list", path: self.dir.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            // A name that is not text is not ours.
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The whole file, or `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StorageError::Io { action: "read", path, source }),
        }
    }

    pub(crate) fn open_file(&self, name: &str) -> Result<File, StorageError> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|source| StorageError::Io { action: "open", path, source })
    }

    /// Durable when it returns.
    pub(crate) fn write_at(&self, file: &File, name: &str, bytes: &[u8], offset: u64) -> Result<(), StorageError> {
        let failed = |source| StorageError::Io { action: "write", path: self.path(name), source };
        file.write_all_at(bytes, offset).map_err(failed)?;
        self.sync(file, name)
    }

    pub(crate) fn sync(&self, file: &File, name: &str) -> Result<(), StorageError> {
        self.synced(file.sync_data(), name)
    }

    /// Whether an entry may be missing from the log: never, outside of that check.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' disk has a switch for it")]
    pub(crate) fn gaps_allowed(&self) -> bool {
        false
    }

    #[cfg(test)]
    pub(crate) fn gaps_allowed(&self) -> bool {
        self.faults.allow_gaps.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Which files there are.
    pub(crate) fn sync_names(&self) -> Result<(), StorageError> {
        self.synced(self.handle.sync_all(), "")
    }

    fn synced(&self, result: io::Result<()>, name: &str) -> Result<(), StorageError> {
        #[cfg(test)]
        let result = if self.faults.fail_syncs.load(std::sync::atomic::Ordering::SeqCst) {
            Err(io::Error::other("injected"))
        } else {
            result
        };
        result.map_err(|source| StorageError::Io { action: "sync", path: self.path(name), source })
    }

    /// Replaces a file as a whole: a start finds the old one or the new one, complete. Durable when it returns.
    pub(crate) fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<(), StorageError> {
        let fresh = format!("{name}.new");
        let path = self.path(&fresh);
        let failed = |action| {
            let path = path.clone();
            move |source| StorageError::Io { action, path, source }
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = file.map_err(failed("create"))?;
        for part in parts {
            file.write_all(part).map_err(failed("write"))?;
        }
        self.sync(&file, &fresh)?;
        fs::rename(&path, self.path(name)).map_err(failed("rename"))?;
        self.sync_names()
    }

    /// Durable when it returns. A file that is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync_names(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StorageError::Io { action: "remove", path, source }),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}
