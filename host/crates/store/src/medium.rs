//! The few things the log and the small files ask of a file system, so that tests can put a failing one below them.
//!
//! Names are relative to the data directory and have no directories in them. sled opens its own files and does not come
//! by here; why that is no danger is said in `table`.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;

/// An open file.
pub(crate) trait MediumFile: Debug + Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `len` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    fn len(&self) -> io::Result<u64>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Returns once the bytes are on the medium.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of files.
pub(crate) trait Medium: Debug + Send + Sync {
    /// Makes a file that must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>>;
    fn list(&self) -> io::Result<Vec<String>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns once creations, removals and renames are on the medium.
    fn sync_dir(&self) -> io::Result<()>;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct OsMedium {
    dir: PathBuf,
    handle: File,
}

impl OsMedium {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { dir: dir.to_owned(), handle: File::open(dir)? })
    }
}

impl Medium for OsMedium {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.dir.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.dir.join(name))?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.dir.join(name);
        if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl MediumFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let most = self.metadata()?.len().saturating_sub(offset).min(len);
        let mut bytes = vec![0; usize::try_from(most).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.sync_all()
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes a small file so that it is there whole or, after a power cut, as it was before.
///
/// [`StoreError::Full`] says that it is as it was; after any other error it may be the new one, the old one, or the new
/// one until the next power cut.
pub(crate) fn replace(medium: &dyn Medium, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let fresh = format!("{name}.new");
    write_fresh(medium, &fresh, bytes).map_err(|error| StoreError::io("write", &fresh, error))?;
    medium.rename(&fresh, name).map_err(|error| StoreError::io("rename", &fresh, error))?;
    medium.sync_dir().map_err(|error| StoreError::io("sync", "the data directory", error))
}

fn write_fresh(medium: &dyn Medium, name: &str, bytes: &[u8]) -> io::Result<()> {
    match medium.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = medium.create(name)?;
    file.write_at(bytes, 0)?;
    file.sync()
}
