//! Conflicts between hosts.

use serde::Serialize;
use utoipa::ToSchema;

use super::allocation::{AllocationBody, Beside};
use crate::app::{App, Conflict, Holding};

/// What hosts that could not reach each other left open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict, example = json!({"id": "s1-64400002-19c0e5a8ba0", "kind": "superseded", "superseded": {"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}, "superseded_by": "100.64.1.9"}, "survivor": {"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.1.9", "prefix": 32, "resource": "100.64.1.9", "type": "ipv4", "timestamp": "2026-01-31T08:20:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 1, "epoch": 1}, "supersedes": {"pool_id": "isp-east", "resource": "100.64.0.2", "fence": {"pool": 1, "shard": 0, "epoch": 1}}}}))]
pub(crate) struct ConflictBody<'a> {
    /// The same on every host.
    id: &'a str,
    /// `superseded`: a subscriber has two allocations. `contradiction`: a host handed out what another holds for somebody
    /// else.
    kind: &'static str,
    /// What has to go. It may be in use until its BNG confirms.
    superseded: AllocationBody<'a>,
    /// What the subscriber is answered; of a contradiction, what is held there. Absent: nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    survivor: Option<AllocationBody<'a>>,
}

impl<'a> ConflictBody<'a> {
    pub(crate) fn of(app: &App, conflict: &'a Conflict) -> Self {
        let row = |held: &'a Holding| {
            let realm = app.realm_name(held.allocation.realm).map(|name| name.to_string());
            AllocationBody::row(held, Beside { realm, superseding: app.superseding(held) })
        };
        Self {
            id: &conflict.id,
            kind: conflict.kind.as_str(),
            superseded: row(&conflict.superseded),
            survivor: conflict.survivor.as_ref().map(row),
        }
    }
}

/// A page of open conflicts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConflictList, example = json!({"conflicts": [], "count": 0, "total": 0}))]
pub(crate) struct ConflictsBody<'a> {
    pub(crate) conflicts: Vec<ConflictBody<'a>>,
    pub(crate) count: usize,
    pub(crate) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}
