//! What a host tells its kernel of the ledger. As in the real driver, what was told is compared with what stands there now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Breach;
use super::host::Waits;
use super::net::Body;
use super::world::World;
use crate::command::{Command, News};
use crate::id::{Epoch, MemberId, PoolUid, Revision, Seq, ShardId};
use crate::ledger::{Grant, GrantKind, GrantState, LedgerPool};
use crate::ring::RingMember;
use crate::tenure::{ShardTenure, Sight, Tenure};

/// What a kernel was told; a new one knows nothing.
#[derive(Debug, Default)]
pub(super) struct Told {
    pools: BTreeMap<PoolUid, Revision>,
    tenures: BTreeMap<PoolUid, BTreeMap<ShardId, (Epoch, Tenure)>>,
    /// Which word about each pool was the last one.
    pub(super) last: BTreeMap<PoolUid, u64>,
    /// And which is on the disk.
    pub(super) durable: BTreeMap<PoolUid, u64>,
    rounds: u64,
    members: Vec<RingMember>,
    alive: BTreeSet<MemberId>,
    agreed_offset_ms: Option<i64>,
    pub(super) list: Option<crate::note::MemberList>,
    stable: Seq,
    /// Up to which entry of the ledger that is.
    applied: usize,
    /// Whether what most others knew, and what all did, had been heard by then.
    arrived: (bool, bool),
    /// What was heard and stopped then.
    heard: super::net::Vector,
    stopped: BTreeMap<(PoolUid, ShardId), Epoch>,
}

impl Told {
    /// Whether all that the kernel was told of the pool's shards is on the disk.
    pub(super) fn is_durable(&self, pool: PoolUid) -> bool {
        self.last.get(&pool) == self.durable.get(&pool)
    }

    /// Whether the kernel was told that it only answers for the shard in this term, and that is on the disk.
    pub(super) fn is_kept(&self, pool: PoolUid, shard: ShardId, epoch: Epoch) -> bool {
        self.is_durable(pool)
            && self.tenures.get(&pool).and_then(|known| known.get(&shard)) == Some(&(epoch, Tenure::Kept))
    }
}

impl World {
    pub(super) fn follow(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member.filter(|_| host.is_up()) else { return };
        self.tell_sight(at, me);
        self.tell_stable(at);
        let host = self.host(at);
        let arrived = (host.arrival.heard_most, host.arrival.heard_all);
        let same = host.told.applied == host.applied && host.told.heard == host.heard && host.told.arrived == arrived;
        if same && host.told.stopped == host.stopped {
            return;
        }
        let pools: Vec<(PoolUid, LedgerPool)> =
            host.ledger.pools().iter().map(|(uid, pool)| (*uid, pool.clone())).collect();
        for (uid, pool) in &pools {
            if self.host(at).told.pools.get(uid).is_none_or(|revision| *revision < pool.record.revision) {
                self.put(at, Command::News(News::Pool(Arc::clone(&pool.record))), Waits::Nobody);
                self.host_mut(at).told.pools.insert(*uid, pool.record.revision);
            }
            self.tell_tenures(at, me, *uid, pool);
        }
        let host = self.host_mut(at);
        (host.told.applied, host.told.arrived) = (host.applied, arrived);
        host.told.heard.clone_from(&host.heard);
        host.told.stopped.clone_from(&host.stopped);
    }

    /// What most members have of this host's log on their disks. The driver hears of it with some delay.
    fn tell_stable(&mut self, at: usize) {
        let host = self.host(at);
        let (origin, own) = (host.origin, host.committed);
        let members = host.ledger.members().keys().filter_map(|member| self.host_of(*member));
        let mut known: Vec<Seq> = members
            .map(
                |other| {
                    if other == at { own } else { self.host(other).heard.get(&origin).copied().unwrap_or_default() }
                },
            )
            .collect();
        known.sort_unstable_by(|one, other| other.cmp(one));
        let through = known.get(known.len() / 2).copied().unwrap_or_default();
        if through > self.host(at).told.stable {
            self.host_mut(at).told.stable = through;
            self.put(at, Command::News(News::Stable { through }), Waits::Nobody);
        }
    }

