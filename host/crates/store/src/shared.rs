//! What the writer, the compactor and the readers of one store share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Damage, StoreError};
use crate::identity::Identity;
use crate::lock::DirLock;
use crate::log::{LogFile, Ordinal};
use crate::manifest::{Manifest, TableId};
use crate::medium::Medium;
use crate::retain::Retention;
use crate::snapshot::Told;
use crate::store::StoreSettings;
use crate::table::Table;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) settings: StoreSettings,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) identity: Identity,
    pub(crate) state: Mutex<State>,
    /// Rung when a log file was begun or the compactor is to stop.
    pub(crate) bell: Condvar,
    /// Held by whoever needs the tables to stay as they are: a checkpoint cycle or a recovery.
    cycle: Mutex<()>,
    /// How many recoveries wait for a cycle, which then gives way.
    waiting: AtomicUsize,
    /// Tables stay open once they were asked: sled allows one opener at a time.
    open_tables: Mutex<BTreeMap<TableId, Arc<Table>>>,
    /// Checkpoints that other hosts are being told: they stay although they may be replaced.
    pub(crate) told: Mutex<Told>,
    /// Somebody needs a checkpoint of what is in full log files, however little it is. Changed under the state's lock only.
    pub(crate) wanted: AtomicBool,
    /// Also a table that was given up keeps its number: the next one under the same name could meet what is left of it.
    next_table: AtomicU64,
    _lock: DirLock,
}

/// Which files there are.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) manifest: Arc<Manifest>,
    /// Every log file with frames that no checkpoint covers, in order.
    pub(crate) files: Vec<Arc<LogFile>>,
    /// Before those: log files that the checkpoint covers and that are kept for other hosts, in order.
    pub(crate) kept: Vec<Arc<LogFile>>,
    /// What must be kept for them.
    pub(crate) retention: Retention,
    /// The one of the files that is being written.
    pub(crate) active: Option<Ordinal>,
    /// Made ahead, so that going on in another file costs nothing.
    pub(crate) spare: Option<LogFile>,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) damage: Vec<Damage>,
    /// Of the damage, where frames of the log are missing: what other hosts are given must have no hole.
    pub(crate) log_damage: Vec<Damage>,
    pub(crate) torn_bytes: u64,
    /// The disk may name other tables than the manifest above: nothing may be made or removed after it any more.
    pub(crate) unsure: bool,
    /// What an earlier life replaced may still be there. It goes only after all that replaced it was read back.
    pub(crate) untidy: bool,
    pub(crate) stopping: bool,
}

impl State {
    /// The files that are not written any more.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = &Arc<LogFile>> {
        self.files.iter().filter(|log| Some(log.ordinal) != self.active)
    }
}

impl Shared {
    pub(crate) fn new(
        dir: PathBuf,
        settings: StoreSettings,
        medium: Arc<dyn Medium>,
        identity: Identity,
        state: State,
        lock: DirLock,
        next_table: TableId,
    ) -> Self {
        Self {
            next_table: AtomicU64::new(next_table.0),
            dir,
            settings,
            medium,
            identity,
            state: Mutex::new(state),
            bell: Condvar::new(),
            cycle: Mutex::new(()),
            waiting: AtomicUsize::new(0),
            open_tables: Mutex::new(BTreeMap::new()),
            told: Mutex::default(),
            wanted: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// A number no table ever had.
    pub(crate) fn take_table_id(&self) -> TableId {
        TableId(self.next_table.fetch_add(1, Ordering::AcqRel))
    }

    /// The number the next table will have.
    pub(crate) fn next_table_id(&self) -> TableId {
        TableId(self.next_table.load(Ordering::Acquire))
    }

    /// For a cycle: waits for its turn.
    pub(crate) fn begin_cycle(&self) -> MutexGuard<'_, ()> {
        self.cycle.lock()
    }

    /// For a recovery: a cycle that runs gives way.
    pub(crate) fn hold_tables(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let held = self.cycle.lock();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        held
    }

    /// What a cycle asks between its steps.
    pub(crate) fn check_in(&self) -> Result<(), StoreError> {
        if self.waiting.load(Ordering::Acquire) > 0 || self.state.lock().stopping {
            return Err(StoreError::PutOff);
        }
        Ok(())
    }

    /// A table, opened if it is not yet.
    pub(crate) fn table(&self, id: TableId) -> Result<Arc<Table>, StoreError> {
        let mut open = self.open_tables.lock();
        if let Some(table) = open.get(&id) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::open(&self.dir, id, self.settings.cache_bytes)?);
        open.insert(id, Arc::clone(&table));
        Ok(table)
    }

    /// Forgets open tables that are not named any more; a reader that still uses one keeps it.
    pub(crate) fn close_unnamed(&self, manifest: &Manifest) {
        let told = self.told.lock().fresh();
        self.open_tables.lock().retain(|id, _| manifest.names(*id) || told.contains(id));
    }

    /// Removes the tables from this number on that are not named: a cycle made them in vain.
    pub(crate) fn remove_unfinished(medium: &dyn Medium, manifest: &Manifest, from: TableId) -> Result<(), StoreError> {
        for id in Self::tables(medium)?.into_iter().filter(|id| *id >= from && !manifest.names(*id)) {
            let name = id.dir_name();
            medium.remove(&name).map_err(|error| StoreError::io("remove", &name, error))?;
        }
        Ok(())
    }

    /// Removes tables that are not named and log files before the first that is kept: left by a cycle that was cut short,
    /// or replaced. A checkpoint that another host is being told goes another time.
    pub(crate) fn remove_unnamed(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let medium = &*self.medium;
        let told = self.told.lock().fresh();
        let names = medium.list().map_err(|error| StoreError::io("list", "the data directory", error))?;
        let is_gone = |name: &String| {
            TableId::of(name).is_some_and(|id| !manifest.names(id) && !told.contains(&id))
                || Ordinal::of(name).is_some_and(|ordinal| ordinal < manifest.kept_log)
        };
        for name in names.iter().filter(|name| is_gone(name)) {
            medium.remove(name).map_err(|error| StoreError::io("remove", name, error))?;
        }
        Ok(())
    }

    /// The tables whose directories are there, named or not.
    pub(crate) fn tables(medium: &dyn Medium) -> Result<Vec<TableId>, StoreError> {
        let names = medium.list().map_err(|error| StoreError::io("list", "the data directory", error))?;
        Ok(names.iter().filter_map(|name| TableId::of(name)).collect())
    }
}
