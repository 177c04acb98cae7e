//! Directories as a crash, a bad disk or another build leaves them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use openraft::{CommittedLeaderId, EntryPayload};
use tempfile::TempDir;

use super::committed::{Committed, SLOT_BYTES};
use super::journal::{Contents, FILE_BYTES, Journal};
use super::{Disk, LogStore, Progress, Snapshots};
use crate::error::StorageError;
use crate::raft::{Entry, LogId, SnapshotMeta, StoredMembership};

/// The sealed value in front of the frames. Where it is found to be wrong says little.
const HEAD: usize = 23;

fn id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    let fill = u8::try_from(index % 251).expect("small");
    Entry { log_id: id(index), payload: EntryPayload::Normal(vec![fill; bytes]) }
}

fn batch(indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(index, 10)).collect()
}

fn indexes(contents: &Contents) -> Vec<u64> {
    contents.entries.iter().map(|entry| entry.log_id.index).collect()
}

fn open(dir: &Path) -> Result<(Disk, Journal, Contents), StorageError> {
    let disk = Disk::open(dir)?;
    let (journal, contents) = Journal::open(&disk)?;
    Ok((disk, journal, contents))
}

/// A log of three batches (entries 0 to 2, 3, 4 to 5) in one file; and how long the file was after each.
fn three_batches() -> (TempDir, PathBuf, [usize; 3]) {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, mut journal, _) = open(dir.path()).expect("empty");
    let file = dir.path().join("log-00000000000000000000");
    let lengths = [batch(0..3), batch(3..4), batch(4..6)].map(|entries| {
        journal.append(&disk, &entries).expect("written");
        usize::try_from(fs::metadata(&file).expect("is there").len()).expect("small")
    });
    (dir, file, lengths)
}

/// The same directory with other bytes in its only file.
fn with(bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("log-00000000000000000000"), bytes).expect("written");
    dir
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_batches_goes_on_from_what_is_whole() {
    let (_dir, file, [first, second, third]) = three_batches();
    let whole = fs::read(file).expect("readable");
    for cut in first..=third {
        let dir = with(&whole[..cut]);
        let (disk, mut journal, contents) = open(dir.path()).expect("a torn end is no damage");
        let kept = indexes(&contents);
        let next = kept.len() as u64;
        assert_eq!(kept, (0..next).collect::<Vec<_>>(), "cut at {cut}");
        assert!(next >= 3 + u64::from(cut >= second) + 2 * u64::from(cut >= third), "cut at {cut}: {next}");
        assert!(next < 6 || cut == third, "cut at {cut}: {next}");
        journal.append(&disk, &batch(next..next + 2)).expect("goes on");
        drop((journal, disk));
        let (_, _, contents) = open(dir.path()).expect("whole");
        assert_eq!(indexes(&contents), (0..next + 2).collect::<Vec<_>>(), "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_is_damage_unless_it_is_in_the_last_batch() {
    let (_dir, file, [_, second, third]) = three_batches();
    let whole = fs::read(file).expect("readable");
    for at in 0..third {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let dir = with(&bytes);
        match open(dir.path()) {
            // Nobody was told of the last batch as long as its sync had not returned: it may be torn in any way.
            Ok((_, _, contents)) => {
                assert!(at >= second, "changed at {at}");
                assert!((4..6).contains(&contents.entries.len()), "changed at {at}");
            }
            Err(StorageError::Damaged { path, offset, .. }) => {
                assert!(at < second, "changed at {at}");
                assert!(
                    path.ends_with("log-00000000000000000000") && (at < HEAD || offset <= at as u64),
                    "changed at {at}: {offset}"
                );
            }
            // The format number is the one byte that may mean something else.
            Err(why) => assert!(matches!(why, StorageError::NewerFormat { found: 17 | 4097, known: 1, .. }), "{why}"),
        }
    }
}

#[test]
fn zeros_where_the_last_batch_should_be_are_a_torn_end() {
    let (_dir, file, [_, second, third]) = three_batches();
    let mut bytes = fs::read(file).expect("readable");
    bytes[second..third].fill(0);
    let dir = with(&bytes);
    let (_, _, contents) = open(dir.path()).expect("torn");
    assert_eq!(indexes(&contents), [0, 1, 2, 3]);
}

#[test]
fn what_was_truncated_is_gone_after_a_restart() {
    let (dir, _, _) = three_batches();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    journal.truncate(&disk, 2).expect("cut");
    journal.append(&disk, &batch(2..4)).expect("goes on");
    drop((journal, disk));
    let (disk, mut journal, contents) = open(dir.path()).expect("whole");
    assert_eq!(indexes(&contents), [0, 1, 2, 3]);
    journal.truncate(&disk, 0).expect("cut");
    drop((journal, disk));
    let (_, _, contents) = open(dir.path()).expect("empty");
    assert!(contents.entries.is_empty());
}

/// Entries large enough that each file holds a few.
fn several_files() -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, mut journal, _) = open(dir.path()).expect("empty");
    let bytes = usize::try_from(FILE_BYTES / 2).expect("fits");
    for index in 0..8 {
        journal.append(&disk, &[entry(index, bytes)]).expect("written");
    }
    let names: Vec<String> =
        disk.names().expect("listed").into_iter().filter(|name| name.starts_with("log-")).collect();
    assert_eq!(names.len(), 4, "two entries a file: {names:?}");
    (dir, names)
}

