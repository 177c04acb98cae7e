//! What hosts said that contradicts each other. It is in the log, so that a restart forgets nobody who was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::allocation::Allocation;
use crate::fact::{Fact, Op};
use crate::id::{Dot, PoolUid, Seq};

/// Open ones that are remembered; what comes beyond that is only counted.
const MOST: usize = 1_000;

/// Two hosts wrote that they handed out the same space, or a host wrote about space that was never its own. With the rules
/// kept this does not happen; it is what an operator must hear of if it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// What does not count. Its realm is numbered as in this log.
    pub heard: Arc<Allocation>,
    /// The operation that showed it.
    pub from: Dot,
}

/// The conflicts that nobody looked after yet, by their places in the log.
#[derive(Debug, Default)]
pub struct Conflicts {
    open: BTreeMap<Seq, Arc<Conflict>>,
    /// A checkpoint may be told twice.
    closed: BTreeSet<Seq>,
}

impl Conflicts {
    /// Takes an operation of the log. What is about no conflict is passed over.
    pub fn apply(&mut self, op: &Op) {
        match &op.fact {
            Fact::Conflict(conflict) if !self.closed.contains(&op.seq) => {
                self.open.insert(op.seq, Arc::clone(conflict));
            }
            Fact::ConflictClosed(place) => {
                self.open.remove(place);
                self.closed.insert(*place);
            }
            Fact::Pool(_)
            | Fact::PoolDeleted(_)
            | Fact::Realm(_)
            | Fact::Held(_)
            | Fact::Resting(_)
            | Fact::Free(_)
            | Fact::Reserved(_)
            | Fact::Unreserved { .. }
            | Fact::Clock
            | Fact::Heard { .. }
            | Fact::RestsOn(_)
            | Fact::Adopted(_)
            | Fact::Noted(_)
            | Fact::Unnoted(_)
            | Fact::Conflict(_) => {}
        }
    }

    /// A pool was deleted, and its conflicts with it.
    pub fn forget_pool(&mut self, pool: PoolUid) {
        self.open.retain(|_, conflict| conflict.heard.pool != pool);
    }

    /// Whether more of them are remembered.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < MOST
    }

    /// The one of this place, if it is open.
    pub fn get(&self, place: Seq) -> Option<&Arc<Conflict>> {
        self.open.get(&place)
    }

    /// Those that are open, with their places, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, &Arc<Conflict>)> {
        self.open.iter().map(|(place, conflict)| (*place, conflict))
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
