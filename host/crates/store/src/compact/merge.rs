//! One cycle's work: old checkpoint and log in, new checkpoint and history out, both in the order of their keys.
//!
//! The log is read several times rather than kept: first to learn which keys it has, then once for each range of keys
//! whose last operations fit in memory. Records name their key first, so a pass skips what is not in its range.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kernel::{Fact, Op, Seq, SpanKey};

use super::globals::Globals;
use crate::error::StoreError;
use crate::key::{HistoryKey, RowKey, length_class};
use crate::log::{FrameAt, LogFile, each_frame};
use crate::manifest::{HistoryTable, Manifest, TableId};
use crate::record::{Block, Interner, Kind, Record, RecordFault};
use crate::shared::Shared;
use crate::table::{Rows, Table, TableWriter};

/// How many operations of the log a pass may hold, at about 300 bytes each.
const PASS_OPS: usize = 1 << 15;
/// Every so many keys one is remembered, to divide the keys into ranges.
const SAMPLE_EVERY: usize = 64;
/// The history is cut into tables of at least this part of what it may hold, so that the oldest can go.
const HISTORY_PARTS: u64 = 16;

/// What becomes of a row of the last checkpoint or a record of the log that does not read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDamage {
    /// No checkpoint is made.
    Stop,
    /// An operator gave it up.
    PassOver,
}

impl OnDamage {
    fn pass_over(self, outcome: Result<(), RecordFault>) -> Result<(), RecordFault> {
        match self {
            Self::Stop => outcome,
            Self::PassOver => Ok(()),
        }
    }
}

pub(super) struct Merged {
    pub(super) manifest: Manifest,
    pub(super) history_ops: u64,
}

/// What the first pass over the log learns.
#[derive(Debug, Default)]
struct Overview {
    covered: Seq,
    spans: Samples,
    ends: Samples,
}

/// Keys seen, thinned.
#[derive(Debug, Default)]
struct Samples {
    seen: usize,
    kept: Vec<RowKey>,
}

impl Samples {
    fn note(&mut self, key: RowKey) {
        if self.seen.is_multiple_of(SAMPLE_EVERY) {
            self.kept.push(key);
        }
        self.seen += 1;
    }

    /// Where one pass ends and the next begins.
    fn bounds(mut self) -> Vec<RowKey> {
        self.kept.sort_unstable();
        let step = PASS_OPS / SAMPLE_EVERY;
        let mut bounds: Vec<RowKey> = self.kept.into_iter().step_by(step).skip(1).collect();
        bounds.dedup();
        bounds
    }
}

/// Which facts a table takes from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// What every span's last word is.
    Spans,
    /// The ends of allocations.
    Ends,
}

impl Wanted {
    /// Where the record belongs, as far as that can be told without decoding it.
    fn coarse_key(self, record: &Record<'_>) -> Option<RowKey> {
        let key = record.key?;
        match (self, record.kind) {
            (Self::Spans, Kind::Held | Kind::Resting | Kind::Free) => Some(RowKey::Span(key)),
            (Self::Ends, Kind::Resting) => Some(RowKey::History(history_key(key, 0, 0))),
            _ => None,
        }
    }

    fn key(self, op: &Op) -> Option<RowKey> {
        let key = crate::record::span_key(&op.fact)?;
        match (self, &op.fact) {
            (Self::Spans, Fact::Held(_) | Fact::Resting(_) | Fact::Free(_)) => Some(RowKey::Span(key)),
            (Self::Ends, Fact::Resting(rest)) => Some(RowKey::History(history_key(key, rest.ended_ms, op.seq.0))),
            _ => None,
        }
    }
}

fn history_key(key: SpanKey, ended_ms: u64, seq: u64) -> HistoryKey {
    let SpanKey { pool, realm, span } = key;
    HistoryKey { pool, realm, class: length_class(span.len()), start: span.start(), ended_ms, seq }
}

fn unreadable(log: &LogFile, fault: &RecordFault) -> StoreError {
    StoreError::corrupt(log.ordinal.file_name(), fault)
}

