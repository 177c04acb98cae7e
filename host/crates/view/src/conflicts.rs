//! What is open between hosts: allocations that another one of the same subscriber stands in place of, and words of other
//! hosts that contradict what is held.
//!
//! Who has two is found among the allocations themselves; only the few names are kept here, so it is complete after a start.

use std::collections::BTreeSet;
use std::sync::Arc;

use kernel::{Allocation, Conflict, Fact, Key, Op, Pair, PoolUid, Seq, SubscriberId, survivor};
use parking_lot::RwLock;

use crate::cursor::ListCursor;
use crate::events::PoolChange;
use crate::view::View;

type Whose = (PoolUid, SubscriberId, Option<Key>);

/// The names of those who have several, and what contradicted.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    doubled: RwLock<BTreeSet<Whose>>,
    contradictions: RwLock<kernel::Conflicts>,
}

impl Conflicts {
    pub(crate) fn forget_pool(&self, pool: PoolUid) {
        self.doubled.write().retain(|(of, _, _)| *of != pool);
        self.contradictions.write().forget_pool(pool);
    }
}

/// One open conflict.
#[derive(Clone, Debug)]
pub enum OpenConflict {
    /// Closed when the one that does not stand ends.
    Superseded(Pair),
    /// What a host said it handed out and does not count, by its place in the log. Closed when somebody says so.
    Contradiction(Seq, Arc<Conflict>),
}

impl OpenConflict {
    /// The allocation that has to go.
    pub fn loser(&self) -> &Arc<Allocation> {
        match self {
            Self::Superseded(pair) => &pair.superseded,
            Self::Contradiction(_, conflict) => &conflict.heard,
        }
    }

    /// Names it on every host: by the pool and the allocation that has to go.
    pub fn id(&self) -> String {
        let loser = self.loser();
        let kind = match self {
            Self::Superseded(_) => "s",
            Self::Contradiction(..) => "c",
        };
        format!("{kind}{}-{:x}-{:x}", loser.pool, loser.span.start(), loser.created_ms())
    }

    /// Its place in the list.
    pub fn place(&self) -> ListCursor {
        place_of(self.loser())
    }
}

fn place_of(held: &Allocation) -> ListCursor {
    ListCursor { pool: held.pool, realm: held.realm, start: held.span.start() }
}

fn whose(held: &Allocation) -> Whose {
    (held.pool, held.subscriber.clone(), held.key().cloned())
}

fn is_same(one: &Allocation, other: &Allocation) -> bool {
    one.span == other.span && one.realm == other.realm
}

impl View {
    /// A subscriber got another allocation beside what he has; gives which of them does not stand since.
    pub(crate) fn doubled(&self, new: &Arc<Allocation>) -> Option<PoolChange> {
        self.conflicts.doubled.write().insert(whose(new));
        let all = self.subscribers.under(new.pool, &new.subscriber, new.key());
        let stands = survivor(&all)?;
        let others = all.iter().filter(|held| !is_same(held, new));
        // What stood until now does not stand any more, or the new one does not from the beginning.
        let superseded = if is_same(stands, new) { survivor(others)? } else { new };
        let (superseded, survivor) = (Arc::clone(superseded), Arc::clone(stands));
        Some(PoolChange::Conflict(OpenConflict::Superseded(Pair { superseded, survivor })))
    }

    /// One of a subscriber's allocations is gone; gives which one is not superseded any more, if he had several: it ended, or
    /// stands now.
    pub(crate) fn no_longer_doubled(&self, gone: &Arc<Allocation>) -> Option<PoolChange> {
        if self.conflicts.doubled.read().is_empty() || !self.conflicts.doubled.read().contains(&whose(gone)) {
            return None;
        }
        let left = self.subscribers.under(gone.pool, &gone.subscriber, gone.key());
        if left.len() < 2 {
            self.conflicts.doubled.write().remove(&whose(gone));
        }
        let stands = Arc::clone(survivor(&left)?);
        let stood = Arc::clone(survivor(left.iter().chain([gone]))?);
        Some(PoolChange::Settled(OpenConflict::Superseded(if is_same(&stood, gone) {
            Pair { superseded: stands, survivor: stood }
        } else {
            Pair { superseded: Arc::clone(gone), survivor: stood }
        })))
    }

    /// What stands in place of an allocation, if it does not stand itself.
    pub fn stands_in_place_of(&self, held: &Allocation) -> Option<Arc<Allocation>> {
        // Nearly always nobody has two, and nobody is looked for.
        if self.conflicts.doubled.read().is_empty() {
            return None;
        }
        let all = self.subscribers.under(held.pool, &held.subscriber, held.key());
        let stands = survivor(&all)?;
        (!is_same(stands, held)).then(|| Arc::clone(stands))
    }

    /// A contradiction was written down, or closed; gives what is to be told of it.
    pub(crate) fn apply_conflict(&self, op: &Op) -> Option<(PoolUid, PoolChange)> {
        let closed = if let Fact::ConflictClosed(place) = &op.fact { Some(*place) } else { None };
        let place = closed.unwrap_or(op.seq);
        let mut known = self.conflicts.contradictions.write();
        let before = known.get(place).cloned();
        known.apply(op);
        let conflict = before.or_else(|| known.get(place).cloned())?;
        let (pool, open) = (conflict.heard.pool, OpenConflict::Contradiction(place, conflict));
        Some((pool, if closed.is_some() { PoolChange::Settled(open) } else { PoolChange::Conflict(open) }))
    }

    /// Everything that is open and wanted, by pool, realm and position. Costs as much as is open.
    pub fn open_conflicts(&self, wanted: impl Fn(PoolUid) -> bool) -> Vec<OpenConflict> {
        let doubled: Vec<Whose> = self.conflicts.doubled.read().iter().cloned().collect();
        let mut open = Vec::new();
        for (pool, subscriber, key) in doubled.into_iter().filter(|(pool, _, _)| wanted(*pool)) {
            let all = self.subscribers.under(pool, &subscriber, key.as_ref());
            let Some(stands) = survivor(&all) else { continue };
            open.extend(all.iter().filter(|held| !is_same(held, stands)).map(|held| {
                let (superseded, survivor) = (Arc::clone(held), Arc::clone(stands));
                OpenConflict::Superseded(Pair { superseded, survivor })
            }));
        }
        let contradictions = self.conflicts.contradictions.read();
        open.extend(
            contradictions
                .iter()
                .filter(|(_, conflict)| wanted(conflict.heard.pool))
                .map(|(place, conflict)| OpenConflict::Contradiction(place, Arc::clone(conflict))),
        );
        drop(contradictions);
        open.sort_by_key(OpenConflict::place);
        open
    }

    /// Number of open conflicts.
    pub fn open_conflicts_count(&self) -> usize {
        let quiet = self.conflicts.doubled.read().is_empty() && self.conflicts.contradictions.read().is_empty();
        if quiet { 0 } else { self.open_conflicts(|_| true).len() }
    }

    /// What stands instead of what has to go: of a contradiction, what is held there now; `None`: nothing any more.
    pub fn stands_instead(&self, open: &OpenConflict) -> Option<Arc<Allocation>> {
        match open {
            OpenConflict::Superseded(pair) => Some(Arc::clone(&pair.survivor)),
            OpenConflict::Contradiction(_, conflict) => {
                let lost = &conflict.heard;
                let there = self.holders(lost.pool, Some(lost.realm), lost.span.start()).into_iter().next();
                there.filter(|there| there.subscriber != lost.subscriber || there.key() != lost.key())
            }
        }
    }
}
