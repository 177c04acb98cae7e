//! The compact form of operations, on disk and wherever they are counted in bytes.
//!
//! A *block* is a run of operations that can be read by itself: sequence numbers and times are kept as differences from
//! its first operation, and each node id and each other origin is written once. Every record in it begins with its
//! length, kind, whose operation it is (if another host's) and (for facts about a span) its key, so a reader that looks
//! for few of them skips the rest without decoding. `FORMAT.md` has the
//! bytes. There is no checksum here: log frames and table rows add theirs.
//!
//! Whatever the bytes, decoding ends in operations or in a [`RecordFault`], never in a panic.

mod facts;
mod note;
mod origins;
mod pool;
mod primitives;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use kernel::{Dot, Fact, NodeId, Op, PoolUid, RealmUid, Seq, SpanKey};

use origins::{OriginTable, Origins};
pub(crate) use primitives::RecordFault;
use primitives::{Bytes, put_bytes, put_delta, put_span, put_varint};

/// The first byte of every block that is written. A block of a later form would begin with another.
const BLOCK_FORM: u8 = 2;
/// The form that knew no other origins, of directories of format 1.
const OWN_FORM: u8 = 1;

/// Set in the kind's byte of a record that another origin wrote; its name follows.
const FROM: u8 = 0x80;

/// Which fact a record holds; the number is the byte on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pool = 1,
    PoolDeleted = 2,
    Realm = 3,
    Held = 4,
    Resting = 5,
    Free = 6,
    Reserved = 7,
    Unreserved = 8,
    Clock = 9,
    Heard = 10,
    RestsOn = 11,
    Adopted = 12,
    Noted = 13,
    Unnoted = 14,
    Conflict = 15,
    ConflictClosed = 16,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Pool,
        Self::PoolDeleted,
        Self::Realm,
        Self::Held,
        Self::Resting,
        Self::Free,
        Self::Reserved,
        Self::Unreserved,
        Self::Clock,
        Self::Heard,
        Self::RestsOn,
        Self::Adopted,
        Self::Noted,
        Self::Unnoted,
        Self::Conflict,
        Self::ConflictClosed,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::PoolDeleted => "pool deleted",
            Self::Realm => "realm",
            Self::Held => "held",
            Self::Resting => "resting",
            Self::Free => "free",
            Self::Reserved => "reserved",
            Self::Unreserved => "unreserved",
            Self::Clock => "clock",
            Self::Heard => "heard",
            Self::RestsOn => "rests on",
            Self::Adopted => "adopted",
            Self::Noted => "noted",
            Self::Unnoted => "unnoted",
            Self::Conflict => "conflict",
            Self::ConflictClosed => "conflict closed",
        }
    }

    pub(crate) fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Pool(_) => Self::Pool,
            Fact::PoolDeleted(_) => Self::PoolDeleted,
            Fact::Realm(_) => Self::Realm,
            Fact::Held(_) => Self::Held,
            Fact::Resting(_) => Self::Resting,
            Fact::Free(_) => Self::Free,
            Fact::Reserved(_) => Self::Reserved,
            Fact::Unreserved { .. } => Self::Unreserved,
            Fact::Clock => Self::Clock,
            Fact::Heard { .. } => Self::Heard,
            Fact::RestsOn(_) => Self::RestsOn,
            Fact::Adopted(_) => Self::Adopted,
            Fact::Noted(_) => Self::Noted,
            Fact::Unnoted(_) => Self::Unnoted,
            Fact::Conflict(_) => Self::Conflict,
            Fact::ConflictClosed(_) => Self::ConflictClosed,
        }
    }
}

/// The span a fact is about, if it is about one.
pub(crate) fn span_key(fact: &Fact) -> Option<SpanKey> {
    match fact {
        Fact::Held(held) => Some(SpanKey { pool: held.pool, realm: held.realm, span: held.span }),
        Fact::Resting(rest) => Some(SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span }),
        Fact::Reserved(kept) => Some(kept.key()),
        Fact::Free(key) | Fact::Unreserved { key, .. } => Some(*key),
        Fact::Pool(_)
        | Fact::PoolDeleted(_)
        | Fact::Realm(_)
        | Fact::Clock
        | Fact::Heard { .. }
        | Fact::RestsOn(_)
        | Fact::Adopted(_)
        | Fact::Noted(_)
        | Fact::Unnoted(_)
        | Fact::Conflict(_)
        | Fact::ConflictClosed(_) => None,
    }
}

fn put_key(out: &mut Vec<u8>, key: SpanKey) {
    put_varint(out, u64::from(key.pool.0));
    put_varint(out, u64::from(key.realm.0));
    put_span(out, key.span);
}

