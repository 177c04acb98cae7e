//! The client side of the gRPC face: a channel with credentials, and errors as the server meant them.
//!
//! What the operator's command and the tests talk through; a BNG brings its own. It retries nothing: every call is safe
//! to repeat, and whether to is the caller's choice ([`ClientError::retryable`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nexus_proto::v1::allocation_service_client::AllocationServiceClient;
use nexus_proto::v1::cluster_service_client::ClusterServiceClient;
use nexus_proto::v1::conflict_service_client::ConflictServiceClient;
use nexus_proto::v1::nexus_client::NexusClient;
use nexus_proto::v1::note_service_client::NoteServiceClient;
use nexus_proto::v1::plugin_service_client::PluginServiceClient;
use nexus_proto::v1::pool_service_client::PoolServiceClient;
use nexus_proto::v1::reservation_service_client::ReservationServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::auth::TENANT_HEADER;

/// A page of 10,000 rows with attributes and metadata fits.
const MOST_MESSAGE_BYTES: usize = 64 << 20;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A channel with credentials.
pub type Authorized = InterceptedService<Channel, Credentials>;

/// Where the server is and who calls.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// `http://host:port` or `https://host:port`; without a scheme `http` is meant.
    pub server: String,
    /// Authorities that sign the server's certificate (PEM file); `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Certificate and key to show (PEM files).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Bearer token.
    pub token: Option<String>,
    /// Whose pools are meant; `None`: the token's tenant, or the default.
    pub tenant: Option<String>,
    /// The longest a unary call may take; `None`: for ever.
    pub timeout: Option<Duration>,
}

/// Why no call was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("server address {address:?} is not http://host:port or https://host:port")]
    Address { address: String, source: tonic::transport::Error },
    #[error("{what} cannot be sent: it has characters other than printable ASCII")]
    Credential { what: &'static str },
    #[error("{} cannot be read", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate: it must be a PEM file of the authorities that sign the server's", path.display())]
    NoCertificate { path: PathBuf },
    #[error("TLS settings are not usable")]
    Tls { source: tonic::transport::Error },
    /// Asking again will not help, another `--ca` may.
    #[error("the certificate of {address} is not trusted: {why}")]
    Untrusted { address: String, why: String },
    #[error("no connection to {address}")]
    Unreachable { address: String, source: tonic::transport::Error },
}

/// Puts the token and the tenant into every request.
#[derive(Clone, Debug)]
pub struct Credentials {
    authorization: Option<MetadataValue<Ascii>>,
    tenant: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        if let Some(tenant) = &self.tenant {
            request.metadata_mut().insert(TENANT_HEADER, tenant.clone());
        }
        Ok(request)
    }
}

/// A connection to a server. Cheap to clone; calls share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    credentials: Credentials,
}

