//! The cluster, seen and changed.

use super::*;

#[tokio::test]
async fn status_members_and_hashring_are_shown() {
    let (_served, client) = with_pool().await;
    let status = answered(client.cluster().status(v1::StatusRequest {}).await).unwrap().status.unwrap();
    assert_eq!((status.standing(), status.member), (v1::ClusterStanding::Member, 1));
    assert_eq!(status.ledger.map(|ledger| (ledger.leader, ledger.applied, ledger.majority)), Some((1, 119, true)));
    assert_eq!(status.vector[0].through, 4_711);
    assert_eq!(status.warnings, ["core-2 cannot be reached"]);
    let members = answered(client.cluster().list_members(v1::ListMembersRequest {}).await).unwrap().members;
    assert_eq!(members, status.members);
    assert_eq!((members[1].vote(), members[1].behind), (v1::ClusterVote::Learner, None));
    let ring = async |pool: &str, omit_points| {
        let request = v1::GetHashringRequest { pool_id: pool.to_owned(), omit_points };
        answered(client.cluster().get_hashring(request).await)
    };
    let whole = ring("", false).await.unwrap();
    assert_eq!((whole.virtual_nodes, whole.points.len()), (2, 4));
    assert_eq!((whole.pools[0].pool_id.as_str(), whole.pools[0].shards[0].owner), ("p1", 1));
    assert!(ring("p1", true).await.unwrap().points.is_empty());
    assert_eq!(blame(ring("p2", true).await).0, Code::NotFound);
}

#[tokio::test]
async fn changes_answer_with_the_status_after_them() {
    let (_served, client) = with_pool().await;
    let promote = v1::PromoteRequest { member: "core-2".to_owned() };
    let after = answered(client.cluster().promote(promote).await).unwrap().status.unwrap();
    assert_eq!(after.members[1].vote(), v1::ClusterVote::Voter);
    let demote = v1::DemoteRequest { member: "2".to_owned() };
    let after = answered(client.cluster().demote(demote).await).unwrap().status.unwrap();
    assert_eq!(after.members[1].vote(), v1::ClusterVote::Learner);
    for (undo, draining) in [(false, true), (true, false)] {
        let drain = v1::DrainRequest { member: "core-2".to_owned(), undo };
        let after = answered(client.cluster().drain(drain).await).unwrap().status.unwrap();
        assert_eq!(after.members[1].draining, draining);
    }
    let moving =
        v1::MoveShardsRequest { pool_id: "p1".to_owned(), shards: vec![0], to: "2".to_owned(), ..Default::default() };
    assert_eq!(answered(client.cluster().move_shards(moving).await).unwrap().count, 1);
    let joined = answered(client.cluster().join(v1::JoinRequest::default()).await).unwrap().status.unwrap();
    assert_eq!(joined.node_id, "core-1");
    let remove = v1::RemoveRequest { member: "core-2".to_owned(), reason: "burnt".to_owned() };
    let after = answered(client.cluster().remove(remove).await).unwrap().status.unwrap();
    let [removal] = after.orders.as_slice() else { panic!("{after:?}") };
    assert_eq!((after.members.len(), removal.reason.as_str()), (1, "burnt"));
}

#[tokio::test]
async fn refusals_carry_the_reasons_of_rest() {
    let (served, client) = with_pool().await;
    let init = answered(client.cluster().init(v1::InitRequest {}).await).unwrap_err();
    assert_eq!(
        (init.code, init.reason.as_str(), init.retryable()),
        (Code::FailedPrecondition, "CLUSTER_REFUSED", false)
    );
    let join = v1::JoinRequest { address: "core-9:33123".to_owned() };
    let join = answered(client.cluster().join(join).await).unwrap_err();
    assert_eq!((join.code, join.reason.as_str(), join.retryable()), (Code::Unavailable, "CLUSTER_UNAVAILABLE", true));
    let leave = answered(client.cluster().leave(v1::LeaveRequest {}).await).unwrap_err();
    assert_eq!((leave.reason.as_str(), leave.retryable()), ("OUTCOME_UNKNOWN", true));
    let nobody = answered(client.cluster().promote(v1::PromoteRequest::default()).await);
    assert_eq!(blame(nobody), (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "member".to_owned()));
    let seize =
        v1::SeizeShardsRequest { pool_id: "p1".to_owned(), shards: vec![0], to: "2".to_owned(), ..Default::default() };
    let unreasoned = answered(client.cluster().seize_shards(seize.clone()).await);
    assert_eq!(blame(unreasoned).2, "reason");
    let absent = v1::SeizeShardsRequest { reason: "lost".to_owned(), shards: vec![4_000_000_000], ..seize };
    assert_eq!(blame(answered(client.cluster().seize_shards(absent).await)).2, "shards");
    assert!(served.daemon.pair.orders().is_empty());
}
