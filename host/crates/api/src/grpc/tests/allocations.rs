//! Allocate, look up, list, renew, release.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn the_published_fields_say_what_was_allocated() {
    let (_served, client) = with_pool().await;
    let first = answered(client.allocations().allocate(request("p1", "line-7")).await).unwrap();
    assert_eq!((first.prefix_length, first.created), (32, true));
    let allocation = first.allocation.unwrap();
    assert_eq!(allocation.resource, first.ip);
    assert_eq!(allocation.expires_at.unwrap().seconds, first.expires_at);
    assert_eq!(allocation.ttl.unwrap().seconds, 3_600);
    assert_eq!((allocation.realm.as_str(), allocation.r#type.as_str()), ("default", "ipv4"));
    assert!(allocation.attributes.iter().any(|one| one.key == "gateway"));
    assert_eq!(allocation.fence.unwrap().epoch, 1);
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_through_either_service() {
    let (_served, client) = with_pool().await;
    let first = answered(client.allocations().allocate(request("p1", "line-7")).await).unwrap();
    let lean = v1::AllocateRequest { omit_attributes: true, ..request("p1", "line-7") };
    let again = allocate(&client, lean).await.unwrap();
    assert_eq!((again.ip, again.created), (first.ip, false));
    assert!(again.allocation.unwrap().attributes.is_empty());
}

#[tokio::test]
async fn whoever_decides_is_told_how_long_the_caller_waits() {
    let (served, client) = with_pool().await;
    let told = || served.daemon.relay.untils.lock().pop().unwrap();
    allocate(&client, request("p1", "line-7")).await.unwrap();
    assert_eq!(told(), None);
    let (wait, before) = (Duration::from_secs(9), Instant::now());
    let mut hurried = tonic::Request::new(request("p1", "line-8"));
    hurried.set_timeout(wait);
    answered(client.nexus().allocate(hurried).await).unwrap();
    let until = told().unwrap();
    assert!(before + wait <= until && until <= Instant::now() + wait);
}

#[tokio::test]
async fn duid_and_iaid_tell_one_households_allocations_apart() {
    let (_served, client) = with_pool().await;
    let of = |iaid| v1::AllocateRequest { duid: "00:01:ab".to_owned(), iaid: Some(iaid), ..request("p1", "home") };
    let one = allocate(&client, of(1)).await.unwrap();
    let two = allocate(&client, of(2)).await.unwrap();
    assert_ne!(one.ip, two.ip);
    assert_eq!(allocate(&client, of(1)).await.unwrap().ip, one.ip);
    let second = v1::LookupRequest {
        subscriber_id: "home".to_owned(),
        duid: "00:01:ab".to_owned(),
        iaid: Some(2),
        ..Default::default()
    };
    assert_eq!(answered(client.nexus().get_allocation(second).await).unwrap().ip, two.ip);
    let both = v1::AllocateRequest { key: "k".to_owned(), ..of(1) };
    let expected = (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "key".to_owned());
    assert_eq!(blame(allocate(&client, both).await), expected);
}

#[tokio::test]
async fn a_permanent_allocation_has_no_lease_and_other_kinds_ask_for_nothing() {
    let (_served, client) = with_pool().await;
    let of = |subscriber: &str, kind: i32| v1::AllocateRequest { alloc_type: kind, ..request("p1", subscriber) };
    for (subscriber, asked, expires) in [
        ("a", v1::AllocationType::Unspecified, true),
        ("b", v1::AllocationType::Session, true),
        ("c", v1::AllocationType::Sticky, true),
        ("d", v1::AllocationType::Permanent, false),
    ] {
        let made = allocate(&client, of(subscriber, asked.into())).await.unwrap();
        assert_eq!(made.expires_at > 0, expires, "{asked:?}");
        let permanent = made.allocation.unwrap().alloc_type() == v1::AllocationType::Permanent;
        assert_eq!(permanent, !expires, "{asked:?}");
    }
    let refused = allocate(&client, of("e", 9)).await.unwrap_err();
    assert!(
        refused
            .violations
            .iter()
            .any(|one| ["session", "sticky", "permanent"].iter().all(|word| one.remedy.contains(word)))
    );
    let expected = (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "alloc_type".to_owned());
    assert_eq!(blame::<v1::AllocateResponse>(Err(refused)), expected);
}

#[tokio::test]
async fn swapped_ids_are_told_so_and_an_unknown_pool_is_not_found() {
    let (_served, client) = with_pool().await;
    let swapped = allocate(&client, request("line-7", "p1")).await.unwrap_err();
    assert_eq!((swapped.code, swapped.reason.as_str()), (Code::InvalidArgument, "IDS_SWAPPED"));
    assert!(swapped.message.contains("swapped"), "{}", swapped.message);
    let unknown = blame(allocate(&client, request("p2", "line-7")).await);
    assert_eq!(unknown, (Code::NotFound, "POOL_UNKNOWN".to_owned(), "pool_id".to_owned()));
}

#[tokio::test]
async fn both_look_ups_answer_as_allocate_did() {
    let (_served, client) = with_pool().await;
    let given = allocate(&client, request("p1", "line-7")).await.unwrap();
    let subscriber = v1::LookupRequest { subscriber_id: "line-7".to_owned(), ..Default::default() };
    let by_subscriber = answered(client.allocations().lookup_by_subscriber(subscriber).await).unwrap();
    let address = v1::LookupByIpRequest { ip: given.ip.clone(), ..Default::default() };
    let by_ip = answered(client.allocations().lookup_by_ip(address).await).unwrap();
    for found in [by_subscriber, by_ip] {
        assert_eq!((&found.ip, found.prefix_length, found.expires_at), (&given.ip, 32, given.expires_at));
    }
    let nobody = v1::LookupByIpRequest { ip: "10.0.0.200".to_owned(), ..Default::default() };
    assert_eq!(blame(answered(client.allocations().lookup_by_ip(nobody).await)).0, Code::NotFound);
    let no_address = v1::LookupByIpRequest { ip: "line-7".to_owned(), ..Default::default() };
    assert_eq!(blame(answered(client.allocations().lookup_by_ip(no_address).await)).2, "ip");
    let nobody = v1::LookupRequest { subscriber_id: "line-8".to_owned(), ..Default::default() };
    assert_eq!(blame(answered(client.allocations().lookup_by_subscriber(nobody).await)).0, Code::NotFound);
}

#[tokio::test]
async fn who_holds_a_resource_is_found_by_its_text() {
    let (_served, client) = with_pool().await;
    let asked = v1::AllocateRequest { resource: "10.0.0.77".to_owned(), ..request("p1", "line-7") };
    assert_eq!(allocate(&client, asked).await.unwrap().ip, "10.0.0.77");
    let who = v1::LookupByResourceRequest { resource: "10.0.0.77".to_owned(), ..Default::default() };
    let found = answered(client.nexus().lookup_by_resource(who).await).unwrap();
    assert_eq!(found.holders.iter().map(|one| one.subscriber_id.as_str()).collect::<Vec<_>>(), ["line-7"]);
    let taken = v1::AllocateRequest { resource: "10.0.0.77".to_owned(), ..request("p1", "line-8") };
    let expected = (Code::AlreadyExists, "RESOURCE_HELD".to_owned(), "resource".to_owned());
    assert_eq!(blame(allocate(&client, taken).await), expected);
}

#[tokio::test]
async fn a_text_that_is_no_resource_has_no_holders_to_list() {
    let (_served, client) = with_pool().await;
    let expected = (Code::InvalidArgument, "RESOURCE_INVALID".to_owned(), "resource".to_owned());
    let resource = "garbage".to_owned();
    let list = v1::ListAllocationsRequest { resource: resource.clone(), ..Default::default() };
    assert_eq!(blame(answered(client.allocations().list(list).await)), expected);
    let who = v1::LookupByResourceRequest { resource, ..Default::default() };
    assert_eq!(blame(answered(client.nexus().lookup_by_resource(who).await)), expected);
    let free = v1::ListAllocationsRequest { resource: "10.0.0.77".to_owned(), ..Default::default() };
    assert!(answered(client.allocations().list(free).await).unwrap().allocations.is_empty());
}

#[tokio::test]
async fn lists_are_paged_and_complete() {
    let (_served, client) = with_pool().await;
    for line in 0..25 {
        allocate(&client, request("p1", &format!("line-{line}"))).await.unwrap();
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    loop {
        let page = v1::ListAllocationsRequest { cursor, limit: 10, ..Default::default() };
        let page = answered(client.allocations().list(page).await).unwrap();
        assert_eq!(page.total, 25);
        seen.extend(page.allocations.into_iter().map(|one| one.resource));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25);
    let wrong = v1::ListAllocationsRequest { cursor: "zz".to_owned(), ..Default::default() };
    assert_eq!(blame(answered(client.allocations().list(wrong).await)).1, "CURSOR_INVALID");
}

#[tokio::test]
async fn a_batch_answers_each_request_in_its_place() {
    let (_served, client) = with_pool().await;
    let requests = vec![request("p1", "a"), request("nowhere", "b"), request("p1", ""), request("p1", "c")];
    let results = answered(client.allocations().batch(v1::BatchRequest { requests }).await).unwrap().results;
    let shown: Vec<_> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            v1::batch_result::Outcome::Allocated(given) => given.allocation.unwrap().subscriber_id,
            v1::batch_result::Outcome::Error(error) => error.reason,
        })
        .collect();
    assert_eq!(shown, ["a", "POOL_UNKNOWN", "INVALID_FIELD", "c"]);
}

#[tokio::test]
async fn leases_are_renewed_listed_as_expiring_and_end() {
    let (served, client) = with_pool().await;
    let given = allocate(&client, request("p1", "line-7")).await.unwrap();
    let soon = |seconds| v1::ExpiringRequest {
        within: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    assert_eq!(answered(client.allocations().expiring(soon(60)).await).unwrap().total, 0);
    assert_eq!(answered(client.allocations().expiring(soon(7_200)).await).unwrap().allocations.len(), 1);
    served.daemon.advance(1_800_000);
    let renew = v1::RenewRequest { subscriber_id: "line-7".to_owned(), ..Default::default() };
    let renewed = answered(client.nexus().renew(renew.clone()).await).unwrap().renewed;
    assert!(renewed[0].expires_at.unwrap().seconds > given.expires_at);
    let reached = [renewed[0].durability(), given.allocation.unwrap().durability()];
    assert_eq!(reached, [v1::Durability::Local; 2]);
    served.daemon.advance(3_601_000);
    assert_eq!(blame(answered(client.nexus().renew(renew).await)).0, Code::NotFound);
}

#[tokio::test]
async fn release_ends_what_is_shown_or_all() {
    let (_served, client) = with_pool().await;
    let keyed = |key: &str| v1::AllocateRequest { key: key.to_owned(), ..request("p1", "home") };
    for key in ["", "one", "two"] {
        allocate(&client, keyed(key)).await.unwrap();
    }
    let release = |all| v1::ReleaseRequest { subscriber_id: "home".to_owned(), all, ..Default::default() };
    assert_eq!(answered(client.nexus().deallocate(release(false)).await).unwrap().released.len(), 1);
    assert_eq!(answered(client.allocations().release(release(true)).await).unwrap().released.len(), 2);
    assert_eq!(blame(answered(client.nexus().deallocate(release(true)).await)).0, Code::NotFound);
}

#[tokio::test]
async fn a_release_that_says_when_it_was_made_ends_no_other_that_was_made_since() {
    let (_served, client) = with_pool().await;
    let first = allocate(&client, request("p1", "home")).await.unwrap().allocation.unwrap();
    let release = |created_at| {
        let request = v1::ReleaseRequest { subscriber_id: "home".to_owned(), created_at, ..Default::default() };
        let client = client.clone();
        async move { answered(client.allocations().release(request).await) }
    };
    let early = first.created_at.map(|at| prost_types::Timestamp { seconds: at.seconds - 1, ..at });
    assert_eq!(blame(release(early).await).0, Code::NotFound);
    assert_eq!(release(first.created_at).await.unwrap().released.len(), 1);
    assert_eq!(blame(release(first.created_at).await).0, Code::NotFound);
    let wrong = Some(prost_types::Timestamp { seconds: -1, nanos: 0 });
    assert_eq!(blame(release(wrong).await).0, Code::InvalidArgument);
}

#[tokio::test]
async fn explain_says_where_it_would_go_and_changes_nothing() {
    let (_served, client) = with_pool().await;
    let explain = v1::ExplainRequest { request: Some(request("p1", "line-7")) };
    let told = answered(client.allocations().explain(explain.clone()).await).unwrap();
    assert_eq!(told.outcome(), v1::ExplainOutcome::WouldGet);
    assert_eq!(allocate(&client, request("p1", "line-7")).await.unwrap().ip, told.resource);
    let told = answered(client.allocations().explain(explain).await).unwrap();
    assert_eq!(told.outcome(), v1::ExplainOutcome::AlreadyHeld);
    let taken = v1::AllocateRequest { resource: told.resource, ..request("p1", "line-8") };
    let explain = v1::ExplainRequest { request: Some(taken) };
    let told = answered(client.allocations().explain(explain).await).unwrap();
    assert_eq!((told.outcome(), told.error.unwrap().reason.as_str()), (v1::ExplainOutcome::WouldFail, "RESOURCE_HELD"));
}

#[tokio::test]
async fn a_full_pool_says_exhausted() {
    let (_served, client) = with_pool().await;
    create(&client, r#"{"id": "tiny", "type": "vlan", "range": "7-7"}"#).await.unwrap();
    assert_eq!(allocate(&client, request("tiny", "a")).await.unwrap().ip, "7");
    let full = allocate(&client, request("tiny", "b")).await.unwrap_err();
    assert_eq!((full.code, full.retryable()), (Code::ResourceExhausted, true));
}
