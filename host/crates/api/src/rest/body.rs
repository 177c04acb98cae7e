//! Bodies: read within a bound, whatever their Content-Type says, and written as JSON.

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Rest;
use super::problem::Refusal;
use crate::app::AppError;
use crate::app::json::{self, OneObject};

/// Of a body that is too long so much more is read, so that the client sees the answer before its connection ends.
const MOST_DRAINED: usize = 64 << 20;

/// A whole body.
#[derive(Debug)]
pub(super) struct Body(Bytes);

impl FromRequest<Rest> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Refusal> {
        let limit = rest.app.settings().body_limit;
        let mut chunks = request.into_body().into_data_stream();
        let mut whole = BytesMut::new();
        let mut length: usize = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|why| AppError::Malformed(format!("the body cannot be read: {why}")))?;
            length = length.saturating_add(chunk.len());
            if length > MOST_DRAINED.max(limit) {
                break;
            }
            if length <= limit {
                whole.extend_from_slice(&chunk);
            }
        }
        if length > limit { Err(AppError::TooLarge { limit }.into()) } else { Ok(Self(whole.freeze())) }
    }
}

impl Body {
    /// Reads it as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, AppError> {
        let read = serde_json::from_slice(&self.0).map_err(|error| json::malformed(&error));
        read.map(|OneObject(read)| read)
    }

    /// Reads it as a document of which every key stands once.
    pub(super) fn document(&self) -> Result<serde_json::Value, AppError> {
        json::read("", &self.0)
    }

    /// The same; nothing at all stands for the default.
    pub(super) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, AppError> {
        if self.0.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { self.json() }
    }
}

/// An answer with a JSON body.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response, Refusal> {
    let written = serde_json::to_vec(body)
        .map_err(|why| AppError::Storage { why: format!("the answer cannot be written: {why}") })?;
    let mut response = Response::new(axum::body::Body::from(written));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// An answer without a body.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
