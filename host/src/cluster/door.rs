//! What comes in over the network: who appears and goes, hosts that want to be members, and what members ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::ledger::{HostRole, LedgerCommand, LedgerError, LedgerReply};
use kernel::{Batch, NodeId, Origin, ProtocolVersion};
use net::{Channel, NetEvent, NetEvents, PeerId, Replier, StrangerReason};
use serde::de::DeserializeOwned;

use super::messages::{self, HelloAnswer, HelloAsk, RouteAsk, StateAsk};
use super::replicate::{self, Hint};
use super::{Cluster, agreement, copy, offers, old_disk, seat, takeover};
use crate::clock;

/// How often a peer that appeared is asked who it is.
const GREETINGS: usize = 3;

/// How long the answer to one hello may take.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// After its start a host that is a member has said so.
const SEATED_WITHIN: Duration = Duration::from_secs(15);

const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// Serves the network until it stops.
pub(super) async fn run(cluster: Cluster, mut events: NetEvents) {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = cluster.stopping().cancelled() => return,
        };
        match event {
            None => return,
            Some(NetEvent::Connected { peer, .. }) => {
                copy::let_in(&cluster, peer);
                cluster.inner.bell.notify_waiters();
                cluster.pull_from(peer);
                let greeted = cluster.clone();
                tokio::spawn(async move {
                    // First what may end this host.
                    greet(&greeted, peer).await;
                    old_disk::ask(&greeted, peer).await;
                    look_again(&greeted, peer).await;
                });
            }
            Some(NetEvent::Disconnected { peer }) => {
                cluster.inner.foreign.lock().remove(&peer);
                cluster.forget_clock(peer);
                // It may come back with another clock.
                if let Some(member) = cluster.seat().and_then(|seat| seat.member_of(peer)) {
                    cluster.inner.lanes.heard(member, 0);
                }
                tracing::info!(%peer, "a host is gone");
                cluster.inner.bell.notify_waiters();
            }
            Some(NetEvent::Gossip { from, body }) => hint(&cluster, from, &body),
            Some(NetEvent::Request { peer, channel, body, left, reply, .. }) => {
                tokio::spawn(answer(cluster.clone(), peer, channel, body, left, reply));
            }
            Some(NetEvent::StrangerRefused { address, reason }) => {
                if reason == StrangerReason::OtherKey {
                    *cluster.inner.other_key.lock() = Some(address.clone());
                }
                tracing::warn!(address, ?reason, "a host without this cluster's key was refused");
            }
            Some(NetEvent::IdentityClash { address }) => copy::met(&cluster, &address),
            Some(NetEvent::RefusedAsCopy { by, address }) => copy::refused(&cluster, by, &address),
            Some(NetEvent::CopyRefused { peer, address }) => {
                let node = cluster.seat().and_then(|seat| Some(cluster.named(seat.member_of(peer)?)));
                tracing::warn!(
                    %peer, node, address,
                    "a process that says it is a connected host was refused: one of the two runs on a copy of that host's directory"
                );
            }
        }
    }
}

