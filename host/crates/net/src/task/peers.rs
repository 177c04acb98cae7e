//! Who is connected, and what is under way with them. Bounded by the bound on connections.

use std::collections::BTreeMap;

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
    connections: u32,
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
    pub(super) fn connected(&mut self, peer: PeerId, address: String, now: Instant) {
        self.generations += 1;
        let generation = self.generations;
        let new = || Peer {
            known: Known { generation, addresses: vec![address], agent: String::new() },
            connections: 0,
            presented: false,
            hellos: Bucket::new(HELLOS_AT_ONCE, HELLOS_A_SECOND, now),
            asked: Counts::default(),
            asking: Counts::default(),
        };
        self.peers.entry(peer).or_insert_with(new).connections += 1;
    }

    /// A connection is gone; true if it was the last.
    pub(super) fn disconnected(&mut self, peer: PeerId) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        known.connections = known.connections.saturating_sub(1);
        let last = known.connections == 0;
        if last {
            self.peers.remove(&peer);
        }
        last
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
