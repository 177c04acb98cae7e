//! What the owner of the handle is told.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::channel::Channel;
use crate::frame::Verdict;
use crate::peer::PeerId;

/// What happened on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A first connection to a peer stands. It may only say hello until it is allowed.
    Connected {
        peer: PeerId,
        /// Where it listens, by its own account, or where it was met; as multiaddresses, at most 16.
        addresses: Vec<String>,
        /// What it calls itself, at most 128 characters; empty if it asked something before it said.
        agent: String,
    },
    /// The last connection to a peer is gone.
    Disconnected { peer: PeerId },
    /// A peer asks. On [`Channel::Hello`] it may be anybody who knows the cluster key.
    Request {
        peer: PeerId,
        channel: Channel,
        /// The version of the channel that was negotiated.
        major: u32,
        body: Bytes,
        /// How long the peer still waits for the answer.
        left: Duration,
        reply: Replier,
    },
    /// A peer that is allowed published this. `from` is who sent it, and its author: nobody passes gossip on.
    Gossip { from: PeerId, body: Bytes },
    /// The host at this address was refused, whoever dialed whom.
    StrangerRefused { address: String, reason: StrangerReason },
    /// Another host uses our identity: two have one key file. Both are hurt, since peers see one host that is in two places.
    IdentityClash { address: String },
    /// The host at this address, which we dialed, refused us, because it is connected with another process of our identity: one of the two runs on a
    /// copy of the other's directory.
    RefusedAsCopy {
        /// Who it says to be.
        by: PeerId,
        address: String,
    },
    /// A process at this address under a peer's identity was refused, because another one of that peer is connected. It
    /// comes again and again, of which a few are told.
    CopyRefused { peer: PeerId, address: String },
}

/// Why a host was taken for a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrangerReason {
    /// It has another cluster key, or none, or speaks something else altogether.
    OtherKey,
    /// It hung up or stayed silent before it proved anything: a port scanner, a health check, or a host without any key
    /// that hung up first.
    Silent,
}

/// The events, in order. A queue with a bound: an owner that is slow first misses gossip, then has requests on
/// [`Channel::State`] answered as busy, then all requests. Who came and who went is never lost.
#[derive(Debug)]
pub struct NetEvents(pub(crate) mpsc::Receiver<NetEvent>);

impl NetEvents {
    /// The next event; `None` once the network has stopped.
    pub async fn next(&mut self) -> Option<NetEvent> {
        self.0.recv().await
    }
}

/// Answers one request. Dropped without an answer, the peer is refused.
pub struct Replier(pub(crate) oneshot::Sender<Verdict>);

impl Replier {
    /// Sends the answer. One that is larger than the channel allows, or too late, becomes an error at the peer.
    pub fn reply(self, body: Bytes) {
        // The other end is gone if the connection is, and then nobody waits for it.
        let _ = self.0.send(Verdict::Body(body));
    }

    /// Says that the request is not served.
    pub fn refuse(self) {
        let _ = self.0.send(Verdict::Refused);
    }

    /// Says that it may be served later, and nothing was done.
    pub fn busy(self) {
        let _ = self.0.send(Verdict::Busy);
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replier")
    }
}
