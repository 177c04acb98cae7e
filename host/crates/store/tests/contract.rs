//! What every store keeps to, on a disk in order and on one that fails: one suite for both.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use kernel::Op;
use store::faulty::{FaultyDisk, Mood};
use store::sample::{self, Known};
use store::{OriginReport, Store, StoreError, StoreSettings, check};
use tempfile::TempDir;

fn settings() -> StoreSettings {
    StoreSettings { log_file_bytes: 8 << 10, cache_bytes: 1 << 20, ..StoreSettings::default() }
}

fn held(first: u64, count: u64) -> Vec<Op> {
    (first..first + count).map(|seq| sample::held(seq, 1, u32::try_from(seq % 100).unwrap())).collect()
}

fn recovered(store: &Store) -> (Known, u64) {
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!(found.damage, Vec::new());
    (known.settled(), found.next_seq.0)
}

#[test]
fn a_group_of_any_size_is_written() {
    let directory = TempDir::new().unwrap();
    let open = || Store::open(directory.path(), settings(), sample::START_MS).unwrap().0;
    let mut store = open();
    // More than a frame may have, in records as large as requests can make them.
    let large = |seq: u64| {
        let mut op = sample::pool(seq, u32::try_from(seq).unwrap(), 4);
        if let kernel::Fact::Pool(pool) = &mut op.fact {
            std::sync::Arc::get_mut(pool).unwrap().draft.extra = "x".repeat(4 << 20).into();
        }
        op
    };
    let group: Vec<Op> = (1..=20).map(large).chain(held(21, 3)).collect();
    store.append(&group).unwrap();
    assert_eq!(recovered(&store), (Known::of(&group), 24));
    drop(store);
    assert_eq!(recovered(&open()), (Known::of(&group), 24));
    let found = check(directory.path()).unwrap();
    assert_eq!((found.log_frames > 1, found.damage), (true, Vec::new()));
}

/// The suite. `open` gives the store of one directory, again and again.
fn contract(open: &dyn Fn() -> Store) {
    let mut written: Vec<Op> = Vec::new();
    // Nothing at first; then whatever was appended, after every start, however it is split into groups.
    assert_eq!(recovered(&open()), (Known::default(), 1));
    for (round, count) in [1, 7, 64, 300, 1].into_iter().enumerate() {
        let mut store = open();
        store.append(&[]).unwrap();
        let group = held(store.next_seq().0, count);
        store.append(&group).unwrap();
        written.extend(group);
        let all = (Known::of(&written), written.len() as u64 + 1);
        assert_eq!(recovered(&store), all, "round {round}, before the restart");
        if round % 2 == 1 {
            store.seal().unwrap();
            store.compactor().cycle().unwrap();
            assert_eq!(recovered(&store), all, "round {round}, after the checkpoint");
        }
        drop(store);
        assert_eq!(recovered(&open()), all, "round {round}, after the restart");
    }
    // Readers and compactors may outlive the store's handle, and a second of each does no harm.
    let mut store = open();
    let (reader, compactor) = (store.reader(), store.compactor());
    store.append(&held(store.next_seq().0, 3)).unwrap();
    assert!(reader.usage().unwrap().log_bytes > 0);
    store.seal().unwrap();
    drop(store);
    assert!(compactor.cycle().unwrap().is_some());
    assert!(compactor.clone().cycle().unwrap().is_none());
    assert_eq!(reader.usage().unwrap().log_bytes, 0);
}

#[test]
fn a_store_on_a_disk_in_order_keeps_the_contract() {
    let dir = TempDir::new().unwrap();
    contract(&|| Store::open(&dir.path().join("deep/er"), settings(), sample::START_MS).unwrap().0);
}

#[test]
fn a_store_on_a_disk_that_could_fail_keeps_the_contract() {
    let dir = TempDir::new().unwrap();
    let disk = FaultyDisk::new(dir.path());
    contract(&|| disk.open(settings(), sample::START_MS).unwrap().0);
}

/// A store with a hundred operations on a disk that can be made to fail.
fn on_faulty_disk(dir: &Path) -> (FaultyDisk, Store, Vec<Op>) {
    let disk = FaultyDisk::new(dir);
    let (mut store, _) = disk.open(settings(), sample::START_MS).unwrap();
    let written = held(1, 100);
    store.append(&written).unwrap();
    (disk, store, written)
}

