//! Allocations, what became of them, reservations, realms. Pools are in `pool`, notes in `note`.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use compact_str::CompactString;
use kernel::{
    Allocation, AllocationExtra, AllocationKind, AllocationParts, Conflict, Dot, EndCause, Epoch, Fact, InvalidId,
    Made, NodeId, Op, PoolUid, RealmRecord, RealmUid, Reservation, Resting, Seq, ShardId, SpanKey, Superseded,
};

use super::origins::{OriginTable, Origins};
use super::primitives::{Bytes, RecordFault, put_delta, put_span, put_text, put_varint};
use super::{Interner, Kind, NodeTable, note, pool, put_key, read_key};

/// What a record's fields are relative to.
pub(super) struct Context<'a> {
    pub(super) seq: Seq,
    pub(super) stamp_ms: u64,
    /// Who wrote it, if not this host.
    pub(super) from: Option<Dot>,
    pub(super) nodes: &'a [&'a str],
    pub(super) origins: &'a Origins,
    pub(super) interner: &'a mut Interner,
}

impl Context<'_> {
    fn node(&mut self, bytes: &mut Bytes<'_>) -> Result<Option<Arc<NodeId>>, RecordFault> {
        let at = bytes.offset();
        let reference = bytes.varint()?;
        let Some(place) = reference.checked_sub(1) else { return Ok(None) };
        let raw = usize::try_from(place).ok().and_then(|place| self.nodes.get(place));
        let raw = raw.ok_or_else(|| RecordFault::new(at, format!("node {reference} is not in the block's list")))?;
        self.interner.intern(raw, at).map(Some)
    }
}

/// What an optional field's presence and small enums are packed into.
mod flag {
    pub(super) const KIND: u8 = 0b0000_0011;
    pub(super) const EXPIRES: u8 = 0b0000_0100;
    pub(super) const EXTRA: u8 = 0b0000_1000;
    pub(super) const KEY: u8 = 0b0001_0000;
    pub(super) const NAME: u8 = 0b0010_0000;
    /// It was made in place of another one.
    pub(super) const SUPERSEDES: u8 = 0b0100_0000;
    /// It was ended in a later term than the first: the same bit, of the other record.
    pub(super) const EPOCH: u8 = 0b0100_0000;
    pub(super) const OF_HELD: u8 = KIND | EXPIRES | EXTRA | KEY | NAME | SUPERSEDES;
    /// Two that mean nothing here are passed over, as they always were.
    pub(super) const OF_RESTING: u8 = KIND | EXPIRES | EXTRA | KEY | NAME | EPOCH;
}

fn has(flags: u8, one: u8) -> bool {
    flags & one != 0
}

fn when(present: bool, one: u8) -> u8 {
    if present { one } else { 0 }
}

/// `known`: those that mean something here.
fn flags(bytes: &mut Bytes<'_>, known: u8) -> Result<u8, RecordFault> {
    let at = bytes.offset();
    let flags = bytes.byte()?;
    if flags & !known == 0 {
        Ok(flags)
    } else {
        Err(RecordFault::new(at, format!("flags {flags:#010b} are not understood")))
    }
}

pub(super) fn id<T: FromStr<Err = InvalidId>>(bytes: &mut Bytes<'_>) -> Result<T, RecordFault> {
    let at = bytes.offset();
    bytes.text()?.parse().map_err(|why| RecordFault::id(at, &why))
}

pub(super) fn compact(bytes: &mut Bytes<'_>) -> Result<CompactString, RecordFault> {
    bytes.text().map(CompactString::from)
}

