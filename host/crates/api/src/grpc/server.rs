//! The server: services, reflection and health on one listener, with bounds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use nexus_proto::DESCRIPTORS;
use nexus_proto::v1::allocation_service_server::AllocationServiceServer;
use nexus_proto::v1::cluster_service_server::ClusterServiceServer;
use nexus_proto::v1::conflict_service_server::ConflictServiceServer;
use nexus_proto::v1::nexus_server::NexusServer;
use nexus_proto::v1::note_service_server::NoteServiceServer;
use nexus_proto::v1::plugin_service_server::PluginServiceServer;
use nexus_proto::v1::pool_service_server::PoolServiceServer;
use nexus_proto::v1::reservation_service_server::ReservationServiceServer;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Face;
use super::metrics::Counting;
use crate::app::App;
use crate::auth::Authority;
use crate::deadline::Deadlines;
use crate::tls::Incoming;

/// Largest request; a batch of 10,000 with long ids fits.
pub(super) const MOST_MESSAGE_BYTES: usize = 4 << 20;

/// Calls of one connection that may wait at once; more wait at the client.
const MOST_STREAMS: u32 = 1_024;

/// How much a client may send before it must wait: several chunks of an allocation stream on each, and the connection
/// does not become the bottleneck of its streams.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Names, tokens and tracing context; more is an attack.
const MOST_HEADER_BYTES: u32 = 16 << 10;

/// A peer that vanished without a word is noticed within both together.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// How long peers have to read their last answers and to say good bye.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often readiness is looked at for the health service.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Every service whose health follows the daemon's readiness; the empty name is the server as a whole.
const HEALTH_OF: [&str; 9] = [
    "",
    NexusServer::<Face>::NAME,
    AllocationServiceServer::<Face>::NAME,
    PoolServiceServer::<Face>::NAME,
    ReservationServiceServer::<Face>::NAME,
    ConflictServiceServer::<Face>::NAME,
    NoteServiceServer::<Face>::NAME,
    PluginServiceServer::<Face>::NAME,
    ClusterServiceServer::<Face>::NAME,
];

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the descriptors are not usable for reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until the application stops; then takes no more calls, ends the streams, answers what is under way, and returns.
pub async fn serve(app: Arc<App>, authority: Arc<Authority>, incoming: Incoming) -> Result<(), ServeError> {
    // Connections have tasks of their own; they end with this future, however it ends.
    let _lifeline = incoming.lifeline();
    let face = Face { app: Arc::clone(&app), authority };
    let (mut reporter, health) = tonic_health::server::health_reporter();
    tell(&reporter, readiness(&app)).await;
    let routes = routes(face)?.add_service(health);
    let stopping = app.stopping().clone().cancelled_owned();
    let counting = Counting::new(Arc::clone(&app));
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .http2_max_header_list_size(MOST_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
        .layer(counting.clone())
        .layer(Deadlines)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stopping);
    tokio::select! {
        ended = serving => ended.map_err(ServeError::Transport),
        never = follow_readiness(&app, &mut reporter) => match never {},
        () = farewell(&app, &counting) => Ok(()),
    }
}

/// Resolves when the drain has nobody left to wait for. HTTP/2 ends politely, in a round trip that a silent peer never
/// completes: it must not hold up the end.
async fn farewell(app: &App, counting: &Counting) {
    app.stopping().cancelled().await;
    let mut clock = tokio::time::interval(HEALTH_EVERY);
    while counting.under_way() > 0 {
        clock.tick().await;
    }
    tokio::time::sleep(FAREWELL).await;
}

fn routes(face: Face) -> Result<Routes, ServeError> {
    let face = Arc::new(face);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(NexusServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(AllocationServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(PoolServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(
            ReservationServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES),
        )
        .add_service(ConflictServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(NoteServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(ClusterServiceServer::from_arc(Arc::clone(&face)).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(PluginServiceServer::from_arc(face).max_decoding_message_size(MOST_MESSAGE_BYTES))
        .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?))
}

/// Keeps the health service true. Health is told per service, although readiness is the daemon's, because clients ask
/// for the service they use.
async fn follow_readiness(app: &App, reporter: &mut HealthReporter) -> Infallible {
    let mut told = readiness(app);
    let mut clock = tokio::time::interval(HEALTH_EVERY);
    while app.stopping().run_until_cancelled(clock.tick()).await.is_some() {
        let now = readiness(app);
        if told != now {
            tell(reporter, now).await;
            told = now;
        }
    }
    tell(reporter, ServingStatus::NotServing).await;
    // Whoever watches has that, and then the watch ends: it would hold up the drain.
    for service in HEALTH_OF {
        reporter.clear_service_status(service).await;
    }
    std::future::pending().await
}

fn readiness(app: &App) -> ServingStatus {
    if app.not_ready().is_empty() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

async fn tell(reporter: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_OF {
        reporter.set_service_status(service, status).await;
    }
}
