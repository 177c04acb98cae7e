//! What clients asked, what they were told, and when. Times are milliseconds since boot, the same on every host of a
//! machine whatever its wall clock does.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Milliseconds since boot.
pub(crate) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).expect("after boot");
    let nanos = u64::try_from(now.tv_nsec).expect("not negative");
    seconds * 1_000 + nanos / 1_000_000
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Asked {
    Allocate,
    Renew,
    Release,
    LookUp,
}

/// The term under which an answer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fence {
    pub(crate) pool: u32,
    pub(crate) shard: u32,
    pub(crate) epoch: u32,
}

/// What an answer says is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Grant {
    pub(crate) address: String,
    pub(crate) fence: Fence,
    /// `None`: until it is released.
    pub(crate) lease_ms: Option<u64>,
    pub(crate) created: bool,
    /// The address that it was given in place of.
    pub(crate) supersedes: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    /// Allocated, renewed or found.
    Granted(Grant),
    /// Granted, but the client may not use it: it came too late, or of an older term than one seen before.
    Dropped {
        grant: Grant,
        why: String,
    },
    Released,
    /// The host says that there is nothing.
    Nothing,
    /// An error: it may have happened, now or a while later.
    Unknown {
        why: String,
    },
}

/// One request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) client: String,
    /// The host that was asked, from 0.
    pub(crate) host: usize,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) asked: Asked,
    pub(crate) pool: String,
    pub(crate) subscriber: String,
    pub(crate) outcome: Outcome,
}

/// For whoever looks into a failure: a line of JSON each.
pub(crate) fn write(records: &[Record], file: &Path) {
    let mut out = BufWriter::new(File::create(file).expect("a file for the history"));
    for record in records {
        serde_json::to_writer(&mut out, record).expect("a record has a form");
        out.write_all(b"\n").expect("there is space for the history");
    }
}
