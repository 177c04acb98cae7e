//! Events of a watch: the data of a server-sent event, whose `event` is `change`'s word and whose `id` resumes after it.

use serde::Serialize;
use utoipa::ToSchema;

use super::allocation::{AllocationBody, Beside};
use super::conflict::ConflictBody;
use super::holder::cause_word;
use super::note::NoteBody;
use super::pool::PoolAnswer;
use super::reservation::ReservationBody;
use crate::app::{App, Change, WatchEvent, rfc3339};

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event, example = json!({"seq": 42, "change": "allocated", "at": "2026-01-31T08:15:00.000Z", "pool_id": "isp-east", "allocation": {"pool_id": "isp-east", "subscriber_id": "alice", "ip": "100.64.0.2", "prefix": 32, "resource": "100.64.0.2", "type": "ipv4", "timestamp": "2026-01-31T08:15:00.000Z", "epoch": 1, "alloc_type": "session", "is_backup": false, "realm": "default", "fence": {"pool": 1, "shard": 0, "epoch": 1}}}))]
pub(crate) struct EventBody<'a> {
    /// The event's id.
    seq: u64,
    /// `allocated`, `renewed`, `released`, `expired`, `pool-released`, `pool-created`, `pool-updated`, `pool-deleted`,
    /// `reserved`, `unreserved`, `conflict`, `conflict-closed`, `note-written`, `note-deleted` or `note-disputed` (written on
    /// two hosts at the same time).
    change: &'static str,
    /// When.
    at: String,
    /// Absent from what happened to a note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<AllocationBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndedBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PoolAnswer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<ReservationBody<'a>>,
    /// What is kept no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreserved: Option<&'a str>,
    /// Of `conflict` and `conflict-closed`. It comes right after the change that made it so, under the same `seq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<ConflictBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<NoteBody<'a>>,
}

/// An allocation that is over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ended, example = json!({"subscriber_id": "alice", "resource": "100.64.0.2", "node_id": "olt-7", "realm": "default", "from": "2026-01-31T08:15:00.000Z", "to": "2026-01-31T09:15:00.000Z", "resting_until": "2026-01-31T09:16:00.000Z", "cause": "expired"}))]
pub(crate) struct EndedBody<'a> {
    subscriber_id: &'a str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<String>,
    from: String,
    to: String,
    /// Until when the resource rests.
    resting_until: String,
    /// `released`, `expired` or `pool-deleted`.
    cause: &'static str,
}

/// Events were missed: list anew, then go on watching.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gap, example = json!({"after": 42, "resumed": 9000, "remedy": "list anew: events in between were missed"}))]
pub(crate) struct GapBody {
    /// The last event the watcher had.
    pub(crate) after: u64,
    /// Everything later than this still comes.
    pub(crate) resumed: u64,
    pub(crate) remedy: &'static str,
}

impl<'a> EventBody<'a> {
    pub(crate) fn of(app: &App, event: &'a WatchEvent) -> Self {
        let WatchEvent { seq, at_ms, change } = event;
        let empty = |pool_id: &'a str| Self {
            seq: seq.0,
            change: change.word(),
            at: rfc3339(*at_ms),
            pool_id: Some(pool_id),
            allocation: None,
            ended: None,
            pool: None,
            reservation: None,
            unreserved: None,
            conflict: None,
            note: None,
        };
        let realm = |realm| app.realm_name(realm).map(|name| name.to_string());
        match change {
            Change::Allocated(held) | Change::Renewed(held) => {
                let beside = Beside { realm: realm(held.allocation.realm), superseding: app.superseding(held) };
                let allocation = AllocationBody::row(held, beside);
                Self { allocation: Some(allocation), ..empty(held.pool.draft.id.as_str()) }
            }
            Change::Ended { resting, pool, resource } => {
                let ended = EndedBody {
                    subscriber_id: resting.subscriber.as_str(),
                    resource,
                    key: resting.key.as_ref().map(kernel::Key::as_str),
                    node_id: resting.node.as_ref().map(|node| node.as_str()),
                    realm: realm(resting.realm),
                    from: rfc3339(resting.created_ms),
                    to: rfc3339(resting.ended_ms),
                    resting_until: rfc3339(resting.until_ms),
                    cause: cause_word(resting.cause),
                };
                Self { ended: Some(ended), ..empty(pool.draft.id.as_str()) }
            }
            Change::PoolCreated(pool) | Change::PoolUpdated(pool) | Change::PoolDeleted(pool) => {
                Self { pool: Some(PoolAnswer::of(pool)), ..empty(pool.draft.id.as_str()) }
            }
            Change::Reserved(reserved) => {
                Self { reservation: Some(ReservationBody::of(reserved)), ..empty(reserved.pool.draft.id.as_str()) }
            }
            Change::Note(note) => Self { pool_id: None, note: Some(NoteBody::of(note)), ..empty("") },
            Change::Unreserved { pool, resource, .. } => {
                Self { unreserved: Some(resource), ..empty(pool.draft.id.as_str()) }
            }
            Change::Conflict(conflict) | Change::ConflictClosed(conflict) => {
                let pool_id = conflict.superseded.pool.draft.id.as_str();
                Self { conflict: Some(ConflictBody::of(app, conflict)), ..empty(pool_id) }
            }
        }
    }
}