#[test]
fn a_missing_file_in_the_middle_is_damage() {
    let (dir, names) = several_files();
    fs::remove_file(dir.path().join(&names[1])).expect("was there");
    let refused = open(dir.path()).expect_err("a hole");
    let StorageError::Damaged { path, why, .. } = refused else { panic!("{refused}") };
    assert!(path.ends_with(&names[2]) && why.contains("entry 2 is missing"), "{why}");
}

#[test]
fn a_file_that_was_finished_has_no_torn_end() {
    let (dir, names) = several_files();
    let path = dir.path().join(&names[1]);
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    assert!(matches!(open(dir.path()), Err(StorageError::Damaged { .. })));
}

#[test]
fn truncation_over_files_that_crashed_anywhere_leaves_no_hole() {
    let (dir, names) = several_files();
    let backup: Vec<Vec<u8>> = names.iter().map(|name| fs::read(dir.path().join(name)).expect("readable")).collect();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    journal.truncate(&disk, 3).expect("cut");
    drop((journal, disk));
    // From the back: a crash may leave any number of the first ones whole.
    for left in 2..=4 {
        for (name, bytes) in names.iter().zip(&backup).take(left) {
            fs::write(dir.path().join(name), bytes).expect("written");
        }
        let (_, _, contents) = open(dir.path()).expect("no hole");
        assert_eq!(indexes(&contents), (0..2 * left as u64).collect::<Vec<_>>());
    }
}

#[test]
fn a_purge_that_crashed_anywhere_is_finished_at_the_start() {
    let (dir, names) = several_files();
    let backup: Vec<Vec<u8>> = names.iter().map(|name| fs::read(dir.path().join(name)).expect("readable")).collect();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    journal.purge(&disk, &id(4)).expect("purged");
    drop((journal, disk));
    for kept in 0..3 {
        // The first ones may still be there, as the purge goes from the front.
        for (name, bytes) in names.iter().zip(&backup).skip(kept) {
            fs::write(dir.path().join(name), bytes).expect("written");
        }
        let (disk, _, contents) = open(dir.path()).expect("no hole");
        assert_eq!((indexes(&contents), contents.purged), (vec![5, 6, 7], Some(id(4))));
        assert!(!disk.names().expect("listed").contains(&names[0]), "what is not needed goes");
    }
}

#[test]
fn a_purge_beyond_the_log_begins_it_anew() {
    let (dir, names) = several_files();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    let last = fs::read(dir.path().join(&names[3])).expect("readable");
    journal.purge(&disk, &id(100)).expect("purged");
    drop((journal, disk));
    fs::write(dir.path().join(&names[3]), last).expect("as if the crash came before it was removed");
    let (disk, mut journal, contents) = open(dir.path()).expect("whole");
    assert!(contents.entries.is_empty());
    journal.append(&disk, &batch(101..103)).expect("goes on");
    drop((journal, disk));
    assert_eq!(indexes(&open(dir.path()).expect("whole").2), [101, 102]);
}

