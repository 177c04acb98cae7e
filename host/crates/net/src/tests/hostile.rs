use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{Config, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{gossipsub, ping};
use tokio::sync::mpsc;

use crate::behaviour;
use crate::channel::Protocol;
use crate::greeting::Greeter;
use crate::limits::Timing;
use crate::testing::{DEADLINE, Host, meet, quick, settings, until};
use crate::{Channel, NetEvent, PeerId};

/// Sends what it is given, whatever it is.
#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = Protocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &Protocol, _: &mut T) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(&mut self, _: &Protocol, io: &mut T) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        io.read_to_end(&mut response).await?;
        Ok(response)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Protocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &Protocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&response).await
    }
}

/// It answers pings, or it would be dropped for that.
#[derive(NetworkBehaviour)]
struct Hostility {
    exchange: request_response::Behaviour<Raw>,
    ping: ping::Behaviour,
}

/// A peer that knows the cluster key and keeps to nothing else.
struct Hostile {
    swarm: Swarm<Hostility>,
    target: libp2p::PeerId,
    address: libp2p::Multiaddr,
}

impl Hostile {
    async fn connect(to: &Host, channel: Channel) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), &[]);
        let key = libp2p::identity::ed25519::Keypair::generate();
        let (met, _) = mpsc::channel(1);
        let greeter = Greeter::new(&settings, &key.public(), DEADLINE, met, Arc::default(), Arc::default());
        let key = libp2p::identity::Keypair::from(key);
        let transport = behaviour::transport(&settings, &Timing::default(), &key, greeter).unwrap();
        let protocols = channel.protocols(&[1]).into_iter().map(|it| (it, ProtocolSupport::Full));
        let config = request_response::Config::default().with_max_concurrent_streams(2000);
        let exchange = request_response::Behaviour::with_codec(Raw, protocols, config);
        let config = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_hours(1));
        let swarm = Swarm::new(
            transport,
            Hostility { exchange, ping: ping::Behaviour::default() },
            key.public().to_peer_id(),
            config,
        );
        let mut hostile = Self { swarm, target: to.peer().0, address: to.address().parse().unwrap() };
        hostile.dial().await;
        hostile
    }

    /// Dials until the connection stands.
    async fn dial(&mut self) {
        loop {
            self.swarm.dial(self.address.clone()).unwrap();
            match self.event().await {
                SwarmEvent::ConnectionEstablished { .. } => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn peer(&self) -> PeerId {
        PeerId(*self.swarm.local_peer_id())
    }

    async fn event(&mut self) -> SwarmEvent<HostilityEvent> {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.swarm.select_next_some()).await.expect("an event in time");
            match event {
                SwarmEvent::Dialing { .. } | SwarmEvent::Behaviour(HostilityEvent::Ping(_)) => {}
                event => return event,
            }
        }
    }

    fn send(&mut self, request: Vec<u8>) {
        let target = self.target;
        self.swarm.behaviour_mut().exchange.send_request(&target, request);
    }

    /// Sends and gives back what was answered.
    async fn exchange(&mut self, request: Vec<u8>) -> Vec<u8> {
        self.send(request);
        loop {
            match self.event().await {
                SwarmEvent::Behaviour(HostilityEvent::Exchange(request_response::Event::Message {
                    message: Message::Response { response, .. },
                    ..
                })) => return response,
                SwarmEvent::Behaviour(HostilityEvent::Exchange(request_response::Event::OutboundFailure {
                    error,
                    ..
                })) => panic!("{error}"),
                _ => {}
            }
        }
    }

    async fn cut_off(&mut self) {
        while !matches!(self.event().await, SwarmEvent::ConnectionClosed { .. }) {}
    }
}

/// A request that says it is so long.
fn header(body_bytes: u32) -> Vec<u8> {
    [&[1][..], &10_000u32.to_be_bytes(), &body_bytes.to_be_bytes()].concat()
}

