//! What travels over REST, field by field. A format is a promise: names are changed nowhere, new fields come beside.
//! Domain types are converted here by hand, so that renaming one of them never changes an answer.

pub(super) mod allocation;
pub(super) mod cluster;
pub(super) mod conflict;
pub(super) mod event;
pub(super) mod explain;
pub(super) mod holder;
pub(super) mod node;
pub(super) mod note;
pub(super) mod plugin;
pub(super) mod pool;
pub(super) mod problem;
pub(super) mod reservation;

use serde::{Deserialize, Serializer};
use utoipa::ToSchema;

/// The largest whole number that JSON readers with floating-point numbers keep exactly.
const EXACT: u128 = (1 << 53) - 1;

/// The text beside a count that some readers of JSON would round.
pub(super) fn exact(count: u128) -> Option<String> {
    (count > EXACT).then(|| count.to_string())
}

/// A duration: integer seconds, or text such as `"1h30m"` or `"1500ms"`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Duration, example = json!("1h"))]
#[serde(untagged)]
#[allow(dead_code, reason = "how it is described; what comes is read with words for whoever sent something else")]
pub(crate) enum DurationBody {
    Seconds(i64),
    Text(String),
}

/// A duration as integer seconds where it is whole, else as `"1500ms"`.
pub(super) fn duration(ms: u64) -> serde_json::Value {
    if ms.is_multiple_of(1000) { (ms / 1000).into() } else { format!("{ms}ms").into() }
}

/// JSON kept as text, shown as JSON; an empty text is an empty object.
pub(super) fn json_or_empty(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::Object(serde_json::Map::new()))
}

/// Writes an optional count as a plain number.
#[allow(clippy::ref_option, reason = "serde hands the field over like this")]
pub(super) fn count<S: Serializer>(count: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match count {
        Some(count) => serializer.serialize_u128(*count),
        None => serializer.serialize_none(),
    }
}
