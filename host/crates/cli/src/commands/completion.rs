//! `nexus completion`.

use std::io::Write as _;

use clap_complete::Shell;

use crate::exit::Failure;

/// Writes a shell's completion script for the whole tree.
pub(crate) fn write(shell: Shell, mut tree: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "nexus", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