impl Client {
    /// Connects.
    pub async fn connect(settings: &ClientSettings) -> Result<Self, ConnectError> {
        let credentials = Credentials::of(settings)?;
        let address = match settings.server.split_once("://") {
            Some(_) => settings.server.clone(),
            None => format!("http://{}", settings.server),
        };
        let mut endpoint = Endpoint::from_shared(address.clone())
            .map_err(|source| ConnectError::Address { address: address.clone(), source })?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true);
        if let Some(timeout) = settings.timeout {
            endpoint = endpoint.timeout(timeout);
        }
        if address.starts_with("https://") {
            let tls = tls(settings)?;
            endpoint = endpoint.tls_config(tls).map_err(|source| ConnectError::Tls { source })?;
        }
        let channel = endpoint.connect().await.map_err(|source| unconnected(address, source))?;
        Ok(Self { channel, credentials })
    }

    fn authorized(&self) -> Authorized {
        InterceptedService::new(self.channel.clone(), self.credentials.clone())
    }

    /// What a BNG calls.
    pub fn nexus(&self) -> NexusClient<Authorized> {
        NexusClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Allocations: one, many, lists, and why.
    pub fn allocations(&self) -> AllocationServiceClient<Authorized> {
        AllocationServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Pools.
    pub fn pools(&self) -> PoolServiceClient<Authorized> {
        PoolServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Open conflicts.
    pub fn conflicts(&self) -> ConflictServiceClient<Authorized> {
        ConflictServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Notes.
    pub fn notes(&self) -> NoteServiceClient<Authorized> {
        NoteServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Reservations.
    pub fn reservations(&self) -> ReservationServiceClient<Authorized> {
        ReservationServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// Plugins.
    pub fn plugins(&self) -> PluginServiceClient<Authorized> {
        PluginServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterServiceClient<Authorized> {
        ClusterServiceClient::new(self.authorized()).max_decoding_message_size(MOST_MESSAGE_BYTES)
    }
}

impl Credentials {
    fn of(settings: &ClientSettings) -> Result<Self, ConnectError> {
        let value = |what, text: &str| text.parse().map_err(|_| ConnectError::Credential { what });
        let authorization = settings.token.as_ref().map(|token| {
            let mut value: MetadataValue<Ascii> = value("token", &format!("Bearer {}", token.trim()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let tenant = settings.tenant.as_ref().map(|tenant| value("tenant", tenant));
        Ok(Self { authorization: authorization.transpose()?, tenant: tenant.transpose()? })
    }
}

/// What a certificate in a PEM file begins with.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why there is no connection. What TLS has against a certificate comes as text only, under other errors.
fn unconnected(address: String, source: tonic::transport::Error) -> ConnectError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, why)) = text.split_once("invalid peer certificate: ") {
            let why = match why {
                "UnknownIssuer" => {
                    "none of the authorities known here signed it; name the right ones with --ca FILE".into()
                }
                why if why.contains("CaUsedAsEndEntity") => {
                    "it is an authority's own certificate, not a server's: have it sign one for the server".into()
                }
                why if why.contains("NotValidForName") => {
                    format!("it is for another name than the server is asked by ({why})")
                }
                why => why.to_owned(),
            };
            return ConnectError::Untrusted { address, why };
        }
        cause = error.source();
    }
    ConnectError::Unreachable { address, source }
}

fn tls(settings: &ClientSettings) -> Result<ClientTlsConfig, ConnectError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|source| ConnectError::File { path: path.clone(), source });
    let tls = ClientTlsConfig::new();
    let tls = match &settings.ca {
        Some(ca) => {
            let pem = read(ca)?;
            if !pem.windows(CERTIFICATE.len()).any(|words| words == CERTIFICATE) {
                return Err(ConnectError::NoCertificate { path: ca.clone() });
            }
            tls.ca_certificate(Certificate::from_pem(pem))
        }
        None => tls.with_native_roots(),
    };
    Ok(match &settings.identity {
        Some((cert, key)) => tls.identity(Identity::from_pem(read(cert)?, read(key)?)),
        None => tls,
    })
}

/// One field that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub field: String,
    /// What would be right.
    pub remedy: String,
}

/// Why a call failed, as the server said it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    pub code: Code,
    /// A plain sentence.
    pub message: String,
    /// A word for programs, for example `POOL_UNKNOWN`; empty if the server is not a Nexus or was not reached.
    pub reason: String,
    /// `field`, `value`, `remedy`, `retryable` and what else the sentence speaks of.
    pub metadata: BTreeMap<String, String>,
    /// Every field that was wrong.
    pub violations: Vec<Violation>,
    /// What stands in the way: a resource and who holds it.
    pub in_the_way: Vec<(String, String)>,
}

impl ClientError {
    /// True if the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self.metadata.get("retryable") {
            Some(retryable) => retryable == "true",
            None => self.code == Code::Unavailable,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) = details.error_info().map_or_else(Default::default, |about| {
            (about.reason.clone(), about.metadata.clone().into_iter().collect())
        });
        let violations = details.bad_request().map_or_else(Vec::new, |request| {
            let violations = request.field_violations.iter();
            violations.map(|one| Violation { field: one.field.clone(), remedy: one.description.clone() }).collect()
        });
        let in_the_way = details.precondition_failure().map_or_else(Vec::new, |failure| {
            failure.violations.iter().map(|one| (one.subject.clone(), one.description.clone())).collect()
        });
        Self { code: status.code(), message: status.message().to_owned(), reason, metadata, violations, in_the_way }
    }
}
