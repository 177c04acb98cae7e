//! How a command can end: the exit codes scripts rely on, and the failures they stand for.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use api::grpc::client::{ClientError, ConnectError};
use tonic::Code;

use crate::yaml::Fault;

/// What the process ends with. The numbers are a promise to scripts and stand in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The daemon or this machine failed in a way none of the others describes.
    Failed,
    /// The command line, a file or a value is wrong: the same again will never work.
    Usage,
    NotFound,
    /// What is there stands in the way.
    Conflict,
    Exhausted,
    /// The same command may succeed later.
    Unavailable,
    NotAuthorised,
}

/// Every code with its meaning, as the help shows it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line, a file or a value is wrong
  3  not found
  4  conflict: what is there stands in the way
  5  the pool is exhausted
  6  unavailable: the same command may succeed later
  7  not authorised";

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Exhausted => 5,
            Self::Unavailable => 6,
            Self::NotAuthorised => 7,
        }
    }

    fn of_refusal(error: &ClientError) -> Self {
        match error.code {
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Self::Conflict,
            // Without a reason it is the transport that ran out of something, not a pool.
            Code::ResourceExhausted if error.reason.is_empty() => Self::Failed,
            Code::ResourceExhausted => Self::Exhausted,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            Code::Unauthenticated | Code::PermissionDenied => Self::NotAuthorised,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    /// Everything that is wrong with a file, each with its line.
    #[error("{file} cannot be used")]
    File { file: String, faults: Vec<Fault> },
    #[error("{} cannot be read", path.display())]
    Unreadable { path: std::path::PathBuf, source: io::Error },
    #[error("{} cannot be written", path.display())]
    Unwritable { path: std::path::PathBuf, source: io::Error },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Refused(Box<ClientError>),
    /// No answer came, and it was not the daemon that said so.
    #[error("the connection broke")]
    Broken { causes: Vec<String> },
    /// The daemon ended a watch.
    #[error("the watch ended{}", resume.as_ref().map_or_else(String::new, |token| format!("; go on with --resume {token}")))]
    WatchEnded { resume: Option<String>, source: Option<Box<ClientError>> },
    /// What was waited for will not happen.
    #[error("{node} drains no more: somebody took that back")]
    TakenBack { node: String },
    /// Some of several were refused; each was told where it happened.
    #[error("{refused} of {all} pools were refused")]
    Partly { refused: usize, all: usize, worst: Exit },
    #[error("the output could not be written")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::Unreadable { .. } => Exit::Usage,
            Self::TakenBack { .. } => Exit::Conflict,
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => Exit::Conflict,
            Self::Connect(error) => match error {
                ConnectError::Unreachable { .. } => Exit::Unavailable,
                ConnectError::Address { .. }
                | ConnectError::Credential { .. }
                | ConnectError::File { .. }
                | ConnectError::NoCertificate { .. }
                | ConnectError::Untrusted { .. }
                | ConnectError::Tls { .. } => Exit::Usage,
            },
            Self::Refused(error) => Exit::of_refusal(error),
            Self::Broken { .. } => Exit::Unavailable,
            Self::WatchEnded { source, .. } => {
                source.as_ref().map_or(Exit::Unavailable, |error| Exit::of_refusal(error))
            }
            Self::Partly { worst, .. } => *worst,
            // Whoever reads through `head` has what it wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) | Self::Unwritable { .. } => Exit::Failed,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let causes = causes(&status);
        let error = ClientError::from(status);
        if error.reason.is_empty() && !causes.is_empty() { Self::Broken { causes } } else { error.into() }
    }
}

/// What lies below an error, without the repetitions that layers of a transport like.
pub(crate) fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(code: Code, reason: &str) -> u8 {
        let error = ClientError {
            code,
            message: "no".to_owned(),
            reason: reason.to_owned(),
            metadata: std::collections::BTreeMap::new(),
            violations: Vec::new(),
            in_the_way: Vec::new(),
        };
        Failure::from(error).exit().code()
    }

    #[test]
    fn every_kind_of_refusal_has_its_documented_code() {
        let expected = [
            (Code::Internal, "", 1),
            (Code::InvalidArgument, "INVALID_FIELD", 2),
            (Code::NotFound, "POOL_UNKNOWN", 3),
            (Code::AlreadyExists, "RESOURCE_HELD", 4),
            (Code::FailedPrecondition, "POOL_IN_USE", 4),
            (Code::Aborted, "REVISION_DIFFERS", 4),
            (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 5),
            (Code::ResourceExhausted, "", 1),
            (Code::Unavailable, "OVERLOADED", 6),
            (Code::DeadlineExceeded, "", 6),
            (Code::Unauthenticated, "UNAUTHENTICATED", 7),
            (Code::PermissionDenied, "FORBIDDEN", 7),
        ];
        for (code, reason, exit) in expected {
            assert_eq!(exit_of(code, reason), exit, "{code:?} {reason}");
        }
    }

    #[test]
    fn the_help_names_every_code() {
        let codes = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Exhausted,
            Exit::Unavailable,
            Exit::NotAuthorised,
        ];
        for exit in codes {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit.code())), "{exit:?}");
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let closed = Failure::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.exit(), Exit::Done);
    }
}
