//! Every bound of this crate in one place, and what happens when it is reached.

use std::time::Duration;

/// A gossiped body, in bytes; a larger one is not published.
pub(crate) const GOSSIP_BYTES: usize = 48 * 1024;
/// What gossip adds to a body: topic and frame. A message beyond both is not read.
pub(crate) const GOSSIP_ENVELOPE_BYTES: usize = 1024;
/// What may have been read of the messages behind one.
pub(crate) const READ_AHEAD_BYTES: usize = 16 * 1024;
/// How long after its last sign of life a peer is taken to be gone, and what it was asked ends; signs come every second. What is left
/// of the daemon's 5 s for an answer is for another host to decide it.
pub const SILENT_AFTER: Duration = Duration::from_secs(4);
/// The longest a request may take; a longer wish is cut to it.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_mins(1);
/// Connections to one peer: one each way, as both may dial at once. A further one is refused.
pub(crate) const CONNECTIONS_PER_PEER: u32 = 2;
/// Connections in all; a further one is refused.
pub(crate) const CONNECTIONS: u32 = 256;
/// Connections that have not proven anything yet, each way; a further one is refused.
pub(crate) const PENDING_CONNECTIONS: u32 = 64;
/// Greetings that are kept each way until the handshake says whose they were; beyond, the oldest is forgotten, and its connection
/// refused.
pub(crate) const GREETED: usize = 4 * PENDING_CONNECTIONS as usize;
/// Streams of one connection that are not past the choice of a protocol; a further one is cut. All requests that are in
/// bounds may arrive at once.
pub(crate) const NEGOTIATING_STREAMS: usize = 1024;
/// Strangers that are logged as warnings at once, and one a minute after; others are logged for debugging only.
pub(crate) const STRANGERS_LOGGED: f64 = 8.0;
/// Events that wait for the owner; beyond, gossip is dropped and requests are answered as busy.
pub(crate) const EVENTS: usize = 1024;
/// With fewer free places than this among the events, gossip is dropped, and strangers are only counted and logged.
pub(crate) const EVENTS_LEFT_FOR_GOSSIP: usize = EVENTS / 2;
/// With fewer free places than this, requests on the state channel are answered as busy.
pub(crate) const EVENTS_LEFT_FOR_STATE: usize = EVENTS / 4;
/// With fewer free places than this, every request is answered as busy; the rest is for who came and who went.
pub(crate) const EVENTS_LEFT_FOR_REQUESTS: usize = EVENTS / 8;
/// Commands that wait for the network's task; callers wait beyond.
pub(crate) const COMMANDS: usize = 1024;
/// Strangers that wait to be told; beyond, they are only counted.
pub(crate) const STRANGERS: usize = 64;
/// Addresses of one peer, or of one name; further ones are ignored.
pub(crate) const ADDRESSES: usize = 16;
/// Addresses that one name of many hosts may have; further ones are ignored.
pub(crate) const HOSTS_OF_A_NAME: usize = 256;
/// Peers to dial in all; further ones are ignored, with a warning.
pub(crate) const TARGETS: usize = 1024;
/// Peers whose conduct is remembered; beyond, the one whose record matters least is forgotten.
pub(crate) const CONDUCTS: usize = 1024;
/// Peers that may be allowed at once; beyond, a wish is refused with a warning.
pub(crate) const ALLOWED: usize = 4096;
/// An agent's characters that are kept.
pub(crate) const AGENT_CHARACTERS: usize = 128;

/// Times that tests shorten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Pause between pings.
    pub(crate) ping_every: Duration,
    /// See [`SILENT_AFTER`].
    pub(crate) silent_after: Duration,
    /// How long a connection may take to prove that it knows the key.
    pub(crate) greet_within: Duration,
    /// The first pause before an address is dialed again.
    pub(crate) redial_first: Duration,
    /// The longest pause.
    pub(crate) redial_most: Duration,
    /// How often names are resolved anew.
    pub(crate) resolve_every: Duration,
    /// How long one name may take.
    pub(crate) resolve_within: Duration,
    /// How long a peer is refused the first time it misbehaved.
    pub(crate) first_ban: Duration,
    /// How long after a dial to ourselves the address is tried again.
    pub(crate) own_address: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(1),
            silent_after: SILENT_AFTER,
            greet_within: Duration::from_secs(5),
            redial_first: Duration::from_secs(1),
            // The hosts of a cluster are few, and who is back hears nothing before it is dialled.
            redial_most: Duration::from_secs(5),
            resolve_every: Duration::from_secs(30),
            resolve_within: Duration::from_secs(10),
            first_ban: Duration::from_mins(1),
            own_address: Duration::from_mins(10),
        }
    }
}
