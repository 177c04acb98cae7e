//! Open conflicts between hosts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Rest;
use super::body::answer;
use super::dto::conflict::{ConflictBody, ConflictsBody};
use super::openapi::{Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::ConflictQuery;

/// List open conflicts: subscribers with two allocations under one key, and words of hosts that contradict each other.
#[utoipa::path(get, path = "/api/v1/conflicts", operation_id = "list_conflicts", tag = "conflicts",
    params(
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("subscriber_id" = Option<String>, Query, description = "Only of this subscriber"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = ConflictsBody), Problems, Unknown))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let query = ConflictQuery {
        pool: params.id("pool_id")?,
        subscriber: params.id("subscriber_id")?,
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.number("limit")?,
    };
    let page = rest.app.conflicts(&caller, &query)?;
    let conflicts: Vec<_> = page.rows.iter().map(|conflict| ConflictBody::of(&rest.app, conflict)).collect();
    let (count, total, next_cursor) = (conflicts.len(), page.total, page.next);
    answer(StatusCode::OK, &ConflictsBody { conflicts, count, total, next_cursor })
}

/// Confirm that nobody uses the conflict's `superseded` any more: it ends, and with it the conflict.
#[utoipa::path(post, path = "/api/v1/conflicts/{id}/confirm", operation_id = "confirm_conflict", tag = "conflicts",
    params(("id" = String, Path, description = "The conflict's id")),
    responses((status = 200, description = "Closed; the conflict as it was", body = ConflictBody), Problems, Unknown))]
pub(super) async fn confirm(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    let closed = rest.app.confirm(&caller, &id).await?;
    answer(StatusCode::OK, &ConflictBody::of(&rest.app, &closed))
}
