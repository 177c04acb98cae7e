//! Commands that work on files of this machine and need no daemon.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ArgMatches;
use plugin_host::Limits;

/// `nexus openapi`: the description of the REST API.
pub(crate) fn openapi() -> ExitCode {
    finish(print(&api::rest::openapi().trim_end()))
}

/// `nexus store check DIR`.
pub(crate) fn store(matches: &ArgMatches) -> ExitCode {
    finish(matches.subcommand_matches("check").context("a subcommand is required").and_then(check_store))
}

/// `nexus plugin check FILE` and `nexus plugin pack MODULE COMPONENT`.
pub(crate) fn plugin(matches: &ArgMatches) -> ExitCode {
    finish(match matches.subcommand() {
        Some(("check", matches)) => check_plugin(matches),
        Some(("pack", matches)) => pack(matches),
        Some(_) | None => Err(anyhow::anyhow!("a subcommand is required")),
    })
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell.
            let _untold = writeln!(std::io::stderr(), "nexus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(what: &dyn Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{what}").context("standard output is closed")
}

fn path<'a>(matches: &'a ArgMatches, name: &str) -> anyhow::Result<&'a PathBuf> {
    matches.get_one(name).with_context(|| format!("{name} is required"))
}

fn check_store(matches: &ArgMatches) -> anyhow::Result<()> {
    let dir = path(matches, "data-path")?;
    let report = store::check(dir)?;
    print(&format_args!("{}: format {}, node {}", dir.display(), report.format, report.identity.node))?;
    print(&format_args!("next operation {}, checkpoint covers {}", report.next_seq, report.covered))?;
    for (kind, count) in &report.facts {
        print(&format_args!("{kind:<12} {count}"))?;
    }
    print(&format_args!("{:<12} {}", "history", report.history))?;
    print(&format_args!("{} log files with {} frames, {} tables", report.log_files, report.log_frames, report.tables))?;
    if report.torn_bytes > 0 {
        print(&format_args!(
            "{} bytes of a last group that nobody was told of; the next start removes them",
            report.torn_bytes
        ))?;
    }
    for damage in &report.damage {
        print(&format_args!("damaged: {damage}"))?;
    }
    if report.damage.is_empty() {
        print(&"everything reads back as it was written")
    } else {
        bail!("{} damaged places", report.damage.len())
    }
}

fn check_plugin(matches: &ArgMatches) -> anyhow::Result<()> {
    let file = path(matches, "file")?;
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let checked = plugin_host::check_file(Limits::small(), &bytes)?;
    match &checked.descriptor {
        Ok(of) => print(&format_args!("{} {} ({}), mapping {}", of.type_id, of.version, of.title, of.mapping_id))?,
        Err(refusal) => bail!("{} is refused: {refusal}", file.display()),
    }
    print(&checked.report)?;
    if checked.passed { Ok(()) } else { bail!("{} does not conform", file.display()) }
}

fn pack(matches: &ArgMatches) -> anyhow::Result<()> {
    let (module, component) = (path(matches, "module")?, path(matches, "component")?);
    let core = std::fs::read(module).with_context(|| format!("{} cannot be read", module.display()))?;
    let packed = nexus_plugin_pack::pack(&core).with_context(|| format!("{} cannot be packed", module.display()))?;
    std::fs::write(component, &packed).with_context(|| format!("{} cannot be written", component.display()))?;
    print(&format_args!("wrote {} ({} bytes)", component.display(), packed.len()))
}
