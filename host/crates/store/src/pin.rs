//! The files of one moment, held while a backup reads them.
//!
//! Tables are never written again, and log files only grow; so a second name for each of them and the length of the log as it
//! is now are a copy of the moment, whatever the daemon writes, replaces and removes meanwhile. It costs no copying and holds
//! up neither answers nor checkpoints; only the space of what was replaced comes back when the backup is done.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;
use crate::history::Reader;
use crate::identity::{self, Identity};
use crate::manifest;
use crate::medium::OsMedium;

const PREFIX: &str = "backup.tmp-";

/// The names that hold the moment, removed when this is dropped.
#[derive(Debug)]
pub struct Pinned {
    dir: PathBuf,
    /// In the order in which a backup should have them.
    pub files: Vec<PinnedFile>,
}

/// One file of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedFile {
    /// As in the data directory, with `/` between its parts.
    pub name: String,
    pub path: PathBuf,
    /// So many of its bytes belong to the moment.
    pub bytes: u64,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What is left behind takes space until the next start, and nobody believes it.
        fs::remove_dir_all(&self.dir).unwrap_or_default();
    }
}

/// Removes what a process left that ended in the middle of a backup.
pub(crate) fn tidy(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl Reader {
    /// Everything that is on the disk now, and nothing that is written later. A checkpoint that is being written is put off.
    pub fn pin(&self) -> Result<Pinned, StoreError> {
        let shared = &*self.shared;
        let dir = fresh_dir(&shared.dir)?;
        let mut pinned = Pinned { dir, files: Vec::new() };
        // As long as this is held, nothing goes that the manifest names.
        let _tables = shared.hold_tables();
        let (manifest, logs) = {
            let state = shared.state.lock();
            if let Some(first) = state.damage.first() {
                return Err(StoreError::Damaged { count: state.damage.len(), first: first.clone() });
            }
            if state.unsure {
                return Err(StoreError::MustRestart);
            }
            let used = state.kept.iter().chain(&state.files).filter(|log| !log.is_unused());
            let logs: Vec<(String, u64)> = used.map(|log| (log.ordinal.file_name(), log.durable_bytes())).collect();
            (Arc::clone(&state.manifest), logs)
        };
        let text = shared.identity.to_text().map_err(|why| StoreError::corrupt(identity::FILE, why))?;
        pinned.write(identity::FILE, &text)?;
        if manifest.generation > 0 {
            let text = manifest.to_text().map_err(|why| StoreError::corrupt(manifest::FILE, why))?;
            pinned.write(manifest::FILE, &text)?;
        }
        let history = manifest.history.iter().map(|table| table.id);
        for table in manifest.base.iter().map(|(id, _)| *id).chain(history) {
            pinned.link_all(&shared.dir, &table.dir_name())?;
        }
        for (name, bytes) in logs {
            pinned.link(&shared.dir, &name, Some(bytes))?;
        }
        Ok(pinned)
    }
}

/// A directory of our own beside the files: names of one file must be on one file system.
fn fresh_dir(beside: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 1_u64;
    loop {
        let dir = beside.join(format!("{PREFIX}{number}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(StoreError::path("create", &dir, error)),
        }
    }
}

impl Pinned {
    fn write(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|error| StoreError::path("write", &path, error))?;
        self.files.push(PinnedFile { name: name.to_owned(), path, bytes: text.len() as u64 });
        Ok(())
    }

    fn link(&mut self, from: &Path, name: &str, bytes: Option<u64>) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        fs::hard_link(from.join(name), &path).map_err(|error| StoreError::path("link", &path, error))?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => fs::metadata(&path).map_err(|error| StoreError::path("measure", &path, error))?.len(),
        };
        self.files.push(PinnedFile { name: name.to_owned(), path, bytes });
        Ok(())
    }

    /// A directory with everything in it.
    fn link_all(&mut self, from: &Path, name: &str) -> Result<(), StoreError> {
        let failed = |action: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::path(action, &path, error)
        };
        let (source, target) = (from.join(name), self.dir.join(name));
        fs::create_dir(&target).map_err(failed("create", &target))?;
        let mut below = Vec::new();
        for entry in fs::read_dir(&source).map_err(failed("list", &source))? {
            let entry = entry.map_err(failed("list", &source))?;
            let is_dir = entry.file_type().map_err(failed("look at", &source))?.is_dir();
            let file = entry.file_name().into_string();
            let file = file.map_err(|name| StoreError::corrupt(source.display(), name.display()))?;
            below.push((format!("{name}/{file}"), is_dir));
        }
        below.sort_unstable();
        for (name, is_dir) in below {
            if is_dir { self.link_all(from, &name)? } else { self.link(from, &name, None)? }
        }
        Ok(())
    }
}

