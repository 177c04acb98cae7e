//! What happens by itself: rests and leases that are over, pools being deleted, requests that wait. In slices, so that a
//! million leases that end at once delay nobody.

use super::Kernel;
use crate::effects::Effects;
use crate::fact::Fact;

/// Leases ended, or written anew, in one step. Each writes a record.
const LEASES: usize = 256;

/// Rests ended in one step. They write nothing.
const WOKEN: usize = 1_024;

/// How often the log says what time it is, if leases run and nothing else is written.
const STAMP_EVERY_MS: u64 = 60_000;

/// How often the clocks are looked at while they disagree.
const LOOK_EVERY_MS: u64 = 1_000;

impl Kernel {
    pub(super) fn alarm(&mut self, effects: &mut Effects) {
        let now_ms = self.log.clock.now_ms();
        let mut left = WOKEN;
        while left > 0
            && let Some(of) = self.rest_agenda.overdue(now_ms)
        {
            left -= self.wake_over(of, left);
        }
        let rewritten = self.rewrite_early(LEASES, effects);
        let mut left = if self.expiring() { LEASES - rewritten } else { 0 };
        while left > 0
            && let Some(of) = self.lease_agenda.overdue(now_ms)
        {
            left -= self.expire(of, left, effects);
        }
        self.delete_slice(effects);
        self.retry_parked(effects);
        if self.stamp_due().is_some_and(|due_ms| due_ms <= now_ms) {
            self.log.write(effects, |_| Fact::Clock);
        }
    }

    /// When the log should say what time it is.
    fn stamp_due(&self) -> Option<u64> {
        (self.leases > 0 && self.log.clock.trusted())
            .then(|| self.log.clock.last_stamp_ms().saturating_add(STAMP_EVERY_MS))
    }

    /// When [`Input::Alarm`](crate::Input::Alarm) is wanted, in boot milliseconds; in the past or now: at once, there is a
    /// backlog.
    pub fn next_alarm(&self) -> Option<u64> {
        let clock = &self.log.clock;
        if !self.deletions.is_empty() || !self.parked.is_empty() || !self.early.is_empty() {
            return Some(clock.boot_ms());
        }
        let lease = if self.expiring() {
            self.lease_agenda.first().map(|due_ms| clock.boot_at(due_ms))
        } else {
            (self.leases > 0).then(|| clock.boot_ms() + LOOK_EVERY_MS)
        };
        let rest = self.rest_agenda.first().map(|due_ms| clock.boot_at(due_ms));
        let stamp = self.stamp_due().map(|due_ms| clock.boot_at(due_ms));
        [lease, rest, stamp].into_iter().flatten().min()
    }
}
