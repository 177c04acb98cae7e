//! Taking over the state of the cluster from one peer: what a host does whose peers' logs no longer reach back to what it
//! heard last, a new one or one that was away for long.
//!
//! The peer tells its newest checkpoint in parts, in the order of keys. If it is lost, the same one goes on where it was
//! left; another one begins again with its own. Until the end nothing counts as heard, the host takes no shards, is nobody's
//! home and hears nothing else; from then on the logs go on as ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::{Adopting, Fingerprint, News, Origin, Reply, Seq, SnapshotPart};
use net::{Channel, PeerId};
use store::{SnapshotCursor, SnapshotError};

use super::messages::{self, Cursor, SnapshotAnswer, StateAsk};
use super::replicate::ask_kernel;
use super::{Cluster, Vector, covers};

/// Words of one part, as they lie on the disk. On the wire they take up to about three times that.
const PART_BYTES: usize = 48 * 1024;

/// How long a part may take.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts, and how many in a row before another peer is asked.
const PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 30;

/// How often a checkpoint is asked for: each ends a log file.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Progress is told every so many per cent.
const TOLD_EVERY: u64 = 10;

/// A host that hands out asks so many peers for their logs before it stops handing out to take a snapshot: perhaps one of them
/// still has what is missing.
const OWNER_ASKS: u32 = 3;

/// How far it is.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    peer: PeerId,
    cursor: Cursor,
    percent: u64,
}

/// What came of one part.
enum Step {
    Further,
    /// All was told: `by` has nothing more up to this vector.
    Ended {
        by: Origin,
        vector: Vector,
    },
    /// Not now; why.
    Wait(String),
    /// What was taken in so far is of no use: from the beginning.
    Again(&'static str),
    /// This host hands out, so it takes no snapshot.
    Owner,
}

/// Takes over what the peer knows; comes back when it is done, or when the peer does not go on.
pub(super) async fn run(cluster: &Cluster, peer: PeerId) {
    let mut failed = 0;
    while failed < ATTEMPTS && !cluster.stopping().is_cancelled() {
        let why = match next_part(cluster, peer).await {
            Step::Further => {
                failed = 0;
                continue;
            }
            Step::Ended { by, vector } => match end(cluster, peer, by, vector).await {
                Ok(()) => return,
                Err(why) => {
                    *cluster.inner.takeover.lock() = None;
                    why.to_owned()
                }
            },
            Step::Wait(why) => why,
            Step::Again(why) => {
                *cluster.inner.takeover.lock() = None;
                why.to_owned()
            }
            Step::Owner => {
                *cluster.inner.takeover.lock() = None;
                let asked = cluster.inner.owner_asked.fetch_add(1, Ordering::AcqRel).saturating_add(1);
                if asked < OWNER_ASKS {
                    tracing::warn!(%peer, "its log does not reach back far enough for this host, which has shards: others are asked");
                    return;
                }
                if asked == OWNER_ASKS {
                    tracing::warn!(
                        "no log reaches back far enough: this host hands out nothing until it has taken over the state of the cluster"
                    );
                }
                cluster.inner.parts.vitals.takes_over(Some(0));
                cluster.inner.bell.notify_waiters();
                "the kernel still hands out".to_owned()
            }
        };
        failed += 1;
        tracing::debug!(%peer, why, "the state of the cluster is not told further now");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = cluster.stopping().cancelled() => return,
        }
    }
}

async fn next_part(cluster: &Cluster, peer: PeerId) -> Step {
    let under_way = cluster.inner.takeover.lock().clone().filter(|known| known.peer == peer);
    let known = match &under_way {
        Some(_) => Vector::new(),
        None => match known(cluster).await {
            Some(known) => known,
            None => return Step::Wait("the kernel does not answer".to_owned()),
        },
    };
    let cursor = under_way.as_ref().map(|known| known.cursor.clone());
    let first = cursor.is_none();
    let ask = messages::write(&StateAsk::Snapshot { cursor, known });
    let answer = match cluster.inner.net.request(peer, Channel::State, ask, PART_TIMEOUT).await {
        Ok(response) => cluster.read::<SnapshotAnswer>(peer, &response.body),
        Err(error) => return Step::Wait(error.to_string()),
    };
    let (part, next, passed, total) = match answer {
        Ok(SnapshotAnswer::Part { part, next, passed, total }) if part.first == first => (part, next, passed, total),
        Ok(SnapshotAnswer::Part { .. }) => return Step::Wait("the peer answers something else".to_owned()),
        Ok(SnapshotAnswer::Restart) => return Step::Again("the peer does not have this checkpoint any more"),
        Ok(SnapshotAnswer::NotYet(why)) | Err(why) => return Step::Wait(why),
    };
    let (by, vector) = (part.by, part.vector.clone());
    let Some(_until_heard) = cluster.hears(peer).await else { return Step::Again("the peer is no member any more") };
    match ask_kernel(cluster, News::Snapshot(Arc::new(part))).await {
        Some(Reply::Adopting(Adopting::Taken)) => {}
        Some(Reply::Adopting(Adopting::Later)) => return Step::Wait("the ledger's word is missing here".to_owned()),
        Some(Reply::Adopting(Adopting::Behind(_))) => return Step::Again("the peer's checkpoint is too old"),
        Some(Reply::Adopting(Adopting::Unknown)) => return Step::Again("what was told before is forgotten"),
        Some(Reply::Adopting(Adopting::Owner)) => return Step::Owner,
        Some(_) | None => return Step::Wait("the kernel does not answer".to_owned()),
    }
    let percent = passed.saturating_mul(100).checked_div(total).unwrap_or(100).min(99);
    let before = under_way.map_or(0, |known| known.percent);
    if first {
        tracing::info!(%peer, words = total, "this host takes over the state of the cluster");
    } else if percent / TOLD_EVERY > before / TOLD_EVERY {
        tracing::info!(%peer, percent, "this host takes over the state of the cluster");
    }
    cluster.inner.parts.vitals.takes_over(Some(percent));
    if first {
        // Whom this host answers, and what it may take, is another matter now.
        cluster.inner.bell.notify_waiters();
    }
    match next {
        Some(cursor) => {
            *cluster.inner.takeover.lock() = Some(Takeover { peer, cursor, percent });
            Step::Further
        }
        None => Step::Ended { by, vector },
    }
}

