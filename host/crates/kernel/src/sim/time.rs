//! Time as it is, as the host's clocks show it, and as the kernel should keep it (worked out here a second time).

use crate::id::Tick;

/// Unix milliseconds when the simulation begins.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// What the clocks show, in milliseconds.
#[derive(Debug)]
pub(super) struct Time {
    passed: u64,
    booted_at: u64,
    wall_error: i64,
}

impl Time {
    pub(super) const fn new() -> Self {
        Self { passed: 1_000, booted_at: 0, wall_error: 0 }
    }

    pub(super) const fn tick(&self) -> Tick {
        Tick {
            boot_ms: self.passed - self.booted_at,
            wall_ms: (BEGIN_MS + self.passed).saturating_add_signed(self.wall_error),
        }
    }

    pub(super) const fn pass(&mut self, ms: u64) {
        self.passed += ms;
    }

    pub(super) const fn jump(&mut self, by_ms: i64) {
        self.wall_error += by_ms;
    }

    pub(super) const fn set_right(&mut self) {
        self.wall_error = 0;
    }

    /// The boot clock begins anew.
    pub(super) const fn reboot(&mut self) {
        self.booted_at = self.passed;
    }

    /// Real time, which nobody in the host can see.
    pub(super) const fn passed_ms(&self) -> u64 {
        self.passed
    }
}

/// Boot and wall clock may be apart by so much.
const TOLERANCE_MS: u64 = super::SETTINGS.clock_tolerance_ms;

/// The clock the kernel should keep.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeper {
    now: Tick,
    offset_ms: i64,
    reference_ms: i64,
    /// The log's last stamp at start, while the wall clock is behind it.
    behind_ms: Option<u64>,
    started_kept_ms: u64,
    started_boot_ms: u64,
}

fn less(left: u64, right: u64) -> i64 {
    i64::try_from(i128::from(left) - i128::from(right)).expect("simulated times are small")
}

impl Keeper {
    pub(super) fn start(&mut self, now: Tick, last_stamp_ms: u64) {
        let kept_ms = now.wall_ms.max(last_stamp_ms);
        self.now = now;
        self.offset_ms = less(kept_ms, now.boot_ms);
        self.reference_ms = less(now.wall_ms, now.boot_ms);
        self.behind_ms = (now.wall_ms < last_stamp_ms).then_some(last_stamp_ms);
        self.started_kept_ms = kept_ms;
        self.started_boot_ms = now.boot_ms;
    }

    /// The process lives on: this clock too, without a look at the wall clock.
    pub(super) const fn run_on(&mut self, now: Tick) {
        self.now = now;
    }

    /// By how much deadlines of this life move, if the wall clock is believed for the first time now.
    pub(super) fn observe(&mut self, now: Tick) -> Option<u64> {
        self.now = now;
        let behind_ms = self.behind_ms?;
        if now.wall_ms < behind_ms {
            return None;
        }
        let before = self.kept_ms();
        self.behind_ms = None;
        self.offset_ms = less(now.wall_ms, now.boot_ms);
        self.reference_ms = self.offset_ms;
        self.started_kept_ms = self.kept_ms();
        self.started_boot_ms = now.boot_ms;
        Some(self.kept_ms().saturating_sub(before))
    }

    pub(super) fn kept_ms(&self) -> u64 {
        self.now.boot_ms.saturating_add_signed(self.offset_ms)
    }

    pub(super) const fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    pub(super) fn trusted(&self) -> bool {
        let apart_ms = less(self.now.wall_ms, self.now.boot_ms).abs_diff(self.reference_ms);
        self.behind_ms.is_none() && apart_ms <= TOLERANCE_MS
    }

    /// Whether a lease of an earlier life, over by `expires_ms`, may end now.
    pub(super) fn grace_is_over(&self, expires_ms: u64) -> bool {
        expires_ms > self.started_kept_ms || self.now.boot_ms >= self.started_boot_ms + super::SETTINGS.restart_grace_ms
    }
}