#[test]
fn a_full_disk_refuses_the_group_and_serves_again_once_there_is_space() {
    let dir = TempDir::new().unwrap();
    let (disk, mut store, mut written) = on_faulty_disk(dir.path());
    for round in 0..5 {
        let group = held(store.next_seq().0, 20 + round);
        disk.set_mood(Mood::Full);
        assert!(matches!(store.append(&group), Err(StoreError::Full { .. })));
        // Memory is ahead of the disk now, so the same store takes nothing more, space or not.
        disk.set_mood(Mood::Well);
        assert!(matches!(store.append(&group), Err(StoreError::MustReopen)));
        // What is on disk can still be asked for while there is no space.
        disk.set_mood(Mood::Full);
        assert_eq!(recovered(&store).0, Known::of(&written));
        store.reopen().unwrap();
        assert!(matches!(store.append(&group), Err(StoreError::Full { .. })));
        disk.set_mood(Mood::Well);
        store.reopen().unwrap();
        assert_eq!(recovered(&store), (Known::of(&written), written.len() as u64 + 1));
        store.append(&group).unwrap();
        written.extend(group);
        // What the short write left behind must not trouble the next start.
        drop(store);
        store = disk.open(settings(), 0).unwrap().0;
        assert_eq!(recovered(&store), (Known::of(&written), written.len() as u64 + 1));
    }
}

#[test]
fn a_failed_write_or_sync_is_not_taken_for_a_full_disk() {
    for mood in [Mood::WritesFail, Mood::SyncsFail] {
        let dir = TempDir::new().unwrap();
        let (disk, mut store, written) = on_faulty_disk(dir.path());
        disk.set_mood(mood);
        let group = held(store.next_seq().0, 5);
        let error = store.append(&group).unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{mood:?}: {error}");
        // The daemon ends; the next one finds the group whole or not at all.
        drop(store);
        disk.set_mood(Mood::Well);
        let (known, next) = recovered(&disk.open(settings(), 0).unwrap().0);
        let with_group = Known::of(written.iter().chain(&group));
        assert!((known == Known::of(&written) && next == 101) || (known == with_group && next == 106), "{mood:?}");
    }
}

