//! `nexus serve`: joins the parts, serves, and drains them in the order that loses nothing.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::app::{ApiMetrics, App, Parts, Settings};
use api::auth::Authority;
use api::engine::Engine;
use api::ports::ResourceTypes;
use api::tls::Incoming;
use clap::ArgMatches;
use clap::parser::ValueSource;
use kernel::{KernelSettings, NodeId};
use prometheus::Registry;
use store::{Compactor, Store, StoreError, StoreSettings};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use view::View;

use crate::alone::Alone;
use crate::backup::Backups;
use crate::cluster::{self, Cluster, Running};
use crate::config::{self, ClusterKey, Config, Fault, KEYS, Secret, TlsFiles};
use crate::driver::{self, Driver};
use crate::past::Past;
use crate::plugins::{self, Live, Plugins};
use crate::restored::Restored;
use crate::shutdown::{GaveUp, Signals};
use crate::threads::Essential;
use crate::vitals::{ClusterGauges, PoolGauges, Ready, Vitals};
use crate::{clock, commands, telemetry};

/// Most requests of one batch.
const BATCH_LIMIT: usize = 10_000;

/// Longest body of a REST request, in bytes.
const BODY_LIMIT: usize = 1 << 20;

/// `nexus serve`.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    let loaded = load(matches).and_then(|config| {
        let doors = Doors::open(&config)?;
        Ok((config, doors))
    });
    let (config, doors) = match loaded {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults {
                complain(&fault);
            }
            return ExitCode::from(crate::EXIT_USAGE);
        }
    };
    if matches.get_flag("check-config") {
        for warning in &config.warnings {
            complain(&format_args!("warning: {warning}"));
        }
        announce("the configuration is usable");
        return ExitCode::SUCCESS;
    }
    match run(&config, doors) {
        Ok(code) => code,
        Err(error) => {
            complain(&format_args!("nexus: {error:#}"));
            if error.is::<Misused>() || cluster::may_not_serve(&error) {
                ExitCode::from(crate::EXIT_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn load(matches: &ArgMatches) -> Result<Config, Vec<Fault>> {
    let file = matches.get_one::<PathBuf>("config");
    let given = KEYS.iter().filter(|key| matches.value_source(key.flag) == Some(ValueSource::CommandLine));
    let flags = given.filter_map(|key| Some((key, matches.get_one::<String>(key.flag)?.clone())));
    let others = commands::variables_of_others();
    let variables = std::env::vars().filter(|(name, _)| !others.contains(name));
    Config::load(file.map(PathBuf::as_path), variables, flags)
}

/// Standard error, for people; there is no log yet.
fn complain(what: &dyn std::fmt::Display) {
    // With standard error closed there is nobody to tell.
    let _untold = writeln!(std::io::stderr(), "{what}");
}

/// Standard output, for scripts.
fn announce(line: &str) {
    let mut out = std::io::stdout();
    // Whoever closed standard output does not want to know.
    let _untold = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Who may call, how calls are encrypted, and what other hosts must know: the files that the configuration names, read
/// before anything is bound.
struct Doors {
    authority: Arc<Authority>,
    tls: Option<Arc<api::tls::ServerConfig>>,
    cluster_key: Option<Secret>,
}

impl Doors {
    fn open(config: &Config) -> Result<Self, Vec<Fault>> {
        let authority = match &config.tokens_file {
            Some(file) => Authority::with_tokens(file).map_err(|error| Fault::of("auth.tokens_file", error)),
            None => Ok(Authority::open()),
        };
        let tls = config.tls.as_ref().map(server_config).transpose().map_err(|error| Fault::of("server.tls", error));
        let cluster_key = config.p2p.cluster_key.as_ref().map(ClusterKey::read).transpose();
        let cluster_key = cluster_key.map_err(|error| Fault::of("p2p.cluster_key_file", error));
        match (authority, tls, cluster_key) {
            (Ok(authority), Ok(tls), Ok(cluster_key)) => Ok(Self { authority: Arc::new(authority), tls, cluster_key }),
            (authority, tls, cluster_key) => {
                Err(authority.err().into_iter().chain(tls.err()).chain(cluster_key.err()).collect())
            }
        }
    }
}

fn run(config: &Config, doors: Doors) -> anyhow::Result<ExitCode> {
    telemetry::start(config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let sockets = Sockets::bind(config).await?;
        // Loading plugins waits for the engine.
        let Some(built) = tokio::task::block_in_place(|| build(config, doors.cluster_key.as_ref()))? else {
            complain(&plugins::NO_PLUGINS);
            return Ok(ExitCode::from(crate::EXIT_USAGE));
        };
        serve(config, doors, sockets, built).await
    })
}

/// Bound before anything is opened, so that a taken port is told at once and changes nothing.
struct Sockets {
    rest: TcpListener,
    grpc: TcpListener,
    metrics: TcpListener,
}

impl Sockets {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |what: &str, address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("{what} cannot be bound to {address}"))
        };
        Ok(Self {
            rest: bind("REST (server.http_port)", config.http).await?,
            grpc: bind("gRPC (server.grpc_port)", config.grpc).await?,
            metrics: bind("metrics (server.metrics_port)", config.metrics).await?,
        })
    }
}

/// The parts of a running daemon.
struct Built {
    app: Arc<App>,
    registry: Registry,
    vitals: Arc<Vitals>,
    driver: Driver,
    plugins: Arc<Plugins>,
    checkpoints: Checkpoints,
    /// `None`: this host is alone.
    running: Option<Running>,
    quarantine: Quarantine,
}

/// The task that ends the quarantines of a restored host.
struct Quarantine(JoinSet<()>);

impl Quarantine {
    fn watch(restored: &Arc<Restored>, engine: &Engine) -> Self {
        let mut tasks = JoinSet::new();
        let (restored, engine) = (Arc::clone(restored), engine.downgrade());
        tasks.spawn(async move { restored.watch(engine).await });
        Self(tasks)
    }
}

/// Opens the store, loads the plugins, recovers; `None` if there is not a single plugin.
fn build(config: &Config, cluster_key: Option<&Secret>) -> anyhow::Result<Option<Built>> {
    if !Plugins::any(config) {
        return Ok(None);
    }
    let registry = Registry::new();
    let Opened { store, identity, view, settings, log_file_bytes, recovered, restored } = open(config)?;
    let shared = settings.cluster.is_some();
    let plugins = Arc::new(Plugins::new(shared));
    let types: Arc<dyn ResourceTypes> = Arc::<Plugins>::clone(&plugins);
    let vitals = Arc::new(Vitals::new(&registry, shared)?);
    vitals.damaged(recovered.damaged.clone());
    registry.register(Box::new(PoolGauges::new(Arc::clone(&view), Arc::clone(&vitals), Arc::clone(&restored))?))?;
    let (engine, inbox) = Engine::channel(config.queue.get());
    let reader = store.reader();
    let standing = Arc::new(driver::Standing::default());
    let (courier, parcels) = driver::Courier::new(Arc::clone(&standing));
    let checkpoints = Checkpoints::start(store.compactor())?;
    let store = Arc::new(Mutex::new(store));
    let parts = driver::Parts {
        store: Arc::clone(&store),
        reader: reader.clone(),
        view: Arc::clone(&view),
        types: Arc::clone(&types),
        vitals: Arc::clone(&vitals),
        settings,
        min_free_bytes: config.min_free_bytes,
        log_file_bytes,
        damaged: recovered.damaged,
        courier: settings.cluster.is_some().then_some(courier),
        restored: Arc::clone(&restored),
    };
    let heard = recovered.kernel.heard().clone();
    let driver = Driver::start(parts, recovered.kernel, inbox, engine.waker()).context("no thread for the kernel")?;
    // Weak: the driver ends when the last engine does, and the plugins outlive it.
    let live = Live { view: Arc::clone(&view), engine: engine.downgrade(), shared };
    plugins.load(config, live, &registry)?;
    let readiness = Ready {
        vitals: Arc::clone(&vitals),
        types: Arc::clone(&types),
        view: Arc::clone(&view),
        restored: Arc::clone(&restored),
    };
    let stopping = CancellationToken::new();
    let backups = Backups::new(reader.clone(), Arc::clone(&view), config.data_path.clone(), stopping.clone());
    let quarantine = Quarantine::watch(&restored, &engine);
    let parts = cluster::Parts {
        engine: engine.downgrade(),
        view: Arc::clone(&view),
        reader: reader.clone(),
        vitals: Arc::clone(&vitals),
        store,
        standing,
        parcels,
        restored,
        plugins: Arc::clone(&plugins),
    };
    let (engine, port, running) = among_others(config, cluster_key, &identity, engine, parts, heard)?;
    watch(&registry, &port, running.as_ref())?;
    let app = App::new(Parts {
        engine,
        view,
        types,
        history: Arc::new(Past(reader)),
        readiness: Arc::new(readiness),
        cluster: port,
        backups: Arc::new(backups),
        metrics: ApiMetrics::register(&registry)?,
        host: identity.node,
        settings: Settings { batch_limit: BATCH_LIMIT, body_limit: BODY_LIMIT, openapi: config.openapi },
        stopping,
    });
    Ok(Some(Built { app: Arc::new(app), registry, vitals, driver, plugins, checkpoints, running, quarantine }))
}

/// The records, read into memory.
struct Opened {
    store: Store,
    identity: store::Identity,
    view: Arc<View>,
    settings: KernelSettings,
    log_file_bytes: u64,
    recovered: driver::Recovered,
    restored: Arc<Restored>,
}

/// What does not get better by starting again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

/// A member of a cluster is known to the others by its name: under another one its directory is somebody else's.
fn check_node(config: &Config) -> anyhow::Result<()> {
    let path = &config.data_path;
    if let Some(wanted) = &config.node_id
        && cluster::is_member(path)
        && let Some(found) = store::Identity::of_directory(path)?
        && found.node != *wanted
    {
        let why = format!(
            "the data directory {} is host {}'s, a member of a cluster, and node.id says {wanted}: give each host its own directory, or leave node.id out",
            path.display(),
            found.node
        );
        return Err(Misused(why).into());
    }
    Ok(())
}

fn open(config: &Config) -> anyhow::Result<Opened> {
    let path = &config.data_path;
    anyhow::ensure!(!path.exists() || path.is_dir(), "storage.path {} is no directory", path.display());
    check_node(config)?;
    let restored = Arc::new(Restored::read(path)?);
    let store_settings = store_settings(config);
    let log_file_bytes = store_settings.log_file_bytes;
    let (store, identity) = Store::open(&config.data_path, store_settings, clock::wall_ms())?;
    let view = driver::empty_view(config.watch_window.get(), identity.origin.into());
    let settings = KernelSettings {
        seed: identity.origin.identity ^ clock::wall_ms(),
        restart_grace_ms: millis(config.restart_grace),
        clock_tolerance_ms: millis(config.clock_tolerance),
        lease_slack_ms: millis(config.clock_tolerance),
        cluster: is_clustered(config, &restored).then(|| identity.origin.into()),
    };
    let recovered = driver::recover(&store, &view, settings, &restored)?;
    if settings.cluster.is_some() {
        // Until it is known what every other host has.
        store.reader().retain(std::collections::BTreeMap::new(), cluster::RETAIN_BYTES);
    }
    Ok(Opened { store, identity, view, settings, log_file_bytes, recovered, restored })
}

/// Whether this host is one of several, or waits to be. A host that has peers, or was a member when its backup was made, must
/// not start as one that owns everything: two such hosts would hand out the same twice.
fn is_clustered(config: &Config, restored: &Restored) -> bool {
    !config.p2p.peers.is_empty() || cluster::is_member(&config.data_path) || restored.was_member()
}

/// The engine, which carries to other hosts what they must decide, and the cluster as the faces show it: of this host alone,
/// or of many.
fn among_others(
    config: &Config,
    key: Option<&Secret>,
    identity: &store::Identity,
    engine: Engine,
    parts: cluster::Parts,
    heard: cluster::Vector,
) -> anyhow::Result<(Engine, Arc<dyn api::cluster::Cluster>, Option<Running>)> {
    if !is_clustered(config, &parts.restored) {
        let alone = Alone::new(identity.clone(), config.part.weight.get(), parts);
        return Ok((engine, Arc::new(alone), None));
    }
    let (cluster, running) = meet(config, key, identity, parts, heard)?;
    let router = cluster::Router::new(cluster.clone());
    Ok((engine.relayed(Arc::new(router)), Arc::new(cluster), Some(running)))
}

/// Metrics of the cluster and of the network it uses.
fn watch(
    registry: &Registry,
    cluster: &Arc<dyn api::cluster::Cluster>,
    running: Option<&Running>,
) -> anyhow::Result<()> {
    registry.register(Box::new(ClusterGauges::new(Arc::clone(cluster), running.is_some())?))?;
    if let Some(running) = running {
        running.register(registry)?;
    }
    Ok(())
}

/// Joins the other hosts.
fn meet(
    config: &Config,
    key: Option<&Secret>,
    identity: &store::Identity,
    parts: cluster::Parts,
    heard: cluster::Vector,
) -> anyhow::Result<(Cluster, Running)> {
    if key.is_none() && config.p2p.peers.is_empty() {
        let path = config.data_path.display();
        let why = format!(
            "the data directory {path} is a member's of a cluster: p2p.cluster_key must be its key and p2p.peers must name other members; to start alone, give it another directory"
        );
        return Err(Misused(why).into());
    }
    let of = |what: &str, error: &dyn std::fmt::Display| anyhow::anyhow!("{what}: {error}");
    let peers = config.p2p.peers.iter().map(|peer| peer.parse().map_err(|why| of("p2p.peers", &why)));
    let key = key.map(|key| key.expose().parse().map_err(|why| of("p2p.cluster_key", &why))).transpose()?;
    let role = match config.part.role {
        config::HostRole::Core => kernel::ledger::HostRole::Core,
        config::HostRole::Write => kernel::ledger::HostRole::Write,
        config::HostRole::Read => kernel::ledger::HostRole::Read,
    };
    let protocol = commands::protocol()?;
    let settings = cluster::Settings {
        net: net::NetSettings {
            listen: config.p2p.listen.clone(),
            peers: peers.collect::<anyhow::Result<_>>()?,
            cluster_key: key,
            data_dir: config.data_path.clone(),
            process: cluster::nonce::of_this_process(&config.data_path)?,
            majors: vec![protocol.major.into()],
            agent: concat!("nexus/", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        data_path: config.data_path.clone(),
        node: identity.node.clone(),
        origin: identity.origin.into(),
        role,
        weight: config.part.weight.get(),
        protocol,
        node_lease: config.part.node_lease,
        virtual_nodes: config.part.virtual_nodes,
        lease_grace: config.part.lease_grace,
        clock_tolerance: config.clock_tolerance,
        rebroadcast: config.p2p.rebroadcast_interval,
        response_deadline: config.part.response_deadline,
        consensus: consensus::Settings::default(),
    };
    tokio::runtime::Handle::current().block_on(Cluster::start(settings, parts, heard))
}

fn store_settings(config: &Config) -> StoreSettings {
    StoreSettings {
        node: config.node_id.clone(),
        checkpoint_after_bytes: config.compact_at_bytes.get(),
        cache_bytes: config.cache_bytes.get(),
        history_retention_ms: millis(config.history_retention),
        history_bytes: config.history_max_bytes,
        ..StoreSettings::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The thread that writes checkpoints.
struct Checkpoints {
    compactor: Compactor,
    thread: Essential,
}

impl Checkpoints {
    fn start(compactor: Compactor) -> anyhow::Result<Self> {
        let working = compactor.clone();
        let run = move || {
            working.run(|cycle| match cycle {
                Ok(done) => tracing::debug!(covered = done.covered.0, bytes = done.checkpoint_bytes, "checkpoint"),
                Err(error @ StoreError::Failed { .. }) => {
                    tracing::error!(error = %error, "a checkpoint failed; what is on the disk is unknown, so the daemon ends");
                    std::process::exit(crate::EXIT_STORAGE);
                }
                Err(error) => tracing::warn!(error = %error, "no checkpoint for now"),
            });
        };
        let thread = Essential::start("checkpoints", run).context("no thread for checkpoints")?;
        Ok(Self { compactor, thread })
    }

    fn stop(self) {
        self.compactor.stop();
        self.thread.join();
    }
}

/// Serves until a signal, then drains: no new requests, those under way are answered, the last group is written.
async fn serve(config: &Config, doors: Doors, sockets: Sockets, built: Built) -> anyhow::Result<ExitCode> {
    let Doors { authority, tls, cluster_key: _ } = doors;
    let Built { app, registry, vitals, driver, plugins, checkpoints, running, mut quarantine } = built;
    let mut signals = Signals::listen().context("signals cannot be caught")?;
    let line = ready_line(config, &sockets, app.host())?;
    let stopping = app.stopping().clone();
    let mut servers = JoinSet::new();
    servers.spawn(rest(Arc::clone(&app), Arc::clone(&authority), Incoming::new(sockets.rest, tls.clone())));
    servers.spawn(grpc(Arc::clone(&app), Arc::clone(&authority), Incoming::new(sockets.grpc, tls)));
    servers.spawn(metrics(registry, Incoming::new(sockets.metrics, None), stopping.clone()));
    drop(app);
    vitals.serving(true);
    tracing::info!("{line}");
    announce(&line);
    tokio::select! {
        () = signals.end(|| reload(&authority)) => {}
        Some(ended) = servers.join_next() => {
            ended.context("a server panicked")??;
            bail!("a server ended by itself");
        }
    }
    tracing::info!("draining");
    vitals.serving(false);
    stopping.cancel();
    let drained = async { while servers.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        gave_up = signals.give_up(config.shutdown_timeout) => match gave_up {
            GaveUp::Asked => return Ok(ExitCode::FAILURE),
            GaveUp::Late => tracing::warn!("requests under way did not end within graceful_shutdown.timeout"),
        },
    }
    servers.shutdown().await;
    quarantine.0.shutdown().await;
    if let Some(running) = running {
        running.stop().await;
    }
    // The last sender of the queue went with the servers: the driver writes its last group and ends.
    let ended = tokio::task::spawn_blocking(move || {
        driver.join();
        checkpoints.stop();
        drop(plugins);
    });
    tokio::select! {
        ended = ended => ended.context("the driver panicked")?,
        gave_up = signals.give_up(config.shutdown_timeout) => {
            tracing::error!(?gave_up, "the last group could not be written in time");
            return Ok(ExitCode::FAILURE);
        }
    }
    tracing::info!("everything is written; good bye");
    Ok(ExitCode::SUCCESS)
}

async fn rest(app: Arc<App>, authority: Arc<Authority>, incoming: Incoming) -> anyhow::Result<()> {
    api::rest::serve(app, authority, incoming).await.context("REST ended")
}

async fn grpc(app: Arc<App>, authority: Arc<Authority>, incoming: Incoming) -> anyhow::Result<()> {
    api::grpc::serve(app, authority, incoming).await.context("gRPC ended")
}

async fn metrics(registry: Registry, incoming: Incoming, stopping: CancellationToken) -> anyhow::Result<()> {
    api::rest::serve_metrics(registry, incoming, stopping.cancelled_owned()).await.context("metrics ended")
}

fn server_config(files: &TlsFiles) -> Result<Arc<api::tls::ServerConfig>, api::tls::TlsError> {
    let TlsFiles { cert, key, client_ca } = files;
    api::tls::server_config(cert, key, client_ca.as_deref())
}

/// What scripts wait for: where each face listens.
fn ready_line(config: &Config, sockets: &Sockets, node: &NodeId) -> anyhow::Result<String> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let (rest, grpc) = (sockets.rest.local_addr()?, sockets.grpc.local_addr()?);
    let metrics = sockets.metrics.local_addr()?;
    Ok(format!("nexus ready rest={scheme}://{rest} grpc={scheme}://{grpc} metrics=http://{metrics} node={node}"))
}

fn reload(authority: &Authority) {
    if !authority.wants_tokens() {
        return;
    }
    match authority.reload() {
        Ok(count) => tracing::info!(count, "tokens read again"),
        Err(error) => tracing::error!(error = %error, "the tokens file is not usable; the former tokens stay"),
    }
}
