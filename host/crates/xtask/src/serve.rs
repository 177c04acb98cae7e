//! From a fresh machine to a running daemon.

use anyhow::Result;

use crate::shell::Shell;
use crate::{build, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build::run(&[])?;
    let daemon = workspace::target_dir()?.join("release").join("nexus");
    Shell::new(daemon).dir(workspace::root()).args(["serve", "--data-path", "./data"]).args(arguments).exec()
}
