//! Whom to dial, where and when. Plain values and times handed in; the network's task does the dialing.
//!
//! Each target is dialed until a connection stands, and again when it is lost: after 1 s, then 2 s and so on to 5 s, each
//! pause shortened at random by up to a half, so that hosts that lost each other at once do not meet at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::address::{Hosts, Name, PeerAddress, Place, multiaddr};
use crate::limits::{self, Timing};
use crate::peer::PeerId;

/// A connection that lasts this many first pauses proves that the target is well.
const PROVEN_AFTER: u32 = 10;

/// What a target is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The configured peer with this index.
    Configured(usize),
    /// One of the addresses of the configured name with this index.
    OfName(usize, SocketAddr),
    /// A peer that the owner knows.
    Known(PeerId),
}

#[derive(Debug)]
struct Target {
    addresses: Vec<Multiaddr>,
    /// Only this peer will do.
    wanted: Option<PeerId>,
    /// Who was met there last: while it is connected, there is no need to dial.
    met: Option<PeerId>,
    /// How often an address was dialed; which one is next.
    turn: usize,
    failures: u32,
    /// Not before.
    at: Instant,
    dialing: Option<ConnectionId>,
    connected_since: Option<Instant>,
}

impl Target {
    fn new(addresses: Vec<Multiaddr>, wanted: Option<PeerId>, now: Instant) -> Self {
        Self { addresses, wanted, met: None, turn: 0, failures: 0, at: now, dialing: None, connected_since: None }
    }
}

/// A dial to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) source: Source,
    pub(crate) peer: Option<PeerId>,
    /// One, unless the peer is given.
    pub(crate) addresses: Vec<Multiaddr>,
}

#[derive(Debug)]
pub(crate) struct Dialer {
    timing: Timing,
    targets: BTreeMap<Source, Target>,
    names: Vec<(usize, Name, Option<PeerId>)>,
    /// Whom the owner looks for, by configuration or later; a peer's place in here is its index.
    looked_for: Vec<PeerAddress>,
    /// Addresses that turned out to be ours, and until when they are left alone.
    own: BTreeMap<Multiaddr, Instant>,
}

impl Dialer {
    pub(crate) fn new(peers: &[PeerAddress], timing: Timing, now: Instant) -> Self {
        let mut dialer =
            Self { timing, targets: BTreeMap::new(), names: Vec::new(), looked_for: Vec::new(), own: BTreeMap::new() };
        for peer in peers {
            dialer.look_for(peer, now);
        }
        dialer
    }

    /// Looks for one more peer from now on, unless it is looked for already.
    pub(crate) fn look_for(&mut self, peer: &PeerAddress, now: Instant) {
        if self.looked_for.contains(peer) || self.looked_for.len() >= limits::TARGETS {
            return;
        }
        let index = self.looked_for.len();
        self.looked_for.push(peer.clone());
        match &peer.place {
            Place::Socket(address) => {
                let target = Target::new(vec![multiaddr(*address)], peer.peer, now);
                self.add(Source::Configured(index), target);
            }
            Place::Name(name) => self.names.push((index, name.clone(), peer.peer)),
        }
    }

    fn add(&mut self, source: Source, target: Target) {
        if self.targets.len() < limits::TARGETS {
            self.targets.insert(source, target);
        } else {
            tracing::warn!(?source, most = limits::TARGETS, "too many peers to dial, this one is left out");
        }
    }

    /// The names to resolve, each with the index to hand back.
    pub(crate) fn names(&self) -> impl Iterator<Item = (usize, &Name)> {
        self.names.iter().map(|(index, name, _)| (*index, name))
    }

