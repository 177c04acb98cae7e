//! When a host is lost: its node lease is declared over, its leased shards go to others, and what it may have handed out there
//! unheard is kept free until nobody can hold it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::ledger::{Bereft, GrantKind, Ledger, LedgerCommand, Member, Quarantines};
use kernel::{Epoch, MemberId, Origin, PoolUid, ShardId};
use net::PeerId;

use super::inquiry::{known_here, last_words, nobody_has_more, wrote_until};
use super::seat::Seat;
use super::{Cluster, RETAIN_BYTES, Vector};
use crate::clock;

const LOOK_EVERY: Duration = Duration::from_millis(500);
const DECIDE_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked which part of the log others still need, milliseconds.
const RETAIN_EVERY_MS: u64 = 10_000;

/// Between two attempts to open the ledger again, milliseconds.
const LEAST_PAUSE_MS: u64 = 1_000;
const MOST_PAUSE_MS: u64 = 30_000;

/// Shards taken over by one entry of the ledger.
const TAKEN: usize = 64;

/// Looks after lost hosts.
pub(super) async fn run(cluster: Cluster) {
    let mut renewals = Renewals::default();
    let mut quarantines = Quarantines::new(cluster.tolerance_ms());
    let mut retained_ms = 0;
    let mut reopening = Reopening::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        if reopening.look(&cluster, &seat).await {
            // Who leads again saw nobody renew meanwhile.
            renewals = Renewals::default();
            continue;
        }
        let ledger = seat.book.ledger();
        if cluster.is_another_life(&seat, &ledger) {
            continue;
        }
        let now_ms = clock::boot_ms();
        if now_ms.saturating_sub(retained_ms) >= RETAIN_EVERY_MS {
            retain(&cluster, &seat, &ledger);
            retained_ms = now_ms;
        }
        cluster.arrive(&seat, &ledger).await;
        cluster.inner.parts.vitals.removed(seat.is_removed());
        depose_lost(&seat, &ledger, &mut renewals).await;
        if let Err(error) = take_over(&cluster, &seat, &ledger).await {
            tracing::debug!(error = format_args!("{error:#}"), "no shards were taken over yet");
        }
        if let Err(error) = forgo(&cluster, &seat, &ledger).await {
            tracing::debug!(error = format_args!("{error:#}"), "shards still wait for hosts that are gone");
        }
        if let Err(error) = end_quarantines(&cluster, &seat, &ledger, &mut quarantines).await {
            tracing::debug!(error = format_args!("{error:#}"), "a quarantine could not be ended yet");
        }
    }
}

/// When a part of the ledger that ended by itself is opened again: not at once, and ever later while it ends anew.
#[derive(Debug, Default)]
struct Reopening {
    told: Option<String>,
    pause_ms: u64,
    next_ms: u64,
    tried_ms: u64,
}

impl Reopening {
    /// The daemon does not end with it: it serves from its escrow, and on a full disk a new start would fail, too.
    /// True once it is open again.
    async fn look(&mut self, cluster: &Cluster, seat: &Seat) -> bool {
        let now_ms = clock::boot_ms();
        let Some(why) = seat.consensus.state().failure else {
            if now_ms > self.next_ms + MOST_PAUSE_MS {
                *self = Self::default();
            }
            return false;
        };
        if self.told.as_ref() != Some(&why) {
            tracing::error!(why, "this member's part of the ledger has stopped; it is opened again when it can be");
            self.told = Some(why);
        }
        let full_ms = if cluster.inner.parts.vitals.is_full() { MOST_PAUSE_MS } else { 0 };
        if now_ms < self.next_ms.max(self.tried_ms + full_ms) {
            return false;
        }
        self.pause_ms = (self.pause_ms * 2).clamp(LEAST_PAUSE_MS, MOST_PAUSE_MS);
        (self.tried_ms, self.next_ms) = (now_ms, now_ms + self.pause_ms);
        match seat.retake(cluster).await {
            Ok(seat) => {
                cluster.sit(seat);
                self.told = None;
                tracing::info!("this member's part of the ledger is open again");
                true
            }
            Err(error) => {
                let error = format_args!("{error:#}");
                tracing::warn!(error, "this member's part of the ledger could not be opened again yet");
                false
            }
        }
    }
}

