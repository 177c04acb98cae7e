//! What libp2p is made of here: the transport, and the protocols on it.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{PeerId, allow_block_list, connection_limits, gossipsub, identify, noise, ping, tcp, yamux};

use crate::channel::Channel;
use crate::error::NetError;
use crate::frame::{self, Codec};
use crate::gate::{Gate, WhenShut};
use crate::greeting::Greeter;
use crate::limits::{self, Timing};
use crate::patience::Patient;
use crate::presence::{Guard, Presence};
use crate::settings::NetSettings;

pub(crate) const TOPIC: &str = "nexus-state";
/// A name of its own, and another one for any other form: who speaks another is not heard, instead of banned.
pub(crate) const GOSSIP: &str = "/nexus/gossip/1";
/// Below this score a peer has sent gossip that is not what it says, several times within a minute.
pub(crate) const WORST_GOSSIP_SCORE: f64 = -24.0;

pub(crate) type Exchange = request_response::Behaviour<Codec>;

/// The order matters: who must not be here is refused before the others make anything for it.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) cut_off: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) guard: Guard,
    pub(crate) ping: ping::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) hello: Exchange,
    pub(crate) ledger: Gate<Exchange>,
    pub(crate) state: Gate<Exchange>,
    pub(crate) route: Gate<Exchange>,
    pub(crate) gossip: Gate<gossipsub::Behaviour>,
}

impl Behaviour {
    pub(crate) fn new(
        settings: &NetSettings,
        timing: &Timing,
        key: &Keypair,
        presence: Arc<Presence>,
    ) -> Result<Self, NetError> {
        let identify = identify::Config::new("/nexus/1".to_owned(), key.public())
            .with_agent_version(settings.agent.clone())
            // Nothing is dialed by what peers say of themselves, so nothing of it is kept.
            .with_cache_size(0);
        let ping = ping::Config::new().with_interval(timing.ping_every).with_timeout(timing.silent_after);
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(limits::CONNECTIONS))
            .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER))
            .with_max_pending_incoming(Some(limits::PENDING_CONNECTIONS))
            .with_max_pending_outgoing(Some(limits::PENDING_CONNECTIONS));
        let gated = |channel| {
            Gate::new(
                exchange(channel, &settings.majors),
                WhenShut::Refuse(|(stream, _)| frame::refuse(stream).boxed()),
            )
        };
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            cut_off: allow_block_list::Behaviour::default(),
            guard: Guard(presence),
            ping: ping::Behaviour::new(ping),
            identify: identify::Behaviour::new(identify),
            // In one form for ever, so that hosts of different majors can tell each other.
            hello: exchange(Channel::Hello, &[1]),
            ledger: gated(Channel::Ledger),
            state: gated(Channel::State),
            route: gated(Channel::Route),
            gossip: Gate::new(gossip()?, WhenShut::Wait),
        })
    }

    pub(crate) fn exchange(&mut self, channel: Channel) -> &mut Exchange {
        match channel {
            Channel::Hello => &mut self.hello,
            Channel::Ledger => self.ledger.inner(),
            Channel::State => self.state.inner(),
            Channel::Route => self.route.inner(),
        }
    }

    pub(crate) fn allow(&mut self, peer: PeerId) {
        self.ledger.open(peer);
        self.state.open(peer);
        self.route.open(peer);
        self.gossip.open(peer);
    }

    pub(crate) fn disallow(&mut self, peer: PeerId) {
        self.ledger.shut(peer);
        self.state.shut(peer);
        self.route.shut(peer);
        self.gossip.shut(peer);
    }
}

