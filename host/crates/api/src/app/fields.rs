//! Reads a JSON document's fields one by one and notes every fault, so that a caller hears of all of them at once, each
//! with its value and what would be right. JSON null is absent everywhere.

use std::str::FromStr;

use compact_str::CompactString;
use kernel::{InvalidId, LeaseTerms, Ttl};
use serde_json::Value;

use super::clock::{duration_text, parse_duration_ms};
use super::error::{AppError, Fault};
use super::input::Pairs;

/// Most hints or attributes of a request, and most bytes of each name and value.
const MOST_PAIRS: usize = 16;
const MOST_PAIR_BYTES: usize = 256;

/// Most bytes of metadata, as text.
const MOST_METADATA: usize = 16 * 1024;

const DURATION_REMEDY: &str = "must be a duration such as \"30s\", \"5m\", \"7d\" or integer seconds, up to 100 years";

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    /// The value, unless there was a fault.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, AppError> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            Some(_) | None => Err(AppError::Invalid(self.faults)),
        }
    }

    pub(crate) fn fault(&mut self, field: &str, value: impl std::fmt::Display, remedy: impl Into<String>) {
        self.faults.push(Fault::new(field, value, remedy));
    }

    pub(crate) fn has_fault(&self, field: &str) -> bool {
        self.faults.iter().any(|fault| fault.field == field)
    }

    /// A text. Many clients send an empty one for what they leave out, so that is absent too.
    pub(crate) fn text<'v>(&mut self, field: &str, value: Option<&'v Value>) -> Option<&'v str> {
        let value = value.filter(|value| !value.is_null())?;
        let text = value.as_str();
        if text.is_none() {
            self.fault(field, plain(value), "must be a text");
        }
        text.filter(|text| !text.is_empty())
    }

    /// An id that may be left out.
    pub(crate) fn id<T: FromStr<Err = InvalidId>>(&mut self, field: &str, value: Option<&Value>) -> Option<T> {
        let raw = self.text(field, value)?;
        self.id_of(field, raw)
    }

    /// An id that must be there.
    pub(crate) fn needed_id<T: FromStr<Err = InvalidId>>(
        &mut self,
        field: &str,
        value: Option<&Value>,
        remedy: &str,
    ) -> Option<T> {
        let found = self.id(field, value);
        if found.is_none() && !self.has_fault(field) {
            self.fault(field, "", remedy);
        }
        found
    }

    pub(crate) fn id_of<T: FromStr<Err = InvalidId>>(&mut self, field: &str, raw: &str) -> Option<T> {
        match raw.parse() {
            Ok(id) => Some(id),
            Err(why) => {
                self.fault(field, raw, why.to_string());
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, field: &str, value: Option<&Value>) -> Option<bool> {
        let value = value.filter(|value| !value.is_null())?;
        if value.as_bool().is_none() {
            self.fault(field, plain(value), "must be true or false");
        }
        value.as_bool()
    }

    /// A whole number up to `most`.
    pub(crate) fn whole(&mut self, field: &str, value: Option<&Value>, most: u64) -> Option<u64> {
        let value = value.filter(|value| !value.is_null())?;
        let whole = value.as_u64().filter(|whole| *whole <= most);
        if whole.is_none() {
            self.fault(field, plain(value), format!("must be a whole number from 0 to {most}"));
        }
        whole
    }

    /// A duration in milliseconds.
    pub(crate) fn duration_ms(&mut self, field: &str, value: Option<&Value>) -> Option<u64> {
        let value = value.filter(|value| !value.is_null())?;
        match parse_duration_ms(&plain(value)) {
            Ok(ms) if value.is_string() || value.is_number() => Some(ms),
            Ok(_) | Err(_) => {
                self.fault(field, plain(value), DURATION_REMEDY);
                None
            }
        }
    }

    /// A wished lease. Negative: none at all; zero is the same as absent.
    pub(crate) fn ttl(&mut self, field: &str, value: Option<&Value>) -> Ttl {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ttl::Default };
        let text = plain(value);
        if text.starts_with('-') && (value.is_number() || parse_duration_ms(text.trim_start_matches('-')).is_ok()) {
            return Ttl::Permanent;
        }
        match self.duration_ms(field, Some(value)) {
            Some(0) | None => Ttl::Default,
            Some(ms) => Ttl::Millis(ms),
        }
    }

    /// A JSON object as its canonical text; empty if it has nothing in it.
    pub(crate) fn metadata(&mut self, field: &str, value: Option<&Value>) -> CompactString {
        match value.filter(|value| !value.is_null()) {
            None => CompactString::default(),
            Some(Value::Object(given)) if given.is_empty() => CompactString::default(),
            Some(given @ Value::Object(_)) => {
                let text = sorted(given).to_string();
                if text.len() > MOST_METADATA {
                    self.fault(
                        field,
                        format_args!("{} bytes", text.len()),
                        format!("must have at most {MOST_METADATA} bytes"),
                    );
                }
                text.into()
            }
            Some(other) => {
                self.fault(field, plain(other), "must be a JSON object");
                CompactString::default()
            }
        }
    }

    /// Named values: a JSON object of texts, numbers and booleans.
    pub(crate) fn pairs(&mut self, field: &str, value: Option<&Value>) -> Pairs {
        let Some(value) = value.filter(|value| !value.is_null()) else { return Pairs::new() };
        let Value::Object(given) = value else {
            self.fault(field, plain(value), "must be a JSON object of names and values");
            return Pairs::new();
        };
        let mut pairs = Pairs::with_capacity(given.len());
        for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            let text = plain(value);
            if value.is_array() || value.is_object() {
                self.fault(&format!("{field}.{name}"), &text, "must be a text, a number or a boolean");
            } else if name.len() > MOST_PAIR_BYTES || text.len() > MOST_PAIR_BYTES {
                self.fault(&format!("{field}.{name}"), &text, format!("must have at most {MOST_PAIR_BYTES} bytes"));
            } else {
                pairs.push((name.into(), text.into()));
            }
        }
        if pairs.len() > MOST_PAIRS {
            self.fault(
                field,
                format_args!("{} entries", pairs.len()),
                format!("must have at most {MOST_PAIRS} entries"),
            );
        }
        pairs
    }

    /// Named values that are texts already, within the same bounds.
    pub(crate) fn texts(&mut self, field: &str, given: impl IntoIterator<Item = (String, String)>) -> Pairs {
        let mut pairs = Pairs::new();
        for (name, text) in given {
            if name.len() > MOST_PAIR_BYTES || text.len() > MOST_PAIR_BYTES {
                self.fault(&format!("{field}.{name}"), &text, format!("must have at most {MOST_PAIR_BYTES} bytes"));
            }
            pairs.push((name.into(), text.into()));
        }
        if pairs.len() > MOST_PAIRS {
            self.fault(
                field,
                format_args!("{} entries", pairs.len()),
                format!("must have at most {MOST_PAIRS} entries"),
            );
        }
        pairs
    }

    /// Lease terms with what they leave out: a minute at least, a week at most, unless the default itself lies beyond.
    pub(crate) fn lease(&mut self, default_ms: u64, min_ms: Option<u64>, max_ms: Option<u64>) -> Option<LeaseTerms> {
        match lease_terms(default_ms, min_ms, max_ms) {
            Ok(terms) => Some(terms),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }
}

