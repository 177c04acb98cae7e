//! Hosts whose disks are lost: one comes back with an older state of its disk, hears so and may not serve. It stays away, or comes
//! again with an empty disk. Operators seize what nobody can take over, and remove who is away.

use std::collections::BTreeMap;

use super::clients::Forgotten;
use super::govern::Purpose;
use super::host::Host;
use super::world::{Event, World};
use super::{Breach, Weather};
use crate::fact::Fact;
use crate::id::{Dot, Epoch, MemberId, PoolUid, Seq, ShardId};
use crate::ledger::{Bereft, GrantKind, LedgerCommand, Member, Word};
use crate::sim::Verdict;

/// How far a log must be known for its writer to be told that it has an older state of it.
const TOLD: Seq = Seq(2);

/// Shards that one entry goes on with.
const FORGONE: usize = 3;

impl World {
    /// A host's disk becomes what it was once.
    pub(super) fn lose(&mut self, at: usize) {
        let members = self.log.ledger.members();
        let sound = |member: &Member| {
            let host = self.host_of(member.id).map(|at| self.host(at));
            // One that comes again counts once it has heard what the others know.
            let there =
                |host: &Host| host.origin == member.origin && (host.former.is_empty() || host.arrival.heard_all);
            host.is_some_and(|host| host.life > 0 && !host.gone && !host.old && there(host))
        };
        let host = self.host(at);
        let member = host.member.is_some_and(|me| host.is_up() && members.contains_key(&me));
        if !member || members.len() < 3 || !members.values().all(sound) {
            return;
        }
        // A host of which nobody has heard anything could not be told that its disk is old.
        let origin = host.origin;
        let mut others = self.hosts.iter().filter(|host| host.life > 0 && host.origin != origin);
        if !others.any(|host| host.heard.get(&origin).is_some_and(|known| *known >= TOLD)) {
            return;
        }
        self.note(|| format!("the disk of host {at} is put back to an older state"));
        self.crash(at);
        self.host_mut(at).old = true;
    }

    /// A host that gave shards away, and whose last words about them some other host has yet to hear.
    pub(super) fn awaited(&self) -> Option<usize> {
        let is_awaited = |giver: &Host| {
            let origin = giver.origin;
            let counts = self.log.ledger.last_cut(origin);
            let lacks =
                |host: &Host| host.origin != origin && host.is_up() && host.heard.get(&origin).copied() < counts;
            giver.is_up() && self.hosts.iter().any(lacks)
        };
        self.hosts.iter().position(is_awaited)
    }

    /// It starts with an older state of its disk, and asks whom it reaches how far its own log is known.
    pub(super) fn returns_old(&mut self, at: usize) -> Verdict {
        let origin = self.host(at).origin;
        let asked = (0..self.hosts.len()).filter(|other| *other != at && self.host(*other).is_awake(self.now));
        let asked = asked.filter(|other| self.net.both_ways(at, *other));
        let known = asked.filter_map(|other| self.host(other).heard.get(&origin).copied()).max();
        let Some(known) = known.filter(|known| *known >= TOLD) else {
            self.after(500, Event::Up(at));
            return Ok(());
        };
        if self.breach == Some(Breach::OldDisk) {
            let host = self.host_mut(at);
            host.old = false;
            host.forget_after(Seq(known.0 / 2));
            return self.start(at);
        }
        self.note(|| format!("host {at} is told that its log reached to {known}: it may not serve"));
        self.summary.lost += 1;
        self.forget_unheard(at);
        if self.draws.one_in(2) {
            self.renew_host(at);
        } else {
            self.host_mut(at).gone = true;
        }
        Ok(())
    }

    /// What nobody else heard of is lost with it: who was answered that goes on using it, and cannot know.
    fn forget_unheard(&mut self, at: usize) {
        let (origin, member) = (self.host(at).origin, self.host(at).member);
        let others = self.hosts.iter().filter(|host| host.origin != origin);
        let heard = others.filter_map(|host| host.heard.get(&origin).copied()).max().unwrap_or_default();
        let own = self.host(at).runs.get(&origin).into_iter().flatten().filter(|op| op.seq > heard);
        let lost: Vec<_> = own
            .filter_map(|op| match &op.fact {
                Fact::Held(held) => Some((held.pool, held.span, Some(held.shard))),
                Fact::Reserved(kept) => Some((kept.pool, kept.span, None)),
                Fact::Resting(_)
                | Fact::Free(_)
                | Fact::Unreserved { .. }
                | Fact::Pool(_)
                | Fact::PoolDeleted(_)
                | Fact::Realm(_)
                | Fact::Clock
                | Fact::Heard { .. }
                | Fact::RestsOn(_)
                | Fact::Adopted(_)
                | Fact::Noted(_)
                | Fact::Unnoted(_)
                | Fact::Conflict(_)
                | Fact::ConflictClosed(_) => None,
            })
            .collect();
        for (pool, span, shard) in lost {
            self.operator.forget(pool, span);
            let grant = shard.and_then(|shard| self.log.ledger.grant(pool, shard));
            // What it gave away since is held by another in another kind.
            let outright = shard.zip(grant).is_some_and(|(shard, grant)| {
                let taken = self.log.ledger.pool(pool).is_some_and(|pool| pool.awaited(shard).any(|of| of == origin));
                grant.kind == GrantKind::Escrow || (Some(grant.holder) != member && !taken)
            });
            for client in self.clients.all.iter_mut().filter(|client| client.pool == pool) {
                if let Some(held) = client.holds.take_if(|held| held.span.intersects(span)) {
                    client.forgotten = Some(Forgotten { held, outright });
                }
            }
        }
    }

