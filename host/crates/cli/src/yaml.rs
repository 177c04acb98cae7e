//! YAML text as documents whose every value remembers its line: what a file says, not yet what it means.

use std::fmt;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

use crate::document::Document;

/// Deeper than any pool; a bomb of nested flow sequences ends here.
const DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value whose parts remember their lines.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Document),
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
}

/// Something that cannot be used, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Node {
    /// Without the lines.
    pub(crate) fn plain(self) -> Document {
        match self.value {
            Value::Scalar(document) => document,
            Value::List(nodes) => Document::List(nodes.into_iter().map(Self::plain).collect()),
            Value::Fields(fields) => {
                Document::Fields(fields.into_iter().map(|(name, node)| (name, node.plain())).collect())
            }
        }
    }

    /// A field, if this has fields and such a one.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Fields(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, node)| node),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The text, if this is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(document) => document.as_text(),
            Value::List(_) | Value::Fields(_) => None,
        }
    }
}

/// Reads every document of a stream, or says everything that is not plain YAML.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Vec<Fault>> {
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| vec![Fault { line: error.marker().line(), what: format!("not YAML: {}", error.info()) }])?;
    let mut reading = Reading { faults: Vec::new() };
    let nodes: Vec<_> = documents.iter().filter_map(|document| reading.node(document, DEPTH)).collect();
    if reading.faults.is_empty() { Ok(nodes) } else { Err(reading.faults) }
}

/// One value as a flag carries it: a scalar, `[a, b]` or `{a: b}`.
pub(crate) fn read_value(text: &str) -> Result<Document, String> {
    let mut nodes = read(text).map_err(|faults| faults.first().map_or_else(String::new, |fault| fault.what.clone()))?;
    match (nodes.pop(), nodes.is_empty()) {
        (Some(node), true) => Ok(node.plain()),
        (None, _) => Ok(Document::text("")),
        (Some(_), false) => Err("must be one value".to_owned()),
    }
}

struct Reading {
    faults: Vec<Fault>,
}

impl Reading {
    fn fault(&mut self, line: usize, what: impl Into<String>) {
        self.faults.push(Fault { line, what: what.into() });
    }

    fn node(&mut self, node: &MarkedYaml<'_>, depth: usize) -> Option<Node> {
        let line = node.span.start.line();
        let Some(below) = depth.checked_sub(1) else {
            self.fault(line, format!("is nested deeper than {DEPTH} levels"));
            return None;
        };
        let value = match &node.data {
            YamlData::Sequence(items) => Value::List(items.iter().filter_map(|item| self.node(item, below)).collect()),
            YamlData::Mapping(pairs) => {
                let mut fields = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    match name(key) {
                        Some(name) => fields.extend(self.node(value, below).map(|node| (name, node))),
                        None => self.fault(key.span.start.line(), "a key that is not a plain word"),
                    }
                }
                Value::Fields(fields)
            }
            YamlData::Value(scalar) => Value::Scalar(self.scalar(scalar, line)?),
            YamlData::Representation(text, ..) => Value::Scalar(Document::text(text.to_string())),
            YamlData::Tagged(..) => {
                self.fault(line, "has a tag; plain values only");
                return None;
            }
            YamlData::Alias(_) => {
                self.fault(line, "is an alias; write the value out");
                return None;
            }
            YamlData::BadValue => {
                self.fault(line, "does not fit its tag");
                return None;
            }
        };
        Some(Node { line, value })
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, line: usize) -> Option<Document> {
        Some(match scalar {
            Scalar::Null => Document::Null,
            Scalar::Boolean(truth) => Document::Truth(*truth),
            Scalar::Integer(number) => Document::number(number),
            Scalar::FloatingPoint(number) if number.is_finite() => Document::number(number),
            Scalar::FloatingPoint(number) => {
                self.fault(line, format!("{number} is no number JSON can carry"));
                return None;
            }
            Scalar::String(text) => Document::text(text.as_ref()),
        })
    }
}

fn name(key: &MarkedYaml<'_>) -> Option<String> {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => Some(text.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(truth)) => Some(truth.to_string()),
        YamlData::Value(Scalar::Null | Scalar::FloatingPoint(_))
        | YamlData::Representation(..)
        | YamlData::Sequence(_)
        | YamlData::Mapping(_)
        | YamlData::Tagged(..)
        | YamlData::Alias(_)
        | YamlData::BadValue => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_keep_their_lines() {
        let nodes = read("id: a\nspec:\n  cidr: 10.0.0.0/8\n---\nid: b\n").unwrap();
        assert_eq!(nodes.iter().map(|node| node.line).collect::<Vec<_>>(), [1, 5]);
        assert_eq!(nodes[0].field("spec").unwrap().field("cidr").unwrap().line, 3);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let faults = read("a: !x 1\nb: [1, 2\n").unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let faults = read("a: !x 1\nb: .nan\nc: 1\n").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [1, 2], "{faults:?}");
        let faults = read("a: 1\na: 2\n").unwrap_err();
        assert!(faults[0].what.contains("duplicated key"), "{faults:?}");
    }

    #[test]
    fn a_flag_carries_scalars_and_short_lists() {
        assert_eq!(read_value("32"), Ok(Document::number(32)));
        assert_eq!(read_value("100-4000"), Ok(Document::text("100-4000")));
        assert_eq!(read_value("[a, b]"), Ok(Document::List(vec![Document::text("a"), Document::text("b")])));
        assert_eq!(read_value(""), Ok(Document::text("")));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,400}") {
            let _nodes_or_faults = read(&text);
        }

        #[test]
        fn no_nesting_panics(opened in 0..3000_usize) {
            let _nodes_or_faults = read(&"[".repeat(opened));
        }
    }
}
