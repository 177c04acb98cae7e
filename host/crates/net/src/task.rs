//! The task that owns the swarm: one loop, in which everything that must be counted or bounded is.

mod connections;
mod exchanges;
mod outbox;
mod peers;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, Swarm, SwarmEvent};
use libp2p::{Multiaddr, TransportError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::address::multiaddr;
use crate::behaviour::{self, Behaviour, BehaviourEvent};
use crate::conduct::{Bucket, Conduct, Fault};
use crate::dialer::Dialer;
use crate::error::{NetError, PublishError};
use crate::event::NetEvent;
use crate::greeting::{Greeter, Met};
use crate::handle::{Command, Shared, Wishes};
use crate::identity;
use crate::limits::{self, Timing};
use crate::names;
use crate::peer::PeerId;
use crate::presence::Presence;
use crate::settings::NetSettings;
use crate::stats::Counters;
use exchanges::{Answered, Exchanges};
use outbox::Outbox;
use peers::Peers;

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(100);
/// Nothing was looked for in so long: this process, or its machine, stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// How long a listener may take to say where it listens.
const LISTEN_WITHIN: Duration = Duration::from_secs(10);

/// What a name stands for, with the index it is known by.
type Resolved = (usize, Result<Vec<std::net::SocketAddr>, String>);

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
    met: mpsc::Receiver<Met>,
    outbox: Outbox,
    peers: Peers,
    exchanges: Exchanges,
    /// Answers that the owner owes: bounded by the requests that may be under way.
    owed: FuturesUnordered<BoxFuture<'static, Answered>>,
    allowed: BTreeSet<PeerId>,
    dialer: Dialer,
    conduct: Conduct,
    timing: Timing,
    /// When what is due was looked for last.
    ticked: Instant,
    resolving: JoinSet<Resolved>,
    resolve_at: Instant,
    /// Names that could not be resolved last time, so that it is said once.
    unresolved: BTreeSet<usize>,
    topic: gossipsub::TopicHash,
    /// How many strangers may be logged: who knocks must not fill the log.
    stranger_log: Bucket,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("local", &self.shared.local).finish_non_exhaustive()
    }
}

/// Listens, and starts the task.
pub(crate) async fn start(
    settings: NetSettings,
    timing: Timing,
    commands: mpsc::Receiver<Command>,
) -> Result<(Arc<Shared>, mpsc::Receiver<NetEvent>), NetError> {
    settings.check()?;
    let dir = settings.data_dir.clone();
    let key = tokio::task::spawn_blocking(move || identity::load_or_make(&dir))
        .await
        .map_err(|why: JoinError| NetError::SetUp { what: "the host's key", why: why.to_string() })??;
    let counters = Arc::new(Counters::default());
    let (met_sender, met) = mpsc::channel(limits::STRANGERS);
    let presence = Arc::new(Presence::default());
    let greeter =
        Greeter::new(&settings, &key.public(), timing.greet_within, met_sender, presence.clone(), counters.clone());
    let key = key.into();
    let transport = behaviour::transport(&settings, &timing, &key, greeter)?;
    let behaviour = Behaviour::new(&settings, &timing, &key, presence.clone())?;
    let local = key.public().to_peer_id();
    // Who is connected stays so, whether there is something to say or not: pings find out who is gone.
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(u64::MAX))
        .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS);
    let mut swarm = Swarm::new(transport, behaviour, local, config);
    let addresses = listen(&mut swarm, &settings, &presence).await?;
    let shared = Arc::new(Shared {
        local: PeerId(local),
        addresses: RwLock::new(addresses),
        connected: RwLock::default(),
        counters: counters.clone(),
        presence,
        wishes: Mutex::default(),
        bell: Notify::new(),
    });
    let (events_sender, events) = mpsc::channel(limits::EVENTS);
    let now = Instant::now();
    let task = Task {
        swarm,
        shared: shared.clone(),
        counters,
        commands,
        met,
        outbox: Outbox::new(events_sender),
        peers: Peers::default(),
        exchanges: Exchanges::default(),
        owed: FuturesUnordered::new(),
        allowed: BTreeSet::new(),
        dialer: Dialer::new(&settings.peers, timing, now),
        conduct: Conduct::new(timing.first_ban),
        timing,
        ticked: now,
        resolving: JoinSet::new(),
        resolve_at: now,
        unresolved: BTreeSet::new(),
        topic: gossipsub::IdentTopic::new(behaviour::TOPIC).hash(),
        stranger_log: Bucket::new(limits::STRANGERS_LOGGED, 1.0 / 60.0, now),
    };
    // Its owner is the handle: it ends when told to stop, or when the last handle is gone.
    tokio::spawn(task.run());
    Ok((shared, events))
}

