//! What tonic says of a message it could not read, in the face's own words: the sender is at fault, not the server.

use http::Response;
use tonic::{Code, Status};

use super::refusal::refuse;
use super::server::MOST_MESSAGE_BYTES;
use crate::app::AppError;

/// How tonic begins when bytes are no message, and when there are none at all.
const UNREADABLE: [&str; 2] = ["failed to decode", "Missing request message"];

/// The refusal that is meant, if the status is tonic's word for an unreadable or too large message. No handler answers
/// with either code.
pub(super) fn meant(status: &Status) -> Option<Status> {
    let said = status.message();
    if status.code() == Code::Internal && UNREADABLE.iter().any(|begin| said.starts_with(begin)) {
        let remedy = format!("must be the method's request, see proto/nexus/v1: {said}");
        return Some(refuse(&AppError::missing("message", remedy)));
    }
    let too_large = status.code() == Code::OutOfRange;
    too_large.then(|| refuse(&AppError::TooLarge { limit: MOST_MESSAGE_BYTES }))
}

/// Puts the refusal that is meant into the head of an answer.
pub(super) fn mend<Out>(answer: &mut Response<Out>) {
    let refusal = Status::from_header_map(answer.headers()).as_ref().and_then(meant);
    if let Some(Err(unsent)) = refusal.map(|refusal| refusal.add_header(answer.headers_mut())) {
        tracing::debug!(error = %unsent, "a refusal stays as tonic worded it");
    }
}