/// What a snapshot must cover.
async fn known(cluster: &Cluster) -> Option<Vector> {
    let Some(Reply::Fingerprint(fingerprint)) = ask_kernel(cluster, News::Fingerprint).await else { return None };
    let Fingerprint { mut heard, words, .. } = *fingerprint;
    let own = cluster.inner.settings.origin;
    heard.insert(own, words.get(&own).copied().unwrap_or_default());
    Some(heard)
}

async fn end(cluster: &Cluster, peer: PeerId, by: Origin, vector: Vector) -> Result<(), &'static str> {
    let Some(_until_heard) = cluster.hears(peer).await else { return Err("the peer is no member any more") };
    loop {
        match ask_kernel(cluster, News::SnapshotEnd { by, vector: vector.clone() }).await {
            Some(Reply::Adopting(Adopting::Going { .. })) => {}
            Some(Reply::Adopting(Adopting::Done)) => break,
            Some(_) => return Err("the kernel takes no end of it"),
            None => return Err("the kernel does not answer"),
        }
    }
    let own = cluster.inner.settings.origin;
    cluster.inner.heard.send_modify(|heard| {
        for (origin, through) in vector.into_iter().filter(|(origin, _)| *origin != own) {
            let known = heard.entry(origin).or_default();
            *known = (*known).max(through);
        }
    });
    *cluster.inner.takeover.lock() = None;
    cluster.inner.owner_asked.store(0, Ordering::Release);
    cluster.inner.parts.vitals.takes_over(None);
    // What the ledger gave to this host counts again.
    cluster.inner.parts.vitals.tell_again();
    cluster.inner.bell.notify_waiters();
    tracing::info!("this host has taken over the state of the cluster");
    Ok(())
}

/// The next part for a peer. Blocking.
pub(super) fn answer(cluster: &Cluster, cursor: Option<Cursor>, known: &Vector) -> SnapshotAnswer {
    if cluster.inner.parts.vitals.percent_taken_over().is_some() {
        return SnapshotAnswer::NotYet("this host takes over the state of the cluster itself".to_owned());
    }
    let reader = &cluster.inner.parts.reader;
    let first = cursor.is_none();
    if first {
        let checkpoint = reader.snapshot_vector().map(|vector| own_named(cluster, &vector));
        if !checkpoint.is_some_and(|vector| covers(&vector, known)) {
            return SnapshotAnswer::NotYet(want_checkpoint(cluster, known));
        }
    }
    let cursor = cursor.map(|Cursor { table, after, passed }| SnapshotCursor { table, after, passed });
    match reader.snapshot(cursor, PART_BYTES) {
        Ok(run) => {
            let vector = own_named(cluster, &run.vector);
            let part = SnapshotPart::pack(cluster.inner.settings.origin, vector, first, &run.ops, cluster);
            let next = run.next.map(|SnapshotCursor { table, after, passed }| Cursor { table, after, passed });
            SnapshotAnswer::Part { part, next, passed: run.passed, total: run.total }
        }
        Err(SnapshotError::Restart { .. }) => SnapshotAnswer::Restart,
        Err(SnapshotError::NoCheckpoint) => SnapshotAnswer::NotYet(want_checkpoint(cluster, known)),
        Err(error @ SnapshotError::CursorInvalid { .. }) => SnapshotAnswer::NotYet(error.to_string()),
        Err(error @ SnapshotError::Store(_)) => {
            tracing::error!(%error, "this host's checkpoint cannot be read for others");
            SnapshotAnswer::NotYet("this host's checkpoint cannot be read".to_owned())
        }
    }
}

/// Has a checkpoint written if that is what is missing; says what is.
fn want_checkpoint(cluster: &Cluster, known: &Vector) -> String {
    if !covers(&cluster.vector(), known) {
        return "this host has not heard yet what you know".to_owned();
    }
    let mut wanted = cluster.inner.checkpoint_wanted.lock();
    if wanted.is_none_or(|wanted| wanted.elapsed() >= CHECKPOINT_EVERY) {
        *wanted = Some(std::time::Instant::now());
        let mut store = cluster.inner.parts.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = store.want_checkpoint() {
            // The next group meets the same disk, and has somebody to tell.
            tracing::warn!(%error, "no checkpoint can be written for another host");
        }
    }
    "a checkpoint is being written".to_owned()
}

fn own_named(cluster: &Cluster, vector: &BTreeMap<Option<Origin>, Seq>) -> Vector {
    let own = cluster.inner.settings.origin;
    vector.iter().map(|(of, through)| (of.unwrap_or(own), *through)).collect()
}
