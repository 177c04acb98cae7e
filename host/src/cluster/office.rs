//! What operators order, and that they are shown what there is (`status`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::cluster::{Cluster as Port, ClusterError, ClusterStatus, Doing, HashringStatus, QuarantineOrder, ShardOrder};
use api::engine::EngineError;
use kernel::ledger::{HostRole, Ledger, LedgerCommand, LedgerError, LedgerReply, Member, Offer, Word};
use kernel::{Epoch, MemberId, Pool, PoolUid, ShardId};
use std::sync::Arc;
use tokio::time::Instant;

use super::door::Refusal;
use super::seat::{Seat, Undecided};
use super::{Cluster, Vector, inquiry, offers};
use crate::clock;

const WITHIN: Duration = Duration::from_secs(15);

/// How long a host that has joined is waited for until it knows what the others do.
const ARRIVES_WITHIN: Duration = Duration::from_secs(3);

impl Port for Cluster {
    fn status(&self) -> ClusterStatus {
        self.status_now()
    }

    fn hashring(&self) -> HashringStatus {
        self.ring_now()
    }

    fn outside(&self) -> Option<String> {
        match self.seat() {
            None => Some(crate::vitals::WAITS.to_owned()),
            Some(seat) => seat.is_removed().then(|| crate::vitals::REMOVED.to_owned()),
        }
    }

    fn quarantined_shards(&self, pool: &Pool) -> usize {
        let Some(seat) = self.seat() else { return 0 };
        let ledger = seat.book.ledger();
        ledger.pool(pool.uid).map_or(0, |found| found.grants.iter().filter(|(_, grant)| grant.is_doubtful()).count())
    }

    fn init(&self) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move { cluster.form().await })
    }

    fn join(&self, address: Option<String>) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move { cluster.ask_anybody_in(address).await })
    }

    fn leave(&self) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let ledger = seat.book.ledger();
            let is_core = |member: &&Member| member.role == HostRole::Core;
            if ledger.members().values().filter(is_core).all(|member| member.id == seat.me) {
                let last = LedgerError::LastCore { member: seat.me };
                return Err(ClusterError::Refused(last.to_string()));
            }
            decide(&seat, drained(seat.me, true)).await?;
            let until = Instant::now() + WITHIN;
            // What others write meanwhile they tell each other.
            let heard = cluster.vector();
            loop {
                // What is given away last counts, too, so the one is looked at before the other.
                let blocked = match seat.book.ledger().check_empty(seat.me) {
                    Err(held) => Some(ClusterError::Refused(held.to_string())),
                    Ok(()) => (!cluster.is_handed_on(&seat, &heard)).then(|| {
                        let why =
                            "most other hosts have not heard yet what this one wrote last; ask again while it runs";
                        ClusterError::Unavailable(why.to_owned())
                    }),
                };
                if let Some(why) = blocked {
                    if Instant::now() >= until {
                        return Err(why);
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                match decide(&seat, LedgerCommand::Leave { member: seat.me }).await {
                    Ok(_) => {
                        // Seen at once, not when it is looked at next.
                        cluster.inner.parts.vitals.removed(true);
                        return Ok(cluster.status_now());
                    }
                    Err(ClusterError::Refused(why)) if Instant::now() < until => {
                        tracing::debug!(why, "not empty yet");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn promote(&self, member: String) -> Doing<ClusterStatus> {
        self.set_role(member, HostRole::Core)
    }

    fn demote(&self, member: String) -> Doing<ClusterStatus> {
        self.set_role(member, HostRole::Write)
    }

    fn remove(&self, member: String, reason: String, by: String) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let member = find(&seat.book.ledger(), &member)?;
            if reason.trim().is_empty() {
                let (field, value) = ("reason".to_owned(), reason);
                return Err(ClusterError::Invalid { field, value, remedy: "must say why, for the record".to_owned() });
            }
            // Its vote and its part in the log end soon after, as of everybody whom the ledger does not list.
            let word = Word { reason, by, at_ms: clock::wall_ms() };
            decide(&seat, LedgerCommand::Remove { member, word }).await?;
            Ok(cluster.status_now())
        })
    }

    fn drain(&self, member: String, draining: bool) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let member = find(&seat.book.ledger(), &member)?;
            decide(&seat, drained(member, draining)).await?;
            Ok(cluster.status_now())
        })
    }

    fn move_shards(&self, order: ShardOrder) -> Doing<u64> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let ledger = seat.book.ledger();
            let (uid, to) = (find_pool(&ledger, &order)?, find(&ledger, &order.to)?);
            let groups = not_yet_at(&ledger, uid, &order.shards, to)?;
            for (from, _) in groups.keys() {
                offers::giver(&cluster, &seat, *from)?;
            }
            let (mut moved, until) = (0, Instant::now() + offers::GIVEN_WITHIN);
            for ((from, epoch), shards) in groups {
                let count = shards.len() as u64;
                let given =
                    offers::have_given(&cluster, &seat, from, Offer { pool: uid, shards, epoch, to }, until).await;
                match given {
                    Err(error) if moved > 0 => {
                        let why = format!("of {} shards {moved} are moved, and then: {error}", order.shards.len());
                        return Err(ClusterError::Unknown(why));
                    }
                    given => given?,
                }
                moved += count;
            }
            Ok(moved)
        })
    }

    fn seize_shards(&self, order: ShardOrder) -> Doing<u64> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let ledger = seat.book.ledger();
            let (uid, to) = (find_pool(&ledger, &order)?, find(&ledger, &order.to)?);
            let groups = not_yet_at(&ledger, uid, &order.shards, to)?;
            for from in groups.keys().map(|(from, _)| *from).collect::<BTreeSet<_>>() {
                inquiry::await_known_by(&cluster, &seat, to, from).await?;
            }
            let mut seized = 0;
            for ((from, epoch), shards) in groups {
                seized += shards.len() as u64;
                let (reason, by) = (order.reason.clone(), order.by.clone());
                let word = Word { reason, by, at_ms: clock::wall_ms() };
                decide(&seat, LedgerCommand::Seize { pool: uid, shards, from, epoch, to, word }).await?;
            }
            Ok(seized)
        })
    }

    fn end_quarantine(&self, order: QuarantineOrder) -> Doing<u64> {
        let cluster = self.clone();
        Box::pin(async move { cluster.end_quarantine_now(order).await })
    }
}

