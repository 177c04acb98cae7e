//! Which process of each peer is connected. A second one under the same identity, which runs on a copy of the first one's
//! directory, is not let in beside it: what one of them is asked the other would answer. Whoever came first stays, unless the owner
//! prefers the other one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use crate::limits;

/// Who somebody says to be in his greeting; the handshake proves the peer, nothing proves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) peer: PeerId,
    pub(crate) process: u64,
}

/// Why a connection that was greeted is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("another process of this peer is connected")]
    Second,
    #[error("it is not who it said to be")]
    Other,
}

/// Shared by the greeting, which refuses before the handshake, and the swarm, which knows who came.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    present: BTreeMap<PeerId, Present>,
    /// Bounded by the owner, which prefers one process of each of its members.
    preferred: BTreeMap<PeerId, u64>,
    /// Connections of processes that had to make way.
    ousted: Vec<(PeerId, ConnectionId)>,
    /// Whom we dialed: few at a time, which those who come cannot crowd out.
    dialed: Greeted,
    came: Greeted,
}

#[derive(Debug)]
struct Present {
    process: u64,
    connections: BTreeSet<ConnectionId>,
}

/// Greeted and not let in yet, by the other end's address; the oldest first.
#[derive(Debug, Default)]
struct Greeted(VecDeque<(Multiaddr, Claim)>);

impl Greeted {
    fn enter(&mut self, address: &Multiaddr, claim: Claim) {
        let address = bare(address);
        // Whoever was greeted there before has come to nothing.
        self.0.retain(|(there, former)| *there != address || *former == claim);
        if self.0.len() >= limits::GREETED {
            self.0.pop_front();
        }
        self.0.push_back((address, claim));
    }

    fn take(&mut self, address: &Multiaddr) -> Option<Claim> {
        let address = bare(address);
        let at = self.0.iter().position(|(there, _)| *there == address)?;
        self.0.remove(at).map(|(_, claim)| claim)
    }
}

impl Inner {
    const fn greeted(&mut self, dialed: bool) -> &mut Greeted {
        if dialed { &mut self.dialed } else { &mut self.came }
    }

    fn is_second(&self, claim: Claim) -> bool {
        let other = self.present.get(&claim.peer).is_some_and(|present| present.process != claim.process);
        other && self.preferred.get(&claim.peer) != Some(&claim.process)
    }
}

impl Presence {
    /// Whether another process of that peer is here.
    pub(crate) fn is_second(&self, claim: Claim) -> bool {
        self.0.lock().is_second(claim)
    }

    /// The other end was greeted.
    pub(crate) fn greeted(&self, endpoint: &ConnectedPoint, claim: Claim) {
        self.0.lock().greeted(endpoint.is_dialer()).enter(endpoint.get_remote_address(), claim);
    }

    fn admit(&self, connection: ConnectionId, dialed: bool, address: &Multiaddr, peer: PeerId) -> Result<(), Refused> {
        let inner = &mut *self.0.lock();
        let claim = inner.greeted(dialed).take(address);
        let Some(claim) = claim.filter(|claim| claim.peer == peer) else { return Err(Refused::Other) };
        if inner.is_second(claim) {
            return Err(Refused::Second);
        }
        let new = || Present { process: claim.process, connections: BTreeSet::new() };
        let present = inner.present.entry(peer).or_insert_with(new);
        if present.process != claim.process {
            let former = std::mem::replace(present, new());
            inner.ousted.extend(former.connections.into_iter().map(|connection| (peer, connection)));
        }
        present.connections.insert(connection);
        Ok(())
    }

    /// Of the processes of a peer this one is let in, also where another one is connected, which makes way for it.
    pub(crate) fn prefer(&self, peer: PeerId, process: u64) {
        self.0.lock().preferred.insert(peer, process);
    }

    /// What to close since it was asked last.
    pub(crate) fn ousted(&self) -> Vec<(PeerId, ConnectionId)> {
        std::mem::take(&mut self.0.lock().ousted)
    }

    #[cfg(test)]
    pub(crate) fn takes(&self, claim: Claim) {
        let present = Present { process: claim.process, connections: BTreeSet::new() };
        self.0.lock().present.insert(claim.peer, present);
    }

