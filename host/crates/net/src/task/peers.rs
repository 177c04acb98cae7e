//! Who is connected, and what is under way with them. Bounded by the bound on connections.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::conduct::Bucket;
use crate::peer::PeerId;

/// A peer may say hello once a second; two at once are forgiven, as both ends may begin.
const HELLOS_AT_ONCE: f64 = 2.0;
const HELLOS_A_SECOND: f64 = 1.0;

#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<PeerId, Peer>,
    generations: u64,
}

#[derive(Debug)]
struct Peer {
    known: Known,
    /// When each last gave a sign of life.
    connections: BTreeMap<ConnectionId, Instant>,
    /// It said who it is, or asked something already: the owner may know.
    presented: bool,
    hellos: Bucket,
    asked: Counts,
    asking: Counts,
}

/// What the owner is told of a peer.
#[derive(Debug)]
pub(super) struct Known {
    /// Differs from one unbroken time of connection to the next.
    pub(super) generation: u64,
    pub(super) addresses: Vec<String>,
    pub(super) agent: String,
}

/// Requests under way, by channel.
#[derive(Debug, Default)]
struct Counts([usize; Channel::ALL.len()]);

impl Counts {
    fn of(&mut self, channel: Channel) -> &mut usize {
        let [hello, ledger, state, route] = &mut self.0;
        match channel {
            Channel::Hello => hello,
            Channel::Ledger => ledger,
            Channel::State => state,
            Channel::Route => route,
        }
    }

    /// Takes a place, or says that there is none.
    fn take(&mut self, channel: Channel) -> bool {
        let count = self.of(channel);
        let free = *count < channel.in_flight();
        *count += usize::from(free);
        free
    }

    fn give_back(&mut self, channel: Channel) {
        let count = self.of(channel);
        *count = count.saturating_sub(1);
    }
}

impl Peers {
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId, address: String, now: Instant) {
        self.generations += 1;
        let generation = self.generations;
        let new = || Peer {
            known: Known { generation, addresses: vec![address], agent: String::new() },
            connections: BTreeMap::new(),
            presented: false,
            hellos: Bucket::new(HELLOS_AT_ONCE, HELLOS_A_SECOND, now),
            asked: Counts::default(),
            asking: Counts::default(),
        };
        self.peers.entry(peer).or_insert_with(new).connections.insert(connection, now);
    }

    /// A connection is gone, or is taken to be; true if it was the last.
    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let last = known.connections.remove(&connection).is_some() && known.connections.is_empty();
        if last {
            self.peers.remove(&peer);
        }
        last
    }

    pub(super) fn heard(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        if let Some(last) = self.peers.get_mut(&peer).and_then(|it| it.connections.get_mut(&connection)) {
            *last = now;
        }
    }

    /// This process stood still for so long, until now, and heard nobody.
    pub(super) fn forgive(&mut self, length: Duration, now: Instant) {
        let all = self.peers.values_mut().flat_map(|it| it.connections.values_mut());
        all.for_each(|last| *last = (*last + length).min(now));
    }

    /// Connections that gave no sign of life for so long.
    pub(super) fn silent(&self, now: Instant, after: Duration) -> Vec<(PeerId, ConnectionId)> {
        let is_silent = |last: &Instant| now.saturating_duration_since(*last) >= after;
        let of = |(peer, it): (&PeerId, &Peer)| {
            let silent = it.connections.iter().filter(|(_, last)| is_silent(last));
            silent.map(|(connection, _)| (*peer, *connection)).collect::<Vec<_>>()
        };
        self.peers.iter().flat_map(of).collect()
    }

    /// Takes what a peer says of itself; true if the owner is to be told.
    pub(super) fn identified(&mut self, peer: PeerId, agent: String, addresses: Vec<String>) -> bool {
        let Some(it) = self.peers.get_mut(&peer) else { return false };
        it.known.agent = agent;
        if !addresses.is_empty() {
            it.known.addresses = addresses;
        }
        !std::mem::replace(&mut it.presented, true)
    }

    /// The peer asked something; true if the owner is to be told of it first.
    pub(super) fn present(&mut self, peer: PeerId) -> bool {
        self.peers.get_mut(&peer).is_some_and(|it| !std::mem::replace(&mut it.presented, true))
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.peers.contains_key(&peer)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// What the owner may be told, if the peer is here and has presented itself.
    pub(super) fn known(&self, peer: PeerId) -> Option<&Known> {
        self.peers.get(&peer).filter(|it| it.presented).map(|it| &it.known)
    }

    pub(super) fn may_say_hello(&mut self, peer: PeerId, now: Instant) -> bool {
        self.peers.get_mut(&peer).is_some_and(|it| it.hellos.take(1.0, now))
    }

    pub(super) fn begin_asked(&mut self, peer: PeerId, channel: Channel) -> bool {
        self.peers.get_mut(&peer).is_some_and(|it| it.asked.take(channel))
    }

    pub(super) fn end_asked(&mut self, peer: PeerId, channel: Channel) {
        if let Some(it) = self.peers.get_mut(&peer) {
            it.asked.give_back(channel);
        }
    }

    pub(super) fn begin_asking(&mut self, peer: PeerId, channel: Channel) -> bool {
        self.peers.get_mut(&peer).is_some_and(|it| it.asking.take(channel))
    }

    pub(super) fn end_asking(&mut self, peer: PeerId, channel: Channel) {
        if let Some(it) = self.peers.get_mut(&peer) {
            it.asking.give_back(channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(4);

    #[test]
    fn each_connection_is_silent_for_itself() {
        let (peer, began) = (PeerId(libp2p::PeerId::random()), Instant::now());
        let [one, other] = [1, 2].map(ConnectionId::new_unchecked);
        let mut peers = Peers::default();
        peers.connected(peer, one, String::new(), began);
        peers.connected(peer, other, String::new(), began);
        assert!(peers.silent(began + AFTER - Duration::from_millis(1), AFTER).is_empty());
        peers.heard(peer, other, began + AFTER);
        assert_eq!(peers.silent(began + AFTER, AFTER), [(peer, one)]);
        assert!(!peers.disconnected(peer, one));
        // Taken to be gone, then gone.
        assert!(!peers.disconnected(peer, one));
        peers.heard(peer, one, began + AFTER);
        assert!(peers.silent(began + AFTER, AFTER).is_empty());
        assert!(peers.disconnected(peer, other) && !peers.contains(peer));
    }

    #[test]
    fn who_stood_still_himself_takes_nobody_to_be_silent() {
        let (peer, began) = (PeerId(libp2p::PeerId::random()), Instant::now());
        let connection = ConnectionId::new_unchecked(1);
        let mut peers = Peers::default();
        peers.connected(peer, connection, String::new(), began);
        // Of what came meanwhile some may have been heard before.
        for _ in 0..2 {
            peers.forgive(2 * AFTER, began + 2 * AFTER);
        }
        assert!(peers.silent(began + 2 * AFTER, AFTER).is_empty());
        assert_eq!(peers.silent(began + 3 * AFTER, AFTER), [(peer, connection)]);
    }
}