    /// An operator takes from a lost host what it held outright, and removes it once it holds nothing. Whoever gets it has all
    /// that the others know of the lost host's log by then: what was released in escrow waits for no majority, so else it
    /// repeats what was given to another since.
    pub(super) fn seize(&mut self, at: usize, me: MemberId) {
        if !(self.net.calm || self.draws.one_in(40)) || self.is_pending(at, |why| matches!(why, Purpose::Seize)) {
            return;
        }
        let ledger = &self.host(at).ledger;
        let gone = |member: &&Member| member.is_deposed() && self.hosts.iter().any(|host| host.is_lost(member.origin));
        let Some(lost) = ledger.members().values().find(gone) else { return };
        if !ledger.member(me).is_some_and(Member::takes_shards) {
            return;
        }
        let (from, to) = (lost.id, me);
        let others: Vec<MemberId> = ledger.members().keys().copied().filter(|other| *other != from).collect();
        let heard = self.known_of(at, me, from, &others, others.len()).is_some();
        if !heard && self.breach != Some(Breach::HearAllBeforeSeizure) {
            return;
        }
        let mut groups: BTreeMap<(PoolUid, Epoch), Vec<ShardId>> = BTreeMap::new();
        let mut leased = false;
        for (uid, pool) in ledger.pools() {
            for (shard, grant) in pool.grants.iter().filter(|(_, grant)| grant.holder == from) {
                match grant.kind {
                    GrantKind::Escrow => groups.entry((*uid, grant.epoch)).or_default().push(shard),
                    GrantKind::Leased => leased = true,
                }
            }
        }
        let command = match groups.into_iter().next() {
            Some(((pool, epoch), shards)) => LedgerCommand::Seize { pool, shards, from, epoch, to, word: word() },
            None if leased => return,
            None => removed(from),
        };
        self.propose(at, Purpose::Seize, command);
    }

    /// Goes on without the end of logs whose hosts are gone, once every member said that he has no more of them.
    pub(super) fn forgo(&mut self, at: usize, member: MemberId) {
        if self.is_pending(at, |why| matches!(why, Purpose::Forgo)) {
            return;
        }
        let host = self.host(at);
        let Some(bereft) = host.ledger.next_bereft(member, &host.vector(), FORGONE) else { return };
        let Bereft { pool, shards, epoch, logs } = bereft;
        let nobody_has_more = |log: &Dot| {
            let members = host.ledger.members().values();
            let again = members.clone().filter(|member| member.origin.host == log.origin.host);
            let since = again.map(|member| member.lease.renewed).chain([host.ledger.members_changed()]).max();
            let mut others = members.filter(|other| other.id != member);
            others.all(|other| {
                let said = host.seen.get(&other.id).filter(|(applied, _)| Some(*applied) >= since);
                said.is_some_and(|(_, vector)| vector.get(&log.origin).is_none_or(|known| *known <= log.seq))
            })
        };
        if logs.iter().all(nobody_has_more) {
            let command = LedgerCommand::Forgo { pool, shards, member, epoch, logs };
            self.propose(at, Purpose::Forgo, command);
        }
    }

    /// Whether a shard's doubt ends with nobody's word: who may say more is lost, and somebody may use for ever what he was given.
    pub(super) fn stays_doubtful(&self, pool: PoolUid, shard: ShardId) -> bool {
        self.log.ledger.pool(pool).is_some_and(|found| {
            let lost = found.awaited(shard).any(|origin| self.hosts.iter().any(|host| host.is_lost(origin)));
            lost && !found.is_ended_by_time(shard)
        })
    }

    /// An operator knows when nobody uses any more what lost hosts handed out of a pool.
    pub(super) fn is_ended_by_operator(&self, pool: PoolUid, shard: ShardId) -> bool {
        let mut all = self.clients.all.iter().filter(|client| client.pool == pool);
        self.net.calm && self.stays_doubtful(pool, shard) && !all.any(|client| client.uses_forgotten(self.now))
    }

    /// Where processes are stopped while they write, operators do not wait until they go on. They look at all BNGs: whether none
    /// uses anything of a shard that its new owner does not know of.
    pub(super) fn nobody_uses_more(&self, at: usize, pool: PoolUid, shard: ShardId) -> bool {
        let kernel = self.host(at).kernel.as_ref().filter(|_| self.weather == Weather::Stalls);
        let record = self.log.ledger.pool(pool).map(|found| &found.record);
        let cover = record.and_then(|pool| pool.shards.iter().find(|of| of.id == shard)).map(|of| of.cover);
        let Some((kernel, cover)) = kernel.zip(cover) else { return false };
        let all = self.clients.all.iter().filter(|client| client.pool == pool);
        let mut used = all.filter_map(|client| Some((client, client.holds.as_ref()?.span)));
        used.all(|(client, span)| !span.intersects(cover) || kernel.knows_of(pool, &client.subscriber, span))
    }

    /// Whether a pool has such a shard.
    pub(super) fn is_partly_doubtful(&self, pool: PoolUid) -> bool {
        let grants = self.log.ledger.pool(pool).map(|found| &found.grants);
        grants.is_some_and(|grants| grants.iter().any(|(shard, _)| self.stays_doubtful(pool, shard)))
    }
}

fn word() -> Word {
    Word { reason: "its disk is lost".to_owned(), by: "operator".to_owned(), at_ms: 1 }
}

/// An operator's word that a host is lost.
pub(super) fn removed(member: MemberId) -> LedgerCommand {
    LedgerCommand::Remove { member, word: word() }
}

impl Host {
    pub(super) fn is_lost(&self, origin: crate::id::Origin) -> bool {
        (self.origin == origin && self.gone && self.old) || self.former.contains(&origin)
    }
}