/// Lets go of what every other member has; until each has said so in this life of the daemon, of nothing.
fn retain(cluster: &Cluster, seat: &Seat, ledger: &Ledger) {
    let acknowledged = cluster.inner.acknowledged.lock();
    let others = ledger.members().values().filter(|member| member.id != seat.me);
    let vectors: Option<Vec<&Vector>> =
        others.map(|member| acknowledged.get(&member.peer.parse::<PeerId>().ok()?)).collect();
    let Some(vectors) = vectors else { return };
    let floor = cluster.vector().into_iter().map(|(origin, own)| {
        let least = vectors.iter().map(|vector| vector.get(&origin).copied().unwrap_or_default()).min();
        (Some(origin), least.map_or(own, |least| least.min(own)))
    });
    let floor = floor.collect();
    cluster.inner.parts.reader.retain(floor, RETAIN_BYTES);
}

/// When the leader saw each member's last renewal. No clock is in the ledger, so whoever leads counts anew.
#[derive(Debug, Default)]
struct Renewals {
    term: u64,
    seen: BTreeMap<MemberId, (u64, u64)>,
}

impl Renewals {
    /// How long the member's last renewal was seen ago, milliseconds.
    fn age_ms(&mut self, member: &Member, now_ms: u64) -> u64 {
        let seen = self.seen.entry(member.id).or_insert((member.lease.renewed, now_ms));
        if seen.0 != member.lease.renewed {
            *seen = (member.lease.renewed, now_ms);
        }
        now_ms.saturating_sub(seen.1)
    }
}

/// The leader declares leases over that nobody renewed for their length and the grace.
async fn depose_lost(seat: &Seat, ledger: &Ledger, renewals: &mut Renewals) {
    let log = seat.consensus.state();
    if log.leader != Some(u64::from(seat.me.0)) {
        *renewals = Renewals::default();
        return;
    }
    if renewals.term != log.term {
        *renewals = Renewals { term: log.term, ..Renewals::default() };
    }
    let now_ms = clock::boot_ms();
    let lost = |member: &&Member| member.role.on_ring() && !member.is_deposed();
    for member in ledger.members().values().filter(lost) {
        let age_ms = renewals.age_ms(member, now_ms);
        // Clocks differ in rate by up to 1 %.
        let over_ms = member.lease.lease_ms + member.lease.lease_ms / 100 + member.lease.grace_ms;
        // The leader itself, too: after a reboot it is a process that nobody knows, and its former one's lease must end.
        if age_ms <= over_ms {
            continue;
        }
        let depose = LedgerCommand::Depose { member: member.id, last_renewal: member.lease.renewed };
        match seat.decide(depose, DECIDE_WITHIN).await {
            Ok(Ok(_)) => tracing::warn!(node = %member.node, "a host is lost: its node lease is declared over"),
            Ok(Err(error)) => tracing::info!(%error, "a lost host is not deposed"),
            Err(error) => tracing::debug!(%error, "a lost host is not deposed yet"),
        }
    }
}

/// Takes over what the ring gives this host of a deposed one.
async fn take_over(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<(PoolUid, MemberId, Epoch), Vec<ShardId>> = BTreeMap::new();
    for wish in seat.book.wishes(ledger).iter().filter(|wish| wish.to == seat.me) {
        let deposed = ledger.member(wish.from).is_some_and(Member::is_deposed);
        let leased = ledger.grant(wish.pool, wish.shard).filter(|grant| grant.kind == GrantKind::Leased);
        if let Some(grant) = leased.filter(|_| deposed) {
            let shards = wanted.entry((wish.pool, wish.from, grant.epoch)).or_default();
            if shards.len() < TAKEN {
                shards.push(wish.shard);
            }
        }
    }
    let Some(((pool, from, epoch), shards)) = wanted.into_iter().next() else { return Ok(()) };
    let Some(lost) = ledger.member(from) else { return Ok(()) };
    let Some(cut) = last_words(cluster, seat, ledger, lost.origin).await else { return Ok(()) };
    let count = shards.len();
    let to = seat.me;
    seat.carry_out(LedgerCommand::TakeOver { pool, shards, from, epoch, to, cut }, DECIDE_WITHIN).await?;
    tracing::warn!(%pool, from = %lost.node, count, cut = cut.0, "shards of a lost host are taken over");
    Ok(())
}

