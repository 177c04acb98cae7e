//! Errors.

use serde::Serialize;
use utoipa::ToSchema;

/// An error (RFC 9457). `error` says the same as `detail`, for clients that read that.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:nexus:problem:pool-unknown",
    "title": "The pool is unknown",
    "status": 404,
    "detail": "pool isp-east is unknown",
    "error": "pool isp-east is unknown",
    "reason": "POOL_UNKNOWN",
    "retryable": false,
    "errors": [{"field": "pool_id", "value": "isp-east", "remedy": "must name a pool; list them to see the names"}]
}))]
pub(crate) struct ProblemBody {
    /// `urn:nexus:problem:` and the reason in small letters.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The same for every error of a reason.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What went wrong, in a sentence.
    pub(crate) detail: String,
    /// The same sentence.
    pub(crate) error: String,
    /// For machines, stable; also in gRPC's `ErrorInfo`.
    pub(crate) reason: String,
    /// True if the same request may succeed later.
    pub(crate) retryable: bool,
    /// The fields that are to blame, each with what would be right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FaultBody>,
    /// The resource it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool_id: Option<String>,
    /// The pool that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other_pool_id: Option<String>,
    /// The subscribers that stand in the way, of the caller's own tenant only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) holders: Vec<String>,
    /// Until when the resource rests (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// Of an exhausted pool, in grains: everything it has.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) capacity: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) allocated: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) available: Option<u128>,
    /// Released not long ago.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) hold_down: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) reserved: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::count")]
    #[schema(value_type = Option<u64>)]
    pub(crate) excluded: Option<u128>,
}

/// One field that is to blame.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fault, example = json!({"field": "pool_id", "value": "isp-east", "remedy": "must name a pool; list them to see the names"}))]
pub(crate) struct FaultBody {
    /// Its name, or a JSON pointer.
    pub(crate) field: String,
    /// As it was sent, shortened; empty if it was missing.
    pub(crate) value: String,
    /// What would be right.
    pub(crate) remedy: String,
}
