//! Takeover: one leased shard, its old holder, the host that takes it over, a third voter, one BNG for each subscriber.
//!
//! Time is cut into ticks. The old holder counts its lease on a clock that may lose one tick a lease; the leader counts
//! lease and grace from the moment the renewal is applied. An answer lives for `ANSWER` ticks after it left. What a
//! holder was asked stays open for as long as the BNG likes: BNGs repeat what nobody answered.

mod offer;
mod state;
mod step;
#[cfg(test)]
mod tests;

use stateright::{Model, Property};

pub use self::state::{Grant, Lease, Ledger, New, Old, OldAnswer, Op, Renewal, Served, Session, Side, State};

/// Ticks that a lease lasts by the holder's clock.
pub(crate) const LEASE: u8 = 1;
/// Ticks that the holder's clock may lose in one lease.
pub(crate) const SLOW: u8 = 1;
/// Ticks that an answer may be under way before a BNG drops it as late.
pub(crate) const ANSWER: u8 = 1;
/// Ticks that the leader waits beyond the lease.
pub(crate) const GRACE: u8 = SLOW + ANSWER;

/// The rule that a broken variant does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// Holds back only the addresses of which the new holder's copy says nothing.
    QuarantineUnknownOnly,
    /// Answers without looking again, after the flush, whether the lease still runs.
    NoRecheck,
    /// The leader deposes as soon as the lease is over on its own clock.
    NoGrace,
    /// A proposal to depose is applied although a later renewal exists.
    DeposeDespiteRenewal,
    /// The new holder serves before its copy covers the cut.
    ServeBeforeCut,
    /// The old holder hands out a released address before another voter knows of the release.
    ReuseUnstableRelease,
    /// A late release frees what the new holder has answered meanwhile.
    LateReleaseCounts,
    /// A BNG takes the old holder's answers however late they are and whatever epoch it has seen. Either look alone is enough
    /// here, because the leader waits until what is under way is late.
    AnyAnswerCounts,
    /// The old holder counts its lease from the moment it hears of the renewal.
    LeaseFromAnswer,
    /// A process that starts again takes the lease of the one before for good.
    LeaseOutlivesCrash,
    /// An answer says that another host has it, and nobody was asked.
    AckUnasked,
}

impl Breach {
    /// Every variant.
    pub const ALL: [Self; 11] = [
        Self::QuarantineUnknownOnly,
        Self::NoRecheck,
        Self::NoGrace,
        Self::DeposeDespiteRenewal,
        Self::ServeBeforeCut,
        Self::ReuseUnstableRelease,
        Self::LateReleaseCounts,
        Self::AnyAnswerCounts,
        Self::LeaseFromAnswer,
        Self::LeaseOutlivesCrash,
        Self::AckUnasked,
    ];
}

/// The model and its bounds.
#[derive(Clone, Debug)]
pub struct Takeover {
    /// Addresses in the shard.
    pub addresses: usize,
    /// Subscribers, each behind a BNG of its own.
    pub subscribers: usize,
    /// Operations that the old holder writes at most.
    pub writes: usize,
    /// Renewals that it tries at most.
    pub renewals: usize,
    /// The rule that is broken, if one is.
    pub breach: Option<Breach>,
}

impl Takeover {
    /// The smallest instance that shows every breach.
    pub fn small(breach: Option<Breach>) -> Self {
        Self { addresses: 2, subscribers: 2, writes: 3, renewals: 1, breach }
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }
}

/// One step of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A tick passes.
    Tick,
    /// A tick passes that the old holder's clock loses.
    SlowTick,
    /// A subscriber without an address asks for one.
    Ask(usize),
    /// The old holder chooses an address for a subscriber and writes it down, not yet flushed.
    Allocate(usize, usize),
    /// The old holder finds what the subscriber has already.
    Repeat(usize),
    /// The old holder's log reaches its disk.
    Flush,
    /// The old holder answers what it has flushed.
    Answer(usize),
    /// The old holder's answer reaches the BNG.
    DeliverOld(usize),
    /// The new holder's answer reaches the BNG.
    DeliverNew(usize),
    /// A subscriber releases at the old holder.
    ReleaseAtOld(usize),
    /// A subscriber releases at the new holder.
    ReleaseAtNew(usize),
    /// The third voter gets what the old holder has flushed.
    OldToVoter,
    /// The new holder gets it.
    OldToNew,
    /// The new holder gets what the third voter has of it.
    VoterToNew,
    /// The old holder's process dies and starts again.
    Crash,
    /// The old holder tries to renew its node lease.
    Renew,
    /// The ledger applies the renewal.
    ApplyRenewal,
    /// The old holder hears that it was applied.
    HearRenewal,
    /// The renewal, or the answer to it, is lost.
    LoseRenewal,
    /// The leader has waited long enough and proposes to depose the old holder.
    ProposeDepose,
    /// The ledger applies that proposal.
    ApplyDepose,
    /// The new holder asks a majority of the voters what they have of the old holder's log.
    AskVoters,
    /// The ledger applies the grant to the new holder.
    ApplyGrant,
    /// The new holder begins to serve.
    Begin,
    /// The new holder allocates an address for a subscriber and answers.
    AllocateAtNew(usize, usize),
    /// The new holder answers what the subscriber has already.
    RepeatAtNew(usize),
    /// The old holder's own log arrives at the new holder, which has been serving.
    LogArrives,
    /// A subscriber's BNG tells its session and takes no older answers from now on.
    Confirm(usize),
}

impl Model for Takeover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        offer::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        step::apply(self, &mut state, &action);
        step::forget(self, &mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("unique", |_: &Self, state: &State| state.unique()),
            Property::always("kept", |_: &Self, state: &State| state.kept()),
            Property::sometimes("the takeover completes", |_: &Self, state: &State| state.new.serving),
            Property::sometimes("the old log ends the quarantine", |_: &Self, state: &State| {
                state.released() && state.sides.iter().all(|side| !side.confirmed)
            }),
            Property::sometimes("the BNGs end the quarantine", |_: &Self, state: &State| {
                state.released() && state.sides.iter().all(|side| side.confirmed)
            }),
            Property::sometimes("an address is reused", |_: &Self, state: &State| state.reused()),
            Property::sometimes("a late allocation is adopted", |_: &Self, state: &State| state.adopted()),
        ]
    }
}