/// Everything of a fact but its kind, key, sequence number and time.
pub(super) fn put_fact(out: &mut Vec<u8>, op: &Op, nodes: &mut NodeTable, origins: &mut OriginTable) {
    match &op.fact {
        Fact::Pool(pool) => pool::put_pool(out, pool),
        Fact::PoolDeleted(uid) => put_varint(out, u64::from(uid.0)),
        Fact::Realm(realm) => put_realm(out, realm, op.seq),
        Fact::Held(held) => put_held(out, held, op, nodes),
        Fact::Resting(rest) => put_resting(out, rest, op, nodes),
        Fact::Reserved(kept) => put_reserved(out, kept, op),
        Fact::RestsOn(dot) => origins.put(out, *dot),
        Fact::Adopted(vector) => {
            put_varint(out, vector.len() as u64);
            for (origin, through) in vector.iter() {
                origins.put(out, Dot { origin: *origin, seq: *through });
            }
        }
        Fact::Heard { origin, through } => origins.put(out, Dot { origin: *origin, seq: *through }),
        Fact::Noted(written) => note::put_note(out, written, op, origins),
        Fact::Unnoted(ends) => note::put_ends(out, ends, op.seq),
        Fact::Conflict(conflict) => {
            let Allocation { pool, realm, span, .. } = *conflict.heard;
            origins.put(out, conflict.from);
            put_key(out, SpanKey { pool, realm, span });
            put_held(out, &conflict.heard, op, nodes);
        }
        Fact::ConflictClosed(place) => put_delta(out, place.0, op.seq.0),
        Fact::Unreserved { made, .. } => {
            put_varint(out, u64::from(made.epoch.0));
            put_delta(out, made.created_ms, op.stamp_ms);
        }
        Fact::Free(_) | Fact::Clock => {}
    }
}

pub(super) fn read_fact(
    bytes: &mut Bytes<'_>,
    kind: Kind,
    key: Option<SpanKey>,
    context: &mut Context<'_>,
) -> Result<Fact, RecordFault> {
    let keyed = || key.ok_or_else(|| RecordFault::new(0, "the record has no span"));
    Ok(match kind {
        Kind::Pool => Fact::Pool(Arc::new(pool::read_pool(bytes)?)),
        Kind::PoolDeleted => Fact::PoolDeleted(PoolUid(bytes.varint_u32()?)),
        Kind::Realm => Fact::Realm(Arc::new(read_realm(bytes, context)?)),
        Kind::Held => Fact::Held(Arc::new(read_held(bytes, keyed()?, context)?)),
        Kind::Resting => Fact::Resting(Arc::new(read_resting(bytes, keyed()?, context)?)),
        Kind::Free => Fact::Free(keyed()?),
        Kind::Reserved => Fact::Reserved(Arc::new(read_reserved(bytes, keyed()?, context)?)),
        Kind::Unreserved => {
            // Formerly it named nothing, and removed whatever was there then.
            let (epoch, created_ms) = if bytes.left() == 0 {
                (Epoch(1), context.stamp_ms)
            } else {
                (Epoch(bytes.varint_u32()?), bytes.delta(context.stamp_ms)?)
            };
            Fact::Unreserved { key: keyed()?, made: Made { epoch, created_ms } }
        }
        Kind::Noted => Fact::Noted(Arc::new(note::read_note(bytes, context)?)),
        Kind::Unnoted => Fact::Unnoted(Arc::new(note::read_ends(bytes, context.seq)?)),
        Kind::Conflict => {
            let (from, key) = (context.origins.dot(bytes)?, read_key(bytes)?);
            Fact::Conflict(Arc::new(Conflict { heard: Arc::new(read_held(bytes, key, context)?), from }))
        }
        Kind::ConflictClosed => Fact::ConflictClosed(Seq(bytes.delta(context.seq.0)?)),
        Kind::Clock => Fact::Clock,
        Kind::RestsOn => Fact::RestsOn(context.origins.dot(bytes)?),
        Kind::Adopted => {
            let mut vector = BTreeMap::new();
            for _ in 0..bytes.varint()? {
                let Dot { origin, seq } = context.origins.dot(bytes)?;
                vector.insert(origin, seq);
            }
            Fact::Adopted(Arc::new(vector))
        }
        Kind::Heard => {
            let Dot { origin, seq: through } = context.origins.dot(bytes)?;
            Fact::Heard { origin, through }
        }
    })
}

fn put_realm(out: &mut Vec<u8>, realm: &RealmRecord, seq: Seq) {
    put_varint(out, u64::from(realm.uid.0));
    // A tenant is never empty, so an empty text is free to mean "shared".
    put_text(out, realm.tenant.as_ref().map_or("", |tenant| tenant.as_str()));
    put_text(out, realm.name.as_str());
    put_delta(out, realm.seq.0, seq.0);
}

