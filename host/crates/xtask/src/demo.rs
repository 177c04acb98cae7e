//! The promise, shown on a daemon of release build: load, SIGKILL, restart, every answer checked.

use anyhow::Result;

use crate::shell::Shell;
use crate::{build, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build::run(&[])?;
    let example = ["run", "--release", "--package", "nexus", "--example", "demo", "--"];
    Shell::cargo().dir(workspace::root()).args(example).args(arguments).run()
}
