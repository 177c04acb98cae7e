//! Every test there is. Guests are built first: tests of the host run real plugins. So is a second daemon, which stands for the
//! next release: a cluster is upgraded to it and back. With arguments, which choose among the
//! tests, only those of the workspace.

use anyhow::{Context as _, Result};

use crate::shell::Shell;
use crate::{deploy, install, plugins, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    plugins::run(&[])?;
    install::iproute2();
    next_release()?;
    Shell::cargo().dir(workspace::root()).args(["test", "--workspace"]).args(arguments).run()?;
    if arguments.is_empty() { deploy::check(&[]) } else { Ok(()) }
}

/// Builds `nexus-next` beside the daemon that is tested. The tests of the workspace are named so that what both daemons are made of
/// is built once; the daemon itself is put back by the build that follows.
fn next_release() -> Result<()> {
    let build = ["test", "--no-run", "--workspace", "--test", "roll", "--features", "nexus/next-protocol"];
    Shell::cargo().dir(workspace::root()).args(build).run()?;
    let folder = workspace::target_dir()?.join("debug");
    let (from, to) = (folder.join("nexus"), folder.join("nexus-next"));
    std::fs::copy(&from, &to).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
