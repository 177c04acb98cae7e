//! From the disk back into memory: the kernel and the read view, from the same facts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::{Kernel, KernelSettings, PoolUid, Recovery, Seq};
use store::{Damage, Store, StoreError};
use view::View;

use super::Parts;
use crate::clock;

/// What on the disk does not read back. Nothing is handed out from pools whose records are among it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damaged {
    pools: BTreeMap<PoolUid, String>,
    /// Damage that may be any pool's.
    all: Option<String>,
}

impl Damaged {
    fn of(damage: &[Damage]) -> Self {
        let mut damaged = Self::default();
        for found in damage {
            tracing::error!(key = %found.key, why = %found.why, "a record on the disk is damaged");
            let first = match found.pool {
                Some(pool) => damaged.pools.entry(pool).or_default(),
                None => damaged.all.get_or_insert_default(),
            };
            if first.is_empty() {
                *first = found.to_string();
            }
        }
        damaged
    }

    /// What is damaged of this pool, if anything.
    pub(crate) fn why(&self, pool: PoolUid) -> Option<&str> {
        self.pools.get(&pool).or(self.all.as_ref()).map(String::as_str)
    }

    /// Every pool with damage by its name, for people.
    pub(crate) fn named(&self, view: &View) -> BTreeMap<String, String> {
        let pools = view.pools(None).into_iter();
        pools.filter_map(|pool| Some((pool.draft.id.to_string(), self.why(pool.uid)?.to_owned()))).collect()
    }
}

/// What was on the disk.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) kernel: Kernel,
    pub(crate) damaged: Damaged,
}

/// Reads everything once, into the kernel and into an empty view.
pub(crate) fn recover(store: &Store, view: &View, settings: KernelSettings) -> Result<Recovered, StoreError> {
    let mut recovery = Recovery::new(settings);
    let found = store.recover(&mut |op| {
        recovery.apply(&op);
        view.load(&op);
    })?;
    recovery.reaches(last_of(&found), found.high_water_ms);
    let kernel = recovery.finish(clock::tick());
    view.loaded(last_of(&found));
    show(view, &kernel);
    Ok(Recovered { kernel, damaged: Damaged::of(&found.damage) })
}

/// After a full disk: opens the store again and makes the kernel from what is there. The view keeps what it has and is
/// shown what the failed group left on the disk, if anything.
pub(super) fn rebuild(parts: &Parts) -> Result<Kernel, StoreError> {
    let mut store = owned(&parts.store);
    store.reopen()?;
    let seen = Seq(*parts.view.committed().borrow());
    let mut recovery = Recovery::new(parts.settings);
    let found = store.recover(&mut |op| {
        recovery.apply(&op);
        if op.seq > seen {
            parts.view.apply(std::slice::from_ref(&op));
        }
    })?;
    recovery.reaches(last_of(&found), found.high_water_ms);
    let kernel = recovery.finish(clock::tick());
    show(&parts.view, &kernel);
    Ok(kernel)
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

/// A read view with nothing in it, on the boot clock.
pub(crate) fn empty_view(window: usize) -> Arc<View> {
    Arc::new(View::new(Box::new(clock::boot_ms), window))
}
