//! openraft's view of the machine: applies what is committed, takes and installs snapshots.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, Snapshot, StorageIOError};
use tokio::sync::watch;

use super::snapshots::{Snapshots, Stored};
use crate::error::StorageError;
use crate::machine::Machine;
use crate::raft::{Entry, LogId, RaftStorageError, SnapshotMeta, StoredMembership, Types};

/// What is committed and what the machine has seen; the members as the applied entries say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) committed: Option<u64>,
    pub(crate) applied: Option<u64>,
    pub(crate) voters: BTreeMap<u64, String>,
    pub(crate) learners: BTreeMap<u64, String>,
}

pub(crate) struct MachineStore {
    machine: Box<dyn Machine>,
    snapshots: Arc<Snapshots>,
    applied: Option<LogId>,
    membership: StoredMembership,
    progress: watch::Sender<Progress>,
}

impl fmt::Debug for MachineStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineStore").field("applied", &self.applied).finish_non_exhaustive()
    }
}

impl MachineStore {
    /// A machine in the state of the newest snapshot, if there is one.
    pub(crate) fn open(
        machine: Box<dyn Machine>,
        snapshots: Arc<Snapshots>,
        stored: Option<Stored>,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, StorageError> {
        let mut store = Self { machine, snapshots, applied: None, membership: StoredMembership::default(), progress };
        if let Some(Stored { meta, bytes }) = stored {
            store.restore(&meta, &bytes)?;
        }
        Ok(store)
    }

    fn restore(&mut self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), StorageError> {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.machine.restore(index, bytes).map_err(|why| StorageError::Restore { index, why })?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let applied = self.applied.map(|id| id.index);
        let membership = self.membership.membership();
        let voting: Vec<u64> = membership.voter_ids().collect();
        let all = membership.nodes().map(|(member, node)| (*member, node.addr.clone()));
        let (voters, learners) = all.partition(|(member, _)| voting.contains(member));
        self.progress.send_modify(|progress| {
            progress.applied = applied;
            // Whatever is applied was committed, also if that came with a snapshot.
            progress.committed = progress.committed.max(applied);
            progress.voters = voters;
            progress.learners = learners;
        });
    }
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotBuilder = Taken;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), RaftStorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<u8>>, RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut outcomes = Vec::new();
        for entry in entries {
            let index = entry.log_id.index;
            let outcome = match entry.payload {
                EntryPayload::Normal(bytes) => {
                    let applied = self.machine.apply(index, &bytes);
                    applied.map_err(|why| {
                        let why = StorageError::Apply { index, why };
                        StorageIOError::apply(entry.log_id, &why)
                    })?
                }
                EntryPayload::Blank => {
                    self.machine.passed(index);
                    Vec::new()
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    self.machine.passed(index);
                    Vec::new()
                }
            };
            outcomes.push(outcome);
            self.applied = Some(entry.log_id);
        }
        self.publish();
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Taken {
        let bytes = self.machine.snapshot();
        let id = self.applied;
        let index = id.map_or(0, |id| id.index);
        // Members that take a snapshot at the same entry may give it the same name: it has the same bytes.
        let name = format!("{index}-{:08x}-{}", crc32fast::hash(&bytes), bytes.len());
        let meta = SnapshotMeta { last_log_id: id, last_membership: self.membership.clone(), snapshot_id: name };
        Taken { snapshots: Arc::clone(&self.snapshots), stored: Stored { meta, bytes } }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, RaftStorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), RaftStorageError> {
        let failed = |why: &StorageError| StorageIOError::write_snapshot(Some(meta.signature()), why);
        let bytes = snapshot.into_inner();
        let index = meta.last_log_id.map_or(0, |id| id.index);
        // What the machine cannot read shall not replace what it can; and what it has become is acted on, so the disk is first.
        let checked = self.machine.check(index, &bytes);
        checked.map_err(|why| failed(&StorageError::Restore { index, why }))?;
        save(&self.snapshots, meta.clone(), bytes.clone()).await.map_err(|why| failed(&why))?;
        self.restore(meta, &bytes).map_err(|why| failed(&why).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, RaftStorageError> {
        let snapshots = Arc::clone(&self.snapshots);
        let loaded = tokio::task::spawn_blocking(move || snapshots.load()).await;
        let loaded = loaded.unwrap_or_else(|why| Err(StorageError::Poisoned { why: why.to_string() }));
        let stored = loaded.map_err(|why| StorageIOError::read_snapshot(None, &why))?;
        Ok(stored.map(|Stored { meta, bytes }| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

async fn save(snapshots: &Arc<Snapshots>, meta: SnapshotMeta, bytes: Vec<u8>) -> Result<(), StorageError> {
    let snapshots = Arc::clone(snapshots);
    let saved = tokio::task::spawn_blocking(move || snapshots.save(&meta, &bytes)).await;
    saved.unwrap_or_else(|why| Err(StorageError::Poisoned { why: why.to_string() }))
}

/// A snapshot as the machine was when it was asked for; entries may be applied while it is written.
#[derive(Debug)]
pub(crate) struct Taken {
    snapshots: Arc<Snapshots>,
    stored: Stored,
}

impl RaftSnapshotBuilder<Types> for Taken {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, RaftStorageError> {
        let Stored { meta, bytes } = self.stored.clone();
        let saved = save(&self.snapshots, meta, bytes).await;
        let Stored { meta, bytes } = self.stored.clone();
        saved.map_err(|why| StorageIOError::write_snapshot(Some(meta.signature()), &why))?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}
