//! `nexus store accept-damage`: what does not read back is given up, so that the rest may be used again.
//!
//! It decides nothing: an operator does, who is told what is lost. What was in use is kept aside first, as it was; then a
//! checkpoint of everything that reads back takes its place. Not here: damage to what is needed to read anything at all
//! (identity, manifest, the index of a checkpoint). For that there are only backups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Damage, StoreError};
use crate::log::Ordinal;
use crate::manifest::TableId;
use crate::{Store, StoreSettings};

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Every place that did not read back. Empty: nothing was changed.
    pub damage: Vec<Damage>,
    /// Where log and checkpoint are kept as they were.
    pub kept: Option<PathBuf>,
}

/// Makes the store what reads back of it. No daemon may run on it.
pub fn accept_damage(dir: &Path, settings: StoreSettings) -> Result<Accepted, StoreError> {
    if !dir.is_dir() {
        return Err(StoreError::NotAStore { dir: dir.to_owned(), why: "there is no such directory".to_owned() });
    }
    if !dir.join(crate::identity::FILE).exists() {
        return Err(StoreError::NotAStore { dir: dir.to_owned(), why: "it has no identity".to_owned() });
    }
    let (store, _) = Store::open(dir, settings, 0)?;
    let damage = store.recover(&mut |_| {})?.damage;
    if damage.is_empty() {
        return Ok(Accepted { damage, kept: None });
    }
    let kept = keep(dir).map_err(|error| StoreError::path("copy", dir, error))?;
    store.compactor().accept()?;
    Ok(Accepted { damage, kept: Some(kept) })
}

/// Copies log and tables into a new directory beside them.
fn keep(dir: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    let aside = loop {
        let aside = dir.join(format!("damaged-{number}"));
        match fs::create_dir(&aside) {
            Ok(()) => break aside,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| Ordinal::of(name).is_some() || TableId::of(name).is_some());
        if ours || name == crate::manifest::FILE {
            copy(&entry.path(), &aside.join(name))?;
        }
    }
    fs::File::open(dir)?.sync_all()?;
    Ok(aside)
}

/// Tables are directories of files.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    fs::File::open(to)?.sync_all()
}
