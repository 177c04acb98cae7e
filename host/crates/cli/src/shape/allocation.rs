//! Allocations, those that have ended, and explanations.

use nexus_proto::v1::{
    Allocation, AllocationType, EndCause, ExplainChoice, ExplainOutcome, ExplainResponse, Fence, PastAllocation,
    Superseded,
};

use super::{attributes_document, attributes_text, object, occupancy_fields, occupancy_text, time_document};
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::{duration, second, time};

pub(crate) const ALLOCATION_COLUMNS: &[&str] =
    &["POOL", "RESOURCE", "SUBSCRIBER", "KEY", "REALM", "NODE", "TYPE", "EXPIRES", "CREATED"];
pub(crate) const HOLDER_COLUMNS: &[&str] =
    &["POOL", "RESOURCE", "REALM", "SUBSCRIBER", "KEY", "NODE", "FROM", "TO", "ENDED BY"];

fn kind(allocation: &Allocation) -> &'static str {
    match allocation.alloc_type() {
        AllocationType::Unspecified => "",
        AllocationType::Session => "session",
        AllocationType::Sticky => "sticky",
        AllocationType::Permanent => "permanent",
    }
}

pub(super) fn cause(past: &PastAllocation) -> &'static str {
    match past.cause() {
        EndCause::Unspecified => "",
        EndCause::Released => "released",
        EndCause::Expired => "expired",
        EndCause::PoolDeleted => "pool deleted",
    }
}

fn fence_document(fence: &Fence) -> Document {
    Fields::default().number("pool", fence.pool).number("shard", fence.shard).number("epoch", fence.epoch).done()
}

fn superseded_document(superseded: &Superseded) -> Document {
    let fence = superseded.fence.as_ref().map(fence_document);
    Fields::default().some_text("resource", &superseded.resource).some("fence", fence).done()
}

