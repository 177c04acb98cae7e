//! The group log: where an operation must be before anybody hears of it.
//!
//! One commit group is one *frame*, so it is there whole or not at all. Frames stand in numbered files, each only ever
//! written from front to back and never again after it was full or the daemon ended. A file is made, filled with zeros
//! and synced ahead of use, so a group costs one write and one `fdatasync` that changes no metadata. Files go when a
//! synced checkpoint covers them.
//!
//! Invariant: a frame is written only after the one before it was synced. So a bad frame with a good one after it is
//! damage; a bad frame at the end is a group that nobody was told of.
//!
//! sled cannot be this log: between two syncs it reuses segments whose replacement is not yet on the disk, and a power
//! cut then takes what was synced long before. `FORMAT.md` has the experiment.

mod frame;
mod index;
mod scan;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::{Op, Seq};
use parking_lot::{Mutex, MutexGuard};

pub(crate) use frame::FrameAt;
use frame::{FILE_HEADER_BYTES, FRAME_BYTES, FileHeader, MAX_FRAME_BYTES};
pub(crate) use index::{Contents, FileIndex, Of, Place, number};
pub(crate) use scan::{Tidy, each_frame, each_frame_at, scan, scan_kept};

use crate::error::StoreError;
use crate::identity::FORMAT;
use crate::medium::{Medium, MediumFile};
use crate::record::BlockWriter;

const PREFIX: &str = "log-";

/// The place of a log file in the log; only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Ordinal(pub(crate) u64);

impl Ordinal {
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn file_name(self) -> String {
        format!("{PREFIX}{:012}", self.0)
    }

    /// The ordinal of a file with this name, if it is a log file's.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(PREFIX)?;
        (digits.len() == 12).then(|| digits.parse().ok().map(Self)).flatten()
    }
}

/// One file of the log.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) ordinal: Ordinal,
    file: Arc<dyn MediumFile>,
    header: FileHeader,
    /// How far its frames are synced; readers look no further.
    durable: AtomicU64,
    /// Whose operations are where in it; never ahead of what is synced.
    index: Mutex<FileIndex>,
}

impl LogFile {
    /// Makes a file of `bytes` zeros behind its header, synced, name and all.
    pub(crate) fn create(medium: &dyn Medium, ordinal: Ordinal, salt: u64, bytes: u64) -> Result<Self, StoreError> {
        let name = ordinal.file_name();
        let made = Self::create_parts(medium, &name, ordinal, salt, bytes);
        if made.is_err() {
            // Half a file would keep the space that is short; if it cannot be removed now, the next start does.
            drop(medium.remove(&name));
        }
        made
    }

    fn create_parts(
        medium: &dyn Medium,
        name: &str,
        ordinal: Ordinal,
        salt: u64,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let header = FileHeader { format: FORMAT, ordinal, salt };
        let file = medium.create(name).map_err(|error| StoreError::io("create", name, error))?;
        let write = |bytes: &[u8], at| file.write_at(bytes, at).map_err(|error| StoreError::io("write", name, error));
        write(&header.to_bytes(), 0)?;
        let mut at = FILE_HEADER_BYTES;
        while at < bytes {
            let len = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(ZEROS.len());
            write(ZEROS.get(..len).unwrap_or(&ZEROS), at)?;
            at += len as u64;
        }
        // Nothing is in it yet, so here a full disk is only that.
        file.sync().map_err(|error| StoreError::io("fill", name, error))?;
        medium.sync_dir().map_err(|error| StoreError::io("sync", "the data directory", error))?;
        Ok(Self { ordinal, file, header, durable: AtomicU64::new(FILE_HEADER_BYTES), index: Mutex::default() })
    }

    /// Bytes of header and synced frames.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Bytes of synced frames alone.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.durable_bytes().saturating_sub(FILE_HEADER_BYTES)
    }

    /// Whose operations are where in it.
    pub(crate) fn index(&self) -> MutexGuard<'_, FileIndex> {
        self.index.lock()
    }

    /// True if nothing was ever written behind the header.
    pub(crate) fn is_unused(&self) -> bool {
        self.frame_bytes() == 0
    }

    /// Gives back the space behind the last synced frame. The file must not be written again.
    pub(crate) fn cut(&self) -> Result<(), StoreError> {
        self.file.truncate(self.durable_bytes()).map_err(|error| self.failed("cut", error))
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> StoreError {
        StoreError::io(action, self.ordinal.file_name(), error)
    }
}

/// Writes groups at the end of the log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    next_seq: Seq,
    /// `None` until the first group: a file of an earlier life is never written again.
    file: Option<Arc<LogFile>>,
    block: BlockWriter,
    frame: Vec<u8>,
}

/// What happened to a group.
#[derive(Debug)]
pub(crate) enum Written {
    /// So many of its operations are on disk, at least one.
    Synced(usize),
    /// The file has no room for it (or there is none yet): bring another and write again.
    NeedsFile,
}

impl LogWriter {
    pub(crate) fn new(next_seq: Seq) -> Self {
        Self { next_seq, file: None, block: BlockWriter::default(), frame: Vec::new() }
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The file being written.
    pub(crate) fn file(&self) -> Option<&Arc<LogFile>> {
        self.file.as_ref()
    }

    /// Goes on in another file.
    pub(crate) fn set_file(&mut self, file: Option<Arc<LogFile>>) {
        self.file = file;
    }

    /// Writes and syncs one group, or as much of its beginning as goes into a frame of [`FRAME_BYTES`].
    ///
    /// # Panics
    /// If the operations do not continue the log: the kernel's sequence is broken, and writing it would lose data.
    pub(crate) fn write(&mut self, ops: &[Op], room_bytes: u64) -> Result<Written, StoreError> {
        for (expected, op) in (self.next_seq.0..).zip(ops) {
            assert_eq!(op.seq.0, expected, "the log's operations are gap-free");
        }
        // The checksum has the salt of the file, so a group that meets a full file is encoded again: rare.
        let Some(log) = &self.file else { return Ok(Written::NeedsFile) };
        for op in ops {
            self.block.push(op);
            if self.block.len() >= FRAME_BYTES {
                break;
            }
        }
        let count = self.block.count();
        self.frame.clear();
        frame::encode(&mut self.frame, &mut self.block, self.next_seq, log.header.salt);
        let frame_bytes = self.frame.len();
        if frame_bytes > MAX_FRAME_BYTES {
            return Err(StoreError::RecordTooLarge { found_bytes: frame_bytes, most_bytes: MAX_FRAME_BYTES });
        }
        let at = log.durable_bytes();
        let end = at + frame_bytes as u64;
        // A frame longer than a whole file has one of its own.
        if end > room_bytes && !log.is_unused() {
            return Ok(Written::NeedsFile);
        }
        log.file.write_at(&self.frame, at).map_err(|error| log.failed("write", error))?;
        log.file.sync().map_err(|error| log.failed("sync", error))?;
        let synced = usize::try_from(count).unwrap_or(usize::MAX);
        let last_seq = Seq(self.next_seq.0 + count - 1);
        log.index().note(at, end, last_seq, Contents::of_ops(ops.get(..synced).unwrap_or(ops)));
        log.durable.store(end, Ordering::Release);
        self.next_seq = Seq(last_seq.0 + 1);
        Ok(Written::Synced(synced))
    }
}
