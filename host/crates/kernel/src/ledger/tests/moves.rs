//! Moving, taking over, seizing, and the end of doubt.

use std::collections::BTreeMap;

use super::bed::{Bed, draft, join, moved, seized, taken, word};
use crate::id::{Dot, Epoch, MemberId, Origin, PoolUid, Seq, ShardId};
use crate::ledger::{Bereft, Deed, GrantKind, GrantState, HostRole, LedgerCommand, LedgerError, LedgerReply, Wish};
use crate::tenure::Tenure;

const fn origin(host: u64) -> Origin {
    Origin { host, incarnation: 1 }
}

fn released(pool: PoolUid, shards: &[ShardId], member: u32, epoch: u32) -> LedgerCommand {
    LedgerCommand::Released { pool, shards: shards.to_vec(), member: MemberId(member), epoch: Epoch(epoch) }
}

fn bed() -> (Bed, PoolUid) {
    let mut bed = Bed::of(3);
    let pool = bed.creates(draft("p", 0, 768));
    (bed, pool)
}

#[test]
fn each_host_holds_half_of_its_shards_as_escrow_and_an_edge_all() {
    let (mut bed, pool) = bed();
    for host in 1..=3 {
        let (escrow, leased) = (bed.shards(pool, host, GrantKind::Escrow), bed.shards(pool, host, GrantKind::Leased));
        assert_eq!(escrow.len(), (escrow.len() + leased.len()).div_ceil(2));
        assert!(!leased.is_empty());
    }
    let edge = bed.joins(join(50, HostRole::Edge));
    let given = bed.shards(pool, 1, GrantKind::Leased);
    bed.ok(moved(pool, &given, 1, edge.0, 1));
    assert_eq!(bed.shards(pool, edge.0, GrantKind::Escrow), given);
    assert!(bed.ledger.wishes().iter().all(|wish| wish.from != edge), "what is delegated is the edge's");
}

#[test]
fn a_move_ends_the_epoch_and_a_late_one_is_refused() {
    let (mut bed, pool) = bed();
    let shard = bed.shards(pool, 1, GrantKind::Escrow)[0];
    bed.ok(moved(pool, &[shard], 1, 2, 1));
    let grant = bed.grant(pool, shard);
    assert_eq!((grant.holder, grant.epoch, grant.state), (MemberId(2), Epoch(2), GrantState::Held));
    assert_eq!(grant.cut, Some(Dot { origin: origin(1), seq: Seq(77) }));

    let error = bed.refused(moved(pool, &[shard], 1, 3, 1));
    assert_eq!(error, LedgerError::HolderDiffers { pool, shard, found: MemberId(2), asked: MemberId(1) });
    let error = bed.refused(moved(pool, &[shard], 2, 3, 1));
    assert_eq!(error, LedgerError::EpochDiffers { pool, shard, found: Epoch(2), asked: Epoch(1) });
    bed.ok(moved(pool, &[shard], 2, 1, 2));
    let error = bed.refused(moved(pool, &[shard], 1, 3, 1));
    assert_eq!(error, LedgerError::EpochDiffers { pool, shard, found: Epoch(3), asked: Epoch(1) });
    // Who is given the shard next must have what each of those before had.
    let cuts = &bed.ledger.pool(pool).unwrap().cuts;
    assert_eq!(*cuts, BTreeMap::from([((shard, origin(1)), Seq(77)), ((shard, origin(2)), Seq(77))]));
}

#[test]
fn who_is_given_a_shard_waits_for_all_that_its_donor_waited_for() {
    let (mut bed, pool) = bed();
    let shard = bed.shards(pool, 1, GrantKind::Escrow)[0];
    bed.ok(moved(pool, &[shard], 1, 2, 1));
    // Host 2 passes it on without having heard the last words of host 1.
    bed.ok(moved(pool, &[shard], 2, 3, 2));
    let (found, grant) = (bed.ledger.pool(pool).expect("there"), bed.grant(pool, shard));
    let heard = |hosts: &[u64]| hosts.iter().map(|host| (origin(*host), Seq(77))).collect();
    assert_eq!(found.tenure(MemberId(3), (shard, grant), &heard(&[2]), false), Tenure::Silent);
    assert_eq!(found.tenure(MemberId(3), (shard, grant), &heard(&[1]), false), Tenure::Silent);
    assert!(matches!(
        found.tenure(MemberId(3), (shard, grant), &heard(&[1, 2]), false),
        Tenure::Escrow | Tenure::Leased
    ));
}

