//! What operators read of a cluster.

use nexus_proto::v1::{
    ClusterMember, ClusterStanding, ClusterStatus, ClusterVote, GetHashringResponse, Ledger, OriginProgress,
    PoolShards, RingPoint, ShardOwner,
};

use super::super::cluster::*;
use super::texts;

fn member(number: u32, vote: ClusterVote) -> ClusterMember {
    let mut member = ClusterMember {
        member: number,
        node_id: format!("core-{number}"),
        role: "core".to_owned(),
        weight: 1,
        addresses: vec![format!("192.0.2.{number}:33123")],
        reachable: true,
        shards: 4,
        escrow: 3,
        behind: Some(0),
        ..ClusterMember::default()
    };
    member.set_vote(vote);
    member
}

fn status() -> ClusterStatus {
    let mut status = ClusterStatus {
        cluster_id: "0af7".to_owned(),
        node_id: "core-1".to_owned(),
        member: 1,
        ledger: Some(Ledger { leader: 1, term: 3, committed: 9, applied: 8, majority: true }),
        members: vec![member(1, ClusterVote::Voter), member(2, ClusterVote::Learner)],
        vector: vec![OriginProgress { host: "5be8".to_owned(), incarnation: 1, through: 42 }],
        warnings: vec!["core-2 is slow".to_owned()],
        ..ClusterStatus::default()
    };
    status.set_standing(ClusterStanding::Member);
    status
}

#[test]
fn a_member_shows_the_worst_that_is_true_of_it() {
    let fine = member(2, ClusterVote::Learner);
    let expected = ["2", "core-2", "core", "learner", "reachable", "1", "4", "3", "0", "192.0.2.2:33123"];
    assert_eq!(texts(&member_row(&fine).cells), expected);
    let shown = |member: &ClusterMember| member_row(member).cells[4].text.clone();
    let draining = ClusterMember { draining: true, ..fine };
    assert_eq!(shown(&draining), "draining");
    assert_eq!(shown(&ClusterMember { shards: 0, ..draining.clone() }), "drained");
    let lost = ClusterMember { reachable: false, behind: None, ..draining };
    assert_eq!((shown(&lost).as_str(), member_row(&lost).cells[8].text.as_str()), ("unreachable", "?"));
    assert_eq!(shown(&ClusterMember { deposed: true, ..lost }), "deposed");
}

#[test]
fn a_status_says_what_the_ledger_says_in_words() {
    let line = |status: &ClusterStatus, name: &str| {
        cluster_lines(status).into_iter().find(|(known, _)| *known == name).map(|(_, cell)| cell.text)
    };
    let fine = status();
    assert_eq!(line(&fine, "node").as_deref(), Some("core-1 (member 1)"));
    assert_eq!(line(&fine, "ledger").as_deref(), Some("leader core-1, term 3, 9 decided, 8 followed"));
    assert_eq!(line(&fine, "known").as_deref(), Some("5be8.1 up to 42"));
    let mut lost = status();
    lost.ledger = Some(Ledger { leader: 0, majority: false, ..lost.ledger.unwrap() });
    let said = line(&lost, "ledger").unwrap();
    assert!(said.starts_with("no leader is known") && said.ends_with("no majority heard of lately"), "{said}");
    assert_eq!(line(&ClusterStatus::default(), "ledger"), None);
    let document = cluster_document(&fine).to_json();
    assert!(document.ends_with(r#""warnings":["core-2 is slow"]}"#), "{document}");
    assert_eq!(texts(&warning_lines(&fine).into_iter().map(|(_, cell)| cell).collect::<Vec<_>>()), ["core-2 is slow"]);
}

#[test]
fn the_ring_has_a_row_a_member_and_shards_name_their_owners() {
    let shard = |shard, owner, wished| ShardOwner {
        shard,
        epoch: 1,
        owner,
        wished,
        kind: "escrow".to_owned(),
        state: "held".to_owned(),
    };
    let pool = PoolShards {
        pool_id: "p".to_owned(),
        tenant: "default".to_owned(),
        pool: 1,
        shards: vec![shard(0, 1, 1), shard(1, 1, 2), shard(2, 9, 2)],
    };
    let points = [1, 2, 2].map(|member| RingPoint { at: 7, member }).to_vec();
    let ring = GetHashringResponse { virtual_nodes: 2, points, pools: vec![pool] };
    let names: Names = (1..=3).map(|number| (number, format!("core-{number}"))).collect();
    let rows = ring_rows(&ring, &names);
    let shown: Vec<Vec<&str>> = rows.iter().map(|row| texts(&row.cells)).collect();
    let expected = [
        ["1", "core-1", "1", "2", "1"],
        ["2", "core-2", "2", "0", "2"],
        ["3", "core-3", "0", "0", "0"],
        ["9", "", "0", "1", "0"],
    ];
    assert_eq!(shown, expected);
    let rows = shard_rows(&ring, &names, |_| true);
    assert_eq!(texts(&rows[1].cells), ["p", "1", "core-1", "core-2", "1", "escrow", "held"]);
    assert_eq!(texts(&rows[2].cells)[2], "9");
    let document = hashring_document(&ring).to_json();
    assert!(document.contains(r#""points":[{"at":"0000000000000007","member":1}"#), "{document}");
}
