//! The two clocks, read in one place: everything else is handed the time.

use std::time::{SystemTime, UNIX_EPOCH};

use kernel::Tick;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot; runs on in suspend and never jumps.
pub(crate) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000 + nanos / 1_000_000
}

/// Milliseconds since 1970 as the system tells them; may jump.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Both.
pub(crate) fn tick() -> Tick {
    Tick { boot_ms: boot_ms(), wall_ms: wall_ms() }
}
