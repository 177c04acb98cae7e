//! How peers behave, and what follows: who sends rubbish or floods is cut off for a while, longer each time.
//!
//! Each peer has a budget of 100 points a minute; a fault costs by how little an honest peer could commit it. Plain values
//! and times handed in, so it can be tested without a network.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::peer::PeerId;

const BUDGET: f64 = 100.0;
const REFILL_A_SECOND: f64 = BUDGET / 60.0;
const LONGEST_BAN: Duration = Duration::from_hours(1);
/// A peer that behaved for this many times its last ban starts from the first again.
const FORGIVEN_AFTER: u32 = 10;

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Bytes that are no frame, a body beyond the bound, others' words gossiped as one's own: ten a minute are too many.
    Rubbish,
    /// Used a channel that is shut for it. An honest peer may, for a moment, after it was disallowed.
    NotAllowed,
    /// Asked more than was agreed. An honest peer may, by a little, when answers are slow.
    TooMuch,
}

impl Fault {
    const fn points(self) -> f64 {
        match self {
            Self::Rubbish => 10.0,
            Self::NotAllowed => 5.0,
            Self::TooMuch => 1.0,
        }
    }
}

/// A budget that refills with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    left: f64,
    most: f64,
    a_second: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(most: f64, a_second: f64, now: Instant) -> Self {
        Self { left: most, most, a_second, at: now }
    }

    /// Takes so many, or nothing and says no.
    pub(crate) fn take(&mut self, points: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.a_second).min(self.most);
        if self.left < points {
            return false;
        }
        self.left -= points;
        true
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    budget: Bucket,
    bans: u32,
    ban: Option<Ban>,
    last_ban: Duration,
    touched: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: Instant,
}

#[derive(Debug)]
pub(crate) struct Conduct {
    first_ban: Duration,
    records: BTreeMap<PeerId, Record>,
    /// Whose ban was forgotten with the record; taken at the next [`pardon`](Self::pardon).
    forgotten: Vec<PeerId>,
}

impl Conduct {
    pub(crate) fn new(first_ban: Duration) -> Self {
        Self { first_ban, records: BTreeMap::new(), forgotten: Vec::new() }
    }

    /// Notes a fault. Gives the length of the ban if it was one too many.
    pub(crate) fn fault(&mut self, peer: PeerId, fault: Fault, now: Instant) -> Option<Duration> {
        let first_ban = self.first_ban;
        if !self.records.contains_key(&peer) {
            self.make_room();
        }
        let record = self.records.entry(peer).or_insert_with(|| Record {
            budget: Bucket::new(BUDGET, REFILL_A_SECOND, now),
            bans: 0,
            ban: None,
            last_ban: Duration::ZERO,
            touched: now,
        });
        if record.ban.is_some() {
            return None;
        }
        if record.bans > 0 && now.saturating_duration_since(record.touched) > record.last_ban * FORGIVEN_AFTER {
            record.bans = 0;
        }
        record.touched = now;
        if record.budget.take(fault.points(), now) {
            return None;
        }
        let length = first_ban.saturating_mul(1 << record.bans.min(16)).min(LONGEST_BAN.max(first_ban));
        record.bans = record.bans.saturating_add(1);
        record.last_ban = length;
        record.ban = Some(Ban { until: now + length });
        record.budget = Bucket::new(BUDGET, REFILL_A_SECOND, now + length);
        Some(length)
    }

    /// Bans at once, whatever the budget: for faults that were counted elsewhere.
    pub(crate) fn ban(&mut self, peer: PeerId, now: Instant) -> Option<Duration> {
        loop {
            if self.is_banned(peer) {
                return None;
            }
            if let Some(length) = self.fault(peer, Fault::Rubbish, now) {
                return Some(length);
            }
        }
    }

    pub(crate) fn is_banned(&self, peer: PeerId) -> bool {
        self.records.get(&peer).is_some_and(|record| record.ban.is_some())
    }

    /// Ends the bans that are over, and names the peers.
    pub(crate) fn pardon(&mut self, now: Instant) -> Vec<PeerId> {
        let mut pardoned = std::mem::take(&mut self.forgotten);
        for (peer, record) in &mut self.records {
            if record.ban.is_some_and(|ban| ban.until <= now) {
                record.ban = None;
                record.touched = now;
                pardoned.push(*peer);
            }
        }
        pardoned
    }

    /// Forgets the record that matters least: no ban, fewest bans, longest ago. Bans are only forgotten if all are
    /// banned, which takes as many peers that know the cluster key.
    fn make_room(&mut self) {
        if self.records.len() < limits::CONDUCTS {
            return;
        }
        let least = self
            .records
            .iter()
            .min_by_key(|(_, record)| (record.ban.map(|ban| ban.until), record.bans, record.touched))
            .map(|(peer, _)| *peer);
        if let Some(peer) = least {
            let banned = self.records.remove(&peer).is_some_and(|record| record.ban.is_some());
            self.forgotten.extend(banned.then_some(peer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerId {
        PeerId(libp2p::PeerId::random())
    }

    #[test]
    fn ten_bad_messages_a_minute_are_borne_and_one_more_is_not() {
        let (mut conduct, peer, now) = (Conduct::new(Duration::from_mins(1)), peer(), Instant::now());
        for _ in 0..10 {
            assert_eq!(conduct.fault(peer, Fault::Rubbish, now), None);
        }
        assert_eq!(conduct.fault(peer, Fault::Rubbish, now), Some(Duration::from_mins(1)));
        assert!(conduct.is_banned(peer));
        assert_eq!(conduct.fault(peer, Fault::Rubbish, now), None, "it is banned already");
    }

    #[test]
    fn few_faults_over_a_long_time_are_no_reason() {
        let (mut conduct, peer, mut now) = (Conduct::new(Duration::from_mins(1)), peer(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(conduct.fault(peer, Fault::Rubbish, now), None);
            now += Duration::from_secs(7);
        }
    }

    #[test]
    fn each_ban_is_twice_as_long_up_to_an_hour_until_it_behaves() {
        let (mut conduct, peer, mut now) = (Conduct::new(Duration::from_mins(1)), peer(), Instant::now());
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let length = Duration::from_mins(minutes);
            assert_eq!(conduct.ban(peer, now), Some(length));
            assert_eq!(conduct.pardon(now + length / 2), []);
            now += length;
            assert_eq!(conduct.pardon(now), [peer]);
        }
        now += Duration::from_secs(36_001);
        assert_eq!(conduct.ban(peer, now), Some(Duration::from_mins(1)));
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_banned() {
        let (mut conduct, bad, now) = (Conduct::new(Duration::from_mins(1)), peer(), Instant::now());
        conduct.ban(bad, now);
        for _ in 0..2 * limits::CONDUCTS {
            conduct.fault(peer(), Fault::TooMuch, now);
        }
        assert!(conduct.records.len() <= limits::CONDUCTS);
        assert!(conduct.is_banned(bad));
        for _ in 0..limits::CONDUCTS {
            conduct.ban(peer(), now + Duration::from_secs(1));
        }
        assert_eq!(conduct.pardon(now), [bad], "a ban that is forgotten is lifted");
    }
}
