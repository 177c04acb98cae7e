//! Which component serves each type, kept across restarts: one small record a type and a copy of the component by digest.
//!
//! Every write is whole or not there: a temporary file, synced, renamed, the directory synced.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::PluginHostError;
use crate::plugin::Origin;
use crate::status::Source;

/// The form of the record; another is refused rather than guessed at.
const FORM: u32 = 1;

/// What serves one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) type_id: String,
    pub(crate) origin: Origin,
    /// An operator took the type out of service.
    pub(crate) retired: bool,
}

/// The record as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    form: u32,
    #[serde(rename = "type")]
    type_id: String,
    digest: String,
    /// Embedded under this name; else `file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedded: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    modified_ms: u64,
    retired: bool,
}

/// The directory of records and copies.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PluginHostError {
    let path = path.to_owned();
    move |source| PluginHostError::Io { action, path, source }
}

impl Records {
    pub(crate) fn open(dir: &Path) -> Result<Self, PluginHostError> {
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Every record, in the order of their types. A record that cannot be read is an error of its own.
    pub(crate) fn all(&self) -> Result<Vec<Result<Record, PluginHostError>>, PluginHostError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io("list", &self.dir))? {
            let path = entry.map_err(io("list", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.iter().map(|path| Self::read_record(path)).collect())
    }

    /// The component a record names, if it is still whole.
    pub(crate) fn component(&self, digest: Digest) -> Result<Vec<u8>, PluginHostError> {
        let path = self.copy_path(digest);
        let bytes = fs::read(&path).map_err(io("read", &path))?;
        if Digest::of(&bytes) == digest {
            return Ok(bytes);
        }
        Err(PluginHostError::Record { path, detail: "its bytes do not have the digest in its name".into() })
    }

    /// Keeps a component and makes it the one that serves its type.
    pub(crate) fn keep(&self, record: &Record, bytes: &[u8]) -> Result<(), PluginHostError> {
        let copy = self.copy_path(record.origin.digest);
        if self.component(record.origin.digest).is_err() {
            self.write(&copy, bytes)?;
        }
        self.save(record)?;
        self.sweep()
    }

    /// Writes a record alone.
    pub(crate) fn save(&self, record: &Record) -> Result<(), PluginHostError> {
        let Origin { digest, source, modified } = &record.origin;
        let (embedded, file) = match source {
            Source::Embedded(name) => (Some(name.clone()), None),
            Source::File(path) => (None, Some(path.clone())),
        };
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let written = Written {
            form: FORM,
            type_id: record.type_id.clone(),
            digest: digest.to_string(),
            embedded,
            file,
            modified_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            retired: record.retired,
        };
        let path = self.dir.join(format!("{}.json", record.type_id));
        let text = serde_json::to_vec_pretty(&written)
            .map_err(|error| PluginHostError::Record { path: path.clone(), detail: error.to_string() })?;
        self.write(&path, &text)
    }

    fn read_record(path: &Path) -> Result<Record, PluginHostError> {
        let wrong = |detail: String| PluginHostError::Record { path: path.to_owned(), detail };
        let text = fs::read(path).map_err(io("read", path))?;
        let found: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if found.form != FORM {
            return Err(wrong(format!("its form is {}, this host knows {FORM}", found.form)));
        }
        let source = match (found.embedded, found.file) {
            (Some(name), None) => Source::Embedded(name),
            (None, Some(path)) => Source::File(path),
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong("exactly one of embedded and file is needed".into()));
            }
        };
        let digest = found.digest.parse().map_err(|error: crate::digest::InvalidDigest| wrong(error.to_string()))?;
        let modified = UNIX_EPOCH.checked_add(Duration::from_millis(found.modified_ms)).unwrap_or(UNIX_EPOCH);
        Ok(Record {
            type_id: found.type_id,
            origin: Origin { digest, source, modified: SystemTime::max(modified, UNIX_EPOCH) },
            retired: found.retired,
        })
    }

    /// Deletes copies that no record names.
    fn sweep(&self) -> Result<(), PluginHostError> {
        let mut named = Vec::new();
        for record in self.all()? {
            // With a record unread nobody knows what it names: keep everything.
            let Ok(record) = record else { return Ok(()) };
            named.push(self.copy_path(record.origin.digest));
        }
        for entry in fs::read_dir(&self.dir).map_err(io("list", &self.dir))? {
            let path = entry.map_err(io("list", &self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") && !named.contains(&path) {
                fs::remove_file(&path).map_err(io("delete", &path))?;
            }
        }
        Ok(())
    }

    fn copy_path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}.wasm"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PluginHostError> {
        let part = path.with_extension("part");
        let mut file = File::create(&part).map_err(io("create", &part))?;
        file.write_all(bytes).map_err(io("write", &part))?;
        file.sync_all().map_err(io("sync", &part))?;
        fs::rename(&part, path).map_err(io("rename", &part))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io("sync", &self.dir))
    }
}
