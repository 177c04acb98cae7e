//! What must hold before a change is looked at.

use anyhow::{Result, bail};

use crate::shell::Shell;
use crate::{install, workspace};

/// What the kernel must not know: its tests build and run in seconds, and it decides without the world.
const FOREIGN_TO_KERNEL: [&str; 6] = ["tokio", "libp2p", "sled", "wasmtime", "axum", "tonic"];

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    install::component_of_rust("rustfmt")?;
    install::component_of_rust("clippy")?;
    install::cargo_deny()?;
    cargo(&["fmt", "--all", "--check"]).run()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings").run()?;
    kernel_border()?;
    cargo(&["deny", "check", "bans", "licenses", "sources"]).run()?;
    advisories()
}

fn cargo(arguments: &[&str]) -> Shell {
    Shell::cargo().dir(workspace::root()).args(arguments)
}

fn kernel_border() -> Result<()> {
    let tree = cargo(&["tree", "--package", "kernel", "--edges", "normal", "--prefix", "none"]).read()?;
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let foreign: Vec<&str> = names.filter(|name| FOREIGN_TO_KERNEL.contains(name)).collect();
    if !foreign.is_empty() {
        bail!("the kernel depends on {}, which have their own crates", foreign.join(", "));
    }
    eprintln!("the kernel knows none of {}", FOREIGN_TO_KERNEL.join(", "));
    Ok(())
}

/// Known vulnerabilities. The database is fetched; a machine without a way to it says so and goes on.
fn advisories() -> Result<()> {
    if cargo(&["deny", "fetch", "db"]).succeeds() {
        cargo(&["deny", "check", "advisories"]).run()
    } else {
        eprintln!("xtask: advisories not checked: their database cannot be fetched from here");
        Ok(())
    }
}
