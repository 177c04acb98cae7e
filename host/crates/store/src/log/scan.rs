//! Reading the log: at start to find its end and what is damaged, later to see its operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Seq;
use parking_lot::Mutex;

use super::frame::{self, FILE_HEADER_BYTES, FileHeader, FrameAt};
use super::walk::{Tail, is_blank, walk};
use super::{FileIndex, LogFile, Ordinal, Place};
use crate::error::{Damage, StoreError};
use crate::medium::Medium;

/// What a start finds in the log.
#[derive(Debug)]
pub(crate) struct LogScan {
    /// The files with frames, in order, none of which will be written again.
    pub(crate) files: Vec<Arc<LogFile>>,
    /// 0: any may come first.
    pub(crate) next_seq: Seq,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) damage: Vec<Damage>,
    /// Bytes of a last group that was not synced when the daemon or the power went; nobody was told of it.
    pub(crate) torn_bytes: u64,
    /// Files whose making was cut short before they could be used.
    unmade: Vec<String>,
}

/// Whether a scan may change the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tidy {
    /// Files nothing was written to are removed, a torn group is cut off.
    Yes,
    /// Only look.
    No,
}

impl LogScan {
    fn begin(next_ordinal: Ordinal, next_seq: Seq) -> Self {
        let (files, damage, unmade) = (Vec::new(), Vec::new(), Vec::new());
        Self { files, next_seq, next_ordinal, damage, torn_bytes: 0, unmade }
    }
}

/// The log files there are, in order.
fn listed(medium: &dyn Medium) -> Result<impl Iterator<Item = (Ordinal, String)>, StoreError> {
    let names = medium.list().map_err(|error| StoreError::io("list", "the data directory", error))?;
    Ok(names.into_iter().filter_map(|name| Ordinal::of(&name).map(|ordinal| (ordinal, name))))
}

/// Reads every file from `first` on. `covered` is the last operation that a checkpoint has.
pub(crate) fn scan(medium: &dyn Medium, first: Ordinal, covered: Seq, tidy: Tidy) -> Result<LogScan, StoreError> {
    let mut found = LogScan::begin(first, Seq(covered.0 + 1));
    let mut torn: Option<Torn> = None;
    for (ordinal, name) in listed(medium)?.filter(|(ordinal, _)| *ordinal >= first) {
        found.next_ordinal = found.next_ordinal.max(ordinal.next());
        read_file(medium, ordinal, &name, &mut found, &mut torn)?;
    }
    if let Some(torn) = torn {
        found.torn_bytes = torn.bytes;
    }
    // Whoever repairs damage should find everything that was there.
    if tidy == Tidy::Yes && found.damage.is_empty() {
        cut_tails(medium, &mut found)?;
    }
    Ok(found)
}

/// Reads the files that a checkpoint covers and that are kept for other hosts. `None`: they are not all there, or not
/// whole. Nothing is lost then that this host needs.
pub(crate) fn scan_kept(
    medium: &dyn Medium,
    kept: Ordinal,
    first: Ordinal,
    covered: Seq,
) -> Result<Option<Vec<Arc<LogFile>>>, StoreError> {
    if kept >= first {
        return Ok(Some(Vec::new()));
    }
    let mut found = LogScan::begin(kept, Seq(0));
    let mut torn: Option<Torn> = None;
    for (ordinal, name) in listed(medium)?.filter(|(ordinal, _)| (kept..first).contains(ordinal)) {
        read_file(medium, ordinal, &name, &mut found, &mut torn)?;
    }
    let whole = found.damage.is_empty()
        && torn.is_none()
        && found.unmade.is_empty()
        && found.next_seq == Seq(covered.0 + 1)
        && found.files.first().is_some_and(|log| log.ordinal == kept)
        && found.files.iter().all(|log| log.index().fault.is_none());
    Ok(whole.then_some(found.files))
}

/// A bad end of a file; damage if anything good comes after it.
#[derive(Debug)]
struct Torn {
    key: String,
    bytes: u64,
}

