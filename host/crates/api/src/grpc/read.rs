//! Messages to what the application layer is asked: every text is checked here, every fault names its field.

use std::collections::BTreeMap;
use std::str::FromStr;

use compact_str::CompactString;
use kernel::{InvalidId, NodeId, Ttl};
use nexus_proto::v1;
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value};

use crate::app::{AllocateInput, AppError, Pairs, PoolInput, Reader, Select, json, key_of, read_id};

/// An id that may be left out.
pub(super) fn optional_id<T: FromStr<Err = InvalidId>>(field: &str, raw: &str) -> Result<Option<T>, AppError> {
    if raw.is_empty() { Ok(None) } else { read_id(field, raw).map(Some) }
}

/// A text that may be left out.
pub(super) fn optional_text(raw: String) -> Option<String> {
    if raw.is_empty() { None } else { Some(raw) }
}

/// Rows of a page where the message may leave it out. Most clients refuse messages above 4 MiB unless told otherwise.
pub(super) fn limit(raw: u32) -> Option<usize> {
    const DEFAULT: u32 = 1_000;
    usize::try_from(if raw == 0 { DEFAULT } else { raw }).ok()
}

/// A request for a resource.
pub(super) fn allocate(request: v1::AllocateRequest) -> Result<AllocateInput, AppError> {
    let v1::AllocateRequest {
        subscriber_id,
        pool_id,
        mac,
        duid,
        iaid,
        key,
        resource,
        hints,
        attributes,
        node_id,
        ttl,
        metadata,
        omit_attributes: _,
        alloc_type,
    } = request;
    let mut input = AllocateInput::new(read_id("pool_id", &pool_id)?, read_id("subscriber_id", &subscriber_id)?);
    input.key = key_of(&key, &duid, iaid)?;
    input.node = optional_id::<NodeId>("node_id", &node_id)?;
    input.resource = optional_text(resource).map(CompactString::from);
    input.ttl = if permanent(alloc_type)? { Ttl::Permanent } else { self::ttl(ttl)? };
    let mut reader = Reader::default();
    input.hints = reader.texts("hints", hints);
    let named = attributes.contains_key("mac") || mac.is_empty();
    let mac = if named { None } else { Some(("mac".to_owned(), mac)) };
    input.attributes = reader.texts("attributes", attributes.into_iter().chain(mac));
    if !metadata.is_empty() {
        let object = Value::Object(object("metadata", &metadata)?);
        input.metadata = reader.metadata("metadata", Some(&object));
    }
    reader.finish(Some(input))
}

/// Which of a subscriber's allocations are meant.
pub(super) fn select(pool_id: &str, key: &str, duid: &str, iaid: Option<u32>) -> Result<Select, AppError> {
    Ok(Select { pool: optional_id("pool_id", pool_id)?, key: key_of(key, duid, iaid)?, resource: None, made_ms: None })
}

/// A resource's text that may be left out.
pub(super) fn resource(raw: String) -> Result<Option<String>, AppError> {
    if raw.len() > 255 {
        return Err(AppError::invalid("resource", raw, "must have at most 255 bytes"));
    }
    Ok(optional_text(raw))
}

/// A wished lease. Negative: none at all; zero is the same as unset.
pub(super) fn ttl(wished: Option<Duration>) -> Result<Ttl, AppError> {
    let Some(Duration { seconds, nanos }) = wished else { return Ok(Ttl::Default) };
    Ok(match (seconds, nanos) {
        (0, 0) => Ttl::Default,
        (seconds, nanos) if seconds <= 0 && nanos <= 0 => Ttl::Permanent,
        (_, _) => Ttl::Millis(millis("ttl", seconds, nanos)?),
    })
}

/// Session and sticky are what the pool's terms make of an allocation: saying so asks for nothing.
fn permanent(alloc_type: i32) -> Result<bool, AppError> {
    match v1::AllocationType::try_from(alloc_type) {
        Ok(v1::AllocationType::Permanent) => Ok(true),
        Ok(v1::AllocationType::Unspecified | v1::AllocationType::Session | v1::AllocationType::Sticky) => Ok(false),
        Err(_) => Err(AppError::invalid(
            "alloc_type",
            alloc_type,
            "must be session (1), sticky (2) or permanent (3), or be unset",
        )),
    }
}

/// A length of time that may be left out.
pub(super) fn duration(field: &str, wished: Option<Duration>) -> Result<Option<u64>, AppError> {
    wished.map(|Duration { seconds, nanos }| millis(field, seconds, nanos)).transpose()
}

