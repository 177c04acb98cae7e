//! Who gets in, and what stands beside the services: TLS, tokens, health, reflection, metrics.

use std::io::Write as _;

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

fn tokens() -> (Authority, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (name, role, tenant) in [("reader", "read", "isp-east"), ("root", "admin", "isp-east")] {
        let hash = format!("{:x}", Sha256::digest(format!("{name}-token")));
        writeln!(file, "- {{name: {name}, sha256: {hash}, role: {role}, tenant: {tenant}}}").unwrap();
    }
    (Authority::with_tokens(file.path()).unwrap(), file)
}

#[tokio::test]
async fn a_token_opens_what_its_role_may() {
    let (authority, _file) = tokens();
    let served = Served::with(authority, None).await;
    let with = async |token: Option<&str>, tenant: Option<&str>| {
        let settings =
            ClientSettings { token: token.map(str::to_owned), tenant: tenant.map(str::to_owned), ..served.settings() };
        Client::connect(&settings).await.unwrap()
    };
    let pool = r#"{"id": "p1", "cidr": "10.0.0.0/24"}"#;
    assert_eq!(blame(create(&with(None, None).await, pool).await).0, Code::Unauthenticated);
    assert_eq!(blame(create(&with(Some("wrong"), None).await, pool).await).0, Code::Unauthenticated);
    assert_eq!(blame(create(&with(Some("reader-token"), None).await, pool).await).0, Code::PermissionDenied);
    let foreign = with(Some("root-token"), Some("isp-west")).await;
    assert_eq!(blame(create(&foreign, pool).await).1, "TENANT_FORBIDDEN");
    let made = create(&with(Some("root-token"), None).await, pool).await.unwrap();
    assert_eq!(made.pool.unwrap().tenant, "isp-east");
    let reader = with(Some("reader-token"), Some("isp-east")).await;
    assert_eq!(answered(reader.pools().list_pools(v1::ListPoolsRequest::default()).await).unwrap().total, 1);
    let stream = reader.nexus().allocate_stream(futures_util::stream::empty()).await;
    assert_eq!(blame(answered(stream).map(|_| ())).0, Code::PermissionDenied);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let served = Served::start().await;
    let of = async |tenant: &str| {
        let settings = ClientSettings { tenant: Some(tenant.to_owned()), ..served.settings() };
        Client::connect(&settings).await.unwrap()
    };
    let (east, west) = (of("east").await, of("west").await);
    create(&east, r#"{"id": "p1", "cidr": "10.0.0.0/24"}"#).await.unwrap();
    assert_eq!(blame(allocate(&west, request("p1", "line-7")).await).0, Code::NotFound);
    create(&west, r#"{"id": "p1", "cidr": "10.0.0.0/24"}"#).await.unwrap();
    let ours = allocate(&east, request("p1", "line-7")).await.unwrap();
    assert_eq!(allocate(&west, request("p1", "line-7")).await.unwrap().ip, ours.ip);
    assert_eq!(blame(create(&of("no spaces").await, "{}").await).0, Code::InvalidArgument);
}

#[tokio::test]
async fn tls_with_a_client_authority_lets_in_whom_it_signed() {
    let (_directory, at) = certificates();
    let tls = crate::tls::server_config(&at("server.pem"), &at("server.key"), Some(&at("ca.pem"))).unwrap();
    let served = Served::with(Authority::open(), Some(tls)).await;
    let port = served.address.rsplit(':').next().unwrap();
    let mut settings = served.settings();
    settings.server = format!("https://localhost:{port}");
    settings.ca = Some(at("ca.pem"));
    // A handshake can fail as late as the first call: TLS 1.3 tells the client of a refused certificate afterwards.
    if let Ok(client) = Client::connect(&settings).await {
        assert!(client.pools().list_pools(v1::ListPoolsRequest::default()).await.is_err());
    }
    settings.identity = Some((at("client.pem"), at("client.key")));
    let client = Client::connect(&settings).await.unwrap();
    assert_eq!(answered(client.pools().list_pools(v1::ListPoolsRequest::default()).await).unwrap().total, 0);
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_up_the_others() {
    let (_directory, at) = certificates();
    let tls = crate::tls::server_config(&at("server.pem"), &at("server.key"), None).unwrap();
    let served = Served::with(Authority::open(), Some(tls)).await;
    let _silent = tokio::net::TcpStream::connect(&served.address).await.unwrap();
    let mut settings = served.settings();
    settings.server = format!("https://localhost:{}", served.address.rsplit(':').next().unwrap());
    settings.ca = Some(at("ca.pem"));
    timeout(DEADLINE, Client::connect(&settings)).await.unwrap().unwrap();
}

#[test]
fn tls_files_that_cannot_be_used_are_named() {
    let (_directory, at) = certificates();
    let missing = crate::tls::server_config(&at("nowhere.pem"), &at("server.key"), None).unwrap_err();
    assert!(missing.to_string().contains("nowhere.pem"), "{missing}");
    let mixed = crate::tls::server_config(&at("server.pem"), &at("client.key"), None).unwrap_err();
    assert!(mixed.to_string().contains("cannot be used together"), "{mixed}");
}

async fn channel(served: &Served) -> tonic::transport::Channel {
    let address = format!("http://{}", served.address);
    tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn health_follows_the_daemon() {
    let mut served = Served::start().await;
    let mut health = HealthClient::new(channel(&served).await);
    let check = HealthCheckRequest { service: "nexus.v1.Nexus".to_owned() };
    let mut seen = answered(health.watch(check).await).unwrap();
    let until = async |seen: &mut tonic::Streaming<tonic_health::pb::HealthCheckResponse>, wanted: ServingStatus| {
        while seen.message().await.unwrap().unwrap().status() != wanted {}
    };
    timeout(DEADLINE, until(&mut seen, ServingStatus::Serving)).await.unwrap();
    served.daemon.app.stopping().cancel();
    timeout(DEADLINE, until(&mut seen, ServingStatus::NotServing)).await.unwrap();
    // The watch ends with that, so it does not hold up the drain.
    assert!(matches!(timeout(DEADLINE, seen.message()).await.unwrap(), Ok(None) | Err(_)));
    timeout(DEADLINE, &mut served.server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn reflection_names_every_service() {
    let served = Served::start().await;
    let mut reflection = ServerReflectionClient::new(channel(&served).await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = answered(reflection.server_reflection_info(futures_util::stream::iter([ask])).await).unwrap();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["Nexus", "AllocationService", "PoolService", "ReservationService", "PluginService", "ClusterService"] {
        assert!(names.contains(&format!("nexus.v1.{name}").as_str()), "{name} in {names:?}");
    }
}

/// What tonic itself would call our fault.
#[tokio::test]
async fn a_message_that_cannot_be_read_is_the_senders_fault() {
    let served = Served::start().await;
    let mut raw = tonic::client::Grpc::new(channel(&served).await);
    raw.ready().await.unwrap();
    // Numbers where a text should be.
    let wrong = Request::new(v1::Fence { pool: 1, shard: 2, epoch: 3 });
    let path = http::uri::PathAndQuery::from_static("/nexus.v1.PoolService/GetPool");
    let codec = tonic_prost::ProstCodec::<v1::Fence, v1::Pool>::default();
    let outcome: Result<tonic::Response<v1::Pool>, _> = raw.unary(wrong, path, codec).await;
    assert_eq!(blame(answered(outcome)), (Code::InvalidArgument, "INVALID_FIELD".to_owned(), "message".to_owned()));
    let client = served.client().await;
    let large = request("p1", &"x".repeat(5 << 20));
    assert_eq!(blame(allocate(&client, large).await).1, "TOO_LARGE");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let (served, client) = with_pool().await;
    allocate(&client, request("p1", "line-7")).await.unwrap();
    allocate(&client, request("p2", "line-7")).await.unwrap_err();
    let counted = prometheus::TextEncoder::new().encode_to_string(&served.daemon.registry.gather()).unwrap();
    for (path, status) in [("Nexus/Allocate", "OK"), ("Nexus/Allocate", "NOT_FOUND"), ("PoolService/CreatePool", "OK")]
    {
        let line = format!(r#"nexus_api_requests_total{{method="grpc",path="/nexus.v1.{path}",status="{status}"}} 1"#);
        assert!(counted.contains(&line), "{line} in {counted}");
    }
}
