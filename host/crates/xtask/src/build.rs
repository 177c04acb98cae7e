//! Plugins first, because the daemon embeds them; then the daemon.

use anyhow::Result;

use crate::shell::Shell;
use crate::{plugins, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    plugins::run(&[])?;
    Shell::cargo().dir(workspace::root()).args(["build", "--release", "--package", "nexus"]).args(arguments).run()
}