#[test]
fn after_a_failed_sync_nothing_more_is_written() {
    let (dir, file, [_, _, length]) = three_batches();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    disk.faults.fail_syncs.store(true, Ordering::SeqCst);
    assert!(matches!(journal.append(&disk, &batch(6..7)), Err(StorageError::Io { action: "sync", .. })));
    disk.faults.fail_syncs.store(false, Ordering::SeqCst);
    assert!(matches!(journal.append(&disk, &batch(6..7)), Err(StorageError::Poisoned { .. })));
    assert!(matches!(journal.truncate(&disk, 1), Err(StorageError::Poisoned { .. })));
    assert!(fs::metadata(file).expect("is there").len() >= length as u64);
    drop((journal, disk));
    assert!(open(dir.path()).expect("whole").2.entries.len() >= 6, "what was synced is there");
    let disk = Disk::open(dir.path()).expect("opens");
    disk.faults.fail_syncs.store(true, Ordering::SeqCst);
    let unsure = Journal::open(&disk).expect_err("what the failed sync left out is written again");
    assert!(matches!(unsure, StorageError::Io { action: "sync", .. }), "{unsure}");
}

#[test]
fn an_entry_that_does_not_follow_is_not_written() {
    let (dir, _, _) = three_batches();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    assert!(matches!(journal.append(&disk, &batch(9..10)), Err(StorageError::Gap { index: 9, next: 6 })));
}

#[test]
fn a_closed_directory_is_written_no_more_and_free_for_the_next() {
    let (dir, _, _) = three_batches();
    let (disk, mut journal, _) = open(dir.path()).expect("whole");
    assert!(matches!(Disk::open(dir.path()), Err(StorageError::Locked { .. })));
    disk.close();
    assert!(matches!(journal.append(&disk, &batch(6..7)), Err(StorageError::Closed)));
    assert_eq!(open(dir.path()).expect("free").2.entries.len(), 6);
}

