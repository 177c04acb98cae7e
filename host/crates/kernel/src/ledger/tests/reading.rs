//! Who reads a pool otherwise than its record says is given none of its shards.

use super::bed::{Bed, draft, join, moved, seized, taken};
use crate::id::{MemberId, PoolUid, Revision};
use crate::ledger::{Change, GrantKind, HostRole, LedgerCommand, LedgerError, LedgerReply, Misread};

fn says(pool: PoolUid, member: u32, misread: Option<Misread>) -> LedgerCommand {
    LedgerCommand::SetReading { pool, revision: Revision(1), member: MemberId(member), misread }
}

fn otherwise() -> Misread {
    Misread::Otherwise { mapping_id: "ipv4-9".into(), geometry: [0xab; 32] }
}

fn bed() -> (Bed, PoolUid) {
    let mut bed = Bed::of(3);
    let pool = bed.creates(draft("p", 0, 768));
    (bed, pool)
}

#[test]
fn its_shards_should_be_the_others_and_come_back_when_it_reads_again() {
    let (mut bed, pool) = bed();
    let other = bed.creates(draft("q", 1_024, 768));
    let (outcome, changes) = bed.tell(says(pool, 2, Some(otherwise())));
    assert_eq!(outcome, Ok(LedgerReply::ReadingSet(MemberId(2))));
    assert_eq!(changes, [Change::Reading { pool, member: MemberId(2), misread: Some(otherwise()) }]);
    let wishes = bed.ledger.wishes();
    let held = bed.shards(pool, 2, GrantKind::Escrow).len() + bed.shards(pool, 2, GrantKind::Leased).len();
    assert_eq!(wishes.iter().filter(|wish| wish.from == MemberId(2)).count(), held);
    assert!(wishes.iter().all(|wish| wish.pool == pool && wish.to != MemberId(2)), "{other} is as it was");
    // Said again it is no news; in other words it is.
    assert!(bed.tell(says(pool, 2, Some(otherwise()))).1.is_empty());
    assert_eq!(bed.tell(says(pool, 2, Some(Misread::NoPlugin))).1.len(), 1);
    bed.ok(says(pool, 2, None));
    assert_eq!(bed.ledger.wishes(), []);
}

#[test]
fn nobody_can_give_it_a_shard_and_new_space_is_not_its() {
    let (mut bed, pool) = bed();
    bed.ok(says(pool, 2, Some(Misread::NoPlugin)));
    let mine = bed.shards(pool, 1, GrantKind::Escrow);
    let cannot = |error: LedgerError| {
        assert!(matches!(&error, LedgerError::CannotRead { member: MemberId(2), .. }), "{error}");
    };
    cannot(bed.refused(moved(pool, &mine, 1, 2, 1)));
    bed.deposes(3);
    cannot(bed.refused(taken(pool, &bed.shards(pool, 3, GrantKind::Leased), 3, 2, 1)));
    cannot(bed.refused(seized(pool, &bed.shards(pool, 3, GrantKind::Escrow), 3, 2, 1)));
    let before = bed.ledger.pool(pool).unwrap().grants.shards();
    let update = LedgerCommand::UpdatePool { pool, expected: None, draft: Box::new(draft("p", 0, 1_536)), at_ms: 9 };
    bed.ok(update);
    let grants = &bed.ledger.pool(pool).unwrap().grants;
    let holders: Vec<MemberId> =
        grants.iter().filter(|(shard, _)| shard.0 >= before).map(|(_, grant)| grant.holder).collect();
    assert_eq!(holders, [MemberId(1); 48]);
}

#[test]
fn when_nobody_reads_it_the_shards_stay() {
    let (mut bed, pool) = bed();
    for member in 1..=3 {
        bed.ok(says(pool, member, Some(otherwise())));
    }
    assert_eq!(bed.ledger.wishes(), []);
    let update = LedgerCommand::UpdatePool { pool, expected: None, draft: Box::new(draft("p", 0, 1_536)), at_ms: 9 };
    assert!(matches!(bed.refused(update), LedgerError::NoOwner { .. }));
    bed.ok(says(pool, 1, None));
    assert!(bed.ledger.wishes().iter().all(|wish| wish.to == MemberId(1)));
}

#[test]
fn a_word_about_another_record_is_refused_and_who_leaves_takes_its_words_along() {
    let (mut bed, pool) = bed();
    let late = LedgerCommand::SetReading { pool, revision: Revision(7), member: MemberId(1), misread: None };
    assert!(matches!(bed.refused(late), LedgerError::RevisionDiffers { found: Revision(1), .. }));
    let long = Misread::NotOpened { why: "x".repeat(513).into() };
    assert!(matches!(bed.refused(says(pool, 1, Some(long))), LedgerError::FieldInvalid { .. }));
    assert!(matches!(bed.refused(says(pool, 9, None)), LedgerError::MemberUnknown { .. }));
    let guest = bed.joins(join(7, HostRole::Write));
    bed.ok(says(pool, guest.0, Some(Misread::NoPlugin)));
    bed.ok(LedgerCommand::Leave { member: guest });
    assert!(bed.ledger.pool(pool).unwrap().misread.is_empty());
}
