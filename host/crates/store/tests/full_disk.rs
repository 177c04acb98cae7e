//! A real file system without space: a small one in memory, filled to the last byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::Op;
use store::sample::{self, Known};
use store::{Store, StoreError, StoreSettings};
use tempfile::TempDir;

/// Mounted until dropped.
struct SmallDisk {
    at: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let at = TempDir::new().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at.path())
            .status()
            .expect("the program mount");
        assert!(status.success(), "a tmpfs cannot be mounted: this test must run as root");
        Self { at }
    }

    fn dir(&self) -> PathBuf {
        self.at.path().join("data")
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = File::create(self.at.path().join("ballast")).unwrap();
        for len in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; len]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.at.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(self.at.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "the tmpfs stays mounted");
    }
}

fn settings() -> StoreSettings {
    StoreSettings { log_file_bytes: 64 << 10, cache_bytes: 1 << 20, ..StoreSettings::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, settings(), sample::START_MS).unwrap().0
}

fn held(first: u64, count: u64) -> Vec<Op> {
    (first..first + count).map(|seq| sample::held(seq, 1, u32::try_from(seq % 1000).unwrap())).collect()
}

/// Appends groups until the disk is full; what was written before.
fn write_until_full(store: &mut Store, written: &mut Vec<Op>) {
    loop {
        let group = held(store.next_seq().0, 50);
        match store.append(&group) {
            Ok(()) => written.extend(group),
            Err(StoreError::Full { .. }) => return,
            Err(other) => panic!("not a full disk: {other}"),
        }
        assert!(written.len() < 1_000_000, "the disk does not fill up");
    }
}

fn assert_has(store: &Store, written: &[Op]) {
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!((found.damage, found.next_seq.0), (Vec::new(), written.len() as u64 + 1));
    assert_eq!(known.settled(), Known::of(written));
}

#[test]
fn a_full_disk_is_told_apart_survived_and_left_behind() {
    let disk = SmallDisk::mount("24m");
    let mut store = open(&disk.dir());
    let mut written = Vec::new();
    for round in 0..3 {
        disk.fill();
        write_until_full(&mut store, &mut written);
        store.reopen().unwrap();
        assert_has(&store, &written);
        disk.empty();
        let group = held(store.next_seq().0, 50);
        store.append(&group).unwrap();
        written.extend(group);
        if round == 1 {
            drop(store);
            store = open(&disk.dir());
        }
        assert_has(&store, &written);
    }
    assert!(store.reader().usage().unwrap().free_bytes > 0);
}

#[test]
fn a_daemon_starts_and_reads_on_a_full_disk() {
    let disk = SmallDisk::mount("24m");
    let mut store = open(&disk.dir());
    let mut written = held(1, 5000);
    store.append(&written).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap();
    disk.fill();
    drop(store);
    let mut store = open(&disk.dir());
    assert_has(&store, &written);
    write_until_full(&mut store, &mut written);
    disk.empty();
    store.reopen().unwrap();
    assert_has(&store, &written);
}

#[test]
fn a_checkpoint_without_space_is_given_up_and_made_later() {
    let disk = SmallDisk::mount("24m");
    let mut store = open(&disk.dir());
    let written: Vec<Op> = held(1, 20_000);
    for group in written.chunks(500) {
        store.append(group).unwrap();
    }
    store.seal().unwrap();
    disk.fill();
    let error = store.compactor().cycle().unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_has(&store, &written);
    disk.empty();
    assert!(store.compactor().cycle().unwrap().is_some());
    drop(store);
    assert_has(&open(&disk.dir()), &written);
}
