//! Why the network could not start, ask or publish.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::channel::Channel;

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("setting {field}: {value} is not possible: {why}")]
    Setting { field: &'static str, value: String, why: &'static str },
    /// The host's key is there, but not whole. A new one would make this host a stranger to its cluster.
    #[error(
        "{} is damaged: {why}; restore it from a backup, or remove it to join the cluster as a new host",
        path.display()
    )]
    DamagedKey { path: PathBuf, why: String },
    #[error("could not {action} {}", path.display())]
    Key {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not listen on {address}: {why}")]
    Listen { address: SocketAddr, why: String },
    /// What was fixed at build time is refused by the libraries: a bug in us.
    #[error("could not set up {what}: {why}")]
    SetUp { what: &'static str, why: String },
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No connection to the peer, or it was lost: the peer may have received the request.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The peer may have received the request, and may still act on it.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer does not serve this channel to us, or we do not allow the peer, or its owner did not answer.
    #[error("the request was refused")]
    Refused,
    /// Too many requests are under way, here or there. The peer did not act on it.
    #[error("too many requests are under way")]
    Busy,
    #[error("a body of {found_bytes} bytes is too large for channel {channel}, at most {most_bytes} fit")]
    TooLarge { channel: Channel, found_bytes: u64, most_bytes: usize },
    /// The network was stopped.
    #[error("the network is stopped")]
    Closed,
}

/// Why a body was not gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("a body of {found_bytes} bytes is too large to gossip, at most {most_bytes} fit")]
    TooLarge { found_bytes: usize, most_bytes: usize },
    /// Nobody who was allowed listens yet.
    #[error("no peer listens")]
    NoPeers,
    /// The queues to all peers are full; the body is lost, as a hint may be.
    #[error("the queues to all peers are full")]
    Busy,
    /// The very same body was published a moment ago, or it could not be signed.
    #[error("the body was not accepted")]
    Rejected,
    #[error("the network is stopped")]
    Closed,
}
