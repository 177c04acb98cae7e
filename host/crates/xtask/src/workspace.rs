//! Where things are: the root of the repository and its target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shell::Shell;

/// The root of the repository, two folders above this crate's parent.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(3).unwrap_or(own)
}

/// The target folder, whatever decides it: environment, configuration or default.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let text = Shell::cargo().dir(root()).args(["metadata", "--no-deps", "--format-version", "1"]).read()?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata did not write JSON")?;
    let target = metadata.get("target_directory").and_then(Value::as_str);
    target.map(PathBuf::from).context("cargo metadata names no target_directory")
}
