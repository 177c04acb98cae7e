//! Tombstones: three hosts write and delete one last-writer-wins key, tell each other, and drop what is deleted.
//!
//! Host 2 may leave and return. A returning host takes a new incarnation and a snapshot; what only its old self had is
//! never pulled. The members are the ledger's, and each host learns of a change when it learns of it.

mod state;
mod step;
#[cfg(test)]
mod tests;

use stateright::{Model, Property};

pub use self::state::{Dot, Heard, Host, State, Vector, Write};

/// The rule that a broken variant does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A tombstone goes whenever its host likes.
    ByTime,
    /// A tombstone goes as soon as every member acknowledged it.
    AcknowledgedOnly,
    /// A tombstone goes when every member acknowledged it and this host has what each wrote itself by then, whatever they
    /// had of others.
    OwnWritingsOnly,
    /// A host that returns goes on as who it was.
    OldIncarnation,
    /// What a member acknowledged under another list of members counts too.
    AnyMemberList,
}

impl Breach {
    /// Every variant.
    pub const ALL: [Self; 5] =
        [Self::ByTime, Self::AcknowledgedOnly, Self::OwnWritingsOnly, Self::OldIncarnation, Self::AnyMemberList];
}

/// The model and its bounds.
#[derive(Clone, Debug)]
pub struct Tombstone {
    /// Operations that are written at most, by all hosts together.
    pub writes: usize,
    /// Changes of the list of members: the first is that host 2 leaves, the second that it returns.
    pub changes: usize,
    /// The rule that is broken, if one is.
    pub breach: Option<Breach>,
}

impl Tombstone {
    /// A fixed list of members: the smallest instance where a put can meet a deletion that was made without it and a
    /// later put can follow.
    pub fn fixed(breach: Option<Breach>) -> Self {
        Self { writes: 3, changes: 0, breach }
    }

    /// Host 2 leaves, and returns.
    pub fn changing(breach: Option<Breach>) -> Self {
        Self { writes: 2, changes: 2, breach }
    }

    /// The smallest instance that shows the breach.
    pub fn broken(breach: Breach) -> Self {
        match breach {
            Breach::ByTime | Breach::AcknowledgedOnly => Self::fixed(Some(breach)),
            Breach::OldIncarnation => Self::changing(Some(breach)),
            Breach::AnyMemberList | Breach::OwnWritingsOnly => Self { writes: 3, changes: 1, breach: Some(breach) },
        }
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }
}

/// One step of the world. The first number is the host that it happens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A host writes the key.
    Put(usize),
    /// A host deletes the key.
    Delete(usize),
    /// A host gets all that another has of an origin's log.
    Pull(usize, usize, usize),
    /// A host hears another's vector.
    Hear(usize, usize),
    /// A host drops its tombstone.
    Collect(usize),
    /// A host's process dies and starts again: what it heard is forgotten.
    Crash(usize),
    /// The ledger changes the list of members.
    Change,
    /// A host learns the next change.
    Learn(usize),
    /// The host that returned takes another's snapshot.
    Snapshot(usize),
}

impl Model for Tombstone {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        step::apply(self, &mut state, &action);
        step::forget(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no resurrection", |_: &Self, state: &State| state.right()),
            Property::sometimes("everyone has collected", |_: &Self, state: &State| {
                state.hosts.iter().all(|host| !host.dropped.is_empty())
            }),
        ];
        // The rest takes more room than every instance has.
        if self.writes > 2 {
            properties.push(Property::sometimes("the key is written after that", |_: &Self, state: &State| {
                state.hosts.iter().any(|host| !host.dropped.is_empty() && host.cell.is_some())
            }));
        }
        if self.changes > 0 {
            properties.push(Property::sometimes("collected while one is away", |_: &Self, state: &State| {
                state.hosts.iter().any(|host| !host.dropped.is_empty() && host.knows == 1)
            }));
        }
        if self.changes > 1 {
            properties.push(Property::sometimes("collected by who returned", |_: &Self, state: &State| {
                let [_, _, host] = &state.hosts;
                host.returned && !host.dropped.is_empty()
            }));
        }
        properties
    }
}
