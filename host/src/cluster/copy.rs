//! Notices that another process runs under this host's identity: a cloned machine, a snapshot that was started beside its original.
//! Both would hand out from the same shards.
//!
//! No host lets a second process of one identity in beside the first, and it tells the second: whoever was there first stays. Two
//! that reach each other notice it themselves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::PeerId;

use super::{Cluster, seat};
use crate::clock;

/// How long a refusal counts: whoever refuses is dialed again within 5 s, but at the next of its addresses, which may be dead for
/// the 10 s that a dial may take.
const FRESH: Duration = Duration::from_secs(21);

/// Who is refused for so long is not taken for a process that came back: within 5 s hosts notice that one is gone that could not
/// say so, and within 5 s more they are dialed again.
const LASTING: Duration = Duration::from_secs(15);

/// How long another process that was met is shown.
const SHOWN: Duration = Duration::from_mins(1);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Other processes of this host's identity.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// One that this process met itself: where, and when.
    met: Option<(String, Instant)>,
    /// Hosts that do not let this process in.
    refusals: BTreeMap<PeerId, Refusal>,
}

#[derive(Debug)]
struct Refusal {
    address: String,
    since: Instant,
    last: Instant,
}

impl Refusal {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < FRESH
    }

    fn lasts(&self) -> bool {
        self.last.saturating_duration_since(self.since) >= LASTING
    }

    fn place(&self) -> String {
        format!("with which the host at {} is connected", self.address)
    }
}

impl Copies {
    /// Gives true if that begins.
    fn refused(&mut self, by: PeerId, address: String, now: Instant) -> bool {
        self.refusals.retain(|_, refusal| now.saturating_duration_since(refusal.last) < SHOWN);
        let since = self.refusals.get(&by).filter(|refusal| refusal.counts(now)).map(|refusal| refusal.since);
        self.refusals.insert(by, Refusal { address, since: since.unwrap_or(now), last: now });
        since.is_none()
    }

    /// Some host refuses this process, as far as is known.
    fn is_refused(&self, now: Instant) -> bool {
        self.refusals.values().any(|refusal| refusal.counts(now))
    }

    /// Some host went on refusing it.
    fn lasting(&self, now: Instant) -> Option<String> {
        self.refusals.values().find(|refusal| refusal.counts(now) && refusal.lasts()).map(Refusal::place)
    }

    fn shown(&self, now: Instant) -> Option<String> {
        let recent = |at: Instant| now.saturating_duration_since(at) < SHOWN;
        let met = self.met.as_ref().filter(|(_, at)| recent(*at)).map(|(place, _)| place.clone());
        met.or_else(|| self.refusals.values().find(|refusal| recent(refusal.last)).map(Refusal::place))
    }
}

/// This process's place in the cluster is taken by another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another process {place} uses this host's p2p.key, so one of the two runs on a copy of the other's directory, and both would \
     hand out the same. If this is the copy, delete its directory and join it anew; if it is not, stop the other one first"
)]
pub(super) struct PlaceTaken {
    place: String,
}

