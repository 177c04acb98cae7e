//! Tells the kernel what the ledger says. What was told is compared with what stands in the ledger now, so a snapshot, a
//! missed word or a kernel that was made again need no care of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::engine::EngineError;
use kernel::ledger::{GrantKind, GrantState, Ledger, LedgerPool};
use kernel::{
    Command, Epoch, MemberId, MemberList, News, PoolUid, Revision, RingMember, ShardId, ShardTenure, Sight, Tenure,
};

use super::Cluster;
use super::readings::{leaving, unread};
use super::seat::Seat;

/// How often everything is looked at again although nothing was heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who left may speak for so long after: it is owed the answer that it has left, and asks for it again.
const PARTING: Duration = Duration::from_secs(10);

/// One host may notice so much later than another that a third is gone.
const LATELY: Duration = Duration::from_secs(3);

/// Who is there, as the kernel was told last.
#[derive(Debug, Default)]
pub(super) struct Alive {
    pub(super) members: BTreeSet<MemberId>,
    /// Since when others are not that were.
    gone: BTreeMap<MemberId, Instant>,
}

impl Alive {
    fn becomes(&mut self, members: &BTreeSet<MemberId>) {
        let now = Instant::now();
        self.gone.retain(|member, since| !members.contains(member) && now.duration_since(*since) < LATELY);
        self.gone.extend(self.members.difference(members).map(|member| (*member, now)));
        self.members.clone_from(members);
    }

    /// Whether it is there, or was a moment ago: then it need not be gone for every other host yet.
    pub(super) fn was_lately(&self, member: MemberId) -> bool {
        self.members.contains(&member) || self.gone.get(&member).is_some_and(|since| since.elapsed() < LATELY)
    }
}

/// What the kernel was told.
#[derive(Debug, Default)]
struct Told {
    /// Which kernel: another one knows nothing.
    rebuilds: u64,
    pools: BTreeMap<PoolUid, Revision>,
    tenures: BTreeMap<PoolUid, BTreeMap<ShardId, (Epoch, Tenure)>>,
    members: Vec<RingMember>,
    list: Option<MemberList>,
    alive: BTreeSet<MemberId>,
    agreed_offset_ms: Option<i64>,
    /// Whom the network lets speak.
    allowed: BTreeSet<net::PeerId>,
    /// Members no more, and since when.
    parting: BTreeMap<net::PeerId, Instant>,
}

