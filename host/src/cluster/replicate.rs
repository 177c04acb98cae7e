//! Facts on their way: this host's own are gossiped as they are flushed, others' are taken in as they come, and what got lost
//! is pulled. Gossip is a hint; pulling is what makes sure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use api::engine::EngineError;
use kernel::ledger::Member;
use kernel::{Batch, Command, Dot, NamedRealm, Names, News, Origin, PoolUid, RealmUid, Reply, Revision, Seq};
use net::{Channel, PeerId};
use store::RunError;
use tokio::sync::{RwLockReadGuard, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::messages::{self, PushAnswer, StateAnswer, StateAsk};
use super::seat::Seat;
use super::{Cluster, Vector, agreement, takeover};

/// Batches that wait to be taken in.
pub(super) const HINTS: usize = 1_024;

/// Of them so many go into one commit group.
const AT_ONCE: usize = 32;

/// Gossip carries at most so much, as it lies on the disk. On the wire that takes up to about twice the room.
const GOSSIP_BYTES: usize = 20 * 1024;

/// Operations of one answer, as they lie on the disk. On the wire they take up to about twice that.
pub(super) const PULL_BYTES: usize = 64 * 1024;

/// The most of an answer's operations, whatever they weigh.
const PULL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often others are asked while a member can be heard through them only.
const THROUGH_OTHERS: Duration = Duration::from_millis(500);

/// Peers that wait to be asked.
pub(super) const PULLS: usize = 64;

/// Something heard of.
#[derive(Debug)]
pub(super) struct Hint {
    pub(super) from: PeerId,
    pub(super) batch: Arc<Batch>,
}

/// Gossips what this host writes.
pub(super) async fn publish(cluster: Cluster) {
    let mut committed = cluster.inner.parts.view.committed();
    let mut published = Seq(*committed.borrow_and_update());
    let mut looked = published;
    loop {
        tokio::select! {
            changed = committed.changed() => if changed.is_err() { return },
            () = cluster.stopping().cancelled() => return,
        }
        if cluster.seat().is_none() {
            continue;
        }
        let last = Seq(*committed.borrow_and_update());
        while looked < last {
            // Little, and just written: it is not worth a thread of its own.
            let Ok(run) = cluster.inner.parts.reader.operations(None, looked, GOSSIP_BYTES) else {
                // Whoever misses it pulls it, or is told why it cannot be read.
                (published, looked) = (last, last);
                break;
            };
            looked = run.through.max(Seq(looked.0 + 1));
            let batch = pack(&cluster, cluster.inner.settings.origin, published, run.through, &run.ops);
            if batch.ops.is_empty() {
                continue;
            }
            published = batch.through;
            if let Err(error) = cluster.inner.net.publish(messages::write(&batch)).await {
                tracing::debug!(%error, "a hint was not gossiped; it will be pulled");
            }
        }
    }
}

pub(super) fn pack(cluster: &Cluster, origin: Origin, after: Seq, through: Seq, ops: &[kernel::Op]) -> Batch {
    Batch::pack(origin, after, through, ops, cluster)
}

impl Names for Cluster {
    fn realm(&self, uid: RealmUid) -> Option<NamedRealm> {
        self.inner.parts.view.realm(uid).map(|realm| (realm.tenant.clone(), realm.name.clone()))
    }

    fn revision(&self, pool: PoolUid) -> Option<Revision> {
        // The disk may be a moment ahead of the view, and was written by a kernel that the ledger told of the record first; at the
        // start the view has all of the disk and the ledger is yet to be read.
        let shown = self.inner.parts.view.pool_by_uid(pool).map(|pool| pool.revision);
        let told = self.seat().and_then(|seat| Some(seat.book.ledger().pool(pool)?.record.revision));
        shown.max(told)
    }
}

/// Takes in what others gossip, in the order in which it came: all that waits in one commit group, or hearing would be slower
/// than several hosts write.
pub(super) async fn hear(cluster: Cluster, mut hints: mpsc::Receiver<Hint>) {
    let mut waiting = Vec::with_capacity(AT_ONCE);
    loop {
        tokio::select! {
            count = hints.recv_many(&mut waiting, AT_ONCE) => if count == 0 { return },
            () = cluster.stopping().cancelled() => return,
        }
        let hints = std::mem::take(&mut waiting);
        if is_taking_over(&cluster) {
            continue;
        }
        let (mut fresh, mut heard) = (Vec::new(), cluster.vector());
        for Hint { from, batch } in hints {
            let known = heard.entry(batch.origin).or_default();
            if batch.through <= *known {
                cluster.inner.parts.vitals.heard_again();
            } else if batch.after <= *known {
                *known = batch.through;
                fresh.push((from, batch));
            } else {
                cluster.pull_from(from);
            }
        }
        for ((from, batch), reached) in fresh.clone().into_iter().zip(take_in(&cluster, fresh).await) {
            if reached.is_some_and(|reached| reached < batch.through) {
                cluster.pull_from(from);
            }
        }
    }
}

/// Hands batches that peers told to the kernel, in this order; gives for each how far its origin is known then, on this host's
/// disk. Those of peers that are not listened to are passed over.
async fn take_in(cluster: &Cluster, told: Vec<(PeerId, Arc<Batch>)>) -> Vec<Option<Seq>> {
    let own = cluster.inner.settings.origin;
    let _until_heard = cluster.inner.hearing.read().await;
    let told = told.into_iter().map(|(peer, batch)| (batch.origin != own && cluster.listens_to(peer)).then_some(batch));
    let told: Vec<Option<Arc<Batch>>> = told.collect();
    let news = told.iter().flatten().cloned().map(News::Batch).collect();
    let mut replies = tell_kernel(cluster, news).await.into_iter();
    let mut reached = Vec::with_capacity(told.len());
    cluster.inner.heard.send_modify(|heard| {
        for batch in told {
            let reply = batch.as_ref().and_then(|_| replies.next().flatten());
            let (Some(batch), Some(Reply::Heard(Dot { origin, seq }))) = (batch, reply) else {
                reached.push(None);
                continue;
            };
            cluster.inner.parts.vitals.heard(batch.ops.len());
            let known = heard.entry(origin).or_default();
            *known = (*known).max(seq);
            reached.push(Some(seq));
        }
    });
    reached
}

/// The kernel's answer to news, as soon as what they made it write is on the disk.
pub(super) async fn ask_kernel(cluster: &Cluster, news: News) -> Option<Reply> {
    tell_kernel(cluster, vec![news]).await.pop().flatten()
}

/// The same for several at once; `None`: it was refused, or the host stops.
async fn tell_kernel(cluster: &Cluster, news: Vec<News>) -> Vec<Option<Reply>> {
    let count = news.len();
    let Some(engine) = cluster.engine().filter(|_| count > 0) else { return vec![None; count] };
    let commands: Vec<Command> = news.into_iter().map(Command::News).collect();
    loop {
        match engine.submit_here(commands.clone()).await {
            Ok(outcomes) => return outcomes.into_iter().map(|outcome| outcome.ok().and_then(Result::ok)).collect(),
            Err(EngineError::Overloaded { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(_) => return vec![None; count],
        }
    }
}

/// Pulls from peers that have what is missing here, from each one thing at a time: one that does not answer keeps nobody from
/// hearing of the others.
pub(super) async fn pull(cluster: Cluster, mut peers: mpsc::Receiver<PeerId>) {
    // Whether it is to be asked again at once.
    let mut asked: HashMap<PeerId, bool> = HashMap::new();
    let mut pulls = JoinSet::new();
    loop {
        let peer = tokio::select! {
            peer = peers.recv() => match peer {
                Some(peer) => peer,
                None => return,
            },
            Some(ended) = pulls.join_next() => match ended {
                Ok(peer) if asked.remove(&peer) == Some(true) => peer,
                Ok(_) => continue,
                Err(_) => return,
            },
            () = cluster.stopping().cancelled() => return,
        };
        match asked.entry(peer) {
            Entry::Occupied(mut again) => _ = again.insert(true),
            Entry::Vacant(free) => {
                free.insert(false);
                let cluster = cluster.clone();
                pulls.spawn(async move {
                    catch_up(&cluster, peer).await;
                    peer
                });
            }
        }
    }
}

/// Whether some member that may write cannot be heard directly: nobody passes on what it gossips.
fn misses_somebody(cluster: &Cluster, seat: &Seat) -> bool {
    let ledger = seat.book.ledger();
    let writes = |member: &&Member| member.id != seat.me && member.role.owns() && !member.is_deposed();
    let hears = |member: &Member| {
        cluster.is_connected(&member.peer) && member.peer.parse().is_ok_and(|peer| !cluster.is_apart(peer))
    };
    ledger.members().values().filter(writes).any(|member| !hears(member))
}

/// Asks a random peer from time to time for what is missing here, and often while a member can be heard through others only.
pub(super) async fn ask_around(cluster: Cluster) {
    let mut round = 0_usize;
    let rebroadcast = cluster.inner.settings.rebroadcast;
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(rebroadcast.min(THROUGH_OTHERS)) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        if Instant::now() >= look_at {
            agreement::look(&cluster).await;
            look_at = Instant::now() + rebroadcast;
        } else if !misses_somebody(&cluster, &seat) {
            continue;
        }
        let is_heard = |peer: &PeerId| seat.member_of(*peer).is_some() && !cluster.is_apart(*peer);
        let peers: Vec<PeerId> = cluster.inner.net.connected().into_iter().filter(is_heard).collect();
        if peers.is_empty() {
            continue;
        }
        // Which one comes first differs between hosts and runs.
        let drawn = usize::try_from(cluster.nonce() % 1_000).unwrap_or(0);
        round = round.wrapping_add(1);
        if let Some(peer) = peers.get((drawn + round) % peers.len()) {
            cluster.pull_from(*peer);
        }
    }
}

impl Cluster {
    /// This peer has what is missing here.
    pub(super) fn pull_from(&self, peer: PeerId) {
        // If so many wait already, one of them has it too, and there is a next round.
        let _full = self.inner.pulls.try_send(peer);
    }
}

fn is_taking_over(cluster: &Cluster) -> bool {
    cluster.inner.parts.vitals.percent_taken_over().is_some()
}

/// Pulls until the peer has nothing more that can be taken in now.
async fn catch_up(cluster: &Cluster, peer: PeerId) {
    let began = std::time::Instant::now();
    let mut fingerprint = if cluster.is_member(peer) { cluster.inner.agreement.say() } else { None };
    let mut taken_over = false;
    if is_taking_over(cluster) {
        let Ok(_alone) = cluster.inner.taking_over.try_lock() else { return };
        takeover::run(cluster, peer).await;
        taken_over = true;
    }
    loop {
        if is_taking_over(cluster) {
            return;
        }
        let vector = cluster.vector();
        let fingerprint = fingerprint.take();
        let says = fingerprint.is_some();
        let ask = messages::write(&StateAsk::Pull { vector: vector.clone(), fingerprint });
        let answer = match cluster.inner.net.request(peer, Channel::State, ask, PULL_TIMEOUT).await {
            Ok(response) => cluster.read::<StateAnswer>(peer, &response.body),
            Err(error) => {
                if says {
                    cluster.inner.agreement.say_again();
                }
                tracing::debug!(%peer, %error, "nothing pulled");
                return;
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                tracing::warn!(%peer, why, "an answer is not usable");
                return;
            }
        };
        for origin in &answer.gone {
            tracing::debug!(%peer, host = format_args!("{:x}", origin.host), "its log does not reach back far enough");
        }
        tell_seen(cluster, peer, answer.told, &answer.vector).await;
        cluster.acknowledge(peer, answer.vector);
        if !answer.gone.is_empty() && !taken_over {
            // Before anything else is heard: a snapshot must cover what is.
            let Ok(_alone) = cluster.inner.taking_over.try_lock() else { return };
            takeover::run(cluster, peer).await;
            taken_over = true;
            continue;
        }
        if answer.gone.is_empty() {
            cluster.inner.owner_asked.store(0, std::sync::atomic::Ordering::Release);
        }
        let batches: Vec<(PeerId, Arc<Batch>)> =
            answer.batches.into_iter().map(|batch| (peer, Arc::new(batch))).collect();
        let spans = batches.iter().map(|(_, batch)| {
            let before = vector.get(&batch.origin).copied().unwrap_or_default();
            (before, batch.through)
        });
        let spans: Vec<(Seq, Seq)> = spans.collect();
        let reached = take_in(cluster, batches).await;
        let reached: Vec<(Seq, (Seq, Seq))> =
            reached.into_iter().zip(spans).filter_map(|(reached, span)| Some((reached?, span))).collect();
        let progress = reached.iter().any(|(reached, (before, _))| reached > before);
        // What it waited for may have come behind it.
        let more = answer.more || reached.iter().any(|(reached, (_, through))| reached < through);
        if !more || !progress || cluster.stopping().is_cancelled() {
            cluster.inner.parts.vitals.synced(began.elapsed());
            return;
        }
    }
}

/// Tells the kernel what a member has on its disk: which deletions need not be remembered any more, and whether this host has
/// heard enough to write notes.
async fn tell_seen(cluster: &Cluster, peer: PeerId, told: u64, vector: &Vector) {
    let Some(member) = cluster.seat().and_then(|seat| seat.member_of(peer)) else { return };
    ask_kernel(cluster, News::Seen { member, told, vector: Arc::new(vector.clone()) }).await;
}

impl Cluster {
    /// Whether a peer is listened to: it is on the ledger's list, or this host has no list yet. Who left meanwhile is heard only
    /// through others.
    fn listens_to(&self, peer: PeerId) -> bool {
        self.seat().is_none_or(|seat| seat.member_of(peer).is_some() || seat.book.ledger().members().is_empty())
    }

    /// As long as what is given is held, nobody is told that this host goes by another list; `None`: the peer is not on it.
    pub(super) async fn hears(&self, peer: PeerId) -> Option<RwLockReadGuard<'_, ()>> {
        let hearing = self.inner.hearing.read().await;
        self.listens_to(peer).then_some(hearing)
    }

    /// Waits until all is heard that is being taken in by the lists that were known before now.
    pub(super) async fn heard_out(&self) {
        drop(self.inner.hearing.write().await);
    }
}

/// What a peer wrote last, taken in if it continues what is known here. The answer tells, if it does not.
pub(super) async fn answer_push(cluster: &Cluster, from: PeerId, batch: Batch) -> PushAnswer {
    let known = cluster.inner.heard.borrow().get(&batch.origin).copied().unwrap_or_default();
    if batch.after <= known && batch.through > known {
        let through = batch.through;
        let reached = take_in(cluster, vec![(from, Arc::new(batch))]).await;
        if reached.first().is_some_and(|reached| reached.is_some_and(|reached| reached < through)) {
            // It rests on something that this host has not heard yet.
            cluster.pull_from(from);
        }
    }
    PushAnswer { vector: cluster.vector() }
}

/// What this host knows, and no operations.
pub(super) fn answer_look(cluster: &Cluster) -> StateAnswer {
    // The ledger first: whoever was told of an entry wrote nothing more that goes against it.
    let told = if cluster.inner.parts.vitals.lacks_state() { 0 } else { *cluster.inner.told.borrow() };
    let voters = cluster.seat().map(|seat| seat.voters()).unwrap_or_default();
    StateAnswer { batches: Vec::new(), more: false, vector: cluster.vector(), told, gone: Vec::new(), voters }
}

/// What this host has and the asker has not, as much as fits.
pub(super) fn answer_pull(cluster: &Cluster, theirs: &Vector) -> StateAnswer {
    let own = cluster.inner.settings.origin;
    let mut answer = answer_look(cluster);
    let after = |origin: &Origin| theirs.get(origin).copied().unwrap_or_default();
    let vector = answer.vector.iter().map(|(origin, known)| (*origin, after(origin), *known));
    let behind: Vec<(Origin, Seq)> =
        vector.filter(|(_, after, known)| after < known).map(|(origin, after, _)| (origin, after)).collect();
    // Some of each, or what waits for another origin's words would take the place of those words for good.
    let share = PULL_BYTES / behind.len().max(1);
    for (origin, after) in &behind {
        let of = (*origin != own).then_some(*origin);
        match cluster.inner.parts.reader.operations(of, *after, share) {
            Ok(run) => {
                answer.more |= run.more;
                if run.through > *after {
                    answer.batches.push(pack(cluster, *origin, *after, run.through, &run.ops));
                }
            }
            Err(RunError::Gone { .. }) => answer.gone.push(*origin),
            Err(error) => tracing::error!(%error, "this host's log cannot be read for others"),
        }
    }
    answer
}
