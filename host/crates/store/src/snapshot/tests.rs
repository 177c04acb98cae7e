//! A snapshot is the checkpoint's words, whatever becomes of the checkpoint while it is told.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sample;
use crate::{RunError, Store, StoreSettings};

fn small() -> StoreSettings {
    StoreSettings {
        log_file_bytes: 4096,
        checkpoint_after_bytes: 8192,
        cache_bytes: 1 << 20,
        ..StoreSettings::default()
    }
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), small(), sample::START_MS).unwrap().0
}

fn checkpoint(store: &mut Store) {
    store.seal().unwrap();
    store.compactor().cycle().unwrap();
}

fn texts<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Vec<String> {
    let mut texts: Vec<String> = ops.into_iter().map(|op| format!("{op:?}")).collect();
    texts.sort_unstable();
    texts
}

/// All of a snapshot from a cursor on; how many runs it took.
fn rest(reader: &Reader, mut cursor: Option<SnapshotCursor>, most_bytes: usize) -> (Vec<Op>, usize) {
    let mut ops = Vec::new();
    for runs in 1.. {
        let run = reader.snapshot(cursor, most_bytes).unwrap();
        assert!(run.passed <= run.total);
        ops.extend(run.ops);
        cursor = run.next;
        if cursor.is_none() {
            return (ops, runs);
        }
    }
    unreachable!("it ends with the last row");
}

/// The words that a recovery gives back and the vector speaks for.
fn words(store: &Store) -> Vec<Op> {
    let vector = store.reader().snapshot_vector().unwrap();
    let mut words = Vec::new();
    let own = Origin::from(store.reader().identity().origin);
    store
        .recover(&mut |op| {
            let word = matches!(op.fact, Fact::Held(_) | Fact::Resting(_) | Fact::Reserved(_) | Fact::Noted(_));
            if word && is_covered(&vector, own, &op) {
                words.push(op);
            }
        })
        .unwrap();
    words
}

fn many(from: u64, count: u64) -> Vec<Op> {
    (from..from + count).map(|seq| sample::held(seq, 1, u32::try_from(seq).unwrap())).collect()
}

fn tables(dir: &TempDir) -> usize {
    let names = fs::read_dir(dir.path()).unwrap();
    names.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("table-")).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn in_whatever_portions_it_has_every_last_word_that_it_speaks_for(
        choices in prop::collection::vec((0_u8..20, 0_u32..40, 0_u64..3), 1..300),
        most_bytes in prop_oneof![Just(1_usize), 100_usize..8_000],
        heard in 0_u64..400,
    ) {
        let dir = TempDir::new().unwrap();
        let mut store = open(&dir);
        let mut ops: Vec<Op> = (1..).zip(&choices).map(|(seq, (choice, number, who))| {
            let op = match choice {
                0..=11 => sample::held(seq, 1 + number % 2, *number),
                12..=15 => sample::resting(seq, 1 + number % 2, *number, 500),
                16 => sample::op(seq, Fact::Free(sample::key(1, *number))),
                17 => sample::reserved(seq, 1, 100 + number),
                18 => sample::op(seq, sample::unreserved(sample::key(1, 100 + number))),
                _ => sample::op(seq, Fact::Clock),
            };
            if *who == 0 { op } else { sample::relayed(op, *who, seq * 2) }
        }).collect();
        ops.push(sample::heard(ops.len() as u64 + 1, 1, heard * 2));
        for group in ops.chunks(7) {
            store.append(group).unwrap();
        }
        checkpoint(&mut store);
        let run = store.reader().snapshot(None, 1).unwrap();
        let vector = &run.vector;
        prop_assert_eq!(vector.get(&None), Some(&Seq(ops.len() as u64)));
        prop_assert_eq!(vector.get(&Some(sample::origin(1))).copied(), (heard > 0).then_some(Seq(heard * 2)));
        prop_assert_eq!(vector.get(&Some(sample::origin(2))), None);
        let (told, _) = rest(&store.reader(), None, most_bytes);
        prop_assert_eq!(texts(&told), texts(&words(&store)));
        prop_assert!(told.iter().all(|op| op.from.is_none_or(|dot| dot.origin == sample::origin(1))));
    }
}

#[test]
fn it_goes_on_where_it_was_cut_off_after_a_restart_too() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&many(1, 2_000)).unwrap();
    checkpoint(&mut store);
    let first = store.reader().snapshot(None, 10_000).unwrap();
    assert!(first.next.is_some() && first.ops.len() > 50 && first.ops.len() < 1_000);
    drop(store);
    let mut store = open(&dir);
    let (others, runs) = rest(&store.reader(), first.next, 10_000);
    assert!(runs > 3);
    assert_eq!(texts(first.ops.iter().chain(&others)), texts(&many(1, 2_000)));
    // The writer is not in its way.
    store.append(&many(2_001, 10)).unwrap();
    assert_eq!(texts(&rest(&store.reader(), None, 1 << 20).0), texts(&many(1, 2_000)));
}

