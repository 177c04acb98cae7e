//! Who holds, or held, a resource.

use kernel::EndCause;
use serde::Serialize;
use utoipa::ToSchema;

use super::allocation::AllocationBody;
use crate::app::{PastHolder, rfc3339};

/// Who holds or held a resource.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Holders, example = json!({"resource": "100.64.0.2", "type": "ipv4", "holders": [{"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}], "count": 1, "past": [{"pool_id": "isp-east", "subscriber_id": "bob", "resource": "100.64.0.2", "realm": "default", "from": "2026-01-30T08:00:00.000Z", "to": "2026-01-31T07:00:00.000Z", "cause": "released"}], "history_from": "2025-01-31T00:00:00.000Z"}))]
pub(crate) struct HoldersBody<'a> {
    /// The canonical text.
    pub(crate) resource: &'a str,
    #[serde(rename = "type")]
    pub(crate) type_id: &'a str,
    /// Who holds it now (and held it at the asked moment): one for each realm that has one.
    pub(crate) holders: Vec<AllocationBody<'a>>,
    pub(crate) count: usize,
    /// Former holders, newest first.
    pub(crate) past: Vec<PastHolderBody<'a>>,
    /// The history is complete from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history_from: Option<String>,
}

/// Who held it once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PastHolder, example = json!({"pool_id": "isp-east", "subscriber_id": "bob", "resource": "100.64.0.2", "realm": "default", "from": "2026-01-30T08:00:00.000Z", "to": "2026-01-31T07:00:00.000Z", "cause": "released"}))]
pub(crate) struct PastHolderBody<'a> {
    pool_id: &'a str,
    subscriber_id: &'a str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    from: String,
    to: String,
    /// `released`, `expired` or `pool-deleted`.
    cause: &'static str,
}

/// The word for an end.
pub(crate) const fn cause_word(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Released => "released",
        EndCause::Expired => "expired",
        EndCause::PoolDeleted => "pool-deleted",
    }
}

impl<'a> PastHolderBody<'a> {
    pub(crate) fn of(past: &'a PastHolder) -> Self {
        let entry = &past.entry;
        Self {
            pool_id: past.pool.draft.id.as_str(),
            subscriber_id: entry.subscriber.as_str(),
            resource: past.resource.as_str(),
            key: entry.key.as_ref().map(kernel::Key::as_str),
            node_id: entry.node.as_deref(),
            realm: past.realm.as_ref().map(kernel::RealmName::as_str),
            from: rfc3339(entry.from_ms),
            to: rfc3339(entry.to_ms),
            cause: cause_word(entry.cause),
        }
    }
}
