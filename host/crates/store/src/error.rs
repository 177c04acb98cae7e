//! What can go wrong with the data directory, and what was found damaged in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kernel::PoolUid;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is in use by another daemon (process {holder})", dir.display())]
    Locked { dir: PathBuf, holder: String },
    #[error(
        "{} has format {found}, this version reads up to format {known}: start the newer version that wrote it",
        dir.display()
    )]
    NewerFormat { dir: PathBuf, found: u32, known: u32 },
    #[error("{} is no data directory: {why}", dir.display())]
    NotAStore { dir: PathBuf, why: String },
    /// The disk is full. Nothing of the group is on disk; once there is space, [`reopen`](crate::Store::reopen).
    #[error("no space left to write {what}")]
    Full {
        what: String,
        #[source]
        source: io::Error,
    },
    /// A write or sync failed, so the state of the disk is unknown: the daemon must end and read it again.
    #[error("could not {action} {what}")]
    Failed {
        action: &'static str,
        what: String,
        #[source]
        source: io::Error,
    },
    /// What is needed to read anything at all is damaged.
    #[error("{key} is damaged: {why}")]
    Corrupt { key: String, why: String },
    /// Checkpoints are not written over damage, or the damage would be forgotten.
    #[error("{count} damaged places stand in the way, the first is {first}")]
    Damaged { count: usize, first: Damage },
    /// An earlier group was not written, so memory is ahead of the disk: [`reopen`](crate::Store::reopen) and recover.
    #[error("an earlier group was not written, the store must be reopened first")]
    MustReopen,
    /// An earlier checkpoint [failed](Self::Failed), and nobody knows whether the disk names it: only a start, which reads
    /// what is there, may make another.
    #[error("an earlier checkpoint failed and may be on disk or not, the daemon must end and read it again")]
    MustRestart,
    /// A checkpoint gave way to a recovery or to the end of the daemon. It is made another time.
    #[error("the checkpoint was put off")]
    PutOff,
    /// Groups are split, so this is a single record beyond all that requests can carry.
    #[error("a record of {found_bytes} bytes is too large, at most {most_bytes} fit")]
    RecordTooLarge { found_bytes: usize, most_bytes: usize },
}

impl StoreError {
    /// Sorts an I/O error: a full disk can be waited out, everything else ends the process.
    pub(crate) fn io(action: &'static str, what: impl fmt::Display, source: io::Error) -> Self {
        let what = what.to_string();
        let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        // After a failed rename or sync nobody knows what is on the disk, whatever the reason.
        if full && !matches!(action, "rename" | "sync") {
            Self::Full { what, source }
        } else {
            Self::Failed { action, what, source }
        }
    }

    pub(crate) fn path(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::io(action, path.display(), source)
    }

    pub(crate) fn corrupt(key: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Corrupt { key: key.to_string(), why: why.to_string() }
    }

    /// True if the same call may succeed once there is space.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// One place of the data directory that does not hold what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where: a log file and offset, or a table and row.
    pub key: String,
    /// Whose facts are missing; `None`: it could be any pool's.
    pub pool: Option<PoolUid>,
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}
