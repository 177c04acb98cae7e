//! From the disk back into memory: the kernel and the read view, from the same facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Kernel, KernelSettings, PoolUid, Recovery, Seq};
use store::{Store, StoreError};
use view::View;

use super::Parts;
use crate::clock;

/// What was on the disk.
#[derive(Debug)]
pub struct Recovered {
    pub kernel: Kernel,
    /// Pools with damaged records, and what is damaged.
    pub damaged: BTreeMap<PoolUid, String>,
}

/// Reads everything once, into the kernel and into an empty view.
pub fn recover(store: &Store, view: &View, settings: KernelSettings) -> Result<Recovered, StoreError> {
    let mut recovery = Recovery::new(settings);
    let found = store.recover(&mut |op| {
        recovery.apply(&op);
        view.load(&op);
    })?;
    let mut damaged: BTreeMap<PoolUid, String> = BTreeMap::new();
    for damage in &found.damaged {
        tracing::error!(key = %damage.key, why = %damage.why, "a record on the disk is damaged");
        if let Some(pool) = damage.pool {
            damaged.entry(pool).or_insert_with(|| format!("{}: {}", damage.key, damage.why));
        }
    }
    let kernel = recovery.finish(clock::tick());
    view.loaded(Seq(found.next_seq.0.saturating_sub(1)));
    show(view, &kernel);
    Ok(Recovered { kernel, damaged })
}

/// After a full disk: opens the store again and makes the kernel from what is there. The view keeps what
/// it has and is shown what the failed group left on the disk, if anything.
pub(super) fn rebuild(parts: &Parts) -> Result<Kernel, StoreError> {
    parts.store.reopen()?;
    let seen = Seq(*parts.view.committed().borrow());
    let mut recovery = Recovery::new(parts.settings);
    parts.store.recover(&mut |op| {
        recovery.apply(&op);
        if op.seq > seen {
            parts.view.apply(std::slice::from_ref(&op));
        }
    })?;
    let kernel = recovery.finish(clock::tick());
    show(&parts.view, &kernel);
    Ok(kernel)
}

fn show(view: &View, kernel: &Kernel) {
    let (offset_ms, expiring) = kernel.lease_clock();
    view.set_lease_clock(offset_ms, expiring);
    view.set_occupancy(&kernel.occupancy());
}

/// Shares a read view, empty, on the boot clock.
pub fn empty_view(window: usize) -> Arc<View> {
    Arc::new(View::new(Box::new(clock::boot_ms), window))
}
