//! Why a request was not served. Faces decide on variants (through [`status`](crate::status)), never on text.

use std::fmt;

use compact_str::CompactString;
use kernel::{CommandError, InvalidId, PoolId, SubscriberId};

use super::caller::Role;
use crate::cluster::ClusterError;
use crate::engine::EngineError;

/// What is wrong with one field of a request, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field's name, or a JSON pointer into a document.
    pub field: String,
    /// The value as it was sent, cut to a readable length; empty if it was missing.
    pub value: String,
    /// What would be right.
    pub remedy: String,
}

/// A value is shown in a message up to here.
const SHOWN: usize = 128;

impl Fault {
    /// A fault; long values are cut.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, remedy: impl Into<String>) -> Self {
        let mut value = value.to_string();
        if let Some((cut, _)) = value.char_indices().nth(SHOWN) {
            value.truncate(cut);
            value.push('…');
        }
        Self { field: field.into(), value, remedy: remedy.into() }
    }
}

impl Fault {
    /// A fault at a JSON pointer into a field: `/exclusions/0` of `spec` is `spec.exclusions.0`. An empty `field` is the
    /// document itself.
    pub(crate) fn at_pointer(field: &str, pointer: &str, value: impl fmt::Display, remedy: impl Into<String>) -> Self {
        let below = pointer.trim_start_matches('/').replace('/', ".");
        let dot = if field.is_empty() || below.is_empty() { "" } else { "." };
        Self::new(format!("{field}{dot}{below}"), value, remedy)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, remedy } = self;
        if value.is_empty() { write!(f, "{field}: {remedy}") } else { write!(f, "{field} is {value:?}: {remedy}") }
    }
}

fn joined<T: fmt::Display>(faults: &[T]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Everything the application layer refuses or fails with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// One or more fields of the request are missing, malformed or unknown.
    #[error("{}", joined(.0))]
    Invalid(Vec<Fault>),
    /// The body is not the document it should be (malformed JSON, not an object).
    #[error("{0}")]
    Malformed(String),
    #[error("the body has more than {limit} bytes")]
    TooLarge { limit: usize },
    /// The plugin does not accept the pool's spec.
    #[error("the spec of pool {pool} is not usable: {}", joined(faults))]
    InvalidSpec { pool: PoolId, faults: Vec<Fault> },
    #[error("resource type {type_id:?} is unknown; known are {}", known.join(", "))]
    TypeUnknown { type_id: String, known: Vec<String> },
    /// The resource's text is not one of the pool's type.
    #[error("resource {resource:?} is not usable in pool {pool}: {why}")]
    ResourceInvalid { pool: PoolId, resource: String, why: String },
    /// The resource's text is fine, but the pool does not hold it.
    #[error("resource {resource:?} is not in pool {pool}")]
    ResourceOutside { pool: PoolId, resource: String },
    #[error("a hint is not usable in pool {pool}: {fault}")]
    HintInvalid { pool: PoolId, fault: Fault },
    /// Retryable; the allocation (if one was made) stands.
    #[error("the plugin for {type_id} is unavailable: {why}")]
    PluginUnavailable { type_id: String, why: String },
    #[error("pool {pool} is unknown")]
    PoolUnknown { pool: PoolId },
    /// The pool is unknown, and the subscriber id is the id of a pool.
    #[error("pool_id {pool} and subscriber_id {subscriber} look swapped")]
    IdsSwapped { pool: PoolId, subscriber: SubscriberId },
    #[error("pool {pool} makes its realm of {}; the request lacks {missing}", realm_by.join(", "))]
    RealmAttributeMissing { pool: PoolId, realm_by: Vec<String>, missing: String },
    #[error("subscriber {subscriber} holds nothing{}", pool.as_ref().map_or(String::new(), |pool| format!(" in pool {pool}")))]
    NothingHeld { subscriber: SubscriberId, pool: Option<PoolId> },
    #[error("subscriber {subscriber} holds only permanent allocations, which have no lease to renew")]
    OnlyPermanent { subscriber: SubscriberId },
    /// `at` is RFC 3339 if the question was about the past.
    #[error("nobody holds {resource}{}", at.as_ref().map_or(String::new(), |at| format!(" at {at}")))]
    NoHolder { resource: String, at: Option<String> },
    #[error("cursor {cursor:?} was not given out by this list")]
    CursorInvalid { cursor: String },
    #[error("{why}")]
    Unauthenticated { why: String },
    #[error("this needs role {}, the caller has {}", needs.as_str(), role.as_str())]
    Forbidden { role: Role, needs: Role },
    #[error("the caller may act for tenant {fixed} only, not {asked}")]
    TenantForbidden { asked: String, fixed: String },
    /// The kernel refused. `resource` is the span's text, if the error is about one.
    #[error("{}", super::refusal::sentence(error, resource.as_deref()))]
    Refused { error: Box<CommandError>, resource: Option<CompactString> },
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The cluster did not do what was asked of it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("history cannot be read: {why}")]
    History { why: String },
    #[error("conflict {id} is not open")]
    ConflictUnknown { id: String },
    #[error("no plugin serves type {type_id}")]
    PluginUnknown { type_id: String },
    #[error("type {type_id} is used by pools {}", pools.join(", "))]
    PluginInUse { type_id: String, pools: Vec<String> },
    #[error("it could not be recorded: {why}")]
    Storage { why: String },
    /// Retryable.
    #[error("no backup can be made now: {why}")]
    BackupRefused { why: String },
    #[error("no such path: {path}")]
    NoSuchPath { path: String },
    #[error("{method} is not possible here, possible are {allowed}")]
    MethodNotAllowed { method: String, allowed: String },
}

impl AppError {
    /// A single field is wrong.
    pub fn invalid(field: impl Into<String>, value: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, value, remedy)])
    }

    /// A single field is missing.
    pub fn missing(field: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::invalid(field, "", remedy)
    }

    /// An id of this field is not well formed.
    pub fn invalid_id(field: &str, value: &str, why: &InvalidId) -> Self {
        Self::invalid(field, value, why.to_string())
    }
}

/// Reads an id of a request's field.
pub fn read_id<T: std::str::FromStr<Err = InvalidId>>(field: &str, raw: &str) -> Result<T, AppError> {
    raw.parse().map_err(|why| AppError::invalid_id(field, raw, &why))
}
