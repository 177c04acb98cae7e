//! Requests on their way to one host share messages: what comes while some are under way gathers for the next.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use api::engine::{EngineError, Outcome};
use kernel::{Command, Leg, MemberId, Origin, Seq};
use net::{Channel, RequestError};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Cluster;
use super::messages::{self, CALLS, RouteAnswer, RouteAsk};
use super::route::repeated;
use crate::clock;

/// Shared messages that are under way to one host.
const UNDER_WAY: usize = 4;

/// How often a message is sent: once more, if it was not known there that it is not late.
const TIMES: usize = 2;

/// Callers that wait for a message to one host; further ones are refused.
const WAITING: usize = 4_096;

type Calls = Vec<(Leg, Command)>;

/// What another host answered.
#[derive(Debug)]
pub(super) struct Arrived {
    /// In the order of the calls; `None`: it takes longer and must be asked for in a message of its own.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Whose operations the outcomes are, and up to which; `None`: there was no answer.
    pub(super) rests_on: Option<(Origin, Seq)>,
    /// There was none because the host is gone, or went before it answered.
    pub(super) is_gone: bool,
}

impl Arrived {
    fn nowhere(error: &EngineError, count: usize) -> Self {
        Self { outcomes: repeated(error, count).into_iter().map(Some).collect(), rests_on: None, is_gone: false }
    }
}

/// One caller's requests, which travel together.
#[derive(Debug)]
struct Ride {
    calls: Calls,
    deadline: Instant,
    back: oneshot::Sender<Arrived>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Ride>,
    under_way: usize,
    /// What that host's clock showed when it answered last.
    heard_ms: u64,
}

impl Lane {
    /// What fits into one message, of those who wait still.
    fn board(&mut self) -> Vec<Ride> {
        let mut aboard = Vec::new();
        let mut free = CALLS;
        let now = Instant::now();
        while let Some(ride) = self.waiting.pop_front_if(|ride| ride.calls.len() <= free) {
            if ride.deadline > now && !ride.back.is_closed() {
                free -= ride.calls.len();
                aboard.push(ride);
            }
        }
        aboard
    }
}

/// By the host that is asked.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_member: Mutex<HashMap<MemberId, Lane>>,
}

impl Lanes {
    /// Lets a caller wait; says whether a message may leave now, and that is then taken to be under way.
    fn wait(&self, member: MemberId, ride: Ride) -> Result<bool, Ride> {
        let mut lanes = self.by_member.lock();
        let lane = lanes.entry(member).or_default();
        if lane.waiting.len() >= WAITING {
            return Err(ride);
        }
        lane.waiting.push_back(ride);
        let leaves = lane.under_way < UNDER_WAY;
        lane.under_way += usize::from(leaves);
        Ok(leaves)
    }

    /// The next message's load; without one there is one message less under way.
    fn next(&self, member: MemberId) -> Option<Vec<Ride>> {
        let mut lanes = self.by_member.lock();
        let lane = lanes.get_mut(&member)?;
        let aboard = lane.board();
        if !aboard.is_empty() {
            return Some(aboard);
        }
        lane.under_way = lane.under_way.saturating_sub(1);
        None
    }

    fn heard_ms(&self, member: MemberId) -> u64 {
        self.by_member.lock().get(&member).map_or(0, |lane| lane.heard_ms)
    }

    /// Whoever was made again may have another clock, so the latest word counts, not the highest.
    pub(super) fn heard(&self, member: MemberId, at_ms: u64) {
        self.by_member.lock().entry(member).or_default().heard_ms = at_ms;
    }
}

impl Cluster {
    /// Asks another host together with whoever else asks it now. At most [`CALLS`] at once.
    pub(super) async fn ride(&self, member: MemberId, calls: Calls, deadline: Instant) -> Arrived {
        let count = calls.len();
        let (back, arrived) = oneshot::channel();
        match self.inner.lanes.wait(member, Ride { calls, deadline, back }) {
            Err(_full) => return Arrived::nowhere(&EngineError::Overloaded { limit: WAITING }, count),
            Ok(false) => {}
            Ok(true) => {
                let cluster = self.clone();
                // A task of its own, because whoever waits for the first ride may give up while others are aboard.
                tokio::spawn(async move { cluster.drive(member).await });
            }
        }
        match timeout_at(deadline, arrived).await {
            Ok(Ok(arrived)) => arrived,
            Ok(Err(_)) | Err(_) => Arrived::nowhere(&self.unreachable(member), count),
        }
    }

