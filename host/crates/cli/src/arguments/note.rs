//! `nexus note`.

use clap::Subcommand;

use super::PageArgs;

/// Short texts under keys of parts between slashes; any host may be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum NoteCommand {
    /// Write a note
    Put {
        /// The key, such as olt/north-1
        key: String,
        /// What it says
        value: String,
        /// Only at this version, as the asked host knows it
        #[arg(long, default_value = "", hide_default_value = true)]
        version: String,
    },
    /// Show a note
    Get {
        /// The key
        key: String,
    },
    /// Delete a note
    Delete {
        /// The key
        key: String,
        /// Only at this version, as the asked host knows it
        #[arg(long, default_value = "", hide_default_value = true)]
        version: String,
    },
    /// List notes
    List {
        /// Only those whose keys begin like this
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Only those that were written on two hosts at the same time, and not since
        #[arg(long)]
        disputed: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show notes as they are written and deleted
    Watch {
        /// Only those whose keys begin like this
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Go on after this place, as an earlier watch told it
        #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
        resume: String,
    },
}
