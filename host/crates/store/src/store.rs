//! The daemon's handle: open, append, recover.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kernel::{NodeId, Op, Seq};

use crate::compact::Compactor;
use crate::error::StoreError;
use crate::history::Reader;
use crate::identity::{Identity, random};
use crate::lock::DirLock;
use crate::log::{LogFile, LogWriter, Tidy, Written, scan};
use crate::manifest::{Manifest, TableId};
use crate::medium::{Medium, OsMedium};
use crate::recover::{self, Recovered};
use crate::retain::Retention;
use crate::shared::{Shared, State};
use crate::table::Table;

/// What an operator may set of the store. The defaults are for production; tests use small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The host's name. `None`: the kept one, or one that is made up now and kept.
    pub node: Option<NodeId>,
    /// How long a log file is, bytes. One is made ahead, so twice this is always in use.
    pub log_file_bytes: u64,
    /// A checkpoint is due when full log files hold this much, or as much as the checkpoint itself if that is more (at
    /// most four times this): so writing checkpoints costs no more than writing the log.
    pub checkpoint_after_bytes: u64,
    /// How much memory sled may take for a table that is read or written, bytes.
    pub cache_bytes: u64,
    /// How long the history is kept, milliseconds.
    pub history_retention_ms: u64,
    /// How large the history may become, bytes; the oldest goes first.
    pub history_bytes: u64,
    /// How many bytes of log files are kept for other hosts at most, beyond what this host needs; see
    /// [`Reader::retain`].
    pub retain_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            node: None,
            log_file_bytes: 16 << 20,
            checkpoint_after_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            history_retention_ms: 365 * 24 * 3600 * 1000,
            history_bytes: 8 << 30,
            retain_bytes: 1 << 30,
        }
    }
}

/// A data directory, held for as long as this lives (and its readers and compactor do).
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    log: LogWriter,
    /// Set when a group was not written: memory knows of operations the disk does not.
    must_reopen: bool,
}

impl Store {
    /// Opens the data directory, or makes it. `now_ms` (Unix milliseconds) is noted when it is made.
    pub fn open(dir: &Path, settings: StoreSettings, now_ms: u64) -> Result<(Self, Identity), StoreError> {
        create_dir(dir)?;
        let medium = OsMedium::new(dir).map_err(|error| StoreError::path("open", dir, error))?;
        Self::open_on(dir, Arc::new(medium), settings, now_ms)
    }

    pub(crate) fn open_on(
        dir: &Path,
        medium: Arc<dyn Medium>,
        settings: StoreSettings,
        now_ms: u64,
    ) -> Result<(Self, Identity), StoreError> {
        let lock = DirLock::take(dir)?;
        crate::pin::tidy(dir).map_err(|error| StoreError::path("tidy", dir, error))?;
        let identity = Identity::settle(&*medium, dir, settings.node.clone(), now_ms)?;
        let mut manifest = Manifest::read(&*medium)?;
        if manifest.generation == 0 {
            manifest.history_from_ms = identity.created_ms;
        }
        if let Some((id, _)) = manifest.base {
            // What the checkpoint replaced goes once it was read, so the manifest that names it must be durable: the daemon
            // before this one may have ended because it could not sync it.
            Table::open(dir, id, settings.cache_bytes)?;
            medium.sync_dir().map_err(|error| StoreError::path("sync", dir, error))?;
        }
        let scan = scan(&*medium, manifest.first_log, manifest.covered, Tidy::Yes)?;
        let last_table = Shared::tables(&*medium)?.into_iter().max();
        let next_table = TableId(last_table.map_or(0, |id| id.0 + 1).max(manifest.next_table));
        let kept = manifest.open_kept(&*medium)?;
        let retention = Retention::unknown(manifest.retain_bytes.min(settings.retain_bytes));
        let state = State {
            manifest: Arc::new(manifest),
            files: scan.files,
            kept,
            retention,
            active: None,
            spare: None,
            next_ordinal: scan.next_ordinal,
            log_damage: scan.damage.clone(),
            damage: scan.damage,
            torn_bytes: scan.torn_bytes,
            unsure: false,
            untidy: true,
            stopping: false,
        };
        let shared = Shared::new(dir.to_owned(), settings, medium, identity.clone(), state, lock, next_table);
        let store = Self { shared: Arc::new(shared), log: LogWriter::new(scan.next_seq), must_reopen: false };
        Ok((store, identity))
    }

