use std::collections::BTreeSet;
use std::sync::Arc;

use super::net::{Member, Net, address, agree, peer, settings, voters};
use crate::{Peer, ProposeError};

fn refused(result: &Result<u64, ProposeError>) -> bool {
    matches!(result, Err(ProposeError::Refused { .. }))
}

#[tokio::test]
async fn members_are_promoted_demoted_and_removed_from_anywhere() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    // Asked of one that does not lead, maybe: it forwards.
    members[1].consensus.demote(BTreeSet::from([3])).await.expect("demoted");
    members[0].until("two vote", |state| state.voters.len() == 2 && state.learners == [peer(3)]).await;
    members[2].until("knows it", |state| state.learners == [peer(3)]).await;
    members[2].consensus.promote(BTreeSet::from([3])).await.expect("promoted");
    members[2].until("three vote", |state| state.voters.len() == 3 && state.learners.is_empty()).await;

    members[1].consensus.remove(3).await.expect("removed");
    members[0].until("two are left", |state| state.voters == [peer(1), peer(2)] && state.learners.is_empty()).await;
    members.pop().expect("the third").kill().await;
    members[0].settle("two are enough of two").await;
    assert_eq!(agree(&members).await, ["two are enough of two"]);
}

#[tokio::test]
async fn a_leader_may_demote_itself() {
    let net = Arc::new(Net::default());
    let members = voters(&net, 3, settings()).await;
    let leader = super::net::leader_among(&members).await;
    let number = members[leader].number();
    members[leader].consensus.demote(BTreeSet::from([number])).await.expect("demoted");
    let other = &members[(leader + 1) % 3];
    other.until("it is a learner", |state| state.learners == [peer(number)]).await;
    other.settle("from a voter").await;
    members[leader].settle("from the old one").await;
    assert_eq!(agree(&members).await, ["from a voter", "from the old one"]);
}

#[tokio::test]
async fn a_leader_may_remove_itself() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    let leader = super::net::leader_among(&members).await;
    let removed = members.remove(leader);
    let number = removed.number();
    removed.consensus.remove(number).await.expect("removed");
    members[0].until("another leads", |state| state.leader.is_some_and(|now| now != number)).await;
    members[1].settle("under another").await;
    assert_eq!(agree(&members).await, ["under another"]);
    removed.kill().await;
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused() {
    let net = Arc::new(Net::default());
    let members = voters(&net, 1, settings()).await;
    let one = &members[0].consensus;
    assert!(refused(&one.promote(BTreeSet::from([9])).await), "no such member");
    assert!(refused(&one.demote(BTreeSet::from([1])).await), "no voter would be left");
    assert!(refused(&one.demote(BTreeSet::from([9])).await), "no voter");
    assert!(refused(&one.remove(1).await), "no voter would be left");
    assert!(refused(&one.remove(9).await), "no such member");
    one.add_learner(peer(2)).await.expect("joins");
    one.add_learner(peer(2)).await.expect("nothing new");
    let elsewhere = Peer { member: 2, address: "elsewhere".to_owned() };
    assert!(refused(&one.add_learner(elsewhere).await), "the number is taken");
    one.remove(2).await.expect("removed");
    members[0].until("alone", |state| state.learners.is_empty()).await;
}

#[tokio::test]
async fn a_wiped_member_comes_back_under_a_new_number() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    members[0].settle("before").await;
    drop(members.pop().expect("the third").kill().await);

    // The same host, at the same address, with an empty directory.
    let dir = tempfile::tempdir().expect("a directory");
    let back = Member::start_at(&net, 4, &address(3), dir, settings()).await;
    members[0].settle("messages to the old number reach it").await;
    let state = back.consensus.state();
    assert_eq!((state.last_log, state.term), (None, 0), "it neither took entries nor voted as the old member");

    members[0].consensus.add_learner(Peer { member: 4, address: address(3) }).await.expect("joins");
    members[1].consensus.remove(3).await.expect("removed");
    members[0].consensus.promote(BTreeSet::from([4])).await.expect("promoted");
    members.push(back);
    members[2].until("votes", |state| state.voters.iter().map(|peer| peer.member).eq([1, 2, 4])).await;
    members[2].settle("after").await;
    assert_eq!(agree(&members).await, ["before", "messages to the old number reach it", "after"]);
}