#[test]
fn without_power_only_what_was_not_answered_may_be_lost() {
    for seed in 0..200_usize {
        let dir = TempDir::new().unwrap();
        let (disk, mut store, written) = on_faulty_disk(dir.path());
        // The sync fails because the power goes: the bytes may have arrived in part.
        disk.set_mood(Mood::SyncsFail);
        let group = held(store.next_seq().0, 3);
        store.append(&group).unwrap_err();
        disk.cut_power(|len| if seed % 20 == 0 { len } else { seed * 31 % (len + 1) }).unwrap();
        drop(store);
        disk.set_mood(Mood::Well);
        let (known, next) = recovered(&disk.open(settings(), 0).unwrap().0);
        let with_group = Known::of(written.iter().chain(&group));
        assert!((known == Known::of(&written) && next == 101) || (known == with_group && next == 104), "seed {seed}");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_costs_nothing() {
    for mood in [Mood::Full, Mood::WritesFail, Mood::SyncsFail] {
        let dir = TempDir::new().unwrap();
        let (disk, mut store, written) = on_faulty_disk(dir.path());
        store.seal().unwrap();
        disk.set_mood(mood);
        let error = store.compactor().cycle().unwrap_err();
        assert_eq!(error.is_full(), mood == Mood::Full, "{mood:?}: {error}");
        disk.set_mood(Mood::Well);
        assert_eq!(recovered(&store).0, Known::of(&written), "{mood:?}");
        if !error.is_full() {
            assert!(matches!(store.compactor().cycle(), Err(StoreError::MustRestart)), "{mood:?}");
            drop(store);
            store = disk.open(settings(), 0).unwrap().0;
        }
        assert!(store.compactor().cycle().unwrap().is_some(), "{mood:?}");
        drop(store);
        assert_eq!(recovered(&disk.open(settings(), 0).unwrap().0).0, Known::of(&written), "{mood:?}");
    }
}

/// Two checkpoints, the second of which fails between its manifest's renaming and the sync that makes it durable.
#[test]
fn a_checkpoint_that_is_named_but_not_synced_is_whole_for_the_next_start() {
    for power_lost in [false, true] {
        let dir = TempDir::new().unwrap();
        let (disk, mut store, mut written) = on_faulty_disk(dir.path());
        store.seal().unwrap();
        store.compactor().cycle().unwrap().unwrap();
        let group = held(store.next_seq().0, 20);
        store.append(&group).unwrap();
        written.extend(group);
        store.seal().unwrap();
        let manifest = dir.path().join("manifest");
        let former = std::fs::read(&manifest).unwrap();
        disk.set_mood(Mood::DirSyncsFail);
        let error = store.compactor().cycle().unwrap_err();
        assert!(matches!(error, StoreError::Failed { action: "sync", .. }), "{error}");
        disk.set_mood(Mood::Well);
        // Until the daemon has ended, no other cycle may remove what this one left.
        let compactor = store.compactor();
        compactor.stop();
        assert!(matches!(compactor.cycle(), Err(StoreError::MustRestart)));
        drop((store, compactor));
        if power_lost {
            std::fs::write(&manifest, former).unwrap();
        }
        let mut store = disk.open(settings(), 0).unwrap().0;
        let all = (Known::of(&written), written.len() as u64 + 1);
        assert_eq!(recovered(&store), all, "power lost: {power_lost}");
        store.seal().unwrap();
        store.compactor().cycle().unwrap();
        assert_eq!(recovered(&store), all, "power lost: {power_lost}");
    }
}

/// What a manifest's checkpoint replaced goes only once that checkpoint was seen.
#[test]
fn a_start_removes_nothing_while_the_checkpoint_cannot_be_opened() {
    let dir = TempDir::new().unwrap();
    let (disk, mut store, written) = on_faulty_disk(dir.path());
    store.seal().unwrap();
    let log = dir.path().join("log-000000000000");
    let covered = std::fs::read(&log).unwrap();
    store.compactor().cycle().unwrap().unwrap();
    drop(store);
    // As after a cycle that was cut short before it removed what it had replaced.
    std::fs::write(&log, covered).unwrap();
    let former = dir.path().join("table-000000000009");
    std::fs::create_dir(&former).unwrap();
    let index = dir.path().join("table-000000000000/index");
    let aside = dir.path().join("table-000000000000/aside");
    std::fs::rename(&index, &aside).unwrap();
    let error = disk.open(settings(), 0).unwrap_err();
    assert_eq!(error.to_string(), "table-000000000000/index is damaged: it is missing");
    assert!(log.exists() && former.exists());
    std::fs::rename(&aside, &index).unwrap();
    let store = disk.open(settings(), 0).unwrap().0;
    assert_eq!(recovered(&store), (Known::of(&written), 101));
    assert!(!log.exists() && !former.exists());
}

/// The index of a checkpoint says nothing about its volumes: what it replaced may be all that is left of the facts.
#[test]
fn a_start_removes_nothing_before_the_checkpoint_was_read_back() {
    let dir = TempDir::new().unwrap();
    let (disk, mut store, written) = on_faulty_disk(dir.path());
    store.seal().unwrap();
    let log = dir.path().join("log-000000000000");
    let covered = std::fs::read(&log).unwrap();
    store.compactor().cycle().unwrap().unwrap();
    drop(store);
    std::fs::write(&log, covered).unwrap();
    let former = dir.path().join("table-000000000009");
    std::fs::create_dir(&former).unwrap();
    let volume = dir.path().join("table-000000000000/0000");
    let aside = dir.path().join("aside");
    std::fs::rename(&volume, &aside).unwrap();
    let mut store = disk.open(settings(), 0).unwrap().0;
    assert_eq!(store.recover(&mut |_| {}).unwrap().damage.len(), 1);
    store.append(&held(101, 5)).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap_err();
    assert!(log.exists() && former.exists());
    drop(store);
    std::fs::remove_dir_all(&volume).unwrap_or_default();
    std::fs::rename(&aside, &volume).unwrap();
    let store = disk.open(settings(), 0).unwrap().0;
    assert!(log.exists() && former.exists());
    assert_eq!(recovered(&store), (Known::of(written.iter().chain(&held(101, 5))), 106));
    assert!(!log.exists() && !former.exists());
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_process() {
    let dir = TempDir::new().unwrap();
    let first = Store::open(dir.path(), settings(), 0).unwrap();
    let error = Store::open(dir.path(), settings(), 0).unwrap_err();
    assert!(
        matches!(&error, StoreError::Locked { holder, .. } if *holder == std::process::id().to_string()),
        "{error}"
    );
    assert!(matches!(check(dir.path()), Err(StoreError::Locked { .. })));
    drop(first);
    Store::open(dir.path(), settings(), 0).unwrap();
}

#[test]
fn an_identity_is_made_once_and_its_node_can_be_renamed() {
    let dir = TempDir::new().unwrap();
    let (store, made) = Store::open(dir.path(), settings(), 42).unwrap();
    assert_eq!((made.created_ms, made.origin.incarnation), (42, 1));
    assert!(made.node.as_str().starts_with("node-"));
    drop(store);
    let (store, again) = Store::open(dir.path(), settings(), 43).unwrap();
    assert_eq!(again, made);
    drop(store);
    let named = StoreSettings { node: Some("core 1 é".parse().unwrap()), ..settings() };
    let (store, renamed) = Store::open(dir.path(), named, 44).unwrap();
    assert_eq!((renamed.node.as_str(), renamed.origin), ("core 1 é", made.origin));
    drop(store);
    assert_eq!(Store::open(dir.path(), settings(), 45).unwrap().1, renamed);
    let other = TempDir::new().unwrap();
    let (_, stranger) = Store::open(other.path(), settings(), 42).unwrap();
    assert!(stranger.cluster != made.cluster && stranger.origin != made.origin);
}

#[test]
fn a_directory_that_lost_its_identity_is_not_given_another() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = Store::open(dir.path(), settings(), 0).unwrap();
    store.append(&held(1, 3)).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("identity")).unwrap();
    let error = Store::open(dir.path(), settings(), 0).unwrap_err();
    assert!(error.to_string().contains("no file named identity"), "{error}");
}

#[test]
fn a_check_counts_what_there_is_and_names_what_is_damaged() {
    let dir = TempDir::new().unwrap();
    assert!(check(&dir.path().join("none")).unwrap_err().to_string().contains("no such directory"));
    assert!(check(dir.path()).unwrap_err().to_string().contains("no identity"));
    let (mut store, identity) = Store::open(dir.path(), settings(), 0).unwrap();
    let few = [sample::pool(1, 1, 4), sample::realm(2, 1), sample::reserved(3, 1, 9), sample::resting(4, 1, 8, 5)];
    store.append(&few).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap();
    store.append(&held(5, 10)).unwrap();
    drop(store);
    let report = check(dir.path()).unwrap();
    assert_eq!(report.identity, identity);
    let facts: Vec<_> = report.facts.iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(facts, [("clock", 1), ("held", 10), ("pool", 1), ("realm", 1), ("reserved", 1), ("resting", 1)]);
    assert_eq!((report.history, report.log_frames, report.covered, report.next_seq), (1, 1, 4, 15));
    assert_eq!((report.tables, report.damage), (2, Vec::new()));
    let own = OriginReport { operations: 15, heard: kernel::Seq(0) };
    assert_eq!(report.origins, BTreeMap::from([(identity.origin.into(), own)]));
    let (mut store, _) = Store::open(dir.path(), settings(), 0).unwrap();
    let relayed = |seq| sample::relayed(sample::resting(seq, 1, 50, 5), 2, seq * 3);
    store.append(&[relayed(15), relayed(16), sample::heard(17, 2, 60), sample::heard(18, 3, 9)]).unwrap();
    drop(store);
    let report = check(dir.path()).unwrap();
    let of = |host| report.origins[&sample::origin(host)];
    assert_eq!(of(2), OriginReport { operations: 2, heard: kernel::Seq(60) });
    assert_eq!(of(3), OriginReport { operations: 0, heard: kernel::Seq(9) });
    assert_eq!(report.origins[&identity.origin.into()].operations, 17);
    std::fs::remove_dir_all(dir.path().join("table-000000000000")).unwrap();
    let damage = check(dir.path()).unwrap().damage;
    assert_eq!((damage.len(), damage[0].pool), (1, None));
    assert_eq!(damage[0].to_string(), "table-000000000000/index: it is missing");
}
