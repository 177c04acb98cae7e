//! Allocate, look up, explain.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::{Key, PoolId, SubscriberId};

use super::Rest;
use super::body::{Body, answer};
use super::dto::allocation::{
    AllocateBody, AllocationBody, AllocationsBody, BatchAnswer, BatchBody, BatchResult, HoldingsBody,
};
use super::dto::explain::ExplainBody;
use super::lists::{beside, list_expiring, rows};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::{Refusal, problem};
use crate::app::json::OneObject;
use crate::app::{App, AppError, Granted, Holding, Pairs, Select, read_id};

/// Allocate a resource, or get the one that is held already.
#[utoipa::path(post, path = "/api/v1/allocations", operation_id = "allocate", tag = "allocations", request_body = AllocateBody,
    params(("attributes" = Option<String>, Query, description = "`all`: with the facts of this one resource, such as RADIUS attributes")),
    responses(
        (status = 201, description = "Allocated; on disk", body = AllocationBody),
        (status = 200, description = "Held already, the same answer again; a lease is renewed", body = AllocationBody),
        Problems, Unknown, Conflicts,
    ))]
pub(super) async fn allocate(
    By(caller): By,
    State(rest): State<Rest>,
    params: Params,
    body: Body,
) -> Result<Response, Refusal> {
    let input = body.json::<AllocateBody>()?.read()?;
    let Granted { holding, created, durability } = rest.app.allocate(&caller, input).await?;
    let own = own_attributes(&rest.app, &params, &holding).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    answer(status, &AllocationBody::full(&holding, beside(&rest.app, &holding), &own).granted(created, durability))
}

/// The same as `POST /api/v1/allocations`.
#[utoipa::path(post, path = "/api/v1/allocate", operation_id = "allocate_alias", tag = "allocations", request_body = AllocateBody,
    params(("attributes" = Option<String>, Query, description = "`all`: with the facts of this one resource, such as RADIUS attributes")),
    responses(
        (status = 201, description = "Allocated; on disk", body = AllocationBody),
        (status = 200, description = "Held already", body = AllocationBody),
        Problems, Unknown, Conflicts,
    ))]
#[allow(dead_code, reason = "the path is served by `allocate`; this only describes it")]
pub(super) fn allocate_alias() {}

/// Allocate many, each by itself.
#[utoipa::path(post, path = "/api/v1/allocations:batch", operation_id = "allocate_batch", tag = "allocations", request_body = BatchBody,
    responses((status = 200, description = "Each request's own result, in order", body = BatchAnswer), Problems))]
pub(super) async fn batch(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let BatchBody { requests, atomic } = body.json()?;
    if atomic {
        return Err(AppError::invalid("atomic", true, "must be false or absent: each request stands for itself").into());
    }
    let limit = rest.app.settings().batch_limit;
    if requests.len() > limit {
        return Err(AppError::invalid("requests", requests.len(), format!("must have at most {limit} entries")).into());
    }
    let read: Vec<_> = requests.iter().map(|OneObject(request)| request.read()).collect();
    let mut inputs = Vec::with_capacity(read.len());
    let faults: Vec<Option<AppError>> =
        read.into_iter().map(|read| read.map(|input| inputs.push(input)).err()).collect();
    let mut granted = rest.app.allocate_many(&caller, inputs).await.into_iter();
    // Every request that could be read has its result, in order.
    let results: Vec<Result<Granted, AppError>> =
        faults.into_iter().filter_map(|fault| fault.map_or_else(|| granted.next(), |error| Some(Err(error)))).collect();
    let shown: Vec<_> = results.iter().map(|result| batch_result(&rest.app, result)).collect();
    let failed = results.iter().filter(|result| result.is_err()).count();
    answer(StatusCode::OK, &BatchAnswer { count: shown.len(), results: shown, failed })
}

fn batch_result<'a>(app: &App, result: &'a Result<Granted, AppError>) -> BatchResult<'a> {
    match result {
        Ok(Granted { holding, created, durability }) => BatchResult {
            status: if *created { StatusCode::CREATED } else { StatusCode::OK }.as_u16(),
            allocation: Some(AllocationBody::row(holding, beside(app, holding)).durable(*durability)),
            problem: None,
        },
        Err(error) => {
            let problem = problem(error);
            BatchResult { status: problem.status, allocation: None, problem: Some(problem) }
        }
    }
}