fn read_file(
    medium: &dyn Medium,
    ordinal: Ordinal,
    name: &str,
    found: &mut LogScan,
    torn: &mut Option<Torn>,
) -> Result<(), StoreError> {
    let file = medium.open(name).map_err(|error| StoreError::io("open", name, error))?;
    let failed = |error| StoreError::io("read", name, error);
    let len = file.len().map_err(failed)?;
    let raw = file.read_at(0, FILE_HEADER_BYTES).map_err(failed)?;
    let header = match FileHeader::parse(&raw, ordinal) {
        Some(header) => header,
        // The header is synced before the first frame: without one the file was never in use, or it is damaged.
        None if is_blank(&*file, FILE_HEADER_BYTES, len).map_err(failed)? => {
            if frame::is_begun(&raw, 0) {
                settle(torn, found);
                *torn = Some(Torn { key: format!("{name} header"), bytes: len });
            }
            found.unmade.push(name.to_owned());
            return Ok(());
        }
        None => {
            settle(torn, found);
            found
                .damage
                .push(damage(format!("{name} header"), "is no header of this file, but groups follow it".into()));
            FileHeader::salvaged(&raw, ordinal)
        }
    };
    let mut index = FileIndex::default();
    let walked = walk(&*file, header.salt, len, |frame, skipped| {
        follow(name, frame, skipped, found, torn);
        index.note_frame(&frame);
        Ok::<(), StoreError>(())
    });
    let Tail { at, begun } = walked.map_err(failed)??;
    if begun {
        settle(torn, found);
        *torn = Some(Torn { key: format!("{name} byte {at}"), bytes: len - at });
    }
    found.files.push(Arc::new(LogFile {
        ordinal,
        file,
        header,
        durable: AtomicU64::new(at),
        index: Mutex::new(index),
    }));
    Ok(())
}

/// Takes the next good frame and notes what is wrong between the last one and this.
fn follow(name: &str, frame: FrameAt<'_>, skipped: u64, found: &mut LogScan, torn: &mut Option<Torn>) {
    let mut explained = settle(torn, found);
    let offset = frame.offset as u64;
    if skipped > 0 {
        explained = true;
        let place = format!("{name} byte {}", offset - skipped);
        found.damage.push(damage(place, format!("{skipped} bytes are no frame")));
    }
    if !explained && found.next_seq.0 > 0 && frame.first_seq != found.next_seq {
        let why = format!("begins with operation {} where {} is due", frame.first_seq, found.next_seq);
        found.damage.push(damage(format!("{name} byte {offset}"), why));
    }
    found.next_seq = found.next_seq.max(frame.next_seq());
}

/// Something good was found after a bad end, so that end was not simply the last unsynced group. True if there was one.
fn settle(torn: &mut Option<Torn>, found: &mut LogScan) -> bool {
    let Some(Torn { key, bytes }) = torn.take() else { return false };
    found.damage.push(damage(key, format!("up to {bytes} bytes are no frame, but the log goes on after them")));
    true
}

fn damage(key: String, why: String) -> Damage {
    Damage { key, pool: None, why }
}

/// Gives back the space of what follows the last frame of each file, and removes files without frames.
fn cut_tails(medium: &dyn Medium, found: &mut LogScan) -> Result<(), StoreError> {
    let (used, unused): (Vec<_>, Vec<_>) = found.files.drain(..).partition(|log| !log.is_unused());
    for name in unused.iter().map(|log| log.ordinal.file_name()).chain(found.unmade.drain(..)) {
        medium.remove(&name).map_err(|error| StoreError::io("remove", &name, error))?;
    }
    for log in &used {
        let durable = log.durable_bytes();
        if log.file.len().map_err(|error| log.failed("read", error))? > durable {
            log.file.truncate(durable).map_err(|error| log.failed("cut", error))?;
        }
    }
    found.files = used;
    // Before anything new is written: a torn end with good frames after it would be damage to the next start.
    medium.sync_dir().map_err(|error| StoreError::io("sync", "the data directory", error))
}

/// Calls `each` with every frame of these files, in order, as far as they are synced. Damaged stretches are skipped.
pub(crate) fn each_frame<E: From<StoreError>>(
    files: &[Arc<LogFile>],
    mut each: impl FnMut(&LogFile, FrameAt<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for log in files {
        let durable = log.durable.load(Ordering::Acquire);
        walk(&*log.file, log.header.salt, durable, |frame, _| each(log, frame))
            .map_err(|error| log.failed("read", error))??;
    }
    Ok(())
}

/// Calls `each` with every frame of a place that the file's index named.
pub(crate) fn each_frame_at<E: From<StoreError>>(
    log: &LogFile,
    place: Place,
    mut each: impl FnMut(FrameAt<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let raw = log.file.read_at(place.from, place.until - place.from).map_err(|error| log.failed("read", error))?;
    let mut at = 0;
    while place.from + (at as u64) < place.until {
        let Some(frame) = frame::frame_at(&raw, at, log.header.salt) else {
            let key = format!("{} byte {}", log.ordinal.file_name(), place.from + at as u64);
            return Err(StoreError::corrupt(key, "what was a frame is none any more").into());
        };
        at = frame.end();
        each(frame.moved_by(place.from))?;
    }
    Ok(())
}
