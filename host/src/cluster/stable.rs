//! Tells the kernel how far a majority of the voters has this host's own log: what waits for that is handed out again, or answered.

use std::time::Duration;

use kernel::{MemberId, News, Seq};

use super::Cluster;
use super::follow::note;
use super::seat::Seat;

/// How often it is looked although nobody said anything: who votes may have changed, and who votes alone is the majority.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// After a word to the kernel: under load others say all the time what they have.
const PAUSE: Duration = Duration::from_millis(50);

/// Of its own, as whoever waits is answered by it, and everything else that looks at the cluster asks other hosts in between.
pub(super) async fn say(cluster: Cluster) {
    let (mut said, mut rebuilds) = (Seq(0), 0);
    loop {
        tokio::select! {
            () = cluster.inner.acks.heard.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        if cluster.is_another_life(&seat, &seat.book.ledger()) {
            continue;
        }
        // A kernel that was made again knows nothing of it.
        let made = cluster.inner.parts.vitals.rebuilds();
        if std::mem::replace(&mut rebuilds, made) != made {
            said = Seq(0);
        }
        let Some(through) = known_to_majority(&cluster, &seat).filter(|through| *through > said) else { continue };
        if note(&cluster, News::Stable { through }).await.is_ok() {
            said = through;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How far a majority of the voters has this host's own log.
fn known_to_majority(cluster: &Cluster, seat: &Seat) -> Option<Seq> {
    let own = cluster.inner.settings.origin;
    // Before it is looked who votes: what is counted by voters of before was said before this host knew of others.
    let acknowledged = cluster.inner.acknowledged.lock();
    let known_to = |voter: &MemberId| {
        if *voter == seat.me {
            return Seq(*cluster.inner.parts.view.committed().borrow());
        }
        let vector = seat.peer_of(*voter).and_then(|peer| acknowledged.get(&peer));
        vector.and_then(|vector| vector.get(&own)).copied().unwrap_or_default()
    };
    let mut known: Vec<Seq> = seat.voters().iter().map(known_to).collect();
    known.sort_unstable_by(|one, other| other.cmp(one));
    let majority = known.len() / 2;
    known.get(majority).copied()
}
