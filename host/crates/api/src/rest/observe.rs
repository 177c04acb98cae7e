//! Around every request: a path as it was meant, a count by route template, and never an answer without a reason.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Rest;
use super::problem::Refusal;
use crate::app::AppError;

/// The `path` label of what no route matched: a raw path would be a label that clients make up.
const NO_ROUTE: &str = "none";

/// Inside the router, which has found the route.
pub(super) async fn observe(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = label(request.method());
    let response = next.run(request).await;
    let path = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let status = response.status();
    rest.app.metrics().request(method, path, status.as_str(), begun.elapsed());
    tracing::debug!(method, path, status = status.as_u16(), "request");
    response
}

/// Outside the router: clients join base and path without looking, so `//` means `/`; and a route without the asked
/// method answers with an empty 405, which gets its reason.
pub(super) async fn tolerate(mut request: Request, next: Next) -> Response {
    if request.uri().path().contains("//")
        && let Some(uri) = single_slashes(request.uri())
    {
        *request.uri_mut() = uri;
    }
    let method = label(request.method());
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let allow = response.headers().get(ALLOW).cloned();
    let allowed = allow.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default().replace(',', ", ");
    let mut told = Refusal::from(AppError::MethodNotAllowed { method: method.to_owned(), allowed }).into_response();
    if let Some(allow) = allow {
        told.headers_mut().insert(ALLOW, allow);
    }
    told
}

/// `None` leaves the request as it came.
fn single_slashes(uri: &Uri) -> Option<Uri> {
    let mut single = String::with_capacity(uri.path().len());
    for letter in uri.path().chars() {
        if !(letter == '/' && single.ends_with('/')) {
            single.push(letter);
        }
    }
    if let Some(query) = uri.query() {
        single.push('?');
        single.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(single.parse().ok()?);
    Uri::from_parts(parts).ok()
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
