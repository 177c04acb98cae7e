//! The kernel's clock: which wall time it keeps, and whether it believes it enough to end anybody's lease.
//!
//! All deadlines are moments of the *kept* clock, which is the boot clock plus an offset. The offset is set once, at start,
//! so a jump of the wall clock moves no deadline. One exception: a host whose wall clock was behind its own log when it
//! started (no battery, no time server yet) keeps the log's last stamp plus boot time until the wall clock has caught up
//! and is believed for the first time; deadlines it made meanwhile move along, and the kernel writes those leases anew, so
//! that the next life finds them where they are. It is the other way round if other hosts' clocks show what the wall clock does:
//! then the log's stamps were ahead, and the wall clock is believed at once.
//!
//! A kernel that is made again while the process lives on keeps its clock ([`Clock::run_on`]): the wall clock may be under
//! suspicion just then.

use crate::effects::Notice;
use crate::id::{Seq, Tick};

/// Moments are kept-clock milliseconds, that is Unix time as well as this host knows it.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    boot_ms: u64,
    /// Kept clock less boot clock.
    offset_ms: i64,
    /// Wall clock less boot clock when the wall clock was last believed.
    reference_ms: i64,
    /// The highest stamp so far.
    stamp_ms: u64,
    /// The wall clock must reach this before it is believed.
    floor_ms: Option<u64>,
    tolerance_ms: u64,
    restart_grace_ms: u64,
    /// How much longer a lease is kept than its record says.
    slack_ms: u64,
    /// How far the clocks were apart when last seen; 0: they agree.
    apart_ms: u64,
    /// There is nobody whose clock this one must agree with.
    alone: bool,
    /// What the offset was when other hosts' clocks showed the same.
    agreed_ms: Option<i64>,
    /// Operations from here on are of this life of the host.
    life: Seq,
    grace: Option<Grace>,
    shift: Option<Shift>,
}

/// What clocks may do, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// How far boot and wall clock may part.
    pub(crate) tolerance: u64,
    pub(crate) restart_grace: u64,
    /// How much longer a lease is kept than its record says: whoever wrote that may have another clock.
    pub(crate) slack: u64,
    /// There is nobody whose clock this one must agree with.
    pub(crate) alone: bool,
}

/// Leases of an earlier life that had ended by a moment may be renewed until another.
#[derive(Clone, Copy, Debug)]
struct Grace {
    ended_by_ms: u64,
    until_ms: u64,
}

/// Deadlines written before an operation of this life are too early by so much.
#[derive(Clone, Copy, Debug)]
struct Shift {
    before: Seq,
    by_ms: u64,
}

/// What a look at the clocks showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Unchanged,
    Changed(Notice),
    /// The wall clock is believed for the first time: deadlines have moved, queues by deadline must be made anew.
    Anchored,
}

/// Wall or boot time far beyond every calendar is cut, so that differences fit.
const LATEST: u64 = 1 << 61;

const fn difference(left: u64, right: u64) -> i64 {
    left.cast_signed() - right.cast_signed()
}

impl Clock {
    /// At start: `high_water_ms` is the last stamp of the log (0: there is none), `life` the next operation.
    pub(crate) fn start(now: Tick, high_water_ms: u64, life: Seq, allowed: Allowed) -> Self {
        let Allowed { tolerance: tolerance_ms, restart_grace: restart_grace_ms, slack: slack_ms, alone } = allowed;
        let (boot_ms, wall_ms) = (now.boot_ms.min(LATEST), now.wall_ms.min(LATEST));
        let kept_ms = wall_ms.max(high_water_ms.min(LATEST));
        Self {
            boot_ms,
            offset_ms: difference(kept_ms, boot_ms),
            reference_ms: difference(wall_ms, boot_ms),
            stamp_ms: high_water_ms,
            floor_ms: (wall_ms < high_water_ms).then_some(high_water_ms),
            tolerance_ms,
            restart_grace_ms,
            slack_ms,
            apart_ms: 0,
            alone,
            agreed_ms: None,
            life,
            grace: Some(Grace { ended_by_ms: kept_ms, until_ms: kept_ms + restart_grace_ms }),
            shift: None,
        }
    }

    /// The clock of a kernel that was made again from the disk, within the same life of the host. `next` is its next
    /// operation.
    #[must_use]
    pub(crate) fn run_on(mut self, now: Tick, high_water_ms: u64, next: Seq) -> Self {
        self.boot_ms = self.boot_ms.max(now.boot_ms.min(LATEST));
        self.stamp_ms = self.stamp_ms.max(high_water_ms);
        if let Some(shift) = &mut self.shift {
            // The numbers of operations that were lost are given again, and those need no shift.
            shift.before = shift.before.min(next);
        }
        self
    }

    /// No lease of an earlier life had ended: nobody needs grace.
    pub(crate) const fn forgo_grace(&mut self) {
        self.grace = None;
    }

