//! The file as dotted keys with line numbers: what it says, not yet what it means.

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

/// One scalar or list of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Dotted path from the top.
    pub(crate) path: String,
    pub(crate) value: Value,
    /// From 1.
    pub(crate) line: usize,
}

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    One(String),
    /// A list of plain values.
    Many(Vec<String>),
    /// A list with something else in it. No key of ours takes one.
    Other,
}

/// What is wrong with the file as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// Deeper than any key of ours; a bomb of nested flow sequences ends here.
const DEPTH: usize = 8;

/// What a document says, and everything in it that says nothing: faults hide no entries, so that all can be told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flat {
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: Vec<Fault>,
}

/// Reads a document into its scalars and lists.
pub(crate) fn flatten(text: &str) -> Flat {
    let mut flat = Flat::default();
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(error) => {
            flat.faults.push(Fault { line: error.marker().line(), what: format!("not YAML: {}", error.info()) });
            return flat;
        }
    };
    match documents.as_slice() {
        [] => {}
        [document] => walk("", document, DEPTH, &mut flat),
        [_, second, ..] => {
            flat.faults
                .push(Fault { line: second.span.start.line(), what: "a second document; there may be one".to_owned() });
        }
    }
    flat
}

fn walk(path: &str, node: &MarkedYaml<'_>, depth: usize, flat: &mut Flat) {
    let line = node.span.start.line();
    let mut fault = |what: &str| {
        let at = if path.is_empty() { "the document" } else { path };
        flat.faults.push(Fault { line, what: format!("{at} {what}") });
    };
    match &node.data {
        YamlData::Mapping(_) if depth == 0 => fault("is nested too deep"),
        YamlData::Mapping(pairs) => {
            for (key, value) in pairs {
                let Some(key) = scalar(key) else {
                    let line = key.span.start.line();
                    flat.faults.push(Fault { line, what: "a key that is not a plain word".to_owned() });
                    continue;
                };
                let below = if path.is_empty() { key } else { format!("{path}.{key}") };
                walk(&below, value, depth - 1, flat);
            }
        }
        YamlData::Value(Scalar::Null) => {}
        YamlData::Value(_) | YamlData::Representation(..) | YamlData::Tagged(..) => match scalar(node) {
            Some(_) if path.is_empty() => fault("must be a mapping of keys"),
            Some(value) => flat.entries.push(Entry { path: path.to_owned(), value: Value::One(value), line }),
            None => fault("has a tag; plain values only"),
        },
        YamlData::Sequence(_) if path.is_empty() => fault("must be a mapping of keys"),
        YamlData::Sequence(items) => {
            let plain: Option<Vec<String>> = items.iter().map(scalar).collect();
            let value = plain.map_or(Value::Other, Value::Many);
            flat.entries.push(Entry { path: path.to_owned(), value, line });
        }
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
        let flat = flatten(
            "server:\n  http_port: 9000\n  tls:\n    cert: a.pem\nnode: {id: core-1}\np2p: {bootstrap: [a, 7], peers: [{b: c}]}\n",
        );
        let one = |text: &str| Value::One(text.to_owned());
        let seen: Vec<_> =
            flat.entries.iter().map(|entry| (entry.path.as_str(), entry.value.clone(), entry.line)).collect();
        let expected = [
            ("server.http_port", one("9000"), 2),
            ("server.tls.cert", one("a.pem"), 4),
            ("node.id", one("core-1"), 5),
            ("p2p.bootstrap", Value::Many(vec!["a".to_owned(), "7".to_owned()]), 6),
            ("p2p.peers", Value::Other, 6),
        ];
        assert_eq!((seen.as_slice(), flat.faults), (expected.as_slice(), Vec::new()));
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_hides_nothing() {
        let flat = flatten("[a]: 1\nb:\n  c: !x 2\n  d: 3\n");
        assert_eq!(flat.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(flat.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [4]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,400}") {
            let _flat = flatten(&text);
        }
    }
}
