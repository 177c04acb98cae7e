//! Voters: a holder counts what a majority of the voters has of its log, and once the holder is deposed somebody asks a
//! majority of the voters for it. The list of voters changes meanwhile, and everybody learns of a change when it learns of it.
//!
//! What the holder counted it acts on: what was released is handed out again. So whoever asks later has to hear of it.

mod state;
#[cfg(test)]
mod tests;

use stateright::{Model, Property};

pub use self::state::{List, Preparation, State};

/// Hosts that may vote. The holder is none of them.
pub const HOSTS: usize = 3;

/// The rule that a broken variant does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A list may change by any number of voters.
    AtOnce,
    /// Nobody waits for the holder to count with the last list before the next one is made.
    HolderNotAwaited,
    /// Nobody sees to it that the next voters have what those of now know.
    NotHandedOn,
}

impl Breach {
    /// Every variant.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::HolderNotAwaited, Self::NotHandedOn];
}

/// The model and its bounds.
#[derive(Clone, Debug)]
pub struct Voters {
    /// Records that the holder writes at most.
    pub writes: usize,
    /// Changes of the list.
    pub changes: usize,
    /// The rule that is broken, if one is.
    pub breach: Option<Breach>,
}

impl Voters {
    /// The smallest instance that shows every breach, and in which every voter can be replaced.
    pub fn small(breach: Option<Breach>) -> Self {
        Self { writes: 2, changes: 4, breach }
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }
}

/// One step of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The holder writes a record.
    Write,
    /// A host gets what the holder has.
    Push(usize),
    /// A host gets what another has.
    Pull(usize, usize),
    /// The holder counts what a majority of the voters that it knows of has.
    Count,
    /// The holder learns the next list.
    Learn,
    /// The leader asks these voters, a majority, what they know, and means to make the next list of it.
    Prepare(List, List),
    /// The next list counts.
    Change,
    /// The holder's lease is declared over: it counts nothing any more, and nobody hears from it.
    Depose,
}

impl Model for Voters {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(List(0b001)), State::new(List(0b111))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(self, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(&action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("found", |_: &Self, state: &State| state.found()),
            Property::sometimes("every voter is another", |_: &Self, state: &State| {
                state.counted > 0 && state.lists[0].0 & state.last().0 == 0
            }),
            Property::sometimes("counted with the last list", |model: &Self, state: &State| {
                state.counted == model.writes
                    && state.lists.len() > model.changes
                    && state.knows + 1 == state.lists.len()
            }),
        ]
    }
}
