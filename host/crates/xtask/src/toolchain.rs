//! Which compiler builds the plugins.
//!
//! The active toolchain if it has the WASM target; else any compiler that has the library's source, which then builds
//! the library itself (`-Zbuild-std`: an unstable flag of cargo, so the bootstrap variable must allow it).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt;
use crate::shell::Shell;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian and its kin install a compiler.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
/// The Debian packages of that compiler with the library's source.
const SYSTEM_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// A compiler that can build for [`TARGET`].
#[derive(Debug)]
pub(crate) enum WasmToolchain {
    /// The active one, as it is.
    Ready,
    /// One that builds the standard library first.
    BuildStd { rustc: OsString, linker: PathBuf },
}

impl WasmToolchain {
    /// The cargo command, set up for this toolchain.
    pub(crate) fn cargo_build(&self) -> Shell {
        let cargo = Shell::cargo().args(["build", "--target", TARGET]);
        match self {
            Self::Ready => cargo,
            Self::BuildStd { rustc, linker } => cargo
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker),
        }
    }
}

/// The toolchain to use, installed if it must be.
pub(crate) fn ensure() -> Result<WasmToolchain> {
    if let Some(found) = find() {
        return Ok(found);
    }
    eprintln!("xtask: no compiler here builds for {TARGET}; trying to install one");
    if Shell::new("rustup").args(["target", "add", TARGET]).run().is_ok()
        && let Some(found) = find()
    {
        return Ok(found);
    }
    install_system_compiler()?;
    find().with_context(|| {
        format!("{} are installed, and still nothing builds for {TARGET}", SYSTEM_PACKAGES.join(" and "))
    })
}

fn find() -> Option<WasmToolchain> {
    let active = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let sysroot = sysroot(&active);
    if sysroot.as_ref().is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()) {
        return Some(WasmToolchain::Ready);
    }
    let linker = sysroot.iter().find_map(|sysroot| bundled_linker(sysroot)).or_else(system_linker)?;
    [active, OsString::from(SYSTEM_RUSTC)]
        .into_iter()
        .find(has_library_source)
        .map(|rustc| WasmToolchain::BuildStd { rustc, linker })
}

fn sysroot(rustc: &OsString) -> Option<PathBuf> {
    let text = Shell::new(rustc).args(["--print", "sysroot"]).read().ok()?;
    Some(PathBuf::from(text.trim()))
}

fn has_library_source(rustc: &OsString) -> bool {
    sysroot(rustc).is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file())
}

/// The linker that rustup's toolchains bring along, under the name of the machine they run on.
fn bundled_linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.is_file())
}

fn system_linker() -> Option<PathBuf> {
    let linker = PathBuf::from("/usr/bin/rust-lld");
    linker.is_file().then_some(linker)
}

fn install_system_compiler() -> Result<()> {
    let remedy = format!("install it by hand: `rustup target add {TARGET}`, or a Rust compiler with that target");
    let apt = apt::find().with_context(|| format!("rustup cannot add {TARGET}; {remedy}"))?;
    eprintln!("xtask: installing the system's compiler ({}) beside the active one", SYSTEM_PACKAGES.join(", "));
    apt.install(&SYSTEM_PACKAGES).context(remedy)
}
