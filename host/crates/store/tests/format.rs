//! The format is a promise: old data directories open for ever, newer ones are refused by name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kernel::{Fact, Op, PoolUid, RealmUid, Seq};
use store::sample::{self, Known};
use store::{HistoryQuery, RunError, Store, StoreError, StoreSettings, check};
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

/// One of every kind of fact that format 1 had; the first half is in a checkpoint, the rest in the log.
fn every_kind_of_1() -> Vec<Op> {
    numbered(vec![
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
        sample::op(13, sample::unreserved(sample::key(1, 13))),
        sample::reserved(14, 1, 15),
        sample::op(15, Fact::PoolDeleted(PoolUid(2))),
        sample::held(97, 1, 16),
        sample::op(17, Fact::Clock),
    ])
}

fn numbered(ops: Vec<Op>) -> Vec<Op> {
    ops.into_iter().zip(1..).map(|(op, seq)| Op { seq: Seq(seq), ..op }).collect()
}

/// What format 2 added: other hosts wrote half of it, each under their own numbers, and were heard.
fn every_kind() -> Vec<Op> {
    let relayed = |(op, seq): (Op, u64)| {
        if seq.is_multiple_of(2) { sample::relayed(op, seq % 3, 100 + seq * 7) } else { op }
    };
    let mut ops: Vec<Op> = every_kind_of_1().into_iter().zip(1..).map(relayed).collect();
    ops.insert(8, sample::heard(8, 0, 180));
    ops.push(sample::heard(18, 1, 500));
    ops.push(sample::heard(19, 0, 190));
    ops.push(sample::pool(20, 3, 4));
    ops.push(sample::pool(21, 4, 2));
    ops.push(sample::noted(22, 1, Some("by the mill"), &[]));
    ops.push(sample::relayed(sample::noted(23, 2, Some("by the river"), &[]), 0, 188));
    ops.push(sample::relayed(sample::noted(24, 1, None, &[22]), 1, 490));
    ops.push(sample::noted(25, 1, Some("two\nlines"), &[]));
    ops.push(sample::unnoted(26, 1, &[24]));
    ops.push(sample::conflict(27, 1, 14, (1, 480)));
    ops.push(sample::conflict(28, 1, 15, (0, 186)));
    ops.push(sample::conflict_closed(29, 27));
    numbered(ops)
}

/// The first file is covered and kept for other hosts.
fn write(dir: &Path) {
    let (mut store, _) = Store::open(dir, settings(), sample::START_MS).unwrap();
    let ops = every_kind();
    store.reader().retain(BTreeMap::new(), 1 << 20);
    store.append(&ops[..10]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    store.append(&ops[10..13]).unwrap();
    store.append(&ops[13..]).unwrap();
    store.seal().unwrap();
}

fn assert_reads(dir: &Path, ops: &[Op]) {
    let next = ops.len() as u64 + 1;
    let (mut store, identity) = Store::open(dir, settings(), 0).unwrap();
    assert_eq!(identity.created_ms, sample::START_MS);
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!((found.damage, found.next_seq.0), (Vec::new(), next));
    assert_eq!(known.settled(), Known::of(ops));
    let ended = |number| {
        let (pool, realm, span) = (PoolUid(1), RealmUid(0), sample::address(number));
        let query = HistoryQuery { pool, realm, span, at_ms: None, limit: 10 };
        store.reader().history(&query).unwrap().ended.len()
    };
    assert_eq!((ended(10), ended(11), ended(12)), (1, 0, 1));
    // And it can be written on.
    let others = [sample::relayed(sample::held(next, 1, 18), 1, 501), sample::heard(next + 1, 1, 501)];
    store.append(&others).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    drop(store);
    let report = check(dir).unwrap();
    assert_eq!((report.damage, report.format), (Vec::new(), 2));
    let (store, _) = Store::open(dir, settings(), 0).unwrap();
    let mut known = Known::default();
    store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!(known.settled(), Known::of(ops.iter().chain(&others)));
}

/// With `NEXUS_WRITE_FIXTURE=v2` in the environment, writes `tests/fixtures/v2` anew: only for a format not yet released.
#[test]
fn what_this_version_writes_it_reads() {
    let dir = TempDir::new().unwrap();
    write(dir.path());
    if let Ok(name) = std::env::var("NEXUS_WRITE_FIXTURE") {
        fs::remove_file(dir.path().join("lock")).unwrap();
        fs::remove_dir_all(fixture(&name)).unwrap_or_default();
        copy(dir.path(), &fixture(&name));
    }
    assert_reads(dir.path(), &every_kind());
}

#[test]
fn a_directory_of_format_2_opens_and_gives_operations_by_origin() {
    let dir = TempDir::new().unwrap();
    copy(&fixture("v2"), dir.path());
    let report = check(dir.path()).unwrap();
    assert_eq!((report.damage, report.format, report.tables, report.kept_files), (Vec::new(), 2, 2, Some(1)));
    let heard: Vec<_> = [0, 1].map(|host| report.origins[&sample::origin(host)].heard.0).into();
    assert_eq!(heard, [190, 500]);
    let (store, _) = Store::open(dir.path(), settings(), 0).unwrap();
    let of = |host| {
        let run = store.reader().operations(Some(sample::origin(host)), Seq(0), usize::MAX).unwrap();
        (run.ops.iter().map(|op| op.from.unwrap().seq.0).collect::<Vec<_>>(), run.through.0)
    };
    assert_eq!(of(0), (vec![142, 184, 188], 190));
    assert_eq!(of(1), (vec![128, 170, 212, 490], 500));
    drop(store);
    assert_reads(dir.path(), &every_kind());
}

/// Before anything of format 2 is written, an older daemon must refuse the directory; what is there stays readable.
#[test]
fn a_directory_of_format_1_is_moved_when_it_is_first_opened() {
    let dir = TempDir::new().unwrap();
    copy(&fixture("v1"), dir.path());
    let (before, after) = (fs::read_to_string(dir.path().join("identity")).unwrap(), || {
        fs::read_to_string(dir.path().join("identity")).unwrap()
    });
    check(dir.path()).unwrap();
    assert_eq!(after(), before, "only looked at");
    let (store, moved) = Store::open(dir.path(), settings(), 0).unwrap();
    assert!(after().contains("\nformat 2\n"));
    let kept = |text: &str| text.lines().skip(2).take(5).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(kept(&after()), kept(&before));
    // What its checkpoint covered was never kept for anybody.
    let gone = store.reader().operations(None, Seq(8), 999);
    assert!(matches!(gone, Err(RunError::Gone { first: Seq(10) })), "{gone:?}");
    let run = store.reader().operations(None, Seq(9), usize::MAX).unwrap();
    assert_eq!((run.ops.len(), run.through), (8, Seq(17)));
    drop(store);
    assert_eq!(Store::open(dir.path(), settings(), 0).unwrap().1, moved);
}

#[test]
fn a_directory_of_format_1_opens() {
    let dir = TempDir::new().unwrap();
    copy(&fixture("v1"), dir.path());
    let report = check(dir.path()).unwrap();
    assert_eq!((report.damage, report.format, report.tables), (Vec::new(), 1, 2));
    assert_reads(dir.path(), &every_kind_of_1());
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
    for (version, name) in [("v1", "identity"), ("v1", "manifest"), ("v2", "identity"), ("v2", "manifest")] {
        let dir = TempDir::new().unwrap();
        copy(&fixture(version), dir.path());
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
