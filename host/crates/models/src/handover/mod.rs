//! Hand-over: one escrow shard that two hosts move between each other, by an entry that the donor itself proposes.
//!
//! There is no time in it: an answer or a proposal may be under way for as long as it likes. The network never forgets a
//! proposal, so each may be applied late, never, or again.

mod state;
mod step;
#[cfg(test)]
mod tests;

use stateright::{Model, Property};

pub use self::state::{Answer, Fact, Grant, Host, Move, Op, Side, State};

/// The rule that a broken variant does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The donor proposes while its stop is only in memory.
    StopInMemory,
    /// The donor serves again when it does not know how its proposal ended.
    TakeBack,
    /// The ledger applies an entry whatever epoch it was made in.
    NoEpochCheck,
    /// The new holder serves before its copy covers the cut.
    ServeBeforeCut,
    /// The stop is durable beside the log, and the cut is what of the log is on the disk when the donor proposes.
    CutBeforeFlush,
}

impl Breach {
    /// Every variant.
    pub const ALL: [Self; 5] =
        [Self::StopInMemory, Self::TakeBack, Self::NoEpochCheck, Self::ServeBeforeCut, Self::CutBeforeFlush];
}

/// The model and its bounds.
#[derive(Clone, Debug)]
pub struct Handover {
    /// Addresses in the shard.
    pub addresses: usize,
    /// Subscribers, each behind a BNG of its own.
    pub subscribers: usize,
    /// Operations that each host writes at most.
    pub writes: usize,
    /// Entries that the ledger applies at most.
    pub moves: usize,
    /// The rule that is broken, if one is.
    pub breach: Option<Breach>,
}

impl Handover {
    /// The smallest instance that shows every breach.
    pub fn small(breach: Option<Breach>) -> Self {
        let moves = if breach == Some(Breach::NoEpochCheck) { 3 } else { 2 };
        Self { addresses: 2, subscribers: 2, writes: 2, moves, breach }
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }
}

/// One step of the world. The first number is a host's, where there is one; then the subscriber's, then the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A subscriber without an address asks for one.
    Ask(usize),
    /// A holder chooses an address and writes it down, not yet flushed.
    Allocate(usize, usize, usize),
    /// A holder finds what the subscriber has already.
    Repeat(usize, usize),
    /// A host's log reaches its disk.
    Flush(usize),
    /// A host answers what it has flushed, if the shard is still its own.
    Answer(usize, usize),
    /// A host's answer reaches the BNG.
    Deliver(usize, usize),
    /// A subscriber releases at a holder.
    Release(usize, usize),
    /// A holder stops handing out.
    Stop(usize),
    /// A stopped holder proposes the move.
    Propose(usize),
    /// The ledger applies a proposal, perhaps not for the first time.
    Apply(Move),
    /// A host learns the next entry of the ledger.
    Learn(usize),
    /// A host gets what the other has flushed.
    Copy(usize),
    /// A host's process dies and starts again.
    Crash(usize),
    /// A stopped holder serves again.
    TakeBack(usize),
}

impl Model for Handover {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        step::apply(self, &mut state, &action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("unique", |_: &Self, state: &State| state.unique()),
            Property::always("kept", |model: &Self, state: &State| state.kept(model)),
            Property::always("one holder", |model: &Self, state: &State| {
                !(state.serves(model, 0) && state.serves(model, 1))
            }),
            Property::sometimes("the shard comes back", |model: &Self, state: &State| {
                state.ledger.len() > 2 && state.serves(model, 0)
            }),
            Property::sometimes("an address outlives the move", |_: &Self, state: &State| state.outlived()),
            Property::sometimes("an address is reused", |_: &Self, state: &State| state.reused()),
        ]
    }
}
