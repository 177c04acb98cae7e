//! The bytes of a row: a block of operations, cut into values that sled keeps in its own file. `FORMAT.md` has the table.

use std::collections::VecDeque;
use std::fmt;

use super::MAX_VALUE_BYTES;
use crate::error::Damage;
use crate::key::RowKey;
use crate::manifest::{Summary, TableId};

/// Checksum, count of operations, count of parts, number of the part.
const PART_HEADER_BYTES: usize = 12;
const MAX_PART_BYTES: usize = MAX_VALUE_BYTES - PART_HEADER_BYTES;

/// A whole row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) key: RowKey,
    pub(crate) block: Vec<u8>,
    pub(super) ops: u32,
    digest: u64,
    bytes: u64,
}

impl Row {
    /// Adds the row to a summary.
    pub(crate) fn count_into(&self, sum: &mut Summary) {
        sum.rows += 1;
        sum.ops += u64::from(self.ops);
        sum.digest = sum.digest.wrapping_add(self.digest);
        sum.bytes += self.bytes;
    }
}

/// A part as sled keeps it: key and value.
pub(super) type RawPart = (Vec<u8>, Vec<u8>);

/// Cuts a block into parts. `None`: it is too long for any row (about 500 MiB).
pub(super) fn parts(key: RowKey, block: &[u8], ops: u32) -> Option<(Vec<RawPart>, Row)> {
    let row_key = key.to_bytes();
    let count = u16::try_from(block.len().div_ceil(MAX_PART_BYTES)).ok()?;
    let mut row = Row { key, block: Vec::new(), ops, digest: 0, bytes: 0 };
    let mut parts = Vec::with_capacity(usize::from(count));
    for (number, chunk) in (0_u16..).zip(block.chunks(MAX_PART_BYTES)) {
        let mut part_key = row_key.clone();
        part_key.extend(number.to_be_bytes());
        let mut signed = Vec::with_capacity(chunk.len() + PART_HEADER_BYTES);
        signed.extend(ops.to_le_bytes());
        signed.extend(count.to_le_bytes());
        signed.extend(number.to_le_bytes());
        signed.extend_from_slice(chunk);
        let crc = checksum(&part_key, &signed);
        let mut value = Vec::with_capacity(signed.len() + 4);
        value.extend(crc.to_le_bytes());
        value.append(&mut signed);
        row.digest += u64::from(crc);
        row.bytes += (part_key.len() + value.len()) as u64;
        parts.push((part_key, value));
    }
    Some((parts, row))
}

fn checksum(key: &[u8], signed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(signed);
    hasher.finalize()
}

/// The row's key without the number of the part.
pub(super) fn without_part(key: &[u8]) -> &[u8] {
    key.get(..key.len().saturating_sub(2)).unwrap_or_default()
}

pub(super) fn damage(id: TableId, key: RowKey, why: &dyn fmt::Display) -> Damage {
    Damage { key: format!("{}: {key}", id.dir_name()), pool: key.pool(), why: why.to_string() }
}

/// Puts rows together from their parts, which come in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    waiting: Option<Partial>,
    ready: VecDeque<Outcome>,
}

/// A row that is complete, or what is wrong with it.
pub(super) type Outcome = Result<Row, Damage>;

/// A row of which some parts were read.
#[derive(Debug)]
struct Partial {
    row: Row,
    parts: u16,
    next: u16,
}

impl Assembler {
    /// The next complete or damaged row.
    pub(super) fn ready(&mut self) -> Option<Outcome> {
        self.ready.pop_front()
    }

    /// Takes the next part.
    pub(super) fn feed(&mut self, id: TableId, key: &[u8], value: &[u8]) {
        let parsed = key
            .split_last_chunk::<2>()
            .and_then(|(row_key, number)| RowKey::parse(row_key).map(|row_key| (row_key, u16::from_be_bytes(*number))));
        let Some((row_key, number)) = parsed else {
            let why = format!("no row has the key {key:02x?}");
            self.ready.push_back(Err(Damage { key: id.dir_name(), pool: None, why }));
            return;
        };
        let Some(part) = Part::parse(key, value).filter(|part| part.number == number) else {
            self.waiting = None;
            self.ready.push_back(Err(damage(id, row_key, &"its checksum does not fit")));
            return;
        };
        if number == 0 {
            self.end(id);
            let row = Row { key: row_key, block: Vec::new(), ops: part.ops, digest: 0, bytes: 0 };
            self.waiting = Some(Partial { row, parts: part.count, next: 0 });
        }
        // A later part with nothing waiting is the rest of a row whose damage was reported already.
        let Some(mut partial) = self.waiting.take() else { return };
        if partial.row.key != row_key || partial.next != number || partial.parts != part.count {
            self.waiting = Some(partial);
            self.end(id);
            return;
        }
        partial.row.block.extend_from_slice(part.chunk);
        partial.row.digest += u64::from(part.crc);
        partial.row.bytes += (key.len() + value.len()) as u64;
        partial.next += 1;
        if partial.next == partial.parts {
            self.ready.push_back(Ok(partial.row));
        } else {
            self.waiting = Some(partial);
        }
    }

    /// No part follows: a row that still waits for one is damaged.
    pub(super) fn end(&mut self, id: TableId) {
        if let Some(partial) = self.waiting.take() {
            let why = format!("it has {} of {} parts", partial.next, partial.parts);
            self.ready.push_back(Err(damage(id, partial.row.key, &why)));
        }
    }
}

#[derive(Debug)]
struct Part<'a> {
    crc: u32,
    ops: u32,
    count: u16,
    number: u16,
    chunk: &'a [u8],
}

impl<'a> Part<'a> {
    fn parse(key: &[u8], value: &'a [u8]) -> Option<Self> {
        let (crc, signed) = value.split_first_chunk::<4>()?;
        let crc = u32::from_le_bytes(*crc);
        let (ops, rest) = signed.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (number, chunk) = rest.split_first_chunk::<2>()?;
        (crc == checksum(key, signed)).then(|| Self {
            crc,
            ops: u32::from_le_bytes(*ops),
            count: u16::from_le_bytes(*count),
            number: u16::from_le_bytes(*number),
            chunk,
        })
    }
}
