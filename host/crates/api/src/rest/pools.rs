//! Pools.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use kernel::{PoolId, Revision};

use super::Rest;
use super::body::{Body, answer, no_content};
use super::dto::pool::{PoolAnswer, PoolBody, PoolUpdateBody, PoolsBody, StatsBody};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{AppError, DeleteMode, PoolCreated, PoolInput, PoolQuery, UpdateMode, read_id};

/// List pools, by id.
#[utoipa::path(get, path = "/api/v1/pools", operation_id = "list_pools", tag = "pools",
    params(
        ("type" = Option<String>, Query, description = "Only of this resource type"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = PoolsBody), Problems))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let query = PoolQuery {
        type_id: params.id("type")?,
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.number("limit")?,
    };
    let page = rest.app.pools(&caller, &query)?;
    let pools: Vec<_> = page.rows.iter().map(|pool| PoolAnswer::of(pool)).collect();
    answer(StatusCode::OK, &PoolsBody { count: pools.len(), pools, total: page.total, next_cursor: page.next })
}

/// Make a pool, in the form with `spec` or in the older one. The same again is a success.
#[utoipa::path(post, path = "/api/v1/pools", operation_id = "create_pool", tag = "pools", request_body = PoolBody,
    params(("dry_run" = Option<bool>, Query, description = "Say what would happen, change nothing")),
    responses(
        (status = 201, description = "Made", body = PoolAnswer),
        (status = 200, description = "It was there, the same; or (dry run) it would be made, with `applied`, `added_grains` and `removed_grains` beside", body = PoolAnswer),
        Problems, Conflicts,
    ))]
pub(super) async fn create(
    By(caller): By,
    State(rest): State<Rest>,
    params: Params,
    body: Body,
) -> Result<Response, Refusal> {
    let input = PoolInput::from_document(&body.document()?, None)?;
    if params.flag("dry_run")? {
        let would = rest.app.check_pool(&caller, input).await?;
        return answer(StatusCode::OK, &PoolUpdateBody::of(&would));
    }
    let PoolCreated { pool, created } = rest.app.create_pool(&caller, input).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer(status, &PoolAnswer::of(&pool))?;
    if created && let Ok(place) = HeaderValue::try_from(format!("/api/v1/pools/{}", pool.draft.id)) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// A pool.
#[utoipa::path(get, path = "/api/v1/pools/{id}", operation_id = "get_pool", tag = "pools",
    params(("id" = String, Path, description = "The pool's id")),
    responses((status = 200, description = "The pool", body = PoolAnswer), Problems, Unknown))]
pub(super) async fn get(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    let pool = rest.app.pool(&caller, &read_id("id", &id)?)?;
    answer(StatusCode::OK, &PoolAnswer::of(&pool))
}

/// Replace a pool's description. Spans may be added at once; removing held ones is refused with their holders.
#[utoipa::path(put, path = "/api/v1/pools/{id}", operation_id = "update_pool", tag = "pools", request_body = PoolBody,
    params(
        ("id" = String, Path, description = "The pool's id"),
        ("dry_run" = Option<bool>, Query, description = "Say what would happen, change nothing"),
        ("If-Match" = Option<u64>, Header, description = "Only at this revision; `revision` in the body is the same"),
    ),
    responses((status = 200, description = "Changed, or what would change", body = PoolUpdateBody), Problems, Unknown, Conflicts))]
pub(super) async fn update(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut input = PoolInput::from_document(&body.document()?, Some(&id))?;
    if let Some(revision) = if_match(&headers)? {
        input.revision = Some(revision);
    }
    let mode = if params.flag("dry_run")? { UpdateMode::DryRun } else { UpdateMode::Apply };
    let updated = rest.app.update_pool(&caller, input, mode).await?;
    answer(StatusCode::OK, &PoolUpdateBody::of(&updated))
}

fn if_match(headers: &HeaderMap) -> Result<Option<Revision>, AppError> {
    let Some(raw) = headers.get(IF_MATCH).and_then(|value| value.to_str().ok()).filter(|raw| *raw != "*") else {
        return Ok(None);
    };
    match raw.trim_matches('"').parse() {
        Ok(revision) => Ok(Some(Revision(revision))),
        Err(_) => Err(AppError::invalid("If-Match", raw, "must be a pool's revision, a whole number")),
    }
}

/// Delete a pool. Refused while in use unless forced; then its allocations are released, each as its own event. One that
/// is not there is no error.
#[utoipa::path(delete, path = "/api/v1/pools/{id}", operation_id = "delete_pool", tag = "pools",
    params(
        ("id" = String, Path, description = "The pool's id"),
        ("force" = Option<bool>, Query, description = "Release its allocations"),
    ),
    responses((status = 204, description = "It is gone"), Problems, Conflicts))]
pub(super) async fn delete(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
    params: Params,
) -> Result<Response, Refusal> {
    let id: PoolId = read_id("id", &id)?;
    let mode = if params.flag("force")? { DeleteMode::Force } else { DeleteMode::IfUnused };
    match rest.app.delete_pool(&caller, &id, mode).await {
        Ok(_) | Err(AppError::PoolUnknown { .. }) => Ok(no_content()),
        Err(error) => Err(error.into()),
    }
}

/// How full a pool is.
#[utoipa::path(get, path = "/api/v1/pools/{id}/stats", operation_id = "pool_stats", tag = "pools",
    params(("id" = String, Path, description = "The pool's id")),
    responses((status = 200, description = "In grains, over all realms and each", body = StatsBody), Problems, Unknown))]
pub(super) async fn stats(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    let stats = rest.app.pool_stats(&caller, &read_id("id", &id)?).await?;
    answer(StatusCode::OK, &StatsBody::of(&stats))
}
