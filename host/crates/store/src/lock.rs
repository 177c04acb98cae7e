//! One daemon for one data directory: an advisory lock on the file `lock`, which also says who holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::StoreError;

pub(crate) const FILE: &str = "lock";

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
}

impl DirLock {
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let failed = |error| StoreError::path("lock", &path, error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Who it is only helps the operator; that somebody holds it is certain.
                let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim().to_owned() } else { "unknown".to_owned() };
                return Err(StoreError::Locked { dir: dir.to_owned(), holder });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // A full disk must not stop a start, so the note is made only if it can be.
        let noted = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        drop(noted);
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started may hold a copy of the descriptor for a moment.
        flock(&self.file, FlockOperation::Unlock).unwrap_or_default();
    }
}
