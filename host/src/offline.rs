//! Commands that work on files of this machine and need no daemon.

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;
use plugin_host::Limits;
use store::{StoreError, StoreSettings};

use crate::restore::{self, Duplicates, Restoration, Unrestored};
use crate::restored::Quarantined;

/// `nexus openapi`: the description of the REST API.
pub(crate) fn openapi() -> ExitCode {
    finish(print(&api::rest::openapi().trim_end()).map_err(Failure::from))
}

/// `nexus store check DIR` and `nexus store accept-damage DIR`.
pub(crate) fn store(matches: &ArgMatches) -> ExitCode {
    finish(match matches.subcommand() {
        Some(("check", matches)) => check_store(matches),
        Some(("accept-damage", matches)) => accept_damage(matches),
        Some(_) | None => Err(anyhow::anyhow!("a subcommand is required").into()),
    })
}

/// `nexus restore --from FILE --data-dir DIR`.
pub(crate) fn restore(matches: &ArgMatches) -> ExitCode {
    finish(restore_backup(matches))
}

/// `nexus plugin check FILE` and `nexus plugin pack MODULE COMPONENT`.
pub(crate) fn plugin(matches: &ArgMatches) -> ExitCode {
    finish(match matches.subcommand() {
        Some(("check", matches)) => check_plugin(matches),
        Some(("pack", matches)) => pack(matches),
        Some(_) | None => Err(anyhow::anyhow!("a subcommand is required").into()),
    })
}

/// Why such a command ends with another code than 0.
enum Failure {
    /// The argument names nothing that the command could work on.
    Wrong(anyhow::Error),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::NotAStore { .. }) {
            Self::Wrong(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    let (error, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Wrong(error)) => (error, ExitCode::from(crate::EXIT_USAGE)),
        Err(Failure::Failed(error)) => (error, ExitCode::FAILURE),
    };
    // With standard error closed there is nobody to tell.
    let _untold = writeln!(std::io::stderr(), "nexus: {error:#}");
    code
}

fn print(what: &dyn Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{what}").context("standard output is closed")
}

fn path<'a>(matches: &'a ArgMatches, name: &str) -> anyhow::Result<&'a PathBuf> {
    matches.get_one(name).with_context(|| format!("{name} is required"))
}

fn check_store(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "data-path")?;
    let report = store::check(dir)?;
    print(&format_args!("{}: format {}, node {}", dir.display(), report.format, report.identity.node))?;
    print(&format_args!("next operation {}, checkpoint covers {}", report.next_seq, report.covered))?;
    for (kind, count) in &report.facts {
        print(&format_args!("{kind:<12} {count}"))?;
    }
    print(&format_args!("{:<12} {}", "history", report.history))?;
    let own = report.identity.origin.into();
    for (origin, found) in &report.origins {
        let (host, incarnation, operations) = (origin.host, origin.incarnation, found.operations);
        if *origin == own {
            print(&format_args!("origin {host:016x}/{incarnation} {operations} operations, this host's own"))?;
        } else {
            let heard = found.heard;
            print(&format_args!("origin {host:016x}/{incarnation} {operations} operations, heard through {heard}"))?;
        }
    }
    print(&format_args!("{} log files with {} frames, {} tables", report.log_files, report.log_frames, report.tables))?;
    match report.kept_files {
        Some(0) => {}
        Some(count) => print(&format_args!("{count} log files more are kept for other hosts"))?,
        None => print(&"log files kept for other hosts do not read back; the next start removes them")?,
    }
    if report.torn_bytes > 0 {
        print(&format_args!(
            "{} bytes of a last group that nobody was told of; the next start removes them",
            report.torn_bytes
        ))?;
    }
    for damage in &report.damage {
        print(&format_args!("damaged: {damage}"))?;
    }
    match report.damage.len() {
        0 => Ok(print(&"everything reads back as it was written")?),
        1 => Err(anyhow::anyhow!("1 damaged place").into()),
        count => Err(anyhow::anyhow!("{count} damaged places").into()),
    }
}

fn accept_damage(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "data-path")?;
    let accepted = store::accept_damage(dir, StoreSettings::default())?;
    for damage in &accepted.damage {
        print(&format_args!("given up: {damage}"))?;
    }
    let Some(kept) = accepted.kept else {
        return Ok(print(&"everything reads back as it was written; nothing was changed")?);
    };
    print(&format_args!("log and checkpoint are kept as they were in {}", kept.display()))?;
    Ok(print(
        &"warning: what was answered in these places is forgotten; resources allocated there will be given to others",
    )?)
}

fn restore_backup(matches: &ArgMatches) -> Result<(), Failure> {
    let (from, dir) = (path(matches, "from")?, path(matches, "data-path")?);
    let accepted = matches.get_flag("i-accept-duplicates");
    let duplicates = if accepted { Duplicates::Accepted } else { Duplicates::Refused };
    let Restoration { about, identity, pools } =
        restore::restore(from, dir, duplicates).map_err(|unrestored| match unrestored {
            Unrestored::Wrong(error) => Failure::Wrong(error),
            Unrestored::Failed(error) => Failure::Failed(error),
        })?;
    print(&format_args!("{}: node {}, incarnation {}", dir.display(), about.node, identity.origin.incarnation))?;
    let made = api::app::rfc3339(about.made_ms);
    if let Some(membership) = about.membership {
        print(&format_args!("the backup of {made} was of a member of cluster {}", membership.cluster))?;
        return Ok(print(
            &"the other members have its records: start it, and let it join again with nexus cluster join",
        )?);
    }
    print(&format_args!("the backup of {made} has everything up to operation {}", about.through))?;
    if accepted {
        return Ok(print(
            &"warning: duplicates are accepted: what was handed out since the backup will be given to others, too",
        )?);
    }
    for Quarantined { id, wait_ms, .. } in pools {
        match wait_ms {
            Some(wait_ms) => print(&format_args!("pool {id}: nothing new is handed out for {} s", wait_ms / 1_000))?,
            None => print(&format_args!("pool {id}: nothing new is handed out until nexus shard end-quarantine {id}"))?,
        }
    }
    Ok(())
}

/// What the argument names; a file that cannot be read is a wrong argument.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = || format!("{} cannot be read", file.display());
    std::fs::read(file).with_context(unreadable).map_err(Failure::Wrong)
}

fn check_plugin(matches: &ArgMatches) -> Result<(), Failure> {
    let file = path(matches, "file")?;
    let checked = plugin_host::check_file(Limits::small(), &read(file)?).map_err(anyhow::Error::from)?;
    match &checked.descriptor {
        Ok(of) => print(&format_args!("{} {} ({}), mapping {}", of.type_id, of.version, of.title, of.mapping_id))?,
        Err(refusal) => {
            return Err(Failure::Wrong(anyhow::anyhow!("{} is refused: {refusal}", file.display())));
        }
    }
    print(&checked.report)?;
    if checked.passed { Ok(()) } else { Err(anyhow::anyhow!("{} does not conform", file.display()).into()) }
}

fn pack(matches: &ArgMatches) -> Result<(), Failure> {
    let (module, component) = (path(matches, "module")?, path(matches, "component")?);
    let unpackable = || format!("{} cannot be packed", module.display());
    let packed = nexus_plugin_pack::pack(&read(module)?).with_context(unpackable).map_err(Failure::Wrong)?;
    std::fs::write(component, &packed).with_context(|| format!("{} cannot be written", component.display()))?;
    Ok(print(&format_args!("wrote {} ({} bytes)", component.display(), packed.len()))?)
}
