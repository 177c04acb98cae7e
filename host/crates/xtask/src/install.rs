//! Installs what building, testing and linting need and this machine lacks; says what it does.

use anyhow::Result;

use crate::shell::Shell;
use crate::{apt, toolchain};

pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    toolchain::ensure()?;
    for component in ["rustfmt", "clippy"] {
        component_of_rust(component)?;
    }
    iproute2();
    cargo_deny()
}

/// `ip`, with which a test lays a network between hosts. Where it cannot be had, that test says so.
pub(crate) fn iproute2() {
    if Shell::new("ip").arg("-V").succeeds() {
        return;
    }
    eprintln!("xtask: the command ip is missing; installing iproute2");
    if let Err(error) = apt::find().and_then(|apt| apt.install(&["iproute2"])) {
        eprintln!("xtask: iproute2 is not installed: {error:#}");
    }
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
    eprintln!("xtask: cargo-deny is missing; installing it (once, a minute or two)");
    // Unoptimized it is there in half the time, and a check takes four seconds.
    Shell::cargo().args(["install", "--locked", "--debug", "cargo-deny"]).run()
}