    /// Looks at both clocks. `next` is the next operation to be written.
    pub(crate) fn observe(&mut self, now: Tick, next: Seq) -> Seen {
        self.boot_ms = self.boot_ms.max(now.boot_ms.min(LATEST));
        let wall_ms = now.wall_ms.min(LATEST);
        let apart_ms = match self.floor_ms {
            Some(floor_ms) if wall_ms < floor_ms && !self.is_vouched(wall_ms) => floor_ms - wall_ms,
            Some(_) => {
                self.anchor(wall_ms, next);
                return Seen::Anchored;
            }
            None => {
                let apart_ms = wall_ms.abs_diff(self.boot_ms.saturating_add_signed(self.reference_ms));
                if apart_ms <= self.tolerance_ms { 0 } else { apart_ms }
            }
        };
        let suspect = std::mem::replace(&mut self.apart_ms, apart_ms) > 0;
        match (suspect, apart_ms > 0) {
            (false, true) => Seen::Changed(Notice::ClockSuspect { apart_ms }),
            (true, false) => Seen::Changed(Notice::ClockTrusted),
            (true, true) | (false, false) => Seen::Unchanged,
        }
    }

    /// Whether others' clocks show what the wall clock does, so that the log's stamps were ahead.
    fn is_vouched(&self, wall_ms: u64) -> bool {
        let shown = self.agreed_ms.map(|agreed_ms| self.boot_ms.saturating_add_signed(agreed_ms));
        shown.is_some_and(|shown_ms| shown_ms.abs_diff(wall_ms) <= self.tolerance_ms)
    }

    fn anchor(&mut self, wall_ms: u64, next: Seq) {
        let before_ms = self.now_ms();
        self.offset_ms = difference(wall_ms, self.boot_ms);
        self.reference_ms = self.offset_ms;
        self.floor_ms = None;
        self.apart_ms = 0;
        let by_ms = self.now_ms().saturating_sub(before_ms);
        self.shift = (by_ms > 0).then_some(Shift { before: next, by_ms });
        self.grace = Some(Grace { ended_by_ms: wall_ms, until_ms: wall_ms + self.restart_grace_ms });
    }

    /// Now, by the kept clock.
    pub(crate) const fn now_ms(&self) -> u64 {
        self.boot_ms.saturating_add_signed(self.offset_ms)
    }

    /// Now, by the boot clock.
    pub(crate) const fn boot_ms(&self) -> u64 {
        self.boot_ms
    }

    /// Kept clock less boot clock.
    pub(crate) const fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// The boot clock at a moment of the kept clock.
    pub(crate) const fn boot_at(&self, moment_ms: u64) -> u64 {
        moment_ms.saturating_add_signed(-self.offset_ms)
    }

    /// False: nobody's lease ends now.
    pub(crate) const fn trusted(&self) -> bool {
        self.apart_ms == 0 && self.floor_ms.is_none() && (self.alone || self.is_agreed())
    }

    const fn is_agreed(&self) -> bool {
        match self.agreed_ms {
            Some(agreed_ms) => agreed_ms == self.offset_ms,
            None => false,
        }
    }

    /// With which offset other hosts' clocks show the same as this one, or as the wall clock.
    pub(crate) const fn set_agreed(&mut self, offset_ms: Option<i64>) {
        self.agreed_ms = offset_ms;
    }

    /// How far the clocks were apart when last seen; `None`: they agree.
    pub(crate) fn apart_ms(&self) -> Option<u64> {
        (self.apart_ms > 0).then_some(self.apart_ms)
    }

    /// True if a lease ends exactly when its record says so, unless that was written too early; false while some are given
    /// longer.
    pub(crate) fn exact(&self) -> bool {
        self.trusted() && self.grace.is_none_or(|grace| self.now_ms() >= grace.until_ms)
    }

