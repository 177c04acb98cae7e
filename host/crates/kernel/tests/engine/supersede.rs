//! A subscriber with two allocations: how he comes to them, which of them stands, and how the other ends.
#![allow(clippy::indexing_slicing, reason = "helpers of tests, which the lint does not take for such")]

use std::sync::Arc;

use kernel::{Allocation, AllocationTarget, Command, CommandError, Detour, EndCause, Fact, Leg, Reply, Strategy, Ttl};

use crate::bed::{Answer, Bed, addresses, given, leased, request};
use crate::cluster::{Hosts, member};

/// Three hosts that know of one allocation, which is the first one's; then nobody sees that host any more.
fn cut_off(pool: kernel::PoolDraft) -> (Hosts, Arc<Allocation>) {
    let mut hosts = Hosts::sharing(pool, 3, 3);
    let older = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.share_all();
    for host in 1..3 {
        hosts.see(host, &[1, 2]);
    }
    (hosts, older)
}

fn pool() -> kernel::PoolDraft {
    let mut draft = addresses(0x0a00_0000, 256);
    draft.sharding_factor = Some(12);
    let mut geometry = (*draft.geometry).clone();
    geometry.cut = 1;
    draft.geometry = Arc::new(geometry);
    draft.terms.strategy = Strategy::FirstFree;
    draft
}

fn heal(hosts: &mut Hosts) {
    for host in 0..3 {
        hosts.see(host, &[0, 1, 2]);
    }
    hosts.share_all();
    hosts.share_all();
}

fn named(hosts: &Hosts, held: &Allocation) -> AllocationTarget {
    let (pool, subscriber) = (hosts.pool.uid, held.subscriber.clone());
    AllocationTarget { pool, subscriber, key: None, span: Some(held.span), made_ms: None }
}

fn renew(hosts: &mut Hosts, host: usize, held: &Allocation) -> Answer {
    let target = named(hosts, held);
    hosts.beds[host].ask(Command::Renew { target, ttl: Ttl::Default })
}

fn pairs(bed: &Bed) -> Vec<(u128, u128)> {
    bed.kernel.superseded().map(|pair| (pair.superseded.span.start(), pair.survivor.span.start())).collect()
}

#[test]
fn who_cannot_be_answered_by_his_owner_gets_another_resource_that_names_the_first() {
    let (mut hosts, older) = cut_off(pool());
    let newer = given(hosts.allocate(1, Leg::Home, "line-1"));
    assert_ne!(newer.span, older.span);
    let mark = newer.supersedes().expect("it is marked");
    assert_eq!((mark.span, mark.shard, mark.epoch), (older.span, older.shard, older.epoch));
    assert_eq!(mark.created_ms, older.created_ms());
    // Asked again he gets the same, wherever it is known.
    assert_eq!(given(hosts.allocate(1, Leg::Home, "line-1")).span, newer.span);
    hosts.share(1, 2);
    let elsewhere = hosts.allocate(2, Leg::Entry, "line-1");
    assert!(
        matches!(elsewhere, Err(CommandError::Elsewhere { detour: Detour::Owner(owner), .. }) if owner == member(1)),
        "{elsewhere:?}"
    );
}

#[test]
fn who_decides_without_having_heard_of_the_first_is_told_of_it_on_the_way() {
    let mut hosts = Hosts::sharing(pool(), 4, 2);
    let older = given(hosts.allocate(0, Leg::Home, "line-1"));
    for host in 1..4 {
        hosts.see(host, &[1, 2, 3]);
    }
    // The last two own nothing; neither the home that is asked for space nor the owner that has it heard.
    for (knows, leg) in [(2, Leg::Entry), (3, Leg::Home)] {
        hosts.share(0, knows);
        let mut command = Command::Allocate(Box::new(request(&hosts.pool, "line-1")));
        let relay = |command: &Command, leg| Command::Relayed { leg, command: Box::new(command.clone()) };
        let sent_on = hosts.beds[knows].ask(relay(&command, leg));
        command.take_along(&sent_on.expect_err("it owns nothing"));
        let newer = given(hosts.beds[1].ask(relay(&command, Leg::Space)));
        let mark = newer.supersedes().expect("it is marked");
        assert_eq!((mark.span, mark.created_ms), (older.span, older.created_ms()));
        assert!(matches!(hosts.beds[1].release(&Arc::clone(&hosts.pool), "line-1"), Ok(Reply::Released(_))));
    }
}

