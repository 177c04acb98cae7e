//! What can go wrong, for each family of operations.

use std::io;
use std::path::PathBuf;

use crate::settings::InvalidSettings;

/// The directory cannot be read, written or believed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged at byte {offset}: {why}", path.display())]
    Damaged { path: PathBuf, offset: u64, why: String },
    #[error("{} has format {found}, and this build knows formats up to {known}", path.display())]
    NewerFormat { path: PathBuf, found: u16, known: u16 },
    #[error("{} is in use by another process or instance", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} belongs to member {found}, not to member {asked}", dir.display())]
    OtherMember { dir: PathBuf, found: u64, asked: u64 },
    #[error("{} holds {file} but no file named member", dir.display())]
    NoMember { dir: PathBuf, file: String },
    /// It is an older state of itself, or its end is lost.
    #[error(
        "the log in {} ends with entry {last}, but entry {applied} was applied from it: its files are older than the others of \
         the directory, or lost. Put the latest state of the whole directory back, or replace this member", dir.display()
    )]
    WentBack { dir: PathBuf, applied: u64, last: u64 },
    #[error("the directory is closed")]
    Closed,
    #[error("an earlier write failed, so nothing more is written: {why}")]
    Poisoned { why: String },
    #[error("entry {index} does not follow the log, whose next entry is {next}")]
    Gap { index: u64, next: u64 },
    #[error("the machine refused the snapshot up to entry {index}: {why}")]
    Restore { index: u64, why: String },
    #[error("the machine does not understand entry {index}: {why}")]
    Apply { index: u64, why: String },
}

impl StorageError {
    /// The error and what caused it, in one line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(why) = cause {
            text.push_str(": ");
            text.push_str(&why.to_string());
            cause = why.source();
        }
        text
    }
}

/// Why a member could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    #[error("the settings cannot work")]
    Settings(#[source] InvalidSettings),
    #[error("could not open the log's directory")]
    Storage(#[source] StorageError),
    #[error("could not start from what is in the log's directory: {why}")]
    Start { why: String },
}

/// Why no log was formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    #[error("this member has a log already, or takes part in one")]
    Exists,
    #[error("the member has stopped: {why}")]
    Stopped { why: String },
}

/// Why a proposal, a change of members or a read was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed.
    #[error("no leader is known")]
    NoLeader,
    /// Nothing was proposed.
    #[error("the leader {leader} is without a majority of the voters")]
    NoMajority { leader: u64 },
    /// The outcome is unknown: the entry may be committed, now or later.
    #[error("not committed and applied here in time; it may still be")]
    TimedOut,
    /// The outcome is unknown: the entry may be committed, now or later.
    #[error("the leader {leader} got the entry, but was lost before it answered: {why}")]
    LeaderLost { leader: u64, why: String },
    /// Nothing was proposed.
    #[error("{why}")]
    Refused { why: String },
    /// The outcome is unknown if the member stopped meanwhile.
    #[error("the member has stopped: {why}")]
    Stopped { why: String },
}

impl ProposeError {
    /// Whether what was asked for may have happened, or may happen yet, all the same.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::TimedOut | Self::LeaderLost { .. } | Self::Stopped { .. } => true,
            Self::NoLeader | Self::NoMajority { .. } | Self::Refused { .. } => false,
        }
    }
}