    /// The stamp of an operation: the kept clock, but never going back.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.stamp_ms = self.stamp_ms.max(self.now_ms());
        self.stamp_ms
    }

    /// A stamp that is later than every one before, also where the kept clock was set back or two fall into one millisecond.
    pub(crate) fn later_stamp(&mut self) -> u64 {
        self.stamp_ms = self.now_ms().max(self.stamp_ms.saturating_add(1));
        self.stamp_ms
    }

    /// The last operation's stamp.
    pub(crate) const fn last_stamp_ms(&self) -> u64 {
        self.stamp_ms
    }

    /// When a lease that its record says ends at `expires_ms` does end.
    pub(crate) fn lease_end(&self, expires_ms: u64, written: Seq) -> u64 {
        let end_ms = self.rest_end(expires_ms, written).saturating_add(self.slack_ms);
        match self.grace {
            Some(grace) if written < self.life && expires_ms <= grace.ended_by_ms => grace.until_ms.max(end_ms),
            Some(_) | None => end_ms,
        }
    }

    /// When a rest that its record says ends at `until_ms` does end.
    pub(crate) fn rest_end(&self, until_ms: u64, written: Seq) -> u64 {
        until_ms.saturating_add(self.shift_of(written).unwrap_or_default())
    }

    /// By how much deadlines of an operation are later than it says; `None`: they are as it says.
    pub(crate) fn shift_of(&self, written: Seq) -> Option<u64> {
        self.shift.filter(|shift| self.life <= written && written < shift.before).map(|shift| shift.by_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn started(wall_ms: u64, high_water_ms: u64) -> Clock {
        started_with(0, wall_ms, high_water_ms)
    }

    fn started_with(slack: u64, wall_ms: u64, high_water_ms: u64) -> Clock {
        let allowed = Allowed { tolerance: MINUTE, restart_grace: 5 * MINUTE, slack, alone: slack == 0 };
        Clock::start(Tick { boot_ms: 1_000, wall_ms }, high_water_ms, Seq(10), allowed)
    }

    fn after(ms: u64, wall_ms: u64) -> Tick {
        Tick { boot_ms: 1_000 + ms, wall_ms }
    }

    #[test]
    fn a_jump_of_the_wall_clock_moves_no_deadline_and_stops_expiry_until_it_is_mended() {
        let mut clock = started(1_000_000, 900_000);
        assert_eq!(clock.observe(after(10, 1_000_010 + MINUTE), Seq(10)), Seen::Unchanged);
        let jumped = clock.observe(after(20, 90_000_000), Seq(10));
        assert_eq!(jumped, Seen::Changed(Notice::ClockSuspect { apart_ms: 90_000_000 - 1_000_020 }));
        assert!(!clock.trusted());
        assert_eq!(clock.now_ms(), 1_000_020);
        assert_eq!(clock.observe(after(30, 1_000_030), Seq(10)), Seen::Changed(Notice::ClockTrusted));
        assert!(clock.trusted());
    }

    #[test]
    fn a_wall_clock_behind_the_log_is_not_believed_until_it_has_caught_up() {
        let mut clock = started(5, 1_000_000);
        assert_eq!(clock.now_ms(), 1_000_000);
        let behind = clock.observe(after(1, 6), Seq(10));
        assert_eq!(behind, Seen::Changed(Notice::ClockSuspect { apart_ms: 1_000_000 - 6 }));
        assert_eq!(clock.stamp(), 1_000_001);
        assert_eq!(clock.observe(after(100, 2_000_000), Seq(12)), Seen::Anchored);
        assert!(clock.trusted());
        assert_eq!(clock.now_ms(), 2_000_000);
        // Written in this life before: moves along. Ended while the host was down: grace. Written later: as it says.
        assert_eq!(clock.lease_end(1_060_000, Seq(11)), 1_060_000 + 2_000_000 - 1_000_100);
        assert_eq!(clock.lease_end(1_060_000, Seq(9)), 2_000_000 + 5 * MINUTE);
        assert_eq!(clock.lease_end(2_060_000, Seq(12)), 2_060_000);
    }

    #[test]
    fn among_several_hosts_a_lease_is_kept_as_long_as_its_writer_may_think() {
        let mut clock = started_with(MINUTE, 1_000_000, 900_000);
        assert!(!clock.trusted(), "no other host has shown the same yet");
        clock.set_agreed(Some(clock.offset_ms()));
        assert!(clock.trusted());
        clock.set_agreed(Some(clock.offset_ms() + 1));
        assert!(!clock.trusted(), "they showed the same as another clock than this");
        assert_eq!(clock.lease_end(2_000_000, Seq(11)), 2_000_000 + MINUTE);
        // Where it is given longer anyway it is not given both.
        assert_eq!(clock.lease_end(999_000, Seq(9)), 1_000_000 + 5 * MINUTE);
        assert_eq!(clock.rest_end(2_000_000, Seq(11)), 2_000_000);
    }

    #[test]
    fn a_wall_clock_behind_the_log_is_believed_if_other_hosts_show_the_same() {
        let mut clock = started_with(MINUTE, 1_000_000, 90_000_000);
        clock.set_agreed(Some(difference(1_000_000 + MINUTE + 1, 1_000)));
        assert!(matches!(clock.observe(after(10, 1_000_010), Seq(10)), Seen::Changed(Notice::ClockSuspect { .. })));
        clock.set_agreed(Some(difference(1_000_000, 1_000)));
        assert_eq!(clock.observe(after(20, 1_000_020), Seq(12)), Seen::Anchored);
        assert_eq!((clock.now_ms(), clock.stamp()), (1_000_020, 90_000_000));
        assert_eq!((clock.later_stamp(), clock.later_stamp()), (90_000_001, 90_000_002));
        // What was written by the clock that was ahead ends late.
        assert_eq!(clock.lease_end(90_060_000, Seq(11)), 90_060_000 + MINUTE);
    }

    #[test]
    fn a_stamp_never_goes_back() {
        let mut clock = started(5, 1_000_000);
        clock.observe(after(500_000, 500_005), Seq(10));
        assert_eq!(clock.stamp(), 1_500_000);
        assert_eq!(clock.observe(after(999_995, 1_000_000), Seq(11)), Seen::Anchored);
        assert_eq!(clock.now_ms(), 1_000_000);
        assert_eq!(clock.stamp(), 1_500_000);
    }

    #[test]
    fn boot_time_never_goes_back() {
        let mut clock = started(1_000_000, 0);
        clock.observe(after(500, 1_000_500), Seq(10));
        clock.observe(after(400, 1_000_500), Seq(10));
        assert_eq!(clock.now_ms(), 1_000_500);
    }
}
