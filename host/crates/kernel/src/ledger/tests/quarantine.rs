//! When time ends a doubt, and when it never does.

use super::bed::{Bed, LATER_MS, draft, join_as, moved, seized, taken};
use crate::id::{MemberId, PoolUid, ShardId};
use crate::ledger::{GrantKind, HostRole, LedgerCommand, Quarantines};
use crate::pool::LeaseTerms;

const HOUR: u64 = 3_600_000;

/// How far clocks may be apart.
const SLACK: u64 = 60_000;

fn timed(max_ms: u64) -> LeaseTerms {
    LeaseTerms::Timed { default_ms: 1_000, min_ms: 1_000, max_ms }
}

/// Three hosts and a pool with these terms.
fn bed(lease: LeaseTerms) -> (Bed, PoolUid) {
    let mut bed = Bed::of(3);
    let mut wanted = draft("p", 0, 768);
    wanted.terms.lease = lease;
    let pool = bed.creates(wanted);
    (bed, pool)
}

fn changes(bed: &mut Bed, pool: PoolUid, lease: LeaseTerms) {
    let mut draft = bed.ledger.pool(pool).expect("there").record.draft.clone();
    draft.terms.lease = lease;
    bed.ok(LedgerCommand::UpdatePool { pool, expected: None, draft: Box::new(draft), at_ms: LATER_MS });
}

/// Host 2, as it looks at these moments, and what it thinks of a shard at the last of them.
fn outlived(bed: &Bed, quarantines: &mut Quarantines, pool: PoolUid, shard: ShardId, at_ms: u64) -> bool {
    quarantines.look(&bed.ledger, MemberId(2), at_ms);
    quarantines.are_outlived(pool, bed.ledger.pool(pool).expect("there"), shard, bed.ledger.terms(), at_ms)
}

#[test]
fn a_doubt_ends_after_the_longest_lease_and_all_that_may_come_on_top() {
    let (mut bed, pool) = bed(timed(HOUR));
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.deposes(1);
    bed.ok(taken(pool, &leased, 1, 2, 1));
    let mut host = Quarantines::new(SLACK);
    let terms = bed.ledger.terms();
    let whole_ms = HOUR + HOUR / 100 + terms.lease_ms + terms.grace_ms + SLACK;
    assert!(!outlived(&bed, &mut host, pool, leased[0], 5_000));
    assert!(!outlived(&bed, &mut host, pool, leased[0], 5_000 + whole_ms));
    assert!(outlived(&bed, &mut host, pool, leased[0], 5_001 + whole_ms));
    // Another process counts anew.
    assert!(!outlived(&bed, &mut Quarantines::new(SLACK), pool, leased[0], 5_001 + whole_ms));
}

#[test]
fn a_pool_without_leases_is_doubted_until_its_former_holder_speaks() {
    let (mut bed, pool) = bed(LeaseTerms::None);
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.deposes(1);
    bed.ok(taken(pool, &leased, 1, 2, 1));
    let mut host = Quarantines::new(SLACK);
    assert!(!outlived(&bed, &mut host, pool, leased[0], 0));
    assert!(!outlived(&bed, &mut host, pool, leased[0], u64::MAX));
    // That it has leases now does not end what was handed out without.
    changes(&mut bed, pool, timed(HOUR));
    assert!(!outlived(&bed, &mut host, pool, leased[0], u64::MAX));
    assert!(!bed.ledger.pool(pool).unwrap().is_ended_by_time(leased[0]));
}

#[test]
fn a_shorter_lease_counts_once_the_longer_ones_are_over() {
    let (mut bed, pool) = bed(timed(24 * HOUR));
    let mut host = Quarantines::new(SLACK);
    host.look(&bed.ledger, MemberId(2), 0);
    changes(&mut bed, pool, timed(HOUR));
    host.look(&bed.ledger, MemberId(2), 0);
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.deposes(1);
    bed.ok(taken(pool, &leased, 1, 2, 1));
    assert!(!outlived(&bed, &mut host, pool, leased[0], HOUR));
    assert!(!outlived(&bed, &mut host, pool, leased[0], 3 * HOUR));
    assert!(outlived(&bed, &mut host, pool, leased[0], 25 * HOUR));

    // A day later it is an hour again.
    let more = bed.shards(pool, 3, GrantKind::Leased);
    bed.deposes(3);
    bed.ok(taken(pool, &more, 3, 2, 1));
    assert!(!outlived(&bed, &mut host, pool, more[0], 26 * HOUR));
    assert!(!outlived(&bed, &mut host, pool, more[0], 27 * HOUR));
    assert!(outlived(&bed, &mut host, pool, more[0], 28 * HOUR));
}

#[test]
fn time_does_not_end_the_doubt_about_what_was_held_outright() {
    let (mut bed, pool) = bed(timed(HOUR));
    let (escrow, own) = (bed.shards(pool, 1, GrantKind::Escrow), bed.shards(pool, 2, GrantKind::Leased));
    bed.deposes(1);
    bed.ok(seized(pool, &escrow, 1, 2, 1));
    let mut host = Quarantines::new(SLACK);
    assert!(!outlived(&bed, &mut host, pool, escrow[0], 0));
    assert!(!outlived(&bed, &mut host, pool, escrow[0], u64::MAX));
    // Passed on it is as doubtful.
    bed.ok(moved(pool, &escrow[..1], 2, 3, 2));
    assert!(!bed.ledger.pool(pool).unwrap().is_ended_by_time(escrow[0]));

    // Who comes with an empty disk doubts what it held in its former life, each shard as it held it.
    bed.ok(join_as(2, "host-2", 2, HostRole::Core));
    let found = bed.ledger.pool(pool).unwrap();
    assert!(found.is_ended_by_time(own[0]));
    assert!(!found.is_ended_by_time(escrow[1]));
}
