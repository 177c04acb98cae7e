use std::sync::Arc;

use kernel::{
    Alignment, Command, CommandError, EndCause, Fact, Input, Pool, PoolDraft, PoolId, PoolUid, Reply, Revision, Series,
    ShardId, Sizing, Strategy,
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
            assert_eq!((pool.as_str(), other.as_ref().map(PoolId::as_str), at), ("over", Some("homes"), span(107, 1)));
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
    let Err(error @ CommandError::PoolOverlaps { other: None, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(error.to_string(), "pool homes overlaps a pool of another tenant in realm default");
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
    let longer = with_geometry(addresses(0, 32), |geometry| geometry.sizing.max_len = 1 << 72);
    let aligned = with_geometry(addresses(0, 32), |geometry| geometry.sizing.align = Alignment::Origin);
    let (mut typed, mut moved, mut shared, mut counted) =
        (addresses(0, 32), addresses(0, 32), addresses(0, 32), addresses(0, 32));
    typed.type_id = "vlan".parse().expect("a type");
    moved.realm.name = "vrf-1".parse().expect("a realm");
    shared.realm.shared = true;
    counted.sharding_factor = Some(7);
    let by_olt = with_terms(addresses(0, 32), |terms| terms.realm_by = vec!["olt_id".into()]);
    for (draft, said) in [
        (coarser, "grain of pool homes cannot change while the pool lives: it is 1, not 4"),
        (longer, "longest length of pool homes cannot change while the pool lives: it is 1, not 2^72"),
        (aligned, "it is on multiples of the length, not from the start of each span"),
        (typed, "type of pool homes cannot change while the pool lives: it is ipv4, not vlan"),
        (moved, "it is default, not vrf-1"),
        (shared, "it is false, not true"),
        (counted, "sharding_factor of pool homes cannot change while the pool lives: it is the default, not 7"),
        (by_olt, "it is none, not olt_id"),
    ] {
        for dry_run in [true, false] {
            match update(&mut bed, &pool, draft.clone(), dry_run) {
                Err(error @ CommandError::PoolFieldFixed { .. }) => {
                    assert!(error.to_string().ends_with(said), "{error}");
                }
                other => panic!("{said}: {other:?}"),
            }
        }
    }
}

/// A pool grows to the other geometry at once: what it had stays in the shards it had, all the new space is handed out.
fn grows(small: PoolDraft, large: PoolDraft) {
    let (mut bed, pool) = Bed::with(small);
    let first = bed.allocate(&pool, "first");
    let grown = updated(update(&mut bed, &pool, large, false));
    let kept: Vec<_> = grown.shards.iter().filter(|shard| pool.shards.contains(shard)).collect();
    assert_eq!(kept.len(), pool.shards.len(), "{:?} became {:?}", pool.shards, grown.shards);
    let mut ids: Vec<u32> = grown.shards.iter().map(|shard| shard.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..u32::try_from(grown.shards.len()).expect("few")).collect::<Vec<_>>());
    let before = bed.occupancy(pool.uid);
    let lengths = before.free / (pool.draft.geometry.sizing.default_len / pool.draft.geometry.grain);
    for n in 0..lengths {
        bed.allocate(&grown, &n.to_string());
    }
    assert_eq!(bed.occupancy(pool.uid).free, 0);
    bed.restart(0);
    assert_eq!(bed.occupancy(pool.uid).free, 0);
    let again = bed.allocate(&grown, "first");
    assert_eq!((again.span, again.shard, again.epoch), (first.span, first.shard, first.epoch));
}

fn cut(spans: &[(u128, u128)], cut: u128, grain: u128, align: Alignment) -> PoolDraft {
    with_geometry(addresses(0, 1), |geometry| {
        geometry.spans = spans.iter().map(|(start, len)| Series::one(span(*start, *len))).collect();
        (geometry.cut, geometry.grain) = (cut, grain);
        geometry.sizing = Sizing { default_len: grain, min_len: grain, max_len: grain, align };
    })
}

#[test]
fn a_pool_grows_although_its_plugin_cuts_the_larger_one_otherwise() {
    let natural = |start, len, by| cut(&[(start, len)], by, 1, Alignment::Natural);
    let tags = |from, to, by| cut(&[(from, to - from + 1)], by, 1, Alignment::Origin);
    let blocks = |from, to, by| cut(&[(from, to - from + 1)], by, 300, Alignment::Origin);
    let prefixes = |len, by| cut(&[(0x2001_0db8 << 32, len)], by, 16, Alignment::Natural);
    grows(natural(0x0a00_0000, 64, 64), natural(0x0a00_0000, 256, 256));
    grows(natural(0x0a00_0040, 64, 64), natural(0x0a00_0000, 256, 256));
    grows(tags(10, 20, 11), tags(10, 99, 16));
    grows(tags(10, 20, 11), tags(1, 99, 16));
    grows(tags(10, 99, 16), cut(&[(2, 4), (10, 90), (400, 3)], 16, 1, Alignment::Origin));
    // Neither 1000 nor 2048 is a multiple of 300: the border after the first pool's end must lie on its grid.
    grows(blocks(2_000, 2_999, 1_000), blocks(2_000, 9_999, 2_048));
    grows(blocks(2_000, 2_999, 1_000), blocks(1_100, 9_999, 2_048));
    grows(prefixes(256, 256), prefixes(4_096, 1_024));
}

#[test]
fn a_dry_run_of_a_pool_answers_as_its_making_would_and_makes_nothing() {
    let (mut bed, pool) = Bed::with(addresses(100, 8));
    let written = bed.log.len();
    let other = with_terms(addresses(100, 8), |terms| terms.strategy = Strategy::Random);
    let odd = named(with_geometry(addresses(0, 8), |geometry| geometry.cut = 0), "odd");
    let check = |bed: &mut Bed, draft: &PoolDraft| bed.ask(Command::CheckPool(Box::new(draft.clone())));
    for draft in [named(addresses(107, 8), "over"), other, odd] {
        let would = check(&mut bed, &draft).expect_err("refused");
        assert_eq!(bed.ask(Command::CreatePool(Box::new(draft))).expect_err("refused"), would);
    }
    assert!(matches!(check(&mut bed, &addresses(100, 8)), Ok(Reply::PoolExists(found)) if found.uid == pool.uid));
    let more = named(addresses(108, 8), "more");
    let would = match check(&mut bed, &more) {
        Ok(Reply::PoolWouldCreate(would)) => would,
        other => panic!("{other:?}"),
    };
    assert_eq!(bed.log.len(), written);
    assert_eq!(bed.create(more), would);
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

#[test]
fn what_a_lost_pool_left_is_never_another_pools() {
    let (mut bed, lost) = Bed::with(addresses(100, 8));
    let held = bed.allocate(&lost, "a");
    bed.log.retain(|op| !matches!(op.fact, Fact::Pool(_) | Fact::Realm(_)));
    bed.restart(0);
    let pool = bed.create(addresses(100, 8));
    assert!(pool.uid > lost.uid);
    let fresh = bed.allocate(&pool, "b");
    assert!(fresh.realm > held.realm);
    bed.restart(0);
    assert_eq!(bed.kernel.allocations(), 1);
}
