//! Whatever a peer sends, the answer is an answer: no panic, and a refusal names what was wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use prost_types::Duration;
use tokio::runtime::Runtime;
use tonic::Request;

use super::super::Face;
use super::*;
use nexus_proto::v1::allocation_service_server::AllocationService as _;
use nexus_proto::v1::nexus_server::Nexus as _;
use nexus_proto::v1::pool_service_server::PoolService as _;
use nexus_proto::v1::reservation_service_server::ReservationService as _;

fn face() -> (Daemon, Face) {
    let daemon = Daemon::start();
    let face = Face { app: Arc::clone(&daemon.app), authority: Arc::new(Authority::open()) };
    (daemon, face)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("p1".to_owned()),
        Just("10.0.0.5".to_owned()),
        Just("{}".to_owned()),
        "\\PC{0,20}",
        any::<String>(),
        Just("x".repeat(300)),
    ]
}

fn length() -> impl Strategy<Value = Option<Duration>> {
    let wild = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Some(Duration { seconds, nanos }));
    let tame = (-5..5_i64, -5..5_i32).prop_map(|(seconds, nanos)| Some(Duration { seconds, nanos }));
    prop_oneof![Just(None), wild, tame]
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..3)
}

prop_compose! {
    fn requests()(
        texts in proptest::array::uniform8(text()),
        metadata in text(),
        iaid in any::<Option<u32>>(),
        hints in pairs(),
        attributes in pairs(),
        ttl in length(),
        omit_attributes in any::<bool>(),
        alloc_type in -1..6_i32,
    ) -> v1::AllocateRequest {
        let [subscriber_id, pool_id, mac, duid, key, resource, node_id, _] = texts;
        v1::AllocateRequest {
            subscriber_id, pool_id, mac, duid, iaid, key, resource, hints, attributes, node_id, ttl, metadata,
            omit_attributes, alloc_type,
        }
    }
}

/// A refusal of what was sent blames a field and says what would be right.
fn is_sound<T>(outcome: Result<tonic::Response<T>, tonic::Status>) {
    if let Err(status) = outcome {
        assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{status:?}");
        let error = ClientError::from(status);
        if error.code == Code::InvalidArgument {
            assert!(error.metadata.contains_key("field") && !error.metadata["remedy"].is_empty(), "{error:?}");
        }
    }
}

fn pool() -> v1::CreatePoolRequest {
    let document = r#"{"id": "p1", "cidr": "10.0.0.0/24", "lease": "1h"}"#.to_owned();
    v1::CreatePoolRequest { pool: Some(v1::create_pool_request::Pool::Document(document)), dry_run: false }
}

#[test]
fn any_allocate_request_is_answered() {
    let runtime = Runtime::new().unwrap();
    let (_daemon, face) = face();
    runtime.block_on(face.create_pool(Request::new(pool()))).unwrap();
    proptest!(ProptestConfig::with_cases(512), |(asked in requests())| {
        runtime.block_on(async {
            is_sound(face.explain(Request::new(v1::ExplainRequest { request: Some(asked.clone()) })).await);
            is_sound(face.batch(Request::new(v1::BatchRequest { requests: vec![asked.clone()] })).await);
            is_sound(AllocationServiceAllocate::allocate(&face, asked).await);
        });
    });
}

/// Both services have an `allocate`; this names one.
struct AllocationServiceAllocate;

impl AllocationServiceAllocate {
    async fn allocate(
        face: &Face,
        asked: v1::AllocateRequest,
    ) -> Result<tonic::Response<v1::AllocateResponse>, tonic::Status> {
        nexus_proto::v1::allocation_service_server::AllocationService::allocate(face, Request::new(asked)).await
    }
}

#[test]
fn any_other_request_is_answered() {
    let runtime = Runtime::new().unwrap();
    let (_daemon, face) = face();
    runtime.block_on(face.create_pool(Request::new(pool()))).unwrap();
    proptest!(ProptestConfig::with_cases(512), |(
        (a, b, c, d) in (text(), text(), text(), text()),
        iaid in any::<Option<u32>>(),
        flag in any::<bool>(),
        number in any::<u32>(),
        time in length(),
        attributes in pairs(),
    )| {
        let at = time.map(|Duration { seconds, nanos }| prost_types::Timestamp { seconds, nanos });
        runtime.block_on(async {
            let (subscriber_id, pool_id, key, duid) = (a.clone(), b.clone(), c.clone(), d.clone());
            let resource = key.clone();
            let release = v1::ReleaseRequest { subscriber_id, pool_id, key, all: flag, duid, iaid, resource, created_at: None };
            is_sound(face.deallocate(Request::new(release)).await);
            let (subscriber_id, pool_id, key, duid) = (a.clone(), b.clone(), c.clone(), d.clone());
            let renew = v1::RenewRequest { subscriber_id, pool_id, key, ttl: time, duid, iaid };
            is_sound(face.renew(Request::new(renew)).await);
            let (subscriber_id, pool_id, key, duid) = (a.clone(), b.clone(), c.clone(), d.clone());
            is_sound(face.get_allocation(Request::new(v1::LookupRequest { subscriber_id, pool_id, key, duid, iaid })).await);
            is_sound(face.lookup_by_ip(Request::new(v1::LookupByIpRequest { ip: a.clone(), realm: b.clone() })).await);
            let who = v1::LookupByResourceRequest {
                r#type: d.clone(), resource: a.clone(), realm: b.clone(), at, pool_id: c.clone(), past: number,
            };
            is_sound(face.lookup_by_resource(Request::new(who)).await);
            let list = v1::ListAllocationsRequest {
                pool_id: a.clone(), subscriber_id: b.clone(), node_id: c.clone(), resource: d.clone(), cursor: c.clone(),
                limit: number, realm: d.clone(),
            };
            is_sound(face.list(Request::new(list)).await);
            let expiring = v1::ExpiringRequest { within: time, pool_id: a.clone(), cursor: b.clone(), limit: number };
            is_sound(face.expiring(Request::new(expiring)).await);
            let watch = v1::WatchAllocationsRequest { resume_token: a.clone(), pool_id: b.clone(), subscriber_id: c.clone() };
            is_sound(face.watch_allocations(Request::new(watch)).await);
            let add = v1::AddReservationRequest {
                pool_id: b.clone(), resource: a.clone(), subscriber_id: c.clone(), note: d.clone(), attributes,
            };
            is_sound(face.add_reservation(Request::new(add)).await);
            let definition = v1::PoolDefinition {
                id: b, r#type: c.clone(), spec: a, realm: c, shared: flag, strategy: d.clone(),
                lease: Some(v1::LeaseTerms { default: time, min: time, max: None }), hold_down: time, strict: Some(flag),
                realm_by: vec![d.clone()], sharding_factor: number, metadata: d, ack: 3,
            };
            let pool = Some(v1::apply_pool_request::Pool::Definition(definition));
            is_sound(face.apply_pool(Request::new(v1::ApplyPoolRequest { pool, dry_run: true, beside: Vec::new() })).await);
        });
    });
}

proptest! {
    /// The decoder is not ours, but what it lets through is.
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = v1::AllocateRequest::decode(&*bytes) {
            let _input_or_fault = super::super::read::allocate(request);
        }
        if let Ok(definition) = v1::PoolDefinition::decode(&*bytes) {
            let _input_or_fault = super::super::read::pool_definition(definition, None);
        }
    }
}
