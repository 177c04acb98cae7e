//! The one entry: inputs in, effects out.

use crate::command::{Command, RequestId};
use crate::effects::Effects;
use crate::fact::Op;
use crate::id::Tick;
use crate::pool::Occupancy;
use crate::{PoolUid, RealmUid};

/// What the kernel is told.
#[derive(Debug)]
pub enum Input {
    Request { id: RequestId, command: Command },
    /// The time of [`Kernel::next_alarm`] has come (early ones do no harm).
    Alarm,
}

/// What an operator may set of the kernel itself.
#[derive(Clone, Copy, Debug)]
pub struct KernelSettings {
    /// Where the kernel's own generator starts (strategy `random`).
    pub seed: u64,
    /// How long a lease that ended while the daemon was down may still be renewed, milliseconds.
    pub restart_grace_ms: u64,
    /// Boot and wall clock further apart than this stop expiry, milliseconds.
    pub clock_tolerance_ms: u64,
}

/// Facts on their way back into memory, in the order of their log.
#[derive(Debug)]
pub struct Recovery {}

impl Recovery {
    pub fn new(_settings: KernelSettings) -> Self {
        Self {}
    }
    /// One operation of a checkpoint or the log. Repeats and older operations of a key are ignored.
    pub fn apply(&mut self, _op: &Op) {}
    /// The kernel as it was, at this time.
    pub fn finish(self, _now: Tick) -> Kernel {
        Kernel {}
    }
}

/// Pools, shards, free space, allocations, leases.
#[derive(Debug)]
pub struct Kernel {}

impl Kernel {
    /// Takes one input. Adds to the group's effects.
    pub fn step(&mut self, _now: Tick, _input: Input, _effects: &mut Effects) {}
    /// Ends a commit group: adds how full every (pool, realm) is that the group touched.
    pub fn seal(&mut self, _effects: &mut Effects) {}
    /// When [`Input::Alarm`] is wanted, in boot milliseconds; `Some(now)` or earlier: at once, there is a backlog.
    pub fn next_alarm(&self) -> Option<u64> {
        None
    }
    /// What must be added to boot time to get the wall clock the kernel keeps, and whether leases expire at all now.
    pub fn lease_clock(&self) -> (i64, bool) {
        (0, true)
    }
    /// How full each (pool, realm) is, for the read view at start.
    pub fn occupancy(&self) -> Vec<((PoolUid, RealmUid), Occupancy)> {
        Vec::new()
    }
}
