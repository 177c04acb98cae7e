//! Open conflicts between hosts.

use nexus_proto::v1::{Allocation, Conflict, ConflictKind};

use super::allocation_document;
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::second;

pub(crate) const CONFLICT_COLUMNS: &[&str] = &["ID", "KIND", "POOL", "SUBSCRIBER", "SUPERSEDED", "SURVIVOR", "EXPIRES"];

fn kind(conflict: &Conflict) -> &'static str {
    match conflict.kind() {
        ConflictKind::Unspecified => "",
        ConflictKind::Superseded => "superseded",
        ConflictKind::Contradiction => "contradiction",
    }
}

/// Every resource is named with its holder if that is somebody else.
fn survivor(conflict: &Conflict) -> String {
    let superseded = conflict.superseded.as_ref().map(|held| held.subscriber_id.as_str());
    match &conflict.survivor {
        None => "nobody".to_owned(),
        Some(held) if superseded == Some(held.subscriber_id.as_str()) => held.resource.clone(),
        Some(held) => format!("{} of {}", held.resource, held.subscriber_id),
    }
}

/// What has to go; empty if the daemon did not say.
fn superseded(conflict: &Conflict) -> Allocation {
    conflict.superseded.clone().unwrap_or_default()
}

fn expires(held: &Allocation) -> String {
    held.expires_at.as_ref().map_or_else(|| "never".to_owned(), |at| second(Some(at)))
}

pub(crate) fn conflict_document(conflict: &Conflict) -> Document {
    Fields::default()
        .text("id", &conflict.id)
        .some_text("kind", kind(conflict))
        .some("superseded", conflict.superseded.as_ref().map(allocation_document))
        .some("survivor", conflict.survivor.as_ref().map(allocation_document))
        .done()
}

pub(crate) fn conflict_row(conflict: &Conflict) -> Row {
    let held = superseded(conflict);
    let cells = vec![
        conflict.id.as_str().into(),
        kind(conflict).into(),
        held.pool_id.as_str().into(),
        held.subscriber_id.as_str().into(),
        held.resource.as_str().into(),
        survivor(conflict).into(),
        expires(&held).into(),
    ];
    Row { cells, document: conflict_document(conflict) }
}

pub(crate) fn conflict_lines(conflict: &Conflict) -> Vec<(&'static str, Cell)> {
    let held = superseded(conflict);
    vec![
        ("closed", conflict.id.as_str().into()),
        ("kind", kind(conflict).into()),
        ("pool", held.pool_id.as_str().into()),
        ("subscriber", held.subscriber_id.as_str().into()),
        ("superseded", Cell::toned(held.resource.as_str(), Tone::Notable)),
        ("survivor", Cell::toned(survivor(conflict), Tone::Good)),
    ]
}
