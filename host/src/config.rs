//! Configuration: raw values from file, environment and flags in, one checked [`Config`] out. All faults are reported
//! together, each with where it stands, its key and what would be right. Nothing is bound or opened here.

mod cluster;
mod keys;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::NodeId;
use nexus_plugin_contract::nearest;

pub(crate) use cluster::{ClusterKey, HostRole, P2p, Part, Secret};
pub(crate) use keys::{KEYS, Key};
use value::{bytes, duration, level, truth};

/// What `log.level` may be.
const LEVELS: &str = "a level (error, warn, info, debug, trace, off) or a filter such as info,api=debug";

/// Where a value was set. Flag over environment over file over default.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    File { line: usize },
    Variable(String),
    Flag(String),
}

/// Something in the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    place: String,
    what: String,
}

impl Fault {
    /// What the key names cannot be used.
    pub(crate) fn of(place: &str, error: impl Into<anyhow::Error>) -> Self {
        Self { place: place.to_owned(), what: format!("{:#}", error.into()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Certificate files for REST and gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

/// Everything the daemon needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) node_id: Option<NodeId>,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) part: Part,
    pub(crate) p2p: P2p,
    pub(crate) openapi: bool,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) tokens_file: Option<PathBuf>,
    pub(crate) queue: NonZeroUsize,
    pub(crate) watch_window: NonZeroUsize,
    pub(crate) data_path: PathBuf,
    pub(crate) min_free_bytes: u64,
    pub(crate) cache_bytes: NonZeroU64,
    pub(crate) compact_at_bytes: NonZeroU64,
    pub(crate) history_retention: Duration,
    pub(crate) history_max_bytes: u64,
    pub(crate) plugin_dir: PathBuf,
    pub(crate) plugin_settle: Duration,
    pub(crate) restart_grace: Duration,
    pub(crate) clock_tolerance: Duration,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) shutdown_timeout: Duration,
    /// What an operator should hear of once logging works.
    pub(crate) warnings: Vec<String>,
}

/// Values as they were given, each with its place.
#[derive(Debug, Default)]
struct Raw {
    values: BTreeMap<&'static str, (String, Origin)>,
    file: String,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads the file if there is one, then `variables` and `flags` (by flag name) over it.
    pub(crate) fn load(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
        flags: impl Iterator<Item = (&'static Key, String)>,
    ) -> Result<Self, Vec<Fault>> {
        let mut raw = Raw::default();
        for key in KEYS {
            if let Some(default) = key.default {
                raw.values.insert(key.path, (default.to_owned(), Origin::Default));
            }
        }
        if let Some(file) = file {
            raw.read_file(file);
        }
        raw.read_variables(variables);
        for (key, value) in flags {
            raw.values.insert(key.path, (value, Origin::Flag(key.flag.to_owned())));
        }
        raw.check()
    }
}

impl Raw {
    fn read_file(&mut self, file: &Path) {
        self.file = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return self.fault(&file.display().to_string(), format!("cannot be read: {error}")),
        };
        let yaml::Flat { entries, faults } = yaml::flatten(&text);
        for fault in faults {
            self.fault(&format!("{} line {}", file.display(), fault.line), fault.what);
        }
        for entry in entries {
            self.take_entry(entry);
        }
    }

    fn take_entry(&mut self, entry: yaml::Entry) {
        let yaml::Entry { path, value, line } = entry;
        let place = format!("{} line {line}", self.file);
        match (keys::by_path(&path), value) {
            (Some(key), yaml::Value::One(value)) => _ = self.values.insert(key.path, (value, Origin::File { line })),
            (Some(key), yaml::Value::Many(values)) if key.many => {
                self.values.insert(key.path, (values.join(","), Origin::File { line }));
            }
            (Some(key), yaml::Value::Many(_) | yaml::Value::Other) if key.many => {
                self.fault(&place, format!("{path} is a list of other than plain values; plain values are wanted"));
            }
            (Some(_), yaml::Value::Many(_) | yaml::Value::Other) => {
                self.fault(&place, format!("{path} is a list; a single value is wanted"));
            }
            (None, yaml::Value::One(value)) if keys::by_older_path(&path).is_some() => {
                self.take_renamed(&path, value, line);
            }
            (None, _) if keys::is_older(&path) => {
                self.warnings.push(format!("{place}: {path} is of the older form and has no effect yet"));
            }
            (None, _) => {
                let what = match nearest(&path, KEYS.iter().map(|key| key.path)) {
                    Some(near) => format!("key {path} is unknown, the nearest known is {near}"),
                    None => {
                        format!("key {path} is unknown, and none like it is known; `nexus serve --help` has them all")
                    }
                };
                self.fault(&place, what);
            }
        }
    }

