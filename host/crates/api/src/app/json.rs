//! Documents as JSON text. Most readers take the last of two equal keys without a word, and a pool under another id than
//! was meant is too costly for that: here every key stands once, or the document is refused with the keys' names.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::error::{AppError, Fault};

/// Reads a document. `field` is what it is a part of; empty: it is the whole body.
pub(crate) fn read(field: &str, text: &[u8]) -> Result<Value, AppError> {
    let value = serde_json::from_slice(text).map_err(|error| malformed(&error))?;
    let mut doubled = Vec::new();
    Keys { path: field, doubled: &mut doubled }
        .deserialize(&mut serde_json::Deserializer::from_slice(text))
        .map_err(|error| malformed(&error))?;
    let faults: Vec<_> =
        doubled.into_iter().map(|key| Fault::new(key, "", "stands there twice; must be given once")).collect();
    if faults.is_empty() { Ok(value) } else { Err(AppError::Invalid(faults)) }
}

/// What is wrong with a text that is not the JSON it should be, and where.
pub(crate) fn malformed(error: &serde_json::Error) -> AppError {
    let (line, column) = (error.line(), error.column());
    let why = error.to_string();
    let why = why.split(" at line ").next().unwrap_or_default();
    AppError::Malformed(match error.classify() {
        Category::Data => format!("the JSON at line {line} column {column} does not fit: {why}"),
        Category::Syntax | Category::Eof | Category::Io => {
            format!("malformed JSON at line {line} column {column}: {why}")
        }
    })
}

/// What must be written as a JSON object: serde would take an array for one too, by the order of its fields.
#[derive(Debug)]
pub(crate) struct OneObject<T>(pub(crate) T);

impl<T: Default> Default for OneObject<T> {
    fn default() -> Self {
        Self(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = OneObject<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneObject<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneObject)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Notes the keys that stand twice in one object, with the path to them.
struct Keys<'a> {
    path: &'a str,
    doubled: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{key}", self.path);
            fields.next_value_seed(Keys { path: &path, doubled: self.doubled })?;
            if !seen.insert(key) && !self.doubled.contains(&path) {
                self.doubled.push(path);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        for at in 0_usize.. {
            let path = format!("{}.{at}", self.path);
            if values.next_element_seed(Keys { path: &path, doubled: self.doubled })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_path() {
        for (text, doubled) in [
            (r#"{"id": "x7", "id": "x6"}"#, vec!["id"]),
            (r#"{"id": 1, "id": 2, "id": 3, "a": null, "a": 1.5}"#, vec!["id", "a"]),
            (r#"{"spec": {"cidr": "a", "b": {"cidr": "b"}, "cidr": "c"}}"#, vec!["spec.cidr"]),
            (r#"{"list": [1, {"a": true, "a": false}]}"#, vec!["list.1.a"]),
        ] {
            let Err(AppError::Invalid(faults)) = read("", text.as_bytes()) else { panic!("{text}") };
            assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), doubled, "{text}");
        }
    }

    #[test]
    fn any_other_document_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,3.5,null,true,"x",{"a":340282366920938463463374607431768211456}],"b":{"a":{}}}"#;
        assert_eq!(read("", text.as_bytes()).unwrap().to_string(), text);
        assert!(matches!(read("", b"{"), Err(AppError::Malformed(_))));
    }
}
