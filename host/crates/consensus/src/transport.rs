//! How messages reach the other members.

use std::pin::Pin;
use std::time::Duration;

/// A member, and where it is reached. The address is opaque here; the log's membership keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    pub member: u64,
    pub address: String,
}

/// No answer came. Whether the message arrived is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unreachable {
    pub why: String,
}

/// A call on its way: the answer's bytes, or why there are none.
pub type Call = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreachable>> + Send>>;

/// Carries one message to a member and brings its answer, which is what [`crate::Consensus::handle`] returned there.
///
/// Messages may be lost, delayed and repeated, never changed; only members of the cluster may reach `handle`. Each is a
/// little larger than the larger of [`crate::Settings::chunk_bytes`] and one entry.
pub trait Transport: Send + Sync + 'static {
    fn call(&self, to: Peer, body: Vec<u8>, within: Duration) -> Call;
}
