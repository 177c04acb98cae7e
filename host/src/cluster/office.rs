//! What operators see of the cluster, and what they order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::cluster::{
    Cluster as Port, ClusterError, ClusterStatus, Doing, HashringStatus, LedgerStatus, MemberStatus, OriginStatus,
    PoolShards, QuarantineOrder, ShardOrder, ShardStatus, Standing, Vote,
};
use kernel::ledger::{GrantKind, GrantState, HostRole, Ledger, LedgerCommand, LedgerError, LedgerReply, Member};
use kernel::{ClusterId, MemberId, Origin, PoolUid, ProtocolVersion, Seq, ShardId};
use std::sync::Arc;

use super::door::Refusal;
use super::readings::describe;
use super::seat::{Membership, Seat, Undecided};
use super::{Cluster, Vector, govern, oversee, random};
use crate::clock;

const WITHIN: Duration = Duration::from_secs(15);

impl Port for Cluster {
    fn status(&self) -> ClusterStatus {
        self.status_now()
    }

    fn hashring(&self) -> HashringStatus {
        let Some(seat) = self.seat() else {
            return HashringStatus {
                virtual_nodes: kernel::Ring::VIRTUAL_NODES,
                points: Vec::new(),
                pools: Vec::new(),
            };
        };
        let ledger = seat.book.ledger();
        let ring = ledger.ring();
        let wishes: BTreeMap<(PoolUid, ShardId), MemberId> =
            seat.book.wishes(&ledger).iter().map(|wish| ((wish.pool, wish.shard), wish.to)).collect();
        let pools = ledger.pools().iter().map(|(uid, pool)| PoolShards {
            uid: *uid,
            pool_id: pool.record.draft.id.to_string(),
            tenant: pool.record.draft.tenant.to_string(),
            shards: pool
                .grants
                .iter()
                .map(|(shard, grant)| ShardStatus {
                    shard,
                    epoch: grant.epoch.0,
                    owner: grant.holder,
                    wished: wishes.get(&(*uid, shard)).copied().unwrap_or(grant.holder),
                    kind: kind(grant.kind).to_owned(),
                    state: state(grant.state).to_owned(),
                })
                .collect(),
        });
        HashringStatus {
            virtual_nodes: ledger.terms().virtual_nodes,
            points: ring.points().collect(),
            pools: pools.collect(),
        }
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
            decide(&seat, LedgerCommand::Remove { member, reason }).await?;
            let removed = seat.consensus.remove(u64::from(member.0)).await;
            removed.map_err(|error| ClusterError::Unavailable(error.to_string()))?;
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
                cluster.await_known_by(&seat, to, from).await?;
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
    /// Before a lost host's shards are another one's: waits until that one has what any member knows of the lost host's log.
    /// It would give out again what was given out, as far as it had not heard, and nobody waits for a majority in escrow.
    async fn await_known_by(&self, seat: &Seat, to: MemberId, from: MemberId) -> Result<(), ClusterError> {
        let until = tokio::time::Instant::now() + WITHIN;
        loop {
            let ledger = seat.book.ledger();
            let Some(lost) = ledger.member(from) else { return Ok(()) };
            let mut known = BTreeMap::new();
            for member in ledger.members().values().filter(|member| member.id != from) {
                known.insert(member.id, self.known_by(seat, member.id, lost.origin).await);
            }
            let behind = known.get(&to) < known.values().max();
            if !behind {
                return Ok(());
            }
            if tokio::time::Instant::now() >= until {
                let name =
                    |member: MemberId| ledger.member(member).map_or_else(String::new, |one| one.node.to_string());
                let (to, from) = (name(to), name(from));
                let why = format!("{to} has not heard yet all that others know of what {from} wrote; ask again");
                return Err(ClusterError::Unavailable(why));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// How far a member has the log of an origin: as it says now, or said last.
    async fn known_by(&self, seat: &Seat, member: MemberId, origin: Origin) -> Seq {
        let through = |vector: &Vector| vector.get(&origin).copied().unwrap_or_default();
        if member == seat.me {
            return through(&self.vector());
        }
        let Some(peer) = seat.peer_of(member) else { return Seq::default() };
        match oversee::ask(self, peer).await {
            Some(answer) => through(&answer.vector),
            None => self.inner.acknowledged.lock().get(&peer).map(through).unwrap_or_default(),
        }
    }

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

    fn status_now(&self) -> ClusterStatus {
        let own = &self.inner.settings;
        let seat = self.seat();
        let ledger = seat.as_ref().map(|seat| seat.book.ledger());
        let log = seat.as_ref().map(|seat| seat.consensus.state());
        let standing = match (&seat, &ledger) {
            (None, _) => Standing::Waiting,
            (Some(seat), Some(ledger)) if ledger.last_index() > 0 && ledger.member(seat.me).is_none() => {
                Standing::Removed
            }
            (Some(_), _) => Standing::Member,
        };
        let reachable =
            |member: &Member| seat.as_ref().is_some_and(|seat| seat.me == member.id) || self.is_connected(&member.peer);
        let voters: Vec<u64> = log.iter().flat_map(|log| log.voters.iter().map(|voter| voter.member)).collect();
        let majority = ledger.as_ref().is_some_and(|ledger| {
            let up = ledger
                .members()
                .values()
                .filter(|member| voters.contains(&u64::from(member.id.0)) && reachable(member));
            up.count() * 2 > voters.len()
        });
        let mut warnings = warnings(ledger.as_deref(), majority, reachable);
        if let Some(why) = log.as_ref().and_then(|log| log.failure.as_ref()) {
            warnings.push(format!("this member's part of the ledger has stopped: {why}; restart the daemon"));
        }
        warnings.extend(self.state_warnings(ledger.as_deref()));
        let vector = self.vector();
        let member = |member: &Member| self.member_status(member, ledger.as_deref(), &voters, reachable(member));
        ClusterStatus {
            standing,
            cluster_id: seat.as_ref().map(|seat| seat.cluster.to_string()),
            node: own.node.to_string(),
            member: seat.as_ref().map(|seat| seat.me),
            peer: self.inner.net.local_peer().to_string(),
            addresses: self.addresses(),
            ledger: log.map(|log| LedgerStatus {
                leader: log.leader.and_then(|leader| u32::try_from(leader).ok()).map(MemberId),
                term: log.term,
                committed: log.committed.unwrap_or_default(),
                applied: log.applied.unwrap_or_default(),
                majority,
            }),
            members: ledger.iter().flat_map(|ledger| ledger.members().values()).map(member).collect(),
            digest: self.inner.agreement.own().map(|own| own.digest.to_string()).unwrap_or_default(),
            vector: vector
                .iter()
                .map(|(origin, through)| OriginStatus {
                    host: format!("{:016x}", origin.host),
                    incarnation: origin.incarnation,
                    through: through.0,
                })
                .collect(),
            warnings,
        }
    }

    /// What is wrong with what this host knows of the others' facts.
    fn state_warnings(&self, ledger: Option<&Ledger>) -> Vec<String> {
        let percent = self.inner.parts.vitals.percent_taken_over();
        let taking = percent.map(|percent| format!("this host takes over the state of the cluster: {percent} %"));
        let differing = self.inner.agreement.differing().into_iter().map(|peer| {
            let peer = peer.to_string();
            let member = ledger.and_then(|ledger| ledger.members().values().find(|member| member.peer == peer));
            let named = member.map_or(peer, |member| member.node.to_string());
            format!(
                "{named} heard the same operations as this host and knows something else: compare what both say, and make the wrong one anew"
            )
        });
        taking.into_iter().chain(differing).chain(self.apart()).collect()
    }

    fn member_status(&self, member: &Member, ledger: Option<&Ledger>, voters: &[u64], reachable: bool) -> MemberStatus {
        let (mut shards, mut escrow) = (0, 0);
        for pool in ledger.iter().flat_map(|ledger| ledger.pools().values()) {
            for run in pool.grants.runs().iter().filter(|run| run.grant.holder == member.id) {
                shards += u64::from(run.count);
                if run.grant.kind == GrantKind::Escrow {
                    escrow += u64::from(run.count);
                }
            }
        }
        let behind = member.peer.parse().ok().and_then(|peer: net::PeerId| {
            let theirs = self.inner.acknowledged.lock().get(&peer)?.get(&member.origin).copied()?;
            let ours = self.vector().get(&member.origin).copied().unwrap_or_default();
            Some(theirs.0.saturating_sub(ours.0))
        });
        MemberStatus {
            member: member.id,
            node: member.node.to_string(),
            role: role(member.role).to_owned(),
            vote: if voters.contains(&u64::from(member.id.0)) { Vote::Voter } else { Vote::Learner },
            weight: member.weight,
            peer: member.peer.clone(),
            addresses: member.addresses.clone(),
            reachable,
            draining: member.share() == 0,
            deposed: member.is_deposed(),
            shards,
            escrow,
            behind,
        }
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
        let mut last = "no host can be reached".to_owned();
        while tokio::time::Instant::now() < until {
            for peer in self.inner.net.connected() {
                match self.ask_in(peer).await {
                    Ok(()) => {
                        self.settle_in(self.needs_seat()?.as_ref()).await;
                        return Ok(self.status_now());
                    }
                    Err(Refusal::Final(why)) => return Err(ClusterError::Refused(why)),
                    Err(Refusal::NotNow(why)) => last = why,
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(ClusterError::Unavailable(last))
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

/// What an operator should look at. `ledger`: `None` while this host waits.
fn warnings(ledger: Option<&Ledger>, majority: bool, reachable: impl Fn(&Member) -> bool) -> Vec<String> {
    let Some(ledger) = ledger else {
        return vec![
            "this host waits: nexus cluster init on one host forms the cluster, nexus cluster join adds this one"
                .to_owned(),
        ];
    };
    let mut warnings = Vec::new();
    if ledger.has_two_core_hosts() {
        warnings
            .push("there are two core hosts: the loss of the one that votes stops the ledger; add a third".to_owned());
    }
    for member in ledger.members().values().filter(|member| !reachable(member)) {
        warnings.push(format!("{} cannot be reached from here", member.node));
    }
    for member in ledger.members().values().filter(|member| member.is_deposed()) {
        warnings.push(format!("{} was deposed: its leased shards are taken over", member.node));
    }
    let versions: BTreeSet<ProtocolVersion> = ledger.members().values().map(|member| member.protocol).collect();
    if let (Some(least), Some(most)) = (versions.first(), versions.last())
        && least != most
    {
        let old = ledger.members().values().filter(|member| member.protocol == *least);
        let old: Vec<&str> = old.map(|member| member.node.as_str()).collect();
        warnings.push(format!(
            "an upgrade is under way: {} speak protocol {least}, the others {most}; finish it before the next one",
            old.join(", ")
        ));
    }
    for pool in ledger.pools().values() {
        for (member, misread) in &pool.misread {
            let host = ledger.member(*member).map_or_else(|| member.to_string(), |member| member.node.to_string());
            warnings.push(describe(&pool.record, &host, misread));
        }
    }
    if !majority {
        warnings.push(
            "the ledger has no majority here: pools and shards cannot change, escrow shards go on serving".to_owned(),
        );
    }
    warnings
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

const fn role(role: HostRole) -> &'static str {
    match role {
        HostRole::Core => "core",
        HostRole::Write => "write",
        HostRole::Read => "read",
        HostRole::Edge => "edge",
    }
}

const fn kind(kind: GrantKind) -> &'static str {
    match kind {
        GrantKind::Escrow => "escrow",
        GrantKind::Leased => "leased",
    }
}

const fn state(state: GrantState) -> &'static str {
    match state {
        GrantState::Held => "held",
        GrantState::Closing => "closing",
        GrantState::Quarantined => "quarantined",
        GrantState::Forced => "forced",
    }
}
