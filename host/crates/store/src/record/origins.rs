//! Whose operations are in a block: each origin stands once in its head, and records name it by its place there.

use kernel::{Dot, Origin, Seq};

use super::primitives::{Bytes, RecordFault, put_delta, put_varint};

/// How many bytes an origin takes at least.
const LEAST_BYTES: usize = 10;

/// An origin and the number that others of it are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    origin: Origin,
    base: Seq,
}

/// The origins of a block under construction.
#[derive(Debug, Default)]
pub(super) struct OriginTable {
    listed: Vec<Listed>,
}

impl OriginTable {
    /// Writes the name of an operation, as its origin's place and the difference to the number that came first.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, dot: Dot) {
        // There are as many as hosts write at the same time: too few for an index.
        let known = self.listed.iter().position(|listed| listed.origin == dot.origin);
        let place = known.unwrap_or(self.listed.len());
        if known.is_none() {
            self.listed.push(Listed { origin: dot.origin, base: dot.seq });
        }
        let base = self.listed.get(place).map_or(dot.seq, |listed| listed.base);
        put_varint(out, place as u64);
        put_delta(out, dot.seq.0, base.0);
    }

    /// At most so many bytes are written by [`Self::write`].
    pub(super) fn bytes(&self) -> usize {
        self.listed.len() * 28
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.listed.len() as u64);
        for Listed { origin, base } in &self.listed {
            // Drawn at random, so a number of fewer bytes is rare.
            out.extend(origin.host.to_le_bytes());
            put_varint(out, origin.incarnation);
            put_varint(out, base.0);
        }
    }

    pub(super) fn clear(&mut self) {
        self.listed.clear();
    }
}

/// The origins of a block that is being read.
#[derive(Debug, Default)]
pub(super) struct Origins {
    listed: Vec<Listed>,
}

impl Origins {
    pub(super) fn read(bytes: &mut Bytes<'_>) -> Result<Self, RecordFault> {
        let count = bytes.varint()?;
        let mut listed = Vec::with_capacity(bytes.at_most(count, LEAST_BYTES));
        for _ in 0..count {
            let origin = Origin { host: bytes.word()?, incarnation: bytes.varint()? };
            listed.push(Listed { origin, base: Seq(bytes.varint()?) });
        }
        Ok(Self { listed })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Reads what [`OriginTable::put`] wrote.
    pub(super) fn dot(&self, bytes: &mut Bytes<'_>) -> Result<Dot, RecordFault> {
        let at = bytes.offset();
        let place = bytes.varint()?;
        let listed = usize::try_from(place).ok().and_then(|place| self.listed.get(place));
        let Listed { origin, base } =
            listed.ok_or_else(|| RecordFault::new(at, format!("origin {place} is not in the block's list")))?;
        Ok(Dot { origin: *origin, seq: Seq(bytes.delta(base.0)?) })
    }
}
