//! The commands about allocations.

use clap::Args;
use prost_types::{Duration, Timestamp};

use super::{PageArgs, RealmArgs};
use crate::words::{parse_duration, parse_pair, parse_time, parse_ttl};

#[derive(Debug, Args)]
pub(crate) struct AllocateArgs {
    /// The pool
    pub(crate) pool: String,
    /// Who asks: 1 to 256 bytes of UTF-8 without control characters
    pub(crate) subscriber: String,
    /// Tells several allocations of one subscriber in one pool apart
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) key: String,
    /// Exactly this resource, in any spelling its type knows
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) resource: String,
    /// What the resource type is asked for, such as prefix_length=56
    #[arg(long = "hint", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) hints: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) realm: RealmArgs,
    /// The OLT-BNG that asks; it is also the attribute olt_id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(crate) node: String,
    /// How long the lease shall be, within the pool's terms; negative: without a lease
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = parse_ttl)]
    pub(crate) ttl: Option<Duration>,
    /// Without a lease
    #[arg(long, conflicts_with = "ttl")]
    pub(crate) permanent: bool,
    /// Free-form, a JSON object; shown as given
    #[arg(long, value_name = "JSON", default_value = "", hide_default_value = true)]
    pub(crate) metadata: String,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// Who holds
    pub(crate) subscriber: String,
    /// In this pool only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// Only the allocation of this key
    #[arg(long, default_value = "", hide_default_value = true, requires = "pool")]
    pub(crate) key: String,
    /// How long the lease shall be, within the pool's terms; negative: without a lease
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = parse_ttl)]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Who holds
    pub(crate) subscriber: String,
    /// In this pool [default: the allocation that `nexus get` shows]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// Only the allocation of this key
    #[arg(long, default_value = "", hide_default_value = true, requires = "pool")]
    pub(crate) key: String,
    /// Exactly this resource, also one that another stands in place of [default: and whatever it superseded]
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "all")]
    pub(crate) resource: String,
    /// Everything the subscriber holds (with --pool: there)
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Who holds
    pub(crate) subscriber: String,
    /// In this pool [default: the newest IPv4, else the newest IPv6, else the newest, and all beside it]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// Only the allocation of this key
    #[arg(long, default_value = "", hide_default_value = true, requires = "pool")]
    pub(crate) key: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nexus who 100.64.1.50
  nexus who 100.64.1.50 --at 2026-01-31T03:12:00Z
  nexus who 100 --type vlan --realm default/olt-7 --past 10")]
pub(crate) struct WhoArgs {
    /// The resource, in any spelling its type knows
    pub(crate) resource: String,
    /// Of this resource type only
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub(crate) type_id: String,
    /// In this pool only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// In this realm only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) realm: String,
    /// Who held it then: RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<Timestamp>,
    /// Show so many past holders too
    #[arg(long, value_name = "COUNT", default_value_t = 0, conflicts_with = "at", value_parser = clap::value_parser!(u32).range(..=1_000))]
    pub(crate) past: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this pool only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// Of this subscriber only
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "expiring")]
    pub(crate) subscriber: String,
    /// Of this OLT-BNG only
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, conflicts_with = "expiring")]
    pub(crate) node: String,
    /// The holder of this resource only
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "expiring")]
    pub(crate) resource: String,
    /// In this realm only
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "expiring")]
    pub(crate) realm: String,
    /// Only leases that end within this time from now
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expiring: Option<Duration>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Of this pool only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) pool: String,
    /// Of this subscriber only
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) subscriber: String,
    /// Go on after this place: a resume token of an earlier watch [default: from now on]
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub(crate) resume: String,
}
