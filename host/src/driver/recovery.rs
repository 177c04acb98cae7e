//! From the disk back into memory: the kernel and the read view, from the same facts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kernel::{Kernel, KernelSettings, Origin, PoolUid, Recovery, RecoveryFault, Seq};
use store::{Damage, Store, StoreError};
use view::View;

use super::Parts;
use crate::clock;
use crate::restored::Restored;

/// What on the disk does not read back. Nothing is handed out from pools whose records are among it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damaged {
    pools: BTreeMap<PoolUid, String>,
    /// Damage that may be any pool's.
    all: Option<String>,
    /// Damage that took a pool's record: nobody knows what space it has, so no pool may be given any.
    lost: Option<String>,
}

impl Damaged {
    /// What does not read back, and what reads back but cannot be.
    fn of(damage: &[Damage], faults: &[RecoveryFault], view: &View) -> Self {
        let mut damaged = Self::default();
        for found in damage {
            tracing::error!(key = %found.key, why = %found.why, "a record on the disk is damaged");
            damaged.note(found.pool, || found.to_string());
        }
        for fault in faults {
            let (pool, why) = told(fault);
            tracing::error!(pool = pool.0, why, "a record on the disk contradicts the others");
            if matches!(fault, RecoveryFault::PoolUnreadable { .. }) {
                damaged.lost.get_or_insert_with(|| why.clone());
            }
            damaged.note(Some(pool), || why);
        }
        let unknown = damaged.pools.iter().find(|(uid, _)| view.pool_by_uid(**uid).is_none());
        let unknown = unknown.map(|(_, why)| why.clone()).or_else(|| damaged.all.clone());
        damaged.lost = damaged.lost.or(unknown);
        damaged
    }

    /// The first of each pool is enough for people; the log has all.
    fn note(&mut self, pool: Option<PoolUid>, why: impl FnOnce() -> String) {
        match pool {
            Some(pool) => _ = self.pools.entry(pool).or_insert_with(why),
            None => _ = self.all.get_or_insert_with(why),
        }
    }

    /// What is damaged of this pool, if anything.
    pub(crate) fn why(&self, pool: PoolUid) -> Option<&str> {
        self.pools.get(&pool).or(self.all.as_ref()).map(String::as_str)
    }

    /// Why no pool may be made or grow: it might be given what a pool has whose record is lost.
    pub(crate) fn why_no_space(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Every pool with damage by its name, for people.
    pub(crate) fn named(&self, view: &View) -> BTreeMap<String, String> {
        let pools = view.pools(None).into_iter();
        pools.filter_map(|pool| Some((pool.draft.id.to_string(), self.why(pool.uid)?.to_owned()))).collect()
    }
}

/// The pool concerned, and what is wrong. No subscriber: everybody may read `/ready`.
fn told(fault: &RecoveryFault) -> (PoolUid, String) {
    match fault {
        RecoveryFault::PoolUnreadable { pool, why } => (pool.uid, format!("its geometry cannot be laid out: {why}")),
        RecoveryFault::NotHeld(held) => {
            (held.pool, format!("the allocation of {:?} is not in the pool or overlaps another", held.span))
        }
        RecoveryFault::NotReserved(kept) => {
            (kept.pool, format!("the reservation of {:?} is not in the pool or is held by another", kept.span))
        }
    }
}

/// What was on the disk.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) kernel: Kernel,
    pub(crate) damaged: Damaged,
}

/// Reads everything once, into the kernel and into an empty view.
pub(crate) fn recover(
    store: &Store,
    view: &View,
    settings: KernelSettings,
    restored: &Restored,
) -> Result<Recovered, StoreError> {
    let started = Instant::now();
    let mut recovery = Recovery::new(settings);
    recovery.quarantines(restored.pools());
    let found = store.recover(&mut |op| {
        recovery.apply(&op);
        view.load(&op);
    })?;
    recovery.reaches(last_of(&found), found.high_water_ms);
    let kernel = recovery.finish(clock::tick());
    view.loaded(last_of(&found));
    show(view, &kernel);
    tracing::info!(
        pools = view.pools(None).len(),
        allocations = kernel.allocations(),
        from_checkpoint = found.checkpoint_ops,
        from_log = found.log_ops,
        took_ms = started.elapsed().as_millis(),
        "the records are read"
    );
    let damaged = Damaged::of(&found.damage, kernel.faults(), view);
    Ok(Recovered { kernel, damaged })
}

/// After a full disk: opens the store again and makes the kernel from what is there. The view keeps what it has and is
/// shown what the failed group left on the disk, if anything. The former kernel's clock runs on.
pub(super) fn rebuild(parts: &Parts, former: &Kernel) -> Result<Recovered, StoreError> {
    let mut store = owned(&parts.store);
    store.reopen()?;
    let seen = Seq(*parts.view.committed().borrow());
    let mut recovery = Recovery::new(parts.settings);
    recovery.replaces(former);
    recovery.quarantines(parts.restored.pools());
    let found = store.recover(&mut |op| {
        recovery.apply(&op);
        if op.seq > seen {
            parts.view.apply(std::slice::from_ref(&op));
        }
    })?;
    recovery.reaches(last_of(&found), found.high_water_ms);
    let kernel = recovery.finish(clock::tick());
    show(&parts.view, &kernel);
    let damaged = Damaged::of(&found.damage, kernel.faults(), &parts.view);
    Ok(Recovered { kernel, damaged })
}

/// The log's last operation. Checkpoints drop what was replaced, so no fact that is left may carry its number.
fn last_of(found: &store::Recovered) -> Seq {
    Seq(found.next_seq.0.saturating_sub(1))
}

fn show(view: &View, kernel: &Kernel) {
    let (offset_ms, expiring) = kernel.lease_clock();
    view.set_lease_clock(offset_ms, expiring);
    view.set_occupancy(&kernel.occupancy());
}

/// The store, for one of the two threads that write: the flusher, or the kernel's while the flusher is idle. Nobody
/// panics while holding it, and if somebody did, the store's own state is what is on the disk.
pub(super) fn owned(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A read view with nothing in it, on the boot clock, of the host that writes its log under this name.
pub(crate) fn empty_view(window: usize, own: Origin) -> Arc<View> {
    Arc::new(View::new(Box::new(clock::boot_ms), window).of_host(own))
}
