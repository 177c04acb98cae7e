//! The format is a promise: old data directories open for ever, newer ones are refused by name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use kernel::{Fact, Op, PoolUid, RealmUid};
use store::sample::{self, Known};
use store::{HistoryQuery, Store, StoreError, StoreSettings, check};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn settings() -> StoreSettings {
    StoreSettings { log_file_bytes: 4096, cache_bytes: 1 << 20, ..StoreSettings::default() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
    // sled wants its directory for large values, which version control does not keep when it is empty.
    if from.join("db").exists() {
        fs::create_dir_all(to.join("blobs")).unwrap();
    }
}

/// One of every kind of fact; the first half is in a checkpoint, the rest in the log.
fn every_kind() -> Vec<Op> {
    vec![
        sample::pool(1, 1, 64),
        sample::pool(2, 2, 4),
        sample::realm(3, 0),
        sample::realm(4, 1),
        sample::held(5, 1, 10),
        sample::held(6, 1, 11),
        sample::resting(7, 1, 12, 5000),
        sample::reserved(8, 1, 13),
        sample::held(9, 2, 14),
        sample::resting(10, 1, 10, 5000),
        sample::held(11, 1, 12),
        sample::op(12, Fact::Free(sample::key(1, 10))),
        sample::op(13, Fact::Unreserved(sample::key(1, 13))),
        sample::reserved(14, 1, 15),
        sample::op(15, Fact::PoolDeleted(PoolUid(2))),
        sample::held(97, 1, 16),
        sample::op(17, Fact::Clock),
    ]
    .into_iter()
    .zip(1..)
    .map(|(op, seq)| Op { seq: kernel::Seq(seq), ..op })
    .collect()
}

fn write(dir: &Path) {
    let (mut store, _) = Store::open(dir, settings(), sample::START_MS).unwrap();
    let ops = every_kind();
    store.append(&ops[..9]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    store.append(&ops[9..12]).unwrap();
    store.append(&ops[12..]).unwrap();
    store.seal().unwrap();
}

fn assert_reads(dir: &Path) {
    let (mut store, identity) = Store::open(dir, settings(), 0).unwrap();
    assert_eq!(identity.created_ms, sample::START_MS);
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!((found.damage, found.next_seq.0), (Vec::new(), 18));
    assert_eq!(known.settled(), Known::of(&every_kind()));
    let ended = |number| {
        let (pool, realm, span) = (PoolUid(1), RealmUid(0), sample::address(number));
        let query = HistoryQuery { pool, realm, span, at_ms: None, limit: 10 };
        store.reader().history(&query).unwrap().ended.len()
    };
    assert_eq!((ended(10), ended(11), ended(12)), (1, 0, 1));
    // And it can be written on.
    store.append(&[sample::held(18, 1, 18)]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
}

/// With `NEXUS_WRITE_FIXTURE=v1` in the environment, writes `tests/fixtures/v1` anew: only for a format not yet released.
#[test]
fn what_this_version_writes_it_reads() {
    let dir = TempDir::new().unwrap();
    write(dir.path());
    if let Ok(name) = std::env::var("NEXUS_WRITE_FIXTURE") {
        fs::remove_file(dir.path().join("lock")).unwrap();
        fs::remove_dir_all(fixture(&name)).unwrap_or_default();
        copy(dir.path(), &fixture(&name));
    }
    assert_reads(dir.path());
}

#[test]
fn a_directory_of_format_1_opens() {
    let dir = TempDir::new().unwrap();
    copy(&fixture("v1"), dir.path());
    let report = check(dir.path()).unwrap();
    assert_eq!((report.damage, report.format, report.tables), (Vec::new(), 1, 2));
    assert_reads(dir.path());
}

#[test]
fn a_newer_format_is_refused_and_both_are_named() {
    let dir = TempDir::new().unwrap();
    copy(&fixture("newer"), dir.path());
    let before = fs::read(dir.path().join("identity")).unwrap();
    let error = Store::open(dir.path(), settings(), 0).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 3, known: 2, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("has format 3") && text.contains("up to format 2"), "{text}");
    assert!(matches!(check(dir.path()), Err(StoreError::NewerFormat { .. })));
    assert_eq!(fs::read(dir.path().join("identity")).unwrap(), before);
}

#[test]
fn a_changed_identity_or_manifest_is_an_error_and_not_a_fresh_start() {
    for name in ["identity", "manifest"] {
        let dir = TempDir::new().unwrap();
        copy(&fixture("v1"), dir.path());
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            let opened = Store::open(dir.path(), settings(), 0);
            assert!(opened.is_err(), "{name} changed at byte {at} was not noticed");
        }
    }
}
