//! Whatever was written, in whatever portions it was merged: the same facts come back, and the whole history.

use kernel::{Fact, Op, Pool, PoolUid, RealmUid, Resting, Seq, Span, Strategy};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::sample::{self, Known};
use crate::{HistoryQuery, Store, StoreError, StoreSettings};

fn small() -> StoreSettings {
    StoreSettings {
        log_file_bytes: 2048,
        checkpoint_after_bytes: 4096,
        cache_bytes: 1 << 20,
        ..StoreSettings::default()
    }
}

fn open(dir: &TempDir, settings: StoreSettings) -> Store {
    Store::open(dir.path(), settings, sample::START_MS).unwrap().0
}

/// An operation of few spans, so that they follow each other on the same ones.
fn random_op(seq: u64, choice: u8, number: u32) -> Op {
    let pool = 1 + number % 2;
    let op = match choice {
        0..=39 => sample::held(seq, pool, number),
        40..=79 => sample::resting(seq, pool, number, 500),
        80..=87 => sample::op(seq, Fact::Free(sample::key(pool, number))),
        88..=91 => sample::reserved(seq, pool, number),
        92..=94 => sample::op(seq, sample::unreserved(sample::key(pool, number))),
        95..=96 => sample::op(seq, Fact::Clock),
        97 => sample::realm(seq, number % 3),
        98 => sample::pool(seq, pool, 4),
        99..=109 => sample::noted(
            seq,
            number % 5,
            (!choice.is_multiple_of(3)).then_some("a note"),
            &[seq / 2, seq.saturating_sub(3)],
        ),
        110..=113 => sample::unnoted(seq, number % 5, &[seq / 3, seq.saturating_sub(2)]),
        114..=117 => sample::conflict(seq, pool, number, (1, seq)),
        118 => sample::conflict_closed(seq, seq.saturating_sub(u64::from(number))),
        _ => sample::op(seq, Fact::PoolDeleted(PoolUid(7 + number))),
    };
    match number {
        0..4 => sample::relayed(op, u64::from(number), seq * 2),
        4 if choice.is_multiple_of(2) => sample::heard(seq, u64::from(choice % 4), seq + 100),
        _ => op,
    }
}

fn recovered(store: &Store) -> Known {
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).unwrap();
    assert_eq!((found.damage, found.high_water_ms), (Vec::new(), known.high_water_ms));
    assert_eq!(found.next_seq, store.next_seq());
    known.settled()
}

fn history(store: &Store, pool: u32, number: u32, at_ms: Option<u64>) -> Vec<Resting> {
    let span = sample::address(number);
    let query = HistoryQuery { pool: PoolUid(pool), realm: RealmUid(0), span, at_ms, limit: 1000 };
    store.reader().history(&query).unwrap().ended.iter().map(|rest| Resting::clone(rest)).collect()
}

fn ends(ops: &[Op], pool: u32, number: u32) -> Vec<Resting> {
    let of_it = |op: &Op| {
        let Fact::Resting(rest) = &op.fact else { return None };
        (rest.pool.0 == pool && rest.span == sample::address(number)).then(|| Resting::clone(rest))
    };
    ops.iter().rev().filter_map(of_it).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn merged_in_any_portions_the_same_facts_come_back(
        choices in prop::collection::vec((0_u8..114, 0_u32..12), 1..400),
        portions in prop::collection::vec((1_usize..60, 0_u8..4), 1..12),
    ) {
        let dir = TempDir::new().unwrap();
        let ops: Vec<Op> =
            (1..).zip(&choices).map(|(seq, (choice, number))| random_op(seq, *choice, *number)).collect();
        let mut store = open(&dir, small());
        let mut rest = ops.as_slice();
        let mut portions = portions.into_iter().cycle();
        while !rest.is_empty() {
            let (len, then) = portions.next().unwrap();
            let (group, left) = rest.split_at(len.min(rest.len()));
            store.append(group).unwrap();
            rest = left;
            match then {
                0 => drop(store.compactor().cycle().unwrap()),
                1 => {
                    store.seal().unwrap();
                    store.compactor().cycle().unwrap().unwrap();
                }
                2 => {
                    drop(store);
                    store = open(&dir, small());
                }
                _ => {}
            }
        }
        prop_assert_eq!(recovered(&store), Known::of(&ops));
        store.seal().unwrap();
        store.compactor().cycle().unwrap();
        prop_assert_eq!(recovered(&store), Known::of(&ops));
        for number in 0..12 {
            let pool = 1 + number % 2;
            prop_assert_eq!(history(&store, pool, number, None), ends(&ops, pool, number));
        }
        drop(store);
        let report = crate::check(dir.path()).unwrap();
        prop_assert_eq!(report.damage, Vec::new());
        prop_assert_eq!(report.next_seq, ops.len() as u64 + 1);
    }
}