/// Goes on without the end of logs whose hosts are gone: else shards that wait for it would stay shut for ever.
async fn forgo(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> anyhow::Result<()> {
    let Some(bereft) = ledger.next_bereft(seat.me, &cluster.vector(), TAKEN) else { return Ok(()) };
    let Bereft { pool, shards, epoch, logs } = bereft;
    if !nobody_has_more(cluster, seat, ledger, &logs).await {
        return Ok(());
    }
    let (count, member) = (shards.len(), seat.me);
    seat.carry_out(LedgerCommand::Forgo { pool, shards, member, epoch, logs: logs.clone() }, DECIDE_WITHIN).await?;
    tracing::warn!(%pool, count, ?logs, "the last words of a host that is gone are lost: shards that it had are quarantined");
    Ok(())
}

/// Ends quarantines: the former holder's log is here to its end, or what it may have handed out has ended.
async fn end_quarantines(
    cluster: &Cluster,
    seat: &Seat,
    ledger: &Ledger,
    quarantines: &mut Quarantines,
) -> anyhow::Result<()> {
    let now_ms = clock::boot_ms();
    quarantines.look(ledger, seat.me, now_ms);
    for (uid, pool) in ledger.pools() {
        let mut by_epoch: BTreeMap<Epoch, (Vec<ShardId>, BTreeSet<Origin>)> = BTreeMap::new();
        // What came late while this host was silent it says again when it answers; before that the doubt is not over.
        let answered = cluster.inner.answered.lock().get(uid).cloned().unwrap_or_default();
        for (shard, grant) in pool.grants.iter() {
            if grant.holder == seat.me && grant.is_doubtful() && answered.get(&shard) == Some(&grant.epoch) {
                let kept = by_epoch.entry(grant.epoch).or_default();
                kept.0.push(shard);
                kept.1.extend(pool.awaited(shard));
            }
        }
        for (epoch, (mut shards, origins)) in by_epoch {
            if !heard_out(cluster, ledger, &origins).await {
                shards.retain(|shard| quarantines.are_outlived(*uid, pool, *shard, ledger.terms(), now_ms));
            }
            for shards in shards.chunks(TAKEN) {
                let (pool, shards, member) = (*uid, shards.to_vec(), seat.me);
                seat.carry_out(LedgerCommand::Released { pool, shards, member, epoch }, DECIDE_WITHIN).await?;
            }
            if !shards.is_empty() {
                let count = shards.len();
                tracing::info!(pool = %pool.record.draft.id, count, "shards are handed out from again");
            }
        }
    }
    Ok(())
}

/// Whether each of these origins' hosts is back, knows that its shards are not its own any more, and everything it wrote
/// before is here.
async fn heard_out(cluster: &Cluster, ledger: &Ledger, origins: &BTreeSet<Origin>) -> bool {
    if origins.is_empty() {
        return false;
    }
    // This host knows what it wrote itself, before the shard went to others and came back.
    for origin in origins.iter().filter(|origin| **origin != cluster.inner.settings.origin) {
        let Some(member) = ledger.members().values().find(|member| member.origin == *origin) else { return false };
        let Ok(peer) = member.peer.parse::<PeerId>() else { return false };
        // It has told its kernel of everything the ledger said when this host looked.
        let Some(last) = wrote_until(cluster, peer, *origin, ledger.last_index()).await else { return false };
        if known_here(cluster, *origin) < last {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(renewed: u64) -> Member {
        let mut ledger = Ledger::new(kernel::ClusterId(1));
        let join = LedgerCommand::Join {
            node: "core-1".parse().expect("a node id"),
            origin: Origin { host: 1, incarnation: 1 },
            peer: "peer".to_owned(),
            addresses: Vec::new(),
            role: kernel::ledger::HostRole::Core,
            weight: 1,
            protocol: super::super::SPOKEN,
            at_ms: 0,
        };
        let applied = ledger.apply(renewed, &kernel::ledger::LedgerEntry { id: kernel::CommandId(1), command: join });
        assert!(applied.outcome.is_ok());
        ledger.members().values().next().expect("joined").clone()
    }

    #[test]
    fn a_renewal_is_as_old_as_it_was_seen_and_a_later_one_is_new() {
        let mut renewals = Renewals::default();
        assert_eq!(renewals.age_ms(&member(5), 1_000), 0);
        assert_eq!(renewals.age_ms(&member(5), 61_000), 60_000);
        assert_eq!(renewals.age_ms(&member(6), 62_000), 0);
        assert_eq!(renewals.age_ms(&member(6), 63_000), 1_000);
    }
}
