//! The REST face: JSON over HTTP under `/api/v1`, health and readiness at the root.
//!
//! Handlers read a request into what the application layer asks for and show what it answers; they decide nothing. The
//! `OpenAPI` document is generated from them. What older clients rely on is written at the place that keeps it.

mod allocations;
mod body;
mod dto;
mod health;
mod leases;
mod lists;
mod nodes;
mod observe;
mod openapi;
mod params;
mod plugins;
mod pools;
mod problem;
mod reservations;
mod resources;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::routing::{any, delete, get, post};
use prometheus::Registry;
use tower::Layer as _;
use tower::util::MapRequestLayer;

use crate::app::{App, AppError};
use crate::auth::Authority;

pub use openapi::openapi;

/// What every handler is given.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    app: Arc<App>,
    authority: Arc<Authority>,
}

/// The whole face, ready to be served.
pub fn router(app: Arc<App>, authority: Arc<Authority>) -> Router {
    let rest = Rest { app, authority };
    let counted = axum::middleware::from_fn_with_state(rest.clone(), observe::observe);
    let v1 = pool_routes().merge(allocation_routes()).merge(operator_routes());
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/openapi.json", get(openapi::serve))
        .nest("/api/v1", v1)
        .fallback(any(no_such_path))
        .layer(counted)
        .with_state(rest);
    // Before routing, so that the router sees the path as it was meant.
    let tolerant = MapRequestLayer::new(single_slashes).layer(routes);
    Router::new().fallback_service(tolerant)
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
        .route("/explain", post(allocations::explain))
        .route("/resources/{type}/{*resource}", get(resources::holders))
}

fn operator_routes() -> Router<Rest> {
    Router::new()
        .route("/nodes", get(nodes::list))
        .route("/nodes/{id}/allocations", get(nodes::allocations))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{type}/retire", post(plugins::retire))
        .route("/watch", get(watch::watch))
}

async fn no_such_path(uri: Uri) -> problem::Refusal {
    AppError::NoSuchPath { path: uri.path().chars().take(128).collect() }.into()
}

/// Clients join base and path without looking, so `//` means `/`.
fn single_slashes(mut request: Request) -> Request {
    let path = request.uri().path();
    if !path.contains("//") {
        return request;
    }
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if !(letter == '/' && single.ends_with('/')) {
            single.push(letter);
        }
    }
    if let Some(query) = request.uri().query() {
        single.push('?');
        single.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    // What was a path stays one without some of its slashes; if not, the request goes on as it came.
    if let Ok(path_and_query) = single.parse() {
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
