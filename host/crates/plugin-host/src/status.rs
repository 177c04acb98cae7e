//! Plugins as operators and clients see them.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::digest::Digest;
use crate::refusal::Refusal;

/// What a plugin says about itself, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// 1 to 32 of `a-z 0-9 -`, first a letter, last not `-`.
    pub type_id: String,
    pub version: semver::Version,
    /// Changes if and only if the mapping between spans and names changes.
    pub mapping_id: String,
    pub title: String,
    /// JSON Schema 2020-12 of a pool's spec, as text.
    pub spec_schema: String,
    /// JSON Schema 2020-12 of a request's hints, as text.
    pub hint_schema: String,
    /// Specs that open, as JSON text.
    pub examples: Vec<String>,
}

/// Where a plugin's bytes came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Part of the daemon, under this name.
    Embedded(String),
    /// A file of the plugins directory.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(_) => f.write_str("embedded"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Whether a plugin serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It answers calls.
    Active,
    /// It failed too often; calls are `plugin_unavailable` until a newer file passes or an operator resumes it.
    Suspended { why: String },
    /// An operator took it out of service.
    Retired,
    /// The file is not taken into service; what served before goes on.
    Refused { why: Refusal },
}

/// One plugin that serves, or one file that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStatus {
    /// None for a file that was refused before it said what it is.
    pub descriptor: Option<Descriptor>,
    /// None for a file that could not be read.
    pub digest: Option<Digest>,
    pub source: Source,
    pub state: PluginState,
    /// When it was taken into service or refused.
    pub since: SystemTime,
    /// True if the file it came from is gone: it goes on serving from the copy.
    pub file_gone: bool,
    /// The version that served before, if any since the start.
    pub previous: Option<semver::Version>,
    pub calls: u64,
    pub failures: u64,
}
