//! A disk for tests: it can be full, fail, or lose power and with it what was not synced. The log and the small files
//! are on it; sled's tables are on the directory below, untouched.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::StoreError;
use crate::identity::Identity;
use crate::medium::{Medium, MediumFile, OsMedium};
use crate::store::{Store, StoreSettings};

/// What the disk does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// Half of a write arrives, then there is no space. Nothing can be made.
    Full,
    /// Writes fail.
    WritesFail,
    /// Writes seem to succeed, syncs fail.
    SyncsFail,
    /// Files are written and synced, but there is no space to make what happened to their names durable.
    DirSyncsFail,
    /// Nothing works: the power is off.
    Off,
}

/// A directory on a disk that fails on command. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    dir: PathBuf,
    platter: Arc<Mutex<Platter>>,
}

#[derive(Debug, Default)]
struct Platter {
    mood: Mood,
    /// By file name, in the order they were made.
    unsynced: BTreeMap<String, Vec<Write>>,
}

/// A write that may still be lost.
#[derive(Clone, Debug)]
struct Write {
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl FaultyDisk {
    /// A disk in good order over this directory, which must exist.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), platter: Arc::default() }
    }

    /// As [`Store::open`], on this disk.
    pub fn open(&self, settings: StoreSettings, now_ms: u64) -> Result<(Store, Identity), StoreError> {
        let below = OsMedium::new(&self.dir).map_err(|error| StoreError::path("open", &self.dir, error))?;
        let medium = FaultyMedium { below, platter: Arc::clone(&self.platter) };
        Store::open_on(&self.dir, Arc::new(medium), settings, now_ms)
    }

    /// From now on the disk behaves like this.
    pub fn set_mood(&self, mood: Mood) {
        self.platter.lock().mood = mood;
    }

    /// Takes the power: of what was not synced, any part may be lost; `chance` says for each write how many of its bytes
    /// stay (it is given their number). The disk is off afterwards, until its mood is set.
    pub fn cut_power(&self, mut chance: impl FnMut(usize) -> usize) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.mood = Mood::Off;
        let below = OsMedium::new(&self.dir)?;
        for (name, writes) in std::mem::take(&mut platter.unsynced) {
            let file = match below.open(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            for write in writes.iter().rev() {
                file.write_at(&write.before, write.offset)?;
            }
            for write in &writes {
                let stays = chance(write.after.len()).min(write.after.len());
                file.write_at(write.after.get(..stays).unwrap_or_default(), write.offset)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyMedium {
    below: OsMedium,
    platter: Arc<Mutex<Platter>>,
}

#[derive(Debug)]
struct FaultyFile {
    name: String,
    below: Arc<dyn MediumFile>,
    platter: Arc<Mutex<Platter>>,
}

fn no_space() -> io::Error {
    io::Error::from(rustix::io::Errno::NOSPC)
}

fn broken() -> io::Error {
    io::Error::from(rustix::io::Errno::IO)
}

impl Platter {
    fn may_change(&self) -> io::Result<()> {
        match self.mood {
            Mood::Well | Mood::SyncsFail | Mood::DirSyncsFail => Ok(()),
            Mood::Full => Err(no_space()),
            Mood::WritesFail | Mood::Off => Err(broken()),
        }
    }

    fn may_read(&self) -> io::Result<()> {
        if self.mood == Mood::Off { Err(broken()) } else { Ok(()) }
    }

    fn may_sync(&self) -> io::Result<()> {
        match self.mood {
            Mood::Well | Mood::Full | Mood::DirSyncsFail => Ok(()),
            Mood::SyncsFail | Mood::WritesFail | Mood::Off => Err(broken()),
        }
    }
}

impl FaultyMedium {
    fn wrap(&self, name: &str, below: Arc<dyn MediumFile>) -> Arc<dyn MediumFile> {
        Arc::new(FaultyFile { name: name.to_owned(), below, platter: Arc::clone(&self.platter) })
    }
}

impl Medium for FaultyMedium {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.platter.lock().may_change()?;
        Ok(self.wrap(name, self.below.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.platter.lock().may_read()?;
        Ok(self.wrap(name, self.below.open(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.platter.lock().may_read()?;
        self.below.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // Removing needs no space.
        self.platter.lock().may_read()?;
        self.below.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.may_change()?;
        if let Some(writes) = platter.unsynced.remove(from) {
            platter.unsynced.insert(to.to_owned(), writes);
        }
        self.below.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let platter = self.platter.lock();
        platter.may_sync()?;
        if platter.mood == Mood::DirSyncsFail {
            return Err(no_space());
        }
        self.below.sync_dir()
    }
}

impl MediumFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut platter = self.platter.lock();
        let (arrives, error) = match platter.mood {
            Mood::Well | Mood::SyncsFail | Mood::DirSyncsFail => (bytes, None),
            Mood::Full => (bytes.get(..bytes.len() / 2).unwrap_or_default(), Some(no_space())),
            Mood::WritesFail | Mood::Off => return Err(broken()),
        };
        let mut before = self.below.read_at(offset, arrives.len() as u64)?;
        before.resize(arrives.len(), 0);
        let write = Write { offset, before, after: arrives.to_vec() };
        self.below.write_at(arrives, offset)?;
        platter.unsynced.entry(self.name.clone()).or_default().push(write);
        error.map_or(Ok(()), Err)
    }

    fn read_at(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.platter.lock().may_read()?;
        self.below.read_at(offset, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.platter.lock().may_read()?;
        self.below.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.may_sync()?;
        platter.unsynced.remove(&self.name);
        self.below.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.may_sync()?;
        platter.unsynced.remove(&self.name);
        Ok(())
    }
}
