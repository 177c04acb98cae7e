//! Where a list goes on. A cursor names a place, not a count, so writes before or after it neither repeat nor skip rows.

use kernel::{PoolUid, RealmUid};

/// The last row that was shown: lists are ordered by pool, realm and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListCursor {
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub start: u128,
}

/// The text is not a cursor that a list gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCursor;

/// pool, realm, position, check byte.
const BYTES: usize = 4 + 4 + 16 + 1;

impl ListCursor {
    /// URL-safe text (hexadecimal).
    pub fn encode(self) -> String {
        use std::fmt::Write as _;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.pool.0.to_be_bytes());
        bytes.extend_from_slice(&self.realm.0.to_be_bytes());
        bytes.extend_from_slice(&self.start.to_be_bytes());
        bytes.push(check(&bytes));
        bytes.iter().fold(String::with_capacity(BYTES * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
    }

    /// Reads what [`ListCursor::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() != BYTES * 2 || !text.is_ascii() {
            return Err(InvalidCursor);
        }
        let mut bytes = [0_u8; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidCursor)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidCursor)?;
        }
        let (rest, sum) = bytes.split_at(BYTES - 1);
        if sum != [check(rest)] {
            return Err(InvalidCursor);
        }
        let number = |range: std::ops::Range<usize>| {
            rest.get(range).into_iter().flatten().fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
        };
        let small = |range| u32::try_from(number(range)).map_err(|_| InvalidCursor);
        Ok(Self { pool: PoolUid(small(0..4)?), realm: RealmUid(small(4..8)?), start: number(8..24) })
    }
}

/// Catches cursors that were cut or made up, so that they are an error and not another place of the list.
fn check(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0x5a, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}
