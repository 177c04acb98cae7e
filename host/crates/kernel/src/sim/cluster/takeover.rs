//! A lost host's leased shards: declared over once lease and grace have passed, taken over with what a majority knows of its
//! log, quarantined until the rest arrived.

use std::collections::BTreeMap;

use super::govern::{Purpose, Watch};
use super::world::World;
use crate::id::{Epoch, MemberId, PoolUid, Seq, ShardId};
use crate::ledger::{GrantState, LedgerCommand, Wish};

impl World {
    pub(super) fn take_over(&mut self, at: usize, me: MemberId) {
        self.watch(at, me);
        if self.takeovers {
            self.take_wished(at, me);
            self.release(at, me);
        }
    }

    /// Counts from the moment this host saw the last renewal.
    fn watch(&mut self, at: usize, me: MemberId) {
        let boot_ms = self.host(at).tick(self.now).boot_ms;
        let host = self.host_mut(at);
        let mut over = None;
        for member in host.ledger.members().values().filter(|member| member.id != me && !member.is_deposed()) {
            let renewed = member.lease.renewed;
            let watch = host.watched.entry(member.id).or_insert(Watch { renewed, since_ms: boot_ms });
            if watch.renewed != renewed {
                *watch = Watch { renewed, since_ms: boot_ms };
            }
            let whole_ms = member.lease.lease_ms + member.lease.grace_ms;
            if member.lease.nonce.is_some() && boot_ms > watch.since_ms + whole_ms {
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
        let deposed = |member: MemberId| host.ledger.member(member).and_then(|found| found.lease.deposed);
        let first = wishes.iter().find(|wish| wish.to == me && deposed(wish.from).is_some());
        let Some(Wish { pool, from, .. }) = first.copied() else { return };
        let (Some(since), Some(origin)) = (deposed(from), host.ledger.member(from).map(|found| found.origin)) else {
            return;
        };
        let voters = host.ledger.voters_wanted();
        let own = host.heard.get(&origin).copied().unwrap_or_default();
        let mut most = own;
        let mut said = usize::from(voters.contains(&me));
        for (_, (applied, vector)) in
            host.seen.iter().filter(|(member, (applied, _))| voters.contains(member) && *applied >= since)
        {
            said += usize::from(*applied >= since);
            most = most.max(vector.get(&origin).copied().unwrap_or_default());
        }
        if said * 2 <= voters.len() || own < most {
            return;
        }
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

    /// The old holder said what its last word was, and it is here: the doubt is over.
    fn release(&mut self, at: usize, me: MemberId) {
        let host = self.host(at);
        let ready = host.owed.iter().find(|((pool, shard, epoch), last)| {
            let grant = host.ledger.grant(*pool, *shard);
            grant.is_some_and(|grant| {
                let here = grant.cut.and_then(|cut| host.heard.get(&cut.origin)).is_some_and(|known| known >= *last);
                grant.epoch == *epoch && grant.holder == me && grant.state == GrantState::Quarantined && here
            })
        });
        if let Some(((pool, shard, epoch), _)) = ready.map(|(of, last)| (*of, *last))
            && !self.is_pending(at, |why| matches!(why, Purpose::Released))
        {
            let command = LedgerCommand::Released { pool, shards: vec![shard], member: me, epoch };
            self.propose(at, Purpose::Released, command);
        }
    }

    pub(super) fn owns_up(&mut self, at: usize, pool: PoolUid, shards: &[(ShardId, Epoch)], last: Seq) {
        let host = self.host_mut(at);
        for (shard, epoch) in shards {
            let known = host.owed.entry((pool, *shard, *epoch)).or_insert(last);
            *known = last.max(*known);
        }
        // Of what was quarantined long ago nobody asks any more.
        host.owed.retain(|(pool, shard, epoch), _| {
            host.ledger.grant(*pool, *shard).is_none_or(|grant| grant.epoch <= *epoch)
        });
    }
}
