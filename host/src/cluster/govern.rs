//! What keeps the cluster in shape without anybody's asking: this host's node lease, and shards that should live elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::cluster::ClusterError;
use kernel::ledger::{ClosingWhat, Ledger, LedgerCommand, LedgerError, LedgerReply, Member, Offer};
use kernel::{Command, Epoch, MemberId, News, PoolUid, Seq, ShardId, Tenure};
use net::{Channel, PeerId};
use tokio::time::Instant;
use view::AllocationFilter;

use super::follow::note;
use super::messages::{self, StateAsk};
use super::office::decide;
use super::seat::Seat;
use super::{Cluster, Settings, acks, inquiry};
use crate::clock;

/// Shards given away by one entry of the ledger.
const GIVEN: usize = 64;

/// Between two rounds of giving away: moves may wait, requests may not.
const GIVE_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked what closes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How soon the ledger is told again which protocol this host speaks, if it refused.
const SAY_AGAIN: Duration = Duration::from_secs(10);

const DECIDE_WITHIN: Duration = Duration::from_secs(5);

/// How long another host may take to give shards away: to hear the taker out, to bring it up, and to have it decided.
const GIVEN_WITHIN: Duration = Duration::from_secs(30);

/// Renews this host's lease on its leased shards, each third of it.
pub(super) async fn renew(cluster: Cluster) {
    let mut pause = Duration::ZERO;
    let mut version_due = Instant::now();
    let mut weight_said = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cluster.stopping().cancelled() => return,
        }
        pause = Duration::from_millis(200);
        let Some(seat) = cluster.seat() else { continue };
        let ledger = seat.book.ledger();
        let Some(member) = ledger.member(seat.me) else { continue };
        if !weight_said && !cluster.is_another_life(&seat, &ledger) {
            weight_said = say_weight(&cluster, &seat, member).await;
        }
        if member.protocol != cluster.inner.settings.protocol && Instant::now() >= version_due {
            // Another build than before: the others must know before one goes further.
            rejoin(&cluster, &seat).await;
            version_due = Instant::now() + SAY_AGAIN;
        }
        // It counts from before it was asked for.
        let began_ms = clock::boot_ms();
        let renewal = LedgerCommand::Renew { member: seat.me, nonce: cluster.nonce() };
        match seat.decide(renewal, DECIDE_WITHIN).await {
            Ok(Ok(LedgerReply::Renewed { index, lease_ms })) => {
                // Whatever was taken from this host before is told first: the lease is not for that.
                let mut told = cluster.inner.told.subscribe();
                let knows = told.wait_for(|told| *told >= index);
                if !matches!(tokio::time::timeout(DECIDE_WITHIN, knows).await, Ok(Ok(_))) {
                    continue;
                }
                // Clocks differ in rate by up to 1 %, and what is handed out last must still arrive.
                let until_ms = (began_ms + lease_ms).saturating_sub(lease_ms / 100 + 1_000);
                cluster.inner.lease_until_ms.store(until_ms, std::sync::atomic::Ordering::Relaxed);
                if note(&cluster, News::NodeLease { until_ms }).await.is_ok() {
                    pause = Duration::from_millis(lease_ms / 3);
                }
            }
            Ok(Ok(_)) => {}
            Ok(Err(LedgerError::Deposed { .. } | LedgerError::MemberUnknown { .. })) => {
                // It joins again under its own name; `door` does that for hosts that never left.
                rejoin(&cluster, &seat).await;
            }
            Ok(Err(error)) => {
                // Of a process before this one, whose lease must be declared over first.
                pause = Duration::from_secs(2);
                tracing::info!(%error, "the node lease is not renewed; leased shards wait");
            }
            Err(error) => tracing::debug!(%error, "the node lease is not renewed"),
        }
    }
}

