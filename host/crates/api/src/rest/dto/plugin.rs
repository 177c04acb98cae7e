//! Plugins.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::json_or_empty;
use crate::app::rfc3339;
use crate::ports::{PluginState, PluginStatus};

/// A plugin, serving or refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin, example = json!({"type": "vlan", "version": "1.0.0", "mapping_id": "vlan/1", "title": "C-VLAN ids", "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "source": "embedded", "missing": false, "state": "active", "spec_schema": {"type": "object"}, "hint_schema": {"type": "object"}, "examples": [{"range": "100-4000"}], "loaded_at": "2026-01-31T08:00:00.000Z", "calls": 12, "failures": 0}))]
pub(crate) struct PluginBody<'a> {
    #[serde(rename = "type")]
    type_id: &'a str,
    version: &'a str,
    /// Changes if and only if the names of resources change.
    mapping_id: &'a str,
    title: &'a str,
    /// SHA-256 of the component.
    digest: &'a str,
    /// `embedded`, or the file's path.
    source: &'a str,
    /// The file is gone. The plugin serves on, from the daemon's copy, also after a restart.
    missing: bool,
    /// `active`, `suspended`, `retired` or `refused`.
    state: &'static str,
    /// Why it is suspended or refused.
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    /// JSON Schema of a pool's `spec`.
    #[schema(value_type = Object)]
    spec_schema: Value,
    /// JSON Schema of a request's `hints`.
    #[schema(value_type = Object)]
    hint_schema: Value,
    /// Specs that open.
    #[schema(value_type = Vec<Object>)]
    examples: Vec<Value>,
    loaded_at: String,
    calls: u64,
    failures: u64,
}

impl<'a> PluginBody<'a> {
    pub(crate) fn of(plugin: &'a PluginStatus) -> Self {
        Self {
            type_id: &plugin.type_id,
            version: &plugin.version,
            mapping_id: &plugin.mapping_id,
            title: &plugin.title,
            digest: &plugin.digest,
            source: &plugin.source,
            missing: plugin.missing,
            state: match plugin.state {
                PluginState::Active => "active",
                PluginState::Suspended => "suspended",
                PluginState::Retired => "retired",
                PluginState::Refused => "refused",
            },
            why: &plugin.why,
            spec_schema: json_or_empty(&plugin.spec_schema),
            hint_schema: json_or_empty(&plugin.hint_schema),
            examples: plugin.examples.iter().map(|example| json_or_empty(example)).collect(),
            loaded_at: rfc3339(plugin.loaded_ms),
            calls: plugin.calls,
            failures: plugin.failures,
        }
    }
}

/// All plugins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginList, example = json!({"plugins": [{"type": "vlan", "version": "1.0.0", "mapping_id": "vlan/1", "title": "C-VLAN ids", "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "source": "embedded", "missing": false, "state": "active", "spec_schema": {"type": "object"}, "hint_schema": {"type": "object"}, "examples": [{"range": "100-4000"}], "loaded_at": "2026-01-31T08:00:00.000Z", "calls": 12, "failures": 0}], "count": 1}))]
pub(crate) struct PluginsBody<'a> {
    pub(crate) plugins: Vec<PluginBody<'a>>,
    pub(crate) count: usize,
}
