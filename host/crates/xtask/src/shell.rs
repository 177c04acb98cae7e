//! Running a command: it is shown before it runs, and an error carries the whole command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command line with what is special about its environment.
#[derive(Debug)]
pub(crate) struct Shell {
    command: Command,
    settings: Vec<String>,
}

impl Shell {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self { command: Command::new(program), settings: Vec::new() }
    }

    /// The cargo that runs us.
    pub(crate) fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.settings.push(format!("{key}={}", value.as_ref().display()));
        self.command.env(key, value);
        self
    }

    pub(crate) fn dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Shows the command, runs it on our own terminal and demands that it succeeds.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("+ {line}");
        let status = self.command.status().with_context(|| format!("could not start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Shows the command and becomes it, so that signals reach it and its exit code is ours. Returns only if it cannot
    /// be started.
    pub(crate) fn exec(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("+ {line}");
        Err(self.command.exec()).with_context(|| format!("could not start `{line}`"))
    }

    /// What the command writes to its standard output; nothing is shown.
    pub(crate) fn read(mut self) -> Result<String> {
        let line = self.line();
        let output =
            self.command.stderr(Stdio::inherit()).output().with_context(|| format!("could not start `{line}`"))?;
        if !output.status.success() {
            bail!("`{line}` failed ({})", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not write UTF-8"))
    }

    /// True if the command can be started and succeeds; nothing is shown.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.command.status().is_ok_and(|status| status.success())
    }

    fn line(&self) -> String {
        let program = Path::new(self.command.get_program()).file_name().unwrap_or(self.command.get_program());
        let words = std::iter::once(program).chain(self.command.get_args()).map(|word| word.display().to_string());
        self.settings.iter().cloned().chain(words).collect::<Vec<_>>().join(" ")
    }
}
