//! JSON Schema 2020-12 for a type's specs and hints.
//!
//! ```
//! use nexus_plugin_sdk::schema::{self, Object};
//!
//! let spec = Object::new().optional("range", schema::text("The ids, as in 100-4000.")).json();
//! let hints = Object::new().hint("s_vlan", "Only pairs of this S-VLAN.", "^[0-9]{1,4}$", "100").json();
//! # assert!(spec.contains("additionalProperties") && hints.contains("s_vlan"));
//! ```

use serde_json::{Map, Value, json};

/// An object's schema. Unknown fields are refused.
#[derive(Clone, Debug, Default)]
pub struct Object {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    /// A field that may be absent or null.
    #[must_use]
    pub fn optional(mut self, name: &str, schema: Value) -> Self {
        self.properties.insert(name.to_owned(), nullable(schema));
        self
    }

    /// A field that must be there.
    #[must_use]
    pub fn required(mut self, name: &str, schema: Value) -> Self {
        self.properties.insert(name.to_owned(), schema);
        self.required.push(name.into());
        self
    }

    /// A hint: an optional text that matches `pattern`. The example must match it too.
    #[must_use]
    pub fn hint(mut self, name: &str, description: &str, pattern: &str, example: &str) -> Self {
        let schema = json!({"type": "string", "description": description, "pattern": pattern, "examples": [example]});
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// The schema as a document.
    pub fn json(self) -> String {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": self.properties,
            "required": self.required,
        })
        .to_string()
    }
}

/// A text.
pub fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// A list of texts; numbers stand for their digits, and one alone for a list of one.
pub fn texts(description: &str) -> Value {
    json!({
        "type": ["array", "string", "integer"],
        "items": {"type": ["string", "integer"]},
        "description": description,
    })
}

/// A whole number between `least` and `most`.
pub fn integer(description: &str, least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most, "description": description})
}

/// A yes or no.
pub fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn nullable(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type") {
        match kinds.as_array_mut() {
            Some(several) => several.push("null".into()),
            None => *kinds = json!([kinds, "null"]),
        }
    }
    schema
}