/// Before this host takes its seat: whoever refuses it must let it in, or not answer any more.
pub(super) async fn look(cluster: &Cluster) -> Result<(), PlaceTaken> {
    loop {
        {
            let copies = cluster.inner.copies.lock();
            if let Some(place) = copies.lasting(Instant::now()) {
                return Err(PlaceTaken { place });
            }
            if !copies.is_refused(Instant::now()) {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Another process was met at an address.
pub(super) fn met(cluster: &Cluster, address: &str) {
    let place = format!("at {address}");
    let former = cluster.inner.copies.lock().met.replace((place.clone(), Instant::now()));
    // It is met again and again.
    if former.is_none_or(|(_, at)| at.elapsed() >= SHOWN) {
        tracing::error!(
            place,
            "another host uses this host's p2p.key, so one of the two runs on a copy of the other's directory: stop the copy, delete its directory and join it anew"
        );
    }
    if let Some(seat) = cluster.seat() {
        end_if_copy(cluster, &seat);
    }
}

/// A host at an address does not let this process in. One that has the node lease stays: the other one came when it was cut off.
pub(super) fn refused(cluster: &Cluster, by: PeerId, address: &str) {
    let (begins, lasting) = {
        let mut copies = cluster.inner.copies.lock();
        (copies.refused(by, address.to_owned(), Instant::now()), copies.lasting(Instant::now()))
    };
    if begins {
        tracing::warn!(
            address,
            "a host does not let this one in: it is connected with another process that uses this host's p2p.key, or was a moment ago"
        );
    }
    // Before it has a seat, its start looks after that.
    if let Some(place) = lasting
        && cluster.seat().is_some()
        && clock::boot_ms() >= cluster.lease_until_ms()
    {
        let why = PlaceTaken { place };
        tracing::error!("this host ends: {why}");
        std::process::exit(crate::EXIT_USAGE.into());
    }
}

/// A host let this process in.
pub(super) fn let_in(cluster: &Cluster, by: PeerId) {
    cluster.inner.copies.lock().refusals.remove(&by);
}

/// Of two processes that met, the one ends of which the ledger does not know: that is the copy. It may know of the other one before
/// it has its part of the ledger.
pub(super) fn end_if_copy(cluster: &Cluster, seat: &seat::Seat) {
    let Some((place, _)) = cluster.inner.copies.lock().met.clone() else { return };
    let renewed_by = seat.book.ledger().member(seat.me).and_then(|member| member.lease.nonce);
    if renewed_by.is_some_and(|nonce| nonce != cluster.nonce()) {
        tracing::error!(
            place,
            "this host ends: another one that uses its p2p.key holds its node lease, so this one runs on a copy of that one's directory: delete it and join anew"
        );
        std::process::exit(crate::EXIT_USAGE.into());
    }
}

impl Cluster {
    /// Where another process runs under this host's identity, in words, if there is one.
    pub(super) fn copy(&self) -> Option<String> {
        self.inner.copies.lock().shown(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: char) -> PeerId {
        let name = format!("12D3KooWHimMF6C8s3bdpRuQCQUgifxK94vU6L8SZp4YXxSNbAn{last}");
        name.parse().expect("a peer")
    }

    #[test]
    fn who_is_let_in_after_a_while_was_not_refused_for_good() {
        let (mut copies, start) = (Copies::default(), Instant::now());
        for seconds in [0, 1, 3, 8] {
            let now = start + Duration::from_secs(seconds);
            copies.refused(peer('8'), "a".to_owned(), now);
            assert!(copies.is_refused(now) && copies.lasting(now).is_none(), "{seconds}");
        }
        let now = start + Duration::from_secs(9);
        copies.refusals.remove(&peer('8'));
        assert!(!copies.is_refused(now));
    }

    #[test]
    fn who_is_refused_on_and_on_is_a_second_one_whoever_else_lets_it_in() {
        let (mut copies, start) = (Copies::default(), Instant::now());
        for seconds in [0, 5, 10, 15] {
            copies.refused(peer('8'), "a".to_owned(), start + Duration::from_secs(seconds));
            copies.refusals.remove(&peer('9'));
        }
        let now = start + Duration::from_secs(16);
        assert_eq!(copies.lasting(now).as_deref(), Some("with which the host at a is connected"));
    }

    #[test]
    fn a_host_that_refused_once_and_is_gone_refuses_nobody() {
        let (mut copies, start) = (Copies::default(), Instant::now());
        copies.refused(peer('8'), "a".to_owned(), start);
        assert!(!copies.is_refused(start + FRESH));
        // It came back, which begins anew.
        let later = start + FRESH;
        copies.refused(peer('8'), "a".to_owned(), later);
        assert!(copies.is_refused(later) && copies.lasting(later).is_none());
        assert_eq!(copies.shown(later + SHOWN), None);
    }
}
