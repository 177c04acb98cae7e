//! Nodes.

use serde::Serialize;
use utoipa::ToSchema;

/// This host, or an OLT-BNG that has allocations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node, example = json!({"id": "olt-7", "best_before": "2026-01-31T08:15:30.000Z", "metadata": {"role": "olt", "allocations": "1000"}, "status": "active"}))]
pub(crate) struct NodeBody<'a> {
    pub(crate) id: &'a str,
    /// Until when this entry may be believed.
    pub(crate) best_before: String,
    /// `role`: `core`, `write` or `read` for a Nexus host, `olt` for an OLT-BNG; `allocations` of an OLT-BNG.
    pub(crate) metadata: std::collections::BTreeMap<&'static str, String>,
    /// `active`.
    pub(crate) status: &'static str,
}

/// All nodes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeList, example = json!({"nodes": [{"id": "nexus-1", "best_before": "2026-01-31T08:15:30.000Z", "metadata": {"role": "core"}, "status": "active"}, {"id": "olt-7", "best_before": "2026-01-31T08:15:30.000Z", "metadata": {"role": "olt", "allocations": "1000"}, "status": "active"}], "count": 2}))]
pub(crate) struct NodesBody<'a> {
    pub(crate) nodes: Vec<NodeBody<'a>>,
    pub(crate) count: usize,
}

/// Whether the daemon can serve.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness, example = json!({"ready": true, "reasons": []}))]
pub(crate) struct ReadyBody {
    pub(crate) ready: bool,
    /// Why not; empty if ready.
    pub(crate) reasons: Vec<String>,
    /// What an operator should see although the daemon serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}
