//! Joining, leaving, renewing, being deposed.

use super::bed::{Bed, draft, join, join_as, moved, taken, word};
use crate::id::{Epoch, MemberId, Origin, ProtocolVersion, ShardId};
use crate::ledger::{Change, GrantKind, GrantState, HostRole, LedgerCommand, LedgerError, LedgerReply, Terms};

const ONE: MemberId = MemberId(1);

fn renew(member: u32, nonce: u64) -> LedgerCommand {
    LedgerCommand::Renew { member: MemberId(member), nonce }
}

#[test]
fn a_host_that_joins_again_keeps_its_number_and_what_an_operator_set() {
    let mut bed = Bed::of(2);
    bed.ok(LedgerCommand::SetMember { member: ONE, role: None, weight: Some(7), draining: None, addresses: None });
    let LedgerCommand::Join { node, origin, peer, role, at_ms, .. } = join(1, HostRole::Write) else { unreachable!() };
    let addresses = vec!["10.9.9.9:1".to_owned()];
    let protocol = ProtocolVersion { major: 1, minor: 1 };
    let again =
        LedgerCommand::Join { node, origin, peer, addresses: addresses.clone(), role, weight: 1, protocol, at_ms };
    let reply = bed.ok(again);
    assert_eq!(reply, LedgerReply::Joined { member: ONE, new: false, quarantined: 0, reinstated: false });
    let member = bed.ledger.member(ONE).unwrap();
    assert_eq!((&member.addresses, member.protocol), (&addresses, protocol));
    assert_eq!((member.role, member.weight, member.lease.nonce), (HostRole::Core, 7, Some(1)));
}

/// Host `n`, which speaks protocol 1.`minor`.
fn speaks(n: u64, minor: u16) -> LedgerCommand {
    let mut join = join(n, HostRole::Core);
    if let LedgerCommand::Join { protocol, .. } = &mut join {
        *protocol = ProtocolVersion { major: 1, minor };
    }
    join
}

#[test]
fn a_protocol_goes_up_one_minor_after_the_other_and_down_again() {
    let mut bed = Bed::of(3);
    let error = bed.refused(speaks(1, 2));
    let found = ProtocolVersion { major: 1, minor: 0 };
    let asked = ProtocolVersion { major: 1, minor: 2 };
    assert!(matches!(&error, LedgerError::ProtocolApart { found: f, asked: a, .. } if (*f, *a) == (found, asked)));
    assert!(error.to_string().contains("1.2") && error.to_string().contains("1.0"), "{error}");
    bed.ok(speaks(1, 1));
    bed.ok(speaks(2, 1));
    bed.ok(speaks(1, 0));
    bed.ok(speaks(1, 1));
    // Host 3 is still there with the first one.
    assert!(matches!(bed.refused(speaks(2, 2)), LedgerError::ProtocolApart { node, .. } if node.as_str() == "host-3"));
    assert!(matches!(bed.refused(speaks(9, 2)), LedgerError::ProtocolApart { .. }));
    bed.ok(speaks(3, 1));
    bed.ok(speaks(2, 2));
    bed.ok(speaks(9, 1));
}

#[test]
fn two_hosts_with_one_name_one_identity_or_one_key_are_told_apart() {
    let mut bed = Bed::of(2);
    let error = bed.refused(join_as(9, "host-1", 1, HostRole::Core));
    assert!(matches!(error, LedgerError::NodeTaken { member: ONE, found: 1, asked: 9, .. }), "{error}");
    let error = bed.refused(join_as(1, "host-9", 1, HostRole::Core));
    assert!(matches!(error, LedgerError::IdentityTaken { host: 1, member: ONE, .. }), "{error}");
    let LedgerCommand::Join { node, origin, addresses, role, weight, protocol, at_ms, .. } = join(9, HostRole::Core)
    else {
        unreachable!()
    };
    let peer = "peer-2".to_owned();
    let error = bed.refused(LedgerCommand::Join { node, origin, peer, addresses, role, weight, protocol, at_ms });
    assert!(matches!(error, LedgerError::PeerTaken { member: MemberId(2), .. }), "{error}");
}

#[test]
fn another_incarnation_has_its_shards_quarantined_in_new_epochs_and_an_older_one_is_refused() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let held = bed.ledger.pool(pool).unwrap().grants.iter().filter(|(_, grant)| grant.holder == ONE).count() as u64;
    assert!(held > 0);
    let reply = bed.ok(join_as(1, "host-1", 2, HostRole::Core));
    assert_eq!(reply, LedgerReply::Joined { member: ONE, new: false, quarantined: held, reinstated: false });
    for (_, grant) in bed.ledger.pool(pool).unwrap().grants.iter() {
        let right = if grant.holder == ONE { (2, GrantState::Quarantined) } else { (1, GrantState::Held) };
        assert_eq!((grant.epoch.0, grant.state), right);
    }
    // Its former process may live on: the lease is not free for another.
    assert!(matches!(bed.refused(renew(1, 99)), LedgerError::LeaseHeld { .. }));
    let error = bed.refused(join_as(1, "host-1", 1, HostRole::Core));
    let asked = Origin { host: 1, incarnation: 1 };
    assert_eq!(error, LedgerError::IncarnationOld { found: 2, asked });
}

#[test]
fn who_left_comes_back_as_a_later_incarnation_under_a_new_number() {
    let mut bed = Bed::of(2);
    bed.ok(LedgerCommand::Leave { member: MemberId(2) });
    assert!(matches!(bed.refused(renew(2, 2)), LedgerError::MemberUnknown { member: MemberId(2) }));
    assert!(matches!(bed.refused(join(2, HostRole::Core)), LedgerError::IncarnationOld { found: 1, .. }));
    assert_eq!(bed.joins(join_as(2, "host-2", 2, HostRole::Core)), MemberId(3));
}

