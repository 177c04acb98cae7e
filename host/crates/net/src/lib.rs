//! Moves bytes between the hosts of a cluster, over TCP, encrypted, to known peers only.
//!
//! - [`Net::start`] listens, dials the configured peers and keeps on dialing them until they are there.
//! - [`Net::request`] asks one peer over one of four [`Channel`]s; none of them ever queues behind another.
//! - [`Net::publish`] gossips a hint to all; it may be lost.
//! - [`NetEvents`] tells who came, who went, and what was asked of us.
//!
//! It knows nothing of allocations: what the bytes mean, and who may be a member, is for the owner of the handle to
//! decide ([`Net::allow`]). It is the only crate that knows libp2p, and none of libp2p's types leave it.
//!
//! Invariants:
//!
//! - Without the cluster key nothing is said or heard: the key encrypts the connection before libp2p speaks on it, and is
//!   part of the handshake that follows.
//! - A peer that was not allowed can use [`Channel::Hello`] only, within its rate; anything else of it is not even read.
//! - Every queue, map and body has a bound (`limits`), and being over it is an answer ([`RequestError::Busy`]) or a
//!   counter ([`NetStats`]), never a wait without end.

mod address;
mod behaviour;
mod channel;
mod conduct;
mod dialer;
mod error;
mod event;
mod frame;
mod gate;
mod greeting;
mod handle;
mod identity;
mod key;
mod limits;
mod names;
mod patience;
mod peer;
mod presence;
mod settings;
mod stats;
mod task;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one event and leaves out all others")]
mod testing;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one event and leaves out all others")]
mod tests;

pub use address::{InvalidPeerAddress, PeerAddress};
pub use channel::Channel;
pub use error::{NetError, PublishError, RequestError};
pub use event::{NetEvent, NetEvents, Replier, StrangerReason};
pub use handle::{Net, Response};
pub use key::{ClusterKey, InvalidClusterKey};
pub use limits::SILENT_AFTER;
pub use peer::{InvalidPeerId, PeerId};
pub use settings::NetSettings;
pub use stats::NetStats;
