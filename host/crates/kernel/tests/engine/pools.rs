use std::sync::Arc;

use kernel::{
    Command, CommandError, EndCause, Fact, Input, Pool, PoolDraft, PoolUid, Reply, Revision, Series, ShardId, Strategy,
};

use super::bed::{Answer, Bed, addresses, named, span, with_geometry, with_terms};

fn update(bed: &mut Bed, pool: &Pool, draft: PoolDraft, dry_run: bool) -> Answer {
    bed.ask(Command::UpdatePool { pool: pool.uid, expected: None, draft: Box::new(draft), dry_run })
}

fn updated(answer: Answer) -> Arc<Pool> {
    match answer {
        Ok(Reply::PoolUpdated(pool)) => pool,
        other => panic!("not updated: {other:?}"),
    }
}

#[test]
fn the_same_pool_again_is_there_and_a_different_one_says_where() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    match bed.ask(Command::CreatePool(Box::new(addresses(100, 8)))) {
        Ok(Reply::PoolExists(found)) => assert_eq!(found.uid, pool.uid),
        other => panic!("{other:?}"),
    }
    let other = with_terms(addresses(100, 16), |terms| terms.strategy = Strategy::Random);
    match bed.ask(Command::CreatePool(Box::new(other))) {
        Err(CommandError::PoolDiffers { fields, .. }) => assert_eq!(fields, ["spec", "strategy"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_pools_of_a_type_may_not_lie_over_each_other_in_one_realm() {
    let (mut bed, _) = Bed::with(addresses(100, 8));
    let over = named(addresses(107, 8), "over");
    match bed.ask(Command::CreatePool(Box::new(over.clone()))) {
        Err(CommandError::PoolOverlaps { pool, other, span: at, .. }) => {
            assert_eq!((pool.as_str(), other.as_str(), at), ("over", "homes", span(107, 1)));
        }
        other => panic!("{other:?}"),
    }
    let mut elsewhere = over.clone();
    elsewhere.realm.name = "vrf-1".parse().expect("a realm");
    bed.create(named(elsewhere, "elsewhere"));
    let mut theirs = over.clone();
    theirs.tenant = "isp-b".parse().expect("a tenant");
    bed.create(theirs);
    let mut tags = over;
    tags.type_id = "vlan".parse().expect("a type");
    bed.create(named(tags, "tags"));
}

#[test]
fn a_shared_realm_is_one_space_for_all_tenants() {
    let shared = |tenant: &str, start| {
        let mut draft = addresses(start, 8);
        draft.tenant = tenant.parse().expect("a tenant");
        draft.realm.shared = true;
        draft
    };
    let (mut bed, _) = Bed::with(shared("isp-a", 100));
    let answer = bed.ask(Command::CreatePool(Box::new(shared("isp-b", 104))));
    assert!(matches!(answer, Err(CommandError::PoolOverlaps { .. })));
    bed.create(shared("isp-b", 108));
}

#[test]
fn more_space_is_there_at_once_in_new_shards_after_the_old() {
    let (mut bed, pool) = Bed::with(addresses(0, 16));
    for n in 0..16 {
        bed.allocate(&pool, &n.to_string());
    }
    let would = update(&mut bed, &pool, addresses(0, 32), true);
    assert!(matches!(would, Ok(Reply::PoolWouldUpdate { added_grains: 16, removed_grains: 0, .. })));
    assert_eq!(bed.occupancy(pool.uid).total, 16);
    let grown = updated(update(&mut bed, &pool, addresses(0, 32), false));
    assert_eq!(grown.revision, Revision(2));
    let shards = pool.shards.len();
    assert_eq!(grown.shards.get(..shards), Some(pool.shards.as_slice()));
    let ids: Vec<u32> = grown.shards.iter().map(|shard| shard.id.0).collect();
    assert_eq!(ids, (0..u32::try_from(grown.shards.len()).expect("few")).collect::<Vec<_>>());
    let new = bed.allocate(&pool, "new");
    assert!(new.shard >= ShardId(u32::try_from(shards).expect("few")));
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid).held, 17);
}

#[test]
fn held_and_reserved_spans_stand_in_the_way_of_less_space() {
    let (mut bed, pool) = Bed::with(addresses(0, 32));
    bed.ask_for(&pool, "a", 20, 1).expect("free");
    bed.ask_for(&pool, "b", 3, 1).expect("free");
    let excluding = with_geometry(addresses(0, 32), |geometry| geometry.excluded.push(Series::one(span(3, 1))));
    for (draft, at, holder) in [(addresses(0, 16), 20, "a"), (excluding, 3, "b")] {
        for dry_run in [true, false] {
            match update(&mut bed, &pool, draft.clone(), dry_run) {
                Err(CommandError::SpansHeld { count: 1, holders, .. }) => {
                    let found: Vec<_> = holders.iter().map(|(span, by)| (*span, by.as_str())).collect();
                    assert_eq!(found, [(span(at, 1), holder)]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    bed.release(&pool, "a").expect("held");
    let smaller = updated(update(&mut bed, &pool, addresses(0, 16), false));
    let occupancy = bed.occupancy(smaller.uid);
    assert_eq!((occupancy.total, occupancy.held, occupancy.free, occupancy.resting), (16, 1, 15, 0));
    bed.restart(0);
    assert_eq!(bed.occupancy(smaller.uid), occupancy);
}

#[test]
fn space_given_up_and_taken_back_does_not_rest_any_more() {
    let (mut bed, pool) = Bed::with(addresses(0, 32));
    bed.ask_for(&pool, "a", 20, 1).expect("free");
    bed.release(&pool, "a").expect("held");
    updated(update(&mut bed, &pool, addresses(0, 16), false));
    updated(update(&mut bed, &pool, addresses(0, 32), false));
    let before = bed.occupancy(pool.uid);
    assert_eq!((before.total, before.resting), (32, 0));
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid), before);
}

#[test]
fn what_allocations_are_made_of_cannot_change() {
    let (mut bed, pool) = Bed::with(addresses(0, 32));
    let coarser = with_geometry(addresses(0, 32), |geometry| geometry.grain = 4);
    let mut moved = addresses(0, 32);
    moved.realm.name = "vrf-1".parse().expect("a realm");
    for (draft, fixed) in [(coarser, "the grain"), (moved, "realm")] {
        let answer = update(&mut bed, &pool, draft, false);
        assert!(matches!(answer, Err(CommandError::PoolFieldFixed { field, .. }) if field == fixed), "{answer:?}");
    }
}

#[test]
fn an_update_can_say_which_revision_it_means() {
    let (mut bed, pool) = Bed::with(addresses(0, 32));
    let update = |bed: &mut Bed, expected| {
        let draft = Box::new(addresses(0, 64));
        bed.ask(Command::UpdatePool { pool: pool.uid, expected: Some(expected), draft, dry_run: false })
    };
    let stale = update(&mut bed, Revision(7));
    assert!(matches!(stale, Err(CommandError::RevisionDiffers { found: Revision(1), .. })));
    updated(update(&mut bed, Revision(1)));
    let same = updated(update(&mut bed, Revision(2)));
    assert_eq!(same.revision, Revision(2), "nothing to change, no new revision");
}

#[test]
fn new_terms_count_from_now_on() {
    let (mut bed, pool) = Bed::with(addresses(0, 2));
    bed.allocate(&pool, "a");
    bed.allocate(&pool, "b");
    bed.release(&pool, "a").expect("held");
    updated(update(&mut bed, &pool, with_terms(addresses(0, 2), |terms| terms.strict = true), false));
    assert!(matches!(bed.allocate_with(&pool, "c", |_| {}), Err(CommandError::Exhausted { .. })));
    updated(update(&mut bed, &pool, addresses(0, 2), false));
    bed.allocate(&pool, "c");
}

#[test]
fn a_pool_in_use_is_deleted_only_by_force_and_in_slices() {
    let (mut bed, pool) = Bed::with(addresses(0, 4_096));
    for n in 0..3_000 {
        bed.allocate(&pool, &n.to_string());
    }
    let delete = |force| Command::DeletePool { pool: pool.uid, force };
    let refused = bed.ask(delete(false));
    assert!(matches!(refused, Err(CommandError::PoolInUse { allocations: 3_000, .. })));
    assert!(bed.try_ask(delete(true)).is_none());
    assert!(matches!(bed.allocate_with(&pool, "late", |_| {}), Err(CommandError::PoolClosing { .. })));
    while bed.late.is_empty() {
        assert!(bed.kernel.next_alarm().is_some_and(|due_ms| due_ms <= bed.now.boot_ms));
        let written = bed.step(Input::Alarm);
        assert!(written <= 1_000, "{written} in one step");
    }
    assert!(matches!(bed.late.pop(), Some((_, Ok(Reply::PoolDeleted { released: 3_000 })))));
    assert_eq!(bed.count(|fact| matches!(fact, Fact::Resting(rest) if rest.cause == EndCause::PoolDeleted)), 3_000);
    assert!(matches!(bed.log.last().map(|op| &op.fact), Some(Fact::PoolDeleted(_))));
    assert!(bed.kernel.occupancy().is_empty());
    let unknown = bed.ask(delete(false));
    assert!(matches!(unknown, Err(CommandError::PoolUnknown { .. })));
}

#[test]
fn a_pools_number_is_never_used_again() {
    let (mut bed, pool) = Bed::with(addresses(0, 8));
    bed.ask(Command::DeletePool { pool: pool.uid, force: false }).expect("empty");
    bed.restart(0);
    assert_eq!(bed.create(addresses(0, 8)).uid, PoolUid(pool.uid.0 + 1));
}

#[test]
fn a_geometry_that_cannot_be_cut_is_refused() {
    let mut bed = Bed::new();
    let odd = with_geometry(addresses(0, 8), |geometry| geometry.cut = 0);
    let answer = bed.ask(Command::CreatePool(Box::new(odd)));
    assert!(matches!(answer, Err(CommandError::PoolGeometry { .. })), "{answer:?}");
    assert!(bed.log.is_empty());
}