/// Where an allocate request would go, or why it would fail. Changes nothing.
#[utoipa::path(post, path = "/api/v1/explain", operation_id = "explain", tag = "allocations", request_body = AllocateBody,
    responses((status = 200, description = "What would happen", body = ExplainBody), Problems, Unknown))]
pub(super) async fn explain(By(caller): By, State(rest): State<Rest>, body: Body) -> Result<Response, Refusal> {
    let input = body.json::<AllocateBody>()?.read()?;
    let explained = rest.app.explain(&caller, input).await?;
    let failure = explained.failure.as_ref().map(problem);
    answer(StatusCode::OK, &ExplainBody::of(&explained, failure))
}

/// A subscriber's allocation, and all it has. Without `pool_id`: the newest ipv4, else the newest ipv6, else the newest.
/// The subscriber `expiring` with `within` is the list of leases that end soon.
#[utoipa::path(get, path = "/api/v1/allocations/{subscriber}", operation_id = "get_allocation", tag = "allocations",
    params(
        ("subscriber" = String, Path, description = "Percent-encoded"),
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("key" = Option<String>, Query, description = "Only under this key"),
        ("resource" = Option<String>, Query, description = "Only this resource"),
        ("timestamp" = Option<String>, Query, description = "Only one that was made then"),
        ("attributes" = Option<String>, Query, description = "`all`: with the facts of this one resource, such as RADIUS attributes"),
        ("within" = Option<String>, Query, description = "Of `expiring`: `5m` or integer seconds"),
        ("cursor" = Option<String>, Query, description = "Of `expiring`"),
        ("limit" = Option<u32>, Query, description = "Of `expiring`: 1 to 10,000"),
    ),
    responses((status = 200, description = "What it holds", body = HoldingsBody), Problems, Unknown))]
pub(super) async fn get_or_expiring(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(subscriber): Segments<String>,
    params: Params,
) -> Result<Response, Refusal> {
    if subscriber == "expiring"
        && let Some(within_ms) = params.duration_ms("within")?
    {
        return list_expiring(&caller, &rest, &params, within_ms);
    }
    let subscriber: SubscriberId = read_id("subscriber_id", &subscriber)?;
    let holdings = rest.app.holdings(&caller, &subscriber, &select(&params)?)?;
    let own = own_attributes(&rest.app, &params, &holdings.shown).await?;
    let shown = AllocationBody::full(&holdings.shown, beside(&rest.app, &holdings.shown), &own);
    let allocations = rows(&rest.app, &holdings.all);
    answer(StatusCode::OK, &HoldingsBody { shown, count: allocations.len(), allocations })
}

/// Leases that end soon.
#[utoipa::path(get, path = "/api/v1/allocations/expiring", operation_id = "list_expiring", tag = "allocations",
    params(
        ("within" = String, Query, description = "`5m` or integer seconds; without it `expiring` is a subscriber"),
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000"),
    ),
    responses((status = 200, description = "A page of them", body = AllocationsBody), Problems, Unknown))]
#[allow(dead_code, reason = "the path is served by `get_or_expiring`; this only describes it")]
pub(super) fn expiring() {}

/// Which of the subscriber's allocations the parameters mean.
pub(super) fn select(params: &Params) -> Result<Select, AppError> {
    let resource = params.text("resource").map(str::to_owned);
    if let Some(long) = resource.as_ref().filter(|text| text.len() > 255) {
        return Err(AppError::invalid("resource", long, "must have at most 255 bytes"));
    }
    let (pool, key) = (params.id::<PoolId>("pool_id")?, params.id::<Key>("key")?);
    Ok(Select { pool, key, resource, made_ms: params.time_ms("timestamp")? })
}

/// Asks the plugin only if the request wants it.
async fn own_attributes(app: &App, params: &Params, held: &Holding) -> Result<Pairs, AppError> {
    match params.text("attributes") {
        None => Ok(Pairs::new()),
        Some("all") => app.attributes(held).await,
        Some(other) => Err(AppError::invalid("attributes", other, "must be all, or be left out")),
    }
}
