//! What is given by origin is what a look at every operation would find, whatever became of the files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Dot, Fact, Op, Origin, Seq};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sample::{self, Known};
use crate::{Store, StoreSettings, check};

/// This host among the others of [`sample::origin`].
const OWN: u64 = 9;

fn small() -> StoreSettings {
    StoreSettings {
        log_file_bytes: 2048,
        checkpoint_after_bytes: 4096,
        cache_bytes: 1 << 20,
        ..StoreSettings::default()
    }
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), small(), sample::START_MS).unwrap().0
}

/// Who wrote what, and how far everybody was heard.
#[derive(Debug, Default)]
struct Record {
    ops: Vec<Op>,
    heard: BTreeMap<Origin, Seq>,
}

impl Record {
    fn next(&self) -> u64 {
        self.ops.len() as u64 + 1
    }

    fn add(&mut self, op: Op) {
        if let Fact::Heard { origin, through } = op.fact {
            let known = self.heard.entry(origin).or_default();
            *known = (*known).max(through);
        }
        self.ops.push(op);
    }

    fn through(&self, of: Option<Origin>) -> Seq {
        match of {
            None => Seq(self.ops.len() as u64),
            Some(origin) => self.heard.get(&origin).copied().unwrap_or_default(),
        }
    }

    /// All of an origin after a number, in the order of its numbers.
    fn naive(&self, of: Option<Origin>, after: Seq) -> Vec<String> {
        let through = self.through(of);
        let mut found = BTreeMap::new();
        for op in &self.ops {
            let (whose, seq) = number(op.from, op.seq);
            if whose == of && seq > after && seq <= through {
                found.entry(seq).or_insert_with(|| format!("{op:?}"));
            }
        }
        found.into_values().collect()
    }
}

fn texts(ops: &[Op]) -> Vec<String> {
    ops.iter().map(|op| format!("{op:?}")).collect()
}

/// Reads all of an origin in runs of this many bytes; how many runs it took.
fn read_all(
    reader: &Reader,
    of: Option<Origin>,
    after: Seq,
    most_bytes: usize,
) -> Result<(Vec<Op>, Seq, usize), RunError> {
    let mut ops = Vec::new();
    let mut through = after;
    for runs in 1.. {
        let run = reader.operations(of, through, most_bytes)?;
        assert!(run.ops.iter().all(|op| number(op.from, op.seq).1 <= run.through));
        ops.extend(run.ops);
        if !run.more {
            return Ok((ops, run.through, runs));
        }
        assert!(run.through > through, "{} after {through}", run.through);
        through = run.through;
    }
    unreachable!("it ends when there is no more");
}