    /// A key of the older form counts unless the file says it under today's name too.
    fn take_renamed(&mut self, older: &str, value: String, line: usize) {
        let Some(key) = keys::by_older_path(older) else { return };
        let said = matches!(self.values.get(key.path), Some((_, Origin::File { .. })));
        if !said {
            self.values.insert(key.path, (value, Origin::File { line }));
        }
    }

    fn read_variables(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, value) in variables.filter(|(name, _)| name.starts_with("NEXUS_")) {
            match KEYS.iter().find(|key| key.variable() == name) {
                Some(key) => {
                    self.values.insert(key.path, (value, Origin::Variable(name)));
                }
                // Not a fault: Kubernetes injects NEXUS_SERVICE_HOST and the like.
                None => self.warnings.push(format!("variable {name} is not a setting and is ignored")),
            }
        }
    }

    fn fault(&mut self, place: &str, what: String) {
        self.faults.push(Fault { place: place.to_owned(), what });
    }

    fn place(&self, path: &str) -> String {
        match self.values.get(path).map(|(_, origin)| origin) {
            Some(Origin::File { line }) => format!("{} line {line}: {path}", self.file),
            Some(Origin::Variable(name)) => format!("{name} ({path})"),
            Some(Origin::Flag(flag)) => format!("--{flag} ({path})"),
            Some(Origin::Default) | None => path.to_owned(),
        }
    }

    /// The value under `path`, if set and usable. `wanted` says what would be right.
    fn get<T>(&mut self, path: &'static str, wanted: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let (text, _) = self.values.get(path)?;
        let found = read(text);
        if found.is_none() {
            let what = format!("{text:?} is not {wanted}");
            self.fault(&self.place(path), what);
        }
        found
    }

