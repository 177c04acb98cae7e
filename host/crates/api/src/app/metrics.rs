//! What both faces count. Subscriber ids are never labels, paths are route templates, and labels that clients make up are
//! bounded.

use std::collections::HashSet;
use std::time::Duration;

use kernel::{NodeId, PoolDraft};
use parking_lot::RwLock;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::Code;

use super::error::AppError;
use super::output::Granted;
use crate::status::status;

/// So many OLTs have a label of their own; the rest are counted together as `other`.
const MOST_NODES: usize = 1_000;

/// 50 µs to 10 s.
const SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];

/// The counters and histograms of requests and allocations.
#[derive(Debug)]
pub struct ApiMetrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    allocations: IntCounterVec,
    allocation_seconds: HistogramVec,
    nodes: RwLock<HashSet<NodeId>>,
}

impl ApiMetrics {
    /// Makes them known to a registry; a registry takes them once.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("nexus_api_requests_total", "Requests by method, route template and status"),
            &["method", "path", "status"],
        )?;
        let request_seconds = HistogramVec::new(
            HistogramOpts::new("nexus_api_request_duration_seconds", "Time from a request's head to its answer")
                .buckets(SECONDS.to_vec()),
            &["method", "path"],
        )?;
        let allocations = IntCounterVec::new(
            Opts::new("nexus_allocations_total", "Allocate requests by tenant, pool, OLT and result"),
            &["tenant", "pool_id", "olt_id", "result"],
        )?;
        let allocation_seconds = HistogramVec::new(
            HistogramOpts::new("nexus_allocation_duration_seconds", "Time of an allocate request, its sync included")
                .buckets(SECONDS.to_vec()),
            &["tenant", "pool_id"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(request_seconds.clone()))?;
        registry.register(Box::new(allocations.clone()))?;
        registry.register(Box::new(allocation_seconds.clone()))?;
        Ok(Self { requests, request_seconds, allocations, allocation_seconds, nodes: RwLock::default() })
    }

    /// Counts one request of either face. `path` is a route template or a gRPC method, `status` a code as text.
    pub fn request(&self, method: &str, path: &str, status: &str, took: Duration) {
        self.requests.with_label_values(&[method, path, status]).inc();
        self.request_seconds.with_label_values(&[method, path]).observe(took.as_secs_f64());
    }

    /// Counts one allocate request of a pool that is there. Tenants may name their pools alike, so both are labels.
    pub(crate) fn allocation(&self, pool: &PoolDraft, node: Option<&NodeId>, result: AllocationResult, took: Duration) {
        let node = node.map_or("", |node| self.node_label(node));
        let (tenant, pool) = (pool.tenant.as_str(), pool.id.as_str());
        self.allocations.with_label_values(&[tenant, pool, node, result.as_str()]).inc();
        self.allocation_seconds.with_label_values(&[tenant, pool]).observe(took.as_secs_f64());
    }

    /// The name of a pool that does not exist is whatever a client made up, so it is no label, and neither is the tenant.
    pub(crate) fn allocation_in_unknown_pool(&self) {
        self.allocations.with_label_values(&["", "", "", AllocationResult::UnknownPool.as_str()]).inc();
    }

    /// Forgets a deleted pool's series.
    pub(crate) fn forget_pool(&self, pool: &PoolDraft) {
        // It is no fault if the pool was never allocated from.
        let _never_used = self.allocation_seconds.remove_label_values(&[pool.tenant.as_str(), pool.id.as_str()]);
    }

    fn node_label<'a>(&self, node: &'a NodeId) -> &'a str {
        if self.nodes.read().contains(node) {
            return node.as_str();
        }
        let mut nodes = self.nodes.write();
        if nodes.len() >= MOST_NODES {
            return "other";
        }
        nodes.insert(node.clone());
        node.as_str()
    }
}

/// What came of an allocate request, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllocationResult {
    Created,
    Held,
    Conflict,
    Exhausted,
    Refused,
    Unavailable,
    UnknownPool,
}

impl AllocationResult {
    pub(crate) fn of(granted: &Result<Granted, AppError>) -> Self {
        match granted {
            Ok(Granted { created: true, .. }) => Self::Created,
            Ok(Granted { created: false, .. }) => Self::Held,
            Err(error) => match status(error).grpc {
                Code::ResourceExhausted => Self::Exhausted,
                Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Self::Conflict,
                Code::Unavailable => Self::Unavailable,
                Code::Ok
                | Code::Cancelled
                | Code::Unknown
                | Code::InvalidArgument
                | Code::DeadlineExceeded
                | Code::NotFound
                | Code::PermissionDenied
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Internal
                | Code::DataLoss
                | Code::Unauthenticated => Self::Refused,
            },
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Held => "held",
            Self::Conflict => "conflict",
            Self::Exhausted => "exhausted",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::UnknownPool => "unknown_pool",
        }
    }
}