/// One operation of somebody, and how its number follows.
fn next_op(record: &Record, numbers: &mut BTreeMap<u64, u64>, (who, choice, step): (u64, u8, u64)) -> Op {
    let seq = record.next();
    let place = u32::try_from(step * 7 % 12).unwrap();
    let op = match choice {
        0..=4 => sample::held(seq, 1, place),
        5..=6 => sample::resting(seq, 1, place, 500),
        // What follows from a pool's record: this host's own, and in nobody's log.
        7 if who == 0 && step > 2 => {
            return sample::relayed(sample::op(seq, Fact::Free(sample::key(1, place))), OWN, 0);
        }
        7 => sample::op(seq, Fact::Clock),
        8 => sample::reserved(seq, 1, place),
        _ => {
            let through = numbers.get(&who).copied().unwrap_or_default();
            return sample::heard(seq, who.max(1), if who == 0 { 0 } else { through + step / 2 });
        }
    };
    if who == 0 {
        return op;
    }
    let number = numbers.entry(who).or_default();
    *number += step;
    // Now and then one out of order, as a snapshot brings them.
    let number = if step == 5 { number.saturating_sub(9).max(1) } else { *number };
    sample::relayed(op, who, number)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_run_is_what_a_look_at_every_operation_finds(
        steps in prop::collection::vec((0_u64..4, 0_u8..11, 1_u64..6), 1..300),
        groups in prop::collection::vec((1_usize..40, 0_u8..5), 1..10),
        asked in prop::collection::vec((0_u64..4, 0_u64..400, 0_usize..4000), 20),
        retains in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let mut store = open(&dir);
        let mut record = Record::default();
        let mut numbers = BTreeMap::new();
        let mut steps = steps.into_iter().peekable();
        let mut groups = groups.into_iter().cycle();
        let mut asked = asked.into_iter().cycle();
        if retains {
            store.reader().retain(BTreeMap::new(), u64::MAX);
            prop_assert_eq!(store.compactor().cycle().unwrap(), None);
        }
        while steps.peek().is_some() {
            let (len, then) = groups.next().unwrap();
            let first = record.ops.len();
            for step in steps.by_ref().take(len) {
                let op = next_op(&record, &mut numbers, step);
                record.add(op);
            }
            store.append(&record.ops[first..]).unwrap();
            match then {
                0 => drop(store.compactor().cycle().unwrap()),
                1 => {
                    store.seal().unwrap();
                    store.compactor().cycle().unwrap();
                }
                2 => {
                    drop(store);
                    store = open(&dir);
                }
                _ => {}
            }
            for (who, after, most_bytes) in asked.by_ref().take(5) {
                let of = (who > 0).then(|| sample::origin(who));
                let after = Seq(after);
                match store.reader().operations(of, after, usize::MAX) {
                    Ok(run) => {
                        prop_assert_eq!(texts(&run.ops), record.naive(of, after));
                        prop_assert_eq!((run.through, run.more), (record.through(of), false));
                        let (ops, through, runs) = read_all(&store.reader(), of, after, most_bytes).unwrap();
                        prop_assert_eq!(texts(&ops), record.naive(of, after));
                        prop_assert_eq!(through, record.through(of));
                        prop_assert!(runs <= ops.len().max(1));
                    }
                    Err(RunError::Gone { first }) => {
                        prop_assert!(!retains && first.0 > after.0 + 1);
                        // Only what there was can be gone, and from there on it is whole.
                        let run = store.reader().operations(of, Seq(first.0 - 1), usize::MAX).unwrap();
                        prop_assert_eq!(texts(&run.ops), record.naive(of, Seq(first.0 - 1)));
                    }
                    Err(RunError::Store(error)) => panic!("{error}"),
                }
            }
        }
        let mut known = Known::default();
        let found = store.recover(&mut |op| known.apply(&op)).unwrap();
        prop_assert_eq!(found.damage, Vec::new());
        prop_assert_eq!(&found.heard, &record.heard);
        prop_assert_eq!(known.settled(), Known::of(&record.ops));
        drop(store);
        let report = check(dir.path()).unwrap();
        prop_assert_eq!(report.damage, Vec::new());
        prop_assert!(report.kept_files.is_some());
        for (origin, through) in &record.heard {
            prop_assert_eq!(report.origins[origin].heard, *through);
        }
    }
}

/// Own operations and another host's by turns: the other's have the numbers 10, 20, ... and are heard to the next but one.
fn mixed(seqs: std::ops::RangeInclusive<u64>) -> Vec<Op> {
    let of = |seq: u64| match seq % 3 {
        0 => sample::held(seq, 1, u32::try_from(seq % 500).unwrap()),
        1 => sample::relayed(sample::held(seq, 1, u32::try_from(seq % 500).unwrap()), 1, seq * 10),
        _ => sample::heard(seq, 1, seq * 10 + 5),
    };
    seqs.map(of).collect()
}

fn numbers(run: &Run) -> Vec<u64> {
    run.ops.iter().map(|op| number(op.from, op.seq).1.0).collect()
}

fn gone(answer: Result<Run, RunError>) -> u64 {
    match answer {
        Err(RunError::Gone { first }) => first.0,
        other => panic!("not gone: {other:?}"),
    }
}

#[test]
fn of_what_has_one_number_the_word_is_given_and_not_what_gave_way_to_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let removal = |seq, number| sample::relayed(sample::op(seq, sample::unreserved(sample::key(1, 3))), 1, number);
    let word = sample::relayed(sample::reserved(2, 1, 3), 1, 10);
    store.append(&[removal(1, 10), word, removal(3, 20), sample::heard(4, 1, 20)]).unwrap();
    let run = store.reader().operations(Some(sample::origin(1)), Seq(0), usize::MAX).unwrap();
    assert_eq!(numbers(&run), [10, 20]);
    assert!(matches!(run.ops.first().map(|op| &op.fact), Some(Fact::Reserved(_))), "{:?}", run.ops);
    assert!(matches!(run.ops.last().map(|op| &op.fact), Some(Fact::Unreserved { .. })), "{:?}", run.ops);
}

