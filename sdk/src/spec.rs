//! Reading a pool's spec so that its author learns of every fault at once.

use serde_json::{Map, Value};

use crate::{PluginError, Problem, nearest};

/// A spec being read. Ask for each field the type knows, then [`finish`](Self::finish): whatever was not asked for is
/// an unknown field and refused, because a misspelt `exclusions` would hand out reserved space.
///
/// JSON `null` is an absent field.
#[derive(Debug)]
pub struct Spec {
    fields: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

/// One text of a list, with the JSON pointer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub path: String,
    pub text: String,
}

impl Spec {
    /// Reads the JSON text.
    ///
    /// # Errors
    /// [`PluginError::InvalidSpec`] if it is not a JSON object.
    pub fn read(json: &str) -> Result<Self, PluginError> {
        let refuse = |message: String| Err(PluginError::InvalidSpec(vec![Problem::new("", message)]));
        match serde_json::from_str(json) {
            Ok(Value::Object(fields)) => Ok(Self { fields, known: Vec::new(), problems: Vec::new() }),
            Ok(other) => refuse(format!("the spec is {}; it must be a JSON object", kind(&other))),
            Err(error) => refuse(format!("malformed JSON: {error}")),
        }
    }

    /// Notes a fault. `path` is a JSON pointer, `message` says what was found and what would be right.
    pub fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    /// True if no fault was noted so far.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// True if the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.take(name)?;
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.refuse(name, &value, "must be a text"),
        }
    }

    /// A list of texts. One text alone is a list of one; a number stands for its digits.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<Item>> {
        let value = self.take(name)?;
        if let Some(text) = as_text(&value) {
            return Some(vec![Item { path: pointer(name), text }]);
        }
        let Some(values) = value.as_array() else {
            return self.refuse(name, &value, "must be a list of texts");
        };
        let mut items = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            let path = format!("{}/{at}", pointer(name));
            match as_text(value) {
                Some(text) => items.push(Item { path, text }),
                None => self.fault(path, format!("is {}; must be a text", kind(value))),
            }
        }
        Some(items)
    }

    /// A whole number between `least` and `most`.
    pub fn integer(&mut self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => self.refuse(name, &value, &format!("must be a whole number from {least} to {most}")),
        }
    }

    /// A yes or no; no if absent.
    pub fn flag(&mut self, name: &'static str) -> bool {
        let Some(value) = self.take(name) else { return false };
        value.as_bool().or_else(|| self.refuse(name, &value, "must be true or false")).unwrap_or(false)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`PluginError::InvalidSpec`] with all faults, the unknown fields among them; [`PluginError::Internal`] if there
    /// is no value and no fault says why, which is a mistake in the plugin.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, PluginError> {
        self.note_unknown();
        if !self.is_sound() {
            return Err(PluginError::InvalidSpec(self.problems));
        }
        value.ok_or_else(|| PluginError::Internal("a spec without a fault gave no pool".to_owned()))
    }

    fn note_unknown(&mut self) {
        let unknown: Vec<String> =
            self.fields.keys().filter(|key| !self.known.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            let known = self.known.join(", ");
            let message = match nearest(&key, self.known.iter().copied()) {
                Some(near) => format!("unknown field {key:?}; did you mean {near:?}? known: {known}"),
                None => format!("unknown field {key:?}; known: {known}"),
            };
            self.fault(pointer(&key), message);
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.fields.get(name).filter(|value| !value.is_null()).cloned()
    }

    fn refuse<T>(&mut self, name: &str, found: &Value, rule: &str) -> Option<T> {
        self.fault(pointer(name), format!("is {}; {rule}", kind(found)));
        None
    }
}

/// The JSON pointer of a field of the document.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A text, or the digits of a number.
fn as_text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems<T: std::fmt::Debug>(result: Result<T, PluginError>) -> Vec<String> {
        match result {
            Err(PluginError::InvalidSpec(problems)) => problems.iter().map(ToString::to_string).collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn every_fault_is_reported_and_unknown_fields_name_the_nearest() {
        let mut spec = Spec::read(r#"{"prefix":"24","exclusion":[],"use_all":1,"names":[1,{},"x"],"a/b":0}"#).unwrap();
        assert_eq!(spec.integer("prefix", 0, 32), None);
        assert_eq!(spec.texts("exclusions"), None);
        assert!(!spec.flag("use_all"));
        assert_eq!(spec.texts("names").unwrap().len(), 2);
        assert_eq!(
            problems(spec.finish(Some(()))),
            [
                "/prefix: is the text \"24\"; must be a whole number from 0 to 32",
                "/use_all: is 1; must be true or false",
                "/names/1: is an object; must be a text",
                "/a~1b: unknown field \"a/b\"; known: prefix, exclusions, use_all, names",
                "/exclusion: unknown field \"exclusion\"; did you mean \"exclusions\"? known: prefix, exclusions, use_all, names",
            ]
        );
    }

    #[test]
    fn null_is_absent_and_a_document_must_be_an_object() {
        let mut spec = Spec::read(r#"{"cidr":null}"#).unwrap();
        assert!(!spec.has("cidr"));
        assert_eq!(spec.text("cidr"), None);
        assert_eq!(spec.finish(Some(7)), Ok(7));
        assert_eq!(problems(Spec::read("[1]").map(|_| ())), ["the spec is a list; it must be a JSON object"]);
        assert!(problems(Spec::read("{").map(|_| ()))[0].starts_with("malformed JSON: "));
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        for text in ["-1", "1.5", "33", "1e3", "99999999999999999999999"] {
            let mut spec = Spec::read(&format!(r#"{{"prefix":{text}}}"#)).unwrap();
            assert_eq!(spec.integer("prefix", 0, 32), None, "{text}");
            assert!(spec.finish(Some(())).is_err(), "{text}");
        }
    }
}
