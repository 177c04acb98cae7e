//! Open conflicts over gRPC.

use super::*;

#[tokio::test]
async fn a_conflict_is_listed_and_closed_by_its_confirmation() {
    let (served, client) = with_pool().await;
    let older = allocate(&client, request("p1", "line-7")).await.unwrap();
    served.daemon.hear_of_another(&served.daemon.shown("line-7"), 0x0a00_0064, true).await;
    let again = allocate(&client, request("p1", "line-7")).await.unwrap();
    assert_eq!((again.ip.as_str(), again.created), ("10.0.0.100", false));
    let mark = again.allocation.unwrap().supersedes.unwrap();
    assert_eq!((mark.resource, mark.fence.unwrap().epoch), (older.ip.clone(), 1));
    let list = || async {
        let request = v1::ListConflictsRequest { pool_id: "p1".to_owned(), ..Default::default() };
        answered(client.conflicts().list_conflicts(request).await).unwrap()
    };
    let open = list().await;
    assert_eq!((open.total, open.conflicts.len()), (1, 1));
    let conflict = &open.conflicts[0];
    assert_eq!(conflict.kind(), v1::ConflictKind::Superseded);
    let superseded = conflict.superseded.as_ref().unwrap();
    assert_eq!((superseded.resource.as_str(), superseded.superseded_by.as_str()), (older.ip.as_str(), "10.0.0.100"));
    let confirm = |id: &str| {
        let request = v1::ConfirmConflictRequest { id: id.to_owned() };
        let client = &client;
        async move { answered(client.conflicts().confirm_conflict(request).await) }
    };
    assert_eq!(confirm(&conflict.id).await.unwrap().conflict.unwrap().id, conflict.id);
    assert_eq!(list().await.total, 0);
    let told = blame(confirm(&conflict.id).await);
    assert_eq!(told, (Code::NotFound, "CONFLICT_UNKNOWN".to_owned(), "id".to_owned()));
}

#[tokio::test]
async fn a_release_may_name_the_one_that_does_not_stand() {
    let (served, client) = with_pool().await;
    let older = allocate(&client, request("p1", "line-7")).await.unwrap();
    served.daemon.hear_of_another(&served.daemon.shown("line-7"), 0x0a00_0064, true).await;
    let release = |resource: &str| {
        let subscriber_id = "line-7".to_owned();
        let request = v1::ReleaseRequest { subscriber_id, resource: resource.to_owned(), ..Default::default() };
        let client = &client;
        async move { answered(client.allocations().release(request).await) }
    };
    let released = release(&older.ip).await.unwrap().released;
    assert_eq!(released.iter().map(|one| one.resource.as_str()).collect::<Vec<_>>(), [older.ip.as_str()]);
    assert_eq!(blame(release(&older.ip).await).0, Code::NotFound);
    let long = "1".repeat(256);
    assert_eq!(blame(release(&long).await).2, "resource");
    assert_eq!(release("").await.unwrap().released[0].resource, "10.0.0.100");
}
