//! What keeps the cluster in shape without anybody's asking: this host's node lease, and shards that should live elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::ledger::{ClosingWhat, Ledger, LedgerCommand, LedgerError, LedgerReply, Member};
use kernel::{Command, Epoch, News, PoolUid, ShardId};
use tokio::time::Instant;
use view::AllocationFilter;

use super::follow::note;
use super::seat::Seat;
use super::{Cluster, Settings, offers};
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
    Ok(offers::offer(cluster, seat, &next, Instant::now() + offers::GIVEN_WITHIN).await?)
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
    pub(super) fn stop_shards(&self, shards: &[(PoolUid, ShardId, Epoch)]) -> anyhow::Result<()> {
        let mut stopped = self.inner.stopped.lock();
        *stopped = stopped.changed(&self.inner.settings.data_path, shards, |_, _, _| true)?;
        Ok(())
    }

    pub(super) fn keep_stopped(&self, keep: impl Fn(PoolUid, ShardId, Epoch) -> bool) -> anyhow::Result<()> {
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