    /// Writes one commit group. When it returns, the group is on disk, whole; if it fails, none of it counts, or of a group
    /// of more than 16 MiB a beginning, which [`Self::recover`] then gives.
    ///
    /// # Panics
    /// If the operations do not continue the log without a gap.
    pub fn append(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        if self.must_reopen {
            return Err(StoreError::MustReopen);
        }
        let written = self.write(ops);
        self.must_reopen = written.is_err();
        written
    }

    fn write(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let mut left = ops;
        while !left.is_empty() {
            match self.log.write(left, self.shared.settings.log_file_bytes)? {
                Written::Synced(count) => left = left.get(count..).unwrap_or_default(),
                Written::NeedsFile => self.next_file()?,
            }
        }
        Ok(())
    }

    /// Goes on in the file that was made ahead, or makes one now.
    fn next_file(&mut self) -> Result<(), StoreError> {
        let (spare, ordinal) = {
            let mut state = self.shared.state.lock();
            let spare = state.spare.take();
            let ordinal = state.next_ordinal;
            if spare.is_none() {
                state.next_ordinal = ordinal.next();
            }
            (spare, ordinal)
        };
        let file = if let Some(spare) = spare {
            spare
        } else {
            let bytes = self.shared.settings.log_file_bytes;
            LogFile::create(&*self.shared.medium, ordinal, u64::from_le_bytes(random()?), bytes)?
        };
        let file = Arc::new(file);
        let mut state = self.shared.state.lock();
        state.active = Some(file.ordinal);
        state.files.push(Arc::clone(&file));
        drop(state);
        self.log.set_file(Some(file));
        self.shared.bell.notify_all();
        Ok(())
    }

    /// Ends the current log file, so that the next checkpoint covers everything written so far.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        if let Some(file) = self.log.file() {
            file.cut()?;
        }
        self.log.set_file(None);
        let mut state = self.shared.state.lock();
        state.active = None;
        // A file that was begun and never written to would stay for ever.
        let (used, unused): (Vec<_>, Vec<_>) = state.files.drain(..).partition(|log| !log.is_unused());
        state.files = used;
        drop(state);
        for log in unused {
            let name = log.ordinal.file_name();
            self.shared.medium.remove(&name).map_err(|error| StoreError::io("remove", &name, error))?;
        }
        self.shared.bell.notify_all();
        Ok(())
    }

    /// Has the compactor write a checkpoint of everything written so far, soon and whatever its size.
    pub fn want_checkpoint(&mut self) -> Result<(), StoreError> {
        self.seal()?;
        let state = self.shared.state.lock();
        self.shared.wanted.store(true, Ordering::Release);
        drop(state);
        self.shared.bell.notify_all();
        Ok(())
    }

    /// After a full disk: forgets what was not written. The caller makes its state anew with [`Self::recover`].
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        self.seal()?;
        self.must_reopen = false;
        Ok(())
    }

    /// Gives every fact to `each`: the checkpoint's in no particular order, then the log's in theirs.
    pub fn recover(&self, each: &mut impl FnMut(Op)) -> Result<Recovered, StoreError> {
        recover::recover(&self.shared, self.log.next_seq(), each)
    }

    /// The sequence number of the next operation.
    pub fn next_seq(&self) -> Seq {
        self.log.next_seq()
    }

    /// For look-ups in the past and for reports; any number of them, on any thread.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// For the thread that writes checkpoints.
    pub fn compactor(&self) -> Compactor {
        Compactor::new(Arc::clone(&self.shared))
    }
}

/// Makes the directory, and its name durable: without that, a power cut could take the whole store.
fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if !dir.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(|error| StoreError::path("create", dir, error))?;
    }
    let whole = dir.canonicalize().map_err(|error| StoreError::path("find", dir, error))?;
    for parent in [Some(whole.as_path()), whole.parent()].into_iter().flatten().map(PathBuf::from) {
        File::open(&parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| StoreError::path("sync", &parent, error))?;
    }
    Ok(())
}