/// Host 1 gave a shard to host 2 and the others to host 3.
fn given_away() -> (Bed, PoolUid, ShardId) {
    let (mut bed, pool) = bed();
    let shard = bed.shards(pool, 1, GrantKind::Escrow)[0];
    bed.ok(moved(pool, &[shard], 1, 2, 1));
    for kind in [GrantKind::Escrow, GrantKind::Leased] {
        bed.ok(moved(pool, &bed.shards(pool, 1, kind), 1, 3, 1));
    }
    (bed, pool, shard)
}

fn forgoes(pool: PoolUid, shards: &[ShardId], member: u32, epoch: u32, log: Dot) -> LedgerCommand {
    let (member, epoch) = (MemberId(member), Epoch(epoch));
    LedgerCommand::Forgo { pool, shards: shards.to_vec(), member, epoch, logs: vec![log] }
}

#[test]
fn who_waits_for_a_host_that_is_gone_goes_on_without_it_in_doubt() {
    let (mut bed, pool, shard) = given_away();
    bed.ok(LedgerCommand::Remove { member: MemberId(1), word: word("lost") });
    let known = |seq| Dot { origin: origin(1), seq: Seq(seq) };
    let heard = |seq| BTreeMap::from([(origin(1), Seq(seq))]);
    assert_eq!(bed.ledger.next_bereft(MemberId(2), &heard(77), 8), None, "it has all of it");
    let bereft = bed.ledger.next_bereft(MemberId(2), &heard(70), 8).expect("it waits");
    assert_eq!(
        (bereft.shards.as_slice(), bereft.epoch, bereft.logs.as_slice()),
        (&[shard][..], Epoch(2), &[known(70)][..])
    );

    bed.ok(forgoes(pool, &[shard], 2, 2, known(70)));
    let grant = bed.grant(pool, shard);
    assert_eq!((grant.holder, grant.epoch, grant.state), (MemberId(2), Epoch(3), GrantState::Quarantined));
    assert_eq!(grant.cut, Some(known(70)));
    let found = bed.ledger.pool(pool).expect("there");
    assert_eq!(found.tenure(MemberId(2), (shard, grant), &heard(70), false), Tenure::Kept);
    assert_eq!(found.awaited(shard).collect::<Vec<_>>(), [origin(1)]);
    assert!(!found.is_ended_by_time(shard), "nobody knows how it was held");
    assert_eq!(bed.ledger.next_bereft(MemberId(2), &heard(70), 8), None);
    assert!(
        bed.ledger.next_bereft(MemberId(3), &heard(70), 8).is_some(),
        "what others were given is theirs to give up"
    );

    // Who is given it next needs no more of that log than this one had, but all of that, and what this one wrote.
    bed.ok(released(pool, &[shard], 2, 3));
    bed.ok(moved(pool, &[shard], 2, 3, 3));
    let (found, grant) = (bed.ledger.pool(pool).expect("there"), bed.grant(pool, shard));
    let tenure = |one: u64, two: u64| {
        let heard = BTreeMap::from([(origin(1), Seq(one)), (origin(2), Seq(two))]);
        found.tenure(MemberId(3), (shard, grant), &heard, false)
    };
    assert_eq!([tenure(69, 77), tenure(70, 76)], [Tenure::Silent, Tenure::Silent]);
    assert!(matches!(tenure(70, 77), Tenure::Escrow | Tenure::Leased));
}

#[test]
fn what_somebody_may_still_say_is_not_given_up() {
    let (mut bed, pool, shard) = given_away();
    let log = |host, seq| Dot { origin: origin(host), seq: Seq(seq) };
    let not_lost = |bed: &mut Bed, log: Dot| {
        let refused = bed.refused(forgoes(pool, &[shard], 2, 2, log));
        assert_eq!(refused, LedgerError::LogNotLost { pool, shard, log });
    };
    assert_eq!(bed.ledger.next_bereft(MemberId(2), &BTreeMap::new(), 8), None, "it may come back and say it");
    not_lost(&mut bed, log(1, 70));
    bed.ok(LedgerCommand::Remove { member: MemberId(1), word: word("lost") });
    not_lost(&mut bed, log(3, 1));
    not_lost(&mut bed, log(1, 77));
    let none =
        LedgerCommand::Forgo { pool, shards: vec![shard], member: MemberId(2), epoch: Epoch(2), logs: Vec::new() };
    assert!(matches!(bed.refused(none), LedgerError::FieldInvalid { .. }));
    assert!(matches!(bed.refused(forgoes(pool, &[shard], 3, 2, log(1, 70))), LedgerError::HolderDiffers { .. }));
    assert!(matches!(bed.refused(forgoes(pool, &[shard], 2, 1, log(1, 70))), LedgerError::EpochDiffers { .. }));
    bed.deposes(2);
    assert!(matches!(bed.refused(forgoes(pool, &[shard], 2, 2, log(1, 70))), LedgerError::Deposed { .. }));
}

