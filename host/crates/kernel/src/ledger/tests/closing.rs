//! How space leaves a pool.

use super::bed::{Bed, LATER_MS, draft, join, join_as, moved, seized, shaped, span, taken};
use crate::id::{MemberId, PoolUid, Revision, ShardId};
use crate::ledger::{Change, GrantKind, GrantState, HostRole, LedgerCommand, LedgerError, LedgerReply};
use crate::pool::PoolDraft;
use crate::span::{Series, Span};

fn close(pool: PoolUid, spans: Option<Vec<Span>>) -> LedgerCommand {
    LedgerCommand::ClosePool { pool, spans, at_ms: LATER_MS + 5 }
}

fn update(pool: PoolUid, draft: PoolDraft) -> LedgerCommand {
    LedgerCommand::UpdatePool { pool, expected: None, draft: Box::new(draft), at_ms: LATER_MS + 5 }
}

fn create(draft: PoolDraft) -> LedgerCommand {
    LedgerCommand::CreatePool { draft: Box::new(draft), at_ms: LATER_MS }
}

fn returned(pool: PoolUid, closing: u64, member: u32, shards: &[ShardId]) -> LedgerCommand {
    LedgerCommand::Returned { pool, closing, member: MemberId(member), shards: shards.to_vec() }
}

fn since(bed: &Bed, pool: PoolUid) -> u64 {
    bed.ledger.pool(pool).unwrap().closing.as_ref().unwrap().since
}

/// Everybody returns what is waited for.
fn all_return(bed: &mut Bed, pool: PoolUid) {
    let closing = bed.ledger.pool(pool).unwrap().closing.clone().unwrap();
    for shard in &closing.waiting {
        let holder = bed.grant(pool, *shard).holder.0;
        bed.ok(returned(pool, closing.since, holder, &[*shard]));
    }
}

#[test]
fn a_pool_is_gone_only_when_every_holder_returned_its_shards() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    assert_eq!(
        bed.refused(LedgerCommand::FinishClose { pool }),
        LedgerError::PoolNotClosing { pool: "p".parse().unwrap() }
    );
    let reply = bed.ok(close(pool, None));
    assert_eq!(reply, LedgerReply::Closing { pool, since: bed.index, waiting: 16 });
    assert!(bed.ledger.pool(pool).unwrap().grants.iter().all(|(_, grant)| grant.state == GrantState::Closing));
    assert_eq!(bed.ok(close(pool, None)), reply);

    // While it closes nothing may be made over it, nor of its name, nor may it be changed.
    assert!(matches!(bed.refused(create(draft("q", 100, 50))), LedgerError::PoolOverlaps { .. }));
    assert!(matches!(bed.refused(create(draft("p", 0, 256))), LedgerError::PoolClosing { .. }));
    assert!(matches!(bed.refused(update(pool, draft("p", 0, 512))), LedgerError::PoolClosing { .. }));

    let error = bed.refused(LedgerCommand::FinishClose { pool });
    assert!(matches!(error, LedgerError::NotReturned { waiting: 16, .. }), "{error}");
    all_return(&mut bed, pool);
    let (outcome, changes) = bed.tell(LedgerCommand::FinishClose { pool });
    assert_eq!((outcome, changes), (Ok(LedgerReply::Closed(pool)), vec![Change::PoolGone(pool)]));
    let made_again = bed.creates(draft("p", 0, 256));
    assert_ne!(made_again, pool, "a number is never used again");
}

#[test]
fn a_word_about_a_closing_that_was_taken_back_does_not_count_for_the_next() {
    let mut bed = Bed::of(1);
    let pool = bed.creates(draft("p", 0, 64));
    bed.ok(close(pool, None));
    let first = since(&bed, pool);
    bed.ok(LedgerCommand::ReopenPool { pool });
    assert!(bed.ledger.pool(pool).unwrap().grants.iter().all(|(_, grant)| grant.state == GrantState::Held));
    bed.ok(close(pool, None));
    let error = bed.refused(returned(pool, first, 1, &[ShardId(0)]));
    assert!(matches!(error, LedgerError::ClosingDiffers { asked, .. } if asked == first), "{error}");
}

