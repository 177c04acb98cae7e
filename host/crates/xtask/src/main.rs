//! The chores of this repository, one file each: `cargo xtask <chore>`.
//!
//! CI runs the same chores as people do. Each says what it runs before it runs it, and installs nothing but through
//! the chore `install`, which the others call for what they need.

mod apt;
mod bench;
mod build;
mod demo;
mod deploy;
mod goldens;
mod install;
mod lint;
mod plugins;
mod serve;
mod shell;
mod sim;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "serve",
        about: "build all, then run the daemon on ./data (further arguments are its own)",
        run: serve::run,
    },
    Chore { name: "test", about: "every test: plugin builds, simulator, real daemons", run: test::run },
    Chore { name: "lint", about: "format, clippy, documents, licences, borders between crates", run: lint::run },
    Chore { name: "build", about: "plugins, then target/release/nexus", run: build::run },
    Chore { name: "plugins", about: "the plugins' components, into <target-dir>/nexus-plugins", run: plugins::run },
    Chore { name: "demo", about: "ten OLTs, SIGKILL under load, a restart, every answer checked", run: demo::run },
    Chore { name: "bench", about: "the figures of docs/BENCHMARKS.md beside their baselines", run: bench::run },
    Chore { name: "sim", about: "the kernel's simulator: --seeds N --from S", run: sim::run },
    Chore { name: "deploy", about: "what deploy/ has: manifests, chart, forming a cluster", run: deploy::run },
    Chore { name: "openapi", about: "write docs/openapi.json as the daemon serves it", run: goldens::openapi },
    Chore {
        name: "install",
        about: "what building, testing and linting need and this machine lacks",
        run: install::run,
    },
];

/// The exit code for a command line that names no chore.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", usage());
        return ExitCode::from(USAGE);
    };
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprint!("xtask: no chore is named {name:?}\n\n{}", usage());
        return ExitCode::from(USAGE);
    };
    match (chore.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let chores: Vec<String> = CHORES.iter().map(|Chore { name, about, .. }| format!("  {name:<10}{about}")).collect();
    format!("cargo xtask <chore>\n\n{}\n", chores.join("\n"))
}
