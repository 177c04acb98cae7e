//! How often a plugin failed lately, and what follows: a short rest after a failure that repeated, suspension after five
//! failed calls in ten minutes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::fault::{FailureReason, Fault};

/// So many failed calls within [`WINDOW`] suspend a plugin.
const MOST_FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_mins(10);
/// The first rest; each failure after it doubles the next.
const FIRST_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Why a call is not even tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotNow {
    pub(crate) reason: FailureReason,
    pub(crate) why: String,
}

/// The failures of one loaded plugin.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// True while there is anything to look at in `state`: a healthy plugin's calls read this alone.
    unwell: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: VecDeque<Instant>,
    rests: u32,
    resting: Option<(Instant, Fault)>,
    suspended: Option<(FailureReason, Arc<str>)>,
}

impl Health {
    /// Whether a call may be made now.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), NotNow> {
        if !self.unwell.load(Ordering::Acquire) {
            return Ok(());
        }
        let state = self.state.lock();
        if let Some((reason, why)) = &state.suspended {
            return Err(NotNow { reason: *reason, why: format!("suspended: {why}") });
        }
        match &state.resting {
            Some((until, fault)) if now < *until => {
                let left = until.duration_since(now).as_millis() + 1;
                Err(NotNow { reason: fault.reason, why: format!("resting for {left} ms after a failure") })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A call failed. Some if that was one too many: the reason of the suspension that begins.
    pub(crate) fn failed(&self, now: Instant, fault: &Fault) -> Option<Arc<str>> {
        let mut state = self.state.lock();
        self.unwell.store(true, Ordering::Release);
        state.failures.push_back(now);
        while state.failures.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            state.failures.pop_front();
        }
        if state.failures.len() < MOST_FAILURES || state.suspended.is_some() {
            return None;
        }
        let why: Arc<str> = format!("{} failures in ten minutes, the last {fault}", state.failures.len()).into();
        state.suspended = Some((fault.reason, Arc::clone(&why)));
        Some(why)
    }

    /// It failed again at once: give it, and the cores, a rest.
    pub(crate) fn rest(&self, now: Instant, fault: Fault) {
        let mut state = self.state.lock();
        let rest = FIRST_REST.saturating_mul(1 << state.rests.min(16)).min(LONGEST_REST);
        state.rests = state.rests.saturating_add(1);
        state.resting = Some((now + rest, fault));
    }

    /// A call was answered.
    pub(crate) fn answered(&self) {
        if self.unwell.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            state.rests = 0;
            state.resting = None;
        }
    }

    /// Forgets everything. True if it was suspended.
    pub(crate) fn resume(&self) -> bool {
        let mut state = self.state.lock();
        let was = state.suspended.is_some();
        *state = State::default();
        self.unwell.store(false, Ordering::Release);
        was
    }

    /// Why it is suspended, if it is.
    pub(crate) fn suspended(&self) -> Option<Arc<str>> {
        self.state.lock().suspended.as_ref().map(|(_, why)| Arc::clone(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault { reason: FailureReason::Trap, detail: "unreachable".into() }
    }

    #[test]
    fn five_failures_in_ten_minutes_suspend() {
        let (health, start) = (Health::default(), Instant::now());
        for second in 0..4 {
            assert_eq!(health.failed(start + Duration::from_secs(second), &fault()), None);
        }
        assert!(health.admit(start).is_ok());
        assert!(health.failed(start + Duration::from_mins(9), &fault()).is_some());
        assert!(health.admit(start).unwrap_err().why.starts_with("suspended: 5 failures in ten minutes"));
        assert!(health.resume());
        assert!(health.admit(start).is_ok());
    }

    #[test]
    fn failures_far_apart_do_not() {
        let (health, start) = (Health::default(), Instant::now());
        for minute in 0..50 {
            assert_eq!(health.failed(start + Duration::from_mins(3 * minute), &fault()), None);
        }
    }

    #[test]
    fn a_rest_ends_and_doubles() {
        let (health, start) = (Health::default(), Instant::now());
        health.failed(start, &fault());
        health.rest(start, fault());
        assert!(health.admit(start + Duration::from_millis(9)).is_err());
        assert!(health.admit(start + Duration::from_millis(10)).is_ok());
        health.rest(start, fault());
        assert!(health.admit(start + Duration::from_millis(19)).is_err());
        health.answered();
        assert!(health.admit(start).is_ok());
    }
}