#[test]
fn all_logs_whose_hosts_are_gone_are_given_up_at_once_and_those_of_members_are_not() {
    let (mut bed, pool, shard) = given_away();
    bed.ok(moved(pool, &[shard], 2, 3, 2));
    let log = |host, seq| Dot { origin: origin(host), seq: Seq(seq) };
    let heard = BTreeMap::from([(origin(1), Seq(70))]);
    bed.ok(LedgerCommand::Remove { member: MemberId(1), word: word("lost") });
    let one = bed.ledger.next_bereft(MemberId(3), &heard, 8).expect("the first one's");
    assert_eq!(one.logs, [log(1, 70)], "the second one may say what it wrote yet");
    for kind in [GrantKind::Escrow, GrantKind::Leased] {
        bed.ok(moved(pool, &bed.shards(pool, 2, kind), 2, 3, 1));
    }
    bed.ok(LedgerCommand::Remove { member: MemberId(2), word: word("lost") });
    let mut all = Vec::new();
    while let Some(found) = bed.ledger.next_bereft(MemberId(3), &heard, 8) {
        all.extend(found.shards.contains(&shard).then(|| found.logs.clone()));
        let Bereft { pool, shards, epoch, logs } = found;
        bed.ok(LedgerCommand::Forgo { pool, shards, member: MemberId(3), epoch, logs });
    }
    assert_eq!(all, [[log(1, 70), log(2, 0)]], "of the second one nobody heard anything");
    let (found, grant) = (bed.ledger.pool(pool).expect("there"), bed.grant(pool, shard));
    assert_eq!((grant.epoch, grant.state), (Epoch(4), GrantState::Quarantined));
    assert_eq!(found.tenure(MemberId(3), (shard, grant), &heard, false), Tenure::Kept);
    let mut awaited: Vec<_> = found.awaited(shard).collect();
    awaited.sort_unstable();
    assert_eq!(awaited, [origin(1), origin(2)], "what turns up of either counts");
}

#[test]
fn an_offer_names_only_what_its_donor_has_all_of() {
    let (mut bed, pool) = bed();
    let shard = bed.shards(pool, 1, GrantKind::Escrow)[0];
    bed.ok(moved(pool, &[shard], 1, 2, 1));
    let wishes = [Wish { pool, shard, from: MemberId(2), to: MemberId(3) }];
    let offer = |heard: &BTreeMap<Origin, Seq>| bed.ledger.next_offer(MemberId(2), &wishes, heard, |_| true, 8);
    assert_eq!(offer(&BTreeMap::from([(origin(1), Seq(76))])), None);
    let whole = offer(&BTreeMap::from([(origin(1), Seq(77))])).expect("it has all of it");
    assert_eq!((whole.shards, whole.epoch, whole.to), (vec![shard], Epoch(2), MemberId(3)));
}

#[test]
fn one_wrong_shard_among_right_ones_moves_none() {
    let (mut bed, pool) = bed();
    let mine = bed.shards(pool, 1, GrantKind::Escrow);
    let others = bed.shards(pool, 2, GrantKind::Escrow);
    let with = |shard| [mine.as_slice(), &[shard]].concat();
    assert!(matches!(bed.refused(moved(pool, &with(others[0]), 1, 3, 1)), LedgerError::HolderDiffers { .. }));
    assert_eq!(
        bed.refused(moved(pool, &with(ShardId(48)), 1, 3, 1)),
        LedgerError::ShardUnknown { pool, shard: ShardId(48), shards: 48 }
    );
    assert_eq!(bed.refused(moved(pool, &with(mine[0]), 1, 3, 1)), LedgerError::ShardTwice { shard: mine[0] });
    assert_eq!(bed.refused(moved(pool, &[], 1, 3, 1)), LedgerError::ShardCount { found: 0, most: 16_384 });
}

