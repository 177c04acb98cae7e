//! Who held a resource in the past: the tables of history and the part of the log that is in no table yet.

use std::path::Path;
use std::sync::Arc;

use kernel::{Fact, PoolUid, RealmUid, Resting, Span, SpanKey};

use crate::error::StoreError;
use crate::identity::Identity;
use crate::key::{HistoryKey, RowKey};
use crate::log::{LogFile, each_frame};
use crate::manifest::{HistoryTable, Manifest};
use crate::record::{Block, Interner, Kind, RecordFault};
use crate::shared::Shared;

/// A question about the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    pub pool: PoolUid,
    pub realm: RealmUid,
    /// Allocations that shared a position with it are told.
    pub span: Span,
    /// Only who held it at this moment (Unix milliseconds).
    pub at_ms: Option<u64>,
    /// At most so many, the latest ones.
    pub limit: usize,
}

/// What is known about the past. Who holds the resource now is not in it: that allocation has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryAnswer {
    /// Latest end first.
    pub ended: Vec<Arc<Resting>>,
    /// True if there are more than were asked for.
    pub more: bool,
    /// What ended before this is not known any more (Unix milliseconds).
    pub from_ms: u64,
}

/// What the data directory takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Frames that no checkpoint covers.
    pub log_bytes: u64,
    /// Log files that a checkpoint covers, kept for other hosts.
    pub kept_bytes: u64,
    pub checkpoint_bytes: u64,
    pub history_bytes: u64,
    /// What a user without privileges may still write to this file system.
    pub free_bytes: u64,
}

/// Reads beside the writer, on any thread.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Whose data directory this is.
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// How much is used and free now.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let free_bytes = free_bytes(&self.shared.dir)?;
        let state = self.shared.state.lock();
        Ok(Usage {
            log_bytes: state.files.iter().map(|log| log.frame_bytes()).sum(),
            kept_bytes: state.kept.iter().map(|log| log.durable_bytes()).sum(),
            checkpoint_bytes: state.manifest.base.map_or(0, |(_, sum)| sum.bytes),
            history_bytes: state.manifest.history.iter().map(|table| table.summary.bytes).sum(),
            free_bytes,
        })
    }

    /// Who held the span and when, as far as it is still known.
    pub fn history(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        // A cycle may remove a table between looking at the manifest and opening it; then the next manifest has it.
        let mut last = None;
        loop {
            let (manifest, files) = {
                let state = self.shared.state.lock();
                (Arc::clone(&state.manifest), state.files.clone())
            };
            match self.ask(query, &manifest, &files) {
                Err(error) if last != Some(manifest.generation) => {
                    let moved = self.shared.state.lock().manifest.generation != manifest.generation;
                    if !moved {
                        return Err(error);
                    }
                    last = Some(manifest.generation);
                }
                answer => return answer,
            }
        }
    }

    fn ask(
        &self,
        query: &HistoryQuery,
        manifest: &Manifest,
        files: &[Arc<LogFile>],
    ) -> Result<HistoryAnswer, StoreError> {
        let latest_ms = manifest.high_water_ms;
        let from_ms = manifest.history_from_ms.max(latest_ms.saturating_sub(self.shared.settings.history_retention_ms));
        let mut ended = Vec::new();
        for table in &manifest.history {
            if table.last_ms >= query.at_ms.unwrap_or(0).max(from_ms) {
                self.ask_table(query, table, &mut ended)?;
            }
        }
        ask_log(query, files, &mut ended)?;
        ended.retain(|rest| rest.ended_ms >= from_ms);
        ended.sort_by_key(|rest| std::cmp::Reverse((rest.ended_ms, rest.seq)));
        let more = ended.len() > query.limit;
        ended.truncate(query.limit);
        Ok(HistoryAnswer { ended, more, from_ms })
    }

    fn ask_table(
        &self,
        query: &HistoryQuery,
        listed: &HistoryTable,
        ended: &mut Vec<Arc<Resting>>,
    ) -> Result<(), StoreError> {
        let table = self.shared.table(listed.id)?;
        let mut interner = Interner::default();
        let damaged = |damage: crate::error::Damage| StoreError::corrupt(damage.key, damage.why);
        for class in (0..128_u8).filter(|class| listed.classes >> class & 1 == 1) {
            // A span of this class that reaches into the asked one begins less than two to the class before it.
            let reach = (1_u128 << class) - 1;
            let key = |start, ended_ms, seq| {
                let HistoryQuery { pool, realm, .. } = *query;
                RowKey::History(HistoryKey { pool, realm, class, start, ended_ms, seq })
            };
            let first = key(query.span.start().saturating_sub(reach), 0, 0);
            let last = key(query.span.end() - 1, u64::MAX, u64::MAX);
            for row in table.rows_from(first) {
                let row = row?.map_err(damaged)?;
                if row.key() > last {
                    break;
                }
                if row.key().group() != first.group() {
                    // The row before the first one of this class.
                    continue;
                }
                row.decode(listed.id, &mut interner, |op| {
                    if let Fact::Resting(rest) = op.fact {
                        keep(query, rest, ended);
                    }
                })
                .map_err(damaged)?;
            }
        }
        Ok(())
    }
}

/// What the log adds: ends that are in no table yet.
fn ask_log(query: &HistoryQuery, files: &[Arc<LogFile>], ended: &mut Vec<Arc<Resting>>) -> Result<(), StoreError> {
    let mut interner = Interner::default();
    each_frame(files, |log, frame| {
        let mut all = || {
            let block = Block::parse(frame.block)?;
            for record in block.records() {
                let record = record?;
                let asked = |key: SpanKey| {
                    key.pool == query.pool && key.realm == query.realm && key.span.intersects(query.span)
                };
                if record.kind == Kind::Resting
                    && record.key.is_some_and(asked)
                    && let Fact::Resting(rest) = block.decode(&record, &mut interner)?.fact
                {
                    keep(query, rest, ended);
                }
            }
            Ok(())
        };
        all().map_err(|fault: RecordFault| StoreError::corrupt(log.ordinal.file_name(), fault))
    })
}

fn keep(query: &HistoryQuery, rest: Arc<Resting>, ended: &mut Vec<Arc<Resting>>) {
    let held_then = query.at_ms.is_none_or(|at_ms| rest.created_ms <= at_ms && at_ms < rest.ended_ms);
    if held_then && rest.pool == query.pool && rest.realm == query.realm && rest.span.intersects(query.span) {
        ended.push(rest);
    }
}

fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| StoreError::path("measure", dir, error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