fn read_key(bytes: &mut Bytes<'_>) -> Result<SpanKey, RecordFault> {
    let (pool, realm) = (PoolUid(bytes.varint_u32()?), RealmUid(bytes.varint_u32()?));
    Ok(SpanKey { pool, realm, span: bytes.span()? })
}

/// Node ids by their text, so that a million records share a thousand of them.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    nodes: HashMap<Box<str>, Arc<NodeId>>,
}

impl Interner {
    fn intern(&mut self, raw: &str, at: usize) -> Result<Arc<NodeId>, RecordFault> {
        if let Some(known) = self.nodes.get(raw) {
            return Ok(Arc::clone(known));
        }
        let node: Arc<NodeId> = Arc::new(raw.parse().map_err(|why| RecordFault::id(at, &why))?);
        self.nodes.insert(raw.into(), Arc::clone(&node));
        Ok(node)
    }
}

/// Builds blocks, one after another, reusing its memory.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    records: Vec<u8>,
    one: Vec<u8>,
    nodes: NodeTable,
    nodes_bytes: usize,
    origins: OriginTable,
    base: Option<Base>,
    count: u64,
}

/// What differences in a block are counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Base {
    seq: u64,
    stamp_ms: u64,
}

/// The node ids of a block under construction.
#[derive(Debug, Default)]
struct NodeTable {
    listed: Vec<Arc<NodeId>>,
    index: HashMap<Arc<NodeId>, u64>,
}

impl NodeTable {
    /// What stands for the node in a record: 0 for none, else its place from 1.
    fn reference(&mut self, node: Option<&Arc<NodeId>>) -> u64 {
        let Some(node) = node else { return 0 };
        if let Some(known) = self.index.get(node) {
            return *known;
        }
        self.listed.push(Arc::clone(node));
        let place = self.listed.len() as u64;
        self.index.insert(Arc::clone(node), place);
        place
    }
}

impl BlockWriter {
    /// Adds one operation.
    pub(crate) fn push(&mut self, op: &Op) {
        let base = *self.base.get_or_insert(Base { seq: op.seq.0, stamp_ms: op.stamp_ms });
        let listed_before = self.nodes.listed.len();
        self.one.clear();
        let kind = Kind::of(&op.fact) as u8;
        if let Some(dot) = op.from {
            self.one.push(kind | FROM);
            self.origins.put(&mut self.one, dot);
        } else {
            self.one.push(kind);
        }
        if let Some(key) = span_key(&op.fact) {
            put_key(&mut self.one, key);
        }
        put_delta(&mut self.one, op.seq.0, base.seq);
        put_delta(&mut self.one, op.stamp_ms, base.stamp_ms);
        facts::put_fact(&mut self.one, op, &mut self.nodes, &mut self.origins);
        put_bytes(&mut self.records, &self.one);
        self.count += 1;
        self.nodes_bytes +=
            self.nodes.listed.iter().skip(listed_before).map(|node| node.as_str().len() + 2).sum::<usize>();
    }

    /// About how long the block is so far.
    pub(crate) fn len(&self) -> usize {
        self.records.len() + self.nodes_bytes + self.origins.bytes() + 32
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Appends the block to `out` and begins anew.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let base = self.base.take().unwrap_or_default();
        out.reserve(self.len());
        out.push(BLOCK_FORM);
        put_varint(out, self.count);
        put_varint(out, base.seq);
        put_varint(out, base.stamp_ms);
        put_varint(out, self.nodes.listed.len() as u64);
        for node in &self.nodes.listed {
            put_bytes(out, node.as_str().as_bytes());
        }
        self.origins.write(out);
        out.extend_from_slice(&self.records);
        self.records.clear();
        self.nodes.listed.clear();
        self.nodes.index.clear();
        self.origins.clear();
        self.nodes_bytes = 0;
        self.count = 0;
    }
}

/// A block that is being read.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    base: Base,
    count: u64,
    nodes: Vec<&'a str>,
    form: u8,
    origins: Origins,
    records: Bytes<'a>,
}

/// One record of a block: what it is about is known, the rest not yet read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    /// Who wrote it, if not this host.
    pub(crate) from: Option<Dot>,
    /// Set exactly for the kinds that are about a span.
    pub(crate) key: Option<SpanKey>,
    /// How many bytes it takes.
    pub(crate) size: usize,
    rest: Bytes<'a>,
}