/// Makes an identity that was in a backup this directory's, for another life: whoever heard of the operations of the former
/// one may have heard of more than the backup has. To be called when everything else is there, as it makes the directory a store.
pub fn begin_next_life(dir: &Path, identity: &str) -> Result<Identity, StoreError> {
    let medium = OsMedium::new(dir).map_err(|error| StoreError::path("open", dir, error))?;
    let (mut known, _) = Identity::of_text(dir, identity)?;
    let next = known.origin.incarnation.checked_add(1);
    known.origin.incarnation = next.ok_or_else(|| StoreError::corrupt(identity::FILE, "incarnations are used up"))?;
    known.write(&medium)?;
    Ok(known)
}

/// True for the names in a data directory that are the store's own: records, and whose they are.
pub fn is_store_file(name: &str) -> bool {
    crate::is_ours(name) || matches!(name, identity::FILE | crate::lock::FILE) || name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;

    use super::*;
    use crate::sample::{self, Known};
    use crate::{Store, StoreSettings, check};

    fn small() -> StoreSettings {
        StoreSettings {
            log_file_bytes: 4096,
            checkpoint_after_bytes: 8192,
            cache_bytes: 1 << 20,
            ..StoreSettings::default()
        }
    }

    fn open(dir: &Path) -> Store {
        Store::open(dir, small(), sample::START_MS).unwrap().0
    }

    fn append(store: &mut Store, known: &mut Known, count: u32) {
        for _ in 0..count {
            let seq = store.next_seq().0;
            let number = u32::try_from(seq % 40).unwrap();
            let op =
                if seq.is_multiple_of(3) { sample::resting(seq, 1, number, 500) } else { sample::held(seq, 1, number) };
            store.append(std::slice::from_ref(&op)).unwrap();
            known.apply(&op);
        }
    }

    fn recovered(store: &Store) -> Known {
        let mut known = Known::default();
        let found = store.recover(&mut |op| known.apply(&op)).unwrap();
        assert_eq!(found.damage, Vec::new());
        known.settled()
    }

    /// As a backup does: so many bytes of each, later.
    fn copy(pinned: &Pinned) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for PinnedFile { name, path, bytes } in &pinned.files {
            let to = dir.path().join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let whole = fs::read(path).unwrap();
            fs::write(to, &whole[..usize::try_from(*bytes).unwrap()]).unwrap();
        }
        dir
    }

    #[test]
    fn what_is_pinned_is_one_moment_whatever_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, mut known) = (open(dir.path()), Known::default());
        let pool = sample::pool(1, 1, 4);
        store.append(std::slice::from_ref(&pool)).unwrap();
        known.apply(&pool);
        for round in 0..6 {
            append(&mut store, &mut known, 40);
            if round % 2 == 1 {
                store.seal().unwrap();
                store.compactor().cycle().unwrap();
            }
            let pinned = store.reader().pin().unwrap();
            let then = known.clone().settled();
            append(&mut store, &mut known, 60);
            store.seal().unwrap();
            store.compactor().cycle().unwrap();
            let copied = copy(&pinned);
            drop(pinned);
            let report = check(copied.path()).unwrap();
            assert_eq!((report.damage, report.torn_bytes), (Vec::new(), 0), "round {round}");
            assert_eq!(recovered(&open(copied.path())), then, "round {round}");
        }
        let left: BTreeSet<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.starts_with(PREFIX)), "{left:?}");
    }

    #[test]
    fn a_start_removes_what_a_backup_left_that_was_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        fs::create_dir_all(dir.path().join("backup.tmp-7/table-000000000001")).unwrap();
        drop(open(dir.path()));
        assert!(!dir.path().join("backup.tmp-7").exists());
    }

    #[test]
    fn the_next_life_is_the_same_host_in_another_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let (store, was) = Store::open(dir.path(), small(), sample::START_MS).unwrap();
        let pinned = store.reader().pin().unwrap();
        let copied = copy(&pinned);
        let text = fs::read_to_string(dir.path().join("identity")).unwrap();
        let now = begin_next_life(copied.path(), &text).unwrap();
        assert_eq!((now.origin.identity, now.origin.incarnation), (was.origin.identity, was.origin.incarnation + 1));
        let (_, opened) = Store::open(copied.path(), small(), sample::START_MS).unwrap();
        assert_eq!(opened, now);
        assert!(begin_next_life(copied.path(), &text.replace("node ", "node x")).is_err(), "its checksum does not fit");
    }
}
