//! What operators see of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use api::cluster::{
    ClusterStatus, HashringStatus, LedgerStatus, MemberStatus, OrderStatus, OriginStatus, PoolShards, ShardStatus,
    Standing, Vote,
};
use kernel::ledger::{Deed, GrantKind, GrantState, HostRole, Ledger, Member, Order, Word};
use kernel::{MemberId, PoolUid, ProtocolVersion, ShardId};

use super::Cluster;
use super::readings::describe;
use super::seat::Seat;

/// Orders that are shown.
const ORDERS: usize = 16;

/// Runs of shards that one order shows.
const RUNS: usize = 16;

impl Cluster {
    pub(super) fn ring_now(&self) -> HashringStatus {
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

    /// Whether a majority of the voters can be reached.
    pub(super) fn has_majority(&self, seat: &Seat) -> bool {
        let (ledger, voters) = (seat.book.ledger(), seat.voters());
        let up = voters.iter().filter_map(|voter| ledger.member(*voter));
        up.filter(|member| member.id == seat.me || self.is_connected(&member.peer)).count() * 2 > voters.len()
    }

    pub(super) fn status_now(&self) -> ClusterStatus {
        let own = &self.inner.settings;
        let seat = self.seat();
        let ledger = seat.as_ref().map(|seat| seat.book.ledger());
        let log = seat.as_ref().map(|seat| seat.consensus.state());
        let standing = match &seat {
            None => Standing::Waiting,
            Some(seat) if seat.is_removed() => Standing::Removed,
            Some(_) => Standing::Member,
        };
        let reachable =
            |member: &Member| seat.as_ref().is_some_and(|seat| seat.me == member.id) || self.is_connected(&member.peer);
        let voters: Vec<u64> = log.iter().flat_map(|log| log.voters.iter().map(|voter| voter.member)).collect();
        let majority = seat.as_ref().is_some_and(|seat| self.has_majority(seat));
        let mut warnings = warnings(ledger.as_deref(), majority, reachable);
        if let Some(why) = log.as_ref().and_then(|log| log.failure.as_ref()) {
            warnings.push(format!(
                "this member's part of the ledger has stopped: {why}; it is opened again when it can be"
            ));
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
            orders: ledger
                .iter()
                .flat_map(|ledger| ledger.orders().rev())
                .take(ORDERS)
                .map(|order| told(order))
                .collect(),
            warnings,
        }
    }

    /// What is wrong with what this host knows of the others' facts.
    fn state_warnings(&self, ledger: Option<&Ledger>) -> Vec<String> {
        let vitals = &self.inner.parts.vitals;
        let full = vitals.is_full().then(|| "this host's disk is full: others serve new subscribers".to_owned());
        let percent = vitals.percent_taken_over();
        let taking = percent.map(|percent| format!("this host takes over the state of the cluster: {percent} %"));
        let differing = self.inner.agreement.differing().into_iter().map(|peer| {
            let peer = peer.to_string();
            let member = ledger.and_then(|ledger| ledger.members().values().find(|member| member.peer == peer));
            let named = member.map_or(peer, |member| member.node.to_string());
            format!(
                "{named} heard the same operations as this host and knows something else: compare what both say, and make the wrong one anew"
            )
        });
        let removed = self.seat().filter(|seat| seat.is_removed()).map(|_| crate::vitals::REMOVED.to_owned());
        let copy = self.copy().map(|place| {
            format!("another process {place} runs under this host's identity, on a copy of its directory: stop it, delete that directory and join it anew")
        });
        let foreign: Vec<String> = self.inner.foreign.lock().values().cloned().collect();
        removed
            .into_iter()
            .chain(full)
            .chain(copy)
            .chain(taking)
            .chain(differing)
            .chain(self.apart())
            .chain(foreign)
            .chain(self.differing_clocks())
            .collect()
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
            let theirs = self.said_by(peer, member.origin)?;
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
    for pool in ledger.pools().values() {
        let Some(closing) = &pool.closing else { continue };
        let waits = closing.waiting.iter().filter_map(|shard| pool.grants.of(*shard));
        let hosts: BTreeSet<MemberId> = waits.map(|grant| grant.holder).collect();
        let named = |member: &MemberId| ledger.member(*member).map(|member| member.node.to_string());
        let hosts: Vec<String> = hosts.iter().filter_map(named).collect();
        if !hosts.is_empty() {
            let id = &pool.record.draft.id;
            warnings.push(format!(
                "pool {id} is being deleted or shrunk and hands out nothing there: it waits for {}",
                hosts.join(", ")
            ));
        }
    }
    if !majority {
        warnings.push(
            "the ledger has no majority here: pools and shards cannot change, escrow shards go on serving".to_owned(),
        );
    }
    warnings
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

/// An order in words.
fn told(order: &Order) -> OrderStatus {
    let (what, tenant) = match &order.deed {
        Deed::Seized { pool_id, tenant, shards, from, to, .. } => {
            let shards = ranges(shards);
            (format!("shards {shards} of pool {pool_id} were seized from {from} for {to}"), Some(tenant.to_string()))
        }
        Deed::Removed { node } => (format!("{node} was removed"), None),
    };
    let Word { reason, by, at_ms } = order.word.clone();
    OrderStatus { at_ms, what, tenant, reason, by }
}

/// Shards as an operator names them: `1-3,7`; of many runs the first ones, and how many shards they are in all.
fn ranges(shards: &[ShardId]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for shard in shards {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(shard.0) => *last = shard.0,
            _ => runs.push((shard.0, shard.0)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let shown = runs.iter().take(RUNS).map(text).collect::<Vec<_>>().join(",");
    if runs.len() > RUNS { format!("{shown} and more, {} in all,", shards.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_an_operator_would() {
        let named = |shards: &[u32]| ranges(&shards.iter().copied().map(ShardId).collect::<Vec<_>>());
        assert_eq!(named(&[1, 2, 3, 7]), "1-3,7");
        assert_eq!(named(&[u32::MAX]), u32::MAX.to_string());
        let many: Vec<u32> = (0..40).map(|shard| shard * 2).collect();
        assert_eq!(named(&many), "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 and more, 40 in all,");
    }
}
