//! What keeps a host's place in the cluster without anybody's asking: its node lease, and shards that should live elsewhere.

use std::collections::BTreeSet;

use super::log::Decision;
use super::world::World;
use super::{Breach, host::Waits};
use crate::command::{Command, News};
use crate::id::{CommandId, Epoch, MemberId, PoolUid, ShardId};
use crate::ledger::{GrantState, HostRole, LedgerCommand, LedgerError, LedgerReply, Offer, Wish};

/// Shards given away by one entry.
const GIVEN: usize = 3;

/// How long an offer waits for the kernel to stop, milliseconds.
const OFFERED_WITHIN: u64 = 1_000;

/// Why something was proposed.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// The lease counts from this moment of the boot clock.
    Renew {
        began_ms: u64,
    },
    Rejoin,
    Move(Offer),
    TakeBack,
    Depose,
    TakeOver,
    Released,
    Closing,
    Seize,
    Forgo,
    /// An operator's word.
    Order,
}

/// A renewal of another host, and when this one saw it, by its boot clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) renewed: u64,
    pub(super) since_ms: u64,
}

impl World {
    pub(super) fn govern(&mut self, at: usize) {
        self.forget_overdue(at);
        let host = self.host(at);
        let Some(me) = host.member.filter(|me| host.ledger.member(*me).is_some()) else { return };
        self.renew(at, me);
        self.settle_stopped(at, me);
        self.give_away(at, me);
        self.take_over(at, me);
        self.give_back(at, me);
        self.seize(at, me);
        self.forgo(at, me);
    }

    pub(super) fn is_pending(&self, at: usize, which: impl Fn(&Purpose) -> bool) -> bool {
        self.host(at).pending.values().any(|pending| which(&pending.purpose))
    }

    /// What was not answered in time may have happened or may not.
    fn forget_overdue(&mut self, at: usize) {
        let now = self.now;
        let host = self.host_mut(at);
        let over: Vec<CommandId> =
            host.pending.iter().filter(|(_, pending)| pending.until <= now).map(|(id, _)| *id).collect();
        for id in over {
            let pending = self.host_mut(at).pending.remove(&id);
            if let Some(Purpose::Move(offer)) = pending.map(|pending| pending.purpose)
                && self.breach == Some(Breach::OfferIsFinal)
            {
                self.host_mut(at)
                    .stopped
                    .retain(|(pool, shard), _| *pool != offer.pool || !offer.shards.contains(shard));
            }
        }
    }

    fn renew(&mut self, at: usize, me: MemberId) {
        let host = self.host(at);
        if host.renew_at > self.now || self.is_pending(at, |why| matches!(why, Purpose::Renew { .. } | Purpose::Rejoin))
        {
            return;
        }
        let began_ms = host.tick(self.now).boot_ms;
        let nonce = host.origin.host + host.life;
        self.propose(at, Purpose::Renew { began_ms }, LedgerCommand::Renew { member: me, nonce });
        let again = self.now + 500;
        self.host_mut(at).renew_at = again;
    }

    pub(super) fn decided(&mut self, at: usize, id: CommandId, decision: &Decision) {
        let Some(pending) = self.host_mut(at).pending.remove(&id) else { return };
        match (pending.purpose, decision) {
            (Purpose::Renew { began_ms }, Ok(LedgerReply::Renewed { lease_ms, .. })) => {
                // What was taken from this host before is told first, or it would take the lease for a lease on that too.
                self.follow(at);
                let heard_ms = self.host(at).tick(self.now).boot_ms;
                let from_ms = if self.breach == Some(Breach::LeaseFromAttempt) { heard_ms } else { began_ms };
                self.lease(at, from_ms, *lease_ms);
                let again = self.now + lease_ms / 3;
                self.host_mut(at).renew_at = again;
            }
            (Purpose::Renew { .. }, Err(LedgerError::Deposed { .. } | LedgerError::MemberUnknown { .. })) => {
                let join = self.join_of(at);
                self.propose(at, Purpose::Rejoin, join);
            }
            (Purpose::Order, Ok(LedgerReply::Left(_))) => self.go(at),
            _ => {}
        }
    }

    /// The kernel may hand out from leased shards until shortly before the lease is over.
    fn lease(&mut self, at: usize, from_ms: u64, lease_ms: u64) {
        let until_ms = (from_ms + lease_ms).saturating_sub(lease_ms / 100 + 1_000);
        self.host_mut(at).leased_until = until_ms;
        self.put(at, Command::News(News::NodeLease { until_ms }), Waits::Nobody);
    }

    pub(super) fn join_of(&self, at: usize) -> LedgerCommand {
        LedgerCommand::Join {
            node: format!("host-{at}").parse().expect("a node id"),
            origin: self.host(at).origin,
            peer: format!("peer-{at}"),
            addresses: Vec::new(),
            role: HostRole::Core,
            weight: 1,
            protocol: crate::id::ProtocolVersion { major: 1, minor: 0 },
            at_ms: 1,
        }
    }

    /// Stops handing out from shards that should live elsewhere, and offers them.
    fn give_away(&mut self, at: usize, me: MemberId) {
        if self.is_pending(at, |why| matches!(why, Purpose::Move(_))) {
            return;
        }
        if let Some((offer, until)) = self.host_mut(at).offer.take() {
            return self.make_offer(at, me, offer, until);
        }
        let wishes = self.wishes(at);
        self.stop_for(at, me, &wishes);
    }

