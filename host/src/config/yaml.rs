//! The file as dotted keys with line numbers: what it says, not yet what it means.

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

/// One scalar of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Dotted path from the top.
    pub(crate) path: String,
    pub(crate) value: String,
    /// From 1.
    pub(crate) line: usize,
}

/// What is wrong with the file as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// Deeper than any key of ours; a bomb of nested flow sequences ends here.
const DEPTH: usize = 8;

/// Reads a document into its scalars, or says everything that is not a mapping of scalars.
pub(crate) fn flatten(text: &str) -> Result<Vec<Entry>, Vec<Fault>> {
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| vec![Fault { line: error.marker().line(), what: format!("not YAML: {}", error.info()) }])?;
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    match documents.as_slice() {
        [] => {}
        [document] => walk("", document, DEPTH, &mut entries, &mut faults),
        [_, second, ..] => {
            faults
                .push(Fault { line: second.span.start.line(), what: "a second document; there may be one".to_owned() });
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

fn walk(path: &str, node: &MarkedYaml<'_>, depth: usize, entries: &mut Vec<Entry>, faults: &mut Vec<Fault>) {
    let line = node.span.start.line();
    let mut fault = |what: &str| {
        let at = if path.is_empty() { "the document" } else { path };
        faults.push(Fault { line, what: format!("{at} {what}") });
    };
    match &node.data {
        YamlData::Mapping(_) if depth == 0 => fault("is nested too deep"),
        YamlData::Mapping(pairs) => {
            for (key, value) in pairs {
                let Some(key) = scalar(key) else {
                    let line = key.span.start.line();
                    faults.push(Fault { line, what: "a key that is not a plain word".to_owned() });
                    continue;
                };
                let below = if path.is_empty() { key } else { format!("{path}.{key}") };
                walk(&below, value, depth - 1, entries, faults);
            }
        }
        YamlData::Value(Scalar::Null) => {}
        YamlData::Value(_) | YamlData::Representation(..) | YamlData::Tagged(..) => match scalar(node) {
            Some(_) if path.is_empty() => fault("must be a mapping of keys"),
            Some(value) => entries.push(Entry { path: path.to_owned(), value, line }),
            None => fault("has a tag; plain values only"),
        },
        YamlData::Sequence(_) => fault("is a list; a single value is wanted"),
        YamlData::Alias(_) | YamlData::BadValue => fault("is not a plain value"),
    }
}

fn scalar(node: &MarkedYaml<'_>) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) | YamlData::Representation(text, ..) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(yes)) => Some(yes.to_string()),
        YamlData::Value(Scalar::Null)
        | YamlData::Mapping(_)
        | YamlData::Sequence(_)
        | YamlData::Tagged(..)
        | YamlData::Alias(_)
        | YamlData::BadValue => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_keep_their_lines() {
        let entries = flatten("server:\n  http_port: 9000\n  tls:\n    cert: a.pem\nnode: {id: core-1}\n").unwrap();
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.path.as_str(), entry.value.as_str(), entry.line)).collect();
        assert_eq!(seen, [("server.http_port", "9000", 2), ("server.tls.cert", "a.pem", 4), ("node.id", "core-1", 5)]);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let faults = flatten("a: [1]\nb:\n  c: [2]\n").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [1, 3]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,400}") {
            let _entries_or_faults = flatten(&text);
        }
    }
}
