//! What two hosts say first, before libp2p: do we share the cluster key?
//!
//! libp2p's pre-shared key only encrypts. With another key at the other end the connection fails somewhere later, with
//! whatever error the rubbish happens to cause, or by running out of time. So right behind it each end sends a greeting of
//! 32 bytes: 16 that are always the same and 16 drawn by this process. Anything else under this key is a stranger, and
//! known as such at once. The drawn bytes tell a connection to ourselves from one to another host with our identity.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::ConnectedPoint;
use libp2p::pnet::{PnetConfig, PnetOutput};
use tokio::sync::mpsc;

use crate::event::StrangerReason;
use crate::key::ClusterKey;
use crate::stats::Counters;

const TITLE: [u8; 16] = *b"nexus greeting 1";

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
}

#[derive(Clone, Debug)]
pub(crate) struct Greeter {
    key: Option<ClusterKey>,
    process: [u8; 16],
    within: Duration,
    met: mpsc::Sender<Met>,
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
}

impl Greeter {
    pub(crate) fn new(
        key: Option<ClusterKey>,
        within: Duration,
        met: mpsc::Sender<Met>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { key, process: rand::random(), within, met, counters }
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
            Ok(stream) => return Ok(stream),
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
            None => {
                self.counters.strangers_silent.count();
                Some(Met::Stranger { address: address.to_string(), reason: StrangerReason::Silent })
            }
        };
        if let Some(met) = met {
            // With the queue full it is still counted.
            let _ = self.met.try_send(met);
        }
        Err(error)
    }

    async fn exchange<S>(&self, socket: S) -> io::Result<Greeted<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(key) = &self.key else {
            let mut stream = socket;
            self.compare(&mut stream).await?;
            return Ok(Either::Right(stream));
        };
        let mut stream = PnetConfig::new(key.psk()).handshake(socket).await.map_err(io::Error::other)?;
        self.compare(&mut stream).await?;
        Ok(Either::Left(stream))
    }

    async fn compare<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        stream.write_all(&[TITLE, self.process].concat()).await?;
        stream.flush().await?;
        let (mut title, mut process) = ([0; 16], [0; 16]);
        stream.read_exact(&mut title).await?;
        stream.read_exact(&mut process).await?;
        if title != TITLE {
            return Err(io::Error::other(Mismatch::OtherKey));
        }
        if process == self.process {
            return Err(io::Error::other(Mismatch::Ourselves));
        }
        Ok(())
    }
}