/// An error and what it came of, which the library leaves out.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        text = if text.is_empty() { why.to_string() } else { format!("{text}: {why}") };
        source = why.source();
    }
    if text.is_empty() { format!("{error:?}") } else { text }
}

/// Where a kind of socket is not allowed.
const EAFNOSUPPORT: i32 = 97;

/// Returns once every listener has said where it listens.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum grows, and what is not named needs nothing done"
)]
async fn listen(
    swarm: &mut Swarm<Behaviour>,
    settings: &NetSettings,
    presence: &Presence,
) -> Result<Vec<Multiaddr>, NetError> {
    let mut waiting = HashMap::<ListenerId, std::net::SocketAddr>::new();
    for address in &settings.listen {
        let failed = |why: String| NetError::Listen { address: *address, why };
        // The library's sockets share a port with any other that shares it, so another daemon's port would look free.
        drop(std::net::TcpListener::bind(address).map_err(|why| failed(why.to_string()))?);
        let failed = |why: TransportError<std::io::Error>| {
            let mut text = with_sources(&why);
            if let TransportError::Other(why) = &why
                && why.raw_os_error() == Some(EAFNOSUPPORT)
            {
                text.push_str(
                    "; it is needed to look up which addresses this machine has: allow AF_NETLINK, or listen on one address",
                );
            }
            failed(text)
        };
        waiting.insert(swarm.listen_on(multiaddr(*address)).map_err(failed)?, *address);
    }
    let mut addresses = Vec::new();
    let until = Instant::now() + LISTEN_WITHIN;
    while let Some(missing) = waiting.values().next().copied() {
        let failed = |why: String| NetError::Listen { address: missing, why };
        let left = until.saturating_duration_since(Instant::now());
        let event = timeout(left, swarm.select_next_some()).await;
        match event.map_err(|_| failed(format!("it took longer than {LISTEN_WITHIN:?}")))? {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                waiting.remove(&listener_id);
                addresses.push(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if waiting.contains_key(&listener_id) => {
                return Err(failed(reason.err().map_or_else(|| "it was closed".to_owned(), |why| why.to_string())));
            }
            SwarmEvent::ListenerError { listener_id, error } if waiting.contains_key(&listener_id) => {
                return Err(failed(error.to_string()));
            }
            // Who is this early comes again: nothing was answered yet.
            SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } => {
                swarm.close_connection(connection_id);
                presence.lost(peer_id, connection_id);
            }
            _ => {}
        }
    }
    Ok(addresses)
}

/// An address that can be dialed as it stands, without a resolver.
pub(crate) fn dialable(text: &str) -> Option<Multiaddr> {
    let address: Multiaddr = text.parse().ok()?;
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(1..)]
        | [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(1..), Protocol::P2p(_)] => Some(address),
        _ => None,
    }
}

