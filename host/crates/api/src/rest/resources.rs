//! Who holds a resource, or held it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::TypeId;

use super::Rest;
use super::body::answer;
use super::dto::holder::{HoldersBody, PastHolderBody};
use super::lists::rows;
use super::openapi::{Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{AppError, HolderQuery, read_id};

/// Who holds a resource now, or held it at a moment.
#[utoipa::path(get, path = "/api/v1/resources/{type}/{resource}", operation_id = "get_holders", tag = "resources",
    params(
        ("type" = String, Path, description = "The resource type: ipv4, ipv6, vlan, ..."),
        ("resource" = String, Path, description = "Its text, in any spelling; a `/` may stand as it is"),
        ("realm" = Option<String>, Query, description = "Only in this realm"),
        ("pool_id" = Option<String>, Query, description = "Only in this pool"),
        ("at" = Option<String>, Query, description = "Who held it then: RFC 3339 or Unix seconds"),
        ("history" = Option<u32>, Query, description = "How many former holders to show too"),
    ),
    responses((status = 200, description = "Who holds or held it", body = HoldersBody), Problems, Unknown))]
pub(super) async fn holders(
    By(caller): By,
    State(rest): State<Rest>,
    Segments((type_id, resource)): Segments<(String, String)>,
    params: Params,
) -> Result<Response, Refusal> {
    let type_id: TypeId = read_id("type", &type_id)?;
    if resource.len() > 255 {
        return Err(AppError::invalid("resource", resource, "must have at most 255 bytes").into());
    }
    let query = HolderQuery {
        type_id: Some(type_id.clone()),
        resource,
        pool: params.id("pool_id")?,
        realm: params.id("realm")?,
        at_ms: params.time_ms("at")?,
        past: params.number("history")?.unwrap_or(0),
    };
    let found = rest.app.holders(&caller, &query).await?;
    let holders = rows(&rest.app, &found.current);
    let past = found.past.iter().map(PastHolderBody::of).collect();
    let body = HoldersBody {
        resource: &found.resource,
        type_id: type_id.as_str(),
        count: holders.len(),
        holders,
        past,
        history_from: found.history_from_ms.map(crate::app::rfc3339),
    };
    answer(StatusCode::OK, &body)
}