    /// Takes what a name stands for now. Addresses that are gone are not dialed any more.
    pub(crate) fn resolved(&mut self, index: usize, found: &[SocketAddr], now: Instant) {
        let Some((_, name, wanted)) = self.names.iter().find(|(known, _, _)| *known == index) else { return };
        let wanted = *wanted;
        match name.hosts {
            Hosts::One => {
                let addresses: Vec<_> = found.iter().copied().map(multiaddr).collect();
                match self.targets.get_mut(&Source::Configured(index)) {
                    Some(target) => target.addresses = addresses,
                    None => self.add(Source::Configured(index), Target::new(addresses, wanted, now)),
                }
            }
            Hosts::Each => {
                self.targets.retain(
                    |source, _| !matches!(source, Source::OfName(of, address) if *of == index && !found.contains(address)),
                );
                for address in found {
                    let source = Source::OfName(index, *address);
                    if !self.targets.contains_key(&source) {
                        self.add(source, Target::new(vec![multiaddr(*address)], wanted, now));
                    }
                }
            }
        }
    }

    /// Takes where a known peer is, in place of what was known. Nowhere means: leave it alone.
    pub(crate) fn know(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let source = Source::Known(peer);
        if addresses.is_empty() {
            self.targets.remove(&source);
        } else if let Some(target) = self.targets.get_mut(&source) {
            if target.addresses != addresses {
                target.addresses = addresses;
                target.failures = 0;
                target.at = now;
            }
        } else {
            self.add(source, Target::new(addresses, Some(peer), now));
        }
    }

    /// The dials that are due now.
    pub(crate) fn due(&mut self, now: Instant, is_connected: impl Fn(PeerId) -> bool) -> Vec<Dial> {
        self.own.retain(|_, until| *until > now);
        let proven = self.timing.redial_first * PROVEN_AFTER;
        let mut dials = Vec::new();
        for (source, target) in &mut self.targets {
            if target.wanted.or(target.met).is_some_and(&is_connected) {
                let since = *target.connected_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= proven {
                    target.failures = 0;
                }
                continue;
            }
            target.connected_since = None;
            if target.dialing.is_some() || target.at > now {
                continue;
            }
            let mut addresses: Vec<_> =
                target.addresses.iter().filter(|address| !self.own.contains_key(*address)).cloned().collect();
            if addresses.is_empty() {
                continue;
            }
            if target.wanted.is_none() {
                let turn = target.turn % addresses.len();
                addresses = addresses.split_off(turn);
                addresses.truncate(1);
            }
            target.turn = target.turn.wrapping_add(1);
            dials.push(Dial { source: *source, peer: target.wanted, addresses });
        }
        dials
    }

    pub(crate) fn dialing(&mut self, source: Source, connection: ConnectionId) {
        if let Some(target) = self.targets.get_mut(&source) {
            target.dialing = Some(connection);
        }
    }

    /// A dial ended: with this peer, or without any. Also a success is followed by a pause, should it not last.
    pub(crate) fn ended(&mut self, connection: ConnectionId, met: Option<PeerId>, now: Instant) {
        let timing = self.timing;
        if let Some(target) = self.targets.values_mut().find(|target| target.dialing == Some(connection)) {
            target.dialing = None;
            target.met = met;
            put_off(target, &timing, now);
        }
    }

    /// An address is our own: it is left alone for a while.
    pub(crate) fn is_ours(&mut self, address: Multiaddr, now: Instant) {
        if self.own.len() < limits::TARGETS {
            self.own.insert(address, now + self.timing.own_address);
        }
    }
}

fn put_off(target: &mut Target, timing: &Timing, now: Instant) {
    let pause = pause(target.failures, timing);
    target.failures = target.failures.saturating_add(1);
    target.at = now + pause.mul_f64(rand::random_range(0.5..=1.0));
}

