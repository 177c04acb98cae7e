//! A lost host's leased shards: declared over once lease and grace have passed, taken over with what a majority knows of its
//! log, quarantined until the rest arrived.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Breach;
use super::govern::{Purpose, Watch};
use super::host::Owed;
use super::world::World;
use crate::id::{Dot, Epoch, MemberId, PoolUid, Seq, ShardId};
use crate::ledger::{Grant, GrantKind, LedgerCommand, LedgerPool, Member, Wish};

impl World {
    pub(super) fn take_over(&mut self, at: usize, me: MemberId) {
        if self.is_another_life(at) {
            return;
        }
        self.watch(at, me);
        self.take_wished(at, me);
        self.release(at, me);
    }

    /// Counts from the moment this host saw the last renewal.
    fn watch(&mut self, at: usize, me: MemberId) {
        let boot_ms = self.host(at).tick(self.now).boot_ms;
        let host = self.host_mut(at);
        let mut over = None;
        // Nobody else is left who sees to it that the lease of its former process ends.
        let alone = host.ledger.members().len() == 1;
        let watched = |member: &&Member| (alone || member.id != me) && !member.is_deposed();
        for member in host.ledger.members().values().filter(watched) {
            let renewed = member.lease.renewed;
            let watch = host.watched.entry(member.id).or_insert(Watch { renewed, since_ms: boot_ms });
            if watch.renewed != renewed {
                *watch = Watch { renewed, since_ms: boot_ms };
            }
            let whole_ms = member.lease.lease_ms + member.lease.grace_ms;
            if boot_ms > watch.since_ms + whole_ms {
                over = Some((member.id, renewed));
            }
        }
        if let Some((member, last_renewal)) = over
            && !self.is_pending(at, |why| matches!(why, Purpose::Depose))
        {
            self.propose(at, Purpose::Depose, LedgerCommand::Depose { member, last_renewal });
        }
    }

    /// Takes over what the ring would have here, once a majority said what it has of the old holder's log, and it is here.
    fn take_wished(&mut self, at: usize, me: MemberId) {
        if self.is_pending(at, |why| matches!(why, Purpose::TakeOver)) {
            return;
        }
        let wishes = self.wishes(at);
        let host = self.host(at);
        let deposed = |member: MemberId| host.ledger.member(member).is_some_and(Member::is_deposed);
        let first = wishes.iter().find(|wish| wish.to == me && deposed(wish.from));
        let Some(Wish { pool, from, .. }) = first.copied() else { return };
        let voters = host.ledger.voters_wanted();
        let enough = if self.breach == Some(Breach::AskMajority) { 0 } else { voters.len() / 2 + 1 };
        let Some(own) = self.known_of(at, me, from, &voters, enough) else { return };
        let mut epochs: BTreeMap<Epoch, Vec<ShardId>> = BTreeMap::new();
        for wish in wishes.iter().filter(|wish| wish.pool == pool && wish.to == me && wish.from == from) {
            if let Some(grant) = host.ledger.grant(pool, wish.shard) {
                epochs.entry(grant.epoch).or_default().push(wish.shard);
            }
        }
        let Some((epoch, shards)) = epochs.into_iter().next() else { return };
        let command = LedgerCommand::TakeOver { pool, shards, from, epoch, to: me, cut: own };
        self.propose(at, Purpose::TakeOver, command);
    }

    /// How far this host has the log of a deposed one, if that is all that so many of the asked have of it since.
    pub(super) fn known_of(
        &self,
        at: usize,
        me: MemberId,
        from: MemberId,
        asked: &[MemberId],
        enough: usize,
    ) -> Option<Seq> {
        let host = self.host(at);
        let found = host.ledger.member(from)?;
        let (since, origin) = (found.lease.deposed?, found.origin);
        let own = host.heard.get(&origin).copied().unwrap_or_default();
        let said = host.seen.iter().filter(|(member, (applied, _))| asked.contains(member) && *applied >= since);
        let said: Vec<Seq> = said.map(|(_, (_, vector))| vector.get(&origin).copied().unwrap_or_default()).collect();
        let known = said.len() + usize::from(asked.contains(&me)) >= enough && said.iter().all(|most| own >= *most);
        known.then_some(own)
    }

    /// Everybody it was taken from said what its last word was, and all of it is here, or nobody waits for that: the doubt is over.
    fn release(&mut self, at: usize, me: MemberId) {
        let boot_ms = self.host(at).tick(self.now).boot_ms;
        let host = self.host_mut(at);
        host.quarantines.look(&host.ledger, me, boot_ms);
        let host = self.host(at);
        let ready = host.ledger.pools().iter().find_map(|(uid, pool)| {
            let of_time = self.as_time_sees(pool);
            // What came late while it was silent it has said again.
            let kept = |(shard, grant): &(ShardId, Grant)| host.told.is_kept(*uid, *shard, grant.epoch);
            let doubtful = pool.grants.iter().filter(|(_, grant)| grant.holder == me && grant.is_doubtful());
            doubtful.filter(kept).find_map(|(shard, grant)| {
                let outlived = host.quarantines.are_outlived(*uid, &of_time, shard, host.ledger.terms(), boot_ms);
                let over = outlived
                    || self.heard_all_awaited(at, *uid, pool, shard, grant.epoch)
                    || self.is_ended_by_operator(*uid, shard);
                (over || self.nobody_uses_more(at, *uid, shard)).then_some((*uid, shard, grant.epoch, over))
            })
        });
        if let Some((pool, shard, epoch, over)) = ready
            && !self.is_pending(at, |why| matches!(why, Purpose::Released))
        {
            if !over {
                self.operator.vouch(pool, shard);
            }
            let command = LedgerCommand::Released { pool, shards: vec![shard], member: me, epoch };
            self.propose(at, Purpose::Released, command);
        }
    }

    /// Whether everybody a shard was taken from said its last word about it, and all of it is here.
    fn heard_all_awaited(&self, at: usize, uid: PoolUid, pool: &LedgerPool, shard: ShardId, epoch: Epoch) -> bool {
        let host = self.host(at);
        let heard = |of: Owed| {
            if of.3 == host.origin || self.breach == Some(Breach::Quarantine) {
                return true;
            }
            let known = host.heard.get(&of.3).copied().unwrap_or_default();
            host.owed.get(&of).is_some_and(|last| known >= *last)
        };
        pool.awaited(shard).all(|origin| heard((uid, shard, epoch, origin)))
    }

    /// What counts of a pool where time may end a doubt.
    fn as_time_sees<'a>(&self, pool: &'a LedgerPool) -> Cow<'a, LedgerPool> {
        let mut pool = Cow::Borrowed(pool);
        match self.breach {
            Some(Breach::FormerLeases) => pool.to_mut().former = None,
            Some(Breach::OutrightForEver) => {
                let held = pool.to_mut().doubts.values_mut().flat_map(|held| held.values_mut());
                held.for_each(|kind| *kind = GrantKind::Leased);
            }
            _ => {}
        }
        pool
    }

    /// A former owner's last word about shards of this host.
    pub(super) fn owns_up(&mut self, at: usize, pool: PoolUid, shards: &[(ShardId, Epoch)], last: Dot) {
        let host = self.host_mut(at);
        for (shard, epoch) in shards {
            let known = host.owed.entry((pool, *shard, *epoch, last.origin)).or_insert(last.seq);
            *known = last.seq.max(*known);
        }
        // Of what was quarantined long ago nobody asks any more.
        host.owed.retain(|(pool, shard, epoch, _), _| {
            host.ledger.grant(*pool, *shard).is_none_or(|grant| grant.epoch <= *epoch)
        });
    }
}