/// A weight that was configured anew counts from the next start on. The role is an order of its own, so it is only said that
/// another one stands. True once it is said.
async fn say_weight(cluster: &Cluster, seat: &Seat, member: &Member) -> bool {
    let Settings { weight, role, .. } = cluster.inner.settings;
    if role != member.role {
        tracing::warn!(configured = ?role, in_cluster = ?member.role, "node.role counts when a host joins; nexus cluster promote and demote change it later");
    }
    if weight == member.weight {
        return true;
    }
    let (draining, addresses) = (None, None);
    let order = LedgerCommand::SetMember { member: seat.me, role: None, weight: Some(weight), draining, addresses };
    match seat.decide(order, DECIDE_WITHIN).await {
        Ok(Ok(_)) => {
            tracing::info!(before = member.weight, weight, "this host's weight changed");
            true
        }
        Ok(Err(error)) => {
            tracing::error!(weight, %error, "this host's weight cannot be what is configured");
            true
        }
        Err(error) => {
            tracing::debug!(%error, "this host's weight is not changed yet");
            false
        }
    }
}

/// Says again who this host is, which ends a deposition, and with which build it came.
async fn rejoin(cluster: &Cluster, seat: &Seat) {
    let ledger = seat.book.ledger();
    let Some(member) = ledger.member(seat.me) else { return };
    let again = LedgerCommand::Join {
        node: member.node.clone(),
        origin: cluster.inner.settings.origin,
        peer: cluster.inner.net.local_peer().to_string(),
        addresses: cluster.addresses(),
        role: member.role,
        weight: member.weight,
        protocol: cluster.inner.settings.protocol,
        at_ms: clock::wall_ms(),
    };
    match seat.decide(again, DECIDE_WITHIN).await {
        Ok(Ok(LedgerReply::Joined { reinstated: true, .. })) => {
            tracing::warn!("this host was deposed while it could not renew; it takes part again");
        }
        Ok(Ok(_)) => {
            let protocol = cluster.inner.settings.protocol;
            tracing::info!(before = %member.protocol, %protocol, "this host's build speaks another protocol than before");
        }
        Ok(Err(error)) => tracing::error!(%error, "this host may not take part as it is"),
        Err(error) => tracing::debug!(%error, "this host could not join again yet"),
    }
}

/// Gives shards to those who should have them, and gives back what closes.
pub(super) async fn give(cluster: Cluster) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(GIVE_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        let ledger = seat.book.ledger();
        if let Err(error) = give_back(&cluster, &seat, &ledger).await {
            tracing::debug!(error = format_args!("{error:#}"), "shards that close were not given back yet");
        }
        if let Err(error) = settle_stopped(&cluster, &seat, &ledger).await {
            tracing::debug!(error = format_args!("{error:#}"), "offers of shards are not settled yet");
        }
        if let Err(error) = give_away(&cluster, &seat, &ledger).await {
            tracing::debug!(error = format_args!("{error:#}"), "no shards were given away");
        }
    }
}

/// A deletion or a shrinking is left to whoever asked for it twice as long as he may wait, and so much more.
const CLOSING_MARGIN: Duration = Duration::from_secs(5);

/// The leader ends what closes and nobody attends to, because who asked for it went away: it is carried out once every holder
/// gave its shards back, and taken back if something is held there still.
pub(super) async fn close(cluster: Cluster) {
    let mut began: BTreeMap<(PoolUid, u64), Instant> = BTreeMap::new();
    let lasts = cluster.inner.settings.response_deadline * 2 + CLOSING_MARGIN;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        let ledger = seat.book.ledger();
        let leads = seat.leads();
        let closing = ledger.pools().iter().filter_map(|(uid, pool)| Some((*uid, pool.closing.as_ref()?)));
        let mut there = BTreeSet::new();
        for (pool, closing) in closing.filter(|_| leads) {
            there.insert((pool, closing.since));
            let since = *began.entry((pool, closing.since)).or_insert_with(Instant::now);
            if since.elapsed() <= lasts {
                continue;
            }
            // A pool without allocations goes once whoever is away is back, or its shards were seized.
            let goes = closing.what == ClosingWhat::Whole && cluster.held_in(pool) == 0;
            let command = match (closing.waiting.is_empty(), goes) {
                (true, _) => LedgerCommand::FinishClose { pool },
                (false, false) => LedgerCommand::ReopenPool { pool },
                (false, true) => continue,
            };
            if let Err(error) = seat.carry_out(command, DECIDE_WITHIN).await {
                tracing::debug!(pool = pool.0, error = format_args!("{error:#}"), "a closing was not ended yet");
            }
        }
        began.retain(|closing, _| there.contains(closing));
    }
}