/// More operations than a pass holds, twice, so that ranges and old rows meet in every way.
#[test]
fn more_than_a_pass_holds_is_merged_in_several() {
    let dir = TempDir::new().unwrap();
    let settings = StoreSettings { log_file_bytes: 4 << 20, ..StoreSettings::default() };
    let mut store = open(&dir, settings);
    let mut ops = vec![sample::pool(1, 1, 1024)];
    let spread = |seq: u64, stride: u32| u32::try_from(seq).unwrap().wrapping_mul(stride) % (1 << 22);
    for seq in 2..150_000 {
        ops.push(sample::held(seq, 1, spread(seq, 2_654_435_761)));
    }
    for group in ops.chunks(512) {
        store.append(group).unwrap();
    }
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    let first = ops.len();
    for seq in 150_000..300_000 {
        let op = match seq % 3 {
            0 => sample::resting(seq, 1, spread(seq - 149_998, 2_654_435_761), 9),
            1 => sample::held(seq, 1, spread(seq, 40_503)),
            _ => sample::op(seq, Fact::Free(sample::key(1, spread(seq - 149_990, 2_654_435_761)))),
        };
        ops.push(op);
    }
    for group in ops[first..].chunks(512) {
        store.append(group).unwrap();
    }
    store.seal().unwrap();
    let report = store.compactor().cycle().unwrap().unwrap();
    assert_eq!(report.covered.0, ops.len() as u64);
    assert_eq!(recovered(&store), Known::of(&ops));
    assert_eq!(report.history_ops, 50_000);
}

#[test]
fn a_deleted_pool_is_gone_but_its_number_and_history_stay() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    let ops = [
        sample::pool(1, 1, 4),
        sample::pool(2, 2, 4),
        sample::held(3, 2, 5),
        sample::reserved(4, 2, 6),
        sample::resting(5, 2, 5, 2000),
    ];
    store.append(&ops).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap();
    let deleted = sample::op(6, Fact::PoolDeleted(PoolUid(2)));
    store.append(std::slice::from_ref(&deleted)).unwrap();
    store.seal().unwrap();
    for _ in 0..2 {
        store.compactor().cycle().unwrap();
        let known = recovered(&store);
        assert_eq!(known.last_pool, Some(PoolUid(2)));
        assert_eq!(known, Known::of(ops.iter().chain([&deleted])));
        assert_eq!(history(&store, 2, 5, None).len(), 1);
        let clock = sample::op(store.next_seq().0, Fact::Clock);
        let after = Known::of(ops.iter().chain([&deleted, &clock]));
        if known.high_water_ms == after.high_water_ms {
            break;
        }
    }
}

