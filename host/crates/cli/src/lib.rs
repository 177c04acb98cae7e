//! The operator's commands: what `nexus` says to a running daemon over gRPC, and how it shows the answers.
//!
//! Online commands only. What works on this machine's files (`serve`, `store check`, `plugin check`, `plugin pack`) is
//! added to the tree by the host crate. Nothing is decided here: every rule about pools and allocations is the daemon's,
//! so the commands agree with REST and gRPC by construction. Each command makes its whole answer a
//! `document` or a table; the exit code says what came of it (see `exit`).
//!
//! Start at `arguments` for what can be said, at `commands` for what is then asked.

mod arguments;
mod commands;
mod document;
mod exit;
mod pool_file;
mod screen;
mod session;
mod shape;
mod table;
mod words;
mod yaml;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use arguments::{Cli, Connection, Online};
use exit::{Exit, Failure};
use screen::Screen;

/// The tree of online commands, to be extended by whoever has more. Every leaf but `completion` takes the connection's
/// options, and so does the root.
pub fn command() -> clap::Command {
    arguments::with_connection(Cli::command())
}

/// Carries out what was asked on the command line and says how it went. `tree` is the complete tree (for `completion`),
/// `matches` what was parsed with it; a command that is not one of [`command`]'s is a fault of the caller and is told as
/// a wrong command line.
pub fn main(tree: &clap::Command, matches: &ArgMatches) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::complain(&format!("no runtime: {error}"));
            return Exit::Failed.into();
        }
    };
    runtime.block_on(run(tree, matches))
}

async fn run(tree: &clap::Command, matches: &ArgMatches) -> ExitCode {
    let online = match Cli::from_arg_matches(matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    if let Online::Completion { shell } = online {
        return finish(commands::completion::write(shell, tree.clone()), &Screen::plain());
    }
    let connection = match Connection::of(matches) {
        Ok(connection) => connection,
        Err(error) => error.exit(),
    };
    let mut screen = Screen::standard(connection.output);
    let outcome = commands::run(&connection, online, &mut screen).await;
    finish(outcome, &screen)
}

fn finish(outcome: Result<(), Failure>, screen: &Screen) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            screen.tell(&failure);
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests;
