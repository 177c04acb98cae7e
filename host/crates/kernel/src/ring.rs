//! The hashring: where each shard should live, and which host is the home of a subscriber.
//!
//! A value without history: who knows the same members computes the same answer, on every machine. It says nothing about
//! who may hand out a shard; that is the ledger's word alone, and two hosts with different views of the members have
//! different rings without harm. The placement is in `place`, what may stay where it lives in `keep`, the choice of a home in
//! `home`.

mod home;
mod keep;
mod log;
mod place;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::hash;
use crate::id::{Key, MemberId, PoolUid, ShardId, SubscriberId};
use home::Candidate;
use keep::Keeper;
use place::{Point, Table};

/// Most virtual nodes of one member, so that a large weight cannot make the ring large. Beyond it the weight still counts
/// in full: in how often a member has its turn, in its bound, and in the choice of a home.
const MOST_VIRTUAL_NODES: u32 = 2_048;

/// Where the hashes of this file start, so that they have nothing in common with those of other tables.
const POINT_SEED: u64 = 0x7269_6e67_2070_6f69;
const HOME_SEED: u64 = 0x7269_6e67_2068_6f6d;

/// One host on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMember {
    pub id: MemberId,
    /// How much it should own compared to the others. 0 owns nothing new: a drained host, or one that only reads.
    pub weight: u32,
}

/// Where a shard lives now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    pub shard: ShardId,
    /// `None`: nobody has it yet, or who has it may not keep it.
    pub at: Option<MemberId>,
    /// Whether it cannot move now.
    pub is_fixed: bool,
}

/// What the ring gives one member of a pool's shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingShare {
    pub member: RingMember,
    /// How many shards it should own.
    pub shards: usize,
    /// What its weight alone would give it.
    pub fair: f64,
}

/// Where each shard should live. Suspicion and wishes only; the ledger says where it does.
///
/// ```
/// use kernel::{MemberId, PoolUid, Ring, RingMember, ShardId};
///
/// let members = [1, 2, 3].map(|id| RingMember { id: MemberId(id), weight: 1 });
/// let ring = Ring::new(members, Ring::VIRTUAL_NODES);
/// let shards: Vec<ShardId> = (0..300).map(ShardId).collect();
/// let owners = ring.place(PoolUid(7), &shards).ok_or("nobody can own")?;
///
/// // Nobody gets more than 1.10 times its fair share of 100.
/// for RingMember { id, .. } in members {
///     assert!(owners.iter().filter(|owner| **owner == id).count() <= 110);
/// }
///
/// // While all are alive each subscriber has one home; if it goes, another takes its place.
/// let subscriber = "00:11:22:33:44:55".parse()?;
/// let home = ring.home(PoolUid(7), &subscriber, None, |_| true).ok_or("no home")?;
/// let other = ring.home(PoolUid(7), &subscriber, None, |member| member != home).ok_or("no home")?;
/// assert_ne!(home, other);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ring {
    /// By id, each once.
    members: Vec<RingMember>,
    /// The members with a weight, by id.
    candidates: Vec<Candidate>,
    /// In ring order; each candidate has at least one.
    points: Vec<Point>,
}

impl Ring {
    /// Virtual nodes of a host of weight 1 where nobody says otherwise.
    pub const VIRTUAL_NODES: u32 = 150;

    /// A ring of these members, in any order. Of a member named twice the larger weight counts. A member gets
    /// `virtual_nodes` times its weight, but at least 1 and at most 2,048 of them: they depend on nobody else, so those of
    /// who stays do not move when others come and go.
    pub fn new(members: impl IntoIterator<Item = RingMember>, virtual_nodes: u32) -> Self {
        let mut members: Vec<RingMember> = members.into_iter().collect();
        members.sort_unstable_by_key(|member| (member.id, std::cmp::Reverse(member.weight)));
        members.dedup_by_key(|member| member.id);
        let candidates: Vec<Candidate> =
            members.iter().filter(|member| member.weight > 0).map(|member| Candidate::new(*member)).collect();
        let mut points = Vec::new();
        for (owner, RingMember { id, weight }) in candidates.iter().map(|candidate| candidate.member).enumerate() {
            let count = virtual_nodes.saturating_mul(weight).clamp(1, MOST_VIRTUAL_NODES);
            let state = hash::word(POINT_SEED, u64::from(id.0));
            points.extend((0..count).map(|nth| Point { at: place::scatter(state, u64::from(nth)), owner }));
        }
        // Where two points meet, the smaller id comes first.
        points.sort_unstable();
        Self { members, candidates, points }
    }

