//! Which member is the home of a subscriber: weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights as by
//! Schindelhauer and Schomaker 2005). Each member draws a number for the subscriber, and the least `-log(draw) / weight`
//! wins. When a member goes only its own subscribers get another home, and when one comes it only takes.

use std::cmp::Ordering;

use super::RingMember;
use super::log::cost;
use crate::hash;
use crate::id::MemberId;

const CANDIDATE_SEED: u64 = 0x6361_6e64_6964_6174;

/// A member with a weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) member: RingMember,
    /// Its id with bits all over, so that the draws of two members have nothing in common.
    salt: u64,
}

impl Candidate {
    pub(super) const fn new(member: RingMember) -> Self {
        Self { member, salt: hash::word(CANDIDATE_SEED, member.id.0 as u64) }
    }

    const fn draw(&self, state: u64) -> u64 {
        hash::word(hash::word(state, self.salt), self.salt)
    }
}

/// Who wins the subscriber whose hash is `state`.
pub(super) fn choose(candidates: &[Candidate], state: u64, alive: impl Fn(MemberId) -> bool) -> Option<MemberId> {
    let mut best: Option<(u64, u64, &Candidate)> = None;
    for candidate in candidates.iter().filter(|candidate| alive(candidate.member.id)) {
        let draw = candidate.draw(state);
        let cost = cost(draw);
        let wins = best.is_none_or(|(least, drawn, other)| {
            // Cross-multiplied, so that nothing is rounded. A tie goes to the larger draw, then to the smaller id.
            let ours = u128::from(cost) * u128::from(other.member.weight);
            let theirs = u128::from(least) * u128::from(candidate.member.weight);
            ours.cmp(&theirs).then(drawn.cmp(&draw)) == Ordering::Less
        });
        if wins {
            best = Some((cost, draw, candidate));
        }
    }
    best.map(|(_, _, candidate)| candidate.member.id)
}