fn pause(failures: u32, timing: &Timing) -> Duration {
    timing.redial_first.saturating_mul(1 << failures.min(16)).min(timing.redial_most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn dialer(peers: &[&str], now: Instant) -> Dialer {
        let peers: Vec<_> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        Dialer::new(&peers, Timing::default(), now)
    }

    fn addresses(dials: &[Dial]) -> Vec<String> {
        dials.iter().flat_map(|dial| &dial.addresses).map(ToString::to_string).collect()
    }

    fn due(dialer: &mut Dialer, now: Instant) -> Vec<Dial> {
        dialer.due(now, |_| false)
    }

    #[test]
    fn pauses_double_to_five_seconds() {
        let pauses: Vec<_> = (0..8).map(|failures| pause(failures, &Timing::default()).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5, 5, 5, 5]);
        assert_eq!(pause(u32::MAX, &Timing::default()), 5 * SECOND);
    }

    #[test]
    fn a_failed_dial_is_repeated_after_a_pause() {
        let now = Instant::now();
        let mut dialer = dialer(&["10.0.0.1:7000"], now);
        let dials = due(&mut dialer, now);
        assert_eq!(addresses(&dials), ["/ip4/10.0.0.1/tcp/7000"]);
        let connection = ConnectionId::new_unchecked(1);
        dialer.dialing(dials[0].source, connection);
        assert_eq!(due(&mut dialer, now + 60 * SECOND), [], "it is being dialed");
        dialer.ended(connection, None, now);
        assert_eq!(due(&mut dialer, now + SECOND / 3), []);
        assert_eq!(due(&mut dialer, now + SECOND).len(), 1);
    }

    #[test]
    fn who_is_connected_is_not_dialed_and_who_was_lost_is() {
        let now = Instant::now();
        let mut dialer = dialer(&["10.0.0.1:7000"], now);
        let peer = PeerId(libp2p::PeerId::random());
        let connection = ConnectionId::new_unchecked(1);
        let source = due(&mut dialer, now)[0].source;
        dialer.dialing(source, connection);
        dialer.ended(connection, Some(peer), now);
        assert_eq!(dialer.due(now + 60 * SECOND, |it| it == peer), []);
        assert_eq!(due(&mut dialer, now + 61 * SECOND).len(), 1);
    }

    #[test]
    fn every_address_of_a_headless_name_is_a_target_and_goes_with_it() {
        let now = Instant::now();
        let mut dialer = dialer(&["dns:nexus:7000"], now);
        let (one, two) = ("10.0.0.1:7000".parse().unwrap(), "10.0.0.2:7000".parse().unwrap());
        dialer.resolved(0, &[one, two], now);
        assert_eq!(addresses(&due(&mut dialer, now)), ["/ip4/10.0.0.1/tcp/7000", "/ip4/10.0.0.2/tcp/7000"]);
        dialer.resolved(0, &[two], now);
        assert_eq!(addresses(&due(&mut dialer, now)), ["/ip4/10.0.0.2/tcp/7000"]);
    }

    #[test]
    fn the_addresses_of_one_host_are_tried_in_turn() {
        let now = Instant::now();
        let mut dialer = dialer(&["core-1:7000"], now);
        dialer.resolved(0, &["10.0.0.1:7000".parse().unwrap(), "[2001:db8::1]:7000".parse().unwrap()], now);
        let tried: Vec<_> = (0..3).flat_map(|_| addresses(&due(&mut dialer, now))).collect();
        assert_eq!(tried, ["/ip4/10.0.0.1/tcp/7000", "/ip6/2001:db8::1/tcp/7000", "/ip4/10.0.0.1/tcp/7000"]);
    }

    #[test]
    fn our_own_address_is_left_alone() {
        let now = Instant::now();
        let mut dialer = dialer(&["10.0.0.1:7000"], now);
        dialer.is_ours("/ip4/10.0.0.1/tcp/7000".parse().unwrap(), now);
        assert_eq!(due(&mut dialer, now + 599 * SECOND), []);
        assert_eq!(due(&mut dialer, now + 601 * SECOND).len(), 1);
    }

    #[test]
    fn a_known_peer_is_dialed_at_all_its_addresses_until_it_is_known_nowhere() {
        let now = Instant::now();
        let mut dialer = dialer(&[], now);
        let peer = PeerId(libp2p::PeerId::random());
        let places: Vec<Multiaddr> =
            vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap(), "/ip4/10.0.0.1/tcp/2".parse().unwrap()];
        dialer.know(peer, places.clone(), now);
        assert_eq!(due(&mut dialer, now), [Dial { source: Source::Known(peer), peer: Some(peer), addresses: places }]);
        dialer.know(peer, Vec::new(), now);
        assert_eq!(due(&mut dialer, now), []);
    }
}