#[test]
fn the_very_resource_and_its_lease_are_their_owners_alone() {
    let (mut hosts, older) = cut_off(leased(pool()));
    let (known, place) = (Arc::clone(&hosts.pool), older.span);
    let asked = hosts.beds[1].ask_for(&known, "line-1", place.start(), place.len());
    for answer in [asked, renew(&mut hosts, 1, &older)] {
        assert!(
            matches!(answer, Err(CommandError::Elsewhere { detour: Detour::Owner(owner), .. }) if owner == member(0)),
            "{answer:?}"
        );
    }
    assert!(pairs(&hosts.beds[1]).is_empty());
}

#[test]
fn where_nothing_is_handed_out_but_by_name_there_is_no_other_one() {
    let mut draft = pool();
    draft.terms.strategy = Strategy::Exact;
    let mut hosts = Hosts::sharing(draft, 2, 2);
    let known = Arc::clone(&hosts.pool);
    let own = known.shards.iter().find(|shard| shard.id.0 % 2 == 0).expect("the first host has shards").cover;
    let named = |request: &mut kernel::AllocateRequest| {
        request.plan = kernel::Plan::exactly(kernel::Span::new(own.start(), 1).expect("not empty"));
    };
    let older = hosts.beds[0].allocate_with(&known, "line-1", named);
    let older = match older {
        Ok(_) => given(older),
        // It is not his home; there it would be the same.
        Err(CommandError::Elsewhere { .. }) => {
            hosts.see(0, &[0]);
            given(hosts.beds[0].allocate_with(&known, "line-1", named))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(older.span.start(), own.start());
    hosts.share_all();
    hosts.see(1, &[1]);
    let answer = hosts.allocate(1, Leg::Home, "line-1");
    assert!(matches!(answer, Err(CommandError::Elsewhere { detour: Detour::Owner(_), .. })), "{answer:?}");
}

#[test]
fn after_the_heal_all_answer_the_newer_and_the_older_ends_when_it_is_released_by_name() {
    let (mut hosts, older) = cut_off(leased(pool()));
    let newer = given(hosts.allocate(1, Leg::Home, "line-1"));
    heal(&mut hosts);
    let open = [(older.span.start(), newer.span.start())];
    for host in 0..3 {
        assert_eq!(pairs(&hosts.beds[host]), open, "host {host}");
        // It is read from the log, not kept beside it.
        hosts.beds[host].restart(1_000);
        assert_eq!(pairs(&hosts.beds[host]), open, "host {host} after a restart");
    }
    heal_tenures(&mut hosts);
    let refused = renew(&mut hosts, 0, &older);
    assert!(matches!(&refused, Err(CommandError::Superseded { by, .. }) if by.0.span == newer.span), "{refused:?}");
    assert!(matches!(renew(&mut hosts, 1, &newer), Ok(Reply::Renewed { .. })));
    let confirmed = Command::Release(named(&hosts, &older));
    assert!(matches!(hosts.beds[0].ask(confirmed), Ok(Reply::Released(held)) if held.span == older.span));
    heal(&mut hosts);
    for host in 0..3 {
        assert!(pairs(&hosts.beds[host]).is_empty(), "host {host}");
        assert_eq!(hosts.beds[host].kernel.allocations(), 1, "host {host}");
    }
    assert_eq!(given(hosts.allocate(1, Leg::Entry, "line-1")).span, newer.span);
}

/// A kernel that was made again owns nothing until it is told.
fn heal_tenures(hosts: &mut Hosts) {
    for host in 0..3 {
        hosts.grant(host, kernel::Epoch(1), |shard| usize::try_from(shard.0).expect("few") % 3);
    }
    heal(hosts);
}

#[test]
fn the_older_ends_with_its_lease() {
    let (mut hosts, older) = cut_off(leased(pool()));
    let newer = given(hosts.allocate(1, Leg::Home, "line-1"));
    heal(&mut hosts);
    for _ in 0..2 {
        for bed in &mut hosts.beds {
            bed.pass(6_000);
        }
        assert!(renew(&mut hosts, 1, &newer).is_ok());
        hosts.beds[0].alarms();
    }
    let ended = hosts.beds[0].log.iter().any(
        |op| matches!(&op.fact, Fact::Resting(rest) if rest.span == older.span && rest.cause == EndCause::Expired),
    );
    assert!(ended, "its owner has written so");
    heal(&mut hosts);
    for host in 0..3 {
        assert!(pairs(&hosts.beds[host]).is_empty(), "host {host}");
    }
    assert_eq!(given(hosts.allocate(1, Leg::Entry, "line-1")).span, newer.span);
}

#[test]
fn without_leases_the_older_stays_until_somebody_says_that_it_may_go() {
    let (mut hosts, older) = cut_off(pool());
    let newer = given(hosts.allocate(1, Leg::Home, "line-1"));
    heal(&mut hosts);
    for bed in &mut hosts.beds {
        bed.pass(86_400_000);
        bed.alarms();
    }
    assert_eq!(pairs(&hosts.beds[2]), [(older.span.start(), newer.span.start())]);
    // A release without a name means the one that stands.
    let release = AllocationTarget { span: None, ..named(&hosts, &newer) };
    assert!(
        matches!(hosts.beds[1].ask(Command::Release(release)), Ok(Reply::Released(held)) if held.span == newer.span)
    );
    heal(&mut hosts);
    // Then the older is his only one, and no conflict any more.
    assert!(pairs(&hosts.beds[2]).is_empty());
    assert_eq!(given(hosts.allocate(0, Leg::Entry, "line-1")).span, older.span);
}

#[test]
fn two_homes_that_knew_nothing_of_each_other_agree_afterwards_whatever_they_hear_first() {
    let mut hosts = Hosts::sharing(pool(), 3, 3);
    let first = given(hosts.allocate(0, Leg::Home, "line-1"));
    hosts.beds[1].pass(5);
    let last = given(hosts.allocate(1, Leg::Home, "line-1"));
    assert!(last.supersedes().is_none());
    // One host hears the first one first, another the last one.
    hosts.share(0, 1);
    hosts.share(1, 0);
    hosts.share(1, 2);
    hosts.share(0, 2);
    for host in 0..3 {
        assert_eq!(pairs(&hosts.beds[host]), [(first.span.start(), last.span.start())], "host {host}");
        let answer = hosts.allocate(host, Leg::Entry, "line-1");
        match answer {
            Ok(_) => assert_eq!(given(answer).span, last.span),
            Err(CommandError::Elsewhere { detour: Detour::Owner(owner), .. }) => assert_eq!(owner, member(1)),
            other => panic!("host {host}: {other:?}"),
        }
    }
}

#[test]
fn what_would_come_is_explained() {
    let (mut hosts, older) = cut_off(pool());
    let asked = Box::new(request(&hosts.pool, "line-1"));
    let explain = |hosts: &mut Hosts, host: usize| match hosts.beds[host].ask(Command::Explain(asked.clone())) {
        Ok(Reply::Explained(explanation)) => explanation.outcome,
        other => panic!("not explained: {other:?}"),
    };
    assert!(matches!(explain(&mut hosts, 0), kernel::ExplainedOutcome::AlreadyHeld { span } if span == older.span));
    assert!(matches!(explain(&mut hosts, 1), kernel::ExplainedOutcome::WouldGet { span, .. } if span != older.span));
}
