//! A process that writes to a store until it is killed, telling what was answered; and what a reader must then find.
//!
//! Every operation follows from its sequence number, so whoever knows how many there are knows all of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kernel::{Fact, Op, Origin, PoolUid, Seq};
use store::sample::{self, Known};
use store::{Reader, RunError, Store, StoreError, StoreSettings};

/// Set for the process that is to write: the data directory.
const DIR: &str = "NEXUS_STORE_LOAD_DIR";
/// How many groups it writes; it opens the store anew half way.
const GROUPS: &str = "NEXUS_STORE_LOAD_GROUPS";

/// So small that checkpoints and new log files are frequent.
pub(crate) fn settings() -> StoreSettings {
    StoreSettings {
        log_file_bytes: 16 << 10,
        checkpoint_after_bytes: 48 << 10,
        cache_bytes: 64 << 10,
        ..StoreSettings::default()
    }
}

/// The operation with this number. Two of five were written by one of three other hosts.
pub(crate) fn op(seq: u64) -> Op {
    let host = 1 + seq / 5 % 3;
    match seq % 5 {
        0 => sample::relayed(any_op(seq), host, seq * 2),
        1 => sample::relayed(any_op(seq), host, seq * 2 + 1),
        2 if seq % 20 == 2 => sample::heard(seq, host, seq * 2),
        _ => any_op(seq),
    }
}

fn any_op(seq: u64) -> Op {
    let number = u32::try_from(seq.wrapping_mul(0x9e37_79b9) >> 8 & 0x1ff).unwrap();
    let pool = 1 + number % 2;
    match seq % 50 {
        1 => sample::pool(seq, pool, 4),
        2 => sample::realm(seq, number % 8),
        3 => sample::reserved(seq, pool, number),
        4 => sample::op(seq, sample::unreserved(sample::key(pool, number))),
        5 => sample::op(seq, Fact::Free(sample::key(pool, number))),
        6 => sample::op(seq, Fact::PoolDeleted(PoolUid(100 + number))),
        7 => sample::op(seq, Fact::Clock),
        8..=19 => sample::resting(seq, pool, number, 500),
        _ => sample::held(seq, pool, number),
    }
}

/// How many operations the group that begins with this one has.
pub(crate) fn group(first: u64) -> u64 {
    1 + first * 7 % 23
}

/// True if the log may end before this operation: groups are there whole or not at all.
pub(crate) fn begins_group(next: u64) -> bool {
    let mut first = 1;
    while first < next {
        first += group(first);
    }
    first == next
}

/// Knows what must be known after any number of operations, asked in rising order.
#[derive(Debug)]
pub(crate) struct Oracle {
    next: u64,
    known: Known,
    /// The operations before `next`.
    ops: Vec<Op>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self { next: 1, known: Known::default(), ops: Vec::new() }
    }

    /// What must be known when `next` is the next operation and those before `answered` were answered.
    fn known_before(&mut self, answered: u64, next: u64) -> Known {
        for seq in self.next..answered {
            self.known.apply(&op(seq));
            self.ops.push(op(seq));
        }
        self.next = self.next.max(answered);
        let mut known = self.known.clone();
        for seq in self.next..next {
            known.apply(&op(seq));
        }
        known
    }

    /// Compares what a reader gives of every origin with a look at every operation before `next`.
    fn check_runs(&self, reader: &Reader, heard: &BTreeMap<Origin, Seq>, next: u64) -> Result<(), String> {
        let rest: Vec<Op> = (self.next..next).map(op).collect();
        for of in [None, Some(sample::origin(1)), Some(sample::origin(2)), Some(sample::origin(3))] {
            let mut after = Seq(0);
            let run = match reader.operations(of, after, usize::MAX) {
                Err(RunError::Gone { first }) => {
                    after = Seq(first.0 - 1);
                    reader.operations(of, after, usize::MAX)
                }
                answer => answer,
            };
            let run = run.map_err(|error| format!("operations of {of:?} after {after}: {error}"))?;
            let through = of.map_or(Seq(next - 1), |of| heard.get(&of).copied().unwrap_or_default());
            let number = |op: &Op| op.from.map_or((None, op.seq), |dot| (Some(dot.origin), dot.seq));
            let wanted = |op: &&Op| number(op).0 == of && number(op).1 > after && number(op).1 <= through;
            let expected: Vec<_> = self.ops.iter().chain(&rest).filter(wanted).map(|op| format!("{op:?}")).collect();
            let found: Vec<_> = run.ops.iter().map(|op| format!("{op:?}")).collect();
            if (&found, run.through, run.more) != (&expected, through, false) {
                let (found, expected) = (found.len(), expected.len());
                return Err(format!(
                    "{found} operations of {of:?} after {after}, not {expected}; through {}",
                    run.through
                ));
            }
        }
        Ok(())
    }
}

