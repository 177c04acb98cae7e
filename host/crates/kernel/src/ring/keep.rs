//! Which shards stay where they are: all but those that nobody can keep, and those that bring every host within its bounds.
//!
//! A placement that is made anew whenever hosts come and go moves shards from one host that stays to another, as those that are
//! at their bound overflow: of 1,024 shards on 100 hosts, one host that left moved twice its share at worst. What is kept moves
//! only what must: its own shards when a host leaves, and about 0.90 times its fair share when one comes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::place::bound;
use super::{Lives, RingMember};
use crate::hash;
use crate::id::PoolUid;

/// Where the hashes of this file start.
const CHOICE_SEED: u64 = 0x7269_6e67_206b_6565;
const ROUNDING_SEED: u64 = 0x7269_6e67_206c_6561;

/// What a shard costs whoever is to give it; the least first.
type Cost = (bool, bool, bool, u64);

/// A placement that is being mended. Hosts are counted in the order of their ids, shards as they were given.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pool: PoolUid,
    lives: &'a [Lives],
    /// Who has each shard now, of the hosts with a weight.
    kept: Vec<Option<usize>>,
    /// Who shall have it.
    owners: Vec<Option<usize>>,
    hosts: Vec<Host>,
    /// What each host had when all were housed.
    housed: Vec<Vec<usize>>,
    /// What a giver can give to a taker, the best last.
    gifts: BTreeMap<(usize, usize), Vec<usize>>,
}

#[derive(Clone, Copy, Debug)]
struct Host {
    weight: u32,
    least: u128,
    most: u128,
    owned: u128,
    /// Of hosts that have as much for their weights the one with the smaller draw comes first, another one in each pool.
    draw: u64,
}

impl Host {
    /// How it compares to another one by what it has for its weight.
    fn fullness(&self, other: &Self) -> Ordering {
        let (one, two) = (self.owned * u128::from(other.weight), other.owned * u128::from(self.weight));
        one.cmp(&two).then(self.draw.cmp(&other.draw))
    }
}

impl<'a> Keeper<'a> {
    pub(super) fn new(members: &[RingMember], pool: PoolUid, lives: &'a [Lives], kept: Vec<Option<usize>>) -> Self {
        let total: u128 = members.iter().map(|member| u128::from(member.weight)).sum();
        let shards = lives.len() as u128;
        let enough = u128::from(lives.len() >= members.len());
        let host = |RingMember { id, weight }: &RingMember| {
            let draw = hash::word(hash::word(ROUNDING_SEED, u64::from(pool.0)), u64::from(id.0));
            // Up in some pools, down in others, or whoever came last would have too little of every small pool.
            let of = 10 * total.max(1);
            let least = (9 * shards * u128::from(*weight) + ((of * u128::from(draw >> 32)) >> 32)) / of;
            let most = bound(lives.len(), *weight, total);
            Host { weight: *weight, least: least.max(enough), most, owned: 0, draw }
        };
        let mut hosts: Vec<Host> = members.iter().map(host).collect();
        for owner in kept.iter().flatten() {
            if let Some(host) = hosts.get_mut(*owner) {
                host.owned += 1;
            }
        }
        Self { pool, lives, owners: kept.clone(), kept, hosts, housed: Vec::new(), gifts: BTreeMap::new() }
    }

    /// Whether everything can stay where it is.
    pub(super) fn is_settled(&self) -> bool {
        let within = |host: &Host| (host.least..=host.most).contains(&host.owned);
        self.owners.iter().all(Option::is_some) && self.hosts.iter().all(within)
    }

    /// Who shall have each shard. `ring` is who should, for those that have to move.
    pub(super) fn settle(mut self, ring: &[Option<usize>]) -> Vec<Option<usize>> {
        self.house(ring);
        self.housed = vec![Vec::new(); self.hosts.len()];
        for (shard, owner) in self.owners.iter().enumerate() {
            if let Some(housed) = owner.and_then(|owner| self.housed.get_mut(owner)) {
                housed.push(shard);
            }
        }
        // Each round leaves fewer hosts with nothing; or, of what hosts lack in all, less; or, of what they have too much, less.
        while self.give_to_the_empty(ring) || self.give_to_the_lacking(ring) || self.relieve_the_full(ring) {}
        self.owners
    }

