//! Wall clocks of hosts that differ. Leases end by what their records say, so who takes a shard over ends them by its own clock;
//! the kernel allows for as much as hosts may be apart, and who is further off may not serve.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::NodeId;
use net::PeerId;
use parking_lot::Mutex;

use super::Cluster;
use super::messages::Hour;
use crate::clock;

/// Who was asked on the way for longer says nothing precise enough.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// A host's clock as this host saw it.
#[derive(Clone, Debug)]
struct Seen {
    node: NodeId,
    apart_ms: u64,
    /// Its process began before this one.
    older: bool,
}

/// What other hosts' clocks showed when they were met.
#[derive(Debug, Default)]
pub(super) struct Clocks(Mutex<BTreeMap<PeerId, Seen>>);

impl Cluster {
    /// What this host's clock shows, and for how long its process has been there.
    pub(super) fn hour(&self) -> Hour {
        Hour { wall_ms: clock::wall_ms(), age_ms: clock::boot_ms().saturating_sub(self.inner.began_ms) }
    }

    /// What another host's showed in an answer that took so long. Ends this process if its own clock is the wrong one.
    pub(super) fn compare_clocks(&self, peer: PeerId, node: &NodeId, theirs: Hour, took: Duration) {
        if took > ASKED_WITHIN {
            return;
        }
        let own = self.hour();
        let on_the_way = u64::try_from(took.as_millis()).unwrap_or(u64::MAX) / 2;
        let apart_ms = own.wall_ms.saturating_sub(on_the_way).abs_diff(theirs.wall_ms);
        let seen = Seen { node: node.clone(), apart_ms, older: theirs.age_ms > own.age_ms };
        self.inner.clocks.0.lock().insert(peer, seen);
        let against = self.against();
        let others = self.seat().map_or(0, |seat| seat.book.ledger().members().len().saturating_sub(1));
        if !is_wrong(&against, others) {
            return;
        }
        let named: Vec<String> =
            against.iter().map(|seen| format!("{} ({} s)", seen.node, seen.apart_ms / 1_000)).collect();
        tracing::error!(
            others = named.join(", "),
            "this host ends: its clock is too far from most other hosts' ({} s are allowed), so leases would end wrongly: let it follow a time server and start it again",
            self.inner.settings.clock_tolerance.as_secs()
        );
        std::process::exit(1);
    }

    /// Members whose clocks are too far from this host's.
    fn against(&self) -> Vec<Seen> {
        let allowed_ms = u64::try_from(self.inner.settings.clock_tolerance.as_millis()).unwrap_or(u64::MAX);
        let Some(seat) = self.seat() else { return Vec::new() };
        let clocks = self.inner.clocks.0.lock();
        let members = clocks.iter().filter(|(peer, _)| seat.member_of(**peer).is_some());
        members.map(|(_, seen)| seen).filter(|seen| seen.apart_ms > allowed_ms).cloned().collect()
    }

    pub(super) fn forget_clock(&self, peer: PeerId) {
        self.inner.clocks.0.lock().remove(&peer);
    }

    /// Whose clocks differ, in words.
    pub(super) fn differing_clocks(&self) -> Vec<String> {
        let (own, allowed) = (&self.inner.settings.node, self.inner.settings.clock_tolerance);
        self.against().iter().map(|seen| apart(&seen.node, own, seen.apart_ms, allowed)).collect()
    }
}

/// Whether it is this host's clock: most of the others are against it, or the only other one, which was there before it.
fn is_wrong(against: &[Seen], others: usize) -> bool {
    let alone = others == 1 && against.iter().any(|seen| !seen.older);
    against.len() * 2 > others && !alone
}

/// That two hosts' clocks are too far from each other.
pub(super) fn apart(one: &NodeId, other: &NodeId, apart_ms: u64, allowed: Duration) -> String {
    format!(
        "the clocks of {one} and {other} are {} s apart, at most {} s are allowed: let both follow a time server",
        apart_ms / 1_000,
        allowed.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(older: bool) -> Seen {
        Seen { node: "core-1".parse().expect("a node id"), apart_ms: 90_000, older }
    }

    #[test]
    fn most_others_are_right_and_of_two_the_one_that_was_there_before() {
        assert!(!is_wrong(&[], 2));
        assert!(!is_wrong(&[seen(true)], 2));
        assert!(is_wrong(&[seen(false), seen(false)], 2));
        assert!(is_wrong(&[seen(false), seen(true)], 3));
        assert!(is_wrong(&[seen(true)], 1));
        assert!(!is_wrong(&[seen(false)], 1));
        assert!(!is_wrong(&[], 0));
    }
}
