//! What goes to the owner, and what becomes of it while the owner is slow.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::peers::Peers;
use crate::event::NetEvent;
use crate::peer::PeerId;

#[derive(Debug)]
pub(super) struct Outbox {
    events: mpsc::Sender<NetEvent>,
    /// Which connection to a peer the owner was told of last.
    told: BTreeMap<PeerId, u64>,
    /// Peers of whom the owner may have to be told; each at most once, so bounded by who is connected or was told.
    changed: BTreeSet<PeerId>,
}

impl Outbox {
    pub(super) fn new(events: mpsc::Sender<NetEvent>) -> Self {
        Self { events, told: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Places that are free.
    pub(super) fn capacity(&self) -> usize {
        self.events.capacity()
    }

    /// Gives the event on if there is room, and says whether.
    pub(super) fn offer(&self, event: NetEvent) -> bool {
        self.events.try_send(event).is_ok()
    }

    pub(super) fn changed(&mut self, peer: PeerId) {
        self.changed.insert(peer);
    }

    /// Tells who came and who went. What does not fit is told later, as it is by then: who came and went meanwhile is not
    /// told at all, who went and came is told as both.
    pub(super) fn flush(&mut self, peers: &Peers) {
        while let Some(peer) = self.changed.first().copied() {
            if !self.tell(peer, peers) {
                return;
            }
            self.changed.remove(&peer);
        }
    }

    /// Tells of one peer, and says whether there was room.
    pub(super) fn tell(&mut self, peer: PeerId, peers: &Peers) -> bool {
        let now = peers.known(peer);
        let told = self.told.get(&peer).copied();
        if told.is_some() && told != now.map(|known| known.generation) {
            if !self.offer(NetEvent::Disconnected { peer }) {
                return false;
            }
            self.told.remove(&peer);
        }
        if let Some(known) = now
            && !self.told.contains_key(&peer)
        {
            let (addresses, agent) = (known.addresses.clone(), known.agent.clone());
            if !self.offer(NetEvent::Connected { peer, addresses, agent }) {
                return false;
            }
            self.told.insert(peer, known.generation);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ConnectionId;

    use super::*;

    fn connection() -> ConnectionId {
        ConnectionId::new_unchecked(1)
    }

    fn outbox(events: usize) -> (Outbox, mpsc::Receiver<NetEvent>, Peers, PeerId) {
        let (sender, receiver) = mpsc::channel(events);
        (Outbox::new(sender), receiver, Peers::default(), PeerId(libp2p::PeerId::random()))
    }

    fn came(peers: &mut Peers, peer: PeerId) {
        peers.connected(peer, connection(), "/ip4/10.0.0.1/tcp/1".to_owned(), tokio::time::Instant::now());
        peers.identified(peer, "nexus".to_owned(), Vec::new());
    }

    #[test]
    fn who_went_and_came_while_the_owner_was_slow_is_told_as_both() {
        let (mut outbox, mut events, mut peers, peer) = outbox(1);
        came(&mut peers, peer);
        outbox.changed(peer);
        outbox.flush(&peers);
        peers.disconnected(peer, connection());
        came(&mut peers, peer);
        outbox.changed(peer);
        outbox.flush(&peers);
        assert!(matches!(events.try_recv(), Ok(NetEvent::Connected { .. })));
        assert!(events.try_recv().is_err());
        outbox.flush(&peers);
        assert!(matches!(events.try_recv(), Ok(NetEvent::Disconnected { .. })));
        outbox.flush(&peers);
        assert!(matches!(events.try_recv(), Ok(NetEvent::Connected { .. })));
        outbox.flush(&peers);
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn who_went_is_told_even_to_an_owner_that_was_slow() {
        let (mut outbox, mut events, mut peers, peer) = outbox(1);
        came(&mut peers, peer);
        outbox.changed(peer);
        outbox.flush(&peers);
        peers.disconnected(peer, connection());
        outbox.changed(peer);
        outbox.flush(&peers);
        assert!(matches!(events.try_recv(), Ok(NetEvent::Connected { .. })));
        outbox.flush(&peers);
        assert!(matches!(events.try_recv(), Ok(NetEvent::Disconnected { .. })));
    }
}
