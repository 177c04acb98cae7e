use std::sync::Arc;
use std::time::Duration;

use super::net::{DEADLINE, Member, Net, agree, leader_among, peer, settings, voters};
use crate::{ProposeError, Settings};

#[tokio::test]
async fn every_member_can_propose_and_read() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    members.push(Member::start(&net, 4, settings()).await);
    members[0].consensus.add_learner(peer(4)).await.expect("joins");
    members[3].until("a leader", |state| state.leader.is_some()).await;
    for member in &members {
        let entry = format!("from {}", member.number());
        let outcome = member.must(&entry).await;
        assert!(member.machine.entries().contains(&entry), "it is applied where it was proposed");
        assert_eq!(outcome.bytes, format!("{}", member.number() - 1).into_bytes(), "the outcome came along");
    }
    for member in &members {
        let index = member.consensus.read_barrier(DEADLINE).await.expect("a majority is there");
        assert!(member.consensus.state().applied >= Some(index));
        assert_eq!(member.machine.entries().len(), 4);
    }
    agree(&members).await;
}

#[tokio::test]
async fn the_others_go_on_without_their_leader_and_it_catches_up() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    members[1].must("before").await;
    let leader = leader_among(&members).await;
    let dead = members.remove(leader);
    let (number, dir) = (dead.number(), dead.kill().await);
    members[0].settle("while it is dead").await;
    members[1].settle("and more").await;

    let back = Member::start_at(&net, number, &super::net::address(number), dir, settings()).await;
    assert_eq!(back.machine.entries()[0], "before", "what it knew to be committed is there at once");
    members.push(back);
    members[2].settle("after").await;
    assert_eq!(agree(&members).await, ["before", "while it is dead", "and more", "after"]);
}

#[tokio::test]
async fn a_minority_commits_nothing_and_says_so() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    let leader = leader_among(&members).await;
    let cut_off = members.remove(leader);
    let others: Vec<u64> = members.iter().map(Member::number).collect();
    net.cut(&[cut_off.number()], &others);

    // It does not know yet that it is alone.
    let lost = cut_off.consensus.propose(b"lost".to_vec(), Duration::from_millis(300)).await.expect_err("alone");
    assert!(matches!(lost, ProposeError::TimedOut) && lost.outcome_unknown(), "{lost:?}");
    // Now it does, and takes nothing.
    cut_off.until("no leader", |state| state.leader.is_none()).await;
    let refused = cut_off.consensus.propose(b"refused".to_vec(), Duration::from_millis(300)).await.expect_err("alone");
    assert!(matches!(refused, ProposeError::NoMajority { .. }) && !refused.outcome_unknown(), "{refused:?}");
    let read = cut_off.consensus.read_barrier(Duration::from_millis(300)).await.expect_err("alone");
    assert!(matches!(read, ProposeError::NoMajority { .. }), "{read:?}");
    let before = cut_off.machine.entries();

    members[0].settle("meanwhile").await;
    assert_eq!(cut_off.machine.entries(), before);
    net.heal();
    members.push(cut_off);
    members[2].settle("healed").await;
    assert_eq!(agree(&members).await, ["meanwhile", "healed"]);
}

#[tokio::test]
async fn a_follower_that_is_cut_off_knows_no_leader_or_gets_no_answer() {
    let net = Arc::new(Net::default());
    let mut members = voters(&net, 3, settings()).await;
    let leader = leader_among(&members).await;
    let cut_off = members.remove((leader + 1) % 3);
    let others: Vec<u64> = members.iter().map(Member::number).collect();
    net.cut(&[cut_off.number()], &others);
    let lost = cut_off.consensus.propose(b"lost".to_vec(), Duration::from_millis(300)).await.expect_err("alone");
    assert!(matches!(lost, ProposeError::LeaderLost { .. } | ProposeError::NoLeader), "{lost:?}");
    cut_off.until("stands for election", |state| state.leader.is_none()).await;
    let refused = cut_off.consensus.propose(b"refused".to_vec(), Duration::from_millis(300)).await.expect_err("alone");
    assert!(refused == ProposeError::NoLeader && !refused.outcome_unknown(), "{refused:?}");
    net.heal();
    members.push(cut_off);
    members[2].settle("healed").await;
    assert_eq!(agree(&members).await, ["healed"]);
}

#[tokio::test]
async fn all_restart_to_the_same_state_and_one_alone_applies_what_it_knew() {
    let net = Arc::new(Net::default());
    let members = voters(&net, 3, settings()).await;
    for n in 0..20 {
        members[n % 3].settle(&format!("entry {n}")).await;
    }
    let entries = agree(&members).await;
    let mut dirs = Vec::new();
    for member in members {
        dirs.push((member.number(), member.kill().await));
    }
    let mut back = Vec::new();
    for (number, dir) in dirs {
        let member = Member::start_at(&net, number, &super::net::address(number), dir, settings()).await;
        assert_eq!(member.machine.entries(), entries, "member {number}, before it could hear of the others");
        back.push(member);
    }
    back[0].settle("one more").await;
    assert_eq!(agree(&back).await.len(), 21);
}

#[tokio::test]
async fn a_new_learner_gets_the_snapshot_when_the_log_is_gone() {
    let net = Arc::new(Net::default());
    // Small parts, so that the snapshot takes several.
    let short = Settings { snapshot_after: 10, chunk_bytes: 1024, ..settings() };
    let mut members = voters(&net, 3, short.clone()).await;
    for n in 0..60 {
        members[0].settle(&format!("entry {n} {}", "x".repeat(100))).await;
    }
    for member in &members {
        member.purged(5).await;
    }
    let late = Member::start(&net, 4, short).await;
    members[0].consensus.add_learner(peer(4)).await.expect("joins");
    late.until("is a learner", |state| state.learners == [peer(4)]).await;
    assert_eq!(late.machine.restored(), 1, "the first entries exist only in the snapshot");
    members.push(late);
    members[3].settle("from the learner").await;
    assert_eq!(agree(&members).await.len(), 61);

    let last = members.pop().expect("the learner");
    let last = last.restart().await;
    assert_eq!(last.machine.entries().len(), 61, "a snapshot that was received is kept");
}
