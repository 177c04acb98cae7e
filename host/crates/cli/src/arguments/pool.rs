//! The commands about pools.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::PageArgs;

/// Pools: named stocks of one resource type in one realm.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Make a pool; the same again is a success, a different one of the same id a conflict
    Create(CreateArgs),
    /// Show a pool
    Get {
        /// The pool
        id: String,
    },
    /// List pools
    List {
        /// Of this resource type only
        #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
        type_id: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Change a pool: what is not named stays as it is; taking away held resources is refused with the holders
    Update(UpdateArgs),
    /// Delete a pool; refused while it is in use
    Delete {
        /// The pool
        id: String,
        /// Release every allocation first
        #[arg(long)]
        force: bool,
    },
    /// Show how full a pool is, in all and by realm
    Stats {
        /// The pool
        id: String,
    },
    /// Make or change pools to what YAML files say
    #[command(after_help = APPLY_FILES)]
    Apply(ApplyArgs),
}

const APPLY_FILES: &str = "\
A file holds pools as YAML documents, as one list, or as a list under `pools:`. Each pool is told as created,
unchanged, updated or refused; a refused one does not keep the others back. A dry run tells what would happen, what
the pool would gain and lose, and which allocations are in the way.

Example:
  id: isp-east
  type: ipv4
  spec: {cidr: 100.64.0.0/10}
  lease: 1h
  ---
  id: isp-east-cvlan
  type: vlan
  spec: {range: 100-4000}
  realm_by: [olt_id]";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus pool create home --type ipv4 --cidr 10.0.0.0/24 --set dns=[192.0.2.53]
  nexus pool create cvlan --type vlan --range 100-4000 --realm-by olt_id")]
pub(crate) struct CreateArgs {
    /// The pool: 1 to 128 of A-Z a-z 0-9 . _ -
    #[arg(required_unless_present = "file")]
    pub(crate) id: Option<String>,
    /// A YAML file with the pool, or - for standard input; options are set over it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The pool
    #[arg(required_unless_present = "file")]
    pub(crate) id: Option<String>,
    /// A YAML file with the pool as it shall be, or - for standard input; options are set over it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
    /// Set a field back to its default; spec.FIELD is one of the type's
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    /// Refuse if the pool is at another revision [default: the one the change is based on]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) revision: Option<u64>,
    /// Say what would change and which allocations are in the way; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// YAML files, or - for standard input
    #[arg(long = "file", short, value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

// A pool's fields. No doc comment: clap would take it for the command's help.
#[derive(Debug, Args)]
pub(crate) struct FieldArgs {
    /// Resource type: ipv4, ipv6, vlan, svlan, port, or a plugin's
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) type_id: Option<String>,
    /// Same as --set cidr=CIDR
    #[arg(long)]
    pub(crate) cidr: Option<String>,
    /// Same as --set range=RANGE
    #[arg(long)]
    pub(crate) range: Option<String>,
    /// A field of the type's spec; the value is YAML: prefix=56, dns=[192.0.2.53], exclusions=[10.0.0.1-10.0.0.9]
    #[arg(long, value_name = "FIELD=VALUE", value_parser = crate::words::parse_pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Address or tag space
    #[arg(long)]
    pub(crate) realm: Option<String>,
    /// The realm is one space for all tenants
    #[arg(long)]
    pub(crate) shared: bool,
    /// Attributes of a request whose values make its realm, such as olt_id
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) realm_by: Vec<String>,
    /// first-free, next-free, random, hash, oldest-free or exact [default: the type's]
    #[arg(long)]
    pub(crate) strategy: Option<String>,
    /// How long allocations last: a time such as 1h, or none
    #[arg(long, value_name = "TIME")]
    pub(crate) lease: Option<String>,
    /// Shortest lease a request may ask for
    #[arg(long, value_name = "TIME", requires = "lease")]
    pub(crate) lease_min: Option<String>,
    /// Longest lease a request may ask for
    #[arg(long, value_name = "TIME", requires = "lease")]
    pub(crate) lease_max: Option<String>,
    /// How long a released resource rests
    #[arg(long, value_name = "TIME")]
    pub(crate) hold_down: Option<String>,
    /// Rather refuse than hand out a resting resource [default: the type's]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) strict: Option<bool>,
    /// What an answer waits for: local (on the disk of the host that decides), peer (and of one more) or default (peer in a
    /// cluster)
    #[arg(long, value_name = "LEVEL")]
    pub(crate) ack: Option<String>,
    /// How many shards [default: as the type's cut gives]
    #[arg(long, value_name = "COUNT")]
    pub(crate) sharding_factor: Option<u32>,
    /// Free-form, a JSON or YAML mapping
    #[arg(long, value_name = "MAPPING")]
    pub(crate) metadata: Option<String>,
}
