//! Giving the facts back at start: the checkpoint, then the log.
//!
//! Three threads, because a million facts must be back within a second or so: one reads, one decodes, and the caller's
//! takes the operations into the kernel. Damage is collected, not fatal: the rest goes on and the daemon decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kernel::{Fact, Op, Origin, PoolUid, Seq};

use crate::error::{Damage, StoreError};
use crate::log::each_frame;
use crate::manifest::Manifest;
use crate::record::{Block, Interner};
use crate::shared::Shared;
use crate::table::Table;

/// What a recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The sequence number of the next operation.
    pub next_seq: Seq,
    /// The latest time that any operation was stamped with, Unix milliseconds: the wall clock was at least this.
    pub high_water_ms: u64,
    /// How many operations were given back from the checkpoint.
    pub checkpoint_ops: u64,
    /// And how many from the log.
    pub log_ops: u64,
    /// Nothing may be handed out from these pools (`None`: from none at all).
    pub damage: Vec<Damage>,
    /// Bytes of a last group that was not synced; nobody was told of it.
    pub torn_bytes: u64,
    /// How far each other origin was heard; also given as facts.
    pub heard: BTreeMap<Origin, Seq>,
}

/// A block and where it was found.
#[derive(Debug)]
struct Piece {
    place: String,
    pool: Option<PoolUid>,
    block: Vec<u8>,
}

/// How many bytes go from reader to decoder at once, and how many operations from there on.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_OPS: usize = 2048;
/// Batches under way between two threads. When it is full, the faster one waits.
const BATCHES: usize = 8;

pub(crate) fn recover(shared: &Shared, next_seq: Seq, each: &mut impl FnMut(Op)) -> Result<Recovered, StoreError> {
    let _tables = shared.hold_tables();
    let (manifest, files, known_damage, torn_bytes) = {
        let state = shared.state.lock();
        (state.manifest.clone(), state.files.clone(), state.damage.clone(), state.torn_bytes)
    };
    let mut found = Recovered {
        next_seq,
        high_water_ms: manifest.high_water_ms,
        checkpoint_ops: 0,
        log_ops: 0,
        damage: known_damage,
        torn_bytes,
        heard: BTreeMap::new(),
    };
    let marks = Arc::clone(&manifest);
    let covered = manifest.covered;
    let fresh_damage = std::thread::scope(|scope| {
        let (piece_sender, pieces) = sync_channel(BATCHES);
        let (op_sender, ops) = sync_channel(BATCHES);
        let reader = scope.spawn(move || {
            let mut out = Pieces { sender: piece_sender, batch: Vec::new(), bytes: 0 };
            let mut damage = Vec::new();
            if let Some((id, summary)) = manifest.base {
                let table = shared.table(id)?;
                damage = read_table(&table, summary, &mut out)?;
            }
            each_frame(&files, |log, frame| {
                let place = format!("{} byte {}", log.ordinal.file_name(), frame.offset);
                out.push(Piece { place, pool: None, block: frame.block.to_vec() });
                Ok::<(), StoreError>(())
            })?;
            out.flush();
            Ok::<Vec<Damage>, StoreError>(damage)
        });
        let decoder = scope.spawn(move || decode(&pieces, &op_sender));
        for op in ops.into_iter().flatten() {
            *if op.seq > covered { &mut found.log_ops } else { &mut found.checkpoint_ops } += 1;
            found.high_water_ms = found.high_water_ms.max(op.stamp_ms);
            if let Fact::Heard { origin, through } = op.fact {
                note_heard(&mut found.heard, origin, through);
            }
            if let Fact::Adopted(vector) = &op.fact {
                for (origin, through) in vector.iter() {
                    note_heard(&mut found.heard, *origin, *through);
                }
            }
            each(op);
        }
        let mut damage = reader.join().expect("the reader does not panic")?;
        damage.extend(decoder.join().expect("the decoder does not panic"));
        Ok::<Vec<Damage>, StoreError>(damage)
    })?;
    give_heard(&marks, &mut found.heard, each);
    keep_damage(shared, &marks, fresh_damage, &mut found)?;
    Ok(found)
}