fn read_realm(bytes: &mut Bytes<'_>, context: &Context<'_>) -> Result<RealmRecord, RecordFault> {
    let uid = RealmUid(bytes.varint_u32()?);
    let at = bytes.offset();
    let tenant = match bytes.text()? {
        "" => None,
        raw => Some(raw.parse().map_err(|why| RecordFault::id(at, &why))?),
    };
    Ok(RealmRecord { uid, tenant, name: id(bytes)?, seq: Seq(bytes.delta(context.seq.0)?) })
}

fn put_held(out: &mut Vec<u8>, held: &Allocation, op: &Op, nodes: &mut NodeTable) {
    let kind = match held.kind() {
        AllocationKind::Session => 0,
        AllocationKind::Sticky => 1,
        AllocationKind::Permanent => 2,
    };
    let name = held.name();
    out.push(
        kind | when(held.expires_ms().is_some(), flag::EXPIRES)
            | when(held.extra.is_some(), flag::EXTRA)
            | when(held.key().is_some(), flag::KEY)
            | when(name.is_some(), flag::NAME)
            | when(held.supersedes().is_some(), flag::SUPERSEDES),
    );
    put_text(out, held.subscriber.as_str());
    put_varint(out, u64::from(held.shard.0));
    put_varint(out, u64::from(held.epoch.0));
    put_delta(out, held.created_ms(), op.stamp_ms);
    put_delta(out, held.renewed_ms(), held.created_ms());
    if let Some(expires_ms) = held.expires_ms() {
        put_delta(out, expires_ms.get(), held.renewed_ms());
    }
    put_delta(out, held.seq().0, op.seq.0);
    put_varint(out, nodes.reference(held.node.as_ref()));
    if let Some(extra) = &held.extra {
        put_text(out, &extra.metadata);
        if let Some(key) = &extra.key {
            put_text(out, key.as_str());
        }
        if let Some(mark) = &extra.supersedes {
            put_span(out, mark.span);
            put_varint(out, u64::from(mark.shard.0));
            put_varint(out, u64::from(mark.epoch.0));
            put_delta(out, mark.created_ms, held.created_ms());
        }
    }
    if let Some(name) = name {
        put_text(out, name);
    }
}

fn read_held(bytes: &mut Bytes<'_>, key: SpanKey, context: &mut Context<'_>) -> Result<Allocation, RecordFault> {
    let at = bytes.offset();
    let flags = flags(bytes, flag::OF_HELD)?;
    let kind = match flags & flag::KIND {
        0 => AllocationKind::Session,
        1 => AllocationKind::Sticky,
        2 => AllocationKind::Permanent,
        other => return Err(RecordFault::new(at, format!("allocation kind {other} is unknown"))),
    };
    let subscriber = id(bytes)?;
    let shard = ShardId(bytes.varint_u32()?);
    let epoch = Epoch(bytes.varint_u32()?);
    let created_ms = bytes.delta(context.stamp_ms)?;
    let renewed_ms = bytes.delta(created_ms)?;
    let expires_ms = if has(flags, flag::EXPIRES) {
        let at = bytes.offset();
        let expires = NonZeroU64::new(bytes.delta(renewed_ms)?);
        Some(expires.ok_or_else(|| RecordFault::new(at, "a lease cannot end at 0"))?)
    } else {
        None
    };
    let seq = Seq(bytes.delta(context.seq.0)?);
    let node = context.node(bytes)?;
    let extra = if has(flags, flag::EXTRA) {
        let metadata = compact(bytes)?;
        let key = if has(flags, flag::KEY) { Some(id(bytes)?) } else { None };
        let supersedes = if has(flags, flag::SUPERSEDES) { Some(read_superseded(bytes, created_ms)?) } else { None };
        Some(Box::new(AllocationExtra { key, metadata, supersedes }))
    } else {
        None
    };
    let SpanKey { pool, realm, span } = key;
    let allocation = Allocation::new(AllocationParts {
        span,
        subscriber,
        pool,
        realm,
        shard,
        epoch,
        created_ms,
        renewed_ms,
        expires_ms,
        seq,
        node,
        extra,
        kind,
    });
    if has(flags, flag::NAME) {
        allocation.set_name(compact(bytes)?);
    }
    Ok(allocation)
}