#[test]
fn reopening_ends_no_quarantine_and_releasing_no_closing() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.deposes(1);
    bed.ok(taken(pool, &leased, 1, 2, 1));
    bed.ok(close(pool, None));
    assert_eq!(bed.grant(pool, leased[0]).state, GrantState::Quarantined);
    let epoch = bed.grant(pool, leased[0]).epoch;
    let (member, shards) = (MemberId(2), vec![leased[0]]);
    bed.ok(LedgerCommand::Released { pool, shards, member, epoch });
    assert_eq!(bed.grant(pool, leased[0]).state, GrantState::Closing);
    bed.ok(LedgerCommand::ReopenPool { pool });
    assert_eq!(bed.grant(pool, leased[0]).state, GrantState::Held);
    assert_eq!(bed.grant(pool, leased[1]).state, GrantState::Quarantined);
}

#[test]
fn a_lost_host_holds_a_closing_up_with_its_escrow_until_that_is_seized() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let escrow = bed.shards(pool, 1, GrantKind::Escrow);
    bed.ok(close(pool, None));
    let closing = since(&bed, pool);
    for kind in [GrantKind::Escrow, GrantKind::Leased] {
        let shards = bed.shards(pool, 2, kind);
        bed.ok(returned(pool, closing, 2, &shards));
    }
    bed.deposes(1);
    let (waiting, holders) = (escrow.len() as u64, vec![(MemberId(1), escrow.len() as u64)]);
    let error = bed.refused(LedgerCommand::FinishClose { pool });
    assert_eq!(error, LedgerError::NotReturned { pool: "p".parse().unwrap(), waiting, holders });
    bed.ok(seized(pool, &escrow, 1, 2, 1));
    assert_eq!(bed.ok(LedgerCommand::FinishClose { pool }), LedgerReply::Closed(pool));
}

#[test]
fn a_pool_that_lives_on_waits_for_a_lost_hosts_shards_until_nothing_is_held_there_for_sure() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.ok(close(pool, Some(vec![span(0, 255)])));
    let closing = since(&bed, pool);
    for (host, kind) in [(1, GrantKind::Escrow), (2, GrantKind::Escrow), (2, GrantKind::Leased)] {
        let shards = bed.shards(pool, host, kind);
        bed.ok(returned(pool, closing, host, &shards));
    }
    bed.deposes(1);
    assert!(matches!(bed.refused(LedgerCommand::FinishClose { pool }), LedgerError::NotReturned { .. }));
    bed.ok(taken(pool, &leased, 1, 2, 1));
    let error = bed.refused(returned(pool, closing, 2, &leased));
    assert!(matches!(error, LedgerError::StateDiffers { found: GrantState::Quarantined, .. }), "{error}");
    let (member, shards) = (MemberId(2), leased.clone());
    bed.ok(LedgerCommand::Released { pool, shards, member, epoch: bed.grant(pool, leased[0]).epoch });
    bed.ok(returned(pool, closing, 2, &leased));
    assert!(matches!(bed.ok(LedgerCommand::FinishClose { pool }), LedgerReply::Shrunk { .. }));
}

#[test]
fn what_was_seized_before_a_closing_is_returned_like_everything() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 64));
    let escrow = bed.shards(pool, 1, GrantKind::Escrow);
    bed.deposes(1);
    bed.ok(seized(pool, &escrow, 1, 2, 1));
    bed.ok(close(pool, None));
    let closing = bed.ledger.pool(pool).unwrap().closing.clone().unwrap();
    assert!(escrow.iter().all(|shard| closing.waiting.contains(shard)));
}

#[test]
fn a_host_that_lost_its_log_must_return_again_and_a_moved_shard_need_not() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let (own, other) = (bed.shards(pool, 1, GrantKind::Escrow), bed.shards(pool, 2, GrantKind::Escrow));
    bed.ok(close(pool, None));
    let closing = since(&bed, pool);
    bed.ok(returned(pool, closing, 1, &own));
    bed.ok(returned(pool, closing, 2, &other));
    bed.ok(moved(pool, &other, 2, 1, 1));
    let waits = |bed: &Bed, shard| bed.ledger.pool(pool).unwrap().closing.as_ref().unwrap().waiting.contains(shard);
    assert!(!waits(&bed, &other[0]));
    assert_eq!(bed.grant(pool, other[0]).state, GrantState::Closing);
    bed.ok(join_as(1, "host-1", 2, HostRole::Core));
    assert!(waits(&bed, &own[0]));
    assert!(waits(&bed, &other[0]));
}

