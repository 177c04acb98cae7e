//! Every test there is. Guests are built first: tests of the host run real plugins. With arguments, which choose among the
//! tests, only those of the workspace.

use anyhow::Result;

use crate::shell::Shell;
use crate::{deploy, install, plugins, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    plugins::run(&[])?;
    install::iproute2();
    Shell::cargo().dir(workspace::root()).args(["test", "--workspace"]).args(arguments).run()?;
    if arguments.is_empty() { deploy::check(&[]) } else { Ok(()) }
}