#[test]
fn who_holds_shards_cannot_leave_or_be_removed_and_the_last_core_host_stays() {
    let mut bed = Bed::of(1);
    assert_eq!(bed.refused(LedgerCommand::Leave { member: ONE }), LedgerError::LastCore { member: ONE });
    let demote = LedgerCommand::SetMember {
        member: ONE,
        role: Some(HostRole::Write),
        weight: None,
        draining: None,
        addresses: None,
    };
    assert_eq!(bed.refused(demote), LedgerError::LastCore { member: ONE });
    let pool = bed.creates(draft("p", 0, 256));
    bed.joins(join(2, HostRole::Core));
    let holds = LedgerError::HoldsShards { member: ONE, escrow: 8, leased: 8 };
    assert_eq!(bed.refused(LedgerCommand::Leave { member: ONE }), holds);
    assert_eq!(bed.refused(LedgerCommand::Remove { member: ONE, word: word("lost") }), holds);
    let all: Vec<ShardId> = (0..16).map(ShardId).collect();
    bed.ok(moved(pool, &all, 1, 2, 1));
    assert_eq!(bed.ok(LedgerCommand::Leave { member: ONE }), LedgerReply::Left(ONE));
}

#[test]
fn a_second_process_cannot_renew_until_the_first_was_deposed_and_it_joined_again() {
    let mut bed = Bed::of(2);
    let renewed = bed.ledger.member(ONE).unwrap().lease.renewed;
    assert_eq!(bed.refused(renew(1, 99)), LedgerError::LeaseHeld { member: ONE, renewed });
    bed.deposes(1);
    let at = bed.index;
    for nonce in [1, 99] {
        assert_eq!(bed.refused(renew(1, nonce)), LedgerError::Deposed { member: ONE, at });
    }
    let reply = bed.ok(join(1, HostRole::Core));
    assert_eq!(reply, LedgerReply::Joined { member: ONE, new: false, quarantined: 0, reinstated: true });
    bed.ok(renew(1, 99));
}

#[test]
fn a_later_renewal_saves_from_being_deposed() {
    let mut bed = Bed::of(2);
    let asked = bed.ledger.member(ONE).unwrap().lease.renewed;
    bed.ok(renew(1, 1));
    let found = bed.index;
    let late = LedgerCommand::Depose { member: ONE, last_renewal: asked };
    assert_eq!(bed.refused(late), LedgerError::RenewalDiffers { member: ONE, found, asked });
    let unheard = LedgerCommand::Depose { member: ONE, last_renewal: found + 5 };
    assert!(matches!(bed.refused(unheard), LedgerError::RenewalDiffers { .. }));
    let (outcome, changes) = bed.tell(LedgerCommand::Depose { member: ONE, last_renewal: found });
    assert_eq!(outcome, Ok(LedgerReply::Deposed(ONE)));
    assert_eq!(changes, [Change::Deposed { member: ONE }]);
}

#[test]
fn coming_back_ends_the_epochs_that_a_late_takeover_names() {
    let mut bed = Bed::of(2);
    let pool = bed.creates(draft("p", 0, 256));
    let (leased, escrow) = (bed.shards(pool, 1, GrantKind::Leased), bed.shards(pool, 1, GrantKind::Escrow));
    bed.deposes(1);
    bed.ok(join(1, HostRole::Core));
    bed.ok(renew(1, 1));
    bed.deposes(1);
    let error = bed.refused(taken(pool, &leased, 1, 2, 1));
    let (found, asked) = (Epoch(2), Epoch(1));
    assert_eq!(error, LedgerError::EpochDiffers { pool, shard: leased[0], found, asked });
    assert!(escrow.iter().all(|shard| bed.grant(pool, *shard).epoch == Epoch(1)));
}

#[test]
fn a_lease_keeps_the_terms_it_was_renewed_under() {
    let mut bed = Bed::of(1);
    let terms = Terms { lease_ms: 5_000, grace_ms: 2_000, ..Terms::default() };
    bed.ok(LedgerCommand::SetTerms(terms));
    let lease = bed.ledger.member(ONE).unwrap().lease;
    assert_eq!((lease.lease_ms, lease.grace_ms), (60_000, 30_000));
    let reply = bed.ok(renew(1, 1));
    assert_eq!(reply, LedgerReply::Renewed { index: bed.index, lease_ms: 5_000 });
    for wrong in [
        Terms { virtual_nodes: 0, ..terms },
        Terms { lease_ms: 2_999, ..terms },
        Terms { lease_ms: 3_600_000, grace_ms: 35_999, ..terms },
        Terms { escrow_share: 1_001, ..terms },
    ] {
        assert!(matches!(bed.refused(LedgerCommand::SetTerms(wrong)), LedgerError::FieldInvalid { .. }));
    }
}

#[test]
fn voters_are_the_first_core_hosts_an_odd_count_and_two_are_warned_of() {
    let mut bed = Bed::new();
    let wanted = [1, 1, 3, 3, 5, 5, 5];
    for (host, count) in (1_u64..).zip(wanted) {
        bed.joins(join(host, HostRole::Core));
        bed.joins(join(host + 100, HostRole::Write));
        let voters: Vec<u32> = bed.ledger.voters_wanted().iter().map(|voter| voter.0).collect();
        let first: Vec<u32> = (0..count).map(|nth| nth * 2 + 1).collect();
        assert_eq!(voters, first);
        assert_eq!(bed.ledger.has_two_core_hosts(), host == 2);
    }
}
