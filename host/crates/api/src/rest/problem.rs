//! Refusals on the wire: RFC 9457 problem objects, which also carry `error`, the sentence that older clients print.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kernel::CommandError;

use super::dto::problem::{FaultBody, ProblemBody};
use crate::app::{AppError, Fault, faults, rfc3339};
use crate::engine::EngineError;
use crate::status::{Status, status};

/// Most holders that a refusal names.
const MOST_HOLDERS: usize = 100;

/// What a handler fails with.
#[derive(Debug)]
pub(super) struct Refusal(AppError);

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        Self(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self(AppError::Engine(error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        respond(&self.0)
    }
}

fn respond(error: &AppError) -> Response {
    let Status { http, retryable, .. } = status(error);
    let body = serde_json::to_vec(&problem(error)).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = http;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if retryable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if http == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The problem object of an error; also an item's error in a batch.
pub(super) fn problem(error: &AppError) -> ProblemBody {
    let Status { http, reason, title, retryable, .. } = status(error);
    let sentence = error.to_string();
    let faults = faults(error).into_iter().map(|Fault { field, value, remedy }| FaultBody { field, value, remedy });
    let mut body = ProblemBody {
        kind: format!("urn:nexus:problem:{}", reason.to_ascii_lowercase().replace('_', "-")),
        title: title.to_owned(),
        status: http.as_u16(),
        detail: sentence.clone(),
        error: sentence,
        reason: reason.to_owned(),
        retryable,
        errors: faults.collect(),
        ..ProblemBody::default()
    };
    if let AppError::Refused { error, resource } = error {
        body.resource = resource.as_ref().map(ToString::to_string);
        add_facts(&mut body, error);
    }
    body
}

/// What a client or an operator needs to go on.
fn add_facts(body: &mut ProblemBody, error: &CommandError) {
    match error {
        CommandError::Exhausted { pool, occupancy, .. } => {
            body.pool_id = Some(pool.to_string());
            body.capacity = Some(occupancy.total);
            body.allocated = Some(occupancy.held);
            body.available = Some(occupancy.free);
            body.hold_down = Some(occupancy.resting);
            body.reserved = Some(occupancy.reserved);
            body.excluded = Some(occupancy.excluded);
        }
        CommandError::Held { pool, by, .. } | CommandError::ReservedForAnother { pool, by, .. } => {
            body.pool_id = Some(pool.to_string());
            body.holders = by.iter().map(ToString::to_string).collect();
        }
        CommandError::RestingForAnother { pool, until_ms, .. } => {
            body.pool_id = Some(pool.to_string());
            body.until = Some(rfc3339(*until_ms));
        }
        CommandError::SpansHeld { pool, holders, .. } => {
            body.pool_id = Some(pool.to_string());
            body.holders = holders.iter().take(MOST_HOLDERS).map(|(_, holder)| holder.to_string()).collect();
        }
        CommandError::PoolOverlaps { pool, other, .. } => {
            body.pool_id = Some(pool.to_string());
            body.other_pool_id = other.as_ref().map(ToString::to_string);
        }
        CommandError::PoolClosing { pool }
        | CommandError::PoolDiffers { pool, .. }
        | CommandError::PoolInUse { pool, .. }
        | CommandError::RevisionDiffers { pool, .. }
        | CommandError::PoolFieldFixed { pool, .. }
        | CommandError::PoolGeometry { pool, .. }
        | CommandError::MustBeAsked { pool }
        | CommandError::HoldsAnother { pool, .. }
        | CommandError::Superseded { pool, .. }
        | CommandError::HoldsInOtherRealm { pool, .. }
        | CommandError::OutsidePool { pool, .. }
        | CommandError::Excluded { pool, .. }
        | CommandError::LengthRefused { pool, .. }
        | CommandError::Misaligned { pool, .. }
        | CommandError::RealmValueMissing { pool }
        | CommandError::TooManyRealms { pool, .. }
        | CommandError::RealmValueInvalid { pool, .. }
        | CommandError::NotHeld { pool }
        | CommandError::NoLease { pool }
        | CommandError::NotReserved { pool, .. }
        | CommandError::Elsewhere { pool, .. }
        | CommandError::Withheld { pool }
        | CommandError::Unconfirmed { pool, .. } => body.pool_id = Some(pool.to_string()),
        CommandError::PoolUnknown { .. }
        | CommandError::Crowded { .. }
        | CommandError::LedgerDecides
        | CommandError::NoteUnknown { .. }
        | CommandError::NoteDiffers { .. }
        | CommandError::NotesFull { .. }
        | CommandError::NotesWithheld => {}
    }
}