impl Cluster {
    /// Whether this host's log can go, and its copies of the others': enough of them have what counts.
    fn is_handed_on(&self, seat: &Seat, heard: &Vector) -> bool {
        seat.book.ledger().is_handed_on(seat.me, heard, |other, origin| {
            seat.peer_of(other).and_then(|peer| self.said_by(peer, origin)).unwrap_or_default()
        })
    }

    /// The place in the cluster that orders are given from.
    pub(super) fn needs_seat(&self) -> Result<Arc<Seat>, ClusterError> {
        self.outside().map_or(Ok(()), |why| Err(ClusterError::Refused(why)))?;
        self.seat().ok_or_else(|| ClusterError::Refused(crate::vitals::WAITS.to_owned()))
    }

    /// The same, for requests.
    pub(super) fn needs_place(&self) -> Result<Arc<Seat>, EngineError> {
        self.outside().map_or(Ok(()), |why| Err(EngineError::NotInCluster(why)))?;
        self.seat().ok_or_else(|| EngineError::NotInCluster(crate::vitals::WAITS.to_owned()))
    }

    async fn ask_anybody_in(&self, address: Option<String>) -> Result<ClusterStatus, ClusterError> {
        let _one_at_a_time = self.inner.forming.lock().await;
        if let Some(seat) = self.seat() {
            self.settle_in(&seat).await;
            if seat.is_removed() {
                return Err(ClusterError::Refused(crate::vitals::REMOVED.to_owned()));
            }
            let ledger = seat.book.ledger();
            // To join again is no error, a job does it at every start. To join another cluster is.
            let foreign = self.inner.foreign.lock().values().next().cloned();
            if let [only] = ledger.members().values().collect::<Vec<_>>().as_slice()
                && only.id == seat.me
                && (address.is_some() || foreign.is_some())
            {
                return Err(ClusterError::Refused(format!(
                    "this host is a cluster of its own already, {}: a host joins empty, so start it with an empty data directory",
                    seat.cluster
                )));
            }
            return Ok(self.status_now());
        }
        if let Some(address) = address {
            let found = address.parse().map_err(|why: net::InvalidPeerAddress| ClusterError::Invalid {
                field: "address".to_owned(),
                value: address.clone(),
                remedy: why.to_string(),
            })?;
            self.inner.net.look_for(found);
        }
        if !self.inner.parts.view.pools(None).is_empty() {
            return Err(ClusterError::Refused(
                "this host has pools of its own: a host joins empty, so start it with an empty data directory"
                    .to_owned(),
            ));
        }
        if self.inner.parts.view.note_counts().0 > 0 {
            return Err(ClusterError::Refused(
                "this host has notes of its own, of which the members know nothing: a host joins empty, so start it with an empty data directory"
                    .to_owned(),
            ));
        }
        let until = Instant::now() + WITHIN;
        *self.inner.other_key.lock() = None;
        let mut last = None;
        while Instant::now() < until {
            for peer in self.inner.net.connected() {
                match self.ask_in(peer).await {
                    Ok(()) => {
                        self.settle_in(self.needs_seat()?.as_ref()).await;
                        return Ok(self.status_now());
                    }
                    Err(Refusal::Final(why)) => return Err(ClusterError::Refused(why)),
                    Err(Refusal::NotNow(why)) => last = Some(why),
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let nobody = || match self.inner.other_key.lock().clone() {
            None => "no host can be reached".to_owned(),
            Some(address) => format!(
                "no host can be reached; the one at {address} has another cluster key, or none: give both the same p2p.cluster_key"
            ),
        };
        Err(ClusterError::Unavailable(last.unwrap_or_else(nobody)))
    }

    /// Waits until this host's own part of the ledger has it as a member, and its kernel knows the pools: who asks it next
    /// must not be told that a pool is unknown. A ledger that comes late is no error: the host is a member.
    async fn settle_in(&self, seat: &Seat) {
        let mut told = self.inner.told.subscribe();
        let settled = async {
            let known = told.wait_for(|told| {
                let ledger = seat.book.ledger();
                ledger.member(seat.me).is_some() && *told >= ledger.last_index()
            });
            known.await.is_ok()
        };
        if !tokio::time::timeout(WITHIN, settled).await.unwrap_or_default() {
            tracing::warn!("this host has joined and has not heard the whole ledger yet");
        }
        // Who may be asked by the next command should answer for its share; with hosts away that may take longer.
        let arrived = async {
            while !self.has_heard_all() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _in_time = tokio::time::timeout(ARRIVES_WITHIN, arrived).await;
    }

    fn set_role(&self, member: String, role: HostRole) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let member = find(&seat.book.ledger(), &member)?;
            let role = Some(role);
            decide(&seat, LedgerCommand::SetMember { member, role, weight: None, draining: None, addresses: None })
                .await?;
            Ok(cluster.status_now())
        })
    }
}

/// Gives a member nothing more and its shards to others, or takes that back.
const fn drained(member: MemberId, draining: bool) -> LedgerCommand {
    LedgerCommand::SetMember { member, role: None, weight: None, draining: Some(draining), addresses: None }
}

pub(super) async fn decide(seat: &Seat, command: LedgerCommand) -> Result<LedgerReply, ClusterError> {
    match seat.decide(command, WITHIN).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(LedgerError::FieldInvalid { field, found, right })) => {
            let remedy = format!("must be {right}");
            Err(ClusterError::Invalid { field: field.to_string(), value: found, remedy })
        }
        Ok(Err(error)) => Err(ClusterError::Refused(error.to_string())),
        Err(Undecided::Unavailable(why)) => Err(ClusterError::Unavailable(why)),
        Err(Undecided::Unknown(why)) => Err(ClusterError::Unknown(why)),
    }
}

