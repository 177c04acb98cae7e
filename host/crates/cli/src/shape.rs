//! From the messages of the wire to what is shown: documents with every field, rows and lines with what people look for.
//!
//! Field names are those of REST, so that a script can move between the two; a pool's document can be applied again.

mod allocation;
mod cluster;
mod conflict;
mod event;
mod note;
mod plugin;
mod pool;
mod reservation;

pub(crate) use allocation::{ALLOCATION_COLUMNS, allocation_lines, allocation_row, holder_row, past_row};
pub(crate) use allocation::{HOLDER_COLUMNS, allocation_document, explain_document, explain_lines};
pub(crate) use cluster::{
    MEMBER_COLUMNS, Names, RING_COLUMNS, SHARD_COLUMNS, cluster_document, cluster_lines, hashring_document, member_row,
    order_lines, ring_rows, shard_rows, warning_lines,
};
pub(crate) use conflict::{CONFLICT_COLUMNS, conflict_document, conflict_lines, conflict_row};
pub(crate) use event::{EVENT_COLUMNS, event_row};
pub(crate) use note::{NOTE_COLUMNS, NOTE_EVENT_COLUMNS, note_document, note_event_row, note_lines, note_row};
pub(crate) use plugin::{PLUGIN_COLUMNS, plugin_row};
pub(crate) use pool::{
    POOL_COLUMNS, STATS_COLUMNS, definition_document, pool_document, pool_lines, pool_row, stats_document, stats_rows,
};
pub(crate) use reservation::{RESERVATION_COLUMNS, reservation_document, reservation_lines, reservation_row};

use nexus_proto::v1::{Attribute, Durability, Occupancy};
use prost_types::Timestamp;

use crate::document::{Document, Fields};
use crate::words::{grains, time};

/// Empty where nothing was chosen or reached.
const fn durability(level: Durability) -> &'static str {
    match level {
        Durability::Unspecified => "",
        Durability::Local => "local",
        Durability::Peer => "peer",
    }
}

fn attributes_document(attributes: &[Attribute]) -> Option<Document> {
    if attributes.is_empty() {
        return None;
    }
    let fields = attributes.iter().map(|one| (one.key.clone(), Document::text(one.value.as_str())));
    Some(Document::Fields(fields.collect()))
}

fn attributes_text(attributes: &[Attribute]) -> String {
    let each: Vec<_> = attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
    each.join(" ")
}

/// A JSON object that came as text; left out if there is none.
fn object(text: &str) -> Option<Document> {
    (!text.is_empty()).then(|| Document::from_json_text(text))
}

fn time_document(at: Option<&Timestamp>) -> Option<Document> {
    at.map(|at| Document::text(time(Some(at))))
}

fn occupancy_fields(fields: Fields, occupancy: Option<&Occupancy>) -> Fields {
    let Some(occupancy) = occupancy else { return fields };
    fields
        .number("allocations", occupancy.allocations)
        .number("total", grains(occupancy.total.as_ref()))
        .number("held", grains(occupancy.held.as_ref()))
        .number("free", grains(occupancy.free.as_ref()))
        .number("resting", grains(occupancy.resting.as_ref()))
        .number("reserved", grains(occupancy.reserved.as_ref()))
        .number("excluded", grains(occupancy.excluded.as_ref()))
}

fn occupancy_text(occupancy: Option<&Occupancy>) -> String {
    let Some(occupancy) = occupancy else { return String::new() };
    format!(
        "of {} grains {} are held, {} free, {} resting, {} reserved, {} excluded",
        grains(occupancy.total.as_ref()),
        grains(occupancy.held.as_ref()),
        grains(occupancy.free.as_ref()),
        grains(occupancy.resting.as_ref()),
        grains(occupancy.reserved.as_ref()),
        grains(occupancy.excluded.as_ref()),
    )
}

#[cfg(test)]
mod tests;