/// Lease terms with what they leave out: a minute at least, a week at most, unless the default itself lies beyond.
fn lease_terms(default_ms: u64, min_ms: Option<u64>, max_ms: Option<u64>) -> Result<LeaseTerms, Fault> {
    const MIN_MS: u64 = 60_000;
    const MAX_MS: u64 = 7 * 86_400_000;
    let min_ms = min_ms.unwrap_or(default_ms.min(MIN_MS));
    let max_ms = max_ms.unwrap_or(default_ms.max(MAX_MS));
    if min_ms > 0 && min_ms <= default_ms && default_ms <= max_ms {
        return Ok(LeaseTerms::Timed { default_ms, min_ms, max_ms });
    }
    let [min, default, max] = [min_ms, default_ms, max_ms].map(duration_text);
    let said = format_args!("min {min}, default {default}, max {max}");
    Err(Fault::new("lease", said, "must have 0 < min <= default <= max; \"none\" means no lease"))
}

/// A value as text: texts without their quotes, everything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What kind of JSON value it is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Keys sorted, nulls of objects dropped: equal documents are equal texts.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut pairs: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            pairs.sort_by_key(|(name, _)| name.as_str());
            Value::Object(pairs.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// A JSON object's text in canonical form; `field` is named in the error.
pub(crate) fn canonical_object(field: &str, text: &str) -> Result<String, AppError> {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(sorted(&value).to_string()),
        Ok(other) => Err(AppError::invalid(field, kind(&other), "must be a JSON object")),
        Err(error) => Err(AppError::invalid(field, text, format!("must be a JSON object: {error}"))),
    }
}
