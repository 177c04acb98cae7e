//! Shards given away: by their holder when they should live elsewhere, or because an operator says so, at whatever host.

use std::collections::BTreeSet;
use std::time::Duration;

use api::cluster::ClusterError;
use kernel::ledger::{LedgerCommand, Offer};
use kernel::{MemberId, PoolUid, Seq, ShardId, Tenure};
use net::{Channel, PeerId, RequestError};
use tokio::time::Instant;

use super::messages::{self, StateAsk};
use super::office::decide;
use super::seat::Seat;
use super::{Cluster, acks, inquiry};

/// How long it may take until hosts begin to give shards away that they were asked for, and until another one says that it has.
/// Less than the command waits.
pub(super) const GIVEN_WITHIN: Duration = Duration::from_secs(20);

/// Whom to ask to give a member's shards away; `None`: it is this host.
pub(super) fn giver(cluster: &Cluster, seat: &Seat, holder: MemberId) -> Result<Option<PeerId>, ClusterError> {
    if holder == seat.me {
        return Ok(None);
    }
    let peer = seat.peer_of(holder).filter(|peer| cluster.is_connected(&peer.to_string()));
    let unreachable = || {
        let named = cluster.named(holder);
        ClusterError::Unavailable(format!(
            "{named} holds of these shards, has to give them away, and cannot be reached"
        ))
    };
    peer.ok_or_else(unreachable).map(Some)
}

/// Has whoever holds shards offer them: this host itself, or another one that is asked.
pub(super) async fn have_given(
    cluster: &Cluster,
    seat: &Seat,
    holder: MemberId,
    shards: Offer,
    until: Instant,
) -> Result<(), ClusterError> {
    let Some(peer) = giver(cluster, seat, holder)? else { return offer(cluster, seat, &shards, until).await };
    let named = cluster.named(holder);
    let ask = messages::write(&StateAsk::Give(shards));
    let within = until.saturating_duration_since(Instant::now());
    let why = match cluster.inner.net.request(peer, Channel::State, ask, within).await {
        Ok(response) => match cluster.read::<Result<(), ClusterError>>(peer, &response.body) {
            Ok(answer) => return answer.map_err(|error| error.said_by(&named)),
            Err(why) => why,
        },
        Err(error @ (RequestError::Busy | RequestError::TooLarge { .. })) => {
            let why = format!("{named} was not asked to give its shards away: {error}");
            return Err(ClusterError::Unavailable(why));
        }
        Err(error) => error.to_string(),
    };
    let why = format!("{named} was asked to give its shards away and did not answer ({why}); asking again is safe");
    Err(ClusterError::Unknown(why))
}

/// A member was asked to have shards of this one moved, and waits so long.
pub(super) async fn give_when_asked(cluster: &Cluster, shards: Offer, left: Duration) -> Result<(), ClusterError> {
    let seat = cluster.needs_seat().map_err(|error| ClusterError::Unavailable(error.to_string()))?;
    if shards.shards.is_empty() {
        return Ok(());
    }
    offer(cluster, &seat, &shards, Instant::now() + left.min(GIVEN_WITHIN)).await
}

/// One offer: stop, say so durably, wait until the taker knows it, then let the ledger decide. Without the wait the shards would be
/// nobody's if this host were lost before its last words were heard. What comes to nothing before the ledger was asked is handed
/// out from again.
///
/// It is begun before `until`, or not at all.
pub(super) async fn offer(
    cluster: &Cluster,
    seat: &Seat,
    Offer { pool, shards, epoch, to }: &Offer,
    until: Instant,
) -> Result<(), ClusterError> {
    let (pool, epoch, to) = (*pool, *epoch, *to);
    let late = || {
        ClusterError::Unavailable("other moves of shards, or what they wait for, took too long; ask again".to_owned())
    };
    // What another offer has asked the ledger for meanwhile must not be handed out from again by this one.
    let turn = tokio::time::timeout_at(until, cluster.inner.offering.lock()).await;
    let _one_at_a_time = turn.map_err(|_| late())?;
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
    if Instant::now() >= until {
        return Err(late());
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

/// Whether the kernel changes nothing in any of these shards any more, by its own word. One that is only kept still answers
/// for what is held there, and writes.
fn is_silent(cluster: &Cluster, uid: PoolUid, shards: &BTreeSet<ShardId>) -> bool {
    let kept = cluster.inner.kept.lock();
    kept.get(&uid).is_some_and(|kept| shards.iter().all(|shard| kept.get(shard) == Some(&Tenure::Silent)))
}
