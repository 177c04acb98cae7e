//! Liveness, readiness and metrics: never behind tokens or limits.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use prometheus::{Encoder as _, Registry, TextEncoder};

use super::Rest;
use super::body::answer;
use super::dto::node::ReadyBody;
use super::problem::Refusal;
use crate::app::AppError;

/// The daemon runs.
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "health",
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain", example = "ok")))]
pub(super) async fn health() -> &'static str {
    "ok"
}

/// The daemon can serve.
#[utoipa::path(get, path = "/ready", operation_id = "readiness", tag = "health",
    responses(
        (status = 200, description = "It can serve", body = ReadyBody, example = json!({"ready": true, "reasons": []})),
        (status = 503, description = "It cannot serve now", body = ReadyBody,
            example = json!({"ready": false, "reasons": ["loading 1,000,000 allocations"]})),
    ))]
pub(super) async fn ready(State(rest): State<Rest>) -> Result<Response, Refusal> {
    let reasons = rest.app.not_ready();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &ReadyBody { ready, reasons, warnings: rest.app.warnings() })
}

/// Everything that is counted, in Prometheus' text format.
pub(super) async fn metrics(State(registry): State<Registry>) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(why) => Refusal::from(AppError::Storage { why: why.to_string() }).into_response(),
    }
}
