//! Installs what building, testing and linting need and this machine lacks; says what it does.

use anyhow::Result;

use crate::shell::Shell;
use crate::toolchain;

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    toolchain::ensure()?;
    for component in ["rustfmt", "clippy"] {
        component_of_rust(component)?;
    }
    cargo_deny()
}

/// `cargo fmt` or `cargo clippy`, which every rustup has but for minimal profiles.
pub(crate) fn component_of_rust(component: &str) -> Result<()> {
    let subcommand = if component == "rustfmt" { "fmt" } else { component };
    if Shell::cargo().args([subcommand, "--version"]).succeeds() {
        return Ok(());
    }
    eprintln!("xtask: cargo {subcommand} is missing; installing it");
    Shell::new("rustup").args(["component", "add", component]).run()
}

pub(crate) fn cargo_deny() -> Result<()> {
    if Shell::cargo().args(["deny", "--version"]).succeeds() {
        return Ok(());
    }
    eprintln!("xtask: cargo-deny is missing; installing it (once, a few minutes)");
    Shell::cargo().args(["install", "--locked", "cargo-deny"]).run()
}
