//! What the writer, the compactor and the readers of one store share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Damage, StoreError};
use crate::identity::Identity;
use crate::lock::DirLock;
use crate::log::{LogFile, Ordinal};
use crate::manifest::{Manifest, TableId};
use crate::medium::Medium;
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
    /// Tables of the history stay open once they were asked: sled allows one opener at a time.
    open_tables: Mutex<BTreeMap<TableId, Arc<Table>>>,
    _lock: DirLock,
}

/// Which files there are.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) manifest: Arc<Manifest>,
    /// Every log file with frames that no checkpoint covers, in order.
    pub(crate) files: Vec<Arc<LogFile>>,
    /// The one of them that is being written.
    pub(crate) active: Option<Ordinal>,
    /// Made ahead, so that going on in another file costs nothing.
    pub(crate) spare: Option<LogFile>,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) damage: Vec<Damage>,
    pub(crate) torn_bytes: u64,
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
    ) -> Self {
        Self {
            dir,
            settings,
            medium,
            identity,
            state: Mutex::new(state),
            bell: Condvar::new(),
            cycle: Mutex::new(()),
            waiting: AtomicUsize::new(0),
            open_tables: Mutex::new(BTreeMap::new()),
            _lock: lock,
        }
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

    /// A table of the history, opened if it is not yet.
    pub(crate) fn history_table(&self, id: TableId) -> Result<Arc<Table>, StoreError> {
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
        self.open_tables.lock().retain(|id, _| manifest.names(*id));
    }

    /// Removes the directories of tables that are not named: left by a cycle that was cut short, or replaced.
    pub(crate) fn remove_unnamed(medium: &dyn Medium, manifest: &Manifest) -> Result<(), StoreError> {
        let names = medium.list().map_err(|error| StoreError::io("list", "the data directory", error))?;
        for name in names {
            if TableId::of(&name).is_some_and(|id| !manifest.names(id)) {
                medium.remove(&name).map_err(|error| StoreError::io("remove", &name, error))?;
            }
        }
        Ok(())
    }
}
