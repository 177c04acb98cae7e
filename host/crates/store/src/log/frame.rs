//! The bytes of log files and frames. `FORMAT.md` has the table.

use kernel::Seq;

use super::Ordinal;
use crate::identity::FORMAT;
use crate::record::BlockWriter;

pub(crate) const FILE_HEADER_BYTES: u64 = 64;
const FILE_MAGIC: [u8; 8] = *b"NEXUSLOG";
const FRAME_MAGIC: [u8; 4] = *b"NxFr";
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// A frame that has so much is full: the group goes on in another. A group of a thousand operations takes about 100 KiB.
pub(crate) const FRAME_BYTES: usize = 16 << 20;
/// No frame is longer. A pool's record may be some MiB, so that the last one never gets there.
pub(crate) const MAX_FRAME_BYTES: usize = 64 << 20;

/// What a log file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// The format of the daemon that made the file; its blocks are of that format or an earlier one.
    pub(super) format: u32,
    pub(super) ordinal: Ordinal,
    /// Mixed into every frame's checksum, so bytes that a client chose (metadata) cannot pass for a frame.
    pub(super) salt: u64,
}

impl FileHeader {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&FILE_MAGIC);
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&self.ordinal.0.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(64, 0);
        bytes
    }

    /// Of a header that is damaged: if the salt is not, the frames show it.
    pub(super) fn salvaged(raw: &[u8], ordinal: Ordinal) -> Self {
        let salt = raw.get(20..28).and_then(|salt| salt.first_chunk()).map_or(0, |salt| u64::from_le_bytes(*salt));
        Self { format: FORMAT, ordinal, salt }
    }

    /// `None`: these bytes are not the header of this file.
    pub(super) fn parse(raw: &[u8], ordinal: Ordinal) -> Option<Self> {
        let (signed, rest) = raw.split_at_checked(28)?;
        let crc = u32::from_le_bytes(*rest.first_chunk()?);
        let format = u32::from_le_bytes(*signed.get(FILE_MAGIC.len()..)?.first_chunk()?);
        let salt = u64::from_le_bytes(*signed.last_chunk()?);
        let header = Self { format, ordinal, salt };
        let known = (1..=FORMAT).contains(&format);
        (known && crc == crc32fast::hash(signed) && raw.starts_with(header.to_bytes().get(..28)?)).then_some(header)
    }
}

/// A whole frame that was found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameAt<'a> {
    pub(crate) offset: usize,
    pub(crate) first_seq: Seq,
    pub(crate) count: u32,
    pub(crate) block: &'a [u8],
}

impl FrameAt<'_> {
    /// The same frame, found so many bytes further on.
    pub(super) fn moved_by(self, bytes: u64) -> Self {
        Self { offset: self.offset.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)), ..self }
    }

    pub(super) fn end(&self) -> usize {
        self.offset + FRAME_HEADER_BYTES + self.block.len()
    }

    /// The sequence number after its last operation.
    pub(crate) fn next_seq(&self) -> Seq {
        Seq(self.first_seq.0.saturating_add(u64::from(self.count)))
    }
}

fn checksum(salt: u64, len: [u8; 4], seq: [u8; 8], count: [u8; 4], block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&len);
    hasher.update(&seq);
    hasher.update(&count);
    hasher.update(block);
    hasher.finalize()
}

/// Makes a frame of the block's operations in an empty `out`.
pub(super) fn encode(out: &mut Vec<u8>, block: &mut BlockWriter, first_seq: Seq, salt: u64) {
    let count = u32::try_from(block.count()).unwrap_or(u32::MAX).to_le_bytes();
    out.resize(FRAME_HEADER_BYTES, 0);
    block.finish(out);
    let Some((header, body)) = out.split_first_chunk_mut::<FRAME_HEADER_BYTES>() else { return };
    // A block too long for its length field is refused by its size before it is written.
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let seq = first_seq.0.to_le_bytes();
    let crc = checksum(salt, len, seq, count, body).to_le_bytes();
    let fields = FRAME_MAGIC.into_iter().chain(len).chain(seq).chain(count).chain(crc);
    for (to, from) in header.iter_mut().zip(fields) {
        *to = from;
    }
}

/// The frame that begins at `offset`, if there is a whole and correct one.
pub(super) fn frame_at(raw: &[u8], offset: usize, salt: u64) -> Option<FrameAt<'_>> {
    let rest = raw.get(offset..)?.strip_prefix(&FRAME_MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let block = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (checksum(salt, *len, *seq, *count, block) == u32::from_le_bytes(*crc)).then(|| FrameAt {
        offset,
        first_seq: Seq(u64::from_le_bytes(*seq)),
        count: u32::from_le_bytes(*count),
        block,
    })
}

/// The first whole frame at or after `offset`: what a reader goes on with behind damage.
pub(super) fn next_frame(raw: &[u8], offset: usize, salt: u64) -> Option<FrameAt<'_>> {
    let mut at = offset;
    loop {
        let found = raw.get(at..)?.windows(FRAME_MAGIC.len()).position(|window| window == FRAME_MAGIC)?;
        at += found;
        if let Some(frame) = frame_at(raw, at, salt) {
            return Some(frame);
        }
        at += 1;
    }
}

/// True if a frame was begun at `offset`: an unused tail is all zeros.
pub(super) fn is_begun(raw: &[u8], offset: usize) -> bool {
    raw.get(offset..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0))
}