#[test]
fn history_is_asked_by_time_and_by_any_length() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    let with_len = |seq: u64, start: u32, len: u128| {
        let op = sample::resting(seq, 1, start, 10_000);
        let Fact::Resting(rest) = &op.fact else { panic!("a resting") };
        let span = Span::new(rest.span.start(), len).unwrap();
        sample::op(seq, Fact::Resting(std::sync::Arc::new(Resting { span, ..Resting::clone(rest) })))
    };
    // A prefix of 256, one of 192 that is no power of two, single addresses; half merged, half in the log.
    let ops = [
        with_len(1, 0, 256),
        with_len(2, 512, 192),
        with_len(3, 100, 1),
        with_len(4, 0, 16),
        with_len(5, 100, 1),
        with_len(6, 96, 8),
    ];
    store.append(&ops[..3]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap();
    store.append(&ops[3..]).unwrap();
    let seqs = |number, at_ms| history(&store, 1, number, at_ms).iter().map(|rest| rest.seq.0).collect::<Vec<_>>();
    assert_eq!(seqs(100, None), [6, 5, 3, 1]);
    assert_eq!(seqs(255, None), [1]);
    assert_eq!(seqs(256, None), Vec::<u64>::new());
    assert_eq!(seqs(703, None), [2]);
    assert_eq!(seqs(704, None), Vec::<u64>::new());
    assert_eq!(seqs(3, None), [4, 1]);
    // The fifth ended at second 5; it was held from 10 s before that.
    assert_eq!(seqs(100, Some(sample::START_MS + 4_500)), [6, 5]);
    assert_eq!(seqs(100, Some(sample::START_MS + 2_999)), [6, 5, 3]);
    assert_eq!(seqs(100, Some(sample::START_MS + 6_000)), Vec::<u64>::new());
    let query = HistoryQuery {
        pool: PoolUid(1),
        realm: RealmUid(0),
        span: Span::new(sample::address(0).start(), 1024).unwrap(),
        at_ms: None,
        limit: 2,
    };
    let answer = store.reader().history(&query).unwrap();
    assert_eq!((answer.ended.len(), answer.more), (2, true));
}

#[test]
fn history_ends_by_age_and_by_size_and_says_from_when_it_is_known() {
    let by_size = StoreSettings { history_bytes: 64 << 10, ..small() };
    let by_age = StoreSettings { history_retention_ms: 500_000, ..small() };
    for settings in [by_size, by_age] {
        let dir = TempDir::new().unwrap();
        let mut store = open(&dir, settings.clone());
        let mut seq = 0;
        for _ in 0..30 {
            let ops: Vec<Op> = (seq + 1..=seq + 100).map(|seq| sample::resting(seq, 1, 5, 10)).collect();
            seq += 100;
            store.append(&ops).unwrap();
            store.seal().unwrap();
            store.compactor().cycle().unwrap();
        }
        let query =
            HistoryQuery { pool: PoolUid(1), realm: RealmUid(0), span: sample::address(5), at_ms: None, limit: 9999 };
        let answer = store.reader().history(&query).unwrap();
        assert!(answer.from_ms > sample::START_MS, "nothing was forgotten: {settings:?}");
        // Everything since then is there, and what is there is not much more than was allowed.
        let since = answer.ended.iter().filter(|rest| rest.ended_ms >= answer.from_ms).count() as u64;
        assert_eq!(since, seq - (answer.from_ms - sample::START_MS).div_ceil(1000) + 1);
        assert!(since < 2500, "{since} are left");
        assert!(store.reader().usage().unwrap().history_bytes <= 80 << 10);
    }
}

#[test]
fn a_cycle_is_due_by_size_and_the_thread_ends_when_told() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    let compactor = store.compactor();
    let (report, reports) = std::sync::mpsc::sync_channel(1000);
    let worker = std::thread::spawn({
        let compactor = compactor.clone();
        move || compactor.run(|outcome| report.send(outcome.map(|done| done.covered.0)).unwrap())
    });
    let mut seq = 1;
    let covered = loop {
        store.append(&[sample::held(seq, 1, 1)]).unwrap();
        seq += 1;
        if let Ok(outcome) = reports.try_recv() {
            break outcome.unwrap();
        }
        assert!(seq < 100_000, "no checkpoint was made");
    };
    assert!(covered > 10);
    compactor.stop();
    worker.join().unwrap();
    assert_eq!(recovered(&store).spans(), 1);
}

/// How many allocations a sound store gives back.
fn spans(store: &Store) -> usize {
    let mut count = 0;
    let found = store.recover(&mut |op| count += usize::from(matches!(op.fact, Fact::Held(_)))).unwrap();
    assert_eq!(found.damage, Vec::new());
    count
}

