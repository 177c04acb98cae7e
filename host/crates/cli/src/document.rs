//! A tree of values in the order they were put, written as JSON or YAML and read from JSON text.
//!
//! What every command's answer is made of before it is printed, and what a pool's file becomes before it is sent. It is
//! no domain type and knows no field by name. Numbers are kept as their text, so capacities above 2^53 survive.

use std::fmt::{Display, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Null,
    Truth(bool),
    /// As JSON writes it.
    Number(String),
    Text(String),
    List(Vec<Document>),
    Fields(Vec<(String, Document)>),
}

impl Document {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn number(number: impl Display) -> Self {
        Self::Number(number.to_string())
    }

    /// JSON text as a document; text that is not JSON stays a text.
    pub(crate) fn from_json_text(text: &str) -> Self {
        serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| Self::text(text), |value| Self::of(&value))
    }

    fn of(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Truth(*truth),
            serde_json::Value::Number(number) => Self::Number(number.to_string()),
            serde_json::Value::String(text) => Self::Text(text.clone()),
            serde_json::Value::Array(values) => Self::List(values.iter().map(Self::of).collect()),
            serde_json::Value::Object(fields) => {
                Self::Fields(fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    /// A field's value, if this has fields and such a one.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Fields(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            Self::Null | Self::Truth(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// With one more field at the end, if this has fields.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Self) -> Self {
        if let Self::Fields(fields) = &mut self {
            fields.push((name.to_owned(), value));
        }
        self
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Truth(_) | Self::Number(_) | Self::List(_) | Self::Fields(_) => None,
        }
    }

    /// Compact JSON on one line.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.json(&mut out, None);
        out
    }

    /// JSON with two blanks of indent.
    pub(crate) fn to_json_lines(&self) -> String {
        let mut out = String::new();
        self.json(&mut out, Some(0));
        out
    }

    fn json(&self, out: &mut String, indent: Option<usize>) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Truth(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(values) => {
                let each = values.iter().map(|value| (None, value));
                block(out, indent, ('[', ']'), each);
            }
            Self::Fields(fields) => {
                let each = fields.iter().map(|(name, value)| (Some(name.as_str()), value));
                block(out, indent, ('{', '}'), each);
            }
        }
    }

    /// YAML 1.2 in block style. Ends with a line feed.
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.yaml(&mut out, 0);
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    /// This as an item of a YAML list that stands `indent` blanks in.
    pub(crate) fn to_yaml_item(&self, indent: usize) -> String {
        let mut out = String::new();
        Self::List(vec![self.clone()]).yaml(&mut out, indent);
        out
    }

    /// Blocks begin at the cursor, which stands `indent` blanks in, and end with a line feed; scalars do not.
    fn yaml(&self, out: &mut String, indent: usize) {
        match self {
            Self::List(values) if !values.is_empty() => {
                for (at, value) in values.iter().enumerate() {
                    if at > 0 || indent > 0 && out.is_empty() {
                        blanks(out, indent);
                    }
                    out.push_str("- ");
                    value.yaml(out, indent + 2);
                    end_line(out);
                }
            }
            Self::Fields(fields) if !fields.is_empty() => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        blanks(out, indent);
                    }
                    out.push_str(&yaml_scalar(name));
                    out.push(':');
                    value.yaml_below(out, indent);
                    end_line(out);
                }
            }
            Self::Text(text) => out.push_str(&yaml_scalar(text)),
            Self::List(_) => out.push_str("[]"),
            Self::Fields(_) => out.push_str("{}"),
            Self::Null | Self::Truth(_) | Self::Number(_) => self.json(out, None),
        }
    }

    /// The value after `name:`.
    fn yaml_below(&self, out: &mut String, indent: usize) {
        let nested = match self {
            Self::List(values) => !values.is_empty(),
            Self::Fields(fields) => !fields.is_empty(),
            Self::Null | Self::Truth(_) | Self::Number(_) | Self::Text(_) => false,
        };
        if nested {
            out.push('\n');
            blanks(out, indent + 2);
            self.yaml(out, indent + 2);
        } else {
            out.push(' ');
            self.yaml(out, indent + 2);
        }
    }
}

/// Fields in the order they are put; what is empty is left out where that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Document)>);

impl Fields {
    #[must_use]
    pub(crate) fn put(mut self, name: &str, value: Document) -> Self {
        self.0.push((name.to_owned(), value));
        self
    }

    #[must_use]
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.put(name, Document::text(text))
    }

    #[must_use]
    pub(crate) fn number(self, name: &str, number: impl Display) -> Self {
        self.put(name, Document::number(number))
    }

    /// Left out if the text is empty.
    #[must_use]
    pub(crate) fn some_text(self, name: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.text(name, text) }
    }

    /// Left out if there is none.
    #[must_use]
    pub(crate) fn some(self, name: &str, value: Option<Document>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    pub(crate) fn done(self) -> Document {
        Document::Fields(self.0)
    }
}

