//! Lists of allocations.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::RealmUid;

use super::Rest;
use super::body::answer;
use super::dto::allocation::{AllocationBody, AllocationsBody, Beside};
use super::openapi::{Problems, Unknown};
use super::params::{By, Params};
use super::problem::Refusal;
use crate::app::{App, AppError, Caller, Holding, ListQuery, Page, rfc3339};

/// List allocations, in an order that stays the same while others come and go.
#[utoipa::path(get, path = "/api/v1/allocations", operation_id = "list_allocations", tag = "allocations",
    params(
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("subscriber_id" = Option<String>, Query, description = "Only of this subscriber"),
        ("node_id" = Option<String>, Query, description = "Only of this OLT-BNG; `olt_id` is the same"),
        ("realm" = Option<String>, Query, description = "Only in this realm"),
        ("resource" = Option<String>, Query, description = "Only who holds this resource"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = AllocationsBody), Problems, Unknown))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let page = rest.app.list(&caller, &query(&params)?)?;
    show(&rest.app, &page, None, None)
}

/// Leases that end within so many milliseconds.
pub(super) fn list_expiring(
    caller: &Caller,
    rest: &Rest,
    params: &Params,
    within_ms: u64,
) -> Result<Response, Refusal> {
    let before = rfc3339(rest.app.now_ms().saturating_add(within_ms));
    let page = rest.app.list(caller, &ListQuery { expiring_within_ms: Some(within_ms), ..query(params)? })?;
    show(&rest.app, &page, None, Some(before))
}

pub(super) fn query(params: &Params) -> Result<ListQuery, AppError> {
    let node = match params.id("node_id")? {
        Some(node) => Some(node),
        None => params.id("olt_id")?,
    };
    Ok(ListQuery {
        pool: params.id("pool_id")?,
        subscriber: params.id("subscriber_id")?,
        node,
        realm: params.id("realm")?,
        resource: params.text("resource").map(str::to_owned),
        expiring_within_ms: None,
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.number("limit")?,
    })
}

pub(super) fn show(
    app: &App,
    page: &Page<Holding>,
    node_id: Option<&str>,
    expiring_before: Option<String>,
) -> Result<Response, Refusal> {
    let allocations = rows(app, &page.rows);
    let (count, total, next_cursor) = (allocations.len(), page.total, page.next.clone());
    answer(StatusCode::OK, &AllocationsBody { node_id, allocations, count, total, next_cursor, expiring_before })
}

/// Rows as lists show them. Most are in the same few realms, whose names are looked up once.
pub(super) fn rows<'a>(app: &App, held: &'a [Holding]) -> Vec<AllocationBody<'a>> {
    let mut realms: BTreeMap<RealmUid, Option<String>> = BTreeMap::new();
    held.iter()
        .map(|held| {
            let realm = realms.entry(held.allocation.realm).or_insert_with(|| realm_of(app, held));
            AllocationBody::row(held, Beside { realm: realm.clone(), superseding: app.superseding(held) })
        })
        .collect()
}

/// What is shown beside an allocation's record.
pub(super) fn beside(app: &App, held: &Holding) -> Beside {
    Beside { realm: realm_of(app, held), superseding: app.superseding(held) }
}

/// The name of an allocation's realm.
fn realm_of(app: &App, held: &Holding) -> Option<String> {
    app.realm_name(held.allocation.realm).map(|name| name.to_string())
}