    async fn drive(&self, member: MemberId) {
        while let Some(mut rides) = self.inner.lanes.next(member) {
            let loads: Vec<usize> = rides.iter().map(|ride| ride.calls.len()).collect();
            let calls = rides.iter_mut().flat_map(|ride| std::mem::take(&mut ride.calls)).collect();
            // Each caller minds its own deadline.
            let deadline = rides.iter().map(|ride| ride.deadline).max().unwrap_or_else(Instant::now);
            let Arrived { outcomes, rests_on, is_gone } = self.ask(member, calls, false, deadline).await;
            let mut outcomes = outcomes.into_iter();
            for (ride, load) in rides.into_iter().zip(loads) {
                // Whoever went away does not want it.
                let outcomes = outcomes.by_ref().take(load).collect();
                let _gone = ride.back.send(Arrived { outcomes, rests_on, is_gone });
            }
        }
    }

    /// Sends one message. `alone`: it may take as long as its deadline allows, because nobody else's requests are in it.
    pub(super) async fn ask(&self, member: MemberId, calls: Calls, alone: bool, deadline: Instant) -> Arrived {
        let count = calls.len();
        let peer = self.seat().and_then(|seat| seat.peer_of(member));
        let Some(peer) = peer else { return Arrived::nowhere(&self.unreachable(member), count) };
        let mut ask = RouteAsk { calls, alone, heard_ms: self.inner.lanes.heard_ms(member) };
        let (within, began_ms) = (deadline.saturating_duration_since(Instant::now()), clock::boot_ms());
        for _ in 0..TIMES {
            // On a clock that runs on in suspend: whoever asked may have given up long ago.
            let passed_ms = clock::boot_ms().saturating_sub(began_ms);
            let left = within.saturating_sub(Duration::from_millis(passed_ms));
            if left.is_zero() {
                break;
            }
            let answer = match self.inner.net.request(peer, Channel::Route, messages::write(&ask), left).await {
                Ok(response) => self.read::<RouteAnswer>(peer, &response.body),
                Err(RequestError::Busy) => return Arrived::nowhere(&EngineError::Overloaded { limit: CALLS }, count),
                Err(error) => {
                    tracing::debug!(%member, %error, "requests could not be carried");
                    let is_gone = matches!(error, RequestError::Unreachable);
                    return Arrived { is_gone, ..Arrived::nowhere(&self.unreachable(member), count) };
                }
            };
            match answer {
                Ok(answer) if answer.outcomes.len() == count => {
                    self.inner.lanes.heard(member, answer.at_ms);
                    let rests_on = Some((answer.origin, answer.through));
                    return Arrived { outcomes: answer.outcomes, rests_on, is_gone: false };
                }
                // Nothing was done: it was not known there how old the message is. Now it will be.
                Ok(answer) if answer.outcomes.is_empty() => {
                    self.inner.lanes.heard(member, answer.at_ms);
                    ask.heard_ms = answer.at_ms;
                }
                Ok(_) | Err(_) => {
                    tracing::warn!(%member, "an answer of another host is not usable");
                    break;
                }
            }
        }
        Arrived::nowhere(&self.unreachable(member), count)
    }

    pub(super) fn unreachable(&self, member: MemberId) -> EngineError {
        EngineError::Unreachable { hosts: vec![self.named(member)] }
    }

    /// A member as operators know it.
    pub(super) fn named(&self, member: MemberId) -> String {
        let node = self.seat().and_then(|seat| Some(seat.book.ledger().member(member)?.node.to_string()));
        node.unwrap_or_else(|| format!("member {member}"))
    }
}

#[cfg(test)]
mod tests;
