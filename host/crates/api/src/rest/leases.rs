//! Release and renew.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::SubscriberId;

use super::Rest;
use super::allocations::select;
use super::body::{Body, answer, no_content};
use super::dto::allocation::{AllocationBody, HoldingsBody, RenewBody};
use super::lists::beside;
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{AppError, Granted, ReleaseScope, read_id};

/// Release exactly what a look-up with the same parameters shows.
#[utoipa::path(delete, path = "/api/v1/allocations/{subscriber}", operation_id = "release", tag = "allocations",
    params(
        ("subscriber" = String, Path, description = "Percent-encoded"),
        ("pool_id" = Option<String>, Query, description = "The one in this pool"),
        ("key" = Option<String>, Query, description = "The one under this key"),
        ("resource" = Option<String>, Query, description = "Exactly this resource, also if another one stands in its place; without it, what a look-up shows and whatever that superseded"),
        ("timestamp" = Option<String>, Query, description = "Only one that was made then, as its answer's `timestamp` says: no other that was made since"),
        ("all" = Option<bool>, Query, description = "All that the other parameters leave"),
    ),
    responses((status = 204, description = "Released; on disk"), Problems, Unknown))]
pub(super) async fn release(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(subscriber): Segments<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let subscriber: SubscriberId = read_id("subscriber_id", &subscriber)?;
    let scope = if params.flag("all")? { ReleaseScope::All } else { ReleaseScope::Shown };
    rest.app.release(&caller, &subscriber, &select(&params)?, scope).await?;
    Ok(no_content())
}

/// The same as `DELETE /api/v1/allocations/{subscriber}`.
#[utoipa::path(delete, path = "/api/v1/allocate/{subscriber}", operation_id = "release_alias", tag = "allocations",
    params(("subscriber" = String, Path, description = "Percent-encoded")),
    responses((status = 204, description = "Released; on disk"), Problems, Unknown))]
#[allow(dead_code, reason = "the path is served by `release`; this only describes it")]
pub(super) fn release_alias() {}

/// Renew the subscriber's leases.
#[utoipa::path(post, path = "/api/v1/allocations/{subscriber}/renew", operation_id = "renew", tag = "allocations",
    request_body(content = Option<RenewBody>, description = "`{}` or nothing: the pool's default lease"),
    params(
        ("subscriber" = String, Path, description = "Percent-encoded"),
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("key" = Option<String>, Query, description = "Only under this key"),
        ("resource" = Option<String>, Query, description = "Only this resource"),
        ("timestamp" = Option<String>, Query, description = "Only one that was made then"),
    ),
    responses((status = 200, description = "What was renewed", body = HoldingsBody), Problems, Unknown, Conflicts))]
pub(super) async fn renew(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(subscriber): Segments<String>,
    params: Params,
    body: Body,
) -> Result<Response, Refusal> {
    let subscriber: SubscriberId = read_id("subscriber_id", &subscriber)?;
    let ttl = body.json_or_default::<RenewBody>()?.read()?;
    let select = select(&params)?;
    let renewed = rest.app.renew(&caller, &subscriber, &select, ttl).await?;
    let Some(first) = renewed.first() else {
        return Err(AppError::NothingHeld { subscriber, pool: select.pool }.into());
    };
    let shown = AllocationBody::full(&first.holding, beside(&rest.app, &first.holding), &[]);
    let shown = shown.durable(first.durability);
    let allocations: Vec<AllocationBody<'_>> = renewed
        .iter()
        .map(|Granted { holding, durability, .. }| {
            AllocationBody::row(holding, beside(&rest.app, holding)).durable(*durability)
        })
        .collect();
    answer(StatusCode::OK, &HoldingsBody { shown, count: allocations.len(), allocations })
}
