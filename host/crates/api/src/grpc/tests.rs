//! The face as a whole: a server on a port of its own, the real kernel behind it, the crate's own client before it.

mod allocations;
mod arbitrary;
mod cluster;
mod conflicts;
mod doors;
mod notes;
mod pools;
mod streams;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nexus_proto::v1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Code;

use super::client::{Client, ClientError, ClientSettings};
use super::{ServeError, serve};
use crate::auth::Authority;
use crate::testing::Daemon;
use crate::tls::{Incoming, ServerConfig};

/// Nothing in these tests takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// A daemon that serves gRPC until it is dropped.
struct Served {
    daemon: Daemon,
    address: String,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.daemon.app.stopping().cancel();
        self.server.abort();
    }
}

impl Served {
    async fn start() -> Self {
        Self::with(Authority::open(), None).await
    }

    async fn with(authority: Authority, tls: Option<Arc<ServerConfig>>) -> Self {
        let daemon = Daemon::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let incoming = Incoming::new(listener, tls);
        let server = tokio::spawn(serve(Arc::clone(&daemon.app), Arc::new(authority), incoming));
        Self { daemon, address, server }
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings { server: self.address.clone(), timeout: Some(DEADLINE), ..ClientSettings::default() }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.settings()).await.unwrap()
    }
}

/// A server with a pool `p1` of 10.0.0.0/24 whose leases last an hour.
async fn with_pool() -> (Served, Client) {
    let served = Served::start().await;
    let client = served.client().await;
    create(&client, r#"{"id": "p1", "cidr": "10.0.0.0/24", "lease": "1h"}"#).await.unwrap();
    (served, client)
}

async fn create(client: &Client, document: &str) -> Result<v1::CreatePoolResponse, ClientError> {
    let pool = Some(v1::create_pool_request::Pool::Document(document.to_owned()));
    answered(client.pools().create_pool(v1::CreatePoolRequest { pool, dry_run: false }).await)
}

fn request(pool: &str, subscriber: &str) -> v1::AllocateRequest {
    v1::AllocateRequest { pool_id: pool.to_owned(), subscriber_id: subscriber.to_owned(), ..Default::default() }
}

async fn allocate(client: &Client, request: v1::AllocateRequest) -> Result<v1::AllocateResponse, ClientError> {
    answered(client.nexus().allocate(request).await)
}

#[allow(clippy::result_large_err, reason = "only tests carry it about")]
fn answered<T>(outcome: Result<tonic::Response<T>, tonic::Status>) -> Result<T, ClientError> {
    outcome.map(tonic::Response::into_inner).map_err(ClientError::from)
}

/// Code, reason and blamed field of a refusal.
fn blame<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> (Code, String, String) {
    let error = outcome.unwrap_err();
    let field = error.metadata.get("field").cloned().unwrap_or_default();
    (error.code, error.reason, field)
}

/// A directory with a certificate authority and what it signed: `ca.pem`, `server.pem`, `server.key`, and a client's.
fn certificates() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    let at = move |name: &str| root.join(name);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(at("ca.pem"), params.self_signed(&authority_key).unwrap().pem()).unwrap();
    let authority = rcgen::Issuer::new(params, authority_key);
    for (name, usage) in
        [("server", rcgen::ExtendedKeyUsagePurpose::ServerAuth), ("client", rcgen::ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let signed = params.signed_by(&key, &authority).unwrap();
        std::fs::write(at(&format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    (directory, at)
}
