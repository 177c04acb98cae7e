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
    /// Whether it takes several values: a list in the file, commas elsewhere.
    pub(crate) many: bool,
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
    Key { path, flag, value, default, help, many: false }
}

/// A key of several values.
const fn list(path: &'static str, flag: &'static str, value: &'static str, help: &'static str) -> Key {
    Key { path, flag, value, default: None, help, many: true }
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
    key(
        "node.role",
        "role",
        "ROLE",
        Some("core"),
        "what this host does: core, or beside cores write (no vote) or read (look-ups only)",
    ),
    key("node.weight", "weight", "NUMBER", Some("1"), "how much this host owns compared to others, 1 to 1000"),
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
    key(
        "p2p.listen_port",
        "p2p-port",
        "PORT",
        Some("33123"),
        "where other hosts reach this one; bound only with peers",
    ),
    list(
        "p2p.listen",
        "p2p-listen",
        "ADDRESSES",
        "addresses to listen on for other hosts, with or without a port; server.listen if absent",
    ),
    list(
        "p2p.peers",
        "peers",
        "ADDRESSES",
        "other hosts: HOST:PORT, dns:NAME:PORT, /ip4/IP/tcp/PORT; without any this host is alone",
    ),
    key(
        "p2p.cluster_key",
        "cluster-key",
        "SECRET",
        None,
        "what all hosts of a cluster share; other users of this machine can see a flag, use the file",
    ),
    key(
        "p2p.cluster_key_file",
        "cluster-key-file",
        "FILE",
        None,
        "file that holds the cluster key; not readable by every user",
    ),
    key(
        "p2p.rebroadcast_interval",
        "rebroadcast-interval",
        "TIME",
        Some("5s"),
        "how often what other hosts may have missed is told again, 100ms to 1h",
    ),
    key(
        "cluster.node_lease",
        "node-lease",
        "TIME",
        Some("60s"),
        "how long this host may go on with leased shards when it hears nothing from the others, 5s to 1h",
    ),
    key(
        "cluster.lease_grace",
        "lease-grace",
        "TIME",
        Some("30s"),
        "how much longer others wait before they take over the leased shards of a host that is lost: as long as clients \
         wait for an answer, 1s to 1h; set by the host that forms the cluster, as is the node lease",
    ),
    key(
        "cluster.virtual_nodes",
        "virtual-nodes",
        "COUNT",
        Some("150"),
        "points on the hashring of a host of weight 1, 1 to 2048; set by the host that forms the cluster",
    ),
    key(
        "cluster.response_deadline",
        "response-deadline",
        "TIME",
        Some("5s"),
        "how long a request may wait for other hosts, 100ms to 1m",
    ),
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

/// Keys of the older form that mean the same as one of ours.
const RENAMED: &[(&str, &str)] = &[("clset.rebroadcast_interval", "p2p.rebroadcast_interval")];

/// The key that an older one has become.
pub(crate) fn by_older_path(path: &str) -> Option<&'static Key> {
    let (_, now) = RENAMED.iter().find(|(older, _)| *older == path)?;
    by_path(now)
}

/// The key with this path in the file.
pub(crate) fn by_path(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