/// A member by its node id or number.
fn find(ledger: &Ledger, member: &str) -> Result<MemberId, ClusterError> {
    let named = ledger.members().values().find(|known| known.node.as_str() == member).map(|known| known.id);
    let number = || member.parse().ok().map(MemberId).filter(|number| ledger.member(*number).is_some());
    named.or_else(number).ok_or_else(|| {
        let known: Vec<&str> = ledger.members().values().map(|member| member.node.as_str()).collect();
        ClusterError::Invalid {
            field: "member".to_owned(),
            value: member.to_owned(),
            remedy: format!("must be the node id or number of a member: {}", known.join(", ")),
        }
    })
}

/// Those of the shards that another member than `to` holds, by holder and term. The others it was asked for before, or they went
/// there by themselves.
fn not_yet_at(
    ledger: &Ledger,
    pool: PoolUid,
    shards: &[ShardId],
    to: MemberId,
) -> Result<BTreeMap<(MemberId, Epoch), Vec<ShardId>>, ClusterError> {
    let mut groups: BTreeMap<(MemberId, Epoch), Vec<ShardId>> = BTreeMap::new();
    for shard in shards {
        let grant = ledger.grant(pool, *shard).ok_or_else(|| no_shard(*shard))?;
        if grant.holder != to {
            groups.entry((grant.holder, grant.epoch)).or_default().push(*shard);
        }
    }
    Ok(groups)
}

fn find_pool(ledger: &Ledger, order: &ShardOrder) -> Result<PoolUid, ClusterError> {
    pool_named(ledger, &order.tenant, &order.pool_id)
}

pub(super) fn pool_named(ledger: &Ledger, tenant: &str, pool_id: &str) -> Result<PoolUid, ClusterError> {
    let wanted = |pool: &kernel::Pool| pool.draft.id.as_str() == pool_id && pool.draft.tenant.as_str() == tenant;
    let found = ledger.pools().iter().find(|(_, pool)| wanted(&pool.record)).map(|(uid, _)| *uid);
    found.ok_or_else(|| ClusterError::Invalid {
        field: "pool_id".to_owned(),
        value: pool_id.to_owned(),
        remedy: "must name a pool".to_owned(),
    })
}

fn no_shard(shard: ShardId) -> ClusterError {
    let (field, value) = ("shards".to_owned(), shard.to_string());
    ClusterError::Invalid { field, value, remedy: "must be shards of the pool".to_owned() }
}
