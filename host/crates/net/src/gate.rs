//! A gate in front of a protocol: shut for a peer until it is allowed.
//!
//! The gate sits in each connection's handler, which knows the peer before anything is read. What a stream does there
//! while the gate is shut is the protocol's choice ([`WhenShut`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, InboundUpgradeSend, SubstreamProtocol,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::limits;

type Arrived<H> = <Inbound<H> as InboundUpgradeSend>::Output;

/// What becomes of a peer's stream while the gate is shut.
pub(crate) enum WhenShut<H: ConnectionHandler> {
    /// It waits, unread, until the gate opens. Nothing is sent either. For a protocol with one long stream, which would
    /// not be opened again had it been refused.
    Wait,
    /// It is refused unread in this way, and [`GateEvent::Refused`] tells. For a protocol with a stream for each request.
    Refuse(fn(Arrived<H>) -> BoxFuture<'static, ()>),
}

impl<H: ConnectionHandler> Clone for WhenShut<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ConnectionHandler> Copy for WhenShut<H> {}

#[derive(Debug)]
pub(crate) enum GateEvent<E> {
    Inner(E),
    Refused { peer: PeerId },
}

pub(crate) struct Gate<B: NetworkBehaviour> {
    inner: B,
    when_shut: WhenShut<THandler<B>>,
    /// Bounded by `limits::ALLOWED`, which the network's task keeps.
    allowed: BTreeSet<PeerId>,
    /// Bounded by the bound on connections.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    /// Handlers to tell: bounded by the connections, as each poll takes them first.
    turns: VecDeque<(PeerId, ConnectionId, bool)>,
    /// Who had a stream refused.
    refusals: VecDeque<PeerId>,
}

impl<B: NetworkBehaviour> std::fmt::Debug for Gate<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl<B: NetworkBehaviour> Gate<B> {
    pub(crate) fn new(inner: B, when_shut: WhenShut<THandler<B>>) -> Self {
        Self {
            inner,
            when_shut,
            allowed: BTreeSet::new(),
            connections: BTreeMap::new(),
            turns: VecDeque::new(),
            refusals: VecDeque::new(),
        }
    }

    pub(crate) fn inner(&mut self) -> &mut B {
        &mut self.inner
    }

    pub(crate) fn open(&mut self, peer: PeerId) {
        if self.allowed.insert(peer) {
            self.turn(peer, true);
        }
    }

    pub(crate) fn shut(&mut self, peer: PeerId) {
        if self.allowed.remove(&peer) {
            self.turn(peer, false);
        }
    }

    /// The network's task polls the swarm again after each command, so no waker is needed.
    fn turn(&mut self, peer: PeerId, open: bool) {
        for connection in self.connections.get(&peer).into_iter().flatten() {
            self.turns.push_back((peer, *connection, open));
        }
    }

    fn guard(&self, peer: PeerId, inner: THandler<B>) -> GateHandler<THandler<B>> {
        let open = self.allowed.contains(&peer);
        GateHandler { inner, when_shut: self.when_shut, open, refused: 0, refusing: FuturesUnordered::new() }
    }
}

#[derive(Debug)]
pub(crate) enum ToHandler<E> {
    Turn { open: bool },
    Inner(E),
}

#[derive(Debug)]
pub(crate) enum FromHandler<E> {
    Refused,
    Inner(E),
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = GateHandler<THandler<B>>;
    type ToSwarm = GateEvent<B::ToSwarm>;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(self.guard(peer, inner))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)?;
        Ok(self.guard(peer, inner))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        // In the same breath as the handler was made, so no turn of the gate falls between.
        if let FromSwarm::ConnectionEstablished(it) = &event {
            self.connections.entry(it.peer_id).or_default().push(it.connection_id);
        }
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = &event {
            if let Some(connections) = self.connections.get_mut(peer_id) {
                connections.retain(|known| known != connection_id);
                if connections.is_empty() {
                    self.connections.remove(peer_id);
                }
            }
            self.turns.retain(|(_, known, _)| known != connection_id);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            FromHandler::Inner(event) => self.inner.on_connection_handler_event(peer, connection, event),
            FromHandler::Refused if self.refusals.len() < limits::CONNECTIONS as usize => self.refusals.push_back(peer),
            // So many wait that a few more say nothing new.
            FromHandler::Refused => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection, open)) = self.turns.pop_front() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event: ToHandler::Turn { open } });
        }
        if let Some(peer) = self.refusals.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(GateEvent::Refused { peer }));
        }
        self.inner.poll(cx).map(|event| event.map_in(ToHandler::Inner).map_out(GateEvent::Inner))
    }
}

pub(crate) struct GateHandler<H: ConnectionHandler> {
    inner: H,
    when_shut: WhenShut<H>,
    open: bool,
    /// Streams that were refused and are not told yet.
    refused: u32,
    /// Refusals on their way out, at most [`REFUSING`].
    refusing: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// Refusals that may be under way on one connection; further streams are cut without a word.
const REFUSING: usize = 16;

type Inbound<H> = <H as ConnectionHandler>::InboundProtocol;
type Outbound<H> = <H as ConnectionHandler>::OutboundProtocol;
type InboundInfo<H> = <H as ConnectionHandler>::InboundOpenInfo;
type OutboundInfo<H> = <H as ConnectionHandler>::OutboundOpenInfo;

impl<H: ConnectionHandler> ConnectionHandler for GateHandler<H> {
    type FromBehaviour = ToHandler<H::FromBehaviour>;
    type ToBehaviour = FromHandler<H::ToBehaviour>;
    type InboundProtocol = Inbound<H>;
    type OutboundProtocol = Outbound<H>;
    type InboundOpenInfo = InboundInfo<H>;
    type OutboundOpenInfo = OutboundInfo<H>;

    fn listen_protocol(&self) -> SubstreamProtocol<Inbound<H>, InboundInfo<H>> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Outbound<H>, OutboundInfo<H>, Self::ToBehaviour>> {
        if self.refused > 0 {
            self.refused -= 1;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Refused));
        }
        while let Poll::Ready(Some(())) = self.refusing.poll_next_unpin(cx) {}
        if !self.open && matches!(self.when_shut, WhenShut::Wait) {
            // The event that opens the gate wakes the connection.
            return Poll::Pending;
        }
        self.inner.poll(cx).map(|event| event.map_custom(FromHandler::Inner))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx).map(|event| event.map(FromHandler::Inner))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            ToHandler::Turn { open } => self.open = open,
            ToHandler::Inner(event) => self.inner.on_behaviour_event(event),
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Inbound<H>, Outbound<H>, InboundInfo<H>, OutboundInfo<H>>,
    ) {
        match (event, self.when_shut) {
            (ConnectionEvent::FullyNegotiatedInbound(stream), WhenShut::Refuse(refuse)) if !self.open => {
                self.refused = self.refused.saturating_add(1);
                if self.refusing.len() < REFUSING {
                    self.refusing.push(refuse(stream.protocol));
                }
            }
            (event, _) => self.inner.on_connection_event(event),
        }
    }
}
