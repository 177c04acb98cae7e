//! Numbers, texts and spans as bytes. Reading keeps the offset, so that a fault can say where it is.

use kernel::{InvalidId, Series, Span};

/// Why bytes are not a record: where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {why}")]
pub(crate) struct RecordFault {
    offset: usize,
    why: String,
}

impl RecordFault {
    pub(crate) fn new(offset: usize, why: impl Into<String>) -> Self {
        Self { offset, why: why.into() }
    }

    pub(crate) fn id(offset: usize, why: &InvalidId) -> Self {
        Self::new(offset, why.to_string())
    }
}

/// Seven bits a byte, lowest first, the top bit set on all but the last.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A number near another: the difference, small in either direction. Every value survives, however far.
pub(crate) fn put_delta(out: &mut Vec<u8>, value: u64, base: u64) {
    let difference = value.wrapping_sub(base).cast_signed();
    put_varint(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

/// A position or length: the low nibble of the first byte is the count of significant bytes less one, the high nibble
/// how many zero bytes stand below them. IPv6 prefixes end in many zeros, IPv4 addresses begin with them.
pub(crate) fn put_u128(out: &mut Vec<u8>, value: u128) {
    let below = if value == 0 { 0 } else { value.trailing_zeros() / 8 };
    let kept = value >> (below * 8);
    let width = (128 - kept.leading_zeros()).div_ceil(8).max(1);
    out.push(low_byte((below << 4) | (width - 1)));
    out.extend(kept.to_le_bytes().into_iter().take(width as usize));
}

/// The number, which is known to fit.
fn low_byte(number: u32) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

pub(crate) fn put_span(out: &mut Vec<u8>, span: Span) {
    put_u128(out, span.start());
    if span.len().is_power_of_two() {
        out.push(low_byte(span.len().trailing_zeros()));
    } else {
        out.push(OTHER_LENGTH);
        put_u128(out, span.len());
    }
}

/// Stands where the exponent of a length that is no power of two would be.
const OTHER_LENGTH: u8 = 128;

pub(crate) fn put_series(out: &mut Vec<u8>, series: Series) {
    put_span(out, series.first());
    put_u128(out, series.stride());
    put_varint(out, series.count());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Bytes still to be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self { rest: raw, offset: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// How many of `wished` items of at least `least_bytes` each can still follow: a bound for reserving memory.
    pub(crate) fn at_most(&self, wished: u64, least_bytes: usize) -> usize {
        usize::try_from(wished).unwrap_or(usize::MAX).min(self.rest.len() / least_bytes)
    }

    fn fault<T>(&self, why: &str) -> Result<T, RecordFault> {
        Err(RecordFault::new(self.offset, why))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RecordFault> {
        let Some((first, rest)) = self.rest.split_first() else { return self.fault("ends too early") };
        self.rest = rest;
        self.offset += 1;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordFault> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else { return self.fault("ends too early") };
        self.rest = rest;
        self.offset += len;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, RecordFault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return self.fault("the number has more than 64 bits");
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.fault("the number has more than 64 bits")
    }

    /// A number of 64 bits, all of them written.
    pub(crate) fn word(&mut self) -> Result<u64, RecordFault> {
        let taken = self.take(size_of::<u64>())?;
        let mut word = [0_u8; 8];
        for (to, from) in word.iter_mut().zip(taken) {
            *to = *from;
        }
        Ok(u64::from_le_bytes(word))
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, RecordFault> {
        let value = self.varint()?;
        u32::try_from(value).or_else(|_| self.fault("the number has more than 32 bits"))
    }

    pub(crate) fn delta(&mut self, base: u64) -> Result<u64, RecordFault> {
        let coded = self.varint()?;
        let difference = (coded >> 1) ^ (coded & 1).wrapping_neg();
        Ok(base.wrapping_add(difference))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, RecordFault> {
        let head = self.byte()?;
        let below = u32::from(head >> 4) * 8;
        let width = usize::from(head & 0x0f) + 1;
        let taken = self.take(width)?;
        let mut wide = [0_u8; 16];
        for (to, from) in wide.iter_mut().zip(taken) {
            *to = *from;
        }
        let kept = u128::from_le_bytes(wide);
        if kept.leading_zeros() < below {
            return self.fault("the number has more than 128 bits");
        }
        Ok(kept << below)
    }

    pub(crate) fn span(&mut self) -> Result<Span, RecordFault> {
        let start = self.u128()?;
        let len = match self.byte()? {
            exponent @ 0..OTHER_LENGTH => 1 << exponent,
            OTHER_LENGTH => self.u128()?,
            _ => return self.fault("the span's length is not understood"),
        };
        Span::new(start, len).map_or_else(|| self.fault("the span is empty or ends past the line"), Ok)
    }

    pub(crate) fn series(&mut self) -> Result<Series, RecordFault> {
        let first = self.span()?;
        let stride = self.u128()?;
        let count = self.varint()?;
        Series::new(first, stride, count).map_or_else(|| self.fault("the series is impossible"), Ok)
    }

    fn run(&mut self) -> Result<&'a [u8], RecordFault> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(len) => self.take(len),
            Err(_) => self.fault("ends too early"),
        }
    }

    /// A run of bytes with its length before it, to be read by itself.
    pub(crate) fn sub(&mut self) -> Result<Self, RecordFault> {
        let rest = self.run()?;
        Ok(Self { rest, offset: self.offset - rest.len() })
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, RecordFault> {
        let raw = self.run()?;
        std::str::from_utf8(raw).or_else(|_| self.fault("the text is not UTF-8"))
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), RecordFault> {
        if self.rest.is_empty() { Ok(()) } else { self.fault("more bytes than the record has") }
    }
}
