//! openraft's view of the log: entries in memory for reading, the journal behind them, and the vote.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, RaftLogReader, StorageIOError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Progress;
use super::committed::Committed;
use super::disk::Disk;
use super::journal::{Contents, Journal};
use super::seal::{self, Kind};
use crate::error::StorageError;
use crate::raft::{Entry, LogId, RaftStorageError, Types, Vote};
use crate::record;

const VOTE: &str = "vote";
const VOTE_KIND: Kind = Kind(b"nx-vote\0");

/// Cheap to clone; all clones are one log. It is small, as snapshots keep it short, so all of it stays in memory.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<Disk>,
    /// Held while something is written and synced; readers do not wait for it.
    files: Mutex<Files>,
    cache: RwLock<Cache>,
    truncations: AtomicU64,
    message_bytes: usize,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Files {
    journal: Journal,
    committed: Committed,
}

/// Only what is on the disk.
#[derive(Debug)]
struct Cache {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: VecDeque<Entry>,
}

impl Cache {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// Where the entry of an index is, or would be.
    fn position(&self, index: u64) -> usize {
        self.entries.partition_point(|entry| entry.log_id.index < index)
    }

    fn get(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (from, to) = (self.position(start), self.position(end));
        self.entries.range(from..to.max(from))
    }
}

impl LogStore {
    /// # Errors
    ///
    /// If the directory is damaged or of a newer format.
    pub(crate) fn open(
        disk: Arc<Disk>,
        message_bytes: usize,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, StorageError> {
        let vote = match disk.read(VOTE)? {
            None => None,
            Some(bytes) => {
                let path = disk.path(VOTE);
                let vote: record::Vote = seal::unseal(VOTE_KIND, &path, &bytes)?;
                let damaged =
                    |why: record::InvalidRecord| StorageError::Damaged { path, offset: 0, why: why.to_string() };
                Some(vote.to_raft().map_err(damaged)?)
            }
        };
        let (journal, Contents { entries, purged }) = Journal::open(&disk)?;
        let cache = Cache { vote, purged, entries: entries.into() };
        let mut committed = Committed::open(&disk)?;
        check_committed(&disk, &cache, committed.get())?;
        check_kept(&disk, &cache, committed.promised())?;
        committed.limit(cache.last());
        let shared = Shared {
            disk,
            files: Mutex::new(Files { journal, committed }),
            cache: RwLock::new(cache),
            truncations: AtomicU64::new(0),
            message_bytes,
            progress,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How often entries were dropped because a new leader knew better.
    pub(crate) fn truncations(&self) -> u64 {
        self.shared.truncations.load(Ordering::SeqCst)
    }

    /// Runs work that waits for the disk where that holds nobody else up.
    async fn on_files<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &mut Files) -> Result<T, StorageError> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let work = move || work(&shared, &mut shared.files.lock());
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            // The runtime is ending, or the work panicked.
            Err(why) => Err(StorageError::Poisoned { why: why.to_string() }),
        }
    }
}

/// What is committed is never replaced. If the log has another entry in its place, one of the two files is not ours.
fn check_committed(disk: &Disk, cache: &Cache, committed: Option<LogId>) -> Result<(), StorageError> {
    let Some(committed) = committed else { return Ok(()) };
    let found = cache.entries.get(cache.position(committed.index)).map(|entry| entry.log_id);
    match found.filter(|found| found.index == committed.index && *found != committed) {
        None => Ok(()),
        Some(found) => Err(StorageError::Damaged {
            path: disk.path("committed"),
            offset: 0,
            why: format!("entry {committed} is committed, but the log has {found} in its place"),
        }),
    }
}

/// What was applied was in the log first. A log that ends before it is older than the machine that others saw: this member would
/// vote and answer as if it had never heard what it acted on.
fn check_kept(disk: &Disk, cache: &Cache, promised: Option<LogId>) -> Result<(), StorageError> {
    match promised.filter(|promised| cache.last() < Some(*promised)) {
        None => Ok(()),
        Some(applied) => {
            let last = cache.last().map_or(0, |last| last.index);
            Err(StorageError::WentBack { dir: disk.dir().to_owned(), applied: applied.index, last })
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, RaftStorageError> {
        Ok(self.shared.cache.read().get(&range).cloned().collect())
    }

    /// As many as one message should carry, at least one.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, RaftStorageError> {
        let cache = self.shared.cache.read();
        let mut left = self.shared.message_bytes;
        let mut entries = Vec::new();
        for entry in cache.get(&(start..end)) {
            let bytes = match &entry.payload {
                openraft::EntryPayload::Normal(bytes) => bytes.len(),
                openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
            } + 64;
            if bytes > left && !entries.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes);
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, RaftStorageError> {
        let cache = self.shared.cache.read();
        Ok(LogState { last_purged_log_id: cache.purged, last_log_id: cache.last() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), RaftStorageError> {
        let vote = *vote;
        let saved = self.on_files(move |shared, _| {
            let _writing = shared.disk.writing()?;
            shared.disk.replace(VOTE, &[&seal::seal(VOTE_KIND, &record::Vote::of(&vote))])?;
            shared.cache.write().vote = Some(vote);
            Ok(())
        });
        saved.await.map_err(|why| StorageIOError::write_vote(&why).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, RaftStorageError> {
        Ok(self.shared.cache.read().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), RaftStorageError> {
        let saved = self.on_files(move |shared, files| {
            let _writing = shared.disk.writing()?;
            let last = shared.cache.read().last();
            files.committed.set(&shared.disk, committed, last)
        });
        saved.await.map_err(|why| RaftStorageError::from(StorageIOError::write(&why)))?;
        self.shared.progress.send_modify(|progress| progress.committed = committed.map(|id| id.index));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, RaftStorageError> {
        Ok(self.shared.files.lock().committed.get())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let appended = self.on_files(move |shared, files| {
            files.journal.append(&shared.disk, &entries)?;
            shared.cache.write().entries.extend(entries);
            Ok(())
        });
        match appended.await {
            Ok(()) => callback.log_io_completed(Ok(())),
            // openraft keeps only this text of it.
            Err(why) => callback.log_io_completed(Err(std::io::Error::other(why.with_causes()))),
        }
        Ok(())
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), RaftStorageError> {
        self.shared.truncations.fetch_add(1, Ordering::SeqCst);
        let cut = self.on_files(move |shared, files| {
            files.journal.truncate(&shared.disk, from.index)?;
            let mut cache = shared.cache.write();
            let kept = cache.position(from.index);
            cache.entries.truncate(kept);
            Ok(())
        });
        cut.await.map_err(|why| StorageIOError::write_logs(&why).into())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), RaftStorageError> {
        let purged = self.on_files(move |shared, files| {
            if shared.cache.read().purged >= Some(upto) {
                return Ok(());
            }
            files.journal.purge(&shared.disk, &upto)?;
            let mut cache = shared.cache.write();
            let dropped = cache.position(upto.index + 1);
            cache.entries.drain(..dropped);
            cache.purged = Some(upto);
            Ok(())
        });
        purged.await.map_err(|why| StorageIOError::write_logs(&why).into())
    }
}
