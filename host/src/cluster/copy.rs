//! Notices that another process runs under this host's identity: a cloned machine, a snapshot that was started beside its original.
//! Both would hand out from the same shards.
//!
//! No host lets a second process of one identity in beside the first, and it tells the second. Two that reach each other notice
//! it themselves.

use std::time::{Duration, Instant};

use super::{Cluster, seat};

/// How long after it was met another process is taken to be there: whoever is refused tries again every few seconds.
const COUNTS: Duration = Duration::from_mins(1);

/// How long a start goes on trying while hosts are connected with another process. They notice within 5 s that one is gone that
/// cannot say so, and are dialed again within 5 s.
const WITHIN: Duration = Duration::from_secs(12);

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where another process was met last, in words, and when.
pub(super) type Met = (String, Instant);

/// Another process of this host's identity takes part in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another process {place} uses this host's p2p.key, so one of the two runs on a copy of the other's directory, and both would \
     hand out the same. If this is the copy, delete its directory and join it anew; if it is not, stop the other one first"
)]
pub(super) struct RunsElsewhere {
    place: String,
}

/// Before this host takes its seat: is its place taken?
pub(super) async fn look(cluster: &Cluster) -> Result<(), RunsElsewhere> {
    let until = Instant::now() + WITHIN;
    while let Some(place) = cluster.copy() {
        if Instant::now() >= until {
            return Err(RunsElsewhere { place });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Another process was met.
pub(super) fn met(cluster: &Cluster, place: String) {
    // It is met again and again.
    if cluster.copy().is_none() {
        tracing::error!(
            place,
            "another host uses this host's p2p.key, so one of the two runs on a copy of the other's directory: stop the copy, delete its directory and join it anew"
        );
    }
    *cluster.inner.copy.lock() = Some((place, Instant::now()));
    if let Some(seat) = cluster.seat() {
        end_if_copy(cluster, &seat);
    }
}

/// Of two processes that run, the one ends of which the ledger does not know: that is the copy.
pub(super) fn end_if_copy(cluster: &Cluster, seat: &seat::Seat) {
    let Some(place) = cluster.copy() else { return };
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
        self.inner.copy.lock().clone().filter(|(_, met)| met.elapsed() < COUNTS).map(|(place, _)| place)
    }
}