impl Task {
    async fn run(mut self) {
        let shared = self.shared.clone();
        let mut tick = tokio::time::interval(TICK.min(self.timing.redial_first));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    Some(Command::Stop { done }) => break Some(done),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Some(answered) = self.owed.next() => self.on_answered(answered),
                Some(met) = self.met.recv() => self.on_met(met),
                Some(resolved) = self.resolving.join_next() => self.on_resolved(resolved),
                () = shared.bell.notified() => self.take_wishes(),
                _ = tick.tick() => self.on_tick(),
            }
        };
        self.shared.connected.write().clear();
        // Ports and connections close with the swarm, so only then it is done.
        drop(self);
        if let Some(done) = done {
            // Nobody waits if the stopping handle's future was dropped.
            let _ = done.send(());
        }
    }

    fn on_command(&mut self, command: Command) {
        // What was wished before must count for what is asked after.
        self.take_wishes();
        match command {
            Command::Request { to, channel, body, deadline, reply } => self.ask(to, channel, body, deadline, reply),
            Command::Publish { body, reply } => {
                // Nobody waits if the future was dropped.
                let _ = reply.send(self.publish(&body));
            }
            Command::Stop { .. } => {}
        }
    }

    fn publish(&mut self, body: &Bytes) -> Result<(), PublishError> {
        if body.len() > limits::GOSSIP_BYTES {
            return Err(PublishError::TooLarge { found_bytes: body.len(), most_bytes: limits::GOSSIP_BYTES });
        }
        let published = self.swarm.behaviour_mut().gossip.inner().publish(self.topic.clone(), body.to_vec());
        match published {
            Ok(_) => {
                self.counters.gossip_published.count();
                Ok(())
            }
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(gossipsub::PublishError::AllQueuesFull(_)) => Err(PublishError::Busy),
            Err(error) => {
                tracing::debug!(%error, "gossip was not accepted");
                Err(PublishError::Rejected)
            }
        }
    }

    fn take_wishes(&mut self) {
        let Wishes { allowed, places, sought, blamed } = std::mem::take(&mut *self.shared.wishes.lock());
        for (peer, times) in blamed {
            // More than that is a ban already.
            (0..times.min(16)).for_each(|_| self.fault(peer, Fault::Rubbish));
        }
        for (peer, allow) in allowed {
            if !allow {
                self.allowed.remove(&peer);
                self.swarm.behaviour_mut().disallow(peer.0);
            } else if self.allowed.len() < limits::ALLOWED || self.allowed.contains(&peer) {
                self.allowed.insert(peer);
                self.swarm.behaviour_mut().allow(peer.0);
            } else {
                tracing::warn!(%peer, most = limits::ALLOWED, "too many peers are allowed, this one is not");
            }
        }
        let now = Instant::now();
        for peer in sought {
            self.dialer.look_for(&peer, now);
            self.resolve_at = now;
        }
        for (peer, addresses) in places {
            if peer != self.shared.local {
                self.dialer.know(peer, addresses, now);
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.drop_silent(now);
        self.outbox.flush(&self.peers);
        for peer in self.conduct.pardon(now) {
            self.swarm.behaviour_mut().cut_off.unblock_peer(peer.0);
        }
        self.judge_gossip();
        if self.resolve_at <= now && self.resolving.is_empty() {
            self.resolve_at = now + self.timing.resolve_every;
            let within = self.timing.resolve_within;
            for (index, name) in self.dialer.names() {
                let name = name.clone();
                self.resolving.spawn(async move { (index, names::resolve(&name, within).await) });
            }
        }
        self.dial_due(now);
    }

    fn on_resolved(&mut self, resolved: Result<Resolved, JoinError>) {
        match resolved {
            Ok((index, Ok(found))) => {
                self.unresolved.remove(&index);
                self.dialer.resolved(index, &found, Instant::now());
            }
            // What it stood for before may still be right.
            Ok((index, Err(why))) => {
                self.counters.names_unresolved.count();
                if self.unresolved.insert(index) {
                    let name =
                        self.dialer.names().find(|(known, _)| *known == index).map(|(_, name)| name.host.clone());
                    tracing::warn!(name, why, "the name of a configured peer cannot be resolved, it is tried again");
                }
            }
            Err(error) => tracing::error!(%error, "resolving a name failed"),
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        if let SwarmEvent::Behaviour(event) = event {
            self.on_behaviour(event);
        } else {
            self.on_connection(event);
        }
        self.outbox.flush(&self.peers);
    }
}