pub(super) async fn run(cluster: Cluster) {
    let mut told = Told::default();
    let mut heard = cluster.inner.heard.subscribe();
    let mut plugins = cluster.inner.parts.plugins.changes();
    let mut rung = std::pin::pin!(cluster.inner.bell.notified());
    loop {
        let mut changed = cluster.seat().map(|seat| seat.book.changed());
        let look = async {
            match &mut changed {
                Some(changed) => drop(changed.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = look => {}
            () = &mut rung => {}
            _ = plugins.changed() => {}
            // Space waits for what is heard; that many times a second is enough.
            _ = heard.changed(), if waits(&cluster, &told) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = cluster.stopping().cancelled() => return,
        }
        heard.borrow_and_update();
        // Also while the kernel is told.
        rung.set(cluster.inner.bell.notified());
        if let Some(seat) = cluster.seat()
            && let Err(error) = tell(&cluster, &seat, &mut told).await
        {
            tracing::debug!(%error, "the kernel could not be told what the ledger says; it will be told again");
        }
    }
}

/// Whether some shard is kept only until more is heard.
fn waits(cluster: &Cluster, told: &Told) -> bool {
    let Some(seat) = cluster.seat() else { return false };
    let ledger = seat.book.ledger();
    told.tenures.iter().any(|(pool, tenures)| {
        tenures.iter().any(|(shard, (_, tenure))| {
            *tenure == Tenure::Silent
                && ledger.grant(*pool, *shard).is_some_and(|grant| grant.state == GrantState::Held)
        })
    })
}

async fn tell(cluster: &Cluster, seat: &Seat, told: &mut Told) -> Result<(), EngineError> {
    let rebuilds = cluster.inner.parts.vitals.rebuilds();
    if told.rebuilds != rebuilds {
        cluster.inner.told.send_replace(0);
        let (allowed, parting) = (std::mem::take(&mut told.allowed), std::mem::take(&mut told.parting));
        *told = Told { rebuilds, allowed, parting, ..Told::default() };
    }
    super::copy::end_if_copy(cluster, seat);
    let ledger = seat.book.ledger();
    let_in(cluster, seat, &ledger, told);
    tell_sight(cluster, seat, &ledger, told).await?;
    // First: their names may be others' by now. Also of what went while this host was away, and another life of it had.
    let shown = cluster.inner.parts.view.pool_uids().into_iter();
    let gone: BTreeSet<PoolUid> =
        shown.chain(told.pools.keys().copied()).filter(|uid| ledger.is_deleted(*uid)).collect();
    for uid in gone {
        note(cluster, News::PoolGone(uid)).await?;
        cluster.forget_reading(uid);
        told.pools.remove(&uid);
        told.tenures.remove(&uid);
    }
    for (uid, pool) in ledger.pools() {
        if told.pools.get(uid).is_none_or(|revision| *revision < pool.record.revision) {
            note(cluster, News::Pool(Arc::clone(&pool.record))).await?;
            told.pools.insert(*uid, pool.record.revision);
        }
        let reads = cluster.reads(&pool.record).await;
        let gives_up = (!reads).then(|| leaving(cluster, seat, &ledger, pool));
        tell_tenures(cluster, seat, &ledger, (*uid, pool, gives_up), told).await?;
    }
    tell_members(cluster, seat, &ledger, told).await?;
    cluster.inner.told.send_replace(ledger.last_index());
    Ok(())
}

/// Members may speak, and are looked for; nobody else.
fn let_in(cluster: &Cluster, seat: &Seat, ledger: &Ledger, told: &mut Told) {
    let mut members = BTreeSet::new();
    for member in ledger.members().values().filter(|member| member.id != seat.me) {
        let Ok(peer) = member.peer.parse::<net::PeerId>() else { continue };
        if cluster.is_apart(peer) {
            continue;
        }
        members.insert(peer);
        if let Some(nonce) = member.lease.nonce {
            cluster.inner.net.prefer(peer, nonce);
        }
        if told.allowed.insert(peer) {
            cluster.inner.net.allow(peer);
            cluster.inner.net.dial(peer, &member.addresses);
        }
    }
    // Before this host's own log has the members, those that let it in may speak.
    if ledger.members().is_empty() {
        return;
    }
    let gone: Vec<net::PeerId> = told.allowed.difference(&members).copied().collect();
    told.parting.retain(|peer, _| gone.contains(peer));
    for peer in gone {
        if told.parting.entry(peer).or_insert_with(Instant::now).elapsed() >= PARTING {
            cluster.inner.net.disallow(peer);
            told.allowed.remove(&peer);
            told.parting.remove(&peer);
        }
    }
}

async fn tell_sight(cluster: &Cluster, seat: &Seat, ledger: &Ledger, told: &mut Told) -> Result<(), EngineError> {
    let connected: BTreeSet<String> = cluster.inner.net.connected().iter().map(ToString::to_string).collect();
    let reachable = |member: &&kernel::ledger::Member| member.id == seat.me || connected.contains(&member.peer);
    let mut alive: BTreeSet<MemberId> = ledger.members().values().filter(reachable).map(|member| member.id).collect();
    let vitals = &cluster.inner.parts.vitals;
    if vitals.lacks_state() || vitals.is_full() {
        // Nobody's home: it does not know who holds something already, or can give nobody anything.
        alive.remove(&seat.me);
    }
    let ring = ledger.ring();
    let agreed_offset_ms = cluster.agreed_offset_ms();
    if told.members == ring.members() && told.alive == alive && told.agreed_offset_ms == agreed_offset_ms {
        return Ok(());
    }
    let members = ring.members().to_vec();
    let sight = Sight { me: seat.me, ring: Arc::new(ring), alive: alive.clone(), agreed_offset_ms };
    note(cluster, News::Sight(Box::new(sight))).await?;
    cluster.inner.alive.send_modify(|known| known.becomes(&alive));
    (told.members, told.alive, told.agreed_offset_ms) = (members, alive, agreed_offset_ms);
    Ok(())
}

/// Who must have heard of a deletion before it is forgotten. The place in the ledger is told with it, for what others say they
/// have counts only under the same list.
async fn tell_members(cluster: &Cluster, seat: &Seat, ledger: &Ledger, told: &mut Told) -> Result<(), EngineError> {
    let list = MemberList {
        me: seat.me,
        members: ledger.members().values().map(|member| (member.id, member.origin)).collect(),
        changed: ledger.members_changed(),
        told: ledger.last_index(),
    };
    if told.list.as_ref() != Some(&list) {
        let same = |known: &MemberList| known.members == list.members && known.changed == list.changed;
        if !told.list.as_ref().is_some_and(same) {
            cluster.heard_out().await;
        }
        note(cluster, News::Members(list.clone())).await?;
        told.list = Some(list);
    }
    Ok(())
}

/// `gives_up`: this host does not read the pool as recorded, and these shards can go to somebody who does.
async fn tell_tenures(
    cluster: &Cluster,
    seat: &Seat,
    ledger: &Ledger,
    (uid, pool, gives_up): (PoolUid, &LedgerPool, Option<BTreeSet<ShardId>>),
    told: &mut Told,
) -> Result<(), EngineError> {
    let known = told.tenures.entry(uid).or_default();
    let vector = cluster.vector();
    let stopped = cluster.inner.stopped.lock().clone();
    let is_nobody = cluster.is_another_life(seat, ledger) || cluster.inner.parts.vitals.lacks_state();
    let mut news = Vec::new();
    for (shard, grant) in pool.grants.iter() {
        // Nothing is this host's own before it knows what it would answer for: not even what is held there may it end.
        let tenure = if is_nobody && grant.holder == seat.me {
            Tenure::Theirs(MemberId(0))
        } else {
            let stopped = stopped.holds(uid, shard, grant.epoch) || cluster.lacks_former_life(pool, shard);
            let tenure = pool.tenure(seat.me, (shard, grant), &vector, stopped);
            gives_up.as_ref().map_or(tenure, |leaving| unread(tenure, leaving.contains(&shard)))
        };
        let said = (grant.epoch, tenure);
        if known.get(&shard) != Some(&said) {
            news.push((
                said,
                ShardTenure {
                    shard,
                    epoch: grant.epoch,
                    tenure,
                    leased: grant.kind == GrantKind::Leased,
                    doubtful: grant.is_doubtful(),
                },
            ));
        }
    }
    if news.is_empty() {
        return Ok(());
    }
    let tenures = news.iter().map(|(_, tenure)| *tenure).collect();
    // What opens is kept no more from now on; what closes is once the kernel's word is on the disk.
    let opens = |shard: &ShardId| news.iter().any(|((_, tenure), said)| said.shard == *shard && !is_kept(*tenure));
    cluster.inner.kept.lock().entry(uid).or_default().retain(|shard, _| !opens(shard));
    cluster.inner.answered.lock().remove(&uid);
    note(cluster, News::Tenures { pool: uid, tenures }).await?;
    known.extend(news.into_iter().map(|(said, tenure)| (tenure.shard, said)));
    let kept = known.iter().filter(|(_, (_, tenure))| is_kept(*tenure)).map(|(shard, (_, tenure))| (*shard, *tenure));
    let kept = kept.collect();
    cluster.inner.kept.lock().insert(uid, kept);
    let answered = known.iter().filter(|(_, (_, tenure))| *tenure == Tenure::Kept);
    let answered = answered.map(|(shard, (epoch, _))| (*shard, *epoch)).collect();
    cluster.inner.answered.lock().insert(uid, answered);
    Ok(())
}

/// Whether nothing is handed out from a shard of this host's.
const fn is_kept(tenure: Tenure) -> bool {
    match tenure {
        Tenure::Kept | Tenure::Silent => true,
        Tenure::Escrow | Tenure::Leased | Tenure::Theirs(_) => false,
    }
}

/// Tells the kernel, and waits until it is on the disk.
pub(super) async fn note(cluster: &Cluster, news: News) -> Result<(), EngineError> {
    let engine = cluster.engine().ok_or(EngineError::Stopped)?;
    // Before the kernel knows: what it decided in a term that is over must not be answered.
    cluster.inner.parts.standing.hear(&news);
    let outcomes = engine.submit_here(vec![Command::News(news)]).await?;
    match outcomes.into_iter().next() {
        Some(Ok(Ok(_))) => Ok(()),
        Some(Ok(Err(error))) => {
            tracing::error!(%error, "the kernel refuses what the ledger says");
            Ok(())
        }
        Some(Err(error)) => Err(error),
        None => Err(EngineError::Stopped),
    }
}