    /// Those that nobody has go where the ring has them, if that host has room, and as long as enough are left for those who lack
    /// some: else these would have to be given what others have.
    fn house(&mut self, ring: &[Option<usize>]) {
        let homeless: Vec<usize> =
            (0..self.owners.len()).filter(|shard| self.owners.get(*shard).is_some_and(Option::is_none)).collect();
        let mut left = homeless.len() as u128;
        for shard in homeless {
            let lacks: u128 = self.hosts.iter().map(|host| host.least.saturating_sub(host.owned)).sum();
            let may = |host: &Host| if left > lacks { host.owned < host.most } else { host.owned < host.least };
            let wished = ring.get(shard).copied().flatten();
            let wished = wished.filter(|host| self.hosts.get(*host).is_some_and(may));
            let to = wished.or_else(|| self.emptiest(may)).or_else(|| self.emptiest(|host| host.owned < host.most));
            if let Some(to) = to {
                self.assign(shard, to);
            }
            left -= 1;
        }
    }

    /// Each host owns some of each pool, so that it can go on allocating when it is cut off.
    fn give_to_the_empty(&mut self, ring: &[Option<usize>]) -> bool {
        let Some(taker) = self.emptiest(|host| host.owned < host.least.min(1)) else { return false };
        self.give(taker, ring, |host| host.owned > 1)
    }

    fn give_to_the_lacking(&mut self, ring: &[Option<usize>]) -> bool {
        let Some(taker) = self.emptiest(|host| host.owned < host.least) else { return false };
        self.give(taker, ring, |host| host.owned > host.least)
    }

    fn relieve_the_full(&mut self, ring: &[Option<usize>]) -> bool {
        let Some(taker) = self.emptiest(|host| host.owned < host.most) else { return false };
        self.give(taker, ring, |host| host.owned > host.most)
    }

    /// Gives one shard of the fullest of these hosts that has one to give.
    fn give(&mut self, taker: usize, ring: &[Option<usize>], may: impl Fn(&Host) -> bool) -> bool {
        let mut givers: Vec<usize> =
            (0..self.hosts.len()).filter(|giver| *giver != taker && self.hosts.get(*giver).is_some_and(&may)).collect();
        givers.sort_unstable_by(|one, other| match (self.hosts.get(*one), self.hosts.get(*other)) {
            (Some(one), Some(other)) => other.fullness(one),
            _ => one.cmp(other),
        });
        for giver in givers {
            if let Some(shard) = self.gift(giver, taker, ring) {
                self.assign(shard, taker);
                return true;
            }
        }
        false
    }

    /// The shard that the giver gives the taker next: one that moves in any case, that the ring has there, that it does not have
    /// at the giver. The last word has a hash, so that what is given of several at a time does not depend on what was first.
    fn gift(&mut self, giver: usize, taker: usize, ring: &[Option<usize>]) -> Option<usize> {
        let (owners, kept, lives, pool) = (&self.owners, &self.kept, self.lives, self.pool);
        let housed = self.housed.get(giver)?;
        let state = hash::word(hash::word(CHOICE_SEED, u64::from(pool.0)), taker as u64);
        let gifts = self.gifts.entry((giver, taker)).or_insert_with(|| {
            let cost = |shard: &usize| -> Option<(Cost, usize)> {
                let (shard, lives) = (*shard, lives.get(*shard)?);
                let at = kept.get(shard).copied().flatten();
                if lives.is_fixed && at == Some(giver) {
                    return None;
                }
                let wished = ring.get(shard).copied().flatten();
                let moves_anyway = at != Some(giver);
                let hash = hash::word(state, u64::from(lives.shard.0));
                Some(((!moves_anyway, wished != Some(taker), wished == Some(giver), hash), shard))
            };
            let mut costs: Vec<(Cost, usize)> = housed.iter().filter_map(cost).collect();
            costs.sort_unstable_by(|one, other| other.cmp(one));
            costs.into_iter().map(|(_, shard)| shard).collect()
        });
        while let Some(shard) = gifts.pop() {
            if owners.get(shard).copied().flatten() == Some(giver) {
                return Some(shard);
            }
        }
        None
    }

    /// Of these hosts the one that has least for its weight.
    fn emptiest(&self, of: impl Fn(&Host) -> bool) -> Option<usize> {
        let mut found: Option<(usize, &Host)> = None;
        for (at, host) in self.hosts.iter().enumerate().filter(|(_, host)| of(host)) {
            if found.is_none_or(|(_, least)| host.fullness(least) == Ordering::Less) {
                found = Some((at, host));
            }
        }
        found.map(|(at, _)| at)
    }

    fn assign(&mut self, shard: usize, to: usize) {
        let Some(owner) = self.owners.get_mut(shard) else { return };
        if let Some(host) = owner.replace(to).and_then(|from| self.hosts.get_mut(from)) {
            host.owned -= 1;
        }
        if let Some(host) = self.hosts.get_mut(to) {
            host.owned += 1;
        }
    }
}
