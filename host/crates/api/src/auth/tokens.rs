//! The tokens file: YAML (so JSON too), a list of tokens, at the top or under `tokens`.
//!
//! Every fault of the file is told, each with its line; a file with a fault is not used at all.

use std::fmt;
use std::path::{Path, PathBuf};

use kernel::TenantId;
use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};

use crate::app::{Role, suggestion};

/// One token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) name: String,
    pub(super) sha256: [u8; 32],
    pub(super) role: Role,
    /// `None`: the caller names the tenant.
    pub(super) tenant: Option<TenantId>,
}

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("tokens file {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("tokens file {} is not usable: {}", path.display(), lines(faults))]
    Faulty { path: PathBuf, faults: Vec<TokenFault> },
}

/// One thing that is wrong with a tokens file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFault {
    /// From 1.
    pub line: usize,
    /// What is wrong and what would be right. Never holds a hash or a token.
    pub what: String,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

fn lines(faults: &[TokenFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TokensError::Unreadable { path: path.to_owned(), source })?;
    parse(&text).map_err(|faults| TokensError::Faulty { path: path.to_owned(), faults })
}

fn parse(text: &str) -> Result<Vec<Token>, Vec<TokenFault>> {
    let fault = |line, what: String| vec![TokenFault { line, what }];
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| fault(error.marker().line(), format!("not YAML: {}", error.info())))?;
    let top = match documents.as_slice() {
        [top] => top,
        [] => return Err(fault(1, "the file is empty; it must list at least one token".to_owned())),
        [_, second, ..] => {
            return Err(fault(second.span.start.line(), "a second document; there may be one".to_owned()));
        }
    };
    let wanted = || fault(top.span.start.line(), "must be a list of tokens, at the top or under `tokens`".to_owned());
    let list = if let YamlData::Mapping(pairs) = &top.data {
        let under = pairs.iter().find(|(key, _)| text_of(key) == Some("tokens"));
        under.filter(|_| pairs.len() == 1).map(|(_, list)| list).ok_or_else(wanted)?
    } else {
        top
    };
    let YamlData::Sequence(entries) = &list.data else { return Err(wanted()) };
    if entries.is_empty() {
        return Err(fault(list.span.start.line(), "no tokens; at least one is needed".to_owned()));
    }
    let mut faults = Vec::new();
    let mut tokens: Vec<Token> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(token) = Entry::of(entry, &mut faults).and_then(|read| read.check(&mut faults)) else { continue };
        if let Some(twin) = tokens.iter().find(|other| other.name == token.name || other.sha256 == token.sha256) {
            let what = format!("token {:?} has the name or the hash of token {:?}", token.name, twin.name);
            faults.push(TokenFault { line: entry.span.start.line(), what });
        }
        tokens.push(token);
    }
    if faults.is_empty() { Ok(tokens) } else { Err(faults) }
}

fn text_of<'a>(node: &'a MarkedYaml<'_>) -> Option<&'a str> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) | YamlData::Representation(text, ..) => Some(text.as_ref()),
        YamlData::Value(_)
        | YamlData::Sequence(_)
        | YamlData::Mapping(_)
        | YamlData::Tagged(..)
        | YamlData::Alias(_)
        | YamlData::BadValue => None,
    }
}

const FIELDS: [&str; 4] = ["name", "sha256", "role", "tenant"];

/// A list entry's texts with their lines, before they mean anything.
struct Entry<'a> {
    line: usize,
    texts: [Option<(&'a str, usize)>; FIELDS.len()],
}

impl<'a> Entry<'a> {
    fn of(node: &'a MarkedYaml<'_>, faults: &mut Vec<TokenFault>) -> Option<Self> {
        let line = node.span.start.line();
        let YamlData::Mapping(pairs) = &node.data else {
            faults.push(TokenFault { line, what: format!("must be a mapping with {}", FIELDS.join(", ")) });
            return None;
        };
        let mut texts = [None; FIELDS.len()];
        for (key, value) in pairs {
            let line = key.span.start.line();
            let name = text_of(key).unwrap_or_default();
            let slot = FIELDS.iter().zip(&mut texts).find(|(field, _)| **field == name);
            match (slot, text_of(value)) {
                (Some((_, slot)), Some(text)) => *slot = Some((text, value.span.start.line())),
                (Some(_), None) => {
                    // A hash of digits alone reads as a number.
                    faults
                        .push(TokenFault { line, what: format!("{name} must be text; quote it if it is all digits") });
                }
                (None, _) => {
                    let what = format!("field {name:?} is not one of a token{}", suggestion(name, FIELDS));
                    faults.push(TokenFault { line, what });
                }
            }
        }
        Some(Self { line, texts })
    }

    fn check(self, faults: &mut Vec<TokenFault>) -> Option<Token> {
        let [name, sha256, role, tenant] = self.texts;
        let name = self.read("name", name, faults, |text| match text {
            "" => Err("a name is needed".to_owned()),
            text => Ok(text.to_owned()),
        });
        let sha256 = self.read("sha256", sha256, faults, |text| {
            digest(text).ok_or_else(|| "must be the token's SHA-256 as 64 hexadecimal digits".to_owned())
        });
        let role = self.read("role", role, faults, |text| {
            let known = Role::ALL.into_iter().find(|role| role.as_str() == text);
            known.ok_or_else(|| format!("{text:?} is none of {}", Role::ALL.map(Role::as_str).join(", ")))
        });
        let tenant = match tenant {
            None => Some(None),
            given => self.read("tenant", given, faults, |text| {
                text.parse().map(Some).map_err(|why: kernel::InvalidId| why.to_string())
            }),
        };
        Some(Token { name: name?, sha256: sha256?, role: role?, tenant: tenant? })
    }

    fn read<T>(
        &self,
        field: &str,
        found: Option<(&str, usize)>,
        faults: &mut Vec<TokenFault>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (line, why) = match found {
            Some((text, line)) => match read(text) {
                Ok(value) => return Some(value),
                Err(why) => (line, why),
            },
            None => (self.line, "is missing".to_owned()),
        };
        faults.push(TokenFault { line, what: format!("{field}: {why}") });
        None
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if pair.starts_with('+') {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = format!("# who may call\ntokens:\n  - name: bng\n    sha256: {HASH}\n    role: allocate\n");
        let json = format!(r#"[{{"name": "bng", "sha256": "{HASH}", "role": "allocate"}}]"#);
        assert_eq!(parse(&yaml).unwrap(), parse(&json).unwrap());
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let text = format!(
            "tokens:\n  - {{name: a, sha256: 12ab, role: king}}\n  - {{nam: b, sha256: {HASH}, role: read}}\n  - 7\n"
        );
        let faults = parse(&text).unwrap_err();
        let seen: Vec<_> =
            faults.iter().map(|fault| (fault.line, fault.what.split_whitespace().next().unwrap())).collect();
        assert_eq!(seen, [(2, "sha256:"), (2, "role:"), (3, "field"), (3, "name:"), (4, "must")]);
        assert!(faults[2].what.ends_with("did you mean name?"), "{}", faults[2].what);
    }

    #[test]
    fn two_tokens_with_one_hash_are_a_fault() {
        let text = format!("- {{name: a, sha256: {HASH}, role: read}}\n- {{name: b, sha256: {HASH}, role: admin}}\n");
        assert_eq!(parse(&text).unwrap_err()[0].line, 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n\t]{0,300}") {
            let _tokens_or_faults = parse(&text);
        }
    }
}