#[test]
fn nothing_is_given_to_who_may_not_own() {
    let (mut bed, pool) = bed();
    let mine = bed.shards(pool, 1, GrantKind::Escrow);
    let reader = bed.joins(join(4, HostRole::Read)).0;
    bed.ok(LedgerCommand::SetMember {
        member: MemberId(2),
        role: None,
        weight: Some(0),
        draining: None,
        addresses: None,
    });
    bed.deposes(3);
    for to in [reader, 2, 3] {
        let error = bed.refused(moved(pool, &mine, 1, to, 1));
        assert!(matches!(error, LedgerError::CannotOwn { .. }), "{error}");
    }
    assert_eq!(bed.refused(moved(pool, &mine, 1, 1, 1)), LedgerError::SameMember { member: MemberId(1) });
    assert!(matches!(bed.refused(moved(pool, &mine, 1, 77, 1)), LedgerError::MemberUnknown { .. }));
}

#[test]
fn only_leased_shards_of_a_deposed_host_are_taken_over_and_they_arrive_quarantined() {
    let (mut bed, pool) = bed();
    let (leased, escrow) = (bed.shards(pool, 1, GrantKind::Leased), bed.shards(pool, 1, GrantKind::Escrow));
    let error = bed.refused(taken(pool, &leased, 1, 2, 1));
    assert!(matches!(error, LedgerError::NotDeposed { member: MemberId(1), .. }), "{error}");
    bed.deposes(1);
    let error = bed.refused(taken(pool, &escrow, 1, 2, 1));
    let (found, right) = (GrantKind::Escrow, GrantKind::Leased);
    assert_eq!(error, LedgerError::KindDiffers { pool, shard: escrow[0], found, right });
    let to_take: Vec<ShardId> =
        bed.ledger.wishes().iter().filter(|wish| wish.from == MemberId(1)).map(|wish| wish.shard).collect();
    assert_eq!(to_take, leased);

    bed.ok(taken(pool, &leased, 1, 2, 1));
    let grant = bed.grant(pool, leased[0]);
    assert_eq!((grant.holder, grant.epoch, grant.kind), (MemberId(2), Epoch(2), GrantKind::Leased));
    assert_eq!(grant.cut, Some(Dot { origin: origin(1), seq: Seq(88) }));
    assert_eq!(grant.state, GrantState::Quarantined);

    // Moved on, it is as doubtful as before; and a word about the former quarantine does not end this one.
    bed.ok(moved(pool, &leased, 2, 3, 2));
    assert_eq!(bed.grant(pool, leased[0]).state, GrantState::Quarantined);
    assert!(matches!(bed.refused(released(pool, &leased, 2, 2)), LedgerError::HolderDiffers { .. }));
    assert!(matches!(bed.refused(released(pool, &leased, 3, 2)), LedgerError::EpochDiffers { .. }));
    bed.ok(released(pool, &leased, 3, 3));
    assert_eq!(bed.grant(pool, leased[0]).state, GrantState::Held);
    let error = bed.refused(released(pool, &leased, 3, 3));
    assert!(matches!(error, LedgerError::StateDiffers { found: GrantState::Held, .. }), "{error}");
}

#[test]
fn a_shard_taken_over_twice_waits_for_both_it_was_taken_from() {
    let (mut bed, pool) = bed();
    let leased = bed.shards(pool, 1, GrantKind::Leased);
    bed.deposes(1);
    bed.ok(taken(pool, &leased, 1, 2, 1));
    bed.deposes(2);
    bed.ok(taken(pool, &leased, 2, 3, 2));
    let awaited = |bed: &Bed| bed.ledger.pool(pool).unwrap().awaited(leased[0]).collect::<Vec<_>>();
    assert_eq!(awaited(&bed), [origin(1), origin(2)]);
    bed.ok(released(pool, &leased, 3, 3));
    assert!(awaited(&bed).is_empty());
}