#[test]
fn what_a_checkpoint_covers_is_gone_unless_it_is_retained() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let other = Some(sample::origin(1));
    store.append(&mixed(1..=9)).unwrap();
    store.seal().unwrap();
    let report = store.compactor().cycle().unwrap().unwrap();
    assert_eq!((report.log_files, store.reader().usage().unwrap().kept_bytes), (1, 0));
    store.append(&mixed(10..=12)).unwrap();
    for _ in 0..2 {
        let reader = store.reader();
        assert_eq!(gone(reader.operations(None, Seq(8), 999)), 10);
        assert_eq!(gone(reader.operations(other, Seq(69), 999)), 71);
        assert_eq!(numbers(&reader.operations(None, Seq(9), 999).unwrap()), [11, 12]);
        let run = reader.operations(other, Seq(70), 999).unwrap();
        assert_eq!((numbers(&run), run.through.0, run.more), (vec![100], 115, false));
        // Nobody ever heard of the third.
        let run = reader.operations(Some(sample::origin(3)), Seq(5), 999).unwrap();
        assert_eq!((numbers(&run), run.through.0), (Vec::new(), 0));
        drop((reader, store));
        store = open(&dir);
    }
    // The own origin by its name is the own origin.
    let own = store.reader().identity().origin.into();
    assert_eq!(numbers(&store.reader().operations(Some(own), Seq(9), 999).unwrap()), [11, 12]);
}

/// Three covered files, each of nine operations.
fn retaining(dir: &TempDir) -> Store {
    let mut store = open(dir);
    store.reader().retain(BTreeMap::new(), u64::MAX);
    for first in [1, 10, 19] {
        store.append(&mixed(first..=first + 8)).unwrap();
        store.seal().unwrap();
        store.compactor().cycle().unwrap().unwrap();
    }
    store
}

fn log_files(dir: &TempDir) -> usize {
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("log-")).count()
}

#[test]
fn files_go_when_every_member_has_what_is_in_them() {
    let dir = TempDir::new().unwrap();
    let mut store = retaining(&dir);
    let other = sample::origin(1);
    let cycle = |store: &Store| assert_eq!(store.compactor().cycle().unwrap(), None);
    assert_eq!(log_files(&dir), 3);
    // A start does not know who has what, and drops nothing.
    drop(store);
    store = open(&dir);
    cycle(&store);
    assert_eq!((log_files(&dir), check_kept(&store)), (3, 27));
    // All own ones, but not the other's: its number 70 is in the first file.
    let floor = |own, seq| BTreeMap::from([(None, Seq(own)), (Some(other), Seq(seq))]);
    store.reader().retain(floor(27, 69), u64::MAX);
    cycle(&store);
    assert_eq!(log_files(&dir), 3);
    store.reader().retain(floor(9, 70), u64::MAX);
    cycle(&store);
    assert_eq!(log_files(&dir), 2);
    let reader = store.reader();
    assert_eq!(gone(reader.operations(Some(other), Seq(69), 999)), 71);
    assert_eq!(numbers(&reader.operations(Some(other), Seq(70), 999).unwrap()), [100, 130, 160, 190, 220, 250]);
    // What was told survives the next start; who is alone again keeps nothing.
    drop((store, reader));
    store = open(&dir);
    cycle(&store);
    assert_eq!(log_files(&dir), 2);
    store.reader().retain(BTreeMap::new(), 0);
    cycle(&store);
    assert_eq!(log_files(&dir), 0);
    assert_eq!(gone(store.reader().operations(None, Seq(0), 999)), 28);
}

#[test]
fn what_is_in_nobodys_log_keeps_no_file() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.reader().retain(BTreeMap::new(), u64::MAX);
    let own = store.reader().identity().origin.into();
    let from = Some(Dot { origin: own, seq: Seq(0) });
    let off = Op { from, ..sample::op(2, Fact::Free(sample::key(1, 1))) };
    store.append(&[sample::held(1, 1, 1), off, sample::held(3, 1, 2)]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    assert_eq!(numbers(&store.reader().operations(None, Seq(0), 999).unwrap()), [1, 3]);
    assert_eq!(log_files(&dir), 1);
    store.reader().retain(BTreeMap::from([(None, Seq(3))]), u64::MAX);
    assert_eq!(store.compactor().cycle().unwrap(), None);
    assert_eq!(log_files(&dir), 0);
}

