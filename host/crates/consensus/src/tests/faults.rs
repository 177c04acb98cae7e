use std::sync::Arc;
use std::time::Duration;

use super::net::{Member, Net, agree, leader_among, settings, voters};
use crate::Settings;

/// Proposals through delays, lost answers, cuts and restarts: each is committed, and none is applied twice, since the
/// machine knows them.
#[tokio::test]
async fn five_members_agree_through_cuts_delays_and_lost_answers() {
    let net = Arc::new(Net::default());
    let short = Settings { snapshot_after: 25, ..settings() };
    let mut members = voters(&net, 5, short).await;
    net.trouble(Duration::from_millis(5), 40);
    let mut settled = Vec::new();
    for round in 0..6 {
        let leader = leader_among(&members).await;
        let away = [members[leader].number(), members[(leader + round) % 5].number()];
        let rest: Vec<u64> = (1..=5).filter(|member| !away.contains(member)).collect();
        net.cut(&away, &rest);
        for n in 0..8 {
            let entry = format!("round {round} entry {n}");
            let proposer = members.iter().find(|member| member.number() == rest[n % rest.len()]);
            proposer.expect("one of the rest").settle(&entry).await;
            settled.push(entry);
        }
        net.heal();
        let restarted = members.remove(round % 5);
        members.push(restarted.restart().await);
        net.trouble(Duration::from_millis(5), 40);
    }
    net.heal();
    members[0].settle("the end").await;
    settled.push("the end".to_owned());
    assert_eq!(agree(&members).await, settled);
}

#[tokio::test]
async fn many_proposals_at_once_are_all_applied() {
    let net = Arc::new(Net::default());
    let members = voters(&net, 3, settings()).await;
    let proposals = (0..90).map(|n| {
        let member = members[n % 3].consensus.clone();
        tokio::spawn(async move { member.propose(format!("{n}").into_bytes(), super::net::DEADLINE).await })
    });
    let proposals: Vec<_> = proposals.collect();
    let mut indexes = std::collections::BTreeSet::new();
    for proposal in proposals {
        let outcome = proposal.await.expect("no panic").expect("committed");
        assert!(indexes.insert(outcome.index), "an index is one entry's");
    }
    assert_eq!(agree(&members).await.len(), 90);
    let killed: Vec<Member> = members;
    for member in killed {
        member.kill().await;
    }
}