#[test]
fn closed_spans_become_exclusions_and_may_then_be_given_up_at_once() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let outside = bed.refused(close(pool, Some(vec![span(128, 16), span(256, 4)])));
    assert_eq!(outside, LedgerError::SpanOutside { pool: "p".parse().unwrap(), span: span(256, 4) });
    let reply = bed.ok(close(pool, Some(vec![span(192, 64), span(130, 62)])));
    assert_eq!(reply, LedgerReply::Closing { pool, since: bed.index, waiting: 8 });
    let states: Vec<GrantState> = bed.ledger.pool(pool).unwrap().grants.iter().map(|(_, grant)| grant.state).collect();
    assert_eq!(states, [[GrantState::Held; 8], [GrantState::Closing; 8]].concat());
    let closing = since(&bed, pool);
    let holder = bed.grant(pool, ShardId(0)).holder.0;
    let error = bed.refused(returned(pool, closing, holder, &[ShardId(0)]));
    assert_eq!(error, LedgerError::ShardNotClosing { pool, shard: ShardId(0) });

    all_return(&mut bed, pool);
    assert_eq!(bed.ok(LedgerCommand::FinishClose { pool }), LedgerReply::Shrunk { pool, revision: Revision(2) });
    let record = &bed.ledger.pool(pool).unwrap().record;
    assert_eq!(record.draft.geometry.excluded, [Series::one(span(130, 126))]);
    assert_eq!(record.updated_ms, LATER_MS + 5);
    // They are still the pool's own: nobody else may have them before it gave them up.
    assert!(matches!(bed.refused(create(draft("q", 192, 64))), LedgerError::PoolOverlaps { .. }));
    let reply = bed.ok(update(pool, draft("p", 0, 130)));
    assert_eq!(reply, LedgerReply::PoolUpdated { pool, revision: Revision(3) });
    bed.creates(draft("q", 192, 64));
}

#[test]
fn an_update_that_takes_space_away_waits_for_the_shards_it_touches() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    // Less at the end, more in front.
    let next = draft("p", 0, 192);
    let next = PoolDraft {
        geometry: shaped("p", vec![Series::one(span(0, 192)), Series::one(span(512, 64))], vec![]).geometry,
        ..next
    };
    let reply = bed.ok(update(pool, next.clone()));
    let LedgerReply::Closing { waiting, .. } = reply else { panic!("{reply:?}") };
    assert!((4..=16).contains(&waiting));
    assert_eq!(bed.ledger.pool(pool).unwrap().record.revision, Revision(1));
    // What it gives up and what it will have both count as its own.
    assert!(matches!(bed.refused(create(draft("q", 200, 8))), LedgerError::PoolOverlaps { .. }));
    assert!(matches!(bed.refused(create(draft("q", 520, 8))), LedgerError::PoolOverlaps { .. }));
    assert!(matches!(bed.refused(LedgerCommand::FinishClose { pool }), LedgerError::NotReturned { .. }));
    all_return(&mut bed, pool);
    assert_eq!(bed.ok(LedgerCommand::FinishClose { pool }), LedgerReply::Shrunk { pool, revision: Revision(2) });
    let found = bed.ledger.pool(pool).unwrap();
    assert_eq!(found.record.draft, next);
    assert_eq!((found.grants.shards(), found.record.shards.len()), (20, 20));
    assert!(found.grants.iter().all(|(_, grant)| grant.state == GrantState::Held));
    bed.creates(draft("q", 200, 8));
}

#[test]
fn a_pool_closes_where_no_owner_is_left_to_be_given_anything() {
    let mut bed = Bed::of(1);
    let pool = bed.creates(draft("p", 0, 64));
    bed.joins(join(2, HostRole::Read));
    bed.ok(LedgerCommand::SetMember {
        member: MemberId(1),
        role: None,
        weight: Some(0),
        draining: None,
        addresses: None,
    });
    bed.ok(close(pool, None));
    all_return(&mut bed, pool);
    bed.ok(LedgerCommand::FinishClose { pool });
    assert_eq!(bed.refused(create(draft("p", 0, 64))), LedgerError::NoOwner { pool: "p".parse().unwrap() });
}
