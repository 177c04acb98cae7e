//! Notices that the data directory is an older state of itself: a backup put back, a snapshot of a virtual machine, a disk that
//! lost what it said was written. Such a host forgot answers that it gave, so it would hand out again what others hold; and
//! it forgot what it told the ledger's leader, which ends at that. Nothing in the directory shows it, but other hosts heard
//! of this one's operations.
//!
//! A host that nobody can reach when it starts is not told. So each peer that appears later is asked as well.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Seq;
use net::PeerId;

use super::messages::{self, HelloAnswer, HelloAsk};
use super::{Cluster, door};

/// How long a start waits for configured peers that do not answer. They may be down, and then this host must serve.
const WITHIN: Duration = Duration::from_secs(3);

/// How often a peer is asked that does not answer.
const TIMES: usize = 5;

/// Others may read a group from this host's disk a moment before it is shown here.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// How far each peer that answered knows this host's own log.
pub(super) type Told = BTreeMap<PeerId, Seq>;

/// The data directory lacks what other hosts know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data directory is an older state of this host's disk: it ends with operation {}, and other hosts know of operation {}. \
     What it handed out in between is missing here and would be handed out again. Put the latest state back. If that is \
     lost, make the data directory anew from a backup with `nexus restore`, which lets this host join again as itself; or \
     `nexus cluster remove` this host on another one, give it an empty data directory, and let it join as a new host with \
     `nexus cluster join`",
    .own.0, .known.0
)]
pub(super) struct OldDisk {
    own: Seq,
    known: Seq,
}

/// Asks a peer that appeared. A host that serves already, and must not, ends.
pub(super) async fn ask(cluster: &Cluster, peer: PeerId) {
    let Some(through) = known_to(cluster, peer).await else { return };
    cluster.inner.told_of_us.send_modify(|told| _ = told.insert(peer, through));
    if cluster.seat().is_some()
        && let Err(error) = judge(cluster, through).await
    {
        tracing::error!(%peer, %error, "this host ends: it may not serve");
        std::process::exit(crate::EXIT_USAGE.into());
    }
}

/// How far a peer knows this host's own log.
async fn known_to(cluster: &Cluster, peer: PeerId) -> Option<Seq> {
    let ask = HelloAsk::Known { origin: cluster.inner.settings.origin };
    let (response, _) = door::say_hello(cluster, peer, &ask, TIMES).await?;
    match messages::read(&response.body) {
        Ok(HelloAnswer::Known { through }) => Some(through),
        Ok(_) | Err(_) => None,
    }
}

/// Before this host takes its seat: what do those know who can be reached?
pub(super) async fn look(cluster: &Cluster) -> Result<(), OldDisk> {
    let peers = cluster.inner.settings.net.peers.len();
    let own = own(cluster);
    let mut told = cluster.inner.told_of_us.subscribe();
    let enough = told.wait_for(|told| told.len() >= peers || told.values().any(|known| *known > own));
    // Those that answered in time count. Dropped at once: what it gives keeps peers from telling more.
    drop(tokio::time::timeout(WITHIN, enough).await);
    let known = cluster.inner.told_of_us.borrow().values().max().copied().unwrap_or_default();
    // What this process wrote meanwhile is not what others know.
    if known > own { Err(OldDisk { own, known }) } else { Ok(()) }
}

async fn judge(cluster: &Cluster, known: Seq) -> Result<(), OldDisk> {
    let mut committed = cluster.inner.parts.view.committed();
    // The view ends when the daemon does, and then nothing is handed out either.
    let shown = tokio::time::timeout(SHOWN_WITHIN, committed.wait_for(|own| *own >= known.0)).await.is_ok();
    if shown { Ok(()) } else { Err(OldDisk { own: own(cluster), known }) }
}

fn own(cluster: &Cluster) -> Seq {
    Seq(*cluster.inner.parts.view.committed().borrow())
}
