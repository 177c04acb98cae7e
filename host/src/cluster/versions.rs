//! Hosts of different builds. Two that speak minors at most one apart work together, so that a cluster is upgraded one host
//! after the other. Others are kept apart, and both ends say what to do: they might misunderstand each other about who owns
//! what. How messages may change within that promise is in `messages`.

use std::collections::BTreeMap;

use kernel::{NodeId, ProtocolVersion};
use net::PeerId;
use parking_lot::Mutex;

use super::Cluster;

/// The last version whose messages this code knows.
pub(crate) const SPOKEN: ProtocolVersion = ProtocolVersion { major: 1, minor: 0 };

/// What this build speaks: a minor more, if it was made to stand for the one that comes next.
pub(crate) const BUILT: ProtocolVersion =
    ProtocolVersion { minor: SPOKEN.minor + if cfg!(feature = "next-protocol") { 1 } else { 0 }, ..SPOKEN };

/// Most hosts that are known to be apart; of more, some are forgotten.
const APART: usize = 4_096;

/// Peers whose builds are too far from this one's.
#[derive(Debug, Default)]
pub(super) struct Apart(Mutex<BTreeMap<PeerId, TooFar>>);

/// A host that this one cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{node} speaks protocol {theirs}, this host {own}, and only hosts of one major at most one minor apart work together: {}",
    remedy(*.own, *.theirs)
)]
pub(super) struct TooFar {
    node: NodeId,
    theirs: ProtocolVersion,
    own: ProtocolVersion,
}

fn remedy(own: ProtocolVersion, theirs: ProtocolVersion) -> String {
    let ProtocolVersion { major, minor } = theirs;
    if own.major != major {
        return "run builds of one major on all hosts".to_owned();
    }
    if own.minor < minor {
        let next = ProtocolVersion { major, minor: own.minor.saturating_add(1) };
        format!("upgrade this host to a build of protocol {next}, like every other, before any host goes further")
    } else {
        let next = ProtocolVersion { major, minor: minor.saturating_add(1) };
        format!("run a build of protocol {next} here, upgrade every host to it, and only then go further")
    }
}

impl Apart {
    fn of(&self, peer: PeerId) -> Option<TooFar> {
        self.0.lock().get(&peer).cloned()
    }
}

impl Cluster {
    /// A peer said what it speaks. False: it is too far from this host, and nothing but hello is taken from it.
    pub(super) fn meets(&self, peer: PeerId, node: &NodeId, theirs: ProtocolVersion) -> bool {
        let own = self.inner.settings.protocol;
        let mut apart = self.inner.apart.0.lock();
        if own.works_with(theirs) {
            if apart.remove(&peer).is_some() {
                tracing::info!(%peer, %node, protocol = %theirs, "a host came with a build that works with this one");
                // It may be a member that was kept out.
                self.inner.bell.notify_waiters();
            }
            return true;
        }
        let found = TooFar { node: node.clone(), theirs, own };
        tracing::error!(%peer, error = %found, "a host is kept apart");
        if apart.len() >= APART {
            apart.pop_first();
        }
        apart.insert(peer, found);
        self.inner.net.disallow(peer);
        false
    }

    /// Whether a peer is kept apart.
    pub(super) fn is_apart(&self, peer: PeerId) -> bool {
        self.inner.apart.of(peer).is_some()
    }

    /// Who is kept apart, in words: members, and others as long as they are there.
    pub(super) fn apart(&self) -> Vec<String> {
        let connected = self.inner.net.connected();
        let seat = self.seat();
        let matters = |peer: &PeerId| {
            connected.contains(peer) || seat.as_ref().is_some_and(|seat| seat.member_of(*peer).is_some())
        };
        let apart = self.inner.apart.0.lock().clone();
        apart.iter().filter(|(peer, _)| matters(peer)).map(|(_, found)| found.to_string()).collect()
    }

    /// Before this host takes its seat: is somebody there with whom it cannot work?
    pub(super) fn check_versions(&self) -> Result<(), TooFar> {
        self.inner.apart.0.lock().values().next().map_or(Ok(()), |found| Err(found.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_far_is_told_what_to_install() {
        let version = |text: &str| text.parse::<ProtocolVersion>().expect("a version");
        let told = |own, theirs| {
            TooFar { node: "core-2".parse().expect("a node id"), theirs: version(theirs), own: version(own) }
                .to_string()
        };
        assert!(told("1.0", "1.2").contains("upgrade this host to a build of protocol 1.1"));
        assert!(told("1.5", "1.2").contains("run a build of protocol 1.3 here"));
        assert!(told("1.0", "2.0").contains("builds of one major"));
        "1".parse::<ProtocolVersion>().expect_err("no minor");
    }
}
