//! The whole command tree: what the `cli` crate offers against a running daemon, plus what works on this machine's files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgAction, Command, value_parser};
use kernel::ProtocolVersion;

use crate::cluster::BUILT;
use crate::config::KEYS;
use crate::plugins::BUILD_VARIABLE;

/// Every command of `nexus`.
pub(crate) fn tree() -> Command {
    cli::command()
        .subcommand(serve())
        .subcommand(store())
        .subcommand(restore())
        .subcommand(Command::new("openapi").about("Print the REST API's OpenAPI 3.1 description").hide(true))
        .mut_subcommand("plugin", |plugin| plugin.subcommand(plugin_check()).subcommand(plugin_pack()))
}

/// The variables that mean something to other commands or to the build: `serve` ignores them without a word.
pub(crate) fn variables_of_others() -> BTreeSet<String> {
    let mut names = BTreeSet::from([BUILD_VARIABLE.to_owned(), PROTOCOL_VARIABLE.to_owned()]);
    let mut commands = vec![tree()];
    while let Some(command) = commands.pop() {
        names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned())));
        commands.extend(command.get_subcommands().cloned());
    }
    names
}

/// For tests of a cluster whose hosts have different builds: the daemon says that it speaks this version, and sends what a
/// newer one may send. Nothing else changes.
const PROTOCOL_VARIABLE: &str = "NEXUS_TEST_PROTOCOL";

/// Which protocol the daemon says that it speaks.
pub(crate) fn protocol() -> anyhow::Result<ProtocolVersion> {
    match std::env::var(PROTOCOL_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{PROTOCOL_VARIABLE} is for tests only")),
        Err(_) => Ok(BUILT),
    }
}

fn serve() -> Command {
    let command = Command::new("serve")
        .about("Run the daemon")
        .after_help(
            "Every setting is a flag, a NEXUS_ variable and a key of the file; flag over variable over file.\n\
             Exit codes: 0 stopped as asked, 1 could not start, 2 configuration or plugins are missing or wrong, or the\n\
             data directory is a copy or an older state, 74 storage failed (start again: what is on the disk is read anew).",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .env("NEXUS_CONFIG")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("YAML file with any of the settings below"),
        )
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Check the configuration, say everything that is wrong, and end"),
        );
    KEYS.iter().fold(command, |command, key| {
        let default = key.default.map_or(String::new(), |default| format!(" [default: {default}]"));
        let help = format!("{}{default} [{}, {}]", key.help, key.path, key.variable());
        command.arg(Arg::new(key.flag).long(key.flag).value_name(key.value).help(help))
    })
}

fn store() -> Command {
    let path = Arg::new("data-path").required(true).value_name("DIR").value_parser(value_parser!(PathBuf));
    let check = Command::new("check")
        .about("Read a data directory whose daemon is stopped, verify every record, and count")
        .arg(path.clone().help("the data directory"));
    let accept = Command::new("accept-damage")
        .about("Give up what does not read back, so that the rest may be handed out again")
        .after_help(
            "The daemon must be stopped. The log and the checkpoint are first copied into DIR/damaged-N as they are.\n\
             What was answered in the damaged places is forgotten: resources allocated there look free, released ones\n\
             may look held. Where a backup can be restored, restore it instead.",
        )
        .arg(path.help("the data directory"));
    Command::new("store")
        .about("Look at a data directory offline, or mend it")
        .subcommand_required(true)
        .subcommand(check)
        .subcommand(accept)
}

fn restore() -> Command {
    Command::new("restore")
        .about("Make a data directory of a backup; nothing that the backup does not know is handed out twice")
        .after_help(
            "The host whose backup it is must be gone for good, or stopped and never started again on its old data.\n\
             A backup does not know what was handed out after it was made. So nothing new is handed out of its pools\n\
             until their longest lease is over, and of pools without leases until nexus shard end-quarantine POOL;\n\
             what the backup knows is answered, renewed and released. A member of a cluster is restored without its\n\
             records: start it, and let it join again with nexus cluster join.\n\
             Give the directory to the user of the daemon before it starts.",
        )
        .arg(
            Arg::new("from")
                .long("from")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("a file that nexus backup wrote"),
        )
        .arg(
            Arg::new("data-path")
                .long("data-dir")
                .visible_alias("data-path")
                .required(true)
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("the data directory to make; it must be empty"),
        )
        .arg(
            Arg::new("i-accept-duplicates")
                .long("i-accept-duplicates")
                .action(ArgAction::SetTrue)
                .help("Hand out everything that the backup shows as free at once, whoever may have it"),
        )
}

fn plugin_check() -> Command {
    Command::new("check")
        .about("Run the conformance checks on a component file")
        .arg(
            Arg::new("file")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("a component (.wasm)"),
        )
        .arg(Arg::new("smoke").long("smoke").action(ArgAction::SetTrue).help("only what is checked at load"))
}

fn plugin_pack() -> Command {
    Command::new("pack")
        .about("Turn a core module built for wasm32-unknown-unknown into a component")
        .arg(
            Arg::new("module")
                .required(true)
                .value_name("MODULE")
                .value_parser(value_parser!(PathBuf))
                .help("core module"),
        )
        .arg(
            Arg::new("component")
                .required(true)
                .value_name("COMPONENT")
                .value_parser(value_parser!(PathBuf))
                .help("where to write the component"),
        )
}
