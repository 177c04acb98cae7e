//! Answers that wait until another host has them: what this host wrote is pushed to every other one that owns shards, and
//! the first that has it on its disk counts. Who does not answer in time is not waited for; the answer says so.
//!
//! Each host that is pushed to has one message under way, and the next one begins where it said it ends. So pushes have no
//! gaps, what was gossiped meanwhile is passed over, and a slow host gets more at once instead of more messages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::ledger::HostRole;
use kernel::{Durability, Origin, Seq};
use net::{Channel, PeerId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::messages::{self, PushAnswer, StateAsk};
use super::replicate::{PULL_BYTES, pack};
use super::{Cluster, Vector};
use crate::driver::Parcel;

/// Groups whose answers wait at once. With so many under way the flusher waits.
const UNDER_WAY: usize = 64;

/// A push that takes longer is tried again.
const PUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// After a push that brought nothing; doubled each time, up to [`LOOK_AGAIN`].
const PAUSE: Duration = Duration::from_millis(10);

/// How long a host that is about to get shards may take to hear the last of them.
const BROUGHT_UP_WITHIN: Duration = Duration::from_secs(15);

/// How often it is looked who is there although nothing was heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A host that lacks more of this host's operations pulls them; pushing would only come in between.
const FAR_BEHIND: u64 = 20_000;

/// Which of this host's own operations are wanted elsewhere, and which are there.
#[derive(Debug)]
pub(super) struct Acks {
    /// Answers wait for another host to have everything through here.
    wanted: watch::Sender<Seq>,
    /// Some other host has everything through here, on its disk.
    reached: watch::Sender<Seq>,
    /// How many hosts are pushed to.
    pushed_to: watch::Sender<usize>,
    /// Some other host said what it has.
    pub(super) heard: Notify,
}

impl Default for Acks {
    fn default() -> Self {
        let (wanted, _) = watch::channel(Seq::default());
        let (reached, _) = watch::channel(Seq::default());
        let (pushed_to, _) = watch::channel(0);
        Self { wanted, reached, pushed_to, heard: Notify::new() }
    }
}

impl Acks {
    /// Has everything up to there pushed, and waits until another host has it on its disk, until there is none to push to, or until
    /// then.
    pub(super) async fn reach(&self, through: Seq, until: Instant) -> Durability {
        let (mut reached, mut pushed_to) = (self.reached.subscribe(), self.pushed_to.subscribe());
        raise(&self.wanted, through);
        tokio::select! {
            biased;
            reached = reached.wait_for(|reached| *reached >= through) => {
                if reached.is_ok() { Durability::Peer } else { Durability::Local }
            }
            _ = pushed_to.wait_for(|count| *count == 0) => Durability::Local,
            () = tokio::time::sleep_until(until) => Durability::Local,
        }
    }
}

fn raise(to: &watch::Sender<Seq>, seq: Seq) {
    to.send_if_modified(|known| {
        let higher = *known < seq;
        *known = (*known).max(seq);
        higher
    });
}

impl Cluster {
    /// A peer says what it has, on its disk.
    pub(super) fn acknowledge(&self, peer: PeerId, vector: Vector) {
        let own = vector.get(&self.inner.settings.origin).copied();
        self.inner.acknowledged.lock().insert(peer, vector);
        self.inner.acks.heard.notify_one();
        let written = Seq(*self.inner.parts.view.committed().borrow());
        // Who knows more of this host's log than this host speaks of another one, which was on this disk before.
        if let Some(seq) = own.filter(|seq| *seq <= written)
            && self.others().contains(&peer)
        {
            raise(&self.inner.acks.reached, seq);
        }
    }

    /// The other members whose disks count, reachable or not.
    fn others(&self) -> BTreeSet<PeerId> {
        let Some(seat) = self.seat() else { return BTreeSet::new() };
        let ledger = seat.book.ledger();
        let keeps = |role| match role {
            HostRole::Core | HostRole::Write => true,
            HostRole::Read | HostRole::Edge => false,
        };
        let others = ledger.members().values().filter(|member| member.id != seat.me && keeps(member.role));
        others.filter_map(|member| member.peer.parse().ok()).collect()
    }

    /// How far a peer said that it has this host's operations.
    fn known_to(&self, peer: PeerId) -> Option<Seq> {
        self.said_by(peer, self.inner.settings.origin)
    }

    /// How far a peer said last that it has an origin's operations, on its disk; `None`: it said nothing yet.
    pub(super) fn said_by(&self, peer: PeerId, origin: Origin) -> Option<Seq> {
        let acknowledged = self.inner.acknowledged.lock();
        let vector = acknowledged.get(&peer)?;
        Some(vector.get(&origin).copied().unwrap_or_default())
    }
}

/// Sends answers on when another host has them, or when they waited long enough.
pub(super) async fn deliver(cluster: Cluster, mut parcels: mpsc::Receiver<Parcel>) {
    let mut waiting = JoinSet::new();
    loop {
        tokio::select! {
            parcel = parcels.recv(), if waiting.len() < UNDER_WAY => match parcel {
                Some(parcel) => _ = waiting.spawn(wait(cluster.clone(), parcel)),
                None => break,
            },
            Some(_) = waiting.join_next() => {}
            () = cluster.stopping().cancelled() => break,
        }
    }
    parcels.close();
    while let Some(parcel) = parcels.recv().await {
        parcel.leave(Durability::Local);
    }
    // They see the end too.
    while waiting.join_next().await.is_some() {}
}

async fn wait(cluster: Cluster, parcel: Parcel) {
    let durability = tokio::select! {
        durability = cluster.inner.acks.reach(parcel.through(), parcel.until().into()) => durability,
        () = cluster.stopping().cancelled() => Durability::Local,
    };
    cluster.inner.parts.vitals.acknowledged(durability, parcel.answers());
    parcel.leave(durability);
}

/// Keeps a pusher for every other member that is connected and whose disk counts.
pub(super) async fn push(cluster: Cluster) {
    let mut pushers = JoinSet::new();
    let mut served: BTreeMap<PeerId, AbortHandle> = BTreeMap::new();
    loop {
        let others = cluster.others();
        cluster.inner.parts.standing.set_others(!others.is_empty());
        served.retain(|_, pusher| !pusher.is_finished());
        for peer in cluster.inner.net.connected().into_iter().filter(|peer| others.contains(peer)) {
            served.entry(peer).or_insert_with(|| pushers.spawn(push_to(cluster.clone(), peer)));
        }
        cluster.inner.acks.pushed_to.send_replace(served.len());
        tokio::select! {
            Some(_) = pushers.join_next() => {}
            () = cluster.inner.bell.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = cluster.stopping().cancelled() => break,
        }
    }
    while pushers.join_next().await.is_some() {}
}

/// Until the peer is gone, or its disk counts no more.
async fn push_to(cluster: Cluster, peer: PeerId) {
    let mut wanted = cluster.inner.acks.wanted.subscribe();
    let mut pause = PAUSE;
    loop {
        let there = cluster.inner.net.connected().contains(&peer) && cluster.others().contains(&peer);
        if !there || cluster.stopping().is_cancelled() {
            return;
        }
        let target = *wanted.borrow_and_update();
        let known = cluster.known_to(peer);
        let behind = known.map(|known| target.0.saturating_sub(known.0));
        let progress = match behind {
            Some(0 | FAR_BEHIND..) => None,
            Some(_) | None => Some(push_once(&cluster, peer, known).await),
        };
        let sleep = match progress {
            Some(true) => {
                pause = PAUSE;
                continue;
            }
            Some(false) => {
                pause = (pause * 2).min(LOOK_AGAIN);
                pause
            }
            None => LOOK_AGAIN,
        };
        tokio::select! {
            changed = wanted.changed(), if progress.is_none() => if changed.is_err() { return },
            () = tokio::time::sleep(sleep) => {}
            () = cluster.stopping().cancelled() => return,
        }
    }
}

/// Pushes until the peer has this host's log up to there on its disk; false: that takes too long.
pub(super) async fn bring_up(cluster: &Cluster, peer: PeerId, through: Seq) -> bool {
    let until = Instant::now() + BROUGHT_UP_WITHIN;
    loop {
        let known = cluster.known_to(peer);
        if known.is_some_and(|known| known >= through) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        if !push_once(cluster, peer, known).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Pushes what follows on what the peer has; nothing, only to ask, if that is unknown. Says whether more is known or there
/// then.
async fn push_once(cluster: &Cluster, peer: PeerId, known: Option<Seq>) -> bool {
    let own = cluster.inner.settings.origin;
    let (after, run) = match known {
        Some(after) => {
            let reader = cluster.inner.parts.reader.clone();
            let run = tokio::task::spawn_blocking(move || reader.operations(None, after, PULL_BYTES)).await;
            let Ok(Ok(run)) = run else {
                // It asks for it itself, and is told why it cannot be read.
                return false;
            };
            (after, Some(run))
        }
        None => (Seq(*cluster.inner.parts.view.committed().borrow()), None),
    };
    let (through, ops) = run.map_or((after, Vec::new()), |run| (run.through.max(after), run.ops));
    let batch = pack(cluster, own, after, through, &ops);
    let ask = messages::write(&StateAsk::Push(batch));
    let answer = match cluster.inner.net.request(peer, Channel::State, ask, PUSH_TIMEOUT).await {
        Ok(response) => cluster.read::<PushAnswer>(peer, &response.body),
        Err(error) => {
            tracing::debug!(%peer, %error, "nothing pushed");
            return false;
        }
    };
    match answer {
        Ok(PushAnswer { vector }) => {
            cluster.acknowledge(peer, vector);
            cluster.known_to(peer) > known
        }
        Err(why) => {
            tracing::warn!(%peer, why, "an answer is not usable");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_to_reach_another_host_is_pushed_and_waited_for_if_there_is_one() {
        let acks = Acks::default();
        let until = Instant::now() + Duration::from_hours(1);
        assert_eq!(acks.reach(Seq(3), until).now_or_never(), Some(Durability::Local), "nobody is there");
        acks.pushed_to.send_replace(1);
        let mut reached = Box::pin(acks.reach(Seq(5), until));
        assert_eq!(reached.as_mut().now_or_never(), None);
        assert_eq!(*acks.wanted.borrow(), Seq(5));
        raise(&acks.reached, Seq(4));
        assert_eq!(reached.as_mut().now_or_never(), None);
        raise(&acks.reached, Seq(6));
        assert_eq!(reached.as_mut().now_or_never(), Some(Durability::Peer));
        assert_eq!(acks.reach(Seq(7), Instant::now()).await, Durability::Local, "it is too late");
    }
}
