//! Reading a request's hints.

use crate::{Attribute, PluginError, Problem, nearest};

/// The hints of one request, each known to the type and given once.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a>(&'a [Attribute]);

impl<'a> Hints<'a> {
    /// Checks the hints against the names the type knows.
    ///
    /// # Errors
    /// [`PluginError::InvalidHint`] for a name that is not known, with the nearest that is, or that is given twice.
    pub fn read(hints: &'a [Attribute], known: &[&str]) -> Result<Self, PluginError> {
        for (at, hint) in hints.iter().enumerate() {
            if !known.contains(&hint.key.as_str()) {
                return Err(Self::refuse(&hint.key, unknown(&hint.key, known)));
            }
            if hints.iter().take(at).any(|before| before.key == hint.key) {
                return Err(Self::refuse(&hint.key, "is given twice; once would be right"));
            }
        }
        Ok(Self(hints))
    }

    /// The value of a hint.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|hint| hint.key == name).map(|hint| hint.value.as_str())
    }

    /// The error for a hint that cannot be followed.
    pub fn refuse(name: &str, message: impl Into<String>) -> PluginError {
        PluginError::InvalidHint(Problem::new(format!("/{}", name.replace('~', "~0").replace('/', "~1")), message))
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("unknown hint {name:?}; this type takes none");
    }
    let list = known.join(", ");
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown hint {name:?}; did you mean {near:?}? known: {list}"),
        None => format!("unknown hint {name:?}; known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_repeated_hints_are_refused() {
        let hint = |key: &str| Attribute::new(key, "1");
        let message = |hints: &[Attribute]| Hints::read(hints, &["count"]).unwrap_err().to_string();
        assert_eq!(message(&[hint("cuont")]), "/cuont: unknown hint \"cuont\"; did you mean \"count\"? known: count");
        assert_eq!(message(&[hint("count"), hint("count")]), "/count: is given twice; once would be right");
        assert_eq!(Hints::read(&[hint("count")], &["count"]).unwrap().get("count"), Some("1"));
    }
}
