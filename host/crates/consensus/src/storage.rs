//! The directory: votes, the log, how far it is committed and purged, snapshots. `FORMAT.md` describes the files.
//!
//! Knows nothing of the network. A failed write or sync poisons it: what is on the disk is unknown then, and only
//! opening the directory again tells.

mod committed;
mod disk;
mod frame;
mod journal;
mod log;
mod machine;
mod member;
mod seal;
mod snapshots;

pub(crate) use disk::Disk;
pub(crate) use log::LogStore;
pub(crate) use machine::{MachineStore, Progress};
pub(crate) use member::claim;
pub(crate) use seal::encode;
pub(crate) use snapshots::Snapshots;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod suite_tests;