#[test]
fn a_checkpoint_that_is_being_told_stays_while_others_replace_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&many(1, 2_000)).unwrap();
    checkpoint(&mut store);
    let first = store.reader().snapshot(None, 10_000).unwrap();
    for round in 0..3 {
        // Every word of the first checkpoint is replaced.
        let from = 2_001 + round * 2_000;
        let ops: Vec<Op> = (0..2_000).map(|n| sample::resting(from + n, 1, u32::try_from(n + 1).unwrap(), 9)).collect();
        store.append(&ops).unwrap();
        checkpoint(&mut store);
    }
    let (others, _) = rest(&store.reader(), first.next.clone(), 10_000);
    assert_eq!(texts(first.ops.iter().chain(&others)), texts(&many(1, 2_000)));
    // Who begins now gets the newest.
    let newest = store.reader().snapshot(None, 1 << 20).unwrap();
    assert!(newest.table > first.table && newest.vector[&None] == Seq(8_000));
    assert!(newest.ops.iter().all(|op| matches!(op.fact, Fact::Resting(_))));
    // Nobody asks for more: the next cycle removes it, and who comes back is told.
    let before = tables(&dir);
    store.reader().shared.told.lock().forget();
    store.append(&many(8_001, 10)).unwrap();
    checkpoint(&mut store);
    assert!(tables(&dir) < before, "{} of {before}", tables(&dir));
    let again = store.reader().snapshot(first.next, 10_000);
    assert!(matches!(again, Err(SnapshotError::Restart { table }) if table == first.table), "{again:?}");
}

#[test]
fn only_so_many_replaced_checkpoints_stay() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let mut cursors = Vec::new();
    for round in 0..4 {
        store.append(&many(1 + round * 500, 500)).unwrap();
        checkpoint(&mut store);
        cursors.push(store.reader().snapshot(None, 1).unwrap().next);
    }
    let outcomes: Vec<bool> = cursors.into_iter().map(|cursor| store.reader().snapshot(cursor, 1).is_ok()).collect();
    assert_eq!(outcomes, [false, false, true, true]);
}

#[test]
fn without_a_checkpoint_or_with_a_senseless_cursor_there_is_none() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&many(1, 10)).unwrap();
    assert!(matches!(store.reader().snapshot(None, 1), Err(SnapshotError::NoCheckpoint)));
    assert_eq!(store.reader().snapshot_vector(), None);
    checkpoint(&mut store);
    let table = store.reader().snapshot(None, 1).unwrap().table;
    for after in [Vec::new(), vec![9; 9], RowKey::Marks.to_bytes()] {
        let cursor = SnapshotCursor { table, after: after.clone(), passed: 0 };
        let found = store.reader().snapshot(Some(cursor), 1);
        assert!(matches!(found, Err(SnapshotError::CursorInvalid { found }) if found == after));
    }
    let cursor = SnapshotCursor { table: 99, after: first_key().to_bytes(), passed: 0 };
    assert!(matches!(store.reader().snapshot(Some(cursor), 1), Err(SnapshotError::Restart { table: 99 })));
}

#[test]
fn a_checkpoint_that_is_wanted_is_written_however_little_is_in_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&many(1, 3)).unwrap();
    let compactor = store.compactor();
    let (done, reports) = std::sync::mpsc::sync_channel(8);
    let worker = std::thread::spawn(move || compactor.run(|report| done.send(report).unwrap()));
    store.want_checkpoint().unwrap();
    let report = reports.recv_timeout(Duration::from_mins(1)).unwrap().unwrap();
    assert_eq!((report.covered, report.checkpoint_ops), (Seq(3), 4));
    store.compactor().stop();
    worker.join().unwrap();
    assert_eq!(store.reader().snapshot(None, 1 << 20).unwrap().ops.len(), 3);
}

#[test]
fn a_damaged_row_ends_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&many(1, 2_000)).unwrap();
    checkpoint(&mut store);
    drop(store);
    let table = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let table = table.into_iter().find(|path| path.to_str().unwrap().contains("table-")).unwrap();
    let file = table.join("0000/db");
    let mut bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noticed = 0;
    for part in 1..10 {
        bytes[used * part / 10] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let store = open(&dir);
        let mut cursor = None;
        let outcome = loop {
            match store.reader().snapshot(cursor, 10_000) {
                Ok(run) if run.next.is_none() => break Ok(()),
                Ok(run) => cursor = run.next,
                Err(error) => break Err(error),
            }
        };
        noticed += usize::from(matches!(outcome, Err(SnapshotError::Store(StoreError::Corrupt { .. }))));
        bytes[used * part / 10] ^= 0x10;
    }
    assert!(noticed > 0);
}

#[test]
fn what_a_snapshot_told_of_cannot_be_given_on_as_a_log() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let host = Some(sample::origin(3));
    let word = |seq, number| sample::relayed(sample::held(seq, 1, u32::try_from(seq).unwrap()), 3, number);
    store.append(&[word(1, 40), word(2, 7), sample::adopted(3, &[(3, 50), (4, 9)])]).unwrap();
    store.append(&[word(4, 51), word(5, 52), sample::heard(6, 3, 52)]).unwrap();
    let check = |store: &Store| {
        for after in [0, 7, 49] {
            let run = store.reader().operations(host, Seq(after), 1 << 20);
            assert!(matches!(run, Err(RunError::Gone { first: Seq(51) })), "{run:?}");
        }
        let run = store.reader().operations(host, Seq(50), 1 << 20).unwrap();
        assert_eq!((run.ops.len(), run.through), (2, Seq(52)));
        assert!(matches!(store.reader().operations(Some(sample::origin(4)), Seq(0), 1), Err(RunError::Gone { .. })));
        let mut heard = BTreeMap::new();
        let found = store.recover(&mut |op| heard.extend(sample::Known::of([&op]).heard)).unwrap();
        assert_eq!(found.heard, BTreeMap::from([(sample::origin(3), Seq(52)), (sample::origin(4), Seq(9))]));
        assert_eq!(heard.len(), 2);
    };
    check(&store);
    drop(store);
    let mut store = open(&dir);
    check(&store);
    // Everything is kept for others, and the checkpoint covers it.
    store.reader().retain(BTreeMap::new(), 1 << 20);
    checkpoint(&mut store);
    assert!(store.reader().usage().unwrap().kept_bytes > 0);
    check(&store);
    assert_eq!(store.reader().snapshot_vector().unwrap()[&host], Seq(52));
    drop(store);
    check(&open(&dir));
}