/// How many rests come back of a pool with this strategy, of ten that are over and one that is not.
fn rests_kept(strategy: Strategy) -> usize {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    let Op { fact: Fact::Pool(made), .. } = sample::pool(1, 1, 4) else { panic!("a pool") };
    let mut made = Pool::clone(&made);
    made.draft.terms.strategy = strategy;
    let mut ops = vec![sample::op(1, Fact::Pool(made.into()))];
    ops.extend((2..12).map(|seq| sample::resting(seq, 1, u32::try_from(seq).unwrap(), 500)));
    // The samples rest for a minute, and this comes after an hour.
    ops.push(Op { seq: Seq(12), ..sample::op(3_600, Fact::Clock) });
    store.append(&ops).unwrap();
    store.seal().unwrap();
    // The first merges the log, the second what the first made.
    store.compactor().cycle().unwrap().unwrap();
    let Op { fact: Fact::Resting(rest), .. } = sample::resting(3_600, 1, 20, 500) else { panic!("a rest") };
    let resting = Resting { seq: Seq(13), ..Resting::clone(&rest) };
    store.append(&[Op { seq: Seq(13), ..sample::op(3_600, Fact::Resting(resting.into())) }]).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    let mut kept = 0;
    store.recover(&mut |op| kept += usize::from(matches!(op.fact, Fact::Resting(_)))).unwrap();
    assert_eq!(history(&store, 1, 5, None).len(), 1, "the history has it still");
    kept
}

#[test]
fn a_rest_that_is_over_is_kept_only_where_it_says_who_is_next() {
    assert_eq!(rests_kept(Strategy::OldestFree), 11);
    for strategy in [Strategy::FirstFree, Strategy::NextFree, Strategy::Random, Strategy::Hash] {
        assert_eq!(rests_kept(strategy), 1, "{strategy:?}");
    }
}

#[test]
fn damage_stops_checkpoints() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    for seq in 1..200 {
        store.append(&[sample::held(seq, 1, 1)]).unwrap();
    }
    drop(store);
    let path = dir.path().join("log-000000000000");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = open(&dir, small());
    let found = store.recover(&mut |_| {}).unwrap();
    assert_eq!((found.damage.len(), found.damage[0].pool, found.log_ops), (1, None, 198));
    assert!(matches!(store.compactor().cycle(), Err(StoreError::Damaged { count: 1, .. })));
    drop(store);
    let accepted = crate::accept_damage(dir.path(), small()).unwrap();
    assert_eq!(accepted.damage, found.damage);
    let kept = std::fs::read(accepted.kept.unwrap().join("log-000000000000")).unwrap();
    assert_eq!(kept[200], bytes[200], "what was damaged is kept");
    let store = open(&dir, small());
    assert_eq!(spans(&store), 1, "the last word on the span is after the damage");
    assert_eq!(store.next_seq(), found.next_seq);
    drop(store);
    assert_eq!(crate::check(dir.path()).unwrap().damage, Vec::new());
    assert_eq!(crate::accept_damage(dir.path(), small()).unwrap().kept, None, "nothing is left to accept");
}

#[test]
fn a_damaged_row_of_a_checkpoint_can_be_given_up() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir, small());
    let ops = [sample::pool(1, 1, 4), sample::held(2, 1, 1), sample::pool(3, 2, 4), sample::held(4, 2, 2)];
    store.append(&ops).unwrap();
    store.seal().unwrap();
    store.compactor().cycle().unwrap().unwrap();
    let manifest = std::sync::Arc::clone(&store.compactor().shared.state.lock().manifest);
    let (id, sum) = manifest.base.unwrap();
    // A row that is named and is not there: nobody knows whose it was.
    let more = crate::manifest::Summary { rows: sum.rows + 1, ..sum };
    let manifest = crate::manifest::Manifest { base: Some((id, more)), ..(*manifest).clone() };
    manifest.write(&*store.compactor().shared.medium).unwrap();
    drop(store);
    let store = open(&dir, small());
    assert_eq!(store.recover(&mut |_| {}).unwrap().damage.len(), 1);
    drop(store);
    assert_eq!(crate::accept_damage(dir.path(), small()).unwrap().damage.len(), 1);
    let store = open(&dir, small());
    assert_eq!((spans(&store), store.next_seq().0), (2, 5));
}
