//! Where an allocate request would go.

use kernel::{Choice, ExplainedOutcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::pool::OccupancyBody;
use super::problem::ProblemBody;
use crate::app::Explained;

/// Where an allocate request would go, or why it would fail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation, example = json!({"pool_id": "isp-east", "outcome": "would_get", "resource": "100.64.0.2", "why": "strategy", "strategy": "first-free", "realm": "default", "occupancy": {"capacity": 256, "allocated": 12, "available": 236, "hold_down": 3, "reserved": 2, "excluded": 3, "allocations": 12}}))]
pub(crate) struct ExplainBody<'a> {
    pool_id: &'a str,
    /// `already_held`, `would_get` or `would_fail`.
    outcome: &'static str,
    /// The resource it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    /// Why this one: `reserved`, `sticky` (held before, still resting), `asked`, `strategy` or `longest_rested`.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    strategy: &'static str,
    /// The realm, if it was ever used.
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    occupancy: OccupancyBody,
    /// What the request would answer, if it would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl<'a> ExplainBody<'a> {
    pub(crate) fn of(explained: &'a Explained, problem: Option<ProblemBody>) -> Self {
        let (outcome, why) = match &explained.outcome {
            ExplainedOutcome::AlreadyHeld { .. } => ("already_held", None),
            ExplainedOutcome::WouldGet { why, .. } => ("would_get", Some(choice_word(*why))),
            ExplainedOutcome::WouldFail(_) => ("would_fail", None),
        };
        Self {
            pool_id: explained.pool.draft.id.as_str(),
            outcome,
            resource: explained.resource.as_deref(),
            why,
            strategy: explained.strategy.as_str(),
            realm: explained.realm.as_ref().map(kernel::RealmName::as_str),
            occupancy: (&explained.occupancy).into(),
            problem,
        }
    }
}

const fn choice_word(why: Choice) -> &'static str {
    match why {
        Choice::Reserved => "reserved",
        Choice::Sticky => "sticky",
        Choice::Asked => "asked",
        Choice::Strategy => "strategy",
        Choice::LongestRested => "longest_rested",
    }
}