pub(crate) fn allocation_document(allocation: &Allocation) -> Document {
    let fence = allocation.fence.as_ref().map(fence_document);
    Fields::default()
        .text("pool_id", &allocation.pool_id)
        .text("subscriber_id", &allocation.subscriber_id)
        .some_text("key", &allocation.key)
        .text("type", &allocation.r#type)
        .text("resource", &allocation.resource)
        .some_text("realm", &allocation.realm)
        .some_text("node_id", &allocation.node_id)
        .some_text("alloc_type", kind(allocation))
        .some("ttl", allocation.ttl.as_ref().map(|ttl| Document::number(ttl.seconds)))
        .some("expires_at", time_document(allocation.expires_at.as_ref()))
        .some("created_at", time_document(allocation.created_at.as_ref()))
        .some("renewed_at", time_document(allocation.renewed_at.as_ref()))
        .some("fence", fence)
        .some("supersedes", allocation.supersedes.as_ref().map(superseded_document))
        .some_text("superseded_by", &allocation.superseded_by)
        .some_text("durability", super::durability(allocation.durability()))
        .number("version", allocation.version)
        .some("attributes", attributes_document(&allocation.attributes))
        .some("metadata", object(&allocation.metadata))
        .done()
}

pub(crate) fn allocation_row(allocation: &Allocation) -> Row {
    let expires = match &allocation.expires_at {
        Some(at) => second(Some(at)),
        None => "never".to_owned(),
    };
    let cells = vec![
        allocation.pool_id.as_str().into(),
        allocation.resource.as_str().into(),
        allocation.subscriber_id.as_str().into(),
        allocation.key.as_str().into(),
        allocation.realm.as_str().into(),
        allocation.node_id.as_str().into(),
        kind(allocation).into(),
        expires.into(),
        second(allocation.created_at.as_ref()).into(),
    ];
    Row { cells, document: allocation_document(allocation) }
}

pub(crate) fn allocation_lines(allocation: &Allocation) -> Vec<(&'static str, Cell)> {
    let expires = allocation.expires_at.as_ref().map_or_else(
        || "never".to_owned(),
        |at| format!("{} (lease of {})", time(Some(at)), duration(allocation.ttl.as_ref())),
    );
    let fence = allocation
        .fence
        .as_ref()
        .map(|fence| format!("pool {} shard {} epoch {}", fence.pool, fence.shard, fence.epoch));
    vec![
        ("resource", Cell::toned(allocation.resource.as_str(), Tone::Good)),
        ("pool", allocation.pool_id.as_str().into()),
        ("type", allocation.r#type.as_str().into()),
        ("subscriber", allocation.subscriber_id.as_str().into()),
        ("key", allocation.key.as_str().into()),
        ("realm", allocation.realm.as_str().into()),
        ("node", allocation.node_id.as_str().into()),
        ("kind", kind(allocation).into()),
        ("expires", expires.into()),
        ("created", time(allocation.created_at.as_ref()).into()),
        ("renewed", time(allocation.renewed_at.as_ref()).into()),
        ("attributes", attributes_text(&allocation.attributes).into()),
        ("metadata", allocation.metadata.as_str().into()),
        ("fence", fence.unwrap_or_default().into()),
        ("durability", super::durability(allocation.durability()).into()),
        ("supersedes", allocation.supersedes.as_ref().map_or("", |one| one.resource.as_str()).into()),
        ("superseded by", allocation.superseded_by.as_str().into()),
    ]
}

/// Who holds a resource now, among those that held it.
pub(crate) fn holder_row(allocation: &Allocation) -> Row {
    let cells = vec![
        allocation.pool_id.as_str().into(),
        allocation.resource.as_str().into(),
        allocation.realm.as_str().into(),
        allocation.subscriber_id.as_str().into(),
        allocation.key.as_str().into(),
        allocation.node_id.as_str().into(),
        second(allocation.created_at.as_ref()).into(),
        Cell::toned("now", Tone::Good),
        Cell::default(),
    ];
    Row { cells, document: allocation_document(allocation) }
}

/// An allocation that has ended.
pub(crate) fn past_row(past: &PastAllocation) -> Row {
    let cells = vec![
        past.pool_id.as_str().into(),
        past.resource.as_str().into(),
        past.realm.as_str().into(),
        past.subscriber_id.as_str().into(),
        past.key.as_str().into(),
        past.node_id.as_str().into(),
        second(past.from.as_ref()).into(),
        second(past.to.as_ref()).into(),
        cause(past).into(),
    ];
    let document = Fields::default()
        .text("pool_id", &past.pool_id)
        .text("subscriber_id", &past.subscriber_id)
        .some_text("key", &past.key)
        .text("type", &past.r#type)
        .text("resource", &past.resource)
        .some_text("realm", &past.realm)
        .some_text("node_id", &past.node_id)
        .some("from", time_document(past.from.as_ref()))
        .some("to", time_document(past.to.as_ref()))
        .some_text("cause", cause(past))
        .done();
    Row { cells, document }
}

fn outcome(explained: &ExplainResponse) -> (&'static str, &'static str, Tone) {
    match explained.outcome() {
        ExplainOutcome::Unspecified => ("", "", Tone::Plain),
        ExplainOutcome::AlreadyHeld => ("already_held", "held already and given again", Tone::Good),
        ExplainOutcome::WouldGet => ("would_get", "would be given", Tone::Good),
        ExplainOutcome::WouldFail => ("would_fail", "would fail", Tone::Bad),
    }
}

fn choice(explained: &ExplainResponse) -> (&'static str, &'static str) {
    match explained.choice() {
        ExplainChoice::Unspecified => ("", ""),
        ExplainChoice::Reserved => ("reserved", "it is reserved for the subscriber"),
        ExplainChoice::Sticky => ("sticky", "the subscriber held it and it still rests"),
        ExplainChoice::Asked => ("asked", "it was asked for"),
        ExplainChoice::Strategy => ("strategy", "the strategy chooses it among the free ones"),
        ExplainChoice::LongestRested => ("longest_rested", "nothing is free, so the one that rested longest"),
    }
}

pub(crate) fn explain_document(explained: &ExplainResponse) -> Document {
    let error = explained.error.as_ref().map(|error| {
        let facts = error.metadata.iter().map(|(name, value)| (name.clone(), Document::text(value.as_str()))).collect();
        Fields::default()
            .text("error", &error.message)
            .text("reason", &error.reason)
            .put("retryable", Document::Truth(error.retryable))
            .put("metadata", Document::Fields(facts))
            .done()
    });
    let occupancy =
        explained.occupancy.as_ref().map(|occupancy| occupancy_fields(Fields::default(), Some(occupancy)).done());
    Fields::default()
        .text("outcome", outcome(explained).0)
        .some_text("resource", &explained.resource)
        .some_text("choice", choice(explained).0)
        .some("error", error)
        .some_text("strategy", &explained.strategy)
        .some_text("realm", &explained.realm)
        .some("occupancy", occupancy)
        .done()
}

pub(crate) fn explain_lines(explained: &ExplainResponse) -> Vec<(&'static str, Cell)> {
    let (_, sentence, tone) = outcome(explained);
    let error = explained.error.clone().unwrap_or_default();
    let named = |name: &str| error.metadata.get(name).cloned().unwrap_or_default();
    vec![
        ("outcome", Cell::toned(sentence, tone)),
        ("resource", explained.resource.as_str().into()),
        ("because", choice(explained).1.into()),
        ("error", error.message.as_str().into()),
        ("field", named("field").into()),
        ("value", named("value").into()),
        ("remedy", named("remedy").into()),
        ("reason", error.reason.as_str().into()),
        ("strategy", explained.strategy.as_str().into()),
        ("realm", explained.realm.as_str().into()),
        ("space", occupancy_text(explained.occupancy.as_ref()).into()),
    ]
}
