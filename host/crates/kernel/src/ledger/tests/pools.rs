//! Making, changing and adopting pools; what counts as giving up space.

use std::sync::Arc;

use proptest::prelude::*;

use super::bed::{Bed, LATER_MS, draft, join, shaped, span};
use crate::id::{Epoch, MemberId, PoolUid, Revision};
use crate::ledger::shrink::gives_up;
use crate::ledger::{GrantKind, HostRole, LedgerCommand, LedgerError, LedgerReply};
use crate::pool::{Alignment, Geometry, Pool, PoolDraft, Sizing};
use crate::space::Layout;
use crate::span::Series;

const ONE: MemberId = MemberId(1);

fn create(draft: PoolDraft) -> LedgerCommand {
    LedgerCommand::CreatePool { draft: Box::new(draft), at_ms: LATER_MS }
}

fn update(pool: PoolUid, expected: Option<Revision>, draft: PoolDraft) -> LedgerCommand {
    LedgerCommand::UpdatePool { pool, expected, draft: Box::new(draft), at_ms: LATER_MS + 1 }
}

#[test]
fn a_pool_made_again_is_the_same_or_a_conflict() {
    let mut bed = Bed::of(1);
    let pool = bed.creates(draft("p", 0, 256));
    let revision = Revision(1);
    assert_eq!(bed.ok(create(draft("p", 0, 256))), LedgerReply::PoolExists { pool, revision });
    let error = bed.refused(create(draft("p", 512, 256)));
    assert_eq!(error, LedgerError::PoolDiffers { pool: "p".parse().unwrap(), fields: vec!["spec".into()] });
}

#[test]
fn pools_of_a_type_in_one_realm_do_not_overlap_and_others_may() {
    let mut bed = Bed::of(1);
    bed.creates(draft("p", 0, 256));
    let error = bed.refused(create(draft("q", 240, 64)));
    let LedgerError::PoolOverlaps { other, span: both, .. } = error else { panic!("{error}") };
    assert_eq!((other, both), (Some("p".parse().unwrap()), span(240, 16)));
    let mut elsewhere = draft("q", 240, 64);
    elsewhere.type_id = "vlan".parse().unwrap();
    bed.creates(elsewhere);
    let mut theirs = draft("p", 0, 256);
    theirs.tenant = "other".parse().unwrap();
    bed.creates(theirs);
}

#[test]
fn more_space_gets_new_shards_behind_those_there_are() {
    let mut bed = Bed::of(3);
    let pool = bed.creates(draft("p", 512, 256));
    let before = bed.ledger.pool(pool).unwrap().clone();
    let stale = bed.refused(update(pool, Some(Revision(9)), draft("p", 256, 512)));
    assert!(matches!(stale, LedgerError::RevisionDiffers { found: Revision(1), asked: Revision(9), .. }));
    let reply = bed.ok(update(pool, Some(Revision(1)), draft("p", 256, 512)));
    assert_eq!(reply, LedgerReply::PoolUpdated { pool, revision: Revision(2) });
    let after = bed.ledger.pool(pool).unwrap();
    assert_eq!(after.grants.shards(), 32);
    assert!(before.grants.iter().eq(after.grants.iter().take(16)), "live shards keep their grants");
    assert!(bed.ledger.wishes().len() < 32);
    let mut other = draft("p", 256, 512);
    other.sharding_factor = Some(3);
    let error = bed.refused(update(pool, None, other));
    assert!(matches!(error, LedgerError::PoolFieldFixed { .. }), "{error}");
}

#[test]
fn a_pool_that_cannot_be_cut_is_refused() {
    let mut bed = Bed::of(1);
    let mut wrong = draft("p", 0, 64);
    wrong.geometry = Arc::new(Geometry { grain: 0, ..(*wrong.geometry).clone() });
    assert!(matches!(bed.refused(create(wrong)), LedgerError::PoolGeometry { .. }));
    let mut many = draft("p", 0, 1 << 24);
    many.sharding_factor = Some(16_385);
    assert!(matches!(bed.refused(create(many)), LedgerError::PoolGeometry { .. }));
}

#[test]
fn a_large_pool_of_one_host_is_two_runs() {
    let mut bed = Bed::of(1);
    let mut large = draft("p", 0, 1 << 22);
    large.geometry = Arc::new(Geometry { cut: 256, ..(*large.geometry).clone() });
    let pool = bed.creates(large);
    let grants = &bed.ledger.pool(pool).unwrap().grants;
    assert_eq!((grants.shards(), grants.runs().len()), (1_024, 2));
}

/// A pool as a host alone would have made it, its shards in a later epoch.
fn past(uid: u32, id: &str, start: u128) -> Pool {
    let mut bed = Bed::of(1);
    let pool = bed.creates(draft(id, start, 64));
    let mut record = (*bed.ledger.pool(pool).unwrap().record).clone();
    record.uid = PoolUid(uid);
    record.revision = Revision(4);
    record.shards.iter_mut().for_each(|shard| shard.epoch = Epoch(5 + shard.id.0));
    record
}

