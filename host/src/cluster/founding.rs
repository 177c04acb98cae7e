//! Forming the ledger: once, by one host. Whoever means to do so asks all that it reaches; two that mean to at the same moment
//! hear of each other, and the one with the lower name between hosts goes on.

use std::time::Duration;

use api::cluster::{ClusterError, ClusterStatus};
use bytes::Bytes;
use futures_util::future;
use kernel::ledger::{HostRole, LedgerCommand};
use kernel::{ClusterId, MemberId, NodeId};
use net::{Channel, PeerId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::messages::{self, HelloAnswer, HelloAsk};
use super::office::decide;
use super::seat::{Membership, Seat};
use super::{Cluster, random};
use crate::clock;

/// Whoever was let go first has so long.
const PROMISED: Duration = Duration::from_secs(20);

/// Hosts that were started a moment ago may not have met yet. A dial that found nobody is repeated after a second or two.
const MEET_WITHIN: Duration = Duration::from_secs(4);
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// Whether somebody forms the ledger, as far as this host knows.
#[derive(Debug, Default)]
pub(super) enum Founding {
    #[default]
    Nobody,
    /// This host asks the others.
    Asking,
    /// It asked them, and does it.
    Decided,
    /// Another one was told to go ahead, and when.
    Promised(PeerId, NodeId, Instant),
}

/// What a host says to one that means to form the ledger.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Blessing {
    GoAhead,
    /// This host does so itself, or told that one to.
    Forming(NodeId),
    /// It is a member of a cluster already.
    Member(NodeId),
}

impl Blessing {
    /// Why the one that asked may not.
    fn refusal(&self) -> Option<ClusterError> {
        match self {
            Self::GoAhead => None,
            Self::Forming(node) => Some(forms(node)),
            Self::Member(node) => Some(ClusterError::Refused(format!(
                "{node}, a configured peer, is in a cluster already: nexus cluster join joins it"
            ))),
        }
    }
}

fn forms(node: &NodeId) -> ClusterError {
    ClusterError::Refused(format!("{node} forms the cluster at this moment: nexus cluster join joins it"))
}

impl Founding {
    /// Another host means to form the ledger, and asks all these. Of two that ask each other the lower one goes on, so a promise
    /// to the higher one stands in nobody's way.
    fn answer(&mut self, own: (PeerId, &NodeId), asker: (PeerId, NodeId), asks: &[String]) -> Blessing {
        let (me, node) = own;
        match self {
            Self::Promised(peer, promised, since)
                if *peer != asker.0
                    && since.elapsed() < PROMISED
                    && !(asker.0 < *peer && asks.contains(&peer.to_string())) =>
            {
                return Blessing::Forming(promised.clone());
            }
            Self::Decided => return Blessing::Forming(node.clone()),
            Self::Asking if me < asker.0 => return Blessing::Forming(node.clone()),
            Self::Nobody | Self::Asking | Self::Promised(..) => {}
        }
        *self = Self::Promised(asker.0, asker.1, Instant::now());
        Blessing::GoAhead
    }
}

impl Cluster {
    /// Forms the ledger with this host as its only member.
    pub(super) async fn form(&self) -> Result<ClusterStatus, ClusterError> {
        let _one_at_a_time = self.inner.forming.lock().await;
        if let Some(seat) = self.seat() {
            return Err(ClusterError::Refused(format!("this host is a member of cluster {} already", seat.cluster)));
        }
        let restored = &self.inner.parts.restored;
        if restored.was_member() {
            return Err(ClusterError::Refused(
                "this host was restored from the backup of a member: nexus cluster join lets it join its cluster again"
                    .to_owned(),
            ));
        }
        if !restored.pools().is_empty() {
            return Err(ClusterError::Refused(
                "this host was restored from a backup, and pools of it are quarantined: start it without peers until \
                 the quarantine is over, or end it there with nexus shard end-quarantine"
                    .to_owned(),
            ));
        }
        self.may_form().await?;
        let failed = |error: anyhow::Error| ClusterError::Unavailable(format!("{error:#}"));
        let drawn = u128::from_le_bytes(random::<16>().map_err(failed)?);
        let membership = Membership::new(ClusterId(drawn), MemberId(1));
        let seat = Seat::take(self, membership).await.map_err(failed)?;
        let peer = self.inner.net.local_peer().to_string();
        seat.consensus.init(peer.clone()).await.map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let own = &self.inner.settings;
        let join = LedgerCommand::Join {
            node: own.node.clone(),
            origin: own.origin,
            peer,
            addresses: self.addresses(),
            role: HostRole::Core,
            weight: own.weight.max(1),
            protocol: own.protocol,
            at_ms: clock::wall_ms(),
        };
        decide(&seat, join).await?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (lease_ms, virtual_nodes) = (millis(own.node_lease), own.virtual_nodes);
        let terms = seat.book.ledger().terms();
        let grace_ms = millis(own.lease_grace).max(lease_ms / 100);
        decide(&seat, LedgerCommand::SetTerms(kernel::ledger::Terms { virtual_nodes, lease_ms, grace_ms, ..terms }))
            .await?;
        let pools: Vec<kernel::Pool> =
            self.inner.parts.view.pools(None).into_iter().map(|pool| kernel::Pool::clone(&pool)).collect();
        if !pools.is_empty() {
            decide(&seat, LedgerCommand::Adopt { member: MemberId(1), pools }).await?;
        }
        self.sit(seat);
        Ok(self.status_now())
    }

