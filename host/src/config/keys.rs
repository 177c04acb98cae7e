//! Every key an operator may set, in one table: the file's key, the flag, the variable, the default.

/// One key. The flag is `--<flag>`, the variable `NEXUS_<FLAG>` with `_` for `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Dotted path in the file.
    pub(crate) path: &'static str,
    pub(crate) flag: &'static str,
    /// What the value looks like, for the help.
    pub(crate) value: &'static str,
    /// `None`: absent unless set.
    pub(crate) default: Option<&'static str>,
    pub(crate) help: &'static str,
}

impl Key {
    /// The environment variable's name.
    pub(crate) fn variable(&self) -> String {
        format!("NEXUS_{}", self.flag.to_uppercase().replace('-', "_"))
    }
}

const fn key(
    path: &'static str,
    flag: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key { path, flag, value, default, help }
}

/// Everything that can be set.
pub(crate) const KEYS: &[Key] = &[
    key(
        "node.id",
        "node-id",
        "ID",
        None,
        "this host's name in answers; made once and kept in the data directory if absent",
    ),
    key("node.role", "role", "ROLE", Some("core"), "what this host does; only `core` in this release"),
    key("server.listen", "listen", "ADDRESS", Some("127.0.0.1"), "address that every port is bound to"),
    key("server.http_port", "http-port", "PORT", Some("9000"), "REST; 0 picks a free port and prints it"),
    key("server.grpc_port", "grpc-port", "PORT", Some("9001"), "gRPC; 0 picks a free port and prints it"),
    key("server.metrics_port", "metrics-port", "PORT", Some("9002"), "Prometheus; 0 picks a free port and prints it"),
    key("server.openapi", "openapi", "BOOL", Some("true"), "serve /openapi.json"),
    key("server.tls.cert", "tls-cert", "FILE", None, "PEM certificate chain for REST and gRPC"),
    key("server.tls.key", "tls-key", "FILE", None, "PEM private key of the certificate"),
    key("server.tls.client_ca", "tls-client-ca", "FILE", None, "PEM authorities; clients must then show a certificate"),
    key(
        "server.queue",
        "queue",
        "COUNT",
        Some("16384"),
        "requests that may wait for the engine; more are refused as overloaded",
    ),
    key("server.watch_window", "watch-window", "COUNT", Some("65536"), "events kept for watches that resume"),
    key("p2p.listen_port", "p2p-port", "PORT", Some("33123"), "reserved for the cluster; not bound in this release"),
    key("storage.path", "data-path", "DIR", Some("data"), "the data directory"),
    key("storage.min_free", "min-free", "SIZE", Some("256MiB"), "below this much free disk, allocations are refused"),
    key("storage.cache", "storage-cache", "SIZE", Some("32MiB"), "page cache of the store"),
    key("storage.compact_at", "compact-at", "SIZE", Some("64MiB"), "log size at which checkpoints are written"),
    key("history.retention", "history-retention", "TIME", Some("365d"), "how long past holders are kept"),
    key("history.max_bytes", "history-max-bytes", "SIZE", Some("4GiB"), "how much disk past holders may take"),
    key(
        "plugins.dir",
        "plugin-dir",
        "DIR",
        None,
        "watched for plugin files; `plugins` in the data directory if absent",
    ),
    key(
        "plugins.settle",
        "plugin-settle",
        "TIME",
        Some("2s"),
        "how long a plugin file must be unchanged before it is read",
    ),
    key(
        "leases.restart_grace",
        "restart-grace",
        "TIME",
        Some("5m"),
        "how long a lease that ended while the daemon was down may be renewed",
    ),
    key(
        "leases.clock_tolerance",
        "clock-tolerance",
        "TIME",
        Some("60s"),
        "boot and wall clock further apart than this stop expiry",
    ),
    key("auth.tokens_file", "tokens-file", "FILE", None, "hashed tokens with roles; read again on SIGHUP"),
    key("log.level", "log-level", "FILTER", Some("info"), "error, warn, info, debug, trace, or a tracing filter"),
    key("log.format", "log-format", "FORMAT", Some("text"), "text or json"),
    key(
        "graceful_shutdown.timeout",
        "shutdown-timeout",
        "TIME",
        Some("30s"),
        "how long SIGTERM waits for requests under way",
    ),
];

/// Sections of the older form whose keys, unless they are in [`KEYS`], have no effect here.
const OLDER_SECTIONS: &[&str] = &["node", "p2p", "clset", "graceful_shutdown"];

/// Keys of the older form in sections where any other unknown key is a fault.
const OLDER_KEYS: &[&str] = &["server.read_timeout", "server.write_timeout", "server.idle_timeout"];

/// True for what older files say and no key here means: accepted with a warning.
pub(crate) fn is_older(path: &str) -> bool {
    let section = path.split_once('.').map(|(section, _)| section);
    OLDER_KEYS.contains(&path) || section.is_some_and(|section| OLDER_SECTIONS.contains(&section))
}

/// The key with this path in the file.
pub(crate) fn by_path(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
