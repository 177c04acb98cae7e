//! Watches: what happened, in order, pulled from the read view's window. A watcher that falls out of it is told so.

use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Allocation, Pool, PoolUid, Revision, Seq, Span, SubscriberId};
use tokio::sync::watch;
use view::{Event, EventKind, PoolChange};

use super::App;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::{WatchOf, WatchQuery};
use super::output::{Change, Holding, NoteShown, WatchEvent, Watched};

/// Events taken at once, so that one watcher cannot hold the window's lock for long.
const BATCH: usize = 512;

/// One watcher's place in the stream. It holds no queue: a slow watcher costs nothing but its own gap.
#[derive(Debug)]
pub struct Watch {
    app: Arc<App>,
    caller: Caller,
    pool: Option<PoolUid>,
    subscriber: Option<SubscriberId>,
    of: WatchOf,
    after: Seq,
    committed: watch::Receiver<u64>,
}

impl App {
    /// Begins to watch.
    pub fn watch(self: &Arc<Self>, caller: &Caller, query: &WatchQuery) -> Result<Watch, AppError> {
        caller.needs(Role::Read)?;
        let pool = query.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let committed = self.view.committed();
        let after = query.after.unwrap_or_else(|| Seq(*committed.borrow()));
        Ok(Watch {
            app: Arc::clone(self),
            caller: caller.clone(),
            pool: pool.map(|pool| pool.uid),
            subscriber: query.subscriber.clone(),
            of: query.of.clone(),
            after,
            committed,
        })
    }
}

impl Watch {
    /// Everything up to here was seen: what to resume after.
    pub fn position(&self) -> Seq {
        self.after
    }

    /// What happened next; waits for it. `None` when the daemon stops. Cancel-safe: what was not returned comes again.
    pub async fn next(&mut self) -> Option<Watched> {
        loop {
            // Marked as seen before looking, so that a commit in between wakes the wait below.
            let last = Seq(*self.committed.borrow_and_update());
            match self.app.view.events_after(self.after, BATCH) {
                Err(gap) => {
                    let after = std::mem::replace(&mut self.after, gap.oldest);
                    return Some(Watched::Gap { after, resumed: gap.oldest });
                }
                Ok(mut events) => {
                    let whole = events.len() < BATCH;
                    // A group's events can be seen a moment before its end is announced: they come with the next turn.
                    events.truncate(events.partition_point(|event| event.seq <= last));
                    let reached = events.last().map_or(self.after, |event| event.seq);
                    let shown = self.shown(&events);
                    // The last operations of a group may be no events; what is known to hold none is behind us.
                    self.after = if whole { last.max(self.after) } else { reached };
                    if !shown.is_empty() {
                        return Some(Watched::Events(shown));
                    }
                    if !whole {
                        continue;
                    }
                }
            }
            tokio::select! {
                () = self.app.stopping().cancelled() => return None,
                changed = self.committed.changed() => changed.ok()?,
            }
        }
    }

    fn shown(&self, events: &[Event]) -> Vec<WatchEvent> {
        let wanted = events.iter().filter(|event| self.wants(event));
        wanted.map(|event| WatchEvent { seq: event.seq, at_ms: event.stamp_ms, change: self.change(event) }).collect()
    }

    fn wants(&self, event: &Event) -> bool {
        let (pool, change) = match &event.kind {
            EventKind::Note(note) => {
                let wanted = match &self.of {
                    WatchOf::Everything => self.pool.is_none() && self.subscriber.is_none(),
                    WatchOf::Pools => false,
                    WatchOf::Notes { prefix } => note.key.as_str().starts_with(prefix.as_str()),
                };
                return wanted && note.tenant == self.caller.tenant;
            }
            EventKind::InPool(pool, change) => (pool, change),
        };
        // Whom the event is about, if anybody.
        let subscriber = match change {
            PoolChange::Held(allocation) => Some(&allocation.subscriber),
            PoolChange::Ended(resting) => Some(&resting.subscriber),
            PoolChange::Reserved(reservation) => Some(&reservation.subscriber),
            PoolChange::Conflict(open) | PoolChange::Settled(open) => Some(&open.loser().subscriber),
            PoolChange::Pool | PoolChange::PoolDeleted | PoolChange::Unreserved(_) => None,
        };
        pool.draft.tenant == self.caller.tenant
            && !matches!(self.of, WatchOf::Notes { .. })
            && self.pool.is_none_or(|wanted| wanted == pool.uid)
            && self.subscriber.as_ref().is_none_or(|wanted| subscriber == Some(wanted))
    }

    fn change(&self, event: &Event) -> Change {
        let (pool, change) = match &event.kind {
            EventKind::Note(note) => {
                return Change::Note(NoteShown { key: note.key.clone(), writes: note.writes.clone() });
            }
            EventKind::InPool(pool, change) => (Arc::clone(pool), change),
        };
        match change {
            PoolChange::Held(allocation) => {
                let held = self.named(pool, allocation);
                if allocation.created_ms() == allocation.renewed_ms() {
                    Change::Allocated(held)
                } else {
                    Change::Renewed(held)
                }
            }
            PoolChange::Ended(resting) => {
                let resource = resting.name.clone().unwrap_or_else(|| self.text(&pool, resting.span));
                Change::Ended { resting: Arc::clone(resting), pool, resource }
            }
            PoolChange::Pool if pool.revision == Revision(1) => Change::PoolCreated(pool),
            PoolChange::Pool => Change::PoolUpdated(pool),
            PoolChange::PoolDeleted => Change::PoolDeleted(pool),
            PoolChange::Reserved(reservation) => Change::Reserved(self.app.reserved(pool, Arc::clone(reservation))),
            PoolChange::Unreserved(key) => {
                let resource = self.text(&pool, key.span);
                Change::Unreserved { pool, key: *key, resource }
            }
            PoolChange::Conflict(open) => Change::Conflict(self.app.shown_conflict(&pool, open)),
            PoolChange::Settled(open) => Change::ConflictClosed(self.app.shown_conflict(&pool, open)),
        }
    }

    fn named(&self, pool: Arc<Pool>, allocation: &Arc<Allocation>) -> Holding {
        if self.app.name(&pool, allocation).is_err() {
            tracing::debug!(pool = %pool.draft.id, "an event is shown without its name");
        }
        Holding { allocation: Arc::clone(allocation), pool }
    }

    fn text(&self, pool: &Pool, span: Span) -> CompactString {
        self.app.render_one(pool, span).unwrap_or_default()
    }
}
