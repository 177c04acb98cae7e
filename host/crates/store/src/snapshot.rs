//! Telling another host what this one knows: the checkpoint's words, in the order of their keys, a few at a time.
//!
//! A checkpoint never changes once it is written, so whoever goes on with a cursor gets what belongs to what he has. If a
//! later one replaces it meanwhile it stays on the disk, as long as somebody asks for more of it from time to time: a large
//! one takes longer to tell than the next takes to come. A start forgets who asked, and removes it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kernel::{Fact, Op, Origin, Seq};

use crate::error::StoreError;
use crate::history::Reader;
use crate::key::RowKey;
use crate::log::Of;
use crate::manifest::{Manifest, TableId};
use crate::record::Interner;
use crate::table::OpenVolume;

/// A replaced checkpoint goes if nobody asked for more of it for so long.
const FRESH: Duration = Duration::from_mins(1);

/// Checkpoints that stay for others at a time; each may take as much of the disk as the newest. Hosts that begin at about the
/// same time are told the same one.
const MOST: usize = 2;

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// The number of the table.
    pub table: u64,
    /// The key of the last row that was given.
    pub after: Vec<u8>,
    /// How many of the checkpoint's operations came before that.
    pub passed: u64,
}

/// Some of a checkpoint's words.
#[derive(Clone, Debug)]
pub struct SnapshotRun {
    /// The last words of reservations, then of spans, in the order of their keys.
    pub ops: Vec<Op>,
    /// `None`: that was all.
    pub next: Option<SnapshotCursor>,
    /// What the checkpoint speaks for: of each origin (`None`: this host's own) up to here. Words that come later are left
    /// out, the logs have them.
    pub vector: BTreeMap<Option<Origin>, Seq>,
    /// The number of the table.
    pub table: u64,
    /// How many of the checkpoint's operations were passed, and how many there are.
    pub passed: u64,
    pub total: u64,
}

/// Why a snapshot cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no checkpoint yet; everything is in the log.
    #[error("there is no checkpoint yet")]
    NoCheckpoint,
    /// The checkpoint was replaced, and nobody had asked for more of it for a while.
    #[error("table {table} is replaced, the snapshot must begin again")]
    Restart { table: u64 },
    #[error("{found:02x?} is the key of no row: a cursor must be given back as it came")]
    CursorInvalid { found: Vec<u8> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which checkpoints are being told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    by_table: BTreeMap<TableId, Telling>,
}

#[derive(Debug)]
struct Telling {
    vector: BTreeMap<Of, Seq>,
    total: u64,
    asked: Instant,
    open: Option<OpenVolume>,
}

impl Told {
    /// Those that must stay; the others are forgotten.
    pub(crate) fn fresh(&mut self) -> BTreeSet<TableId> {
        self.by_table.retain(|_, telling| telling.asked.elapsed() < FRESH);
        self.by_table.keys().copied().collect()
    }

    /// Notes that somebody asks for a table that the manifest names.
    fn begin(&mut self, manifest: &Manifest, table: TableId, total: u64) {
        self.fresh();
        if !self.by_table.contains_key(&table) && self.by_table.len() >= MOST {
            let oldest = self.by_table.iter().min_by_key(|(_, telling)| telling.asked).map(|(id, _)| *id);
            oldest.map(|id| self.by_table.remove(&id));
        }
        let vector = vector_of(manifest);
        let asked = Instant::now();
        let telling = self.by_table.entry(table).or_insert(Telling { vector, total, asked, open: None });
        telling.asked = asked;
    }

    #[cfg(test)]
    fn forget(&mut self) {
        self.by_table.clear();
    }
}

/// What the checkpoint speaks for.
fn vector_of(manifest: &Manifest) -> BTreeMap<Of, Seq> {
    let heard = manifest.origins.iter().filter(|(of, reach)| of.is_some() && reach.heard > Seq(0));
    heard.map(|(of, reach)| (*of, reach.heard)).chain([(None, manifest.covered)]).collect()
}

impl Reader {
    /// What a snapshot that begins now would speak for; `None`: there is no checkpoint.
    pub fn snapshot_vector(&self) -> Option<BTreeMap<Option<Origin>, Seq>> {
        let state = self.shared.state.lock();
        state.manifest.base.map(|_| vector_of(&state.manifest))
    }

