//! Watches: what happened, in order, pulled from the read view's window. A watcher that falls out of it is told so.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use kernel::{Allocation, Pool, PoolUid, Revision, Seq, Span, SubscriberId};
use tokio::sync::watch;
use view::{Event, EventKind};

use super::App;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::WatchQuery;
use super::output::{Change, Holding, WatchEvent, Watched};

/// Events taken at once, so that one watcher cannot hold the window's lock for long.
const BATCH: usize = 512;

/// One watcher's place in the stream. It holds no queue: a slow watcher costs nothing but its own gap.
#[derive(Debug)]
pub struct Watch {
    app: Arc<App>,
    caller: Caller,
    pool: Option<PoolUid>,
    subscriber: Option<SubscriberId>,
    after: Seq,
    committed: watch::Receiver<u64>,
    /// The tenant's pools as they were when they were last seen: events of a deleted one still come.
    pools: BTreeMap<PoolUid, Arc<Pool>>,
}

impl App {
    /// Begins to watch.
    pub fn watch(self: &Arc<Self>, caller: &Caller, query: &WatchQuery) -> Result<Watch, AppError> {
        caller.needs(Role::Read)?;
        let pool = query.pool.as_ref().map(|pool| self.pool_of(caller, pool)).transpose()?;
        let committed = self.view.committed();
        let after = query.after.unwrap_or_else(|| Seq(*committed.borrow()));
        let pools = self.view.pools(Some(&caller.tenant)).into_iter().map(|pool| (pool.uid, pool)).collect();
        Ok(Watch {
            app: Arc::clone(self),
            caller: caller.clone(),
            pool: pool.map(|pool| pool.uid),
            subscriber: query.subscriber.clone(),
            after,
            committed,
            pools,
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

    fn shown(&mut self, events: &[Event]) -> Vec<WatchEvent> {
        for event in events {
            if let EventKind::Pool(pool) | EventKind::PoolDeleted(pool) = &event.kind
                && pool.draft.tenant == self.caller.tenant
            {
                self.pools.insert(pool.uid, Arc::clone(pool));
            }
        }
        let shown = events.iter().filter_map(|event| {
            let change = self.change(&event.kind)?;
            Some(WatchEvent { seq: event.seq, at_ms: event.stamp_ms, change })
        });
        shown.collect()
    }

    fn change(&self, kind: &EventKind) -> Option<Change> {
        Some(match kind {
            EventKind::Held(allocation) => {
                let pool = self.wanted(allocation.pool, Some(&allocation.subscriber))?;
                let held = self.named(pool, allocation);
                if allocation.created_ms == allocation.renewed_ms {
                    Change::Allocated(held)
                } else {
                    Change::Renewed(held)
                }
            }
            EventKind::Ended(resting) => {
                let pool = self.wanted(resting.pool, Some(&resting.subscriber))?;
                let resource = resting.name.clone().unwrap_or_else(|| self.text(&pool, resting.span));
                Change::Ended { resting: Arc::clone(resting), pool, resource }
            }
            EventKind::Pool(pool) => {
                self.wanted(pool.uid, None)?;
                let pool = Arc::clone(pool);
                if pool.revision == Revision(1) { Change::PoolCreated(pool) } else { Change::PoolUpdated(pool) }
            }
            EventKind::PoolDeleted(pool) => {
                self.wanted(pool.uid, None)?;
                Change::PoolDeleted(Arc::clone(pool))
            }
            EventKind::Reserved(reservation) => {
                let pool = self.wanted(reservation.pool, Some(&reservation.subscriber))?;
                Change::Reserved(self.app.reserved(pool, Arc::clone(reservation)))
            }
            EventKind::Unreserved(key) => {
                let pool = self.wanted(key.pool, None)?;
                let resource = self.text(&pool, key.span);
                Change::Unreserved { pool, key: *key, resource }
            }
        })
    }

    /// The pool of an event if this watcher is to hear of it; `subscriber` is whom the event is about, if anybody.
    fn wanted(&self, pool: PoolUid, subscriber: Option<&SubscriberId>) -> Option<Arc<Pool>> {
        let wanted = self.pool.is_none_or(|wanted| wanted == pool)
            && self.subscriber.as_ref().is_none_or(|wanted| subscriber == Some(wanted));
        if wanted { self.pools.get(&pool).cloned() } else { None }
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