fn block<'a>(
    out: &mut String,
    indent: Option<usize>,
    (open, close): (char, char),
    each: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Document)>,
) {
    out.push(open);
    let empty = each.len() == 0;
    let below = indent.map(|indent| indent + 2);
    for (at, (name, value)) in each.enumerate() {
        if at > 0 {
            out.push(',');
        }
        break_line(out, below);
        if let Some(name) = name {
            out.push_str(&quoted(name));
            out.push_str(if indent.is_some() { ": " } else { ":" });
        }
        value.json(out, below);
    }
    if !empty {
        break_line(out, indent);
    }
    out.push(close);
}

fn break_line(out: &mut String, indent: Option<usize>) {
    if let Some(indent) = indent {
        out.push('\n');
        blanks(out, indent);
    }
}

fn blanks(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

/// JSON's quoting, which double-quoted YAML understands too. Written out here because a `String` cannot fail to be
/// written, while a serializer's signature says that it can.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // C1 controls and the line separators are line breaks or unprintable in YAML.
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a String takes everything");
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// Plain where no reader could take it for anything else, quoted otherwise.
fn yaml_scalar(text: &str) -> String {
    let first_fits = text.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '/' | '_'));
    let all_fit = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-:@,+ ".contains(&byte));
    let ambiguous = text.contains(": ") || text.ends_with([':', ' ']) || looks_like_a_value(text);
    if first_fits && all_fit && !ambiguous { text.to_owned() } else { quoted(text) }
}

/// YAML 1.1 readers are still about: to them `yes` is true, `010` is 8, `1:30` is 90 and a date is a date.
fn looks_like_a_value(text: &str) -> bool {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let numeric = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"._-:+eEoTZ".contains(&byte));
    (numeric || text.starts_with("0x")) && !is_plain_address(text)
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Four groups of digits: no reader's number, and the most frequent text here.
fn is_plain_address(text: &str) -> bool {
    text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Document {
        Fields::default()
            .text("id", "isp-east")
            .number("revision", 3)
            .put("spec", Fields::default().text("cidr", "100.64.0.0/10").number("prefix", 32).done())
            .put("dns", Document::List(vec![Document::text("192.0.2.53"), Document::text("2001:db8::53")]))
            .put("realm_by", Document::List(Vec::new()))
            .put("realms", Document::List(vec![Fields::default().text("realm", "no").number("held", 1).done()]))
            .done()
    }

    #[test]
    fn yaml_is_in_block_style() {
        let expected = "\
id: isp-east
revision: 3
spec:
  cidr: 100.64.0.0/10
  prefix: 32
dns:
  - 192.0.2.53
  - 2001:db8::53
realm_by: []
realms:
  - realm: \"no\"
    held: 1
";
        assert_eq!(sample().to_yaml(), expected);
    }

    #[test]
    fn json_comes_on_one_line_or_indented() {
        let small = Fields::default().text("a", "x\n").put("b", Document::List(vec![Document::Null])).done();
        assert_eq!(small.to_json(), r#"{"a":"x\n","b":[null]}"#);
        assert_eq!(small.to_json_lines(), "{\n  \"a\": \"x\\n\",\n  \"b\": [\n    null\n  ]\n}");
    }

    #[test]
    fn an_item_stands_in_its_list() {
        let item = Fields::default().text("id", "a").number("held", 1).done();
        assert_eq!(item.to_yaml_item(2), "  - id: a\n    held: 1\n");
    }

    fn documents() -> impl Strategy<Value = Document> {
        let leaf = prop_oneof![
            Just(Document::Null),
            any::<bool>().prop_map(Document::Truth),
            any::<i64>().prop_map(Document::number),
            "\\PC{0,12}".prop_map(Document::Text),
            "[0-9a-fxoe:.,#&*!|>'\"%@ ~-]{0,8}".prop_map(Document::Text),
            Just(Document::text("tab\there\u{85}\u{2028}")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Document::List),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                    .prop_map(|fields| Document::Fields(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_as_yaml_is_read_back(document in documents()) {
            let text = document.to_yaml();
            let read = crate::yaml::read(&text).map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{text}")))?;
            let read: Vec<_> = read.into_iter().map(crate::yaml::Node::plain).collect();
            prop_assert_eq!(read, vec![document], "{}", text);
        }

        #[test]
        fn what_is_written_as_json_is_read_back(document in documents()) {
            prop_assert_eq!(sorted(Document::from_json_text(&document.to_json())), sorted(document.clone()));
            prop_assert_eq!(sorted(Document::from_json_text(&document.to_json_lines())), sorted(document));
        }
    }

    fn sorted(document: Document) -> Document {
        match document {
            Document::Fields(mut fields) => {
                fields.sort_by(|(left, _), (right, _)| left.cmp(right));
                Document::Fields(fields.into_iter().map(|(name, value)| (name, sorted(value))).collect())
            }
            Document::List(values) => Document::List(values.into_iter().map(sorted).collect()),
            Document::Null | Document::Truth(_) | Document::Number(_) | Document::Text(_) => document,
        }
    }
}
