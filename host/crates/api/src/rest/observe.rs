//! Around every request: counted by its route template, and never answered without a body that says why.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Rest;
use super::problem::Refusal;
use crate::app::AppError;

/// The `path` label of what no route matched: a raw path would be a label that clients make up.
const NO_ROUTE: &str = "none";

pub(super) async fn observe(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = with_reason(&method, next.run(request).await);
    let path = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let status = response.status();
    rest.app.metrics().request(label(&method), path, status.as_str(), begun.elapsed());
    tracing::debug!(method = label(&method), path, status = status.as_u16(), "request");
    response
}

/// A route without the method answers with an empty 405 of the router's.
fn with_reason(method: &Method, response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let allowed = allow.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default().replace(',', ", ");
    let error = AppError::MethodNotAllowed { method: label(method).to_owned(), allowed };
    let mut told = Refusal::from(error).into_response();
    if let Some(allow) = allow {
        told.headers_mut().insert(ALLOW, allow);
    }
    told
}

/// Methods are made up by clients too.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
