//! What was answered stays on disk, whatever happens to the process or the power.
//!
//! - [`Store::append`] writes a commit group to the log and syncs it: what is in there is what a restart knows.
//! - [`Store::recover`] gives every fact back: the checkpoint's first, then the log's.
//! - A [`Compactor`], run by a thread of the daemon's, writes checkpoints and history and cuts the log.
//! - A [`Reader`] answers who held a resource in the past, and gives operations back by who wrote them.
//!
//! The store knows the facts' form, never their rules: what may be written is the kernel's to decide. It is the only
//! crate that knows sled. `FORMAT.md` says what is on disk, byte by byte.
//!
//! Invariant: nothing that is needed is ever overwritten. Log files and tables are written front to back, synced, and
//! only then named or relied on; what they replace is removed after that.

mod accept;
mod check;
mod compact;
mod error;
#[cfg(any(test, feature = "faulty"))]
pub mod faulty;
mod history;
mod identity;
mod key;
mod lock;
mod log;
mod manifest;
mod medium;
mod operations;
mod pin;
mod record;
mod recover;
mod retain;
#[cfg(any(test, feature = "faulty"))]
pub mod sample;
mod shared;
mod snapshot;
mod store;
mod table;
mod text;

pub use accept::{Accepted, accept_damage};
pub use check::{CheckReport, OriginReport, check};
pub use compact::{Compactor, CycleReport};
pub use error::{Damage, StoreError};
pub use history::{HistoryAnswer, HistoryQuery, Reader, Usage};
pub use identity::{Identity, Origin};
pub use operations::{Run, RunError};
pub use pin::{Pinned, PinnedFile, begin_next_life, is_store_file};
pub use recover::Recovered;
pub use snapshot::{SnapshotCursor, SnapshotError, SnapshotRun};
pub use store::{Store, StoreSettings};

/// True for the names of files that hold facts: a directory with such files is a store, or was one.
fn is_ours(name: &str) -> bool {
    name == manifest::FILE || log::Ordinal::of(name).is_some() || manifest::TableId::of(name).is_some()
}
