//! Giving operations back by who wrote them, for hosts that have not heard them yet.
//!
//! A look into the files' indexes says which stretches have operations of the origin; only those are read, in the order of
//! the origin's numbers. That is the order of the log too, unless a snapshot brought operations in another: then more is
//! read than is given, but never more held than was asked for.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Fact, Op, Origin, Seq};

use crate::error::StoreError;
use crate::history::Reader;
use crate::log::{LogFile, Of, Place, each_frame_at, number};
use crate::record::{Block, Interner, Record, RecordFault};

/// Operations of one origin, by its own numbers.
#[derive(Clone, Debug)]
pub struct Run {
    /// In the order of the origin's numbers; of this host's own, those that only concern itself
    /// ([`Heard`](kernel::Fact::Heard), [`Clock`](kernel::Fact::Clock)) too.
    pub ops: Vec<Op>,
    /// With these, everything of the origin up to here was given: numbers up to it that are not here mean nothing. Below
    /// what was asked after only if this host knows less.
    pub through: Seq,
    /// True if there is more after `through`.
    pub more: bool,
}

/// Why there are no operations to give.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Whoever asked needs a snapshot first.
    #[error("the log does not reach back so far any more, it begins with operation {first} of that origin")]
    Gone { first: Seq },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reader {
    /// Operations of an origin (`None`: this host's own) with numbers above `after`, as many as take about `most_bytes` on
    /// disk and at least one, if there is one. Of other origins only what is known without gaps is given.
    ///
    /// Only what is synced is read. Appends and checkpoints go on meanwhile.
    pub fn operations(&self, of: Option<Origin>, after: Seq, most_bytes: usize) -> Result<Run, RunError> {
        let of = of.filter(|of| *of != Origin::from(self.identity().origin));
        let (manifest, files) = {
            let state = self.shared.state.lock();
            if let Some(first) = state.log_damage.first() {
                let count = state.log_damage.len();
                return Err(StoreError::Damaged { count, first: first.clone() }.into());
            }
            (Arc::clone(&state.manifest), state.kept.iter().chain(&state.files).cloned().collect::<Vec<_>>())
        };
        let known = manifest.origins.get(&of).copied().unwrap_or_default();
        // What a snapshot told of was never in this log.
        let adopted =
            of.and_then(|of| files.iter().filter_map(|log| log.index().contents.adopted.get(&of).copied()).max());
        let gone = known.gone.max(adopted.unwrap_or_default());
        if after < gone {
            return Err(RunError::Gone { first: Seq(gone.0.saturating_add(1)) });
        }
        let least = if of.is_none() { manifest.covered } else { known.heard };
        let through = complete(&files, of)?.max(least);
        Ok(collect(&files, of, after, through, most_bytes)?)
    }
}

/// Up to where the files have everything of the origin.
fn complete(files: &[Arc<LogFile>], of: Of) -> Result<Seq, StoreError> {
    let mut through = Seq(0);
    for log in files {
        let index = log.index();
        if let Some(fault) = &index.fault {
            return Err(StoreError::corrupt(log.ordinal.file_name(), fault));
        }
        let here = match of {
            None => Some(index.last_seq),
            Some(origin) => index.contents.heard.get(&origin).copied(),
        };
        through = through.max(here.unwrap_or_default());
    }
    Ok(through)
}

fn collect(files: &[Arc<LogFile>], of: Of, after: Seq, through: Seq, most_bytes: usize) -> Result<Run, StoreError> {
    let mut places: Vec<(Place, &LogFile)> = Vec::new();
    for log in files {
        places.extend(log.index().places(of, after, through).map(|place| (place, &**log)));
    }
    // Stable: of places that begin with the same number, the log's order.
    places.sort_by_key(|(place, _)| place.numbers.first);
    let mut found = Gathered { most_bytes, ..Gathered::default() };
    let mut interner = Interner::default();
    for (place, log) in places {
        if !found.wants(place.numbers.first) {
            break;
        }
        each_frame_at(log, place, |frame| {
            let mut all = || {
                let block = Block::parse(frame.block)?;
                for record in block.records() {
                    let record = record?;
                    let (whose, seq) = number(record.from, block.seq(&record)?);
                    if whose == of && seq > after && seq <= through && found.wants(seq) {
                        found.add(seq, &block, &record, &mut interner)?;
                    }
                }
                Ok(())
            };
            all().map_err(|fault: RecordFault| StoreError::corrupt(log.ordinal.file_name(), fault))
        })?;
    }
    Ok(found.run(through))
}

/// Whether it may be what gave way to another operation.
const fn may_be_aside(fact: &Fact) -> bool {
    matches!(fact, Fact::Free(_) | Fact::Unreserved { .. })
}

/// The operations with the lowest numbers that fit.
#[derive(Debug, Default)]
struct Gathered {
    most_bytes: usize,
    bytes: usize,
    ops: BTreeMap<Seq, (usize, Op)>,
    /// The lowest number that was left out: none from there on is taken.
    cut: Option<Seq>,
}

impl Gathered {
    fn wants(&self, seq: Seq) -> bool {
        self.cut.is_none_or(|cut| seq < cut)
    }

    fn add(
        &mut self,
        seq: Seq,
        block: &Block<'_>,
        record: &Record<'_>,
        interner: &mut Interner,
    ) -> Result<(), RecordFault> {
        // The log may have the same operation again, brought by a snapshot. And what gave way to an operation stands before it
        // under its number: that is no word of its writer's.
        if self.ops.get(&seq).is_some_and(|(_, known)| !may_be_aside(&known.fact)) {
            return Ok(());
        }
        let op = block.decode(record, interner)?;
        if may_be_aside(&op.fact) && self.ops.contains_key(&seq) {
            return Ok(());
        }
        self.bytes += record.size;
        if let Some((size, _)) = self.ops.insert(seq, (record.size, op)) {
            self.bytes -= size;
        }
        while self.bytes > self.most_bytes && self.ops.len() > 1 {
            let Some((seq, (size, _))) = self.ops.pop_last() else { break };
            self.bytes -= size;
            self.cut = Some(seq);
        }
        Ok(())
    }

    fn run(self, through: Seq) -> Run {
        let ops = self.ops.into_values().map(|(_, op)| op).collect();
        let through_cut = self.cut.map(|cut| Seq(cut.0.saturating_sub(1)));
        Run { ops, through: through_cut.unwrap_or(through), more: through_cut.is_some() }
    }
}