/// Says of shards that close: stopped and empty.
async fn give_back(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> anyhow::Result<()> {
    let vector = cluster.vector();
    for (uid, pool) in ledger.pools() {
        let Some(closing) = &pool.closing else { continue };
        let mine: BTreeSet<ShardId> = closing
            .waiting
            .iter()
            .copied()
            // Of what is doubtful nobody knows that it is empty; a pool that goes as a whole need not wait for that. And who lacks
            // what counts of those before it does not know it either.
            .filter(|shard| {
                let whole = closing.what == ClosingWhat::Whole;
                let grant = pool.grants.of(*shard).filter(|grant| grant.holder == seat.me);
                grant.is_some_and(|grant| whole || !grant.is_doubtful()) && pool.is_covered(*shard, &vector)
            })
            .collect();
        if mine.is_empty() || !is_kept(cluster, *uid, &mine) {
            continue;
        }
        let empty: Vec<ShardId> = match &closing.what {
            ClosingWhat::Update(draft) => {
                let draft = draft.clone();
                let dry = Command::UpdatePool { pool: *uid, expected: None, draft, dry_run: true };
                let Some(engine) = cluster.engine() else { return Ok(()) };
                let judged = engine.submit_here(vec![dry]).await?.into_iter().next();
                if matches!(judged, Some(Ok(Ok(_)))) { mine.into_iter().collect() } else { Vec::new() }
            }
            ClosingWhat::Whole => empty_of(cluster, *uid, mine, |_| true),
            ClosingWhat::Spans(spans) => {
                empty_of(cluster, *uid, mine, |held| spans.iter().any(|span| span.intersects(held.span)))
            }
        };
        if !empty.is_empty() {
            let (pool, closing, member) = (*uid, closing.since, seat.me);
            seat.carry_out(LedgerCommand::Returned { pool, closing, member, shards: empty }, DECIDE_WITHIN).await?;
        }
    }
    Ok(())
}

/// Whether the kernel hands out nothing from any of these shards, by its own word.
fn is_kept(cluster: &Cluster, uid: PoolUid, shards: &BTreeSet<ShardId>) -> bool {
    // The follower tells the kernel first and only then marks it as told.
    let kept = cluster.inner.kept.lock();
    kept.get(&uid).is_some_and(|kept| shards.iter().all(|shard| kept.contains_key(shard)))
}

/// Whether the kernel changes nothing in any of these shards any more, by its own word. One that is only kept still answers
/// for what is held there, and writes.
fn is_silent(cluster: &Cluster, uid: PoolUid, shards: &BTreeSet<ShardId>) -> bool {
    let kept = cluster.inner.kept.lock();
    kept.get(&uid).is_some_and(|kept| shards.iter().all(|shard| kept.get(shard) == Some(&Tenure::Silent)))
}

/// Those of the shards in which nothing that matters is held.
fn empty_of(
    cluster: &Cluster,
    uid: PoolUid,
    mut shards: BTreeSet<ShardId>,
    matters: impl Fn(&kernel::Allocation) -> bool,
) -> Vec<ShardId> {
    let filter = AllocationFilter { pool: Some(uid), ..AllocationFilter::default() };
    let mut after = None;
    loop {
        let page = cluster.inner.parts.view.list(&filter, after, 1_000);
        for held in page.rows.iter().filter(|held| matters(held)) {
            shards.remove(&held.shard);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return shards.into_iter().collect(),
        }
    }
}

/// Stops handing out from shards that should live elsewhere, and offers them.
async fn give_away(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> anyhow::Result<()> {
    let reaches = |to| ledger.member(to).is_some_and(|member| cluster.is_connected(&member.peer));
    let next = ledger.next_offer(seat.me, &seat.book.wishes(ledger), &cluster.vector(), reaches, GIVEN);
    let Some(next) = next else { return Ok(()) };
    Ok(offer(cluster, seat, &next).await?)
}

/// Has whoever holds shards offer them: this host itself, or another one that is asked.
pub(super) async fn have_given(
    cluster: &Cluster,
    seat: &Seat,
    holder: MemberId,
    shards: Offer,
) -> Result<(), ClusterError> {
    if holder == seat.me {
        return offer(cluster, seat, &shards).await;
    }
    let named = cluster.named(holder);
    let peer = seat.peer_of(holder).filter(|peer| cluster.is_connected(&peer.to_string()));
    let peer = peer.ok_or_else(|| {
        let first = shards.shards.first().map(ToString::to_string).unwrap_or_default();
        let why = format!("shard {first} is given away by its holder, {named}, which cannot be reached");
        ClusterError::Unavailable(why)
    })?;
    let ask = messages::write(&StateAsk::Give(shards));
    let answer = match cluster.inner.net.request(peer, Channel::State, ask, GIVEN_WITHIN).await {
        Ok(response) => cluster.read::<Result<(), ClusterError>>(peer, &response.body),
        Err(error) => Err(error.to_string()),
    };
    answer.unwrap_or_else(|why| {
        let why = format!("{named} was asked to give its shards away and did not answer ({why}); asking again is safe");
        Err(ClusterError::Unknown(why))
    })
}

/// Another host was asked to have shards of this one moved.
pub(super) async fn give_when_asked(cluster: &Cluster, shards: Offer) -> Result<(), ClusterError> {
    let seat = cluster.needs_seat()?;
    if shards.shards.is_empty() { Ok(()) } else { offer(cluster, &seat, &shards).await }
}

/// One offer: stop, say so durably, wait until the taker knows it, then let the ledger decide. Without the wait the shards would be
/// nobody's if this host were lost before its last words were heard. What comes to nothing before the ledger was asked is handed
/// out from again.
async fn offer(cluster: &Cluster, seat: &Seat, Offer { pool, shards, epoch, to }: &Offer) -> Result<(), ClusterError> {
    let (pool, epoch, to) = (*pool, *epoch, *to);
    // What another offer has asked the ledger for meanwhile must not be handed out from again by this one.
    let _one_at_a_time = cluster.inner.offering.lock().await;
    let named = cluster.named(to);
    if !cluster.has_majority(seat) {
        let why = "the ledger has no majority here, so it cannot decide who gets shards; ask again once it has";
        return Err(ClusterError::Unavailable(why.to_owned()));
    }
    let peer = seat.peer_of(to).filter(|peer| cluster.is_connected(&peer.to_string()));
    let peer =
        peer.ok_or_else(|| ClusterError::Unavailable(format!("{named} cannot be reached, so it gets no shards")))?;
    if !hear_out(cluster, seat, to, peer).await {
        let why = format!("this host has not heard yet all that {named} wrote; ask again");
        return Err(ClusterError::Unavailable(why));
    }
    let ledger = seat.book.ledger();
    let ours = |shard: &ShardId| {
        ledger.grant(pool, *shard).is_some_and(|grant| grant.holder == seat.me && grant.epoch == epoch)
    };
    if !shards.iter().all(ours) {
        let why = "of these shards some went elsewhere while this offer waited for another one; ask again";
        return Err(ClusterError::Unavailable(why.to_owned()));
    }
    let vector = cluster.vector();
    if !ledger.pool(pool).is_some_and(|found| shards.iter().all(|shard| found.is_covered(*shard, &vector))) {
        let why = "this host has not heard yet all that counts of those who had these shards before; ask again";
        return Err(ClusterError::Unavailable(why.to_owned()));
    }
    let stopped = cluster.inner.stopped.lock().clone();
    let stop = shards.iter().map(|shard| (pool, *shard, epoch));
    let stop: Vec<_> = stop.filter(|(pool, shard, epoch)| !stopped.holds(*pool, *shard, *epoch)).collect();
    cluster.stop_shards(&stop).map_err(|error| ClusterError::Unavailable(format!("{error:#}")))?;
    match bring_up(cluster, pool, shards, peer, &named).await {
        Ok(cut) => {
            let (from, shards) = (seat.me, shards.clone());
            decide(seat, LedgerCommand::Move { pool, shards, from, epoch, to, cut }).await?;
            Ok(())
        }
        Err(why) => {
            // Nobody was asked, so nobody can be given them in this term.
            let keep = |of, shard, term| !stop.contains(&(of, shard, term));
            cluster.keep_stopped(keep).map_err(|error| ClusterError::Unavailable(format!("{error:#}")))?;
            cluster.inner.bell.notify_waiters();
            Err(ClusterError::Unavailable(why))
        }
    }
}

/// Waits until this host has heard what the taker wrote before it knew of its last renewal. The shards may have been taken from it
/// once, and what it wrote about them meanwhile is late: who has them now says what counts, and the taker itself never would.
async fn hear_out(cluster: &Cluster, seat: &Seat, to: MemberId, peer: PeerId) -> bool {
    let Some((origin, renewed)) = seat.book.ledger().member(to).map(|found| (found.origin, found.lease.renewed)) else {
        return false;
    };
    let Some(last) = inquiry::wrote_until(cluster, peer, origin, renewed).await else { return false };
    for _ in 0..200 {
        if inquiry::known_here(cluster, origin) >= last {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Waits until nothing is handed out from the shards and the taker has everything that was; gives this host's last word.
async fn bring_up(
    cluster: &Cluster,
    pool: PoolUid,
    shards: &[ShardId],
    peer: PeerId,
    named: &str,
) -> Result<Seq, String> {
    // The follower hears of it and tells the kernel; what is in flight is on the disk before the kernel says so.
    let wanted: BTreeSet<ShardId> = shards.iter().copied().collect();
    cluster.inner.bell.notify_waiters();
    for _ in 0..200 {
        if is_silent(cluster, pool, &wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if !is_silent(cluster, pool, &wanted) {
        return Err("this host is still about to answer requests for these shards; ask again".to_owned());
    }
    let cut = Seq(*cluster.inner.parts.view.committed().borrow());
    if acks::bring_up(cluster, peer, cut).await {
        return Ok(cut);
    }
    Err(format!("{named} has not heard yet what was handed out from these shards; ask again"))
}

/// Shards whose offer came to nothing are taken back in a new term, in which the old offer cannot count any more.
async fn settle_stopped(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> anyhow::Result<()> {
    // What is being offered now, by an operator's word say, has not come to anything yet.
    let Ok(_nothing_offered) = cluster.inner.offering.try_lock() else { return Ok(()) };
    let stopped = cluster.inner.stopped.lock().clone();
    if stopped.is_empty() {
        return Ok(());
    }
    let wishes = seat.book.wishes(ledger);
    let wishes: BTreeSet<(PoolUid, ShardId)> =
        wishes.iter().filter(|wish| wish.from == seat.me).map(|wish| (wish.pool, wish.shard)).collect();
    for (pool, shard, epoch) in stopped.iter() {
        let ours = ledger.grant(pool, shard).filter(|grant| grant.holder == seat.me && grant.epoch == epoch);
        if ours.is_some() && !wishes.contains(&(pool, shard)) {
            let (shards, member) = (vec![shard], seat.me);
            seat.carry_out(LedgerCommand::TakeBack { pool, shards, member, epoch }, DECIDE_WITHIN).await?;
        }
    }
    let ledger = seat.book.ledger();
    let still = |pool: PoolUid, _, _| ledger.pool(pool).is_some();
    cluster.keep_stopped(still)
}

impl Cluster {
    /// Writes down that these shards are handed out from no more.
    fn stop_shards(&self, shards: &[(PoolUid, ShardId, Epoch)]) -> anyhow::Result<()> {
        let mut stopped = self.inner.stopped.lock();
        *stopped = stopped.changed(&self.inner.settings.data_path, shards, |_, _, _| true)?;
        Ok(())
    }

    fn keep_stopped(&self, keep: impl Fn(PoolUid, ShardId, Epoch) -> bool) -> anyhow::Result<()> {
        let mut stopped = self.inner.stopped.lock();
        *stopped = stopped.changed(&self.inner.settings.data_path, &[], keep)?;
        Ok(())
    }

    pub(super) fn is_connected(&self, peer: &str) -> bool {
        self.inner.net.connected().iter().any(|one| one.to_string() == peer)
    }

    /// Where others find this host.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.inner.net.local_addresses()
    }
}
