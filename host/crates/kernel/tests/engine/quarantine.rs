use kernel::{Command, CommandError, Fact, News, Pool, Reply, ReserveRequest};

use super::bed::{Answer, Bed, addresses, span, with_terms};

fn end(bed: &mut Bed, pool: &Pool) {
    assert!(matches!(bed.ask(Command::News(News::QuarantineOver(pool.uid))), Ok(Reply::Noted)));
}

fn withheld(answer: &Answer) -> bool {
    matches!(answer, Err(CommandError::Withheld { .. }))
}

#[test]
fn what_was_handed_out_after_the_backup_goes_to_nobody_until_the_quarantine_is_over() {
    let (mut bed, pool) = Bed::with(addresses(100, 4));
    let known = bed.allocate(&pool, "known");
    let backup = bed.log.len();
    let forgotten = bed.allocate(&pool, "forgotten");
    bed.restore(backup, [pool.uid]);
    assert!(withheld(&bed.allocate_with(&pool, "new", |_| {})));
    assert!(!matches!(bed.ask_for(&pool, "new", forgotten.span.start(), 1), Ok(Reply::Allocated { .. })));
    assert_eq!(bed.allocate(&pool, "known").span, known.span, "a repeat is answered");
    end(&mut bed, &pool);
    assert_eq!(bed.allocate(&pool, "new").span, forgotten.span);
}

#[test]
fn what_becomes_free_in_a_quarantine_is_not_handed_out_either() {
    let (mut bed, pool) = Bed::with(with_terms(addresses(100, 1), |terms| terms.hold_down_ms = 0));
    bed.allocate(&pool, "known");
    let backup = bed.log.len();
    bed.restore(backup, [pool.uid]);
    bed.release(&pool, "known").expect("held");
    assert!(withheld(&bed.allocate_with(&pool, "new", |_| {})), "whoever had it since the backup is forgotten, too");
    end(&mut bed, &pool);
    bed.allocate(&pool, "new");
}

#[test]
fn a_reserved_resource_waits_like_every_other() {
    let (mut bed, pool) = Bed::with(addresses(100, 2));
    let reserve = ReserveRequest {
        pool: pool.uid,
        realm_value: None,
        span: span(101, 1),
        subscriber: "vip".parse().expect("a subscriber id"),
        name: "101".into(),
        note: String::new().into(),
    };
    bed.ask(Command::Reserve(Box::new(reserve))).expect("free");
    let backup = bed.log.len();
    bed.restore(backup, [pool.uid]);
    assert!(bed.allocate_with(&pool, "vip", |_| {}).is_err(), "another had it when the reservation was taken back");
    end(&mut bed, &pool);
    assert_eq!(bed.allocate(&pool, "vip").span, span(101, 1));
}

#[test]
fn a_pool_that_grows_in_its_quarantine_stays_in_it_and_others_serve() {
    let (mut bed, pool) = Bed::with(addresses(100, 2));
    let (small, other) = (pool.draft.clone(), bed.create(super::bed::named(addresses(900, 2), "other")));
    let backup = bed.log.len();
    bed.restore(backup, [pool.uid]);
    bed.allocate(&other, "new");
    let grown = kernel::PoolDraft { geometry: addresses(100, 600).geometry, ..small };
    let update = Command::UpdatePool { pool: pool.uid, expected: None, draft: Box::new(grown), dry_run: false };
    let answer = bed.ask(update);
    assert!(matches!(answer, Ok(Reply::PoolUpdated(_))), "{answer:?}");
    assert!(withheld(&bed.allocate_with(&pool, "new", |_| {})));
    end(&mut bed, &pool);
    bed.allocate(&pool, "new");
    assert!(bed.log.iter().any(|op| matches!(&op.fact, Fact::Held(held) if held.pool == pool.uid)));
}
