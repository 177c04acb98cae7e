//! `nexus`: the daemon (`serve`) and the operator's command.
//!
//! `config` reads what was set, `serve` joins the parts and drains them, `driver` is the kernel's thread, `plugins` and
//! `past` lend plugin-host and store to the API, `alone` is the cluster of a host without peers, `backup` is what it tells of
//! itself to be restored, and `restored` keeps what a backup does not know from being handed out. Commands that talk to a running daemon are the `cli` crate; those that
//! work on files are `offline`.

mod alone;
mod backup;
mod clock;
mod cluster;
mod commands;
mod config;
mod driver;
mod offline;
mod past;
mod plugins;
mod restore;
mod restored;
mod serve;
mod shutdown;
mod telemetry;
mod threads;
mod vitals;

use std::process::ExitCode;

/// A request makes and drops some forty small values on several threads, and what one thread made another often drops:
/// the system's allocator took a fifth of the daemon's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is on the disk is unknown or cannot be read: the supervisor should start the daemon again, which reads it anew.
const EXIT_STORAGE: i32 = 74;

/// What the command line or the configuration names is missing or wrong; the same again will not help.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let tree = commands::tree();
    let matches = tree.clone().get_matches();
    match matches.subcommand() {
        Some(("serve", matches)) => serve::command(matches),
        Some(("openapi", _)) => offline::openapi(),
        Some(("store", matches)) => offline::store(matches),
        Some(("restore", matches)) => offline::restore(matches),
        Some(("plugin", below)) if matches!(below.subcommand_name(), Some("check" | "pack")) => offline::plugin(below),
        _ => cli::main(&tree, &matches),
    }
}
