//! Entries in a file of the log: one frame each, with the offset of the batch it was written in.
//!
//! A batch is written at once and synced before the next one begins. So all before a batch's first frame was synced, and
//! a bad frame is the torn end of the last batch unless a later batch follows it; then it is damage.

use std::path::Path;

use super::seal::encode;
use crate::error::StorageError;
use crate::raft;
use crate::record;

const MARK: [u8; 4] = *b"NXlf";
/// Mark (4), offset of the batch (8), length (4), checksum (4).
const HEAD_BYTES: usize = 20;

/// One entry as a frame of the batch that begins at `batch`.
pub(crate) fn write(into: &mut Vec<u8>, batch: u64, entry: &raft::Entry) -> Result<(), StorageError> {
    let content = encode(&record::Entry::of(entry));
    let length = u32::try_from(content.len()).map_err(|_| StorageError::Poisoned {
        why: format!("entry {} has {} bytes, more than a frame holds", entry.log_id.index, content.len()),
    })?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MARK);
    head.extend_from_slice(&batch.to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    let sum = sum(&head, &content);
    into.extend_from_slice(&head);
    into.extend_from_slice(&sum);
    into.extend_from_slice(&content);
    Ok(())
}

fn sum(head: &[u8], content: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(content);
    sum.finalize().to_le_bytes()
}

struct Frame<'a> {
    batch: u64,
    content: &'a [u8],
    bytes: usize,
}

/// The frame at the start of `bytes`, if a whole and true one is there.
fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (summed, rest) = bytes.split_at_checked(HEAD_BYTES - 4)?;
    let (mark, numbers) = summed.split_first_chunk::<4>()?;
    let (batch, length) = numbers.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    if *mark != MARK {
        return None;
    }
    let (found, rest) = rest.split_first_chunk::<4>()?;
    let (content, _) = rest.split_at_checked(length)?;
    let frame = Frame { batch: u64::from_le_bytes(*batch), content, bytes: HEAD_BYTES + length };
    (sum(summed, content) == *found).then_some(frame)
}

/// Whether the file's end may be torn: nothing is written to a file once there is a next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    MayBeTorn,
    IsWhole,
}

/// The entries of a file, each with its frame's offset, where their last batch begins, and where it ends.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) entries: Vec<(u64, raft::Entry)>,
    pub(crate) batch: usize,
    pub(crate) end: usize,
}

/// Reads the frames of `bytes` from `start` on.
pub(crate) fn scan(path: &Path, bytes: &[u8], start: usize, end: End) -> Result<Scan, StorageError> {
    let (mut at, mut batch) = (start, start);
    let mut entries = Vec::new();
    let damaged = |at: usize, why: String| StorageError::Damaged { path: path.to_owned(), offset: at as u64, why };
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(frame) = read(rest) else {
            if end == End::IsWhole {
                return Err(damaged(at, "there is no whole frame, in a file that was finished".to_owned()));
            }
            if let Some(later) = later_batch(bytes, at) {
                return Err(damaged(at, format!("there is no whole frame, but a later one at byte {later}")));
            }
            break;
        };
        let entry: record::Entry = postcard::from_bytes(frame.content).map_err(|why| damaged(at, why.to_string()))?;
        entries.push((at as u64, entry.into_raft().map_err(|why| damaged(at, why.to_string()))?));
        // A sum that is right proves who wrote it: its own batch begins at or before it.
        batch = usize::try_from(frame.batch).map_or(at, |begins| begins.clamp(start, at));
        at += frame.bytes;
    }
    Ok(Scan { entries, batch, end: at })
}

/// Where a frame is that was written after everything up to and with byte `bad` had been synced.
fn later_batch(bytes: &[u8], bad: usize) -> Option<usize> {
    let marks = bytes.get(bad..)?.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let mut later = marks.map(|(offset, _)| bad + offset).filter(|at| {
        let frame = bytes.get(*at..).and_then(read);
        frame.is_some_and(|frame| frame.batch > bad as u64)
    });
    later.next()
}
