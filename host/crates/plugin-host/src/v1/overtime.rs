//! What happens at a call's deadline: a guest that got no processor is not punished for it.
//!
//! The deadline is by the clock. A guest that reaches it goes on until it has used its budget of processor time beyond it,
//! so a loop ends a budget later and a call on a starved machine ends by itself. The thread's processor time is read only
//! here: reading it at the start of every call would cost half a call.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

/// How often the processor time is looked at once the deadline has passed, in ticks.
const LOOK_EVERY: u64 = 2;

/// Looks after which a call ends however little it could run: its caller waits, and the answer would be late.
const LOOKS: u64 = 500;

/// The longest a call can go on after its deadline, in ticks.
pub(crate) const LONGEST: u64 = LOOK_EVERY * LOOKS;

/// A thread's time is the guest's and the host's, which passes the lists. In a debug build the host's part alone is more than a
/// hot call's budget (2.7 ms for 1,024 names), so a starved machine would refuse good plugins.
const HOSTS_PART: u32 = if cfg!(debug_assertions) { 8 } else { 1 };

/// The overtime of one call.
#[derive(Debug)]
pub(super) struct Overtime {
    budget: Duration,
    looks: u64,
    /// The thread's processor time when the deadline passed.
    since: Duration,
}

impl Overtime {
    /// Of a call that may use this much processor time.
    pub(super) fn of(budget: Duration) -> Self {
        Self { budget: budget * HOSTS_PART, looks: 0, since: Duration::ZERO }
    }

    /// At the deadline, and at each look after it.
    pub(super) fn look(&mut self) -> UpdateDeadline {
        let used = processor_time();
        if self.looks == 0 {
            self.since = used;
        }
        self.looks += 1;
        if self.looks > LOOKS || used.saturating_sub(self.since) >= self.budget {
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::Continue(LOOK_EVERY)
    }
}

/// What this thread has used of the processor.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_goes_on_and_who_computes_is_stopped() {
        let mut idle = Overtime::of(Duration::from_mins(1));
        for _ in 0..LOOKS {
            assert!(matches!(idle.look(), UpdateDeadline::Continue(LOOK_EVERY)));
        }
        assert!(matches!(idle.look(), UpdateDeadline::Interrupt));

        let mut busy = Overtime::of(Duration::from_millis(1));
        let mut spun = 0_u64;
        while matches!(busy.look(), UpdateDeadline::Continue(_)) {
            spun = std::hint::black_box((0..10_000).fold(spun, u64::wrapping_add));
        }
        assert!(busy.looks <= LOOKS, "stopped by its use of the processor");
    }
}
