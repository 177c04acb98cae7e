//! What the application layer needs of the rest of the daemon; the host crate implements it over plugin-host and store.

use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use kernel::{EndCause, Geometry, Key, Plan, Pool, PoolUid, RealmUid, Span, SubscriberId, TypeId};

/// One fault in a document: where (JSON pointer) and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub message: String,
}

/// Why a resource type could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    #[error("resource type {type_id} is unknown; known are {}", known.join(", "))]
    Unknown { type_id: String, known: Vec<String> },
    #[error("the pool's spec is not usable")]
    InvalidSpec(Vec<Problem>),
    #[error("{0}")]
    InvalidName(String),
    #[error("hint {}: {}", .0.path, .0.message)]
    InvalidHint(Problem),
    #[error("the resource is not one of this pool's")]
    OutOfRange,
    /// Retryable.
    #[error("plugin for {type_id} is unavailable: {why}")]
    Unavailable { type_id: String, why: String },
}

/// A spec as its plugin reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSpec {
    pub geometry: Geometry,
    pub mapping_id: CompactString,
}

/// The plugins, as far as requests need them.
pub trait ResourceTypes: fmt::Debug + Send + Sync {
    /// Reads a pool's spec (JSON text).
    fn open(&self, type_id: &TypeId, spec: &str) -> Result<OpenedSpec, TypeError>;
    /// Canonical names, in order, each on its own.
    fn render(&self, pool: &Pool, spans: &[Span]) -> Result<Vec<Result<CompactString, TypeError>>, TypeError>;
    /// Spans of names, in order, each on its own.
    fn parse(&self, pool: &Pool, names: &[&str]) -> Result<Vec<Result<Span, TypeError>>, TypeError>;
    /// What a request's hints ask for. Not called when there are none.
    fn interpret(&self, pool: &Pool, hints: &[(CompactString, CompactString)]) -> Result<Plan, TypeError>;
    /// Short texts that cover a run of the pool.
    fn summarize(&self, pool: &Pool, run: Span) -> Result<Vec<CompactString>, TypeError>;
    /// Facts true of one allocation, beside the pool's.
    fn attributes(&self, pool: &Pool, span: Span) -> Result<Vec<(CompactString, CompactString)>, TypeError>;
    /// Every plugin, serving or refused.
    fn list(&self) -> Vec<PluginStatus>;
    /// Takes a type out of service. Refused while pools use it.
    fn retire(&self, type_id: &TypeId) -> Result<(), RetireError>;
    /// Lets a suspended or retired type serve again; does nothing to one that serves.
    fn resume(&self, type_id: &TypeId) -> Result<(), RetireError>;
}

/// A plugin as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStatus {
    pub type_id: String,
    pub version: String,
    pub mapping_id: String,
    pub title: String,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// `embedded` or the file's path.
    pub source: String,
    /// The file is gone; the plugin serves on from the daemon's copy.
    pub missing: bool,
    /// `active`, `suspended`, `retired` or `refused`.
    pub state: PluginState,
    /// Why it is suspended or refused; empty otherwise.
    pub why: String,
    /// JSON Schemas (2020-12) as text; empty for a refused file.
    pub spec_schema: String,
    pub hint_schema: String,
    /// Specs that open, as JSON text.
    pub examples: Vec<String>,
    /// Unix milliseconds.
    pub loaded_ms: u64,
    pub calls: u64,
    pub failures: u64,
}

/// Whether a plugin serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    Active,
    Suspended,
    /// An operator took it out of service.
    Retired,
    Refused,
}

/// Why a plugin was not retired or resumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetireError {
    #[error("no plugin serves type {0}")]
    Unknown(String),
    #[error("type {type_id} is used by {} pools, first {}", pools.len(), pools.first().map_or("", String::as_str))]
    InUse { type_id: String, pools: Vec<String> },
    #[error("could not record it: {0}")]
    Storage(String),
}

/// Who held a span, from when to when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    pub pool: PoolUid,
    pub realm: RealmUid,
    pub span: Span,
    pub name: Option<CompactString>,
    pub subscriber: SubscriberId,
    pub key: Option<Key>,
    pub node: Option<String>,
    /// Unix milliseconds.
    pub from_ms: u64,
    pub to_ms: u64,
    pub cause: EndCause,
}

/// What was found in the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryAnswer {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// The history is complete from here on, Unix milliseconds.
    pub history_from_ms: u64,
}

/// Past holders, read from disk: call it where blocking is allowed.
pub trait History: fmt::Debug + Send + Sync {
    /// Past holders of a position in a pool's realm: at a moment, or (`None`) the newest `limit`.
    fn holders(
        &self,
        pool: PoolUid,
        realm: RealmUid,
        position: u128,
        at_ms: Option<u64>,
        limit: usize,
    ) -> Result<HistoryAnswer, String>;
}

/// Whether the daemon can serve, and if not, why.
pub trait Readiness: fmt::Debug + Send + Sync {
    /// Empty if ready.
    fn reasons(&self) -> Vec<String>;
    /// Things an operator should see although the daemon serves.
    fn warnings(&self) -> Vec<String>;
}

/// What a backup has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// Whose it is.
    pub node: String,
    pub files: u64,
    /// The file's length.
    pub bytes: u64,
    /// Every operation of the host up to this one is in it.
    pub through: u64,
}

/// A part of a backup on its way. The last one is no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPiece {
    /// The next bytes of the file.
    Data(Bytes),
    /// All of it was told.
    Done(BackupSummary),
    /// It comes to nothing; why.
    Failed(String),
}

/// Backups of the running daemon.
pub trait Backups: fmt::Debug + Send + Sync {
    /// Begins one. Its pieces come as fast as they are taken.
    ///
    /// # Errors
    ///
    /// Why none can be made now.
    fn begin(&self) -> Result<tokio::sync::mpsc::Receiver<BackupPiece>, String>;
}