/// Calls `each` with every record of these files and the frame it is in.
///
/// A record that is not understood is given up alone, if it may be: each says how long it is, so the next can be found.
fn each_record(
    files: &[Arc<LogFile>],
    on_damage: OnDamage,
    mut each: impl FnMut(FrameAt<'_>, &Block<'_>, &Record<'_>) -> Result<(), RecordFault>,
) -> Result<(), StoreError> {
    each_frame(files, |log, frame| {
        let mut all = || {
            let block = Block::parse(frame.block)?;
            for record in block.records() {
                on_damage.pass_over(record.and_then(|record| each(frame, &block, &record)))?;
            }
            Ok(())
        };
        on_damage.pass_over(all()).map_err(|fault: RecordFault| unreadable(log, &fault))
    })
}

pub(super) fn merge(
    shared: &Shared,
    old: &Manifest,
    files: &[Arc<LogFile>],
    on_damage: OnDamage,
) -> Result<Merged, StoreError> {
    let old_table = match old.base {
        Some((id, _)) => Some(shared.table(id)?),
        None => None,
    };
    let mut old_ops = OldOps::new(old_table.as_deref(), Wanted::Spans, on_damage);
    let mut globals = old_ops.globals()?;
    let overview = look_over(files, on_damage, &mut globals, old.covered)?;
    let Overview { covered, spans, ends } = overview;

    let base_id = shared.take_table_id();
    let mut out = TableWriter::create(&shared.dir, base_id, shared.settings.cache_bytes)?;
    globals.write(&mut out)?;
    let work = Work { shared, files, wanted: Wanted::Spans, globals: &globals, on_damage };
    work.stream(
        spans.bounds(),
        &mut old_ops,
        |key, op| {
            if globals.is_spent(&op.fact) { Ok(()) } else { out.push(key, op) }
        },
    )?;
    drop(old_ops);
    drop(old_table);
    let base = out.finish()?;

    let history_ops = ends.seen as u64;
    let mut history = old.history.clone();
    if history_ops > 0 {
        let youngest = history.pop_if(|table| is_open(shared, table, globals.high_water_ms()));
        let work = Work { shared, files, wanted: Wanted::Ends, globals: &globals, on_damage };
        history.push(work.history(shared.take_table_id(), youngest, ends.bounds())?);
    }
    let mut manifest = Manifest {
        generation: old.generation + 1,
        next_table: shared.next_table_id().0,
        covered,
        high_water_ms: globals.high_water_ms(),
        first_log: files.last().map_or(old.first_log, |last| last.ordinal.next()),
        base: Some((base_id, base)),
        history,
        history_from_ms: old.history_from_ms,
        kept_log: old.kept_log,
        retain_bytes: old.retain_bytes,
        origins: old.origins.clone(),
    };
    for log in files {
        manifest.note_covered(&log.index().contents);
    }
    trim(shared, &mut manifest);
    Ok(Merged { manifest, history_ops })
}

/// True if new ends still go into this table rather than into one of their own.
fn is_open(shared: &Shared, table: &HistoryTable, now_ms: u64) -> bool {
    let settings = &shared.settings;
    // Merging rewrites the table, so it must not grow without bound either.
    let most_bytes = (settings.history_bytes / HISTORY_PARTS).min(4 * settings.checkpoint_after_bytes);
    table.summary.bytes < most_bytes
        && now_ms.saturating_sub(table.first_ms) < settings.history_retention_ms / HISTORY_PARTS
}

/// Forgets the oldest history, by age and by size.
fn trim(shared: &Shared, manifest: &mut Manifest) {
    let settings = &shared.settings;
    let keep_from_ms = manifest.high_water_ms.saturating_sub(settings.history_retention_ms);
    let mut bytes: u64 = manifest.history.iter().map(|table| table.summary.bytes).sum();
    let mut from_ms = manifest.history_from_ms;
    let newest = manifest.history.len();
    let mut place = 0;
    manifest.history.retain(|table| {
        place += 1;
        // The newest stays whatever its size: what ended a moment ago must be there to ask for.
        let too_much = bytes > settings.history_bytes && place < newest;
        let keep = table.last_ms >= keep_from_ms && !too_much;
        if !keep {
            bytes -= table.summary.bytes;
            from_ms = from_ms.max(table.last_ms + 1);
        }
        keep
    });
    manifest.history_from_ms = from_ms.max(keep_from_ms);
}

/// The first pass: applies what is few, learns which keys there are.
fn look_over(
    files: &[Arc<LogFile>],
    on_damage: OnDamage,
    globals: &mut Globals,
    covered: Seq,
) -> Result<Overview, StoreError> {
    let mut interner = Interner::default();
    let mut seen = Overview { covered, ..Overview::default() };
    // Also the numbers of a frame that is given up were used.
    for log in files {
        seen.covered = seen.covered.max(log.index().last_seq);
    }
    each_record(files, on_damage, |frame, block, record| {
        globals.note_time(frame.first_seq, block.stamp_ms(record)?);
        if let Some(key) = Wanted::Spans.coarse_key(record) {
            seen.spans.note(key);
        } else {
            globals.apply(block.decode(record, &mut interner)?);
        }
        if let Some(key) = Wanted::Ends.coarse_key(record) {
            seen.ends.note(key);
        }
        Ok(())
    })?;
    Ok(seen)
}

/// The operations of the table that is replaced, in the order of their keys.
#[derive(Debug)]
struct OldOps<'a> {
    rows: Option<(Rows<'a>, TableId)>,
    wanted: Wanted,
    on_damage: OnDamage,
    interner: Interner,
    ready: VecDeque<Op>,
}

impl<'a> OldOps<'a> {
    fn new(table: Option<&'a Table>, wanted: Wanted, on_damage: OnDamage) -> Self {
        let rows = table.map(|table| (table.rows(), table.id));
        Self { rows, wanted, on_damage, interner: Interner::default(), ready: VecDeque::new() }
    }

    /// Makes the next row's operations ready. False: there are no more rows.
    fn advance(&mut self) -> Result<bool, StoreError> {
        let Some((rows, id)) = &mut self.rows else { return Ok(false) };
        let Some(row) = rows.next() else { return Ok(false) };
        let read = row?.and_then(|row| row.decode(*id, &mut self.interner, |op| self.ready.push_back(op)));
        match (read, self.on_damage) {
            (Ok(()), _) | (Err(_), OnDamage::PassOver) => Ok(true),
            (Err(damage), OnDamage::Stop) => Err(StoreError::corrupt(damage.key, damage.why)),
        }
    }

    /// What stands before the spans of a checkpoint.
    fn globals(&mut self) -> Result<Globals, StoreError> {
        let mut globals = Globals::default();
        while self.advance()? {
            if self.ready.front().is_some_and(|op| self.wanted.key(op).is_some()) {
                break;
            }
            for op in self.ready.drain(..) {
                globals.apply(op);
            }
        }
        globals.gone.clear();
        Ok(globals)
    }

    fn peek(&mut self) -> Result<Option<RowKey>, StoreError> {
        while self.ready.is_empty() {
            if !self.advance()? {
                return Ok(None);
            }
        }
        Ok(self.ready.front().and_then(|op| self.wanted.key(op)))
    }

    fn next(&mut self) -> Option<Op> {
        self.ready.pop_front()
    }
}

/// Merging one kind of fact.
struct Work<'a> {
    shared: &'a Shared,
    files: &'a [Arc<LogFile>],
    wanted: Wanted,
    globals: &'a Globals,
    on_damage: OnDamage,
}