    /// Asks all that can be reached whether somebody did so already, or does now.
    async fn may_form(&self) -> Result<(), ClusterError> {
        {
            let mut founding = self.inner.founding.lock();
            match &*founding {
                Founding::Promised(_, node, since) if since.elapsed() < PROMISED => return Err(forms(node)),
                Founding::Nobody | Founding::Asking | Founding::Decided | Founding::Promised(..) => {
                    *founding = Founding::Asking;
                }
            }
        }
        let outcome = self.ask_all_to_form().await;
        let mut founding = self.inner.founding.lock();
        if let Founding::Promised(_, node, _) = &*founding {
            return Err(forms(node));
        }
        *founding = if outcome.is_ok() { Founding::Decided } else { Founding::Nobody };
        outcome
    }

    async fn ask_all_to_form(&self) -> Result<(), ClusterError> {
        let until = Instant::now() + MEET_WITHIN;
        // Where this host is among the configured ones that takes all the time, once in a cluster's life.
        let peers = self.inner.settings.net.peers.len();
        while self.inner.net.connected().len() < peers && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let asks = self.inner.net.connected().iter().map(ToString::to_string).collect();
        let ask = messages::write(&HelloAsk::Form { node: self.inner.settings.node.clone(), asks });
        let asked = self.inner.net.connected().into_iter().map(|peer| self.ask_one_to_form(peer, ask.clone()));
        for answer in future::join_all(asked).await {
            if let Some(HelloAnswer::Form(blessing)) = answer? {
                blessing.refusal().map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Hellos are few, so one that was not taken is repeated; `None`: that host is gone.
    async fn ask_one_to_form(&self, peer: PeerId, ask: Bytes) -> Result<Option<HelloAnswer>, ClusterError> {
        let until = Instant::now() + ASK_WITHIN;
        loop {
            match self.inner.net.request(peer, Channel::Hello, ask.clone(), ASK_WITHIN).await {
                Ok(answer) => return Ok(messages::read::<HelloAnswer>(&answer.body).ok()),
                Err(_) if !self.inner.net.connected().contains(&peer) => return Ok(None),
                Err(error) if Instant::now() >= until => {
                    let why =
                        format!("{peer}, which is there, does not say whether it forms a cluster: {error}; ask again");
                    return Err(ClusterError::Unavailable(why));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Another host means to form the ledger.
    pub(super) fn bless(&self, peer: PeerId, asker: NodeId, asks: &[String]) -> Blessing {
        let own = &self.inner.settings.node;
        if self.seat().is_some() {
            return Blessing::Member(own.clone());
        }
        self.inner.founding.lock().answer((self.inner.net.local_peer(), own), (peer, asker), asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a node id")
    }

    /// Names between hosts, in their order.
    fn peers() -> [PeerId; 3] {
        let mut peers = [
            "12D3KooWMkmRg8WwNXoL7djn2m82pYcDhRPji1XgHzDH3a5yWeZh",
            "12D3KooWKwEDhPBkFBW4dnKgyPawtrZnRrcCqF4JGu1P3RM72dFm",
            "12D3KooWSWP4QajDyFw6qZKBMUfwDYpKUbnTcQ3JDufAxKUdabrH",
        ]
        .map(|name| name.parse().expect("a peer id"));
        peers.sort_unstable();
        peers
    }

    #[test]
    fn of_two_that_mean_to_form_at_once_one_goes_on_whoever_asks_first() {
        let [low, high, _] = peers();
        let (one, other) = (node("one"), node("other"));
        for low_asks_first in [true, false] {
            let (mut of_low, mut of_high) = (Founding::Asking, Founding::Asking);
            let (to_high, to_low) = if low_asks_first {
                let to_low = of_high.answer((high, &other), (low, one.clone()), &[]);
                (of_low.answer((low, &one), (high, other.clone()), &[]), to_low)
            } else {
                let to_high = of_low.answer((low, &one), (high, other.clone()), &[]);
                (to_high, of_high.answer((high, &other), (low, one.clone()), &[]))
            };
            assert_eq!(to_low, Blessing::GoAhead);
            assert_eq!(to_high, Blessing::Forming(one.clone()));
            assert!(matches!(of_high, Founding::Promised(..)), "it forms nothing itself");
            assert!(matches!(of_low, Founding::Asking));
        }
    }

    #[test]
    fn who_was_told_to_go_ahead_is_not_overtaken() {
        let [one, other, third] = peers();
        let mut founding = Founding::default();
        let own = (third, &node("third"));
        assert_eq!(founding.answer(own, (other, node("other")), &[]), Blessing::GoAhead);
        assert_eq!(founding.answer(own, (one, node("one")), &[]), Blessing::Forming(node("other")));
        assert_eq!(founding.answer(own, (other, node("other")), &[]), Blessing::GoAhead, "it asks again");
        // The lower of two that ask each other goes on anyway.
        let asks = [other.to_string()];
        assert_eq!(founding.answer(own, (one, node("one")), &asks), Blessing::GoAhead);
        assert_eq!(founding.answer(own, (other, node("other")), &[one.to_string()]), Blessing::Forming(node("one")));
        let mut founding = Founding::Decided;
        assert_eq!(founding.answer(own, (one, node("one")), &asks), Blessing::Forming(node("third")));
    }
}
