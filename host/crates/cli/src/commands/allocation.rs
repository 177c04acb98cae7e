//! `allocate`, `renew`, `release`, `get`, `who` and `explain`.

use nexus_proto::v1::{
    AllocateRequest, AllocateResponse, Allocation, ExplainOutcome, ExplainRequest, LookupByResourceRequest,
    LookupRequest, ReleaseRequest, RenewRequest,
};

use crate::arguments::{AllocateArgs, Connection, GetArgs, ReleaseArgs, RenewArgs, WhoArgs};
use crate::document::{Document, Fields};
use crate::exit::Failure;
use crate::screen::{Format, Row, Screen, complain};
use crate::session::{Patience, connect};
use crate::shape::{
    ALLOCATION_COLUMNS, HOLDER_COLUMNS, allocation_document, allocation_lines, allocation_row, explain_document,
    explain_lines, holder_row, past_row,
};
use crate::words::{NO_LEASE, map_of, time};

fn request(args: AllocateArgs) -> AllocateRequest {
    let AllocateArgs { pool, subscriber, key, resource, hints, realm, node, ttl, permanent, metadata } = args;
    AllocateRequest {
        subscriber_id: subscriber,
        pool_id: pool,
        key,
        resource,
        hints: map_of(&hints),
        attributes: map_of(&realm.attributes),
        node_id: node,
        ttl: if permanent { Some(NO_LEASE) } else { ttl },
        metadata,
        ..AllocateRequest::default()
    }
}

/// `nexus allocate`.
pub(super) async fn allocate(connection: &Connection, args: AllocateArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let answer = client.allocations().allocate(request(args)).await?.into_inner();
    let created = answer.created;
    let allocation = answer.allocation.unwrap_or_default();
    let document = allocation_document(&allocation).with("created", Document::Truth(created));
    let mut lines = allocation_lines(&allocation);
    if !created {
        lines.push(("note", "the subscriber held it already".into()));
    }
    Ok(screen.one(&document, &lines)?)
}

/// `nexus renew`.
pub(super) async fn renew(connection: &Connection, args: RenewArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let RenewArgs { subscriber, pool, key, ttl } = args;
    let request = RenewRequest { subscriber_id: subscriber, pool_id: pool, key, ttl, ..RenewRequest::default() };
    let answer = client.nexus().renew(request).await?.into_inner();
    several(&answer.renewed, "renewed", screen)
}

/// `nexus release`.
pub(super) async fn release(connection: &Connection, args: ReleaseArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let ReleaseArgs { subscriber, pool, key, resource, all } = args;
    let request =
        ReleaseRequest { subscriber_id: subscriber, pool_id: pool, key, resource, all, ..ReleaseRequest::default() };
    let answer = client.allocations().release(request).await?.into_inner();
    several(&answer.released, "released", screen)
}

fn several(allocations: &[Allocation], name: &'static str, screen: &mut Screen) -> Result<(), Failure> {
    let rows: Vec<_> = allocations.iter().map(allocation_row).collect();
    Ok(screen.list(name, ALLOCATION_COLUMNS, &rows)?)
}

/// `nexus get`.
pub(super) async fn get(connection: &Connection, args: GetArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let GetArgs { subscriber, pool, key } = args;
    let request = LookupRequest { subscriber_id: subscriber, pool_id: pool, key, ..LookupRequest::default() };
    let AllocateResponse { allocation, allocations, .. } =
        client.allocations().lookup_by_subscriber(request).await?.into_inner();
    let shown = allocation.unwrap_or_default();
    let mut document = allocation_document(&shown);
    if !allocations.is_empty() {
        document = document.with("allocations", Document::List(allocations.iter().map(allocation_document).collect()));
    }
    let mut lines = allocation_lines(&shown);
    let others =
        allocations.iter().filter(|other| (&other.pool_id, &other.resource) != (&shown.pool_id, &shown.resource));
    lines.extend(others.map(|other| ("holds too", format!("{} of {}", other.resource, other.pool_id).into())));
    Ok(screen.one(&document, &lines)?)
}

/// `nexus who`.
pub(super) async fn who(connection: &Connection, args: WhoArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let WhoArgs { resource, type_id, pool, realm, at, past } = args;
    let request = LookupByResourceRequest { r#type: type_id, resource, realm, at, pool_id: pool, past };
    let answer = client.nexus().lookup_by_resource(request).await?.into_inner();
    let current: Vec<_> = answer.holders.iter().map(holder_row).collect();
    let past: Vec<_> = answer.past.iter().map(past_row).collect();
    if screen.format() == Format::Table {
        let rows: Vec<_> = current.into_iter().chain(past).collect();
        screen.list("holders", HOLDER_COLUMNS, &rows)?;
        if answer.history_from.is_some() {
            complain(&format!("the history is complete from {}", time(answer.history_from.as_ref())));
        }
        return Ok(());
    }
    let list = |rows: Vec<Row>| Document::List(rows.into_iter().map(|row| row.document).collect());
    let document = Fields::default()
        .put("holders", list(current))
        .put("past", list(past))
        .some_text("history_from", &time(answer.history_from.as_ref()))
        .done();
    Ok(screen.one(&document, &[])?)
}

/// `nexus explain`. That an allocation would fail is the answer, not a failure of the question.
pub(super) async fn explain(connection: &Connection, args: AllocateArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let request = ExplainRequest { request: Some(request(args)) };
    let answer = client.allocations().explain(request).await?.into_inner();
    debug_assert_ne!(answer.outcome(), ExplainOutcome::Unspecified, "the daemon always says what would come of it");
    Ok(screen.one(&explain_document(&answer), &explain_lines(&answer))?)
}
