//! Refusals on the wire: a status with its code, the sentence, and `google.rpc` details that say the same to a program.

use std::collections::{BTreeMap, HashMap};

use nexus_proto::v1;
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

use crate::app::{AppError, faults};
use crate::status::status;

/// Who speaks in an `ErrorInfo`.
const DOMAIN: &str = "nexus";

/// Details travel in a header, escaped; many clients refuse headers above 8 KiB in all, so what is told has a bound.
const MOST_SENTENCE: usize = 1_024;
const MOST_DETAILS: usize = 2_048;

/// What a failed call answers.
pub(super) fn refuse(error: &AppError) -> Status {
    refuse_held(error, std::iter::empty())
}

/// The same with what stands in the way: a resource's text and who holds it.
pub(super) fn refuse_held(error: &AppError, in_the_way: impl Iterator<Item = (String, String)>) -> Status {
    let is = status(error);
    let mut details = ErrorDetails::new();
    details.set_error_info(is.reason, DOMAIN, metadata(error).into_iter().collect::<HashMap<_, _>>());
    let mut room = MOST_DETAILS;
    let mut fits = |a: &str, b: &str| match room.checked_sub(a.len() + b.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    if is.grpc == tonic::Code::InvalidArgument {
        let violations = faults(error).into_iter().take_while(|fault| fits(&fault.field, &fault.remedy));
        let told: Vec<_> = violations.map(|fault| FieldViolation::new(fault.field, fault.remedy)).collect();
        details.set_bad_request(told);
    }
    let held = in_the_way.take_while(|(resource, holder)| fits(resource, holder));
    let told: Vec<_> = held.map(|(resource, holder)| PreconditionViolation::new("HELD", resource, holder)).collect();
    if !told.is_empty() {
        details.set_precondition_failure(told);
    }
    Status::with_error_details(is.grpc, sentence(error), details)
}

/// The same for one item of a batch or a stream.
pub(super) fn refuse_item(error: &AppError) -> v1::Error {
    let is = status(error);
    v1::Error {
        code: is.grpc.into(),
        message: sentence(error),
        reason: is.reason.to_owned(),
        retryable: is.retryable,
        metadata: metadata(error),
    }
}

fn sentence(error: &AppError) -> String {
    let mut sentence = error.to_string();
    if let Some((cut, _)) = sentence.char_indices().nth(MOST_SENTENCE) {
        sentence.truncate(cut);
        sentence.push('…');
    }
    sentence
}

/// The first field at fault, and whether to try again.
fn metadata(error: &AppError) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([("retryable".to_owned(), status(error).retryable.to_string())]);
    if let Some(first) = faults(error).into_iter().next() {
        metadata.insert("field".to_owned(), first.field);
        metadata.insert("value".to_owned(), first.value);
        metadata.insert("remedy".to_owned(), first.remedy);
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Fault;
    use crate::grpc::client::ClientError;

    #[test]
    fn a_client_reads_what_was_meant() {
        let error =
            AppError::Invalid(vec![Fault::new("ttl", "1y", "must be a duration"), Fault::new("key", "", "short")]);
        let read = ClientError::from(refuse(&error));
        assert_eq!((read.code, read.reason.as_str()), (tonic::Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!((read.metadata["field"].as_str(), read.metadata["value"].as_str()), ("ttl", "1y"));
        assert_eq!(read.violations.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["ttl", "key"]);
        assert!(!read.retryable());
    }

    #[test]
    fn a_long_refusal_fits_into_a_header() {
        let faults = (0..500).map(|at| Fault::new(format!("/spec/{at}"), "x".repeat(300), "y".repeat(100))).collect();
        let told = refuse(&AppError::Invalid(faults));
        assert!(told.message().len() <= MOST_SENTENCE * 4 && told.details().len() < 3 * MOST_DETAILS);
    }
}
