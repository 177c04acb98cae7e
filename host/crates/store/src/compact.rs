//! Checkpoints and history, written in the background so that the log stays short.
//!
//! A cycle merges the last checkpoint with the full log files into a new table, adds the ends of allocations to the
//! history, names both in a new manifest, and only then removes what they replace. Whatever moment the power goes, the
//! manifest names complete tables and the log has everything after them. Nothing of it holds up an append: the files a
//! cycle reads are not written any more.

mod globals;
mod merge;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::Seq;

use crate::error::StoreError;
use crate::identity::random;
use crate::log::LogFile;
use crate::manifest::Manifest;
use crate::shared::{Shared, State};
use merge::OnDamage;

/// More log files than this are due for a checkpoint however small they are: every start leaves one.
const MANY_FILES: usize = 64;

/// How long to wait before a log file is tried again that could not be made.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a cycle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CycleReport {
    /// The checkpoint has every operation up to this one.
    pub covered: Seq,
    /// Operations in the checkpoint and its size in bytes.
    pub checkpoint_ops: u64,
    pub checkpoint_bytes: u64,
    /// Ends of allocations that became history.
    pub history_ops: u64,
    /// Log files that were removed and their bytes.
    pub log_files: usize,
    pub log_bytes: u64,
}

/// Writes checkpoints. Clones share their work: one runs, another stops it.
#[derive(Clone, Debug)]
pub struct Compactor {
    shared: Arc<Shared>,
}

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until [`Self::stop`]: writes checkpoints when they are due and keeps a log file ready. Tells what each cycle
    /// did, or why it failed: after [`StoreError::Failed`] the daemon must end, everything else is tried again.
    pub fn run(&self, mut report: impl FnMut(Result<CycleReport, StoreError>)) {
        // Answers come before checkpoints. Where that cannot be had, both get the same.
        rustix::process::setpriority_process(None, 10).unwrap_or_default();
        loop {
            let due;
            if let Err(error) = self.keep_spare() {
                // A full disk is met again by whoever writes next, who can say it to somebody.
                if !error.is_full() {
                    report(Err(error));
                }
                self.pause();
            }
            {
                let mut state = self.shared.state.lock();
                let nothing_to_do = |state: &State| !self.is_due(state) && !Self::is_releasing(state);
                while !state.stopping && nothing_to_do(&state) && state.spare.is_some() {
                    self.shared.bell.wait(&mut state);
                }
                if state.stopping {
                    return;
                }
                if nothing_to_do(&state) {
                    continue;
                }
                due = self.is_due(&state);
            }
            match if due { self.cycle() } else { self.release().map(|()| None) } {
                Ok(None) | Err(StoreError::PutOff) => {}
                Ok(Some(done)) => report(Ok(done)),
                Err(error) => {
                    report(Err(error));
                    self.wait_for_bell();
                }
            }
        }
    }

    /// Ends [`Self::run`], soon even in the middle of a cycle.
    pub fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.bell.notify_all();
    }

    /// Writes a checkpoint of all full log files now. `None`: there was nothing to write.
    pub fn cycle(&self) -> Result<Option<CycleReport>, StoreError> {
        let shared = &*self.shared;
        let _turn = shared.begin_cycle();
        let (old, files) = {
            let state = shared.state.lock();
            // Whoever still wants one after a failure says so again.
            shared.wanted.store(false, Ordering::Release);
            if let Some(first) = state.damage.first() {
                return Err(StoreError::Damaged { count: state.damage.len(), first: first.clone() });
            }
            if state.unsure {
                return Err(StoreError::MustRestart);
            }
            (Arc::clone(&state.manifest), state.sealed().cloned().collect::<Vec<_>>())
        };
        if files.is_empty() {
            self.release_in_turn()?;
            return Ok(None);
        }
        self.checkpoint(&old, &files, OnDamage::Stop).map(Some)
    }

    /// Removes log files that need not be kept for other hosts any more, and notes what must be.
    fn release(&self) -> Result<(), StoreError> {
        let _turn = self.shared.begin_cycle();
        self.release_in_turn()
    }

    fn release_in_turn(&self) -> Result<(), StoreError> {
        let (mut manifest, kept, retention) = {
            let state = self.shared.state.lock();
            if !Self::is_releasing(&state) {
                return Ok(());
            }
            ((*state.manifest).clone(), state.kept.clone(), state.retention.clone())
        };
        let (gone, kept) = kept.split_at(retention.droppable(&kept));
        manifest.generation += 1;
        manifest.settle_kept(kept, gone);
        manifest.retain_bytes = retention.most_bytes;
        self.write_manifest(&manifest)?;
        self.switch(manifest, kept.to_vec())
    }

    /// True if kept files can go, or what must be kept has changed: the next start must know before anybody tells it.
    fn is_releasing(state: &State) -> bool {
        let changed = state.manifest.retain_bytes != state.retention.most_bytes;
        !state.unsure && state.damage.is_empty() && (changed || state.retention.droppable(&state.kept) > 0)
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        manifest.write(&*self.shared.medium).inspect_err(|error| {
            // The disk may name the new tables already, so they stay. What is not named goes with the next cycle or start.
            self.shared.state.lock().unsure = !error.is_full();
        })
    }

    /// Writes a checkpoint of everything that reads back; what does not is forgotten from then on.
    pub(crate) fn accept(&self) -> Result<CycleReport, StoreError> {
        let _turn = self.shared.begin_cycle();
        let (old, files) = {
            let state = self.shared.state.lock();
            (Arc::clone(&state.manifest), state.sealed().cloned().collect::<Vec<_>>())
        };
        let done = self.checkpoint(&old, &files, OnDamage::PassOver)?;
        let mut state = self.shared.state.lock();
        state.damage.clear();
        state.log_damage.clear();
        Ok(done)
    }

    fn checkpoint(
        &self,
        old: &Manifest,
        files: &[Arc<LogFile>],
        on_damage: OnDamage,
    ) -> Result<CycleReport, StoreError> {
        let shared = &*self.shared;
        let first_table = shared.next_table_id();
        let mut merged = match merge::merge(shared, old, files, on_damage) {
            Ok(merged) => merged,
            Err(error) => {
                // Space that a half-made table takes is not there for answers. The next cycle or start tries again.
                drop(Shared::remove_unfinished(&*shared.medium, old, first_table));
                return Err(error);
            }
        };
        let manifest = &mut merged.manifest;
        let (all, retention) = {
            let state = shared.state.lock();
            (state.kept.iter().chain(files).cloned().collect::<Vec<_>>(), state.retention.clone())
        };
        let gone = match on_damage {
            OnDamage::Stop => retention.droppable(&all),
            // Nobody knows what is missing in them, and other hosts must not be given a log with a hole.
            OnDamage::PassOver => all.len(),
        };
        let (gone, kept) = all.split_at(gone);
        manifest.settle_kept(kept, gone);
        if on_damage == OnDamage::PassOver {
            manifest.keep_nothing();
        }
        manifest.retain_bytes = retention.most_bytes;
        self.write_manifest(manifest)?;
        let report = CycleReport {
            covered: manifest.covered,
            checkpoint_ops: manifest.base.map_or(0, |(_, sum)| sum.ops),
            checkpoint_bytes: manifest.base.map_or(0, |(_, sum)| sum.bytes),
            history_ops: merged.history_ops,
            log_files: gone.len(),
            log_bytes: gone.iter().map(|log| log.durable_bytes()).sum(),
        };
        self.switch(merged.manifest, kept.to_vec())?;
        Ok(report)
    }

    /// Goes over to the new tables and removes what they replace.
    fn switch(&self, manifest: Manifest, kept: Vec<Arc<LogFile>>) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let manifest = Arc::new(manifest);
        {
            let mut state = shared.state.lock();
            state.manifest = Arc::clone(&manifest);
            state.files.retain(|log| log.ordinal >= manifest.first_log);
            state.kept = kept;
            state.untidy = false;
        }
        shared.close_unnamed(&manifest);
        shared.remove_unnamed(&manifest)
    }

    fn is_due(&self, state: &State) -> bool {
        if !state.damage.is_empty() {
            return false;
        }
        let (files, bytes) =
            state.sealed().fold((0, 0), |(files, bytes), log| (files + 1, bytes + log.durable_bytes()));
        let least = self.shared.settings.checkpoint_after_bytes;
        let base = state.manifest.base.map_or(0, |(_, sum)| sum.bytes);
        let wanted = files > 0 && self.shared.wanted.load(Ordering::Acquire);
        wanted || bytes >= base.clamp(least, least.saturating_mul(4)) || files >= MANY_FILES
    }

    /// Makes a log file ahead if there is none.
    fn keep_spare(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let ordinal = {
            let mut state = shared.state.lock();
            if state.spare.is_some() || state.stopping {
                return Ok(());
            }
            let ordinal = state.next_ordinal;
            state.next_ordinal = ordinal.next();
            ordinal
        };
        let salt = u64::from_le_bytes(random()?);
        let made = LogFile::create(&*shared.medium, ordinal, salt, shared.settings.log_file_bytes)?;
        let mut state = shared.state.lock();
        if state.next_ordinal != ordinal.next() {
            // The writer could not wait and made a later one: going back to this would break the order of the log.
            drop(state);
            let name = ordinal.file_name();
            return shared.medium.remove(&name).map_err(|error| StoreError::io("remove", &name, error));
        }
        state.spare = Some(made);
        Ok(())
    }

    /// Until the bell rings, at most [`PATIENCE`]: nobody rings it when a disk has space again.
    fn pause(&self) {
        let mut state = self.shared.state.lock();
        if !state.stopping {
            self.shared.bell.wait_for(&mut state, PATIENCE);
        }
    }

    fn wait_for_bell(&self) {
        let mut state = self.shared.state.lock();
        if !state.stopping {
            self.shared.bell.wait(&mut state);
        }
    }
}
