//! The log's files: appended to, cut at the end when a new leader knows better, removed from the front when purged.

use std::collections::VecDeque;
use std::fs::File;

use super::disk::Disk;
use super::frame::{self, End};
use super::seal::{self, Kind};
use crate::error::StorageError;
use crate::raft::{Entry, LogId};
use crate::record;

const KIND: Kind = Kind(b"nx-log\0\0");
const PURGED: &str = "purged";
const PURGED_KIND: Kind = Kind(b"nx-purg\0");
const PREFIX: &str = "log-";
/// A file takes no further batch beyond this.
pub(crate) const FILE_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
struct Segment {
    name: String,
    /// Index of the first entry that is, or will be, in it.
    first: u64,
    /// Where the frame of each entry begins.
    offsets: Vec<u64>,
    end: u64,
    file: File,
}

impl Segment {
    fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }
}

#[derive(Debug)]
pub(crate) struct Journal {
    segments: VecDeque<Segment>,
    /// Why nothing more may be written.
    failed: Option<String>,
}

/// What an opened log holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    pub(crate) purged: Option<LogId>,
}

fn name(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

/// The files of the log, by the index they begin with.
fn files(disk: &Disk) -> Result<Vec<(u64, String)>, StorageError> {
    let first = |name: &String| name.strip_prefix(PREFIX).and_then(|digits| digits.parse().ok());
    let named = disk.names()?.into_iter().filter_map(|found| Some((first(&found)?, found)));
    let mut files: Vec<(u64, String)> = named.filter(|(first, found)| *found == name(*first)).collect();
    files.sort_unstable();
    Ok(files)
}

fn damaged(disk: &Disk, file: &str, offset: u64, why: String) -> StorageError {
    StorageError::Damaged { path: disk.path(file), offset, why }
}

impl Journal {
    pub(crate) fn open(disk: &Disk) -> Result<(Self, Contents), StorageError> {
        let _writing = disk.writing()?;
        disk.sync_names()?;
        let purged = match disk.read(PURGED)? {
            None => None,
            Some(bytes) => {
                let id: record::LogId = seal::unseal(PURGED_KIND, &disk.path(PURGED), &bytes)?;
                Some(id.to_raft().map_err(|why| damaged(disk, PURGED, 0, why.to_string()))?)
            }
        };
        let wanted = purged.map_or(0, |purged| purged.index + 1);
        let mut files = files(disk)?;
        // What a purge left behind when it was cut short.
        while let [(_, old), (next, _), ..] = files.as_slice()
            && *next <= wanted
        {
            disk.remove(old)?;
            files.remove(0);
        }
        let mut journal = Self { segments: VecDeque::new(), failed: None };
        let mut entries: Vec<Entry> = Vec::new();
        let last = files.len().saturating_sub(1);
        for (at, (first, file)) in files.into_iter().enumerate() {
            let end = if at == last { End::MayBeTorn } else { End::IsWhole };
            let (segment, found) = read_segment(disk, first, file, end)?;
            let expected = journal.segments.back().map_or(wanted, Segment::next);
            let follows = if journal.segments.is_empty() { first <= expected } else { first == expected };
            if !follows {
                let why = format!("it begins with entry {first}, but entry {expected} is missing before it");
                return Err(damaged(disk, &segment.name, 0, why));
            }
            entries.extend(found.into_iter().filter(|entry| entry.log_id.index >= wanted));
            journal.segments.push_back(segment);
        }
        if journal.segments.back().is_some_and(|segment| segment.next() < wanted) {
            // All of it is purged, and the next entry does not follow it.
            journal.remove_purged(disk, wanted)?;
        }
        Ok((journal, Contents { entries, purged }))
    }

    /// Durable when it returns.
    pub(crate) fn append(&mut self, disk: &Disk, entries: &[Entry]) -> Result<(), StorageError> {
        self.write(disk, |journal| journal.append_batch(disk, entries))
    }

    /// Drops the entries from `index` on. Durable when it returns, so that what is committed later is never confused
    /// with what was cut.
    pub(crate) fn truncate(&mut self, disk: &Disk, index: u64) -> Result<(), StorageError> {
        self.write(disk, |journal| journal.cut(disk, index))
    }

    /// Drops the entries up to and with `id`. A start knows that they were there once.
    pub(crate) fn purge(&mut self, disk: &Disk, id: &LogId) -> Result<(), StorageError> {
        self.write(disk, |journal| {
            disk.replace(PURGED, &[&seal::seal(PURGED_KIND, &record::LogId::of(id))])?;
            journal.remove_purged(disk, id.index + 1)
        })
    }

    /// After a failure nobody knows what is on the disk; only opening it again tells.
    fn write(
        &mut self,
        disk: &Disk,
        work: impl FnOnce(&mut Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _writing = disk.writing()?;
        if let Some(why) = &self.failed {
            return Err(StorageError::Poisoned { why: why.clone() });
        }
        let result = work(self);
        if let Err(why) = &result {
            self.failed = Some(why.to_string());
        }
        result
    }

    fn append_batch(&mut self, disk: &Disk, entries: &[Entry]) -> Result<(), StorageError> {
        let Some(first) = entries.first() else { return Ok(()) };
        let next = self.segments.back().map_or(first.log_id.index, Segment::next);
        if self.segments.back().is_none_or(|segment| segment.end >= FILE_BYTES) {
            self.segments.push_back(create(disk, next)?);
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        let batch = segment.end;
        let mut bytes = Vec::new();
        let mut offsets = Vec::with_capacity(entries.len());
        for (entry, next) in entries.iter().zip(next..) {
            if entry.log_id.index != next && !disk.gaps_allowed() {
                return Err(StorageError::Gap { index: entry.log_id.index, next });
            }
            offsets.push(batch + bytes.len() as u64);
            frame::write(&mut bytes, batch, entry)?;
        }
        disk.write_at(&segment.file, &segment.name, &bytes, batch)?;
        segment.offsets.append(&mut offsets);
        segment.end += bytes.len() as u64;
        Ok(())
    }

    fn cut(&mut self, disk: &Disk, index: u64) -> Result<(), StorageError> {
        // From the back, so that a crash between two steps leaves no hole.
        while let Some(segment) = self.segments.pop_back_if(|segment| segment.first >= index) {
            disk.remove(&segment.name)?;
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        let kept = usize::try_from(index - segment.first).unwrap_or(usize::MAX);
        let Some(end) = segment.offsets.get(kept).copied() else { return Ok(()) };
        cut_file(disk, &segment.file, &segment.name, end)?;
        segment.offsets.truncate(kept);
        segment.end = end;
        Ok(())
    }

    /// Removes the files that hold only entries before `wanted`.
    fn remove_purged(&mut self, disk: &Disk, wanted: u64) -> Result<(), StorageError> {
        while let Some(segment) = self.segments.pop_front_if(|segment| segment.next() <= wanted) {
            disk.remove(&segment.name)?;
        }
        Ok(())
    }
}

fn cut_file(disk: &Disk, file: &File, name: &str, end: u64) -> Result<(), StorageError> {
    file.set_len(end).map_err(|source| StorageError::Io { action: "cut", path: disk.path(name), source })?;
    disk.sync(file, name)
}

fn create(disk: &Disk, first: u64) -> Result<Segment, StorageError> {
    let name = name(first);
    let head = seal::seal(KIND, &first);
    // Complete, name and all, before its first frame.
    disk.replace(&name, &[&head])?;
    let file = disk.open_file(&name)?;
    Ok(Segment { name, first, offsets: Vec::new(), end: head.len() as u64, file })
}

fn read_segment(disk: &Disk, first: u64, name: String, end: End) -> Result<(Segment, Vec<Entry>), StorageError> {
    let path = disk.path(&name);
    let bytes = disk.read(&name)?.unwrap_or_default();
    let (content, head) = seal::open(KIND, &path, &bytes)?;
    let written: u64 = seal::decode(&path, content)?;
    if written != first {
        return Err(damaged(disk, &name, 0, format!("its head says that it begins with entry {written}")));
    }
    let scan = frame::scan(&path, &bytes, head, end)?;
    let file = disk.open_file(&name)?;
    if scan.end < bytes.len() {
        tracing::warn!(file = %path.display(), offset = scan.end, "cut the torn end off the log");
        cut_file(disk, &file, &name, scan.end as u64)?;
    }
    if end == End::MayBeTorn {
        // If its sync failed, it may be in the system's memory alone, and no later sync would write it.
        let batch = bytes.get(scan.batch..scan.end).unwrap_or_default();
        disk.write_at(&file, &name, batch, scan.batch as u64)?;
    }
    let mut segment = Segment { name, first, offsets: Vec::new(), end: scan.end as u64, file };
    let mut entries = Vec::with_capacity(scan.entries.len());
    for (offset, entry) in scan.entries {
        if entry.log_id.index != segment.next() {
            let why = format!("entry {} is where entry {} should be", entry.log_id.index, segment.next());
            return Err(damaged(disk, &segment.name, offset, why));
        }
        segment.offsets.push(offset);
        entries.push(entry);
    }
    Ok((segment, entries))
}