/// The store over a log of entries 0 to 5 and what it says is committed.
fn committed_after(change: impl FnOnce(&Path)) -> Result<Option<LogId>, StorageError> {
    let (dir, _, _) = three_batches();
    change(dir.path());
    let disk = std::sync::Arc::new(Disk::open(dir.path())?);
    let mut store = LogStore::open(disk, 1024, tokio::sync::watch::Sender::new(Progress::default()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let read = runtime.block_on(openraft::storage::RaftLogStorage::read_committed(&mut store));
    Ok(read.expect("in memory"))
}

fn commit(dir: &Path, id: LogId) {
    let disk = Disk::open(dir).expect("opens");
    Committed::open(&disk).expect("opens").set(&disk, Some(id), Some(id)).expect("written");
}

#[test]
fn what_is_known_to_be_committed_is_believed() {
    assert_eq!(committed_after(|_| {}).expect("none"), None);
    assert_eq!(committed_after(|dir| commit(dir, id(4))).expect("known"), Some(id(4)));
    let torn = |dir: &Path| {
        commit(dir, id(4));
        let file = dir.join("committed");
        let bytes = fs::read(&file).expect("readable");
        fs::write(&file, &bytes[..bytes.len() - 2]).expect("written");
    };
    assert_eq!(committed_after(torn).expect("nothing was applied on the first word yet"), None);
    let other = LogId::new(CommittedLeaderId::new(2, 1), 4);
    let contradiction = committed_after(|dir| commit(dir, other)).expect_err("another entry is in its place");
    assert!(matches!(contradiction, StorageError::Damaged { .. }), "{contradiction}");
}

/// The slots after entries 2, 3 and 4 were committed one after the other.
fn committed_in_turn(dir: &Path) -> PathBuf {
    for index in 2..=4 {
        commit(dir, id(index));
    }
    dir.join("committed")
}

#[test]
fn a_torn_slot_never_takes_back_what_was_applied() {
    let whole = { fs::read(committed_in_turn(three_batches().0.path())).expect("readable") };
    let slot = |at: usize| if at < SLOT_BYTES { 0 } else { SLOT_BYTES };
    for at in (0..whole.len() - SLOT_BYTES).chain(SLOT_BYTES..whole.len()) {
        let change = |dir: &Path| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(dir.join("committed"), bytes).expect("written");
        };
        match committed_after(change) {
            // Entry 4 is in the first slot again, entry 3 in the second: whoever tore the first had not applied 4.
            Ok(read) => assert!(read == Some(id(4)) || (slot(at) == 0 && read == Some(id(3))), "byte {at}: {read:?}"),
            Err(why) => assert!(matches!(why, StorageError::NewerFormat { .. }), "byte {at}: {why}"),
        }
    }
    let both = |dir: &Path| {
        let mut bytes = whole.clone();
        bytes[20] ^= 1;
        bytes[SLOT_BYTES + 20] ^= 1;
        fs::write(dir.join("committed"), bytes).expect("written");
    };
    assert!(matches!(committed_after(both).expect_err("damage"), StorageError::Damaged { .. }));
}

#[test]
fn how_far_the_log_is_committed_is_written_once_more_where_it_stands() {
    let (dir, _, _) = three_batches();
    let file = committed_in_turn(dir.path());
    let before = fs::read(&file).expect("readable");
    let disk = Disk::open(dir.path()).expect("opens");
    drop(Committed::open(&disk).expect("opens"));
    assert_eq!(fs::read(&file).expect("readable"), before);
    disk.faults.fail_syncs.store(true, Ordering::SeqCst);
    let unsure = Committed::open(&disk).expect_err("it may not be on the disk");
    assert!(matches!(unsure, StorageError::Io { action: "sync", .. }), "{unsure}");
}

#[test]
fn a_log_that_ends_before_what_was_applied_is_refused_with_both_numbers() {
    let back = |dir: &Path| {
        for index in [3, 4, 40] {
            commit(dir, id(index));
        }
    };
    let why = committed_after(back).expect_err("its end is lost");
    assert!(matches!(why, StorageError::WentBack { applied: 40, last: 5, .. }), "{why}");
    assert!(why.to_string().contains("ends with entry 5, but entry 40 was applied"), "{why}");
    // What a build before this one left is a hint.
    assert_eq!(committed_after(|dir| commit(dir, id(40))).expect("limited"), Some(id(5)));
}

#[test]
fn what_is_committed_but_not_in_the_log_yet_is_not_written_down() {
    let change = |dir: &Path| {
        let disk = Disk::open(dir).expect("opens");
        let mut committed = Committed::open(&disk).expect("opens");
        for index in 3..=9 {
            committed.set(&disk, Some(id(index)), Some(id(5))).expect("written");
        }
    };
    assert_eq!(committed_after(change).expect("believed"), Some(id(5)));
}

fn meta(index: u64) -> SnapshotMeta {
    let membership = openraft::Membership::new(vec![BTreeSet::from([1])], None);
    SnapshotMeta {
        last_log_id: Some(id(index)),
        last_membership: StoredMembership::new(Some(id(0)), membership),
        snapshot_id: format!("{index}"),
    }
}

#[test]
fn the_newest_snapshot_counts_and_a_damaged_one_is_not_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let reopen = || Snapshots::open(std::sync::Arc::new(Disk::open(dir.path())?));
    {
        let (snapshots, none) = reopen().expect("empty");
        assert!(none.is_none());
        snapshots.save(&meta(7), b"seven").expect("saved");
        snapshots.save(&meta(9), b"nine").expect("saved");
        snapshots.save(&meta(8), b"late").expect("ignored");
    }
    // As a crash while one was written leaves it.
    fs::write(dir.path().join("snapshot-00000000000000000010.new"), b"half").expect("written");
    let newest = reopen().expect("whole").1.expect("one is there");
    assert_eq!((newest.meta, newest.bytes), (meta(9), b"nine".to_vec()));

    let file = dir.path().join("snapshot-00000000000000000009");
    let whole = fs::read(&file).expect("readable");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("written");
        let why = reopen().expect_err("damaged").to_string();
        assert!(why.contains("snapshot-00000000000000000009"), "changed at {at}: {why}");
    }
}