fn read_superseded(bytes: &mut Bytes<'_>, created_ms: u64) -> Result<Box<Superseded>, RecordFault> {
    let span = bytes.span()?;
    let (shard, epoch) = (ShardId(bytes.varint_u32()?), Epoch(bytes.varint_u32()?));
    Ok(Box::new(Superseded { span, shard, epoch, created_ms: bytes.delta(created_ms)? }))
}

fn put_resting(out: &mut Vec<u8>, rest: &Resting, op: &Op, nodes: &mut NodeTable) {
    let cause = match rest.cause {
        EndCause::Released => 0,
        EndCause::Expired => 1,
        EndCause::PoolDeleted => 2,
    };
    let later = rest.epoch != Epoch(1);
    out.push(
        cause | when(rest.key.is_some(), flag::KEY) | when(rest.name.is_some(), flag::NAME) | when(later, flag::EPOCH),
    );
    put_text(out, rest.subscriber.as_str());
    put_delta(out, rest.ended_ms, op.stamp_ms);
    put_delta(out, rest.created_ms, rest.ended_ms);
    put_delta(out, rest.until_ms, rest.ended_ms);
    put_delta(out, rest.seq.0, op.seq.0);
    put_varint(out, nodes.reference(rest.node.as_ref()));
    if let Some(key) = &rest.key {
        put_text(out, key.as_str());
    }
    if let Some(name) = &rest.name {
        put_text(out, name);
    }
    if later {
        put_varint(out, u64::from(rest.epoch.0));
        put_delta(out, rest.renewed_ms, rest.created_ms);
    }
}

fn read_resting(bytes: &mut Bytes<'_>, key: SpanKey, context: &mut Context<'_>) -> Result<Resting, RecordFault> {
    let at = bytes.offset();
    let flags = flags(bytes, flag::OF_RESTING)?;
    let cause = match flags & flag::KIND {
        0 => EndCause::Released,
        1 => EndCause::Expired,
        2 => EndCause::PoolDeleted,
        other => return Err(RecordFault::new(at, format!("cause {other} is unknown"))),
    };
    let subscriber = id(bytes)?;
    let ended_ms = bytes.delta(context.stamp_ms)?;
    let created_ms = bytes.delta(ended_ms)?;
    let until_ms = bytes.delta(ended_ms)?;
    let seq = Seq(bytes.delta(context.seq.0)?);
    let node = context.node(bytes)?;
    let own_key = if has(flags, flag::KEY) { Some(id(bytes)?) } else { None };
    let name = if has(flags, flag::NAME) { Some(compact(bytes)?) } else { None };
    let (epoch, renewed_ms) =
        if has(flags, flag::EPOCH) { (Epoch(bytes.varint_u32()?), bytes.delta(created_ms)?) } else { (Epoch(1), 0) };
    let SpanKey { pool, realm, span } = key;
    Ok(Resting {
        span,
        pool,
        realm,
        subscriber,
        key: own_key,
        node,
        created_ms,
        ended_ms,
        until_ms,
        cause,
        epoch,
        renewed_ms,
        seq,
        name,
    })
}

fn put_reserved(out: &mut Vec<u8>, kept: &Reservation, op: &Op) {
    put_text(out, kept.subscriber.as_str());
    put_delta(out, kept.created_ms, op.stamp_ms);
    put_delta(out, kept.seq.0, op.seq.0);
    put_text(out, &kept.name);
    put_text(out, &kept.note);
    put_varint(out, u64::from(kept.epoch.0));
}

fn read_reserved(bytes: &mut Bytes<'_>, key: SpanKey, context: &Context<'_>) -> Result<Reservation, RecordFault> {
    let subscriber = id(bytes)?;
    let created_ms = bytes.delta(context.stamp_ms)?;
    let seq = Seq(bytes.delta(context.seq.0)?);
    let SpanKey { pool, realm, span } = key;
    let (name, note) = (compact(bytes)?, compact(bytes)?);
    // Formerly reservations had none.
    let epoch = if bytes.left() == 0 { Epoch(1) } else { Epoch(bytes.varint_u32()?) };
    Ok(Reservation { pool, realm, span, subscriber, created_ms, name, note, epoch, seq })
}
