//! A pool's record: what the operator chose, the plugin's reading of the spec, and the shards.

use std::sync::Arc;

use kernel::{
    Alignment, Durability, Epoch, Geometry, LeaseTerms, Pool, PoolDraft, PoolTerms, PoolUid, RealmRef, Revision, Shard,
    ShardId, Sizing, Strategy,
};

use super::facts::{compact, id};
use super::primitives::{Bytes, RecordFault, put_series, put_span, put_text, put_u128, put_varint};

pub(super) fn put_pool(out: &mut Vec<u8>, pool: &Pool) {
    put_varint(out, u64::from(pool.uid.0));
    put_varint(out, pool.revision.0);
    put_varint(out, pool.created_ms);
    put_varint(out, pool.updated_ms);
    put_draft(out, &pool.draft);
    put_varint(out, pool.shards.len() as u64);
    for shard in &pool.shards {
        put_varint(out, u64::from(shard.id.0));
        put_varint(out, u64::from(shard.epoch.0));
        put_span(out, shard.cover);
    }
}

pub(super) fn read_pool(bytes: &mut Bytes<'_>) -> Result<Pool, RecordFault> {
    let uid = PoolUid(bytes.varint_u32()?);
    let revision = Revision(bytes.varint()?);
    let created_ms = bytes.varint()?;
    let updated_ms = bytes.varint()?;
    let draft = read_draft(bytes)?;
    let shards = list(bytes, 4, |bytes| {
        Ok(Shard { id: ShardId(bytes.varint_u32()?), epoch: Epoch(bytes.varint_u32()?), cover: bytes.span()? })
    })?;
    Ok(Pool { uid, revision, created_ms, updated_ms, draft, shards })
}

fn list<'a, T>(
    bytes: &mut Bytes<'a>,
    least_bytes: usize,
    mut one: impl FnMut(&mut Bytes<'a>) -> Result<T, RecordFault>,
) -> Result<Vec<T>, RecordFault> {
    let count = bytes.varint()?;
    let mut items = Vec::with_capacity(bytes.at_most(count, least_bytes));
    for _ in 0..count {
        items.push(one(bytes)?);
    }
    Ok(items)
}

fn put_draft(out: &mut Vec<u8>, draft: &PoolDraft) {
    put_text(out, draft.tenant.as_str());
    put_text(out, draft.id.as_str());
    put_text(out, draft.type_id.as_str());
    put_text(out, draft.realm.name.as_str());
    out.push(u8::from(draft.realm.shared));
    put_text(out, &draft.spec);
    put_geometry(out, &draft.geometry);
    put_text(out, &draft.mapping_id);
    put_terms(out, &draft.terms);
    // 0 is free to mean "none asked for": a pool of no shards cannot be asked for.
    put_varint(out, draft.sharding_factor.map_or(0, |factor| u64::from(factor) + 1));
    put_text(out, &draft.extra);
}

fn read_draft(bytes: &mut Bytes<'_>) -> Result<PoolDraft, RecordFault> {
    Ok(PoolDraft {
        tenant: id(bytes)?,
        id: id(bytes)?,
        type_id: id(bytes)?,
        realm: RealmRef { name: id(bytes)?, shared: truth(bytes)? },
        spec: bytes.text()?.into(),
        geometry: Arc::new(read_geometry(bytes)?),
        mapping_id: compact(bytes)?,
        terms: read_terms(bytes)?,
        sharding_factor: read_factor(bytes)?,
        extra: compact(bytes)?,
    })
}

fn read_factor(bytes: &mut Bytes<'_>) -> Result<Option<u32>, RecordFault> {
    let at = bytes.offset();
    match bytes.varint()?.checked_sub(1).map(u32::try_from) {
        None => Ok(None),
        Some(Ok(factor)) => Ok(Some(factor)),
        Some(Err(_)) => Err(RecordFault::new(at, "the sharding factor has more than 32 bits")),
    }
}

fn truth(bytes: &mut Bytes<'_>) -> Result<bool, RecordFault> {
    let at = bytes.offset();
    match bytes.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(RecordFault::new(at, format!("{other} is neither 0 nor 1"))),
    }
}