    /// A connection is gone, or is taken to be.
    pub(crate) fn lost(&self, peer: PeerId, connection: ConnectionId) {
        let inner = &mut *self.0.lock();
        let Some(present) = inner.present.get_mut(&peer) else { return };
        if present.connections.remove(&connection) && present.connections.is_empty() {
            inner.present.remove(&peer);
        }
    }
}

/// An address without the peer that is looked for there.
fn bare(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// Lets a connection in or not.
pub(crate) struct Guard(pub(crate) Arc<Presence>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Guard {
    fn admit(
        &self,
        connection: ConnectionId,
        dialed: bool,
        address: &Multiaddr,
        peer: PeerId,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.0
            .admit(connection, dialed, address, peer)
            .map(|()| dummy::ConnectionHandler)
            .map_err(ConnectionDenied::new)
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(connection, false, remote, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(connection, true, address, peer)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn came(port: u16) -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: address(7_000), send_back_addr: address(port) }
    }

    fn dialed(port: u16) -> ConnectedPoint {
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        ConnectedPoint::Dialer { address: address(port), role_override, port_use }
    }

    fn id(connection: usize) -> ConnectionId {
        ConnectionId::new_unchecked(connection)
    }

    #[test]
    fn a_second_process_of_a_peer_waits_until_the_first_is_gone() {
        let presence = Presence::default();
        let peer = PeerId::random();
        let (first, second) = (Claim { peer, process: 1 }, Claim { peer, process: 2 });
        presence.greeted(&came(1), first);
        assert!(!presence.is_second(second), "nobody was let in yet");
        presence.greeted(&came(2), second);
        presence.greeted(&dialed(3), first);
        presence.admit(id(1), false, &address(1), peer).unwrap();
        assert!(presence.is_second(second) && !presence.is_second(first));
        let late = presence.admit(id(2), false, &address(2), peer);
        assert_eq!(late, Err(Refused::Second), "it was greeted before the first was let in");
        presence.admit(id(3), true, &address(3).with_p2p(peer).unwrap(), peer).unwrap();
        presence.lost(peer, id(1));
        assert!(presence.is_second(second), "one connection is left");
        presence.lost(peer, id(3));
        presence.greeted(&came(2), second);
        presence.admit(id(4), false, &address(2), peer).unwrap();
        presence.lost(peer, id(3));
        assert!(presence.is_second(first), "what was taken to be gone is told of again");
        assert_eq!(presence.ousted(), []);
    }

    #[test]
    fn who_is_preferred_is_let_in_and_the_other_one_makes_way() {
        let presence = Presence::default();
        let peer = PeerId::random();
        let (first, second) = (Claim { peer, process: 1 }, Claim { peer, process: 2 });
        presence.greeted(&came(1), first);
        presence.admit(id(1), false, &address(1), peer).unwrap();
        presence.prefer(peer, 2);
        assert!(!presence.is_second(first), "while the other one is away");
        presence.greeted(&came(2), second);
        presence.admit(id(2), false, &address(2), peer).unwrap();
        assert_eq!((presence.ousted(), presence.ousted()), (vec![(peer, id(1))], vec![]));
        presence.lost(peer, id(1));
        assert!(presence.is_second(first) && !presence.is_second(second));
    }

    #[test]
    fn who_is_not_who_it_said_to_be_is_not_let_in() {
        let presence = Presence::default();
        let (peer, other) = (PeerId::random(), PeerId::random());
        assert_eq!(presence.admit(id(1), false, &address(1), peer), Err(Refused::Other), "it was not greeted");
        presence.greeted(&came(1), Claim { peer: other, process: 1 });
        assert_eq!(presence.admit(id(1), false, &address(1), peer), Err(Refused::Other));
        assert!(!presence.is_second(Claim { peer: other, process: 2 }), "a claim alone is nothing");
    }

    #[test]
    fn greetings_that_come_to_nothing_are_forgotten_and_crowd_out_nobody_we_dialed() {
        let presence = Presence::default();
        let claim = Claim { peer: PeerId::random(), process: 1 };
        presence.greeted(&dialed(0), claim);
        for port in 0..=u16::try_from(limits::GREETED).unwrap() {
            presence.greeted(&came(port), claim);
        }
        assert_eq!(presence.0.lock().came.0.len(), limits::GREETED);
        assert_eq!(presence.admit(id(1), false, &address(0), claim.peer), Err(Refused::Other), "the oldest");
        presence.admit(id(2), true, &address(0), claim.peer).unwrap();
    }
}
