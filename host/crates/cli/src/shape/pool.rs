//! Pools and how full they are.

use nexus_proto::v1::{LeaseTerms, Pool, PoolDefinition, PoolStats};

use super::{attributes_document, attributes_text, object, occupancy_fields, time_document};
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::{duration, grains, time};

pub(crate) const POOL_COLUMNS: &[&str] =
    &["POOL", "TYPE", "REALM", "HOLDS", "LEASE", "HOLD-DOWN", "STRATEGY", "REVISION"];
pub(crate) const STATS_COLUMNS: &[&str] =
    &["REALM", "ALLOCATIONS", "TOTAL", "HELD", "FREE", "RESTING", "RESERVED", "EXCLUDED"];

/// From here on a pool's utilization is shown as notable, and as bad.
const NOTABLE: f64 = 0.8;
const BAD: f64 = 0.95;

/// What was asked for, as a file says it: reads back as the same pool.
pub(crate) fn definition_document(definition: &PoolDefinition) -> Document {
    definition_fields(definition).done()
}

fn definition_fields(definition: &PoolDefinition) -> Fields {
    let realm_by: Vec<_> = definition.realm_by.iter().map(Document::text).collect();
    Fields::default()
        .text("id", &definition.id)
        .text("type", &definition.r#type)
        .some("spec", object(&definition.spec))
        .some_text("realm", &definition.realm)
        .some("shared", definition.shared.then_some(Document::Truth(true)))
        .some("realm_by", (!realm_by.is_empty()).then_some(Document::List(realm_by)))
        .some_text("strategy", &definition.strategy)
        .put("lease", definition.lease.as_ref().map_or_else(|| Document::text("none"), lease_document))
        .some("hold_down", definition.hold_down.as_ref().map(|rest| Document::text(duration(Some(rest)))))
        .some("strict", definition.strict.map(Document::Truth))
        .some_text("ack", super::durability(definition.ack()))
        .some("sharding_factor", (definition.sharding_factor > 0).then(|| Document::number(definition.sharding_factor)))
        .some("metadata", object(&definition.metadata))
}

fn lease_document(lease: &LeaseTerms) -> Document {
    let term = |name: &str, fields: Fields, length: Option<&prost_types::Duration>| {
        fields.some(name, length.map(|length| Document::text(duration(Some(length)))))
    };
    let fields = term("default", Fields::default(), lease.default.as_ref());
    let fields = term("min", fields, lease.min.as_ref());
    term("max", fields, lease.max.as_ref()).done()
}

/// A pool with what the daemon knows of it. Fields that follow from the spec (`cidr`, `gateway`) are left out, so that
/// an edited document does not contradict itself when it is applied again.
pub(crate) fn pool_document(pool: &Pool) -> Document {
    let definition = pool.definition.clone().unwrap_or_default();
    definition_fields(&definition)
        .some_text("tenant", &pool.tenant)
        .number("revision", pool.revision)
        .some("created_at", time_document(pool.created_at.as_ref()))
        .some("updated_at", time_document(pool.updated_at.as_ref()))
        .number("shards", pool.shards)
        .some_text("mapping_id", &pool.mapping_id)
        .some("attributes", attributes_document(&pool.attributes))
        .done()
}

pub(crate) fn pool_row(pool: &Pool) -> Row {
    let definition = pool.definition.clone().unwrap_or_default();
    let realm = match definition.realm_by.as_slice() {
        [] => definition.realm.clone(),
        names => format!("{}/<{}>", definition.realm, names.join("/")),
    };
    let cells = vec![
        definition.id.as_str().into(),
        definition.r#type.as_str().into(),
        realm.into(),
        holds(pool, &definition).into(),
        lease_text(definition.lease.as_ref()).into(),
        duration(definition.hold_down.as_ref()).into(),
        definition.strategy.as_str().into(),
        pool.revision.to_string().into(),
    ];
    Row { cells, document: pool_document(pool) }
}

fn lease_text(lease: Option<&LeaseTerms>) -> String {
    lease.map_or_else(|| "none".to_owned(), |lease| duration(lease.default.as_ref()))
}

/// A few words about what a pool holds: its addresses, or the part of the spec that says it.
fn holds(pool: &Pool, definition: &PoolDefinition) -> String {
    if !pool.cidr.is_empty() {
        return match pool.prefix {
            0 => pool.cidr.clone(),
            prefix => format!("{} by /{prefix}", pool.cidr),
        };
    }
    let spec = Document::from_json_text(&definition.spec);
    let said = ["addresses", "range", "ranges", "cidr"].into_iter().find_map(|name| spec.field(name));
    match said {
        Some(Document::Text(text)) => text.clone(),
        Some(other) => other.to_json(),
        None => definition.spec.clone(),
    }
}

pub(crate) fn pool_lines(pool: &Pool) -> Vec<(&'static str, Cell)> {
    let definition = pool.definition.clone().unwrap_or_default();
    let lease = definition.lease.as_ref().map_or_else(
        || "none".to_owned(),
        |lease| {
            let [default, min, max] = [&lease.default, &lease.min, &lease.max].map(|length| duration(length.as_ref()));
            format!("{default} ({min} to {max})")
        },
    );
    let ack = super::durability(definition.ack());
    vec![
        ("pool", definition.id.as_str().into()),
        ("type", definition.r#type.as_str().into()),
        ("tenant", pool.tenant.as_str().into()),
        ("realm", definition.realm.as_str().into()),
        ("shared", if definition.shared { "yes, by all tenants" } else { "" }.into()),
        ("realm by", definition.realm_by.join(", ").into()),
        ("spec", definition.spec.as_str().into()),
        ("holds", holds(pool, &definition).into()),
        ("gateway", pool.gateway.as_str().into()),
        ("dns", pool.dns.join(", ").into()),
        ("attributes", attributes_text(&pool.attributes).into()),
        ("strategy", definition.strategy.as_str().into()),
        ("lease", lease.into()),
        ("hold-down", duration(definition.hold_down.as_ref()).into()),
        ("strict", definition.strict.map(|strict| strict.to_string()).unwrap_or_default().into()),
        ("ack", if ack.is_empty() { "default" } else { ack }.into()),
        ("shards", pool.shards.to_string().into()),
        ("metadata", definition.metadata.as_str().into()),
        ("revision", pool.revision.to_string().into()),
        ("created", time(pool.created_at.as_ref()).into()),
        ("updated", time(pool.updated_at.as_ref()).into()),
    ]
}

pub(crate) fn stats_document(stats: &PoolStats) -> Document {
    let realms = stats
        .realms
        .iter()
        .map(|realm| occupancy_fields(Fields::default().text("realm", &realm.realm), realm.occupancy.as_ref()).done());
    let fields = Fields::default().text("pool_id", &stats.pool_id).text("type", &stats.r#type);
    occupancy_fields(fields, stats.occupancy.as_ref())
        .number("utilization", format!("{:.6}", stats.utilization))
        .number("shards", stats.shards)
        .number("quarantined_shards", stats.quarantined_shards)
        .put("realms", Document::List(realms.collect()))
        .some("per_realm", stats.per_realm.as_ref().map(|each| occupancy_fields(Fields::default(), Some(each)).done()))
        .done()
}

/// A line a realm, one for each further realm where requests make them, and one for all of them together.
pub(crate) fn stats_rows(stats: &PoolStats) -> Vec<Vec<Cell>> {
    let row = |realm: Cell, occupancy: Option<&nexus_proto::v1::Occupancy>, tone: Tone| {
        let occupancy = occupancy.cloned().unwrap_or_default();
        vec![
            realm,
            occupancy.allocations.to_string().into(),
            grains(occupancy.total.as_ref()).into(),
            grains(occupancy.held.as_ref()).into(),
            Cell::toned(grains(occupancy.free.as_ref()), tone),
            grains(occupancy.resting.as_ref()).into(),
            grains(occupancy.reserved.as_ref()).into(),
            grains(occupancy.excluded.as_ref()).into(),
        ]
    };
    let tone = match stats.utilization {
        full if full >= BAD => Tone::Bad,
        full if full >= NOTABLE => Tone::Notable,
        _ => Tone::Plain,
    };
    let mut rows: Vec<_> = stats
        .realms
        .iter()
        .map(|realm| row(realm.realm.as_str().into(), realm.occupancy.as_ref(), Tone::Plain))
        .collect();
    if stats.per_realm.is_some() {
        rows.push(row("(each further)".into(), stats.per_realm.as_ref(), Tone::Plain));
    }
    let all = format!("all ({:.1} % used)", stats.utilization * 100.0);
    rows.push(row(Cell::toned(all, tone), stats.occupancy.as_ref(), tone));
    rows
}