impl<'a> Block<'a> {
    pub(crate) fn parse(raw: &'a [u8]) -> Result<Self, RecordFault> {
        let mut bytes = Bytes::new(raw);
        let form = bytes.byte()?;
        if !(OWN_FORM..=BLOCK_FORM).contains(&form) {
            let why = format!("block form {form} is unknown, known are {OWN_FORM} and {BLOCK_FORM}");
            return Err(RecordFault::new(0, why));
        }
        let count = bytes.varint()?;
        let base = Base { seq: bytes.varint()?, stamp_ms: bytes.varint()? };
        let listed = bytes.varint()?;
        // Every listed id takes at least two bytes, so a wrong count cannot ask for much memory.
        let mut nodes = Vec::with_capacity(bytes.at_most(listed, 2));
        for _ in 0..listed {
            nodes.push(bytes.text()?);
        }
        let origins = if form == OWN_FORM { Origins::default() } else { Origins::read(&mut bytes)? };
        Ok(Self { base, count, nodes, form, origins, records: bytes })
    }

    /// True if it has only this host's own operations, none of which says how far another was heard.
    pub(crate) fn is_own(&self) -> bool {
        self.origins.is_empty()
    }

    /// The records, in the order they were written.
    pub(crate) fn records(&self) -> Records<'_, 'a> {
        Records { block: self, rest: self.records, left: self.count }
    }

    /// Decodes one of this block's records.
    pub(crate) fn decode(&self, record: &Record<'a>, interner: &mut Interner) -> Result<Op, RecordFault> {
        let mut bytes = record.rest;
        let seq = Seq(bytes.delta(self.base.seq)?);
        let stamp_ms = bytes.delta(self.base.stamp_ms)?;
        let mut context =
            facts::Context { seq, stamp_ms, from: record.from, nodes: &self.nodes, origins: &self.origins, interner };
        let fact = facts::read_fact(&mut bytes, record.kind, record.key, &mut context)?;
        bytes.end()?;
        Ok(Op { seq, stamp_ms, from: record.from, fact })
    }

    /// The time an operation was stamped with, without decoding it.
    pub(crate) fn stamp_ms(&self, record: &Record<'a>) -> Result<u64, RecordFault> {
        let mut bytes = record.rest;
        bytes.delta(self.base.seq)?;
        bytes.delta(self.base.stamp_ms)
    }

    /// An operation's place in this host's log, without decoding it.
    pub(crate) fn seq(&self, record: &Record<'a>) -> Result<Seq, RecordFault> {
        let mut bytes = record.rest;
        bytes.delta(self.base.seq).map(Seq)
    }

    /// Decodes everything.
    pub(crate) fn decode_all(&self, interner: &mut Interner, mut each: impl FnMut(Op)) -> Result<(), RecordFault> {
        for record in self.records() {
            each(self.decode(&record?, interner)?);
        }
        Ok(())
    }
}

/// Iterates a block's records.
#[derive(Debug)]
pub(crate) struct Records<'b, 'a> {
    block: &'b Block<'a>,
    rest: Bytes<'a>,
    left: u64,
}

impl<'a> Records<'_, 'a> {
    fn read(&mut self) -> Result<Record<'a>, RecordFault> {
        let mut bytes = self.rest.sub()?;
        let size = bytes.left();
        let at = bytes.offset();
        let byte = bytes.byte()?;
        // The older form has neither the mark nor the kind.
        let (plain, marked) =
            if self.block.form == OWN_FORM { (byte, false) } else { (byte & !FROM, byte & FROM != 0) };
        // The kinds from `Heard` on came with the second form.
        let kind = Kind::from_byte(plain).filter(|kind| self.block.form != OWN_FORM || *kind < Kind::Heard);
        let kind = kind.ok_or_else(|| RecordFault::new(at, format!("record kind {plain} is unknown")))?;
        let from = if marked { Some(self.block.origins.dot(&mut bytes)?) } else { None };
        let key = match kind {
            Kind::Held | Kind::Resting | Kind::Free | Kind::Reserved | Kind::Unreserved => Some(read_key(&mut bytes)?),
            Kind::Pool
            | Kind::PoolDeleted
            | Kind::Realm
            | Kind::Clock
            | Kind::Heard
            | Kind::RestsOn
            | Kind::Adopted
            | Kind::Noted
            | Kind::Unnoted
            | Kind::Conflict
            | Kind::ConflictClosed => None,
        };
        Ok(Record { kind, from, key, size, rest: bytes })
    }
}

impl<'a> Iterator for Records<'_, 'a> {
    type Item = Result<Record<'a>, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let end = self.rest.end();
            self.rest = Bytes::default();
            return end.err().map(Err);
        }
        self.left -= 1;
        let read = self.read();
        if read.is_err() {
            // One report is enough: what follows a broken length means nothing.
            self.left = 0;
            self.rest = Bytes::default();
        }
        Some(read)
    }
}
