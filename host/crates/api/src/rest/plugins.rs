//! Plugins.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use kernel::TypeId;

use super::Rest;
use super::body::{answer, no_content};
use super::dto::plugin::{PluginBody, PluginsBody};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Segments};
use super::problem::Refusal;
use crate::app::read_id;

/// List plugins, serving or refused, with the schemas of their specs and hints.
#[utoipa::path(get, path = "/api/v1/plugins", operation_id = "list_plugins", tag = "plugins",
    responses((status = 200, description = "All plugins", body = PluginsBody), Problems))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    let plugins = rest.app.plugins(&caller)?;
    let plugins: Vec<_> = plugins.iter().map(PluginBody::of).collect();
    answer(StatusCode::OK, &PluginsBody { count: plugins.len(), plugins })
}

/// Take a type out of service; refused while pools use it.
#[utoipa::path(post, path = "/api/v1/plugins/{type}/retire", operation_id = "retire_plugin", tag = "plugins",
    params(("type" = String, Path, description = "The resource type")),
    responses((status = 204, description = "Retired"), Problems, Unknown, Conflicts))]
pub(super) async fn retire(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(type_id): Segments<String>,
) -> Result<Response, Refusal> {
    let type_id: TypeId = read_id("type", &type_id)?;
    rest.app.retire_plugin(&caller, &type_id).await?;
    Ok(no_content())
}

/// Let a suspended or retired type serve again.
#[utoipa::path(post, path = "/api/v1/plugins/{type}/resume", operation_id = "resume_plugin", tag = "plugins",
    params(("type" = String, Path, description = "The resource type")),
    responses((status = 204, description = "It serves"), Problems, Unknown))]
pub(super) async fn resume(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(type_id): Segments<String>,
) -> Result<Response, Refusal> {
    let type_id: TypeId = read_id("type", &type_id)?;
    rest.app.resume_plugin(&caller, &type_id).await?;
    Ok(no_content())
}