    fn path(&mut self, path: &'static str) -> Option<PathBuf> {
        self.get(path, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn duration(&mut self, path: &'static str) -> Option<Duration> {
        self.get(path, "a time such as 500ms, 5s, 10m, 2h, 365d or a number of seconds", duration)
    }

    fn bytes(&mut self, path: &'static str) -> Option<u64> {
        self.get(path, "a size such as 512KiB, 256MiB, 4GiB or a number of bytes", bytes)
    }

    fn some_bytes(&mut self, path: &'static str) -> Option<NonZeroU64> {
        let some = |text: &str| bytes(text).and_then(NonZeroU64::new);
        self.get(path, "a size of at least one byte, such as 512KiB, 256MiB, 4GiB or a number of bytes", some)
    }

    fn socket(&mut self, listen: Option<IpAddr>, path: &'static str) -> Option<SocketAddr> {
        let port = self.get(path, "a port, 0 to 65535", |text| text.parse().ok())?;
        Some(SocketAddr::new(listen?, port))
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let (cert, key) = (self.path("server.tls.cert"), self.path("server.tls.key"));
        let client_ca = self.path("server.tls.client_ca");
        match (cert, key) {
            (Some(cert), Some(key)) => return Some(TlsFiles { cert, key, client_ca }),
            (None, None) if client_ca.is_none() => {}
            (Some(_), None) => self.fault("server.tls.key", "is missing beside server.tls.cert".to_owned()),
            (None, _) => self.fault("server.tls.cert", "is missing beside the other server.tls keys".to_owned()),
        }
        None
    }

    fn check_ports(&mut self, sockets: &[(&'static str, Option<SocketAddr>)]) {
        for (at, (path, socket)) in sockets.iter().enumerate() {
            let Some(socket) = socket.filter(|socket| socket.port() != 0) else { continue };
            let twin = sockets.iter().take(at).find(|(_, other)| *other == Some(socket));
            if let Some((other, _)) = twin {
                self.fault(&self.place(path), format!("port {} is also {other}", socket.port()));
            }
        }
    }

    fn check(mut self) -> Result<Config, Vec<Fault>> {
        let config = self.build();
        match config {
            Some(mut config) if self.faults.is_empty() => {
                let loopback = config.http.ip().is_loopback();
                if !loopback && config.tls.is_none() {
                    self.warnings.push(format!(
                        "listening on {} without TLS: set server.tls.cert and server.tls.key",
                        config.http.ip()
                    ));
                }
                if !loopback && config.tokens_file.is_none() {
                    self.warnings.push(format!(
                        "listening on {} without tokens: anybody may allocate; set auth.tokens_file",
                        config.http.ip()
                    ));
                }
                config.warnings = self.warnings;
                Ok(config)
            }
            Some(_) | None => Err(self.faults),
        }
    }

    fn build(&mut self) -> Option<Config> {
        let node_id = self.get("node.id", "1 to 256 bytes without control characters", |text| text.parse().ok());
        let part = self.part();
        let listen: Option<IpAddr> = self.get("server.listen", "an IP address", |text| text.parse().ok());
        let http = self.socket(listen, "server.http_port");
        let grpc = self.socket(listen, "server.grpc_port");
        let metrics = self.socket(listen, "server.metrics_port");
        let p2p_port = self.get("p2p.listen_port", "a port, 0 to 65535", |text| text.parse().ok());
        let p2p = self.p2p(listen, p2p_port);
        if let (Some(part), Some(p2p)) = (&part, &p2p) {
            self.check_cluster(part, p2p);
        }
        let mut ports = vec![("server.http_port", http), ("server.grpc_port", grpc), ("server.metrics_port", metrics)];
        if let Some(p2p) = p2p.as_ref().filter(|p2p| !p2p.peers.is_empty()) {
            ports.extend(p2p.listen.iter().map(|address| ("p2p.listen", Some(*address))));
        }
        self.check_ports(&ports);
        let openapi = self.get("server.openapi", "true or false", truth);
        let tls = self.tls();
        let tokens_file = self.path("auth.tokens_file");
        let queue = self.get("server.queue", "a number of at least 1", |text| text.parse().ok());
        let watch_window = self.get("server.watch_window", "a number of at least 1", |text| text.parse().ok());
        let data_path = self.path("storage.path");
        let min_free_bytes = self.bytes("storage.min_free");
        let cache_bytes = self.some_bytes("storage.cache");
        let compact_at_bytes = self.some_bytes("storage.compact_at");
        let history_retention = self.duration("history.retention");
        let history_max_bytes = self.bytes("history.max_bytes");
        let plugin_dir = self.path("plugins.dir").or_else(|| data_path.as_ref().map(|path| path.join("plugins")));
        let plugin_settle = self.duration("plugins.settle");
        let restart_grace = self.duration("leases.restart_grace");
        let clock_tolerance = self.duration("leases.clock_tolerance");
        let log_level = self.get("log.level", LEVELS, |text| level(text).then(|| text.to_owned()));
        let log_format = self.get("log.format", "text or json", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let shutdown_timeout = self.duration("graceful_shutdown.timeout");
        Some(Config {
            node_id,
            http: http?,
            grpc: grpc?,
            metrics: metrics?,
            part: part?,
            p2p: p2p?,
            openapi: openapi?,
            tls,
            tokens_file,
            queue: queue?,
            watch_window: watch_window?,
            data_path: data_path?,
            min_free_bytes: min_free_bytes?,
            cache_bytes: cache_bytes?,
            compact_at_bytes: compact_at_bytes?,
            history_retention: history_retention?,
            history_max_bytes: history_max_bytes?,
            plugin_dir: plugin_dir?,
            plugin_settle: plugin_settle?,
            restart_grace: restart_grace?,
            clock_tolerance: clock_tolerance?,
            log_level: log_level?,
            log_format: log_format?,
            shutdown_timeout: shutdown_timeout?,
            warnings: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
