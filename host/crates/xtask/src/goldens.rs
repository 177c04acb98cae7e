//! Files in the tree that follow from the code: written anew here, compared by tests.

use anyhow::{Context as _, Result};

use crate::shell::Shell;
use crate::workspace;

/// `docs/openapi.json`, as the daemon serves it.
pub(crate) fn openapi(_arguments: &[String]) -> Result<()> {
    let text = Shell::cargo().dir(workspace::root()).args(["run", "--package", "nexus", "--", "openapi"]).read()?;
    let file = workspace::root().join("docs").join("openapi.json");
    std::fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