/// This test binary again, running only the test `load`, which then writes.
pub(crate) fn command(dir: &Path, groups: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "load", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(GROUPS, groups.to_string())
        .stdin(Stdio::null());
    command
}

/// What the test `load` does: nothing, unless the binary was started by [`command`].
pub(crate) fn run_if_asked() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let groups: u64 = std::env::var(GROUPS).unwrap().parse().unwrap();
    for groups in [groups / 2, groups - groups / 2] {
        write(Path::new(&dir), groups).unwrap();
    }
    std::process::exit(0);
}

fn write(dir: &Path, groups: u64) -> Result<(), StoreError> {
    let (mut store, _) = Store::open(dir, settings(), sample::START_MS)?;
    store.recover(&mut |_| {})?;
    let compactor = store.compactor();
    let reader = store.reader();
    let worker = std::thread::spawn({
        let compactor = compactor.clone();
        move || {
            compactor.run(|outcome| {
                outcome.expect("a healthy disk");
            });
        }
    });
    for nth in 1..=groups {
        let first = store.next_seq().0;
        let ops: Vec<Op> = (first..first + group(first)).map(op).collect();
        store.append(&ops)?;
        // Not `println`: the harness would keep it to itself.
        let told = format!("answered {}\n", store.next_seq());
        std::io::stdout().write_all(told.as_bytes()).expect("somebody reads");
        if nth.is_multiple_of(30) {
            // Files stay for other hosts, and go when the floor rises.
            let floor = [None, Some(sample::origin(1)), Some(sample::origin(2)), Some(sample::origin(3))];
            let seen = Seq(first.saturating_sub(200));
            reader.retain(floor.into_iter().map(|of| (of, seen)).collect(), 64 << 10);
        }
        if nth.is_multiple_of(80) {
            // Beside those the thread makes when it gets to it, so that every run has some.
            store.seal()?;
            compactor.cycle()?;
        }
    }
    compactor.stop();
    worker.join().expect("the compactor does not panic");
    Ok(())
}

/// The numbers in lines that [`write`] printed.
pub(crate) fn answered(line: &str) -> Option<u64> {
    line.trim_end().strip_prefix("answered ")?.parse().ok()
}

/// Opens the directory and compares: everything answered is there, nothing that was never written, groups whole.
pub(crate) fn verify(dir: &Path, oracle: &mut Oracle, answered: u64) -> Result<u64, String> {
    let (mut store, _) =
        Store::open(dir, settings(), sample::START_MS).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut known = Known::default();
    let found = store.recover(&mut |op| known.apply(&op)).map_err(|error| format!("cannot be recovered: {error}"))?;
    if let Some(damage) = found.damage.first() {
        return Err(format!("damaged: {damage}"));
    }
    let next = found.next_seq.0;
    if next < answered {
        return Err(format!("operations up to {answered} were answered, it has those before {next}"));
    }
    if !begins_group(next) {
        return Err(format!("it ends inside a group, before {next}"));
    }
    let known_heard = known.heard.clone();
    if known.settled() != oracle.known_before(answered, next).settled() {
        return Err(format!("it has other facts than were written before {next}"));
    }
    if known_heard != found.heard {
        return Err(format!("others were heard through {known_heard:?}, not {:?}", found.heard));
    }
    oracle.check_runs(&store.reader(), &found.heard, next)?;
    // And it goes on from there.
    store.append(&[op(next)]).map_err(|error| format!("cannot go on: {error}"))?;
    Ok(next)
}
