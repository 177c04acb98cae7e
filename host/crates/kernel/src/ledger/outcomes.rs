//! What was answered to the last commands, so that a command that reached the log twice is answered twice and done once.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::state::Outcome;
use crate::id::CommandId;

/// So many are remembered.
pub(super) const REMEMBERED: usize = 4_096;

/// The last outcomes in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(CommandId, Outcome)>", into = "Vec<(CommandId, Outcome)>")]
pub(super) struct Outcomes {
    order: VecDeque<CommandId>,
    by_id: BTreeMap<CommandId, Outcome>,
}

impl Outcomes {
    pub(super) fn of(&self, id: CommandId) -> Option<&Outcome> {
        self.by_id.get(&id)
    }

    /// Remembers one; the oldest is forgotten.
    pub(super) fn remember(&mut self, id: CommandId, outcome: Outcome) {
        if self.by_id.insert(id, outcome).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front();
            oldest.and_then(|id| self.by_id.remove(&id));
        }
    }
}

impl From<Vec<(CommandId, Outcome)>> for Outcomes {
    fn from(outcomes: Vec<(CommandId, Outcome)>) -> Self {
        let mut all = Self::default();
        for (id, outcome) in outcomes {
            all.remember(id, outcome);
        }
        all
    }
}

impl From<Outcomes> for Vec<(CommandId, Outcome)> {
    fn from(Outcomes { order, mut by_id }: Outcomes) -> Self {
        order.into_iter().filter_map(|id| Some((id, by_id.remove(&id)?))).collect()
    }
}
