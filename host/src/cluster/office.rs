//! What operators order, and that they are shown what there is (`status`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::cluster::{Cluster as Port, ClusterError, ClusterStatus, Doing, HashringStatus, QuarantineOrder, ShardOrder};
use kernel::ledger::{HostRole, Ledger, LedgerCommand, LedgerError, LedgerReply, Member};
use kernel::{ClusterId, MemberId, Pool, PoolUid, ShardId};
use std::sync::Arc;

use super::door::Refusal;
use super::seat::{Membership, Seat, Undecided};
use super::{Cluster, Vector, govern, inquiry, random};
use crate::clock;

const WITHIN: Duration = Duration::from_secs(15);

impl Port for Cluster {
    fn status(&self) -> ClusterStatus {
        self.status_now()
    }

    fn hashring(&self) -> HashringStatus {
        self.ring_now()
    }

    fn waits(&self) -> bool {
        self.seat().is_none()
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
            let until = tokio::time::Instant::now() + WITHIN;
            // What others write meanwhile they tell each other.
            let heard = cluster.vector();
            loop {
                if !cluster.is_handed_on(&seat, &heard) {
                    if tokio::time::Instant::now() >= until {
                        let why =
                            "most other hosts have not heard yet what this one wrote last; ask again while it runs";
                        return Err(ClusterError::Unavailable(why.to_owned()));
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
                match decide(&seat, LedgerCommand::Leave { member: seat.me }).await {
                    Ok(_) => return Ok(cluster.status_now()),
                    Err(ClusterError::Refused(why)) if tokio::time::Instant::now() < until => {
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

    fn remove(&self, member: String, reason: String) -> Doing<ClusterStatus> {
        let cluster = self.clone();
        Box::pin(async move {
            let seat = cluster.needs_seat()?;
            let member = find(&seat.book.ledger(), &member)?;
            if reason.trim().is_empty() {
                let (field, value) = ("reason".to_owned(), reason);
                return Err(ClusterError::Invalid { field, value, remedy: "must say why, for the record".to_owned() });
            }
            // Its vote and its part in the log end soon after, as of everybody whom the ledger does not list.
            decide(&seat, LedgerCommand::Remove { member, reason }).await?;
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
            let mut by_epoch: BTreeMap<kernel::Epoch, Vec<ShardId>> = BTreeMap::new();
            for shard in &order.shards {
                let grant = ledger.grant(uid, *shard).ok_or_else(|| no_shard(*shard))?;
                if grant.holder != seat.me {
                    let holder = ledger.member(grant.holder).map_or_else(String::new, |holder| holder.node.to_string());
                    return Err(ClusterError::Refused(format!(
                        "shard {shard} is held by {holder}: a shard is moved by its holder, ask there"
                    )));
                }
                by_epoch.entry(grant.epoch).or_default().push(*shard);
            }
            let mut moved = 0;
            for (epoch, shards) in by_epoch {
                let done = govern::offer(&cluster, &seat, uid, &shards, epoch, to).await;
                done.map_err(|error| ClusterError::Refused(format!("{error:#}")))?;
                moved += shards.len() as u64;
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
            let mut groups: BTreeMap<(MemberId, kernel::Epoch), Vec<ShardId>> = BTreeMap::new();
            for shard in &order.shards {
                let grant = ledger.grant(uid, *shard).ok_or_else(|| no_shard(*shard))?;
                groups.entry((grant.holder, grant.epoch)).or_default().push(*shard);
            }
            for from in groups.keys().map(|(from, _)| *from).collect::<BTreeSet<_>>() {
                inquiry::await_known_by(&cluster, &seat, to, from).await?;
            }
            let mut seized = 0;
            for ((from, epoch), shards) in groups {
                seized += shards.len() as u64;
                let (reason, by, at_ms) = (order.reason.clone(), order.by.clone(), clock::wall_ms());
                decide(&seat, LedgerCommand::Seize { pool: uid, shards, from, epoch, to, reason, by, at_ms }).await?;
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
            let acknowledged = self.inner.acknowledged.lock();
            let theirs = seat.peer_of(other).and_then(|peer| acknowledged.get(&peer)?.get(&origin).copied());
            theirs.unwrap_or_default()
        })
    }

    pub(super) fn needs_seat(&self) -> Result<Arc<Seat>, ClusterError> {
        self.seat().ok_or_else(|| {
            ClusterError::Refused(
                "this host is in no cluster: nexus cluster init forms one, nexus cluster join joins one".to_owned(),
            )
        })
    }

    /// Forms the ledger with this host as its only member.
    async fn form(&self) -> Result<ClusterStatus, ClusterError> {
        let _one_at_a_time = self.inner.forming.lock().await;
        if let Some(seat) = self.seat() {
            return Err(ClusterError::Refused(format!("this host is a member of cluster {} already", seat.cluster)));
        }
        let restored = &self.inner.parts.restored;
        if restored.was_member() {
            return Err(ClusterError::Refused(
                "this host was restored from the backup of a member: nexus cluster join lets it join its cluster again"
                    .to_owned(),
            ));
        }
        if !restored.pools().is_empty() {
            return Err(ClusterError::Refused(
                "this host was restored from a backup, and pools of it are quarantined: start it without peers until \
                 the quarantine is over, or end it there with nexus shard end-quarantine"
                    .to_owned(),
            ));
        }
        let other = self.member_nearby().await;
        if let Some(node) = other {
            return Err(ClusterError::Refused(format!(
                "{node}, a configured peer, is in a cluster already: nexus cluster join joins it"
            )));
        }
        let failed = |error: anyhow::Error| ClusterError::Unavailable(format!("{error:#}"));
        let drawn = u128::from_le_bytes(random::<16>().map_err(failed)?);
        let membership = Membership::new(ClusterId(drawn), MemberId(1));
        let seat = Seat::take(self, membership).await.map_err(failed)?;
        let peer = self.inner.net.local_peer().to_string();
        seat.consensus.init(peer.clone()).await.map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let own = &self.inner.settings;
        let join = LedgerCommand::Join {
            node: own.node.clone(),
            origin: own.origin,
            peer,
            addresses: self.addresses(),
            role: HostRole::Core,
            weight: own.weight.max(1),
            protocol: own.protocol,
            at_ms: clock::wall_ms(),
        };
        decide(&seat, join).await?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let lease_ms = millis(own.node_lease);
        let terms = seat.book.ledger().terms();
        let grace_ms = millis(own.lease_grace).max(lease_ms / 100);
        decide(&seat, LedgerCommand::SetTerms(kernel::ledger::Terms { lease_ms, grace_ms, ..terms })).await?;
        let pools: Vec<kernel::Pool> =
            self.inner.parts.view.pools(None).into_iter().map(|pool| kernel::Pool::clone(&pool)).collect();
        if !pools.is_empty() {
            decide(&seat, LedgerCommand::Adopt { member: MemberId(1), pools }).await?;
        }
        self.sit(seat);
        Ok(self.status_now())
    }

    /// A connected host that is a member of some cluster.
    async fn member_nearby(&self) -> Option<String> {
        for peer in self.inner.net.connected() {
            let ask = super::messages::write(&super::messages::HelloAsk::Who);
            let answer = self.inner.net.request(peer, net::Channel::Hello, ask, Duration::from_secs(3)).await;
            let Ok(answer) = answer else { continue };
            if let Ok(super::messages::HelloAnswer::Who { node, seat: Some(_), .. }) =
                super::messages::read(&answer.body)
            {
                return Some(node.to_string());
            }
        }
        None
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
            if let (Some(_), [only]) = (&address, ledger.members().values().collect::<Vec<_>>().as_slice())
                && only.id == seat.me
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
        let until = tokio::time::Instant::now() + WITHIN;
        *self.inner.other_key.lock() = None;
        let mut last = None;
        while tokio::time::Instant::now() < until {
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
