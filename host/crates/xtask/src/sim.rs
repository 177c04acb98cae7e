//! The kernel in its simulator: `cargo xtask sim --seeds N --from S`.

use anyhow::Result;

use crate::shell::Shell;
use crate::workspace;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let example = ["run", "--release", "--package", "kernel", "--features", "sim", "--example", "sim", "--"];
    Shell::cargo().dir(workspace::root()).args(example).args(arguments).run()
}
