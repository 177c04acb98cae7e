//! The routers on their listeners: connections with bounds, and an end that answers what is under way.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::task::JoinSet;

use super::{metrics_router, router};
use crate::app::App;
use crate::auth::Authority;
use crate::tls::{Connection, Incoming};

/// Connections that may be open at once; more wait in the listener's backlog.
const MOST_CONNECTIONS: usize = 16_384;

/// A request's head must be there by then, and so must the next one's: clients with the usual 90 s of patience with an
/// idle connection end it before we do, so that no request meets a connection on its way out.
const HEAD_DEADLINE: Duration = Duration::from_mins(2);

/// A peer that vanished without a word is noticed within both together.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// Calls of one HTTP/2 connection that may wait at once; more wait at the client.
const MOST_STREAMS: u32 = 1_024;

/// Serves REST until the application stops; then takes no more requests, answers those under way, and returns.
pub async fn serve(app: Arc<App>, authority: Arc<Authority>, incoming: Incoming) -> std::io::Result<()> {
    let stopping = app.stopping().clone().cancelled_owned();
    run(router(app, authority), incoming, stopping).await;
    Ok(())
}

/// Serves Prometheus metrics until `stopping` resolves.
pub async fn serve_metrics(
    registry: Registry,
    incoming: Incoming,
    stopping: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    run(metrics_router(registry), incoming, stopping).await;
    Ok(())
}

async fn run(router: Router, mut incoming: Incoming, stopping: impl Future<Output = ()>) {
    let builder = builder();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stopping = pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => break,
            (connection, _) = incoming.accept(), if connections.len() < MOST_CONNECTIONS => {
                connections.spawn(answer(&builder, router.clone(), connection, &graceful));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(incoming);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_PATIENCE)
        .max_concurrent_streams(MOST_STREAMS);
    builder
}

/// One connection, until its peer or the shutdown ends it.
fn answer(
    builder: &Builder<TokioExecutor>,
    router: Router,
    connection: Connection,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let service = TowerToHyperService::new(router);
    let serving = builder.serve_connection(TokioIo::new(connection), service).into_owned();
    let serving = graceful.watch(serving);
    async move {
        // Peers go as they like; it is no fault of ours.
        if let Err(error) = serving.await {
            tracing::trace!(%error, "a connection ended");
        }
    }
}
