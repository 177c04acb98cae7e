//! The commands about the cluster: its members, its shards, its ring.

use std::str::FromStr;

use clap::{Args, Subcommand};

/// Most shards that one command may name: more than any pool is cut into.
const MOST_SHARDS: usize = 65_536;

/// The hosts that own the pools together.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Form a cluster with this host as its first member; once in a cluster's life, on one host
    Init,
    /// Make this host a member of a cluster
    Join {
        /// Where a member listens for other hosts, as in p2p.peers [default: any configured peer]
        #[arg(default_value = "", hide_default_value = true)]
        address: String,
    },
    /// Give up all of this host's shards and leave the cluster
    Leave,
    /// Show the cluster as this host sees it, and what to look at
    Status,
    /// List the members
    Members,
    /// Let a member vote
    Promote {
        /// Its node id or member number
        member: String,
    },
    /// Let a member vote no more; it still learns what is decided
    Demote {
        /// Its node id or member number
        member: String,
    },
    /// Remove a member that is lost for good; if it comes back, it comes as a new host
    Remove {
        /// Its node id or member number
        member: String,
        /// Why; kept for whoever asks later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Slices of pools, each with one owner.
#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// List shards with their owners, and where those go that have to move
    List {
        /// Of this pool only
        #[arg(default_value = "", hide_default_value = true)]
        pool: String,
        /// Only what this member holds: its node id or member number
        #[arg(long, value_name = "MEMBER")]
        owner: Option<String>,
        /// Only shards that are held so
        #[arg(long, value_name = "KIND", value_parser = ["escrow", "leased"])]
        kind: Option<String>,
    },
    /// Move shards to another owner; asked of the host that holds them, and the other one must be reachable
    Move {
        #[command(flatten)]
        order: OrderArgs,
        /// Why, if there is something to say
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Take shards from an owner that is lost, by force; space that it may have handed out unheard is set aside
    Seize {
        /// The pool [default with --from: every pool of the tenant]
        #[arg(required_unless_present = "from")]
        pool: Option<String>,
        /// The shards: numbers and ranges, such as 1-3,7
        #[arg(long, value_name = "SHARDS", required_unless_present = "from")]
        shards: Option<Shards>,
        /// All shards that this lost member holds outright: its node id or member number
        #[arg(long, value_name = "MEMBER", conflicts_with = "shards")]
        from: Option<String>,
        /// The new owner's node id or member number
        #[arg(long, value_name = "MEMBER")]
        to: String,
        /// Why; kept for whoever asks later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Hand out again of the shards of a pool that this host keeps in quarantine after a restore, a takeover or a seizure
    EndQuarantine {
        /// The pool
        pool: String,
        /// Why nobody holds what was handed out of them unheard; kept in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

// Which shards shall go where. No doc comment: clap would take it for the command's help.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// The pool
    pub(crate) pool: String,
    /// The shards: numbers and ranges, such as 1-3,7
    #[arg(long, value_name = "SHARDS")]
    pub(crate) shards: Shards,
    /// The new owner's node id or member number
    #[arg(long, value_name = "MEMBER")]
    pub(crate) to: String,
}

/// One host of the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Give a host no new shards and move those it has to others; cluster members shows how far it is
    Drain {
        /// Its node id or member number
        member: String,
        /// Take it back: the host gets shards again
        #[arg(long)]
        undo: bool,
        /// Return when it has none left, and it may be stopped or leave
        #[arg(long, conflicts_with = "undo")]
        wait: bool,
    },
}

/// Shards by number, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shards(pub(crate) Vec<u32>);

impl FromStr for Shards {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let mut shards = Vec::new();
        for item in raw.split(',').map(str::trim) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong(item));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(format!("{item} must begin with the smaller number"));
            }
            // Checked before the range is written out: it may have four thousand million numbers.
            let count = usize::try_from(last - first).unwrap_or(usize::MAX);
            if count >= MOST_SHARDS || shards.len() + count >= MOST_SHARDS {
                return Err(format!("must name at most {MOST_SHARDS} shards"));
            }
            shards.extend(first..=last);
        }
        shards.sort_unstable();
        shards.dedup();
        Ok(Self(shards))
    }
}

fn wrong(item: &str) -> String {
    format!("{item:?} must be a shard's number or a range, such as 1-3,7")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_ranges_name_shards() {
        let read = |raw: &str| raw.parse::<Shards>().map(|shards| shards.0);
        assert_eq!(read("1-3,7"), Ok(vec![1, 2, 3, 7]));
        assert_eq!(read("7, 0 - 1,1"), Ok(vec![0, 1, 7]));
        for wrong in ["", "a", "3-1", "1,", "-1", "1-", "0-4294967295", "0-40000,0-40000", "4294967296"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("0-65535").map(|shards| shards.len()), Ok(65_536));
    }

    proptest! {
        #[test]
        fn no_text_panics(raw in "[0-9,\\- ]{0,24}") {
            let _shards_or_why = raw.parse::<Shards>();
        }
    }
}
