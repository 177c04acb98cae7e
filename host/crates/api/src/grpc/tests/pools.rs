//! Pools, reservations, plugins.

use super::*;

fn definition(spec: &str) -> v1::PoolDefinition {
    v1::PoolDefinition { id: "p1".to_owned(), r#type: "ipv4".to_owned(), spec: spec.to_owned(), ..Default::default() }
}

const SPEC: &str = r#"{"cidr": "10.0.0.0/24"}"#;

async fn apply(
    client: &Client,
    definition: v1::PoolDefinition,
    dry_run: bool,
) -> Result<v1::ApplyPoolResponse, ClientError> {
    let pool = Some(v1::apply_pool_request::Pool::Definition(definition));
    answered(client.pools().apply_pool(v1::ApplyPoolRequest { pool, dry_run, beside: Vec::new() }).await)
}

#[tokio::test]
async fn a_pool_is_made_once_and_shown_as_it_is() {
    let served = Served::start().await;
    let client = served.client().await;
    let mut wanted = definition(SPEC);
    wanted.lease =
        Some(v1::LeaseTerms { default: Some(prost_types::Duration { seconds: 600, nanos: 0 }), min: None, max: None });
    wanted.metadata = r#"{"site":"east"}"#.to_owned();
    wanted.set_ack(v1::Durability::Peer);
    let create = |definition| {
        let pool = Some(v1::create_pool_request::Pool::Definition(definition));
        v1::CreatePoolRequest { pool, dry_run: false }
    };
    let made = answered(client.pools().create_pool(create(wanted.clone())).await).unwrap();
    assert!(made.created);
    assert!(!answered(client.pools().create_pool(create(wanted)).await).unwrap().created);
    let get = v1::GetPoolRequest { pool_id: "p1".to_owned() };
    let pool = answered(client.pools().get_pool(get).await).unwrap();
    assert_eq!((pool.cidr.as_str(), pool.prefix, pool.gateway.as_str()), ("10.0.0.0/24", 32, "10.0.0.1"));
    assert_eq!((pool.dns, pool.revision), (vec!["10.0.0.53".to_owned()], 1));
    let shown = pool.definition.unwrap();
    assert_eq!(shown.ack(), v1::Durability::Peer);
    assert_eq!(shown.lease.unwrap().default.unwrap().seconds, 600);
    assert_eq!(shown.metadata, r#"{"site":"east"}"#);
    let other = blame(answered(client.pools().create_pool(create(definition(SPEC))).await));
    assert_eq!((other.0, other.1.as_str()), (Code::AlreadyExists, "POOL_DIFFERS"));
}

#[tokio::test]
async fn a_key_that_stands_twice_is_named_and_a_type_stays() {
    let served = Served::start().await;
    let client = served.client().await;
    let doubled = definition(r#"{"cidr": "10.0.0.0/24", "cidr": "10.0.0.0/23"}"#);
    let expected = (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "spec.cidr".to_owned());
    assert_eq!(blame(apply(&client, doubled, false).await), expected);
    apply(&client, definition(SPEC), false).await.unwrap();
    let update = |document: &str| {
        let pool = Some(v1::update_pool_request::Pool::Document(document.to_owned()));
        v1::UpdatePoolRequest { pool_id: "p1".to_owned(), pool, ..Default::default() }
    };
    let doubled = update(r#"{"id": "p1", "id": "p1", "cidr": "10.0.0.0/24"}"#);
    assert_eq!(blame(answered(client.pools().update_pool(doubled).await)).2, "id");
    let retyped = update(r#"{"type": "vlan", "spec": {"cidr": "10.0.0.0/24"}}"#);
    let (_, reason, field) = blame(answered(client.pools().update_pool(retyped).await));
    assert_eq!((reason.as_str(), field.as_str()), ("POOL_FIELD_FIXED", "type"));
}

#[tokio::test]
async fn apply_creates_keeps_or_changes_and_a_dry_run_only_says_so() {
    let served = Served::start().await;
    let client = served.client().await;
    let outcome = |answer: Result<v1::ApplyPoolResponse, ClientError>| answer.unwrap().outcome();
    let would = apply(&client, definition(SPEC), true).await.unwrap();
    assert_eq!((would.outcome(), would.added.unwrap().count), (v1::ApplyOutcome::Created, 256));
    let dry = Some(v1::create_pool_request::Pool::Definition(definition(SPEC)));
    let dry = v1::CreatePoolRequest { pool: dry, dry_run: true };
    assert!(answered(client.pools().create_pool(dry).await).unwrap().created);
    let get = v1::GetPoolRequest { pool_id: "p1".to_owned() };
    assert_eq!(blame(answered(client.pools().get_pool(get).await)).0, Code::NotFound);
    assert_eq!(outcome(apply(&client, definition(SPEC), false).await), v1::ApplyOutcome::Created);
    for dry_run in [true, false] {
        assert_eq!(outcome(apply(&client, definition(SPEC), dry_run).await), v1::ApplyOutcome::Unchanged);
    }
    let over = v1::PoolDefinition { id: "p2".to_owned(), ..definition(r#"{"cidr": "10.0.0.128/25"}"#) };
    for dry_run in [true, false] {
        let refused = apply(&client, over.clone(), dry_run).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "POOL_OVERLAPS"));
        assert!(refused.message.contains("p2") && refused.message.contains("p1"), "{}", refused.message);
    }
    let larger = definition(r#"{"cidr": "10.0.0.0/23"}"#);
    let would = apply(&client, larger.clone(), true).await.unwrap();
    assert_eq!((would.outcome(), would.added.unwrap().count), (v1::ApplyOutcome::Updated, 256));
    assert_eq!(outcome(apply(&client, larger, false).await), v1::ApplyOutcome::Updated);
}

#[tokio::test]
async fn a_dry_run_sees_the_pools_that_the_same_run_makes_before() {
    let (_served, client) = with_pool().await;
    let dry = async |document: &str, beside: &[&str]| {
        let pool = Some(v1::apply_pool_request::Pool::Document(document.to_owned()));
        let beside = beside.iter().map(ToString::to_string).collect();
        answered(client.pools().apply_pool(v1::ApplyPoolRequest { pool, dry_run: true, beside }).await)
    };
    let new = r#"{"id": "p2", "cidr": "10.0.1.0/24"}"#;
    let over = r#"{"id": "p3", "cidr": "10.0.1.128/25"}"#;
    let elsewhere = r#"{"id": "p3", "cidr": "10.0.1.128/25", "realm": "core"}"#;
    let larger = r#"{"id": "p1", "cidr": "10.0.0.0/23", "lease": "1h"}"#;
    for alone in [new, over, elsewhere, larger] {
        dry(alone, &[]).await.unwrap();
    }
    // Two new ones, a new one over a changed one, a changed one over a new one.
    for (document, before, named) in
        [(over, new, ["p3", "p2"]), (new, larger, ["p2", "p1"]), (larger, new, ["p1", "p2"])]
    {
        let refused = dry(document, &[elsewhere, before]).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "POOL_OVERLAPS"), "{document}");
        assert!(named.iter().all(|id| refused.message.contains(id)), "{}", refused.message);
    }
    dry(elsewhere, &[new]).await.unwrap();
    dry(new, &[new]).await.unwrap();
    let torn = blame(dry(new, &[over, r#"{"id": "p4", "type": "ipv4", "spec": 3}"#]).await);
    assert_eq!((torn.0, torn.2.as_str()), (Code::InvalidArgument, "beside.1.spec"));
    let pool = Some(v1::apply_pool_request::Pool::Document(new.to_owned()));
    let now = v1::ApplyPoolRequest { pool, dry_run: false, beside: vec![over.to_owned()] };
    assert_eq!(blame(answered(client.pools().apply_pool(now).await)).2, "beside");
}

#[tokio::test]
async fn taking_away_what_is_held_is_refused_with_the_holders() {
    let (_served, client) = with_pool().await;
    let asked = v1::AllocateRequest { resource: "10.0.0.200".to_owned(), ..request("p1", "line-7") };
    allocate(&client, asked).await.unwrap();
    let pool = Some(v1::update_pool_request::Pool::Document(r#"{"cidr": "10.0.0.0/25", "lease": "1h"}"#.to_owned()));
    let smaller = v1::UpdatePoolRequest { pool_id: "p1".to_owned(), pool, ..Default::default() };
    let refused = answered(client.pools().update_pool(smaller).await).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "SPANS_HELD"));
    assert_eq!(refused.in_the_way, [("10.0.0.200".to_owned(), "line-7".to_owned())]);
}

#[tokio::test]
async fn a_pool_in_use_is_deleted_only_by_force() {
    let (_served, client) = with_pool().await;
    allocate(&client, request("p1", "line-7")).await.unwrap();
    let delete = |force| v1::DeletePoolRequest { pool_id: "p1".to_owned(), force };
    assert_eq!(blame(answered(client.pools().delete_pool(delete(false)).await)).0, Code::FailedPrecondition);
    assert_eq!(answered(client.pools().delete_pool(delete(true)).await).unwrap().released, 1);
    assert_eq!(blame(answered(client.pools().delete_pool(delete(true)).await)).0, Code::NotFound);
}

#[tokio::test]
async fn stats_add_up() {
    let (_served, client) = with_pool().await;
    allocate(&client, request("p1", "line-7")).await.unwrap();
    let stats = v1::GetPoolStatsRequest { pool_id: "p1".to_owned() };
    let stats = answered(client.pools().get_pool_stats(stats).await).unwrap();
    let sum = stats.occupancy.unwrap();
    assert_eq!((sum.allocations, sum.held.unwrap().count, sum.total.unwrap().count), (1, 1, 256));
    assert!((stats.utilization - 1.0 / 256.0).abs() < 1e-9);
    assert_eq!(stats.realms.len(), 1);
}

#[tokio::test]
async fn pools_are_listed_by_page_and_type() {
    let (_served, client) = with_pool().await;
    create(&client, r#"{"id": "v1", "type": "vlan", "range": "100-200"}"#).await.unwrap();
    let first = v1::ListPoolsRequest { limit: 1, ..Default::default() };
    let page = answered(client.pools().list_pools(first).await).unwrap();
    assert_eq!((page.pools.len(), page.total), (1, 2));
    let vlans = v1::ListPoolsRequest { r#type: "vlan".to_owned(), ..Default::default() };
    let page = answered(client.pools().list_pools(vlans).await).unwrap();
    assert_eq!((page.total, page.next_cursor.as_str()), (1, ""));
}

#[tokio::test]
async fn what_is_wrong_with_a_pool_names_the_field() {
    let served = Served::start().await;
    let client = served.client().await;
    for (document, reason, field) in [
        ("{", "MALFORMED", "body"),
        (r#"{"id": "p", "cidr": "10.0.0.0/24", "exlusions": []}"#, "INVALID_FIELD", "exlusions"),
        (r#"{"id": "p", "type": "ipv4", "spec": {"cidr": "10"}}"#, "INVALID_SPEC", "spec.cidr"),
        (r#"{"id": "p", "type": "ipx", "spec": {}}"#, "TYPE_UNKNOWN", "type"),
    ] {
        let expected = (Code::InvalidArgument, reason.to_owned(), field.to_owned());
        assert_eq!(blame(create(&client, document).await), expected, "{document}");
    }
    let nothing = answered(client.pools().create_pool(v1::CreatePoolRequest::default()).await);
    assert_eq!(blame(nothing).2, "pool");
}

#[tokio::test]
async fn a_reservation_keeps_the_resource_for_its_subscriber() {
    let (_served, client) = with_pool().await;
    let add = v1::AddReservationRequest {
        pool_id: "p1".to_owned(),
        resource: "10.0.0.9".to_owned(),
        subscriber_id: "vip".to_owned(),
        note: "static".to_owned(),
        ..Default::default()
    };
    assert!(answered(client.reservations().add_reservation(add.clone()).await).unwrap().created);
    assert!(!answered(client.reservations().add_reservation(add.clone()).await).unwrap().created);
    let other = v1::AddReservationRequest { subscriber_id: "other".to_owned(), ..add };
    assert_eq!(blame(answered(client.reservations().add_reservation(other).await)).0, Code::AlreadyExists);
    assert_eq!(allocate(&client, request("p1", "vip")).await.unwrap().ip, "10.0.0.9");
    let list = v1::ListReservationsRequest { pool_id: "p1".to_owned(), ..Default::default() };
    let listed = answered(client.reservations().list_reservations(list).await).unwrap();
    assert_eq!((listed.total, listed.reservations[0].note.as_str()), (1, "static"));
    let remove = v1::RemoveReservationRequest {
        pool_id: "p1".to_owned(),
        resource: "10.0.0.9".to_owned(),
        ..Default::default()
    };
    let removed = answered(client.reservations().remove_reservation(remove.clone()).await).unwrap();
    assert_eq!(removed.reservation.unwrap().subscriber_id, "vip");
    assert_eq!(blame(answered(client.reservations().remove_reservation(remove).await)).0, Code::NotFound);
}

#[tokio::test]
async fn plugins_are_listed_retired_and_resumed() {
    let served = Served::start().await;
    let client = served.client().await;
    let listed = answered(client.plugins().list_plugins(v1::ListPluginsRequest {}).await).unwrap();
    assert!(listed.plugins.iter().all(|plugin| plugin.state() == v1::PluginState::Active));
    assert_eq!(listed.plugins.iter().map(|plugin| plugin.missing).collect::<Vec<_>>(), [false, true]);
    let retire = |name: &str| v1::RetirePluginRequest { r#type: name.to_owned() };
    answered(client.plugins().retire_plugin(retire("vlan")).await).unwrap();
    let states = answered(client.plugins().list_plugins(v1::ListPluginsRequest {}).await).unwrap();
    let retired: Vec<_> = states.plugins.iter().filter(|plugin| plugin.state() == v1::PluginState::Retired).collect();
    assert_eq!((retired.len(), retired[0].r#type.as_str()), (1, "vlan"));
    let resume = |name: &str| v1::ResumePluginRequest { r#type: name.to_owned() };
    answered(client.plugins().resume_plugin(resume("vlan")).await).unwrap();
    let listed = answered(client.plugins().list_plugins(v1::ListPluginsRequest {}).await).unwrap();
    assert!(listed.plugins.iter().all(|plugin| plugin.state() == v1::PluginState::Active));
    assert_eq!(blame(answered(client.plugins().resume_plugin(resume("ipx")).await)).0, Code::NotFound);
    assert_eq!(blame(answered(client.plugins().retire_plugin(retire("ipx")).await)).0, Code::NotFound);
}
