//! What two hosts say first, before libp2p: do we share the cluster key?
//!
//! libp2p's pre-shared key only encrypts. With another key at the other end the connection fails somewhere later, with
//! whatever error the rubbish happens to cause, or by running out of time. So right behind it each end sends a greeting: 16
//! bytes that are always the same, 8 that tell its process from others, and its public key. Anything else under this key is a
//! stranger, and known as such at once. The process tells a connection to ourselves from one to another host with our identity.
//! Then each end says whether the other may go on: not while another process of its identity is connected.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::ConnectedPoint;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::pnet::{PnetConfig, PnetOutput};
use tokio::sync::mpsc;

use crate::event::StrangerReason;
use crate::key::ClusterKey;
use crate::peer::PeerId;
use crate::presence::{Claim, Presence};
use crate::settings::NetSettings;
use crate::stats::Counters;

const TITLE: [u8; 16] = *b"nexus greeting 1";
/// What is said of the other end's greeting.
const COME_IN: u8 = 0;
const SECOND: u8 = 1;

/// Who was met before libp2p said anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Stranger {
        address: String,
        reason: StrangerReason,
    },
    /// We dialed ourselves.
    Ourselves {
        address: libp2p::Multiaddr,
    },
    /// The other end is connected with another process of our identity.
    RefusedAsCopy {
        by: PeerId,
        address: String,
    },
    /// We are connected with another process of that peer.
    CopyRefused {
        peer: PeerId,
        address: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Greeter {
    key: Option<ClusterKey>,
    process: u64,
    public: [u8; 32],
    within: Duration,
    met: mpsc::Sender<Met>,
    presence: Arc<Presence>,
    counters: Arc<Counters>,
}

/// A connection that knows the cluster key, if there is one.
pub(crate) type Greeted<S> = Either<PnetOutput<S>, S>;

#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error("the other end has another cluster key, or none")]
    OtherKey,
    #[error("the other end is this process")]
    Ourselves,
    #[error("another process of one end's identity is connected with the other")]
    Second {
        /// Who the other end says to be.
        peer: PeerId,
        /// It is one too many here.
        here: bool,
        /// We are one too many there.
        there: bool,
    },
}

impl Greeter {
    pub(crate) fn new(
        settings: &NetSettings,
        public: &ed25519::PublicKey,
        within: Duration,
        met: mpsc::Sender<Met>,
        presence: Arc<Presence>,
        counters: Arc<Counters>,
    ) -> Self {
        let (key, process) = (settings.cluster_key.clone(), settings.process);
        Self { key, process, public: public.to_bytes(), within, met, presence, counters }
    }

    /// Exchanges greetings over a fresh connection, and tells the network's task if the other end should not be here.
    pub(crate) async fn greet<S>(self, socket: S, endpoint: ConnectedPoint) -> io::Result<Greeted<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let result = match tokio::time::timeout(self.within, self.exchange(socket)).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let error = match result {
            Ok((stream, claim)) => {
                self.presence.greeted(&endpoint, claim);
                return Ok(stream);
            }
            Err(error) => error,
        };
        let address = endpoint.get_remote_address().clone();
        let mismatch = error.get_ref().and_then(|inner| inner.downcast_ref::<Mismatch>());
        let met = match mismatch {
            Some(Mismatch::Ourselves) if endpoint.is_dialer() => Some(Met::Ourselves { address }),
            // The dialing end of us tells.
            Some(Mismatch::Ourselves) => None,
            Some(Mismatch::OtherKey) => {
                self.counters.strangers_other_key.count();
                Some(Met::Stranger { address: address.to_string(), reason: StrangerReason::OtherKey })
            }
            Some(Mismatch::Second { peer, here, there }) => {
                // Only of whom we looked for: anybody may come and say so.
                if *there && endpoint.is_dialer() {
                    self.tell(Met::RefusedAsCopy { by: *peer, address: address.to_string() });
                }
                here.then(|| Met::CopyRefused { peer: *peer, address: address.to_string() })
            }
            None => {
                self.counters.strangers_silent.count();
                Some(Met::Stranger { address: address.to_string(), reason: StrangerReason::Silent })
            }
        };
        if let Some(met) = met {
            self.tell(met);
        }
        Err(error)
    }

    fn tell(&self, met: Met) {
        // With the queue full it is still counted.
        let _ = self.met.try_send(met);
    }

    async fn exchange<S>(&self, socket: S) -> io::Result<(Greeted<S>, Claim)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(key) = &self.key else {
            let mut stream = socket;
            let claim = self.compare(&mut stream).await?;
            return Ok((Either::Right(stream), claim));
        };
        let mut stream = PnetConfig::new(key.psk()).handshake(socket).await.map_err(io::Error::other)?;
        let claim = self.compare(&mut stream).await?;
        Ok((Either::Left(stream), claim))
    }

    async fn compare<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<Claim> {
        stream.write_all(&[&TITLE[..], &self.process.to_be_bytes(), &self.public].concat()).await?;
        stream.flush().await?;
        let (mut title, mut process, mut public) = ([0; 16], [0; 8], [0; 32]);
        stream.read_exact(&mut title).await?;
        if title != TITLE {
            return Err(io::Error::other(Mismatch::OtherKey));
        }
        stream.read_exact(&mut process).await?;
        stream.read_exact(&mut public).await?;
        let process = u64::from_be_bytes(process);
        if (process, public) == (self.process, self.public) {
            return Err(io::Error::other(Mismatch::Ourselves));
        }
        let public = ed25519::PublicKey::try_from_bytes(&public).map_err(|_| io::Error::other(Mismatch::OtherKey))?;
        let claim = Claim { peer: PublicKey::from(public).to_peer_id(), process };
        let second = self.presence.is_second(claim);
        stream.write_all(&[if second { SECOND } else { COME_IN }]).await?;
        stream.flush().await?;
        let mut verdict = [0];
        // Read in any case: what was not read when the connection is closed may cut off what was said.
        stream.read_exact(&mut verdict).await?;
        let mismatch = match (second, verdict) {
            (false, [COME_IN]) => return Ok(claim),
            (here, [COME_IN | SECOND]) => {
                Mismatch::Second { peer: PeerId(claim.peer), here, there: verdict == [SECOND] }
            }
            (_, [_]) => Mismatch::OtherKey,
        };
        Err(io::Error::other(mismatch))
    }
}
