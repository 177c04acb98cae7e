//! Makes groups durable, shows them, answers: in this order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use api::engine::{EngineError, Waker};
use api::ports::ResourceTypes;
use kernel::{Allocation, Effects, Notice, PoolUid, RequestId, Span};
use store::{Store, StoreError};
use view::View;

use super::courier::Courier;
use super::group::{Group, Waiter, refuse};
use super::recovery::owned;
use super::{Flushed, Parts};
use crate::vitals::Vitals;

pub(super) struct Flusher {
    store: Arc<Mutex<Store>>,
    view: Arc<View>,
    types: Arc<dyn ResourceTypes>,
    vitals: Arc<Vitals>,
    waker: Waker,
    /// `None`: this host is alone.
    courier: Option<Courier>,
    /// Jobs not yet fully answered, by their first request id.
    open: BTreeMap<RequestId, Waiter>,
}

impl Flusher {
    pub(super) fn new(parts: &Parts, courier: Option<Courier>, waker: Waker) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            view: Arc::clone(&parts.view),
            types: Arc::clone(&parts.types),
            vitals: Arc::clone(&parts.vitals),
            waker,
            courier,
            open: BTreeMap::new(),
        }
    }

    /// Until the kernel's thread hangs up.
    pub(super) fn run(mut self, groups: &Receiver<Group>, done: &SyncSender<Flushed>) {
        while let Ok(group) = groups.recv() {
            let flushed = self.flush(group);
            // At most one group is under way, so there is room; the receiver outlives this thread.
            if done.send(flushed).is_err() {
                break;
            }
            self.waker.wake();
        }
        refuse(std::mem::take(&mut self.open).into_values(), &EngineError::Stopped);
    }

    fn flush(&mut self, group: Group) -> Flushed {
        let Group { effects, waiters, lease_clock } = group;
        self.open.extend(waiters.into_iter().map(|waiter| (waiter.first, waiter)));
        self.name(&effects);
        let writes = effects.writes_len();
        let began = Instant::now();
        let durable = effects.persist(|ops| {
            owned(&self.store).append(&ops)?;
            Ok(ops)
        });
        let durable = match durable {
            Ok(durable) => durable,
            Err(error) => {
                let error: StoreError = error;
                refuse(std::mem::take(&mut self.open).into_values(), &EngineError::Storage(error.to_string()));
                return Err(error);
            }
        };
        if writes > 0 {
            self.vitals.flushed(began.elapsed(), writes);
        }
        self.view.apply(&durable.written);
        // After the records: if leases end exactly as these say from now on, the ones before them may have said too early.
        self.view.set_lease_clock(lease_clock.0, lease_clock.1);
        self.view.set_occupancy(&durable.occupancy);
        for notice in durable.notices {
            self.notice(notice);
        }
        let mut answered = Vec::new();
        for (id, answer) in durable.replies {
            answered.extend(self.answer(id, answer));
        }
        match &self.courier {
            Some(courier) => courier.send(answered, &self.view),
            None => answered.into_iter().for_each(Waiter::send),
        }
        Ok(())
    }

    /// Notes an outcome; gives the waiter when it was the last one.
    fn answer(&mut self, id: RequestId, answer: Result<kernel::Reply, kernel::CommandError>) -> Option<Waiter> {
        let (&first, waiter) = self.open.range_mut(..=id).next_back()?;
        waiter.answer(id, Ok(answer));
        if waiter.is_done() { self.open.remove(&first) } else { None }
    }

    /// Names what has no name yet, one plugin call a pool. What the plugin cannot name stands without: its answer says
    /// `plugin_unavailable`, and a repeat names it.
    fn name(&self, effects: &Effects) {
        let mut unnamed: BTreeMap<PoolUid, Vec<&Arc<Allocation>>> = BTreeMap::new();
        for allocation in effects.allocations().filter(|allocation| allocation.name().is_none()) {
            unnamed.entry(allocation.pool).or_default().push(allocation);
        }
        for (uid, allocations) in unnamed {
            let Some(pool) = self.view.pool_by_uid(uid) else { continue };
            let spans: Vec<Span> = allocations.iter().map(|allocation| allocation.span).collect();
            let names = self.types.render(&pool, &spans).unwrap_or_else(|error| vec![Err(error); spans.len()]);
            let mut refused = Vec::new();
            for (allocation, name) in allocations.into_iter().zip(names) {
                match name {
                    Ok(name) => allocation.set_name(name),
                    Err(error) => refused.push(error),
                }
            }
            if let Some(error) = refused.first() {
                tracing::warn!(pool = %pool.draft.id, count = refused.len(), %error, "allocations stay unnamed");
            }
        }
    }

    fn notice(&self, notice: Notice) {
        match notice {
            Notice::ClockSuspect { apart_ms } => {
                self.vitals.clock_suspect(Some(apart_ms));
                tracing::error!(apart_ms, "boot and wall clock disagree: leases do not expire until they agree again");
            }
            Notice::ClockTrusted => {
                self.vitals.clock_suspect(None);
                tracing::info!("boot and wall clock agree: leases expire again");
            }
            Notice::Conflict => {
                self.vitals.conflict();
            }
            Notice::NoteConflict => {
                self.vitals.note_conflict();
            }
        }
    }
}
