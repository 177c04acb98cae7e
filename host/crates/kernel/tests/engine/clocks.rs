use kernel::{Command, CommandError, Notice, Ttl};

use super::bed::{Bed, SETTINGS, addresses, given, leased, target};

const DAY: u64 = 86_400_000;

#[test]
fn a_jump_of_the_wall_clock_ends_nobodys_lease() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    bed.allocate(&pool, "a");
    bed.now.wall_ms += 86_400_000;
    bed.pass(5_000);
    bed.alarms();
    bed.allocate(&pool, "b");
    assert_eq!(bed.kernel.allocations(), 2);
    assert!(matches!(bed.notices.as_slice(), [Notice::ClockSuspect { apart_ms: 86_400_000 }]));
    bed.pass(20_000);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 2, "nothing ends while the clocks disagree");
    assert!(!bed.kernel.lease_clock().1);
    bed.now.wall_ms -= 86_400_000;
    bed.pass(1_000);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 0, "the clocks agree again");
    assert_eq!(bed.notices.last(), Some(&Notice::ClockTrusted));
}

#[test]
fn a_small_difference_of_the_clocks_is_nothing() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    bed.allocate(&pool, "a");
    bed.now.wall_ms -= SETTINGS.clock_tolerance_ms;
    bed.pass(10_000);
    bed.alarms();
    assert_eq!((bed.kernel.allocations(), bed.notices.len()), (0, 0));
}

#[test]
fn a_lease_that_ended_while_the_host_was_down_may_be_renewed_for_a_while() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    for subscriber in ["a", "b"] {
        bed.allocate(&pool, subscriber);
    }
    bed.restart(86_400_000);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 2);
    bed.pass(SETTINGS.restart_grace_ms - 1);
    bed.alarms();
    bed.ask(Command::Renew { target: target(&pool, "a"), ttl: Ttl::Millis(60_000) }).expect("grace is not over");
    bed.pass(1);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 1);
    let late = bed.ask(Command::Renew { target: target(&pool, "b"), ttl: Ttl::Default });
    assert!(matches!(late, Err(CommandError::NotHeld { .. })));
}

#[test]
fn a_wall_clock_behind_the_log_stops_expiry_until_it_has_caught_up() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    bed.allocate(&pool, "old");
    let last_stamp = bed.log.last().expect("something was written").stamp_ms;
    // The machine has no battery: its clock begins in 1970.
    bed.now = kernel::Tick { boot_ms: 0, wall_ms: 5 };
    bed.recover();
    let fresh = bed.allocate(&pool, "fresh");
    assert_eq!(fresh.created_ms(), last_stamp, "it keeps the log's time meanwhile");
    bed.pass(30_000);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 2);
    assert!(matches!(bed.notices.as_slice(), [Notice::ClockSuspect { .. }]));

    // A time server answers: two hours have passed since the log's end.
    bed.allocate(&pool, "fresh");
    bed.now.wall_ms = last_stamp + 7_200_000;
    bed.pass(1_000);
    bed.alarms();
    assert_eq!(bed.notices.last(), Some(&Notice::ClockTrusted));
    bed.pass(8_999);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 2, "the fresh lease has its ten seconds, the old one grace");
    bed.pass(1);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 1);
    bed.pass(SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 0);
}

#[test]
fn stamps_never_go_back_over_lives() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    for (n, wall_ms) in [1, u64::MAX, 5_000_000_000_000, 7].into_iter().enumerate() {
        bed.allocate(&pool, &n.to_string());
        bed.now = kernel::Tick { boot_ms: 0, wall_ms };
        bed.recover();
    }
    assert!(bed.log.is_sorted_by_key(|op| (op.seq, op.stamp_ms)));
    assert_eq!(bed.kernel.allocations(), 4);
}

/// A pool, and a machine without a battery whose clock begins in 1970; its kernel keeps the log's time.
fn behind() -> (Bed, std::sync::Arc<kernel::Pool>) {
    let (mut bed, pool) = Bed::with(addresses(0, 1_024));
    bed.now = kernel::Tick { boot_ms: 0, wall_ms: 5 };
    bed.recover();
    (bed, pool)
}

fn allocate_for_a_day(bed: &mut Bed, pool: &kernel::Pool, subscriber: &str) {
    given(bed.allocate_with(pool, subscriber, |request| request.ttl = Ttl::Millis(DAY)));
}

/// A time server answers: two days have passed since the log's end.
fn time_server_answers(bed: &mut Bed) {
    bed.now.wall_ms = bed.log.last().expect("something was written").stamp_ms + 2 * DAY;
    bed.pass(1_000);
    bed.alarms();
    assert_eq!(bed.notices.last(), Some(&Notice::ClockTrusted));
}

#[test]
fn a_lease_from_before_the_wall_clock_was_believed_outlives_a_restart() {
    let (mut bed, pool) = behind();
    for subscriber in 0..600 {
        allocate_for_a_day(&mut bed, &pool, &subscriber.to_string());
    }
    bed.release(&pool, "7").expect("held");
    let before = bed.log.len();
    time_server_answers(&mut bed);
    assert_eq!(bed.log.len() - before, 599, "each is written anew, once");
    assert!(!bed.kernel.lease_clock().1, "leases of an earlier life have grace");
    bed.restart(60_000);
    bed.pass(SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 599, "their holders count a day");
    // A default renewal gives as long a lease as before.
    bed.ask(Command::Renew { target: target(&pool, "1"), ttl: Ttl::Default }).expect("held");
    bed.pass(DAY - SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 1);
    bed.pass(SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 0);
}

#[test]
fn a_lease_written_anew_outlives_a_full_disk_too() {
    let (mut bed, pool) = behind();
    allocate_for_a_day(&mut bed, &pool, "a");
    let durable = bed.log.len();
    time_server_answers(&mut bed);
    // What was written anew did not fit, and its numbers are given again.
    bed.log.truncate(durable);
    bed.replace_kernel();
    given(bed.allocate_with(&pool, "b", |request| request.ttl = Ttl::Millis(10_000)));
    bed.pass(10_000);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 1, "the new lease needs no shift");
    bed.restart(60_000);
    bed.pass(SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 1, "the old one was written anew again");
}

#[test]
fn a_kernel_made_again_keeps_its_clock_and_its_suspicion() {
    let (mut bed, pool) = Bed::with(leased(addresses(100, 8)));
    bed.allocate(&pool, "a");
    bed.now.wall_ms += DAY;
    bed.pass(1_000);
    bed.allocate(&pool, "b");
    let apart = bed.kernel.clocks_apart_ms();
    assert_eq!(apart, Some(DAY));
    let kept = bed.kernel.lease_clock();
    bed.replace_kernel();
    assert_eq!((bed.kernel.lease_clock(), bed.kernel.clocks_apart_ms()), (kept, apart));
    bed.pass(SETTINGS.restart_grace_ms);
    bed.alarms();
    assert_eq!(bed.kernel.allocations(), 2, "nothing ends while the clocks disagree");
    bed.now.wall_ms -= DAY;
    bed.allocate(&pool, "c");
    bed.alarms();
    assert_eq!((bed.kernel.allocations(), bed.kernel.clocks_apart_ms()), (1, None));
}