impl Work<'_> {
    /// The log's operations with keys in `from..until`, of each key the last.
    fn collect(&self, from: Option<RowKey>, until: Option<RowKey>) -> Result<BTreeMap<RowKey, Op>, StoreError> {
        let mut interner = Interner::default();
        let mut found = BTreeMap::new();
        each_record(self.files, self.on_damage, |_, block, record| {
            let Some(key) = self.wanted.coarse_key(record) else { return Ok(()) };
            if from.is_some_and(|from| key < from) || until.is_some_and(|until| key >= until) {
                return Ok(());
            }
            let op = block.decode(record, &mut interner)?;
            if let Some(key) = self.wanted.key(&op) {
                found.insert(key, op);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives every key's last operation to `emit`, in the order of the keys; deleted pools' are left out.
    fn stream(
        &self,
        bounds: Vec<RowKey>,
        old: &mut OldOps<'_>,
        mut emit: impl FnMut(RowKey, &Op) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // The history keeps what a deleted pool's subscribers held.
        let is_gone = |key: RowKey| {
            self.wanted == Wanted::Spans && key.pool().is_some_and(|pool| self.globals.gone.contains(&pool))
        };
        let mut emit = |key: RowKey, op: &Op| if is_gone(key) { Ok(()) } else { emit(key, op) };
        let mut from = None;
        for until in bounds.into_iter().map(Some).chain([None]) {
            self.shared.check_in()?;
            let mut fresh = self.collect(from, until)?;
            while let Some(key) = old.peek()?.filter(|key| until.is_none_or(|until| *key < until)) {
                while let Some(entry) = fresh.first_entry().filter(|entry| *entry.key() <= key) {
                    let (at, op) = entry.remove_entry();
                    if at == key {
                        // The old one is not the last any more.
                        drop(old.next());
                    }
                    emit(at, &op)?;
                    if at == key {
                        break;
                    }
                }
                if old.peek()? == Some(key)
                    && let Some(op) = old.next()
                {
                    emit(key, &op)?;
                }
            }
            for (key, op) in fresh {
                emit(key, &op)?;
            }
            from = until;
        }
        Ok(())
    }

    /// Writes a table of history: the youngest one's, if that is to grow, and what the log adds.
    fn history(
        &self,
        id: TableId,
        youngest: Option<HistoryTable>,
        bounds: Vec<RowKey>,
    ) -> Result<HistoryTable, StoreError> {
        let table = match youngest {
            Some(table) => Some(self.shared.table(table.id)?),
            None => None,
        };
        let mut old = OldOps::new(table.as_deref(), self.wanted, self.on_damage);
        let mut out = TableWriter::create(&self.shared.dir, id, self.shared.settings.cache_bytes)?;
        let mut made = HistoryTable {
            id,
            summary: crate::manifest::Summary::default(),
            first_ms: u64::MAX,
            last_ms: 0,
            classes: 0,
        };
        self.stream(bounds, &mut old, |key, op| {
            if let RowKey::History(key) = key {
                made.first_ms = made.first_ms.min(key.ended_ms);
                made.last_ms = made.last_ms.max(key.ended_ms);
                made.classes |= 1_u128.checked_shl(u32::from(key.class)).unwrap_or_default();
            }
            out.push(key, op)
        })?;
        made.summary = out.finish()?;
        Ok(made)
    }
}