/// A point in time that may be left out, Unix milliseconds.
pub(super) fn timestamp(field: &str, at: Option<Timestamp>) -> Result<Option<u64>, AppError> {
    at.map(|Timestamp { seconds, nanos }| millis(field, seconds, nanos)).transpose()
}

/// Rounds up, so that a positive time never becomes none.
fn millis(field: &str, seconds: i64, nanos: i32) -> Result<u64, AppError> {
    let whole = u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let rest = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000).map(|nanos| nanos.div_ceil(1_000_000));
    let sum = whole.zip(rest).and_then(|(whole, rest)| whole.checked_add(rest));
    sum.ok_or_else(|| {
        let remedy = "must not be negative, its nanos 0 to 999,999,999, and both together fit 64 bits of milliseconds";
        AppError::invalid(field, format_args!("{seconds}s {nanos}ns"), remedy)
    })
}

/// Attributes that choose a realm.
pub(super) fn attributes(given: BTreeMap<String, String>) -> Result<Pairs, AppError> {
    let mut reader = Reader::default();
    let pairs = reader.texts("attributes", given);
    reader.finish(Some(pairs))
}

fn object(field: &str, text: &str) -> Result<Map<String, Value>, AppError> {
    const REMEDY: &str = "must be a JSON object as text";
    match json::read(field, text.as_bytes()) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(AppError::invalid(field, text, REMEDY)),
        Err(AppError::Malformed(why)) => Err(AppError::invalid(field, text, format!("{REMEDY}: {why}"))),
        Err(other) => Err(other),
    }
}

/// A pool's document in any form that REST takes; `id` is what the request names beside it.
pub(super) fn pool_document(document: &str, id: Option<&str>) -> Result<PoolInput, AppError> {
    PoolInput::from_document(&json::read("", document.as_bytes())?, id)
}

/// A pool of the run that the request belongs to. Its faults are told as faults of that field.
pub(super) fn pool_beside(at: usize, document: &str) -> Result<PoolInput, AppError> {
    let read = pool_document(document, None);
    let Err(AppError::Invalid(mut faults)) = read else { return read };
    for fault in &mut faults {
        fault.field = format!("beside.{at}.{}", fault.field);
    }
    Err(AppError::Invalid(faults))
}

/// A pool as it is wanted. It becomes a document, so that defaults and faults are the same as everywhere.
pub(super) fn pool_definition(wanted: v1::PoolDefinition, id: Option<&str>) -> Result<PoolInput, AppError> {
    if wanted.spec.is_empty() {
        return Err(AppError::missing("spec", "must be a JSON object as text, as the resource type reads it"));
    }
    let mut document = Map::new();
    let mut set = |name: &str, value: Value| {
        document.insert(name.to_owned(), value);
    };
    for (name, text) in
        [("id", wanted.id), ("type", wanted.r#type), ("realm", wanted.realm), ("strategy", wanted.strategy)]
    {
        if !text.is_empty() {
            set(name, text.into());
        }
    }
    for (name, text) in [("spec", wanted.spec), ("metadata", wanted.metadata)] {
        if !text.is_empty() {
            set(name, Value::Object(object(name, &text)?));
        }
    }
    set("shared", wanted.shared.into());
    set("realm_by", wanted.realm_by.into());
    set("sharding_factor", wanted.sharding_factor.into());
    if let Some(strict) = wanted.strict {
        set("strict", strict.into());
    }
    match v1::Durability::try_from(wanted.ack) {
        Ok(v1::Durability::Unspecified) => {}
        Ok(v1::Durability::Local) => set("ack", "local".into()),
        Ok(v1::Durability::Peer) => set("ack", "peer".into()),
        // The reader refuses it and says what would be right.
        Err(_) => set("ack", wanted.ack.to_string().into()),
    }
    if let Some(rest) = duration("hold_down", wanted.hold_down)? {
        set("hold_down", format!("{rest}ms").into());
    }
    if let Some(v1::LeaseTerms { default, min, max }) = wanted.lease {
        let mut terms = Map::new();
        for (name, length) in [("default", default), ("min", min), ("max", max)] {
            if let Some(length) = duration(&format!("lease.{name}"), length)? {
                terms.insert(name.to_owned(), format!("{length}ms").into());
            }
        }
        set("lease", terms.into());
    }
    PoolInput::from_document(&Value::Object(document), id)
}
