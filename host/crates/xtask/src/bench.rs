//! Every figure of `docs/BENCHMARKS.md`, each beside its baseline: the parts first, then a whole daemon.

use anyhow::Result;

use crate::shell::Shell;
use crate::{build, workspace};

/// Benches of single crates; the daemon's own come last.
const PARTS: [&str; 3] = ["kernel", "plugin-host", "store"];

/// Arguments name sections of the daemon's bench (`unary`, `single`, `stream`, `rest`, `crowd`, `idle`, `cluster`,
/// `cluster-serve`, `cluster-heal`, `cluster-lose`, `cluster-grow`); with any, the parts are left out.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build::run(&[])?;
    if arguments.is_empty() {
        for part in PARTS {
            cargo(&["bench", "--package", part]).run()?;
        }
    }
    cargo(&["bench", "--package", "nexus", "--bench", "figures", "--"]).args(arguments).run()
}

fn cargo(arguments: &[&str]) -> Shell {
    Shell::cargo().dir(workspace::root()).args(arguments)
}
