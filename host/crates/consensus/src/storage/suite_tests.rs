//! openraft's own checks of a store, over ours.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Disk, LogStore, MachineStore, Progress, Snapshots};
use crate::Machine;
use crate::raft::{RaftStorageError, Types};

struct Build;

/// The suite begins its logs anywhere, which no real log does.
struct Last(u64);

impl Machine for Last {
    fn apply(&mut self, index: u64, _: &[u8]) -> Result<Vec<u8>, String> {
        self.0 = index;
        Ok(Vec::new())
    }

    fn passed(&mut self, index: u64) {
        self.0 = index;
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn check(&self, index: u64, snapshot: &[u8]) -> Result<(), String> {
        if snapshot == index.to_le_bytes() { Ok(()) } else { Err(format!("{snapshot:?}")) }
    }

    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String> {
        self.0 = index;
        self.check(index, snapshot)
    }
}

impl StoreBuilder<Types, LogStore, MachineStore, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), RaftStorageError> {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(Disk::open(dir.path()).expect("opens"));
        disk.faults.allow_gaps.store(true, std::sync::atomic::Ordering::SeqCst);
        let progress = watch::Sender::new(Progress::default());
        let (snapshots, stored) = Snapshots::open(Arc::clone(&disk)).expect("no snapshot");
        let machine = Box::new(Last(0));
        let machine = MachineStore::open(machine, Arc::new(snapshots), stored, progress.clone()).expect("fresh");
        let log = LogStore::open(disk, 256 * 1024, progress).expect("an empty log");
        Ok((dir, log, machine))
    }
}

#[test]
fn the_store_does_what_openraft_expects_of_one() {
    Suite::test_all(Build).expect("every check passes");
}
