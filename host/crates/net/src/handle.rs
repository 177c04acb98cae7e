//! The handle to the network, and how it starts and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libp2p::Multiaddr;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::address::PeerAddress;
use crate::channel::Channel;
use crate::error::{NetError, PublishError, RequestError};
use crate::event::NetEvents;
use crate::limits::{self, Timing};
use crate::peer::PeerId;
use crate::presence::Presence;
use crate::settings::NetSettings;
use crate::stats::{Counters, NetStats};
use crate::task;

/// The handle to the network; clones are handles to the same one. It runs until [`stop`](Self::stop), or until all handles
/// are gone.
#[derive(Clone, Debug)]
pub struct Net {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub body: Bytes,
    /// The version of the channel that was negotiated.
    pub major: u32,
}

#[derive(Debug)]
pub(crate) enum Command {
    Request { to: PeerId, channel: Channel, body: Bytes, deadline: Instant, reply: RequestReply },
    Publish { body: Bytes, reply: oneshot::Sender<Result<(), PublishError>> },
    Stop { done: oneshot::Sender<()> },
}

pub(crate) type RequestReply = oneshot::Sender<Result<Response, RequestError>>;

/// What the handles and the network's task both see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: PeerId,
    pub(crate) addresses: RwLock<Vec<Multiaddr>>,
    pub(crate) connected: RwLock<BTreeSet<PeerId>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) wishes: Mutex<Wishes>,
    /// Rung when a wish was added.
    pub(crate) bell: Notify,
}

/// What the owner wants of the network, to be taken over by its task. Unlike a command it is never refused and waits for
/// no queue; each peer has at most one wish of a kind here.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) allowed: BTreeMap<PeerId, bool>,
    pub(crate) places: BTreeMap<PeerId, Vec<Multiaddr>>,
    pub(crate) sought: Vec<PeerAddress>,
    /// How often each peer's messages could not be read.
    pub(crate) blamed: BTreeMap<PeerId, u32>,
}

impl Net {
    /// Checks the settings, reads or makes the host's key, and listens. Returns once every address is listened on.
    ///
    /// # Errors
    ///
    /// A setting that cannot work, a damaged key file, an address in use.
    pub async fn start(settings: NetSettings) -> Result<(Self, NetEvents), NetError> {
        Self::start_with(settings, Timing::default()).await
    }

    pub(crate) async fn start_with(settings: NetSettings, timing: Timing) -> Result<(Self, NetEvents), NetError> {
        let (commands, receiver) = mpsc::channel(limits::COMMANDS);
        let (shared, events) = task::start(settings, timing, receiver).await?;
        Ok((Self { shared, commands }, NetEvents(events)))
    }

    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// Where we listen, as multiaddresses with the real ports.
    pub fn local_addresses(&self) -> Vec<String> {
        self.shared.addresses.read().iter().map(ToString::to_string).collect()
    }

    /// Asks a peer that is connected, and waits for its answer at most `within` (at most 60 s). The peer is told how long
    /// that is.
    ///
    /// # Errors
    ///
    /// See [`RequestError`]. Dropping the future does not recall the request.
    pub async fn request(
        &self,
        to: PeerId,
        channel: Channel,
        body: Bytes,
        within: Duration,
    ) -> Result<Response, RequestError> {
        let deadline = Instant::now() + within.min(limits::LONGEST_REQUEST);
        let result = self.ask(to, channel, body, deadline).await;
        match &result {
            Ok(_) => self.shared.counters.requests_answered.count(),
            Err(_) => self.shared.counters.requests_failed.count(),
        }
        result
    }

    async fn ask(
        &self,
        to: PeerId,
        channel: Channel,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, RequestError> {
        if body.len() > channel.body_bytes() {
            let found_bytes = body.len() as u64;
            return Err(RequestError::TooLarge { channel, found_bytes, most_bytes: channel.body_bytes() });
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Request { to, channel, body, deadline, reply };
        match timeout_at(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(RequestError::Closed),
            // Nothing was sent.
            Err(_) => return Err(RequestError::Busy),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RequestError::Closed),
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// Gossips a hint of at most 48 KiB to all peers that are allowed and have allowed this host. It may be lost, and arrives at
    /// most once.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn publish(&self, body: Bytes) -> Result<(), PublishError> {
        if body.len() > limits::GOSSIP_BYTES {
            return Err(PublishError::TooLarge { found_bytes: body.len(), most_bytes: limits::GOSSIP_BYTES });
        }
        let (reply, result) = oneshot::channel();
        self.commands.send(Command::Publish { body, reply }).await.map_err(|_| PublishError::Closed)?;
        result.await.unwrap_or(Err(PublishError::Closed))
    }

    /// Opens all channels and gossip for a peer, connected or not, until [`disallow`](Self::disallow).
    pub fn allow(&self, peer: PeerId) {
        self.wish(|wishes| wishes.allowed.insert(peer, true));
    }

    /// Shuts everything but [`Channel::Hello`] for a peer. Its connection stays.
    pub fn disallow(&self, peer: PeerId) {
        self.wish(|wishes| wishes.allowed.insert(peer, false));
    }

    /// Of several processes under a peer's identity the owner wants this one ([`NetSettings::process`]): it is let in also where
    /// another one is connected, which makes way for it.
    pub fn prefer(&self, peer: PeerId, process: u64) {
        self.shared.presence.prefer(peer.0, process);
    }

    /// Holds against a peer that a message of it, whole as it came, makes no sense: ten a minute are too many, and it
    /// is cut off for a while.
    pub fn blame(&self, peer: PeerId) {
        self.wish(|wishes| {
            let times = wishes.blamed.entry(peer).or_default();
            *times = times.saturating_add(1);
        });
    }

    /// Dials a peer at these addresses, in place of those given before, until it is connected, and again when it is lost.
    /// Without any address it is not dialed any more. Addresses are multiaddresses of `ip4` or `ip6` and `tcp`, as
    /// [`NetEvent::Connected`](crate::NetEvent::Connected) tells them; others are left out, with a warning, and of more
    /// than 16 the rest.
    pub fn dial(&self, peer: PeerId, addresses: &[String]) {
        let mut places = Vec::new();
        for address in addresses.iter().take(limits::ADDRESSES) {
            if let Some(place) = task::dialable(address) {
                places.push(place);
            } else {
                tracing::warn!(%peer, address, "not an address of the form /ip4/…/tcp/…, it is left out");
            }
        }
        self.wish(|wishes| wishes.places.insert(peer, places));
    }

    /// Looks for one more peer, as if it had been configured.
    pub fn look_for(&self, peer: PeerAddress) {
        self.wish(|wishes| {
            if wishes.sought.len() < limits::TARGETS {
                wishes.sought.push(peer);
            }
        });
    }

    fn wish<T>(&self, add: impl FnOnce(&mut Wishes) -> T) {
        add(&mut self.shared.wishes.lock());
        self.shared.bell.notify_one();
    }

    /// Who is connected now, allowed or not.
    pub fn connected(&self) -> Vec<PeerId> {
        self.shared.connected.read().iter().copied().collect()
    }

    pub fn stats(&self) -> NetStats {
        self.shared.counters.read()
    }

    /// Ends the network, whatever other handles there are: no port is listened on when it returns, and connections are
    /// closing. Requests under way end as closed.
    pub async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop { done }).await.is_ok() {
            // An error means that the task ended before it said so, which is all that is asked.
            let _ = stopped.await;
        }
    }
}
