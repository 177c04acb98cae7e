//! The application layer: what a request means, whichever face it came through.
//!
//! It finds the pool, asks a plugin only where text or hints are involved, hands the kernel a command and gives back
//! shared records that have their names. Look-ups, lists and watches are served from the read view on the caller's own
//! thread. It decides nothing about free space, and it knows neither HTTP nor gRPC. Whoever calls has been identified;
//! whether its role suffices is checked here, so that both faces agree.

mod allocate;
mod caller;
mod clock;
mod cluster;
mod conflicts;
mod document;
mod error;
mod fields;
mod holders;
mod input;
pub(crate) mod json;
mod leases;
mod lookups;
mod metrics;
mod names;
mod notes;
mod output;
mod plugins;
mod pools;
mod realms;
mod refusal;
mod reservations;
mod sample;
mod spelling;
mod watch;

use std::sync::Arc;

use kernel::NodeId;
use tokio_util::sync::CancellationToken;
use view::View;

pub use caller::{Caller, Role};
pub use clock::{parse_duration_ms, parse_time_ms, rfc3339};
pub use cluster::ShardsInput;
pub use conflicts::Superseding;
pub use error::{AppError, Fault, read_id};
pub(crate) use fields::Reader;
pub use input::{
    AllocateInput, ConflictQuery, DeleteMode, HolderQuery, ListQuery, MOST_ROWS, NoteInput, NoteQuery, Pairs,
    PoolInput, PoolQuery, ReleaseScope, ReservationInput, ReservationQuery, Select, UpdateMode, WatchOf, WatchQuery,
    key_of,
};
pub use metrics::ApiMetrics;
pub use output::{
    Change, Conflict, ConflictKind, Explained, Granted, Holders, Holding, Holdings, NodeSeen, NoteShown, Page,
    PastHolder, PoolCreated, PoolStats, PoolUpdated, ReservationMade, Reserved, WatchEvent, Watched,
};
pub use pools::capacity;
pub(crate) use pools::shown_shards;
pub use refusal::faults;
pub(crate) use spelling::suggestion;
pub use watch::Watch;

use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::ports::{Backups, History, Readiness, ResourceTypes};

/// What an operator may set of the faces; checked by whoever read it.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most requests of one batch.
    pub batch_limit: usize,
    /// Longest body of a request, in bytes.
    pub body_limit: usize,
    /// Whether REST shows its own description at `/openapi.json`.
    pub openapi: bool,
}

/// Everything the application layer stands on.
#[derive(Debug)]
pub struct Parts {
    pub engine: Engine,
    pub view: Arc<View>,
    pub types: Arc<dyn ResourceTypes>,
    pub history: Arc<dyn History>,
    pub readiness: Arc<dyn Readiness>,
    pub cluster: Arc<dyn Cluster>,
    pub backups: Arc<dyn Backups>,
    pub metrics: ApiMetrics,
    /// This host's id.
    pub host: NodeId,
    pub settings: Settings,
    /// Cancelled when the daemon begins to drain: watches end, everything else is finished.
    pub stopping: CancellationToken,
}

/// The application layer. One per daemon, shared by both faces.
#[derive(Debug)]
pub struct App {
    engine: Engine,
    view: Arc<View>,
    types: Arc<dyn ResourceTypes>,
    history: Arc<dyn History>,
    readiness: Arc<dyn Readiness>,
    cluster: Arc<dyn Cluster>,
    backups: Arc<dyn Backups>,
    metrics: ApiMetrics,
    host: NodeId,
    settings: Settings,
    stopping: CancellationToken,
}

impl App {
    /// Ready to serve.
    pub fn new(parts: Parts) -> Self {
        let Parts { engine, view, types, history, readiness, cluster, backups, metrics, host, settings, stopping } =
            parts;
        Self { engine, view, types, history, readiness, cluster, backups, metrics, host, settings, stopping }
    }

    /// This host's id.
    pub fn host(&self) -> &NodeId {
        &self.host
    }

    /// The limits of the faces.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Cancelled when the daemon begins to drain.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The counters both faces feed.
    pub fn metrics(&self) -> &ApiMetrics {
        &self.metrics
    }

    /// The wall clock as leases see it, Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.view.now_ms()
    }

    /// Why the daemon cannot serve now; empty if it can.
    pub fn not_ready(&self) -> Vec<String> {
        self.readiness.reasons()
    }

    /// What an operator should see although the daemon serves.
    pub fn warnings(&self) -> Vec<String> {
        self.readiness.warnings()
    }
}
