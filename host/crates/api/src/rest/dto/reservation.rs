//! Reservations.

use kernel::{NodeId, PoolId, SubscriberId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::{AppError, Reader, ReservationInput, Reserved, rfc3339};

/// A resource to be kept for a subscriber.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ReservationRequest, example = json!({"subscriber_id": "business-42", "resource": "100.64.0.42", "note": "contract 4711"}))]
pub(crate) struct ReserveBody {
    #[schema(value_type = String, required = true)]
    subscriber_id: Option<Value>,
    /// The resource's text; `ip` is the same.
    #[schema(value_type = Option<String>)]
    resource: Option<Value>,
    #[schema(value_type = Option<String>)]
    ip: Option<Value>,
    #[schema(value_type = Option<String>)]
    note: Option<Value>,
    /// The OLT whose realm is meant, in a pool with `realm_by`.
    #[schema(value_type = Option<String>)]
    olt_id: Option<Value>,
    /// What the pool's `realm_by` names.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    attributes: Option<Value>,
}

impl ReserveBody {
    /// The place, the subscriber and the note.
    pub(crate) fn read(&self, pool: PoolId) -> Result<(ReservationInput, SubscriberId, String), AppError> {
        let mut reader = Reader::default();
        let subscriber: Option<SubscriberId> = reader.needed_id(
            "subscriber_id",
            self.subscriber_id.as_ref(),
            "must be given: who the resource is kept for",
        );
        let named = reader.text("resource", self.resource.as_ref()).or(reader.text("ip", self.ip.as_ref()));
        if named.is_none() && !reader.has_fault("resource") {
            reader.fault("resource", "", "must be given: the resource's text");
        }
        let remark = reader.text("note", self.note.as_ref()).unwrap_or_default().to_owned();
        let node: Option<NodeId> = reader.id("olt_id", self.olt_id.as_ref());
        let attributes = reader.pairs("attributes", self.attributes.as_ref());
        let read = subscriber.zip(named).map(|(subscriber, resource)| {
            (ReservationInput { pool, resource: resource.to_owned(), node, attributes }, subscriber, remark)
        });
        reader.finish(read)
    }
}

/// A resource that is kept for a subscriber.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reservation, example = json!({"pool_id": "isp-east", "type": "ipv4", "realm": "default", "resource": "100.64.0.42", "subscriber_id": "business-42", "note": "contract 4711", "created_at": "2026-01-31T08:15:00.000Z"}))]
pub(crate) struct ReservationBody<'a> {
    pool_id: &'a str,
    #[serde(rename = "type")]
    type_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    resource: &'a str,
    subscriber_id: &'a str,
    note: &'a str,
    created_at: String,
}

impl<'a> ReservationBody<'a> {
    pub(crate) fn of(reserved: &'a Reserved) -> Self {
        let Reserved { reservation, pool, realm } = reserved;
        Self {
            pool_id: pool.draft.id.as_str(),
            type_id: pool.draft.type_id.as_str(),
            realm: realm.as_ref().map(kernel::RealmName::as_str),
            resource: reservation.name.as_str(),
            subscriber_id: reservation.subscriber.as_str(),
            note: reservation.note.as_str(),
            created_at: rfc3339(reservation.created_ms),
        }
    }
}

/// A page of reservations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReservationList, example = json!({"reservations": [], "count": 0, "total": 0}))]
pub(crate) struct ReservationsBody<'a> {
    pub(crate) reservations: Vec<ReservationBody<'a>>,
    pub(crate) count: usize,
    pub(crate) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}
