//! What can be said on the command line. The comments here are the help's text.

#![allow(clippy::doc_markdown, reason = "these comments are the help's text, where backticks would show")]

mod allocation;
mod cluster;
mod note;
mod pool;

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use allocation::{AllocateArgs, GetArgs, ListArgs, ReleaseArgs, RenewArgs, WatchArgs, WhoArgs};
pub(crate) use cluster::{ClusterCommand, NodeCommand, OrderArgs, ShardCommand};
pub(crate) use note::NoteCommand;
pub(crate) use pool::{ApplyArgs, CreateArgs, FieldArgs, PoolCommand, UpdateArgs};

use crate::exit::EXIT_CODES;
use crate::screen::Format;
use crate::words::parse_pair;

/// Hands out network resources to subscribers: the daemon and its operator's command
#[derive(Debug, Parser)]
#[command(name = "nexus", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Online,
}

/// What is asked of a running daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum Online {
    /// Make, look at, change and delete pools
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Give a subscriber a resource of a pool, or show the one it holds
    Allocate(AllocateArgs),
    /// Renew a subscriber's leases
    Renew(RenewArgs),
    /// End a subscriber's allocation
    Release(ReleaseArgs),
    /// Show what a subscriber holds
    Get(GetArgs),
    /// Show who holds a resource, or who held it
    Who(WhoArgs),
    /// List allocations
    List(ListArgs),
    /// Show allocations as they are made, renewed and ended
    Watch(WatchArgs),
    /// Say where an allocation would go, or why it would fail; changes nothing
    Explain(AllocateArgs),
    /// Keep resources for named subscribers
    #[command(subcommand)]
    Reservation(ReservationCommand),
    /// Look at what hosts that could not reach each other left open, and close it
    #[command(subcommand)]
    Conflicts(ConflictsCommand),
    /// Write and read notes about OLTs, sites and tenants
    #[command(subcommand)]
    Note(NoteCommand),
    /// Look at the plugins that implement the resource types
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Form, join and look after a cluster of hosts
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at who owns the shards of pools, and move them
    #[command(subcommand)]
    Shard(ShardCommand),
    /// Look after one host of the cluster
    #[command(subcommand)]
    Node(NodeCommand),
    /// Save everything that the host needs to be restored, as it is at this moment; the daemon goes on meanwhile
    Backup(BackupArgs),
    /// Show how the hashring spreads the shards over the members
    Hashring,
    /// Write the completion script of a shell to standard output
    Completion {
        /// The shell
        shell: Shell,
    },
}

// Where a backup goes. No doc comment: clap would take it for the command's help.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write, on this machine; it must not exist. It holds the host's key: keep it like one
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// Resources kept for a named subscriber (static addressing).
#[derive(Debug, Subcommand)]
pub(crate) enum ReservationCommand {
    /// Keep a resource for a subscriber; one that another holds is a conflict
    Add {
        /// The pool
        pool: String,
        /// The resource, in any spelling its type knows
        resource: String,
        /// Whom it is kept for
        subscriber: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
        #[command(flatten)]
        realm: RealmArgs,
    },
    /// List reservations
    List {
        /// Of this pool only
        #[arg(long, value_name = "POOL", default_value = "", hide_default_value = true)]
        pool: String,
        /// Of this subscriber only
        #[arg(long, default_value = "", hide_default_value = true)]
        subscriber: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Keep a resource for nobody any more
    Remove {
        /// The pool
        pool: String,
        /// The resource, in any spelling its type knows
        resource: String,
        #[command(flatten)]
        realm: RealmArgs,
    },
}

/// Subscribers with two allocations of one pool, and words of hosts that contradict each other.
#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// List open conflicts
    List {
        /// Of this pool only
        #[arg(long, value_name = "POOL", default_value = "", hide_default_value = true)]
        pool: String,
        /// Of this subscriber only
        #[arg(long, default_value = "", hide_default_value = true)]
        subscriber: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Say that nobody uses the superseded allocation any more: it ends, and the conflict with it
    Confirm {
        /// The conflict, as `nexus conflicts list` shows it
        id: String,
    },
}

/// The plugins that implement the resource types.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List plugins, serving or refused
    List,
    /// Take a resource type out of service; refused while pools use it
    Retire {
        /// The resource type
        #[arg(value_name = "TYPE")]
        type_id: String,
    },
    /// Let a suspended or retired resource type serve again
    Resume {
        /// The resource type
        #[arg(value_name = "TYPE")]
        type_id: String,
    },
}