#[test]
fn a_host_with_a_past_brings_its_pools_with_their_numbers_and_epochs() {
    let mut bed = Bed::of(1);
    let pools = vec![past(7, "a", 0), past(3, "b", 64)];
    let reply = bed.ok(LedgerCommand::Adopt { member: ONE, pools: pools.clone() });
    assert_eq!(reply, LedgerReply::Adopted { pools: 2, shards: 8 });
    for pool in &pools {
        let found = bed.ledger.pool(pool.uid).unwrap();
        assert_eq!(*found.record, *pool);
        for shard in &pool.shards {
            assert_eq!(bed.ledger.epoch_of(pool.uid, shard.id, ONE), Some(shard.epoch));
        }
        assert_eq!(bed.shards(pool.uid, 1, GrantKind::Escrow).len(), 2);
    }
    assert_eq!(bed.creates(draft("c", 128, 64)), PoolUid(8));
    let error = bed.refused(LedgerCommand::Adopt { member: ONE, pools: Vec::new() });
    assert_eq!(error, LedgerError::NotFirst { pools: 3, members: 1 });
}

#[test]
fn a_past_that_cannot_be_is_not_adopted() {
    let mut bed = Bed::of(1);
    let wrong = |change: fn(&mut Pool)| {
        let mut pool = past(1, "a", 0);
        change(&mut pool);
        vec![past(0, "z", 640), pool]
    };
    let cases = [
        wrong(|pool| pool.uid = PoolUid(0)),
        wrong(|pool| pool.uid = PoolUid(u32::MAX)),
        wrong(|pool| *pool = Pool { uid: PoolUid(1), ..past(1, "z", 0) }),
        wrong(|pool| *pool = past(1, "a", 640)),
        wrong(|pool| pool.shards.reverse()),
        wrong(|pool| pool.shards[0].id.0 = 9),
        wrong(|pool| pool.shards[0].epoch = Epoch(0)),
        wrong(|pool| pool.shards[0].epoch = Epoch(u32::MAX)),
        wrong(|pool| pool.shards[1].cover = pool.shards[0].cover),
        wrong(|pool| pool.shards.truncate(3)),
        wrong(|pool| pool.shards.clear()),
    ];
    for pools in cases {
        bed.refused(LedgerCommand::Adopt { member: ONE, pools });
    }
    bed.joins(join(2, HostRole::Core));
    let error = bed.refused(LedgerCommand::Adopt { member: ONE, pools: vec![past(1, "a", 0)] });
    assert_eq!(error, LedgerError::NotFirst { pools: 0, members: 2 });
}

fn runs(most: usize) -> impl Strategy<Value = Vec<Series>> {
    let run = (0..60_u128, 1..9_u128, 0..5_u128, 1..5_u64);
    let run = run.prop_map(|(start, len, gap, count)| Series::new(span(start, len), len + gap, count).unwrap());
    prop::collection::vec(run, 0..most)
}

fn laid_out(draft: &PoolDraft) -> Option<Layout> {
    let shards = crate::draft::shards(draft).ok()?;
    Layout::new(Arc::clone(&draft.geometry), &shards).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(1_500) })]

    /// Whatever it says, nothing that could be handed out is lost unnoticed; and more of the same is never "given up".
    #[test]
    fn what_is_given_up_is_noticed(
        old in (runs(3), runs(3)), new in (runs(3), runs(3)), natural: bool, grain in 0..2_u32, keep in 0..4_u8,
    ) {
        let (align, grain) = (if natural { Alignment::Natural } else { Alignment::Origin }, 1 << grain);
        let sizing = Sizing { default_len: grain, min_len: grain, max_len: 4, align };
        let shape = |(spans, excluded): (Vec<Series>, Vec<Series>)| {
            let mut made = shaped("p", spans, excluded);
            made.geometry = Arc::new(Geometry { grain, sizing, ..(*made.geometry).clone() });
            made
        };
        // Half of the cases keep something, else hardly any would be more of the same.
        let spans = if keep & 1 == 0 { old.0.clone() } else { new.0 };
        let excluded = if keep & 2 == 0 { old.1.clone() } else { new.1 };
        let (old, new) = (shape(old), shape((spans, excluded)));
        let (Some(before), Some(after)) = (laid_out(&old), laid_out(&new)) else {
            return Err(TestCaseError::reject("not a pool"));
        };
        let given_up = gives_up(&old.geometry, &new.geometry);
        let spans = (0..130_u128).flat_map(|start| (1..=4_u128).map(move |len| span(start, len)));
        let lost: Vec<_> = spans.filter(|at| before.place(*at).is_ok() && after.place(*at).is_err()).collect();
        prop_assert!(given_up || lost.iter().all(|at| placed_by_border(&new, *at)), "{lost:?}");
        prop_assert!(!gives_up(&old.geometry, &old.geometry));
    }
}

/// True if only the borders of freshly cut shards stand in the way: a live pool keeps the ones it has.
fn placed_by_border(draft: &PoolDraft, at: crate::span::Span) -> bool {
    let one = PoolDraft { sharding_factor: Some(1), ..draft.clone() };
    laid_out(&one).is_some_and(|layout| layout.place(at).is_ok())
}