fn exchange(channel: Channel, majors: &[u32]) -> Exchange {
    let protocols = channel.protocols(majors).into_iter().map(|protocol| (protocol, ProtocolSupport::Full));
    let config = request_response::Config::default()
        // A second more than any request may take: what is late is ended by the frames' own deadline.
        .with_request_timeout(limits::LONGEST_REQUEST + Duration::from_secs(1))
        // Both directions, and room to answer what is too much with a word instead of a cut.
        .with_max_concurrent_streams(channel.in_flight() * 3);
    request_response::Behaviour::with_codec(Codec::new(channel), protocols, config)
}

/// Whoever writes a message sends it to all it is connected with, and nobody passes it on: who does not hear it pulls. So the
/// connection says whose it is, and nothing is signed. Signatures, and each copy's, cost an eighth of all processor time.
fn gossip() -> Result<gossipsub::Behaviour, NetError> {
    let set_up = |why: &dyn ToString| NetError::SetUp { what: "gossip", why: why.to_string() };
    let config = gossipsub::ConfigBuilder::default()
        // Of what was read, not of one message: the next one may be behind it.
        .max_transmit_size(limits::GOSSIP_BYTES + limits::GOSSIP_ENVELOPE_BYTES + limits::READ_AHEAD_BYTES)
        .protocol_id(GOSSIP, gossipsub::Version::V1_1)
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(by_content)
        .flood_publish(true)
        // No mesh, and no tales of what others have.
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        .gossip_lazy(0)
        .gossip_factor(0.0)
        .history_gossip(0)
        .history_length(0)
        .duplicate_cache_time(Duration::from_secs(10))
        .connection_handler_queue_len(256)
        .max_publish_messages(64)
        .build()
        .map_err(|why| set_up(&why))?;
    let mut gossip =
        gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).map_err(|why| set_up(&why))?;
    let topic = gossipsub::IdentTopic::new(TOPIC);
    gossip.with_peer_score(scores(&topic), gossipsub::PeerScoreThresholds::default()).map_err(|why| set_up(&why))?;
    gossip.subscribe(&topic).map_err(|why| set_up(&why))?;
    Ok(gossip)
}

/// What is equal is a repeat. Were two messages taken for one, the second would be pulled.
fn by_content(message: &gossipsub::Message) -> gossipsub::MessageId {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&message.data);
    hasher.finish().to_be_bytes().into()
}

/// Scores count rubbish only: what names an author. Who delivers how fast is no fault here.
fn scores(topic: &gossipsub::IdentTopic) -> gossipsub::PeerScoreParams {
    let rubbish = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        // Halved in about a minute.
        invalid_message_deliveries_decay: 0.99,
        ..gossipsub::TopicScoreParams::default()
    };
    gossipsub::PeerScoreParams {
        topics: [(topic.hash(), rubbish)].into(),
        // As long as the first ban: who was pardoned begins anew.
        retain_score: Duration::from_mins(1),
        // Many hosts may stand behind one address.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        app_specific_weight: 0.0,
        ..gossipsub::PeerScoreParams::default()
    }
}

/// TCP, the cluster key, the greeting, noise, yamux: each within its time. Who takes nothing any more is
/// dropped after the same time as who gives no sign of life.
pub(crate) fn transport(
    settings: &NetSettings,
    timing: &Timing,
    key: &Keypair,
    greeter: Greeter,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let set_up = |why: noise::Error| NetError::SetUp { what: "noise", why: why.to_string() };
    let mut noise = noise::Config::new(key).map_err(set_up)?;
    if let Some(cluster_key) = &settings.cluster_key {
        noise = noise.with_prologue(cluster_key.prologue());
    }
    let mut yamux = yamux::Config::default();
    // All channels full in both directions, on one connection, and what libp2p needs itself.
    let streams: usize = Channel::ALL.iter().map(|channel| channel.in_flight() * 3).sum();
    yamux.set_max_num_streams(streams.min(1000) + 24);
    let silent_after = timing.silent_after;
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |socket, _| Patient::new(socket, silent_after))
        .and_then(move |socket, endpoint| greeter.greet(socket, endpoint))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(timing.greet_within * 2)
        .boxed())
}
