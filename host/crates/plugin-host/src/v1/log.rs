//! The one import of a plugin: a line to the host's log, bounded in length and number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::limits::Limits;
use crate::printable::printable;

use super::bindings::nexus::allocator::log::Level;

/// Lines a plugin may still write this second, over all its instances.
#[derive(Debug)]
pub(crate) struct LogBudget {
    plugin: Arc<str>,
    since: Instant,
    bytes: usize,
    lines: u64,
    /// The second in the upper half, lines written in it in the lower.
    window: AtomicU64,
    dropped: AtomicU64,
}

impl LogBudget {
    pub(crate) fn new(plugin: Arc<str>, limits: &Limits) -> Self {
        let values = limits.values();
        Self {
            plugin,
            since: Instant::now(),
            bytes: values.log_bytes,
            lines: u64::from(values.log_lines),
            window: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Writes a line, or counts it.
    pub(super) fn write(&self, level: Level, message: &str) {
        let second = self.since.elapsed().as_secs();
        if !self.take(second) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let plugin = &*self.plugin;
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(target: "plugin", plugin, dropped, "log lines were dropped");
        }
        let message = printable(message, self.bytes);
        match level {
            Level::Error => tracing::error!(target: "plugin", plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{message}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{message}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{message}"),
        }
    }

    /// True if a line may be written in this second (counted from the budget's making).
    fn take(&self, second: u64) -> bool {
        let tag = (second & u64::from(u32::MAX)) << 32;
        let taken = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
            let used = if window >> 32 == tag >> 32 { window & u64::from(u32::MAX) } else { 0 };
            (used < self.lines).then_some(tag | (used + 1))
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_only_so_many_lines() {
        let budget = LogBudget::new("t".into(), &Limits::small());
        assert_eq!((0..250).filter(|_| budget.take(7)).count(), 100);
        assert_eq!((0..250).filter(|_| budget.take(8)).count(), 100);
    }
}
