//! Why a call to a plugin failed.

use std::fmt;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// A JSON pointer (RFC 6901) into the spec, or `/<hint name>`. Empty for the whole document.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

impl Problem {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// What a plugin answers instead of a result. The same cases as `error` in `wit/types.wit`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The pool's spec cannot be used; every fault found, not only the first.
    #[error("the spec has {} fault(s): {}", .0.len(), join(.0))]
    InvalidSpec(Vec<Problem>),
    /// The text does not name a resource of this type; the text here says what would.
    #[error("{0}")]
    InvalidName(String),
    /// A hint cannot be followed.
    #[error("{0}")]
    InvalidHint(Problem),
    /// The resource is well formed but not one of this pool's.
    #[error("not a resource of this pool")]
    OutOfRange,
    /// The plugin's own fault.
    #[error("the plugin failed: {0}")]
    Internal(String),
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