#[test]
fn escrow_is_seized_only_from_a_lost_holder_with_a_reason_that_is_kept() {
    let (mut bed, pool) = bed();
    let (leased, escrow) = (bed.shards(pool, 1, GrantKind::Leased), bed.shards(pool, 1, GrantKind::Escrow));
    assert!(matches!(bed.refused(seized(pool, &escrow, 1, 2, 1)), LedgerError::NotDeposed { .. }));
    bed.deposes(1);
    assert!(matches!(bed.refused(seized(pool, &leased, 1, 2, 1)), LedgerError::KindDiffers { .. }));
    let LedgerCommand::Seize { shards, from, epoch, to, .. } = seized(pool, &escrow, 1, 2, 1) else { unreachable!() };
    let unfounded = LedgerCommand::Seize { pool, shards, from, epoch, to, word: word("") };
    assert!(matches!(bed.refused(unfounded), LedgerError::FieldInvalid { .. }));

    bed.ok(seized(pool, &escrow, 1, 2, 1));
    let grant = bed.grant(pool, escrow[0]);
    assert_eq!((grant.holder, grant.epoch), (MemberId(2), Epoch(2)));
    assert_eq!((grant.state, grant.cut), (GrantState::Forced, None));
    assert_eq!(bed.ledger.pool(pool).unwrap().awaited(escrow[0]).collect::<Vec<_>>(), [origin(1)]);
    let kept = bed.ledger.orders().next().unwrap();
    let Deed::Seized { shards, .. } = &kept.deed else { panic!("{kept:?}") };
    assert_eq!((shards.as_slice(), kept.word.by.as_str(), kept.index), (escrow.as_slice(), "ann", bed.index));

    // Now that its leased shards are the last, the lost host may be removed once they are taken.
    let left = LedgerError::HoldsShards { member: MemberId(1), escrow: 0, leased: leased.len() as u64 };
    assert_eq!(bed.refused(LedgerCommand::Remove { member: MemberId(1), word: word("lost") }), left);
    bed.ok(taken(pool, &leased, 1, 3, 1));
    bed.ok(LedgerCommand::Remove { member: MemberId(1), word: word("lost") });
    let removed = bed.ledger.orders().next_back().unwrap();
    assert_eq!(
        (&removed.deed, removed.word.reason.as_str()),
        (&Deed::Removed { node: "host-1".parse().unwrap() }, "lost")
    );
}

#[test]
fn taken_back_is_another_term_of_the_same_kind_so_a_late_word_about_it_is_refused() {
    let (mut bed, pool) = bed();
    let shards = bed.shards(pool, 1, GrantKind::Escrow);
    let back = |epoch| {
        let (shards, member, epoch) = (shards.clone(), MemberId(1), Epoch(epoch));
        LedgerCommand::TakeBack { pool, shards, member, epoch }
    };
    let count = shards.len() as u64;
    let granted = |epoch| LedgerReply::Granted { pool, shards: count, epoch: Epoch(epoch) };
    assert_eq!(bed.ok(back(1)), granted(2));
    assert_eq!(bed.shards(pool, 1, GrantKind::Escrow), shards);
    assert!(matches!(bed.refused(back(1)), LedgerError::EpochDiffers { .. }));
    assert_eq!(bed.ok(back(2)), granted(3));
    bed.deposes(1);
    assert!(matches!(bed.refused(back(3)), LedgerError::Deposed { .. }));
}

#[test]
fn a_drained_host_is_wished_empty_and_fulfilled_wishes_leave_none() {
    let (mut bed, pool) = bed();
    assert!(bed.ledger.wishes().is_empty(), "a new pool lies where the ring has it");
    let drains = |draining| LedgerCommand::SetMember {
        member: MemberId(3),
        role: None,
        weight: None,
        draining: Some(draining),
        addresses: None,
    };
    let ring = bed.ledger.ring();
    bed.ok(drains(true));
    bed.ok(drains(false));
    assert_eq!(bed.ledger.ring().members(), ring.members(), "it has the weight that it had");
    bed.ok(drains(true));
    let held = bed.ledger.pool(pool).unwrap().grants.iter().filter(|(_, grant)| grant.holder == MemberId(3)).count();
    let wishes = bed.ledger.wishes();
    assert_eq!(wishes.iter().filter(|wish| wish.from == MemberId(3)).count(), held);
    for wish in wishes {
        let epoch = bed.grant(pool, wish.shard).epoch.0;
        bed.ok(moved(pool, &[wish.shard], wish.from.0, wish.to.0, epoch));
    }
    assert!(bed.ledger.wishes().is_empty());
    bed.ok(LedgerCommand::Leave { member: MemberId(3) });
}
