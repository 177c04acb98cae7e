//! Whether hosts that heard the same know the same. They must; if not, somebody has to look before it spreads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Fingerprint, News, Reply};
use net::PeerId;
use parking_lot::Mutex;

use super::Cluster;
use super::replicate::ask_kernel;

/// So many comparisons in a row must differ. The ledger takes pools away from each host at a moment of its own, with what is
/// reserved in them: that makes hosts differ for a moment, and is no mistake.
const IN_A_ROW: u32 = 3;

/// What this host knows, as last looked at, and with whom it did not agree.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    own: Mutex<Option<Fingerprint>>,
    /// Nobody was told it yet.
    is_new: AtomicBool,
    differing: Mutex<BTreeMap<PeerId, u32>>,
}

impl Agreement {
    /// As last looked at; `None` before that, and while a snapshot is taken in.
    pub(super) fn own(&self) -> Option<Fingerprint> {
        self.own.lock().clone()
    }

    /// The same, once for each look: comparing it again says nothing more.
    pub(super) fn say(&self) -> Option<Fingerprint> {
        if self.is_new.swap(false, Ordering::AcqRel) { self.own() } else { None }
    }

    /// It was not told after all.
    pub(super) fn say_again(&self) {
        self.is_new.store(true, Ordering::Release);
    }

    fn looked(&self, own: Option<Fingerprint>) {
        *self.own.lock() = own;
        self.is_new.store(true, Ordering::Release);
    }

    /// Peers that heard the same as this host and know something else.
    pub(super) fn differing(&self) -> Vec<PeerId> {
        self.differing.lock().iter().filter(|(_, times)| **times >= IN_A_ROW).map(|(peer, _)| *peer).collect()
    }

    /// Notes a comparison; how often in a row the peer differed.
    fn note(&self, peer: PeerId, theirs: &Fingerprint) -> u32 {
        let own = self.own.lock();
        let Some(own) = own.as_ref().filter(|own| own.is_of_the_same(theirs)) else { return 0 };
        let mut differing = self.differing.lock();
        if own.digest == theirs.digest {
            differing.remove(&peer);
            return 0;
        }
        let times = differing.entry(peer).or_default();
        *times = times.saturating_add(1);
        *times
    }
}

/// Looks at what this host knows now.
pub(super) async fn look(cluster: &Cluster) {
    let own = if cluster.inner.parts.vitals.percent_taken_over().is_some() {
        None
    } else {
        match ask_kernel(cluster, News::Fingerprint).await {
            Some(Reply::Fingerprint(fingerprint)) => Some(*fingerprint),
            Some(_) | None => return,
        }
    };
    cluster.inner.agreement.looked(own);
}

/// A member says what it knows.
pub(super) fn compare(cluster: &Cluster, peer: PeerId, theirs: &Fingerprint) {
    if !cluster.is_member(peer) {
        return;
    }
    let times = cluster.inner.agreement.note(peer, theirs);
    if times >= IN_A_ROW {
        cluster.inner.parts.vitals.digest_differs();
    }
    if times == IN_A_ROW {
        let own = cluster.inner.agreement.own().map(|own| own.digest.to_string()).unwrap_or_default();
        tracing::error!(
            %peer, theirs = %theirs.digest, own,
            "that host heard the same operations as this one and knows something else: one of the two must be made anew from the others"
        );
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Digest, Origin, Seq};

    use super::*;

    fn fingerprint(heard: u64, words: u64, digest: u128) -> Fingerprint {
        let origin = Origin { host: 1, incarnation: 1 };
        Fingerprint {
            heard: BTreeMap::from([(origin, Seq(heard))]),
            words: BTreeMap::from([(origin, Seq(words))]),
            digest: Digest(digest),
        }
    }

    #[test]
    fn only_hosts_that_heard_the_same_and_go_on_to_differ_are_told() {
        let agreement = Agreement::default();
        let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        assert_eq!(agreement.note(peer, &fingerprint(9, 5, 1)), 0);
        agreement.looked(Some(fingerprint(8, 5, 2)));
        assert_eq!(agreement.say(), Some(fingerprint(8, 5, 2)));
        assert_eq!((agreement.say(), agreement.own()), (None, Some(fingerprint(8, 5, 2))));
        // It knows an operation more.
        assert_eq!(agreement.note(peer, &fingerprint(9, 9, 1)), 0);
        for times in 1..IN_A_ROW {
            assert_eq!(agreement.note(peer, &fingerprint(9, 5, 1)), times);
        }
        assert_eq!(agreement.differing(), []);
        assert_eq!(agreement.note(peer, &fingerprint(9, 5, 1)), IN_A_ROW);
        assert_eq!(agreement.differing(), [peer]);
        assert_eq!(agreement.note(peer, &fingerprint(9, 5, 2)), 0);
        assert_eq!(agreement.differing(), []);
    }
}