    /// The checkpoint's words from its beginning or from a cursor on, about `most_bytes` of them as they lie on the disk and
    /// at least a row. Every row's checksums are looked at.
    ///
    /// Appends and checkpoints go on meanwhile.
    pub fn snapshot(&self, cursor: Option<SnapshotCursor>, most_bytes: usize) -> Result<SnapshotRun, SnapshotError> {
        let after = match &cursor {
            None => None,
            Some(SnapshotCursor { after, .. }) => {
                let key = RowKey::parse(after)
                    .filter(|key| matches!(key, RowKey::Note(_) | RowKey::Reserved(_) | RowKey::Span(_)));
                Some(key.ok_or_else(|| SnapshotError::CursorInvalid { found: after.clone() })?)
            }
        };
        let id = self.begin(cursor.as_ref())?;
        let (vector, total) = {
            let told = self.shared.told.lock();
            let telling = told.by_table.get(&id).ok_or(SnapshotError::Restart { table: id.0 })?;
            (telling.vector.clone(), telling.total)
        };
        let passed = cursor.map_or(0, |cursor| cursor.passed);
        let mut run = SnapshotRun { ops: Vec::new(), next: None, vector, table: id.0, passed, total };
        let open = self.gather(id, after, most_bytes, &mut run)?;
        if let Some(telling) = self.shared.told.lock().by_table.get_mut(&id) {
            telling.open = open.filter(|_| run.next.is_some());
        }
        Ok(run)
    }

    /// The table that is to be read, which stays from now on.
    fn begin(&self, cursor: Option<&SnapshotCursor>) -> Result<TableId, SnapshotError> {
        // Both locks at once: a cycle looks at what is told only after it has shown its manifest.
        let state = self.shared.state.lock();
        if let Some(first) = state.damage.first() {
            return Err(StoreError::Damaged { count: state.damage.len(), first: first.clone() }.into());
        }
        let mut told = self.shared.told.lock();
        let wanted = cursor.map(|cursor| TableId(cursor.table));
        match (wanted, state.manifest.base) {
            (None, None) => Err(SnapshotError::NoCheckpoint),
            (wanted, Some((base, summary))) if wanted.is_none_or(|wanted| wanted == base) => {
                told.begin(&state.manifest, base, summary.ops);
                Ok(base)
            }
            (Some(wanted), _) if told.fresh().contains(&wanted) => {
                if let Some(telling) = told.by_table.get_mut(&wanted) {
                    telling.asked = Instant::now();
                }
                Ok(wanted)
            }
            (Some(TableId(table)), _) => Err(SnapshotError::Restart { table }),
            (None, Some((base, _))) => Err(SnapshotError::Restart { table: base.0 }),
        }
    }

    fn gather(
        &self,
        id: TableId,
        after: Option<RowKey>,
        most_bytes: usize,
        run: &mut SnapshotRun,
    ) -> Result<Option<OpenVolume>, SnapshotError> {
        let damaged = |damage: crate::error::Damage| StoreError::corrupt(damage.key, damage.why);
        let table = self.shared.table(id)?;
        let mut rows = table.rows_from(after.unwrap_or(first_key()));
        let mut interner = Interner::default();
        let mut bytes = 0;
        let mut last = None;
        for row in rows.by_ref() {
            let row = row?.map_err(damaged)?;
            let key = row.key();
            let wanted = matches!(key, RowKey::Note(_) | RowKey::Reserved(_) | RowKey::Span(_));
            if !wanted || after.is_some_and(|after| key <= after) {
                continue;
            }
            if bytes >= most_bytes
                && let Some(last) = last
            {
                run.next = Some(SnapshotCursor { table: id.0, after: RowKey::to_bytes(last), passed: run.passed });
                break;
            }
            bytes += row.block.len();
            run.passed += u64::from(row.ops());
            let (ops, vector, own) = (&mut run.ops, &run.vector, Origin::from(self.identity().origin));
            row.decode(id, &mut interner, |op| {
                let word = matches!(op.fact, Fact::Held(_) | Fact::Resting(_) | Fact::Reserved(_) | Fact::Noted(_));
                if word && is_covered(vector, own, &op) {
                    ops.push(op);
                }
            })
            .map_err(damaged)?;
            last = Some(key);
        }
        Ok(rows.open_volume())
    }
}

/// Whether the vector speaks for an operation of the checkpoint.
fn is_covered(vector: &BTreeMap<Of, Seq>, own: Origin, op: &Op) -> bool {
    op.from.is_none_or(|dot| {
        let of = Some(dot.origin).filter(|origin| *origin != own);
        vector.get(&of).is_some_and(|through| dot.seq <= *through)
    })
}

/// Below every note, reservation and span.
const fn first_key() -> RowKey {
    RowKey::Note(Seq(0))
}
