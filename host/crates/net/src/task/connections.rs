//! Connections: who came, who went, who is not let in, and whom to dial.

use std::collections::BTreeSet;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionDenied, ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, gossipsub, identify, ping};
use tokio::time::Instant;

use super::{STOOD_STILL, Task};
use crate::behaviour::{BehaviourEvent, WORST_GOSSIP_SCORE};
use crate::channel::Channel;
use crate::conduct::Fault;
use crate::event::{NetEvent, StrangerReason};
use crate::gate::GateEvent;
use crate::greeting::Met;
use crate::limits;
use crate::peer::PeerId;

impl Task {
    pub(super) fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.on_exchange(Channel::Hello, event),
            BehaviourEvent::Ledger(event) => self.on_gated(Channel::Ledger, event),
            BehaviourEvent::State(event) => self.on_gated(Channel::State, event),
            BehaviourEvent::Route(event) => self.on_gated(Channel::Route, event),
            BehaviourEvent::Gossip(GateEvent::Inner(event)) => self.on_gossip(event),
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(_) }) => {
                self.peers.heard(PeerId(peer), connection, Instant::now());
            }
            // The library tells of every second failure in a row only, so the answers are counted. Gossip waits at its gate, it is
            // not refused there.
            BehaviourEvent::Ping(ping::Event { result: Err(_), .. })
            | BehaviourEvent::Gossip(GateEvent::Refused { .. })
            | BehaviourEvent::Limits(_)
            | BehaviourEvent::CutOff(_) => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let peer = PeerId(peer_id);
        let agent = info.agent_version.chars().filter(|it| !it.is_control()).take(limits::AGENT_CHARACTERS).collect();
        let addresses = info.listen_addrs.iter().take(limits::ADDRESSES).map(ToString::to_string).collect();
        if self.peers.identified(peer, agent, addresses) {
            self.outbox.changed(peer);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enum grows, and what is not named needs nothing done"
    )]
    pub(super) fn on_connection(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let peer = PeerId(peer_id);
                if endpoint.is_dialer() {
                    self.dialer.ended(connection_id, Some(peer), now);
                }
                // Who came in another's place is another one: what that one was told it does not know.
                for (former, connection) in self.shared.presence.ousted() {
                    self.swarm.close_connection(connection);
                    self.lose(PeerId(former), connection);
                }
                self.peers.connected(peer, connection_id, remote(&endpoint), now);
                self.shared.connected.write().insert(peer);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => self.lose(PeerId(peer_id), connection_id),
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.dialer.ended(connection_id, peer_id.map(PeerId), now);
                self.on_dial_error(error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => match error {
                ListenError::LocalPeerId { .. } => self.on_clash(&send_back_addr),
                ListenError::Denied { cause } => self.on_denied(&cause),
                // The greeting told of strangers already; what comes after is a cut.
                ListenError::Transport(_) | ListenError::Aborted | ListenError::WrongPeerId { .. } => {}
            },
            SwarmEvent::NewListenAddr { address, .. } => {
                let mut addresses = self.shared.addresses.write();
                if !addresses.contains(&address) && addresses.len() < limits::HOSTS_OF_A_NAME {
                    addresses.push(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.addresses.write().retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let error = reason.err().map(|error| error.to_string());
                tracing::error!(?addresses, error, "an address is not listened on any more");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a connection could not be accepted"),
            _ => {}
        }
    }

    /// Who gives no sign of life is gone at once. Until his connection is closed, what was written to it must leave, and it waits
    /// for the system to give that up.
    pub(super) fn drop_silent(&mut self, now: Instant) {
        let since = now.saturating_duration_since(std::mem::replace(&mut self.ticked, now));
        if since >= STOOD_STILL {
            self.peers.forgive(since, now);
        }
        for (peer, connection) in self.peers.silent(now, self.timing.silent_after) {
            tracing::debug!(%peer, "a peer gives no sign of life, the connection is dropped");
            self.counters.dropped_silent.count();
            self.swarm.close_connection(connection);
            self.lose(peer, connection);
        }
    }

    fn lose(&mut self, peer: PeerId, connection: ConnectionId) {
        self.shared.presence.lost(peer.0, connection);
        if self.peers.disconnected(peer, connection) {
            self.shared.connected.write().remove(&peer);
            self.outbox.changed(peer);
            self.give_up(peer);
        }
    }

    fn on_dial_error(&mut self, error: DialError) {
        self.counters.dials_failed.count();
        match error {
            DialError::LocalPeerId { address } => self.on_clash(&address),
            DialError::Denied { cause } => self.on_denied(&cause),
            DialError::WrongPeerId { obtained, address } => {
                tracing::debug!(peer = %obtained, %address, "another peer is at a known address");
            }
            DialError::Transport(failures) => {
                tracing::debug!(?failures, "a dial failed, it is tried again");
            }
            DialError::NoAddresses | DialError::DialPeerConditionFalse(_) | DialError::Aborted => {}
        }
    }

    fn on_denied(&mut self, cause: &ConnectionDenied) {
        if cause.downcast_ref::<libp2p::allow_block_list::Blocked>().is_some() {
            self.counters.refused_cut_off.count();
        } else {
            self.counters.refused_connections.count();
        }
    }

    /// The greeting knew that it is another process, the handshake found our own identity.
    fn on_clash(&mut self, address: &Multiaddr) {
        self.counters.identity_clashes.count();
        tracing::debug!(%address, "another host uses this host's identity: two hosts have one key file");
        self.outbox.offer(NetEvent::IdentityClash { address: address.to_string() });
    }

    pub(super) fn on_met(&mut self, met: Met) {
        match met {
            Met::Ourselves { address } => {
                self.counters.own_dials.count();
                self.dialer.is_ours(address, Instant::now());
            }
            Met::RefusedAsCopy { by, address } => {
                self.counters.identity_clashes.count();
                self.outbox.offer(NetEvent::RefusedAsCopy { by, address });
            }
            Met::CopyRefused { peer, address } => {
                self.counters.copies_refused.count();
                if self.stranger_log.take(1.0, Instant::now()) {
                    self.tell_of_knock(NetEvent::CopyRefused { peer, address });
                }
            }
            Met::Stranger { address, reason } => {
                match reason {
                    StrangerReason::OtherKey if self.stranger_log.take(1.0, Instant::now()) => {
                        tracing::warn!(address, "a host was refused: it has another cluster key, or none");
                    }
                    StrangerReason::OtherKey => tracing::debug!(address, "a host with another cluster key was refused"),
                    StrangerReason::Silent => tracing::debug!(address, "a connection ended before it proved anything"),
                }
                self.tell_of_knock(NetEvent::StrangerRefused { address, reason });
            }
        }
    }

    /// Whoever knocks must not crowd out what peers ask.
    fn tell_of_knock(&self, knock: NetEvent) {
        if self.outbox.capacity() > limits::EVENTS_LEFT_FOR_GOSSIP {
            self.outbox.offer(knock);
        }
    }

    pub(super) fn dial_due(&mut self, now: Instant) {
        let (peers, conduct) = (&self.peers, &self.conduct);
        for dial in self.dialer.due(now, |peer| peers.contains(peer) || conduct.is_banned(peer)) {
            let options = match (dial.peer, dial.addresses.first()) {
                (Some(peer), _) => DialOpts::peer_id(peer.0)
                    .addresses(dial.addresses.clone())
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .allocate_new_port()
                    .build(),
                (None, Some(address)) => {
                    DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build()
                }
                (None, None) => continue,
            };
            let connection = options.connection_id();
            self.dialer.dialing(dial.source, connection);
            let Err(error) = self.swarm.dial(options) else { continue };
            self.dialer.ended(connection, None, now);
            match (error, dial.addresses.into_iter().next()) {
                // The library leaves out addresses that we listen on.
                (DialError::NoAddresses, Some(address)) => self.on_met(Met::Ourselves { address }),
                (error, _) => self.on_dial_error(error),
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message, .. } = event else { return };
        let from = PeerId(propagation_source);
        if !self.allowed.contains(&from) || message.data.len() > limits::GOSSIP_BYTES {
            self.counters.gossip_refused.count();
            return;
        }
        let room = self.outbox.capacity() > limits::EVENTS_LEFT_FOR_GOSSIP;
        if room && self.outbox.offer(NetEvent::Gossip { from, body: message.data.into() }) {
            self.counters.gossip_received.count();
        } else {
            self.counters.gossip_dropped.count();
        }
    }

    /// Gossip keeps its own account of what is no gossip; who has too much of it is cut off here.
    pub(super) fn judge_gossip(&mut self) {
        let gossip = self.swarm.behaviour_mut().gossip.inner();
        let bad = |peer: &PeerId| gossip.peer_score(&peer.0).is_some_and(|score| score < WORST_GOSSIP_SCORE);
        let peers: BTreeSet<_> = self.peers.all().filter(bad).collect();
        for peer in peers {
            if let Some(length) = self.conduct.ban(peer, Instant::now()) {
                self.cut_off(peer, length);
            }
        }
    }

    pub(super) fn fault(&mut self, peer: PeerId, fault: Fault) {
        if let Some(length) = self.conduct.fault(peer, fault, Instant::now()) {
            self.cut_off(peer, length);
        }
    }

    fn cut_off(&mut self, peer: PeerId, length: std::time::Duration) {
        tracing::warn!(%peer, seconds = length.as_secs(), "a peer misbehaves, it is cut off");
        self.counters.peers_cut_off.count();
        self.swarm.behaviour_mut().cut_off.block_peer(peer.0);
    }
}

fn remote(endpoint: &ConnectedPoint) -> String {
    endpoint.get_remote_address().to_string()
}