/// Up to where the own operations reach, all of which must be there.
fn check_kept(store: &Store) -> u64 {
    let run = store.reader().operations(None, Seq(0), usize::MAX).unwrap();
    assert_eq!(run.ops.len() as u64, run.through.0 - run.through.0.div_ceil(3));
    run.through.0
}

#[test]
fn no_more_is_kept_than_may_be() {
    let dir = TempDir::new().unwrap();
    let store = retaining(&dir);
    let bytes = store.reader().usage().unwrap().kept_bytes;
    store.reader().retain(BTreeMap::new(), bytes - 1);
    store.compactor().cycle().unwrap();
    assert_eq!(log_files(&dir), 2);
    drop(store);
    // The setting bounds what was told, then and later.
    let settings = StoreSettings { retain_bytes: bytes / 2, ..small() };
    let (store, _) = Store::open(dir.path(), settings, 0).unwrap();
    store.reader().retain(BTreeMap::new(), u64::MAX);
    store.compactor().cycle().unwrap();
    assert_eq!(log_files(&dir), 1);
    assert!(store.reader().usage().unwrap().kept_bytes <= bytes / 2);
    assert_eq!(gone(store.reader().operations(None, Seq(17), 999)), 19);
}

#[test]
fn the_thread_removes_files_when_the_floor_rises() {
    let dir = TempDir::new().unwrap();
    let store = retaining(&dir);
    let compactor = store.compactor();
    let worker = std::thread::spawn({
        let compactor = compactor.clone();
        move || compactor.run(|outcome| panic!("nothing is due: {outcome:?}"))
    });
    let all = BTreeMap::from([(None, Seq(27)), (Some(sample::origin(1)), Seq(999))]);
    store.reader().retain(all, u64::MAX);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while store.reader().usage().unwrap().kept_bytes > 0 {
        assert!(std::time::Instant::now() < deadline, "the files stay");
        std::thread::yield_now();
    }
    compactor.stop();
    worker.join().unwrap();
}

#[test]
fn kept_files_that_are_damaged_are_given_up_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let store = retaining(&dir);
    drop(store);
    let first = dir.path().join("log-000000000001");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&first, bytes).unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!((report.kept_files, report.damage), (None, Vec::new()));
    let store = open(&dir);
    let found = store.recover(&mut |_| {}).unwrap();
    assert_eq!((found.damage, found.heard[&sample::origin(1)]), (Vec::new(), Seq(265)));
    assert_eq!(log_files(&dir), 0);
    assert_eq!(gone(store.reader().operations(None, Seq(26), 999)), 28);
    assert_eq!(gone(store.reader().operations(Some(sample::origin(1)), Seq(264), 999)), 266);
    assert_eq!(numbers(&store.reader().operations(None, Seq(27), 999).unwrap()), Vec::<u64>::new());
}

#[test]
fn a_log_with_a_hole_is_given_to_nobody_until_it_is_accepted() {
    let dir = TempDir::new().unwrap();
    let mut store = retaining(&dir);
    for first in [28, 31, 34] {
        store.append(&mixed(first..=first + 2)).unwrap();
    }
    drop(store);
    let last = dir.path().join("log-000000000003");
    let mut bytes = std::fs::read(&last).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&last, bytes).unwrap();
    let store = open(&dir);
    let found = store.recover(&mut |_| {}).unwrap();
    assert_eq!((found.damage.len(), found.heard[&sample::origin(1)]), (1, Seq(355)));
    for of in [None, Some(sample::origin(1))] {
        let answer = store.reader().operations(of, Seq(30), 999);
        assert!(matches!(answer, Err(RunError::Store(StoreError::Damaged { count: 1, .. }))), "{answer:?}");
    }
    drop(store);
    crate::accept_damage(dir.path(), small()).unwrap();
    let store = open(&dir);
    let found = store.recover(&mut |_| {}).unwrap();
    assert_eq!((found.damage, found.heard[&sample::origin(1)]), (Vec::new(), Seq(355)));
    assert_eq!(gone(store.reader().operations(None, Seq(35), 999)), 37);
    assert_eq!(gone(store.reader().operations(Some(sample::origin(1)), Seq(354), 999)), 356);
}

