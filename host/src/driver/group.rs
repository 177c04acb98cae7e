//! A commit group and who waits for it.

use api::engine::{EngineError, Outcome};
use kernel::{Effects, RequestId};
use tokio::sync::oneshot;

/// What the kernel's thread hands to the flusher.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) effects: Effects,
    /// Jobs whose commands were stepped in this group. Some may be answered only in a later one.
    pub(super) waiters: Vec<Waiter>,
    pub(super) lease_clock: (i64, bool),
}

/// A job under way: its commands have consecutive request ids from `first`.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) first: RequestId,
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
    answer: oneshot::Sender<Vec<Outcome>>,
}

impl Waiter {
    pub(super) fn new(first: RequestId, commands: usize, answer: oneshot::Sender<Vec<Outcome>>) -> Self {
        let outcomes = std::iter::repeat_with(|| None).take(commands).collect();
        Self { first, outcomes, missing: commands, answer }
    }

    /// Notes one command's outcome.
    pub(super) fn answer(&mut self, id: RequestId, outcome: Outcome) {
        let slot = usize::try_from(id.0 - self.first.0).ok().and_then(|at| self.outcomes.get_mut(at));
        if let Some(slot) = slot
            && slot.replace(outcome).is_none()
        {
            self.missing -= 1;
        }
    }

    /// Whether every outcome is known.
    pub(super) const fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// The outcomes that are known.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().flatten()
    }

    pub(super) fn outcomes_mut(&mut self) -> impl Iterator<Item = &mut Outcome> {
        self.outcomes.iter_mut().flatten()
    }

    /// Answers if every outcome is known; otherwise gives the waiter back.
    pub(super) fn unless_done(self) -> Option<Self> {
        if !self.is_done() {
            return Some(self);
        }
        self.send();
        None
    }

    /// Answers; every outcome is known.
    pub(super) fn send(self) {
        // A caller that went away does not want its answer; the records stand.
        let _gone = self.answer.send(self.outcomes.into_iter().flatten().collect());
    }
}

/// Answers every missing outcome of these jobs with the same error.
pub(super) fn refuse(waiters: impl IntoIterator<Item = Waiter>, error: &EngineError) {
    for mut waiter in waiters {
        for slot in waiter.outcomes.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Err(error.clone()));
            waiter.missing -= 1;
        }
        waiter.unless_done();
    }
}
