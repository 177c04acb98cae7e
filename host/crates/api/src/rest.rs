//! The REST face: JSON over HTTP under `/api/v1`, health and readiness at the root.
//!
//! Handlers read a request into what the application layer asks for and show what it answers; they decide nothing. The
//! `OpenAPI` document is generated from them. What older clients rely on is written at the place that keeps it.

mod allocations;
mod backup;
mod body;
mod cluster;
mod conflicts;
mod dto;
mod health;
mod leases;
mod lists;
mod nodes;
mod notes;
mod observe;
mod openapi;
mod params;
mod plugins;
mod pools;
mod problem;
mod reservations;
mod resources;
mod server;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::{any, delete, get, post};
use prometheus::Registry;
use tower::Layer as _;

use crate::app::{App, AppError};
use crate::auth::Authority;

pub use openapi::openapi;
pub use server::{serve, serve_metrics};

/// What every handler is given.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    app: Arc<App>,
    authority: Arc<Authority>,
}

/// The whole face, ready to be served.
pub fn router(app: Arc<App>, authority: Arc<Authority>) -> Router {
    let described =
        if app.settings().openapi { Router::new().route("/openapi.json", get(openapi::serve)) } else { Router::new() };
    let rest = Rest { app, authority };
    let counted = axum::middleware::from_fn_with_state(rest.clone(), observe::observe);
    let v1 = pool_routes().merge(allocation_routes()).merge(operator_routes()).merge(cluster_routes());
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .merge(described)
        .nest("/api/v1", v1)
        .fallback(any(no_such_path))
        .layer(counted)
        .with_state(rest);
    // Around the router: what it is asked, and what it answers without any handler.
    Router::new().fallback_service(axum::middleware::from_fn(observe::tolerate).layer(routes))
}

/// Prometheus text at `/metrics`, to be served on a port of its own.
pub fn metrics_router(registry: Registry) -> Router {
    Router::new().route("/metrics", get(health::metrics)).with_state(registry)
}

fn pool_routes() -> Router<Rest> {
    Router::new()
        .route("/pools", get(pools::list).post(pools::create))
        .route("/pools/{id}", get(pools::get).put(pools::update).delete(pools::delete))
        .route("/pools/{id}/stats", get(pools::stats))
        .route("/pools/{id}/reservations", get(reservations::list_of_pool).post(reservations::add))
        .route("/pools/{id}/reservations/{*resource}", delete(reservations::remove))
        .route("/reservations", get(reservations::list))
}

fn allocation_routes() -> Router<Rest> {
    Router::new()
        .route("/allocate", post(allocations::allocate))
        .route("/allocate/{subscriber}", delete(leases::release))
        .route("/allocations", get(lists::list).post(allocations::allocate))
        .route("/allocations:batch", post(allocations::batch))
        // A subscriber may be called `expiring`, so that list is told apart by its parameter and not by a route.
        .route("/allocations/{subscriber}", get(allocations::get_or_expiring).delete(leases::release))
        .route("/allocations/{subscriber}/renew", post(leases::renew))
        .route("/conflicts", get(conflicts::list))
        .route("/conflicts/{id}/confirm", post(conflicts::confirm))
        .route("/explain", post(allocations::explain))
        .route("/resources/{type}/{*resource}", get(resources::holders))
}

fn operator_routes() -> Router<Rest> {
    Router::new()
        .route("/nodes", get(nodes::list))
        .route("/nodes/{id}/allocations", get(nodes::allocations))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{type}/retire", post(plugins::retire))
        .route("/plugins/{type}/resume", post(plugins::resume))
        .route("/watch", get(watch::watch))
        .route("/notes", get(notes::list))
        .route("/notes/{*key}", get(notes::get).put(notes::put).delete(notes::delete))
}

fn cluster_routes() -> Router<Rest> {
    Router::new()
        .route("/hashring", get(cluster::hashring))
        .route("/cluster/status", get(cluster::status))
        .route("/cluster/init", post(cluster::init))
        .route("/cluster/join", post(cluster::join))
        .route("/cluster/leave", post(cluster::leave))
        .route("/cluster/members/{member}", delete(cluster::remove))
        .route("/cluster/members/{member}/promote", post(cluster::promote))
        .route("/cluster/members/{member}/demote", post(cluster::demote))
        .route("/cluster/members/{member}/drain", post(cluster::drain))
        .route("/cluster/members/{member}/undrain", post(cluster::undrain))
        .route("/cluster/shards:move", post(cluster::move_shards))
        .route("/cluster/shards:seize", post(cluster::seize_shards))
        .route("/cluster/shards:end-quarantine", post(cluster::end_quarantine))
        .route("/admin/backup", post(backup::backup))
}

async fn no_such_path(uri: Uri) -> problem::Refusal {
    AppError::NoSuchPath { path: uri.path().chars().take(128).collect() }.into()
}