/// A host that answers everything, and an honest peer of it.
async fn victim(timing: Timing) -> (Host, Host, Vec<tempfile::TempDir>) {
    let dirs = vec![tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut victim = Host::start_with(settings(dirs[0].path(), &[]), timing).await;
    let mut honest = Host::start(settings(dirs[1].path(), &[victim.address()])).await;
    meet(&mut victim, &mut honest).await;
    (victim, honest, dirs)
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_unread() {
    let (victim, _honest, _dirs) = victim(quick()).await;
    let mut hostile = Hostile::connect(&victim, Channel::Hello).await;
    // Nothing follows the header, and the answer comes all the same.
    assert_eq!(hostile.exchange(header(16 * 1024 + 1)).await, [3, 0, 0, 0, 0]);
    assert_eq!(hostile.exchange(header(u32::MAX)).await, [3, 0, 0, 0, 0]);
    assert_eq!(hostile.exchange(vec![9; 9]).await, [1, 0, 0, 0, 0]);
    let stats = victim.net.stats();
    assert_eq!((stats.refused_too_large, stats.malformed_requests), (2, 1));
}

#[tokio::test]
async fn who_sends_rubbish_is_cut_off_for_a_while_and_others_are_served() {
    let timing = Timing { first_ban: Duration::from_millis(500), ..quick() };
    let (victim, honest, _dirs) = victim(timing).await;
    let mut hostile = Hostile::connect(&victim, Channel::Hello).await;
    let to = victim.peer();
    let net = victim.echo();
    for _ in 0..11 {
        hostile.send(vec![0xff; 64]);
    }
    hostile.cut_off().await;
    assert_eq!(net.stats().peers_cut_off, 1);
    assert!(net.stats().malformed_requests >= 11);
    assert!(honest.ask(to, Channel::Route, b"still there?").await.is_ok());
    assert!(!net.connected().contains(&hostile.peer()));
    // While it is cut off it is refused; afterwards it may try again.
    hostile.dial().await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !net.connected().contains(&hostile.peer()) {
        assert!(tokio::time::Instant::now() < deadline);
        // Looks again now and then, also when nothing happens here.
        let event = tokio::time::timeout(Duration::from_millis(20), hostile.swarm.select_next_some()).await;
        if let Ok(SwarmEvent::ConnectionClosed { .. }) = event {
            hostile.dial().await;
        }
    }
    assert!(net.stats().refused_cut_off >= 1);
}

#[tokio::test]
async fn whose_messages_the_owner_cannot_read_is_cut_off_for_a_while() {
    let timing = Timing { first_ban: Duration::from_millis(200), ..quick() };
    let (victim, honest, _dirs) = victim(timing).await;
    let net = victim.echo();
    for _ in 0..10 {
        net.blame(honest.peer());
    }
    assert!(honest.ask(net.local_peer(), Channel::Route, b"ten a minute may be").await.is_ok());
    net.blame(honest.peer());
    until(async || (net.stats().peers_cut_off == 1).then_some(())).await;
    until(async || honest.ask(net.local_peer(), Channel::Route, b"once more").await.ok()).await;
}

#[tokio::test]
async fn a_third_connection_of_one_peer_is_refused() {
    let (victim, _honest, _dirs) = victim(quick()).await;
    let mut hostile = Hostile::connect(&victim, Channel::Hello).await;
    hostile.dial().await;
    assert_eq!(victim.net.stats().refused_connections, 0);
    hostile.dial().await;
    hostile.cut_off().await;
    assert_eq!(victim.net.stats().refused_connections, 1);
    // The first two serve on.
    assert_eq!(hostile.exchange(vec![9; 9]).await, [1, 0, 0, 0, 0]);
}

/// Publishes what names an author, for as long as it is connected.
async fn publish_as_another(to: &Host) {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), &[]);
    let key = libp2p::identity::ed25519::Keypair::generate();
    let (met, _) = mpsc::channel(1);
    let greeter = Greeter::new(&settings, &key.public(), DEADLINE, met, Arc::default(), Arc::default());
    let key = libp2p::identity::Keypair::from(key);
    let transport = behaviour::transport(&settings, &Timing::default(), &key, greeter).unwrap();
    let mut config = gossipsub::ConfigBuilder::default();
    let config = config.validation_mode(gossipsub::ValidationMode::None);
    let config = config.protocol_id(behaviour::GOSSIP, gossipsub::Version::V1_1).build().unwrap();
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::RandomAuthor, config).unwrap();
    let topic = gossipsub::IdentTopic::new(behaviour::TOPIC);
    gossip.subscribe(&topic).unwrap();
    let behaviour = GossipHostility { gossip, ping: ping::Behaviour::default() };
    let config = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_hours(1));
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    to.net.allow(PeerId(*swarm.local_peer_id()));
    swarm.dial(to.address().parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let publish = async {
        loop {
            tokio::select! {
                event = swarm.select_next_some() => if let SwarmEvent::ConnectionClosed { .. } = event {
                    return;
                },
                // Fails until the other end has said that it listens.
                _ = tick.tick() => drop(swarm.behaviour_mut().gossip.publish(topic.clone(), rand::random::<[u8; 16]>())),
            }
        }
    };
    tokio::time::timeout(DEADLINE, publish).await.expect("it is cut off in time");
}

#[derive(NetworkBehaviour)]
struct GossipHostility {
    gossip: gossipsub::Behaviour,
    ping: ping::Behaviour,
}

#[tokio::test]
async fn who_gossips_under_false_names_is_cut_off_and_not_heard() {
    let (mut victim, honest, _dirs) = victim(quick()).await;
    publish_as_another(&victim).await;
    assert_eq!(victim.net.stats().peers_cut_off, 1);
    until(async || honest.net.publish(Bytes::from_static(b"mine")).await.ok()).await;
    let heard = victim
        .wait(|event| match event {
            NetEvent::Gossip { from, body } => Some((from, body)),
            _ => None,
        })
        .await;
    assert_eq!(heard, (honest.peer(), Bytes::from_static(b"mine")));
}

#[tokio::test]
async fn who_floods_is_cut_off_and_others_are_served() {
    let (victim, honest, _dirs) = victim(quick()).await;
    let mut hostile = Hostile::connect(&victim, Channel::Hello).await;
    let to = victim.peer();
    let net = victim.echo();
    for _ in 0..400 {
        hostile.send(header(0));
    }
    let flood = async {
        loop {
            match hostile.event().await {
                SwarmEvent::ConnectionClosed { .. } => return,
                SwarmEvent::Behaviour(_) => hostile.send(header(0)),
                _ => {}
            }
        }
    };
    let serve = async {
        for _ in 0..50 {
            let asked = honest.net.request(to, Channel::Route, Bytes::from_static(b"and me?"), DEADLINE).await;
            asked.unwrap();
        }
    };
    tokio::join!(flood, serve);
    assert_eq!(net.stats().peers_cut_off, 1);
}

#[tokio::test]
async fn who_knocks_on_a_shut_channel_is_refused_unread_and_cut_off() {
    let (victim, _honest, _dirs) = victim(quick()).await;
    let mut hostile = Hostile::connect(&victim, Channel::Ledger).await;
    // A header alone: were it read, the answer would wait for the body.
    assert_eq!(hostile.exchange(header(1024 * 1024)).await, [1, 0, 0, 0, 0]);
    for _ in 0..30 {
        hostile.send(header(1024 * 1024));
    }
    hostile.cut_off().await;
    let stats = victim.net.stats();
    assert_eq!(stats.peers_cut_off, 1);
    assert!(stats.refused_not_allowed >= 21);
}