/// What a peer answers at the door, and how long that took. Hellos are few: if there are too many now, it is asked again.
pub(super) async fn say_hello(
    cluster: &Cluster,
    peer: PeerId,
    ask: &HelloAsk,
    times: usize,
) -> Option<(net::Response, Duration)> {
    for _ in 0..times {
        let began = Instant::now();
        match cluster.inner.net.request(peer, Channel::Hello, messages::write(ask), HELLO_WITHIN).await {
            Ok(response) => return Some((response, began.elapsed())),
            Err(error) => tracing::debug!(%peer, %error, "a host does not answer a hello yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = cluster.stopping().cancelled() => return None,
        }
    }
    None
}

/// What a peer says of itself. Who does not say which build it has may be one to keep apart.
async fn who_is(cluster: &Cluster, peer: PeerId) -> Option<(net::Response, Duration)> {
    say_hello(cluster, peer, &HelloAsk::Who, GREETINGS).await
}

/// Asks a host what its clock shows.
pub(super) async fn compare(cluster: &Cluster, peer: PeerId) {
    if let Some((response, took)) = who_is(cluster, peer).await
        && let Ok(HelloAnswer::Who { node, hour, .. }) = messages::read(&response.body)
    {
        cluster.compare_clocks(peer, &node, hour, took);
    }
}

/// A host that was just started does not say at once which cluster it is of.
async fn look_again(cluster: &Cluster, peer: PeerId) {
    tokio::select! {
        () = tokio::time::sleep(SEATED_WITHIN) => {}
        () = cluster.stopping().cancelled() => return,
    }
    if cluster.inner.net.connected().contains(&peer)
        && cluster.seat().is_some_and(|seat| seat.member_of(peer).is_none())
    {
        greet(cluster, peer).await;
    }
}

/// Tells people whom they met; a host of another cluster under one key must not go unnoticed.
pub(super) async fn greet(cluster: &Cluster, peer: PeerId) {
    let Some((response, took)) = who_is(cluster, peer).await else { return };
    let Ok(HelloAnswer::Who { node, origin, seat, protocol, hour }) = messages::read::<HelloAnswer>(&response.body)
    else {
        tracing::warn!(%peer, "a host does not say who it is: its build may be too different from this one");
        return;
    };
    if !cluster.meets(peer, &node, protocol) {
        return;
    }
    let own = &cluster.inner.settings;
    if origin.host == own.origin.host {
        tracing::error!(
            %peer, %node,
            "that host has a copy of this host's data directory: only one of the two may run; give the other one an empty one"
        );
    } else if node == own.node {
        tracing::error!(%peer, %node, "that host has this host's node id: give one of the two another");
    }
    cluster.compare_clocks(peer, &node, hour, took);
    match (seat, cluster.seat()) {
        (Some((theirs, _)), Some(ours)) if theirs != ours.cluster => {
            tracing::error!(
                %peer, %node, cluster = %theirs,
                "that host is of another cluster but has this one's key: give each cluster a key of its own"
            );
            let told =
                format!("{node} is of cluster {theirs} but has this one's key: give each cluster a key of its own");
            cluster.inner.foreign.lock().insert(peer, told);
        }
        _ => tracing::info!(%peer, %node, "a host is there"),
    }
}

fn hint(cluster: &Cluster, from: PeerId, body: &[u8]) {
    let Ok(batch) = cluster.read::<Batch>(from, body) else { return };
    match author(cluster, &batch) {
        Some(author) if author == from => {
            let _full = cluster.inner.hints.try_send(Hint { from, batch: Arc::new(batch) });
        }
        // Nobody passes on what others gossip. Their own message may have been taken for a repeat of this one.
        Some(author) => {
            // Else it may be that very member, with another key, and the ledger is yet to be heard.
            if cluster.is_member(from) {
                cluster.inner.net.blame(from);
            }
            cluster.pull_from(author);
        }
        None => {}
    }
}

impl Cluster {
    /// Whether the peer is on the list of members that is known here.
    pub(super) fn is_member(&self, peer: PeerId) -> bool {
        self.seat().is_some_and(|seat| seat.member_of(peer).is_some())
    }

    /// Reads what a member sent. Builds that may meet can read each other, so what cannot be read is held against it.
    pub(super) fn read<T: DeserializeOwned>(&self, peer: PeerId, bytes: &[u8]) -> Result<T, String> {
        messages::read(bytes).inspect_err(|why| {
            tracing::debug!(%peer, why, "a message cannot be read");
            self.inner.net.blame(peer);
        })
    }
}

/// The member whose batch it is.
fn author(cluster: &Cluster, batch: &Batch) -> Option<PeerId> {
    let ledger = cluster.seat()?.book.ledger();
    ledger.members().values().find(|member| member.origin == batch.origin)?.peer.parse().ok()
}

async fn answer(cluster: Cluster, peer: PeerId, channel: Channel, body: bytes::Bytes, left: Duration, reply: Replier) {
    let answered = match channel {
        Channel::Hello => hello(&cluster, peer, &body).await.map(|answer| messages::write(&answer)),
        Channel::Ledger => match cluster.seat() {
            Some(seat) => Ok(seat.consensus.handle(body.to_vec()).await.into()),
            None => Err("this host is no member".to_owned()),
        },
        Channel::State => match cluster.read::<StateAsk>(peer, &body) {
            Ok(StateAsk::Pull { vector, fingerprint }) => {
                if let Some(theirs) = fingerprint {
                    agreement::compare(&cluster, peer, &theirs);
                }
                let answering = cluster.clone();
                let asked = vector.clone();
                cluster.acknowledge(peer, vector);
                let answer = tokio::task::spawn_blocking(move || replicate::answer_pull(&answering, &asked)).await;
                answer.map(|answer| messages::write(&answer)).map_err(|why| why.to_string())
            }
            Ok(StateAsk::Look) => Ok(messages::write(&replicate::answer_look(&cluster))),
            Ok(StateAsk::Snapshot { cursor, known }) => {
                let answering = cluster.clone();
                let answer = tokio::task::spawn_blocking(move || takeover::answer(&answering, cursor, &known)).await;
                answer.map(|answer| messages::write(&answer)).map_err(|why| why.to_string())
            }
            // A host pushes its own operations only.
            Ok(StateAsk::Push(batch)) if author(&cluster, &batch) == Some(peer) => {
                Ok(messages::write(&replicate::answer_push(&cluster, peer, batch).await))
            }
            Ok(StateAsk::Give(offer)) if cluster.is_member(peer) => {
                Ok(messages::write(&offers::give_when_asked(&cluster, offer, left).await))
            }
            Ok(StateAsk::Give(_)) => Err("only members have shards moved".to_owned()),
            Ok(StateAsk::Push(batch)) => Err(format!("origin {:x} is not the host that pushes it", batch.origin.host)),
            Err(why) => Err(why),
        },
        Channel::Route => match cluster.read::<RouteAsk>(peer, &body) {
            Ok(ask) => cluster.serve_routed(ask, left).await.map(|answer| messages::write(&answer)),
            Err(why) => Err(why),
        },
    };
    match answered {
        Ok(body) => reply.reply(body),
        Err(why) => {
            tracing::debug!(%peer, %channel, why, "a request of a host is refused");
            reply.refuse();
        }
    }
}

async fn hello(cluster: &Cluster, peer: PeerId, body: &[u8]) -> Result<HelloAnswer, String> {
    let own = &cluster.inner.settings;
    Ok(match messages::read::<HelloAsk>(body)? {
        HelloAsk::Who => {
            let seat = cluster.seat().map(|seat| (seat.cluster, seat.me));
            let (node, origin, protocol, hour) = (own.node.clone(), own.origin, own.protocol, cluster.hour());
            HelloAnswer::Who { node, origin, seat, protocol, hour }
        }
        HelloAsk::Known { origin } => {
            HelloAnswer::Known { through: cluster.vector().get(&origin).copied().unwrap_or_default() }
        }
        HelloAsk::Form { node, asks } => HelloAnswer::Form(cluster.bless(peer, node, &asks)),
        HelloAsk::Join { node, origin, addresses, role, weight, at_ms, protocol } => {
            let newcomer = Newcomer { peer, node, origin, addresses, role, weight, at_ms, protocol };
            admit(cluster, newcomer).await
        }
    })
}

struct Newcomer {
    peer: PeerId,
    node: NodeId,
    origin: Origin,
    addresses: Vec<String>,
    role: HostRole,
    weight: u32,
    at_ms: u64,
    protocol: ProtocolVersion,
}

/// A host asks to be a member: the ledger decides, then it is sent the log.
async fn admit(cluster: &Cluster, newcomer: Newcomer) -> HelloAnswer {
    let Newcomer { peer, node, origin, addresses, role, weight, at_ms, protocol } = newcomer;
    let Some(seat) = cluster.seat() else {
        return HelloAnswer::NotNow("this host waits itself to be joined; ask a member".to_owned());
    };
    // By the clock that leases are written by: the system's may have been set since.
    let apart_ms = cluster.inner.parts.view.now_ms().abs_diff(at_ms);
    let (own, allowed) = (&cluster.inner.settings.node, cluster.clocks_allowed());
    if Duration::from_millis(apart_ms) > allowed {
        return HelloAnswer::Refused(super::clocks::apart(&node, own, apart_ms, allowed));
    }
    let name = peer.to_string();
    let join = LedgerCommand::Join {
        node: node.clone(),
        origin,
        peer: name.clone(),
        addresses,
        role,
        weight,
        protocol,
        at_ms,
    };
    if let Err(error) = forget_part(&seat, origin).await {
        return HelloAnswer::NotNow(format!("its former part of the ledger's log cannot be ended yet: {error}"));
    }
    let member = match seat.decide(join, JOIN_WITHIN).await {
        Ok(Ok(LedgerReply::Joined { member, .. })) => member,
        Ok(Ok(other)) => return HelloAnswer::NotNow(format!("{other:?} is no answer to a newcomer")),
        Ok(Err(error @ LedgerError::MembersFull { .. })) => return HelloAnswer::NotNow(error.to_string()),
        Ok(Err(error)) => {
            tracing::warn!(%node, %error, "a host is not let in");
            return HelloAnswer::Refused(error.to_string());
        }
        Err(error) => return HelloAnswer::NotNow(format!("the ledger cannot decide: {error}")),
    };
    cluster.inner.net.allow(peer);
    let learner = consensus::Peer { member: u64::from(member.0), address: name };
    let state = seat.consensus.state();
    let known = state.voters.iter().chain(&state.learners).any(|known| *known == learner);
    if !known && let Err(error) = seat.consensus.add_learner(learner).await {
        return HelloAnswer::NotNow(format!("the ledger's log is not sent to the newcomer yet: {error}"));
    }
    tracing::info!(%node, %member, "a host joined");
    let ledger = seat.book.ledger();
    let peers = ledger.members().values().map(|known| (known.peer.clone(), known.addresses.clone())).collect();
    HelloAnswer::Welcome { cluster: seat.cluster, member, peers }
}

/// A member that comes in another incarnation has another disk. What it voted and what it had of the log is forgotten there,
/// and counted on here: so its part in the log ends before it gets another one, which begins with nothing and has no vote.
async fn forget_part(seat: &seat::Seat, origin: Origin) -> Result<(), consensus::ProposeError> {
    let ledger = seat.book.ledger();
    let same = |member: &&kernel::ledger::Member| member.origin.host == origin.host;
    let Some(former) = ledger.members().values().find(same) else { return Ok(()) };
    let id = u64::from(former.id.0);
    let state = seat.consensus.state();
    let takes_part = state.voters.iter().chain(&state.learners).any(|known| known.member == id);
    if former.origin.incarnation < origin.incarnation && takes_part {
        seat.consensus.remove(id).await?;
        tracing::warn!(node = %former.node, "a member comes back with another disk: it gets the ledger's log anew");
    }
    Ok(())
}

impl Cluster {
    /// Asks a peer to be let in, and takes the seat it is given.
    pub(super) async fn ask_in(&self, peer: PeerId) -> Result<(), Refusal> {
        let own = &self.inner.settings;
        let ask = HelloAsk::Join {
            node: own.node.clone(),
            origin: own.origin,
            addresses: self.addresses(),
            role: own.role,
            weight: own.weight,
            at_ms: clock::wall_ms(),
            protocol: own.protocol,
        };
        let asked = self.inner.net.request(peer, Channel::Hello, messages::write(&ask), JOIN_WITHIN * 2).await;
        let body = asked.map_err(|error| Refusal::NotNow(error.to_string()))?.body;
        match messages::read::<HelloAnswer>(&body).map_err(Refusal::NotNow)? {
            HelloAnswer::Welcome { cluster, member, peers } => {
                for (name, addresses) in peers {
                    if let Ok(peer) = name.parse::<PeerId>()
                        && peer != self.inner.net.local_peer()
                    {
                        self.inner.net.allow(peer);
                        self.inner.net.dial(peer, &addresses);
                    }
                }
                let membership = seat::Membership::new(cluster, member);
                // Before the seat is known: nobody may take this host for one that knows what the others do.
                self.inner.parts.vitals.arrives(true);
                let seat = seat::Seat::take(self, membership).await;
                self.sit(seat.map_err(|error| Refusal::Final(format!("{error:#}")))?);
                Ok(())
            }
            HelloAnswer::Refused(why) => Err(Refusal::Final(why)),
            HelloAnswer::NotNow(why) => Err(Refusal::NotNow(why)),
            HelloAnswer::Who { .. } | HelloAnswer::Known { .. } | HelloAnswer::Form(_) => {
                Err(Refusal::NotNow("it answered something else".to_owned()))
            }
        }
    }
}

/// Why a host was not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    Final(String),
}