    /// An operator moves some shards of a host to another one, wherever they should live.
    pub(super) fn move_some(&mut self, at: usize) {
        let host = self.host(at);
        let Some(me) = host.member.filter(|_| host.is_awake(self.now) && host.offer.is_none()) else { return };
        let others: Vec<MemberId> = host.ledger.members().keys().copied().filter(|member| *member != me).collect();
        let pools: Vec<PoolUid> = host.ledger.pools().keys().copied().collect();
        if others.is_empty() || pools.is_empty() || self.is_pending(at, |why| matches!(why, Purpose::Move(_))) {
            return;
        }
        let (to, pool) = (*self.draws.pick(&others), *self.draws.pick(&pools));
        let grants = self.host(at).ledger.pool(pool).map(|found| found.grants.clone()).unwrap_or_default();
        let mine: Vec<ShardId> =
            grants.iter().filter(|(_, grant)| grant.holder == me).map(|(shard, _)| shard).collect();
        // The first ones go to and fro.
        let passed = if self.draws.one_in(4) { self.draws.index(mine.len().max(1)) } else { 0 };
        let count = 1 + self.draws.index(GIVEN);
        let moved = mine.into_iter().skip(passed).take(count);
        let moved: Vec<Wish> = moved.map(|shard| Wish { pool, shard, from: me, to }).collect();
        self.stop_for(at, me, &moved);
    }

    /// Begins the next of these moves that can be made.
    fn stop_for(&mut self, at: usize, me: MemberId, wishes: &[Wish]) {
        let host = self.host(at);
        let reaches = |to| self.sees(at, to) && self.has_heard_out(at, to);
        let offer = host.ledger.next_offer(me, wishes, &host.vector(), reaches, GIVEN);
        let Some(offer) = offer else { return };
        let (pool, epoch) = (offer.pool, offer.epoch);
        if self.breach != Some(Breach::StopBeforeOffer) {
            let stop = offer.shards.iter().map(|shard| ((pool, *shard), epoch));
            self.host_mut(at).stopped.extend(stop);
            self.follow(at);
        }
        let until = self.now + OFFERED_WITHIN;
        self.host_mut(at).offer = Some((offer, until));
    }

    /// Whether this host has heard all that another wrote before it knew of its last renewal. What that one wrote about shards
    /// that were taken from it is late, and only who has them now speaks for it.
    fn has_heard_out(&self, at: usize, to: MemberId) -> bool {
        let host = self.host(at);
        let Some(found) = host.ledger.member(to) else { return false };
        let Some((applied, vector)) = host.seen.get(&to) else { return false };
        let known = host.heard.get(&found.origin).copied().unwrap_or_default();
        let told = *applied >= found.lease.renewed && known >= vector.get(&found.origin).copied().unwrap_or_default();
        told || self.breach == Some(Breach::HearOutTaker)
    }

    /// The kernel has said that it hands out no more, and that is on the disk.
    fn make_offer(&mut self, at: usize, from: MemberId, offer: Offer, until: u64) {
        let Offer { pool, shards, epoch, to } = offer.clone();
        let wanted: BTreeSet<ShardId> = shards.iter().copied().collect();
        let kept = self.host(at).kept.get(&pool).is_some_and(|kept| wanted.is_subset(kept));
        if kept || self.breach == Some(Breach::StopBeforeOffer) {
            let cut = self.host(at).committed;
            let command = LedgerCommand::Move { pool, shards, from, epoch, to, cut };
            self.propose(at, Purpose::Move(offer), command);
        } else if self.now < until {
            self.host_mut(at).offer = Some((offer, until));
        }
    }

    /// Shards whose offer came to nothing are taken back in a new term; those that went are forgotten.
    fn settle_stopped(&mut self, at: usize, me: MemberId) {
        if self.host(at).stopped.is_empty() || self.host(at).offer.is_some() {
            return;
        }
        let wishes = self.wishes(at);
        let host = self.host(at);
        let ours = |pool: PoolUid, shard: ShardId, epoch: Epoch| {
            host.ledger.grant(pool, shard).filter(|grant| grant.holder == me && grant.epoch == epoch)
        };
        let over: Vec<(PoolUid, ShardId)> = host
            .stopped
            .iter()
            .filter(|((pool, shard), epoch)| ours(*pool, *shard, **epoch).is_none())
            .map(|(of, _)| *of)
            .collect();
        let elsewhere: BTreeSet<(PoolUid, ShardId)> =
            wishes.into_iter().filter(|wish| wish.from == me).map(|wish| (wish.pool, wish.shard)).collect();
        let back = host.stopped.iter().find_map(|((pool, shard), epoch)| {
            let grant = ours(*pool, *shard, *epoch)?;
            let free = !elsewhere.contains(&(*pool, *shard)) && grant.state == GrantState::Held;
            free.then_some((*pool, *shard, *epoch))
        });
        for of in over {
            self.host_mut(at).stopped.remove(&of);
        }
        if let Some((pool, shard, epoch)) = back
            && !self.is_pending(at, |why| matches!(why, Purpose::TakeBack | Purpose::Move(_)))
        {
            let command = LedgerCommand::TakeBack { pool, shards: vec![shard], member: me, epoch };
            self.propose(at, Purpose::TakeBack, command);
        }
    }
}
