//! What callers are told.

use std::path::PathBuf;

use crate::fault::FailureReason;
use crate::refusal::Refusal;

/// One fault in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) into the spec, or `/<hint name>`.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

/// Why a call of a resource type gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    #[error("resource type {type_id} is unknown, known are {}", known.join(", "))]
    UnknownType { type_id: String, known: Vec<String> },
    /// Every fault the plugin found.
    #[error("the spec cannot be used: {}", .0.iter().map(|p| format!("{}: {}", p.path, p.message)).collect::<Vec<_>>().join("; "))]
    InvalidSpec(Vec<Problem>),
    #[error("{0}")]
    InvalidName(String),
    #[error("hint {}: {}", .0.path, .0.message)]
    InvalidHint(Problem),
    #[error("the resource is not one of this pool's")]
    OutOfRange,
    /// The plugin failed or is suspended. Retryable (`plugin_unavailable`).
    #[error("plugin for {type_id} is unavailable ({reason}): {why}")]
    Unavailable { type_id: String, reason: FailureReason, why: String },
}

/// Why plugins cannot be hosted at all, or a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum PluginHostError {
    #[error("could not set up the wasm engine: {0}")]
    Engine(String),
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("could not start thread {name}")]
    Thread {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("metric could not be registered")]
    Metrics(#[source] prometheus::Error),
    #[error("{} is not a record of an active plugin: {detail}", path.display())]
    Record { path: PathBuf, detail: String },
    #[error("component {name} served before and is refused now")]
    Recorded {
        name: String,
        #[source]
        source: Refusal,
    },
}

/// Why a plugin was not retired or resumed.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    #[error("no plugin serves type {type_id}, known are {}", known.join(", "))]
    Unknown { type_id: String, known: Vec<String> },
    #[error("type {type_id} is used by {} pools, first {}", pools.len(), pools.first().map_or("", String::as_str))]
    InUse { type_id: String, pools: Vec<String> },
    #[error("could not record it")]
    Record(#[source] PluginHostError),
}