fn put_geometry(out: &mut Vec<u8>, geometry: &Geometry) {
    for spans in [&geometry.spans, &geometry.excluded] {
        put_varint(out, spans.len() as u64);
        for series in spans {
            put_series(out, *series);
        }
    }
    put_u128(out, geometry.grain);
    put_u128(out, geometry.sizing.default_len);
    put_u128(out, geometry.sizing.min_len);
    put_u128(out, geometry.sizing.max_len);
    out.push(match geometry.sizing.align {
        Alignment::Origin => 0,
        Alignment::Natural => 1,
    });
    put_u128(out, geometry.cut);
    put_varint(out, geometry.attributes.len() as u64);
    for (name, value) in &geometry.attributes {
        put_text(out, name);
        put_text(out, value);
    }
    put_strategy(out, geometry.strategy);
}

fn read_geometry(bytes: &mut Bytes<'_>) -> Result<Geometry, RecordFault> {
    Ok(Geometry {
        spans: list(bytes, 6, Bytes::series)?,
        excluded: list(bytes, 6, Bytes::series)?,
        grain: bytes.u128()?,
        sizing: Sizing {
            default_len: bytes.u128()?,
            min_len: bytes.u128()?,
            max_len: bytes.u128()?,
            align: if truth(bytes)? { Alignment::Natural } else { Alignment::Origin },
        },
        cut: bytes.u128()?,
        attributes: list(bytes, 2, |bytes| Ok((compact(bytes)?, compact(bytes)?)))?,
        strategy: read_strategy(bytes)?,
    })
}

fn put_strategy(out: &mut Vec<u8>, strategy: Strategy) {
    out.push(match strategy {
        Strategy::FirstFree => 0,
        Strategy::NextFree => 1,
        Strategy::Random => 2,
        Strategy::Hash => 3,
        Strategy::OldestFree => 4,
        Strategy::Exact => 5,
    });
}

fn read_strategy(bytes: &mut Bytes<'_>) -> Result<Strategy, RecordFault> {
    let at = bytes.offset();
    Ok(match bytes.byte()? {
        0 => Strategy::FirstFree,
        1 => Strategy::NextFree,
        2 => Strategy::Random,
        3 => Strategy::Hash,
        4 => Strategy::OldestFree,
        5 => Strategy::Exact,
        other => return Err(RecordFault::new(at, format!("strategy {other} is unknown"))),
    })
}

/// Beside `strict` in its byte.
const STRICT: u8 = 1;
const ACK_LOCAL: u8 = 2;
const ACK_PEER: u8 = 4;

fn read_switches(bytes: &mut Bytes<'_>) -> Result<(bool, Option<Durability>), RecordFault> {
    let at = bytes.offset();
    let switches = bytes.byte()?;
    let ack = match switches & !STRICT {
        0 => None,
        ACK_LOCAL => Some(Durability::Local),
        ACK_PEER => Some(Durability::Peer),
        _ => return Err(RecordFault::new(at, format!("{switches} is no set of a pool's switches"))),
    };
    Ok((switches & STRICT != 0, ack))
}

fn put_terms(out: &mut Vec<u8>, terms: &PoolTerms) {
    put_strategy(out, terms.strategy);
    match terms.lease {
        LeaseTerms::None => out.push(0),
        LeaseTerms::Timed { default_ms, min_ms, max_ms } => {
            out.push(1);
            put_varint(out, default_ms);
            put_varint(out, min_ms);
            put_varint(out, max_ms);
        }
    }
    put_varint(out, terms.hold_down_ms);
    let ack = match terms.ack {
        None => 0,
        Some(Durability::Local) => ACK_LOCAL,
        Some(Durability::Peer) => ACK_PEER,
    };
    out.push(u8::from(terms.strict) | ack);
    put_varint(out, terms.realm_by.len() as u64);
    for attribute in &terms.realm_by {
        put_text(out, attribute);
    }
    put_text(out, &terms.metadata);
}

fn read_terms(bytes: &mut Bytes<'_>) -> Result<PoolTerms, RecordFault> {
    let strategy = read_strategy(bytes)?;
    let lease = if truth(bytes)? {
        LeaseTerms::Timed { default_ms: bytes.varint()?, min_ms: bytes.varint()?, max_ms: bytes.varint()? }
    } else {
        LeaseTerms::None
    };
    let hold_down_ms = bytes.varint()?;
    let (strict, ack) = read_switches(bytes)?;
    Ok(PoolTerms {
        strategy,
        lease,
        hold_down_ms,
        strict,
        ack,
        realm_by: list(bytes, 1, compact)?,
        metadata: compact(bytes)?,
    })
}
