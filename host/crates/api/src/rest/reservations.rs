//! Reservations.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::PoolId;

use super::Rest;
use super::body::{Body, answer, no_content};
use super::dto::reservation::{ReservationBody, ReservationsBody, ReserveBody};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{AppError, Caller, ReservationInput, ReservationQuery, read_id};

/// List reservations.
#[utoipa::path(get, path = "/api/v1/reservations", operation_id = "list_reservations", tag = "reservations",
    params(
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("subscriber_id" = Option<String>, Query, description = "Only of this subscriber"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = ReservationsBody), Problems, Unknown))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let pool = params.id("pool_id")?;
    show(&caller, &rest, &params, pool)
}

/// List a pool's reservations.
#[utoipa::path(get, path = "/api/v1/pools/{id}/reservations", operation_id = "list_pool_reservations", tag = "reservations",
    params(
        ("id" = String, Path, description = "The pool's id"),
        ("subscriber_id" = Option<String>, Query, description = "Only of this subscriber"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = ReservationsBody), Problems, Unknown))]
pub(super) async fn list_of_pool(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
    params: Params,
) -> Result<Response, Refusal> {
    show(&caller, &rest, &params, Some(read_id("id", &id)?))
}

fn show(caller: &Caller, rest: &Rest, params: &Params, pool: Option<PoolId>) -> Result<Response, Refusal> {
    let query = ReservationQuery {
        pool,
        subscriber: params.id("subscriber_id")?,
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.number("limit")?,
    };
    let page = rest.app.reservations(caller, &query)?;
    let reservations: Vec<_> = page.rows.iter().map(ReservationBody::of).collect();
    let (count, total, next_cursor) = (reservations.len(), page.total, page.next);
    answer(StatusCode::OK, &ReservationsBody { reservations, count, total, next_cursor })
}

/// Keep a resource for a subscriber. The same again is a success; held or kept for another is a conflict.
#[utoipa::path(post, path = "/api/v1/pools/{id}/reservations", operation_id = "add_reservation", tag = "reservations", request_body = ReserveBody,
    params(("id" = String, Path, description = "The pool's id")),
    responses(
        (status = 201, description = "Kept", body = ReservationBody),
        (status = 200, description = "It was kept already", body = ReservationBody),
        Problems, Unknown, Conflicts,
    ))]
pub(super) async fn add(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let (input, subscriber, note) = body.json::<ReserveBody>()?.read(read_id("id", &id)?)?;
    let made = rest.app.reserve(&caller, &input, subscriber, &note).await?;
    let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
    answer(status, &ReservationBody::of(&made.reserved))
}

/// Keep a resource no longer. Parameters with the names of the pool's `realm_by` say in which realm.
#[utoipa::path(delete, path = "/api/v1/pools/{id}/reservations/{resource}", operation_id = "remove_reservation", tag = "reservations",
    params(
        ("id" = String, Path, description = "The pool's id"),
        ("resource" = String, Path, description = "The resource's text; a `/` may stand as it is"),
        ("olt_id" = Option<String>, Query, description = "In a pool whose `realm_by` has `olt_id` or `node_id`"),
        ("attributes" = Option<std::collections::BTreeMap<String, String>>, Query, style = Form, explode,
            description = "In a pool with other names in `realm_by`: each is a parameter of its own, as in `?site=east`"),
    ),
    responses((status = 204, description = "Kept no longer"), Problems, Unknown))]
pub(super) async fn remove(
    By(caller): By,
    State(rest): State<Rest>,
    Segments((id, resource)): Segments<(String, String)>,
    params: Params,
) -> Result<Response, Refusal> {
    let pool: PoolId = read_id("id", &id)?;
    if resource.len() > 255 {
        return Err(AppError::invalid("resource", resource, "must have at most 255 bytes").into());
    }
    let input = ReservationInput { pool, resource, node: params.id("olt_id")?, attributes: params.others(&[]) };
    rest.app.unreserve(&caller, &input).await?;
    Ok(no_content())
}