    fn tell_sight(&mut self, at: usize, me: MemberId) {
        let members: Vec<MemberId> = self.host(at).ledger.members().keys().copied().collect();
        let mut alive: BTreeSet<MemberId> = members.into_iter().filter(|member| self.sees(at, *member)).collect();
        if self.lacks_state(at) {
            alive.remove(&me);
        }
        let host = self.host(at);
        let agreed_offset_ms = host.agreed_offset_ms(self.now);
        let same = host.told.alive == alive && host.told.agreed_offset_ms == agreed_offset_ms;
        if same && host.told.applied == host.applied {
            return;
        }
        let ring = host.ledger.ring();
        if same && host.told.members == ring.members() {
            return;
        }
        let members = ring.members().to_vec();
        let sight = Sight { me, ring: Arc::new(ring), alive: alive.clone(), agreed_offset_ms };
        let told = &mut self.host_mut(at).told;
        (told.members, told.alive, told.agreed_offset_ms) = (members, alive, agreed_offset_ms);
        self.put(at, Command::News(News::Sight(Box::new(sight))), Waits::Nobody);
    }

    /// Whether a connection stands. One to a host that sleeps does.
    pub(super) fn sees(&self, at: usize, member: MemberId) -> bool {
        self.host_of(member).is_some_and(|other| self.host(other).is_up() && self.net.both_ways(at, other))
    }

    fn tell_tenures(&mut self, at: usize, me: MemberId, uid: PoolUid, pool: &LedgerPool) {
        let breach = self.breach;
        let is_nobody = self.is_nobody(at);
        let shards = pool.grants.iter().map(|(shard, _)| shard);
        let former: BTreeSet<ShardId> = shards.filter(|shard| self.lacks_former_life(at, pool, *shard)).collect();
        let host = self.host_mut(at);
        let vector = host.vector();
        let mut news = Vec::new();
        let known = host.told.tenures.entry(uid).or_default();
        for (shard, grant) in pool.grants.iter() {
            let stopped = host.stopped.get(&(uid, shard)) == Some(&grant.epoch) || former.contains(&shard);
            let tenure = if is_nobody && grant.holder == me {
                Tenure::Theirs(MemberId(0))
            } else {
                meant(pool.tenure(me, (shard, grant), &vector, stopped), me, grant, stopped, breach)
            };
            let said = (grant.epoch, tenure);
            if known.insert(shard, said) != Some(said) {
                news.push(ShardTenure {
                    shard,
                    epoch: grant.epoch,
                    tenure,
                    leased: grant.kind == GrantKind::Leased,
                    doubtful: grant.is_doubtful(),
                });
            }
        }
        if news.is_empty() {
            return;
        }
        let kept = known.iter().filter(|(_, (_, tenure))| !matches!(tenure, Tenure::Escrow | Tenure::Leased));
        let kept: BTreeSet<ShardId> = kept.map(|(shard, _)| *shard).collect();
        // What opens is kept no more from now on; what closes is once the kernel's word is on the disk.
        if breach != Some(Breach::KeptIsNow) {
            host.kept.entry(uid).or_default().retain(|shard| kept.contains(shard));
        }
        host.told.rounds += 1;
        let round = host.told.rounds;
        host.told.last.insert(uid, round);
        self.put(at, Command::News(News::Tenures { pool: uid, tenures: news }), Waits::Kept(uid, round, kept));
    }

    /// Tells who took shards over that this host knows of it, and what its last word about them is.
    pub(super) fn own_up(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member else { return };
        let mut given: BTreeMap<(PoolUid, MemberId), Vec<(ShardId, Epoch)>> = BTreeMap::new();
        for (uid, pool) in host.ledger.pools() {
            let lost = |(shard, grant): &(ShardId, Grant)| {
                grant.is_doubtful() && grant.holder != me && pool.awaited(*shard).any(|of| of == host.origin)
            };
            // Kept in the term before says nothing of what was renewed or ended in it since, and is still on its way to the disk.
            let durably = |shard: &ShardId| {
                host.told.is_durable(*uid) && host.kept.get(uid).is_some_and(|kept| kept.contains(shard))
            };
            for (shard, grant) in pool.grants.iter().filter(lost).filter(|(shard, _)| durably(shard)) {
                given.entry((*uid, grant.holder)).or_default().push((shard, grant.epoch));
            }
        }
        if given.is_empty() {
            return;
        }
        let last = host.last_word();
        for ((pool, holder), shards) in given {
            if let Some(to) = self.host_of(holder) {
                self.send(at, to, Body::Given { pool, shards, last });
            }
        }
    }
}

/// What the tenure would be with a rule broken.
fn meant(tenure: Tenure, me: MemberId, grant: Grant, stopped: bool, breach: Option<Breach>) -> Tenure {
    let open = match grant.kind {
        GrantKind::Escrow => Tenure::Escrow,
        GrantKind::Leased => Tenure::Leased,
    };
    match (breach, grant.state) {
        (Some(Breach::WaitForCut), GrantState::Held) if grant.holder == me && !stopped => open,
        _ => tenure,
    }
}