/// The manifest knows how far others were heard even if the row that says so is damaged.
fn give_heard(manifest: &Manifest, heard: &mut BTreeMap<Origin, Seq>, each: &mut impl FnMut(Op)) {
    for (of, reach) in &manifest.origins {
        if let Some(origin) = *of
            && reach.heard > Seq(0)
            && note_heard(heard, origin, reach.heard)
        {
            let fact = Fact::Heard { origin, through: reach.heard };
            each(Op { seq: manifest.covered, stamp_ms: manifest.high_water_ms, from: None, fact });
        }
    }
}

/// Adds what was found to the damage that is known. If there is none at all, what an earlier life replaced may go.
fn keep_damage(
    shared: &Shared,
    manifest: &Manifest,
    fresh: Vec<Damage>,
    found: &mut Recovered,
) -> Result<(), StoreError> {
    let untidy = {
        let mut state = shared.state.lock();
        // A checkpoint made from what is left would make the damage permanent and invisible.
        for damage in fresh {
            if !state.damage.contains(&damage) {
                state.damage.push(damage.clone());
                found.damage.push(damage);
            }
        }
        found.damage.is_empty() && std::mem::replace(&mut state.untidy, false)
    };
    if untidy { shared.remove_unnamed(manifest) } else { Ok(()) }
}

/// True if it is news.
fn note_heard(heard: &mut BTreeMap<Origin, Seq>, origin: Origin, through: Seq) -> bool {
    let known = heard.entry(origin).or_default();
    let news = through > *known;
    *known = (*known).max(through);
    news
}

/// Sends a table's rows on; gives back what is damaged.
fn read_table(table: &Table, written: crate::manifest::Summary, out: &mut Pieces) -> Result<Vec<Damage>, StoreError> {
    let mut damage = Vec::new();
    let mut sum = crate::manifest::Summary::default();
    for row in table.rows() {
        match row? {
            Ok(row) => {
                row.count_into(&mut sum);
                let place = format!("{}: {}", table.id.dir_name(), row.key);
                out.push(Piece { place, pool: row.key.pool(), block: row.block });
            }
            Err(fault) => damage.push(fault),
        }
    }
    // If rows are damaged, the sum differs anyway; if none is, rows are missing, and nobody knows whose.
    if damage.is_empty() {
        damage.extend(table.compare(written, sum));
    }
    Ok(damage)
}

/// Gathers pieces into batches.
#[derive(Debug)]
struct Pieces {
    sender: SyncSender<Vec<Piece>>,
    batch: Vec<Piece>,
    bytes: usize,
}

impl Pieces {
    fn push(&mut self, piece: Piece) {
        self.bytes += piece.block.len() + size_of::<Piece>();
        self.batch.push(piece);
        if self.bytes >= BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        // The decoder ends only after its sender is gone, or by a panic that its join reports.
        drop(self.sender.send(std::mem::take(&mut self.batch)));
    }
}

fn decode(pieces: &Receiver<Vec<Piece>>, ops: &SyncSender<Vec<Op>>) -> Vec<Damage> {
    let mut interner = Interner::default();
    let mut damage = Vec::new();
    let mut batch = Vec::with_capacity(BATCH_OPS);
    for piece in pieces.iter().flatten() {
        let block = Block::parse(&piece.block);
        let decoded = block.and_then(|block| block.decode_all(&mut interner, |op| batch.push(op)));
        if let Err(fault) = decoded {
            damage.push(Damage { key: piece.place, pool: piece.pool, why: fault.to_string() });
        }
        if batch.len() >= BATCH_OPS {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_OPS));
            if ops.send(full).is_err() {
                break;
            }
        }
    }
    // Only a caller that panicked does not take the rest.
    drop(ops.send(batch));
    damage
}
