//! Plugins.

use nexus_proto::v1::{Plugin, PluginState};

use super::{object, time_document};
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};

pub(crate) const PLUGIN_COLUMNS: &[&str] =
    &["TYPE", "VERSION", "STATE", "CALLS", "FAILURES", "DIGEST", "SOURCE", "WHY"];

/// Enough of a digest to tell two apart.
const DIGEST_SHOWN: usize = 12;

fn state(plugin: &Plugin) -> (&'static str, Tone) {
    match plugin.state() {
        PluginState::Unspecified => ("", Tone::Plain),
        PluginState::Active => ("active", Tone::Good),
        PluginState::Suspended => ("suspended", Tone::Notable),
        PluginState::Retired => ("retired", Tone::Notable),
        PluginState::Refused => ("refused", Tone::Bad),
    }
}

pub(crate) fn plugin_row(plugin: &Plugin) -> Row {
    let (word, tone) = state(plugin);
    let source = if plugin.missing { format!("{} (gone)", plugin.source) } else { plugin.source.clone() };
    let cells = vec![
        plugin.r#type.as_str().into(),
        plugin.version.as_str().into(),
        Cell::toned(word, tone),
        plugin.calls.to_string().into(),
        plugin.failures.to_string().into(),
        plugin.digest.chars().take(DIGEST_SHOWN).collect::<String>().into(),
        source.into(),
        plugin.why.as_str().into(),
    ];
    let examples: Vec<_> = plugin.examples.iter().map(|example| Document::from_json_text(example)).collect();
    let document = Fields::default()
        .some_text("type", &plugin.r#type)
        .some_text("version", &plugin.version)
        .some_text("mapping_id", &plugin.mapping_id)
        .some_text("title", &plugin.title)
        .text("state", word)
        .some_text("why", &plugin.why)
        .some_text("digest", &plugin.digest)
        .text("source", &plugin.source)
        .some("missing", plugin.missing.then_some(Document::Truth(true)))
        .some("loaded_at", time_document(plugin.loaded_at.as_ref()))
        .number("calls", plugin.calls)
        .number("failures", plugin.failures)
        .some("spec_schema", object(&plugin.spec_schema))
        .some("hint_schema", object(&plugin.hint_schema))
        .some("examples", (!examples.is_empty()).then_some(Document::List(examples)))
        .done();
    Row { cells, document }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_told() {
        let mut plugin = Plugin { source: "/plugins/vlan.wasm".to_owned(), ..Plugin::default() };
        let shown = |plugin: &Plugin| {
            let row = plugin_row(plugin);
            (format!("{:?}", row.cells), row.document.to_json())
        };
        let (cells, document) = shown(&plugin);
        assert!(!cells.contains("gone") && !document.contains("missing"), "{cells} {document}");
        plugin.missing = true;
        let (cells, document) = shown(&plugin);
        assert!(cells.contains("/plugins/vlan.wasm (gone)"), "{cells}");
        assert!(document.contains(r#""source":"/plugins/vlan.wasm","missing":true"#), "{document}");
    }
}