#[test]
fn what_is_to_be_kept_is_known_to_the_next_start_before_any_checkpoint() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&mixed(1..=9)).unwrap();
    store.reader().retain(BTreeMap::new(), u64::MAX);
    assert_eq!(store.compactor().cycle().unwrap(), None);
    drop(store);
    store = open(&dir);
    store.compactor().cycle().unwrap().unwrap();
    assert_eq!(check_kept(&store), 9);
}

/// The row with the marks of a checkpoint is damaged: the manifest knows them too, but for the numbers of pools.
#[test]
fn how_far_others_were_heard_survives_a_damaged_row() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    store.append(&mixed(1..=9)).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("table-000000000000/0000")).unwrap();
    for _ in 0..2 {
        let store = open(&dir);
        let mut facts = BTreeMap::new();
        let found = store.recover(&mut |op| {
            if let Fact::Heard { origin, through } = op.fact {
                facts.insert(origin, through);
            }
        });
        let found = found.unwrap();
        assert_eq!(facts, BTreeMap::from([(sample::origin(1), Seq(85))]));
        assert_eq!((&found.heard, found.next_seq), (&facts, Seq(10)));
        drop(store);
        crate::accept_damage(dir.path(), small()).unwrap();
    }
}

/// A reader that never waits, beside a writer and checkpoints that take the files away.
#[test]
fn runs_are_whole_while_others_write_and_remove() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for of in [None, Some(sample::origin(1))] {
            let (reader, done) = (store.reader(), &done);
            scope.spawn(move || {
                let (mut after, mut given, mut gaps) = (Seq(0), 0, 0);
                loop {
                    let last_turn = done.load(Ordering::Acquire);
                    match reader.operations(of, after, 700) {
                        Ok(run) => {
                            let expected: Vec<u64> = (after.0 + 1..=run.through.0)
                                .filter(|n| if of.is_some() { n % 30 == 10 } else { n % 3 != 1 })
                                .collect();
                            assert_eq!(numbers(&run), expected, "after {after}");
                            given += run.ops.len();
                            after = run.through;
                            if last_turn && !run.more {
                                break;
                            }
                        }
                        Err(RunError::Gone { first }) => {
                            assert!(first.0 > after.0 + 1);
                            gaps += 1;
                            after = Seq(first.0 - 1);
                        }
                        Err(RunError::Store(error)) => panic!("{error}"),
                    }
                }
                assert!(given > 0, "{gaps} times gone");
                assert_eq!(after.0, if of.is_some() { 6_000 * 10 - 5 } else { 6_000 });
            });
        }
        for group in 0..400 {
            store.append(&mixed(group * 15 + 1..=group * 15 + 15)).unwrap();
            if group % 25 == 24 {
                if group % 50 == 49 {
                    store.reader().retain(BTreeMap::new(), 4096 * (group % 3));
                }
                store.compactor().cycle().unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn only_a_part_of_a_long_log_is_read() {
    let dir = TempDir::new().unwrap();
    let settings = StoreSettings { log_file_bytes: 4 << 20, ..StoreSettings::default() };
    let (mut store, _) = Store::open(dir.path(), settings, sample::START_MS).unwrap();
    for first in (1..60_000).step_by(300) {
        store.append(&mixed(first..=first + 299)).unwrap();
    }
    let files: Vec<_> = store.reader().shared.state.lock().files.clone();
    let all: u64 = files.iter().map(|log| log.frame_bytes()).sum();
    assert!(all > 1 << 20, "{all} bytes");
    let read = |after| -> u64 {
        let places = |log: &Arc<LogFile>| log.index().places(None, Seq(after), Seq(60_000)).collect::<Vec<_>>();
        files.iter().flat_map(places).map(|place| place.until - place.from).sum()
    };
    assert!(read(59_000) < 200 << 10, "{} bytes of {all}", read(59_000));
    // What was just written, by itself: one of 200 equal groups.
    let last = read(59_990);
    assert!(last > 0 && last < all / 150, "{last} bytes of {all}");
    // What a start finds is what was noted while it was written.
    let before: Vec<String> = files.iter().map(|log| format!("{:?}", *log.index())).collect();
    drop((store, files));
    let store = open(&dir);
    let files: Vec<Arc<LogFile>> = store.reader().shared.state.lock().files.clone();
    let after: Vec<String> = files.iter().map(|log| format!("{:?}", *log.index())).collect();
    assert_eq!(before, after);
}
