//! Going through a file frame by frame, a window at a time: a whole file in memory would stay there, since allocators give
//! large pieces back late.

use std::io;

use super::frame::{self, FILE_HEADER_BYTES, FrameAt};
use crate::medium::MediumFile;

const WINDOW_BYTES: u64 = 128 << 10;

/// What follows the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where the last frame ends.
    pub(super) at: u64,
    /// False: only zeros follow, or nothing.
    pub(super) begun: bool,
}

/// Calls `each` with every frame of a file and how many bytes before it are no frame.
///
/// The first error of `each` ends the walk; an error of the file does too, as the outer one.
pub(super) fn walk<E>(
    file: &dyn MediumFile,
    salt: u64,
    end: u64,
    mut each: impl FnMut(FrameAt<'_>, u64) -> Result<(), E>,
) -> io::Result<Result<Tail, E>> {
    let mut at = FILE_HEADER_BYTES;
    loop {
        let window = file.read_at(at, WINDOW_BYTES.min(end.saturating_sub(at)))?;
        let mut taken = 0;
        while let Some(frame) = frame::frame_at(&window, taken, salt) {
            taken = frame.end();
            if let Err(error) = each(frame.moved_by(at), 0) {
                return Ok(Err(error));
            }
        }
        if taken > 0 {
            at += taken as u64;
            continue;
        }
        // The end, a frame longer than the window, or damage. The last two are rare and may cost memory.
        if is_blank(file, at, end)? {
            return Ok(Ok(Tail { at, begun: false }));
        }
        let rest = file.read_at(at, end.saturating_sub(at))?;
        let Some(frame) = frame::next_frame(&rest, 0, salt) else { return Ok(Ok(Tail { at, begun: true })) };
        let skipped = frame.offset as u64;
        let after = at + frame.end() as u64;
        if let Err(error) = each(frame.moved_by(at), skipped) {
            return Ok(Err(error));
        }
        at = after;
    }
}

/// True if only zeros are left.
pub(super) fn is_blank(file: &dyn MediumFile, from: u64, end: u64) -> io::Result<bool> {
    let mut at = from;
    while at < end {
        let window = file.read_at(at, WINDOW_BYTES.min(end - at))?;
        if window.is_empty() {
            break;
        }
        if frame::is_begun(&window, 0) {
            return Ok(false);
        }
        at += window.len() as u64;
    }
    Ok(true)
}