    /// Whether a member has a weight here.
    pub fn has(&self, member: MemberId) -> bool {
        self.candidates.binary_search_by_key(&member, |one| one.member.id).is_ok()
    }

    /// All members, those of weight 0 too, by id.
    pub fn members(&self) -> &[RingMember] {
        &self.members
    }

    /// For each shard, in the order given, who should own it; `None` if no member has a weight. The shards' order does
    /// not matter. Which shards there are does: ask for all of a pool's shards at once.
    ///
    /// Nobody gets more than 1.10 times its fair share (the shards by weight), rounded up, so with few shards one more
    /// than fair. Where there are at least as many shards as members with a weight, each of these gets at least one.
    pub fn place(&self, pool: PoolUid, shards: &[ShardId]) -> Option<Vec<MemberId>> {
        if self.candidates.is_empty() {
            return None;
        }
        let weights: Vec<u32> = self.candidates.iter().map(|candidate| candidate.member.weight).collect();
        let owners = Table::new(&self.points, &weights, pool, shards).place();
        owners.into_iter().map(|owner| self.candidates.get(owner?).map(|candidate| candidate.member.id)).collect()
    }

    /// For each shard, in the order given, who should own it so that as much as possible stays where it lives; `None` if no
    /// member has a weight. All of a pool's shards are to be given at once. Where nobody has any yet, it is [`Self::place`], but for
    /// what follows.
    ///
    /// Nobody gets more than in [`Self::place`], or less than 0.90 times its fair share, rounded up or down by a draw of pool and member;
    /// where there are at least as many shards as members with a weight, at least one. Beyond that, what lives with a member of the
    /// ring stays. So when a member leaves only its own shards move, and when one comes what it is given. Shards that are fixed, and
    /// members too light for one shard, can keep others from their bounds. Followed one by
    /// one, in any order, it comes to rest after hardly more moves than it asked for at first.
    pub fn settle(&self, pool: PoolUid, lives: &[Lives]) -> Option<Vec<MemberId>> {
        if self.candidates.is_empty() {
            return None;
        }
        let members: Vec<RingMember> = self.candidates.iter().map(|candidate| candidate.member).collect();
        let at = |lives: &Lives| self.candidates.binary_search_by_key(&lives.at?, |one| one.member.id).ok();
        let keeper = Keeper::new(&members, pool, lives, lives.iter().map(at).collect());
        if keeper.is_settled() {
            return lives.iter().map(|lives| lives.at).collect();
        }
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        let shards: Vec<ShardId> = lives.iter().map(|lives| lives.shard).collect();
        let wished = Table::new(&self.points, &weights, pool, &shards).place();
        let owners = keeper.settle(&wished).into_iter();
        owners.map(|owner| self.candidates.get(owner?).map(|candidate| candidate.member.id)).collect()
    }

    /// The home of (pool, subscriber, key) among the members with a weight that `alive` says are reachable; `None` if
    /// there is none. No key and the empty key are the same, as they name the same allocation.
    pub fn home(
        &self,
        pool: PoolUid,
        subscriber: &SubscriberId,
        key: Option<&Key>,
        alive: impl Fn(MemberId) -> bool,
    ) -> Option<MemberId> {
        let state = hash::bytes(hash::word(HOME_SEED, u64::from(pool.0)), subscriber.as_str().as_bytes());
        let state = hash::bytes(state, key.map_or("", Key::as_str).as_bytes());
        home::choose(&self.candidates, state, alive)
    }

    /// The virtual nodes in ring order, for people to look at.
    pub fn points(&self) -> impl Iterator<Item = (u64, MemberId)> + '_ {
        self.points.iter().filter_map(|point| Some((point.at, self.candidates.get(point.owner)?.member.id)))
    }

    /// How many of these shards each member gets, and its fair share, by id: for status. All have 0 shards where nobody
    /// has a weight.
    pub fn shares(&self, pool: PoolUid, shards: &[ShardId]) -> Vec<RingShare> {
        let mut owners = self.place(pool, shards).unwrap_or_default();
        owners.sort_unstable();
        let total: u64 = self.members.iter().map(|member| u64::from(member.weight)).sum();
        let share = |member: &RingMember| {
            let from = owners.partition_point(|owner| *owner < member.id);
            let to = owners.partition_point(|owner| *owner <= member.id);
            RingShare { member: *member, shards: to - from, fair: fair(shards.len(), member.weight, total) }
        };
        self.members.iter().map(share).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn fair(shards: usize, weight: u32, total: u64) -> f64 {
    if total == 0 { 0.0 } else { shards as f64 * f64::from(weight) / total as f64 }
}