// What chooses the realm in a pool with `realm_by`. No doc comment: clap would take it for the command's help.
#[derive(Debug, Args)]
pub(crate) struct RealmArgs {
    /// A named fact about the request, such as olt_id=olt-7; a pool's realm_by chooses the realm by them
    #[arg(long = "attribute", short = 'a', value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) attributes: Vec<(String, String)>,
}

// How much of a list. No doc comment, as above.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// At most so many rows
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Go on where an earlier page ended
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) cursor: String,
    /// Every row, however many
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

// Where the daemon is, who calls, and how answers look. No doc comment, as above.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct Connection {
    /// The daemon's gRPC address
    #[arg(
        long,
        env = "NEXUS_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001",
        hide_env_values = true
    )]
    pub(crate) server: String,
    /// PEM authorities that sign the daemon's certificate [default: the system's]
    #[arg(long, env = "NEXUS_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// PEM certificate to show to the daemon
    #[arg(long, env = "NEXUS_CERT", value_name = "FILE", requires = "cert_key", hide_env_values = true)]
    pub(crate) cert: Option<PathBuf>,
    /// PEM private key of the certificate
    #[arg(long, env = "NEXUS_CERT_KEY", value_name = "FILE", requires = "cert", hide_env_values = true)]
    pub(crate) cert_key: Option<PathBuf>,
    /// Bearer token; other users of this machine can see it, --token-file and NEXUS_TOKEN are safer
    #[arg(long, env = "NEXUS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File that holds the bearer token
    #[arg(long, env = "NEXUS_TOKEN_FILE", value_name = "FILE", conflicts_with = "token", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Whose pools are meant [default: the token's tenant, or `default`]
    #[arg(long, env = "NEXUS_TENANT", value_name = "TENANT", hide_env_values = true)]
    pub(crate) tenant: Option<String>,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
    /// How answers look
    #[arg(
        long,
        short,
        env = "NEXUS_OUTPUT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_env_values = true
    )]
    pub(crate) output: Format,
}

fn parse_timeout(raw: &str) -> Result<Duration, String> {
    match api::app::parse_duration_ms(raw)? {
        0 => Err("must be longer than nothing".to_owned()),
        ms => Ok(Duration::from_millis(ms)),
    }
}

/// Takes one option over from another connection.
type Take = fn(&mut Connection, &Connection);

impl Connection {
    /// Read from the leaf command, or from before it: `nexus --server X pool list` is `nexus pool list --server X`.
    pub(crate) fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut leaf = matches;
        while let Some((_, below)) = leaf.subcommand() {
            leaf = below;
        }
        let mut connection = Self::from_arg_matches(leaf)?;
        let mut before = matches.clone();
        before.remove_subcommand();
        let said_before = |id: &str| {
            let said = |matches: &ArgMatches| matches.value_source(id) == Some(ValueSource::CommandLine);
            said(matches) && !said(leaf)
        };
        // Only what was said overrides; defaults and variables are the same in both places.
        let root = Self::from_arg_matches(&before)?;
        for (id, take) in Self::TAKES {
            if said_before(id) {
                take(&mut connection, &root);
            }
        }
        Ok(connection)
    }

    const TAKES: [(&str, Take); 9] = [
        ("server", |to, from| to.server.clone_from(&from.server)),
        ("ca", |to, from| to.ca.clone_from(&from.ca)),
        ("cert", |to, from| to.cert.clone_from(&from.cert)),
        ("cert_key", |to, from| to.cert_key.clone_from(&from.cert_key)),
        ("token", |to, from| to.token.clone_from(&from.token)),
        ("token_file", |to, from| to.token_file.clone_from(&from.token_file)),
        ("tenant", |to, from| to.tenant.clone_from(&from.tenant)),
        ("timeout", |to, from| to.timeout = from.timeout),
        ("output", |to, from| to.output = from.output),
    ];
}

/// Gives the connection's options to the root and to every leaf. They are not clap's global arguments, because those
/// would spread to `serve` and whatever else is added to the tree later.
pub(crate) fn with_connection(root: Command) -> Command {
    let root = root.mut_subcommands(with_connection_below);
    Connection::augment_args(root).next_help_heading(None::<&str>)
}

fn with_connection_below(command: Command) -> Command {
    if command.get_name() == "completion" {
        command
    } else if command.has_subcommands() {
        command.mut_subcommands(with_connection_below)
    } else {
        Connection::augment_args(command).next_help_heading(None::<&str>)
    }
}
