//! The plugins of this daemon: the embedded ones and the folder's, lent to the API, checked against the live pools.

mod live;
mod reading;

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use api::ports::{OpenedSpec, Problem, ResourceTypes, RetireError, TypeError};
use compact_str::CompactString;
use kernel::{Plan, Pool, Span, TypeId};
use plugin_host::{Limits, PluginError, PluginHost, PluginMetrics, PluginState, PluginStatus, Settings};
use prometheus::Registry;
use tokio::sync::watch;

use crate::config::Config;
use reading::Readings;

pub(crate) use live::Live;
pub(crate) use reading::{Reads, recorded};

/// What a daemon without a single plugin says.
pub(crate) const NO_PLUGINS: &str = "no plugins: run cargo xtask plugins or set plugins.dir";

/// How often the folder is looked at without being told of a change.
const RESCAN: Duration = Duration::from_secs(30);

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The plugin host as the API asks for it. It is there before its plugins are loaded, because they are checked against
/// pools that the engine may have to change, and the engine names what it hands out by plugins.
#[derive(Debug)]
pub(crate) struct Plugins {
    host: OnceLock<PluginHost>,
    /// Whether other hosts hand out from the same pools, with plugins of their own.
    shared: bool,
    readings: Readings,
    /// Touched whenever another plugin may serve some type.
    changed: watch::Sender<()>,
}

impl Plugins {
    pub(crate) fn new(shared: bool) -> Self {
        Self { host: OnceLock::new(), shared, readings: Readings::default(), changed: watch::Sender::new(()) }
    }

    /// Word of every change of the plugins.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether there is any plugin to load: embedded, in the folder, or recorded by an earlier run.
    pub(crate) fn any(config: &Config) -> bool {
        let recorded = [&config.plugin_dir, &state_dir(config)];
        let has_file = |dir: &std::path::Path| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        !EMBEDDED.is_empty() || recorded.into_iter().any(|dir| has_file(dir))
    }

    /// Loads what served before, what is embedded and what lies in the folder, and watches the folder.
    ///
    /// # Panics
    /// If it was called before.
    pub(crate) fn load(&self, config: &Config, live: Live, registry: &Registry) -> anyhow::Result<()> {
        std::fs::create_dir_all(&config.plugin_dir)
            .with_context(|| format!("plugins.dir {} cannot be made", config.plugin_dir.display()))?;
        let metrics = PluginMetrics::new()?;
        metrics.register(registry)?;
        let lanes = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let changed = self.changed.clone();
        let embedded = EMBEDDED.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let host = PluginHost::start(Settings {
            limits: Limits::small(),
            state_dir: state_dir(config),
            embedded,
            plugins_dir: Some(config.plugin_dir.clone()),
            settle: config.plugin_settle,
            rescan: RESCAN,
            lanes,
            live: Arc::new(live),
            metrics,
            // The plugin host logs each event; the cluster only looks again.
            events: Arc::new(move |_| changed.send_replace(())),
        })?;
        self.host.set(host).expect("plugins are loaded once");
        self.changed.send_replace(());
        Ok(())
    }

    fn host(&self, type_id: &TypeId) -> Result<&PluginHost, TypeError> {
        let not_yet =
            || TypeError::Unavailable { type_id: type_id.to_string(), why: "plugins are being loaded".to_owned() };
        self.host.get().ok_or_else(not_yet)
    }

    /// The host, if the version that serves reads the pool as its record says.
    fn reader(&self, pool: &Pool) -> Result<&PluginHost, TypeError> {
        let type_id = &pool.draft.type_id;
        let host = self.host(type_id)?;
        // A host that is alone makes its pools what its plugin reads; where there are others, they may have made it.
        if self.shared
            && let Reads::Otherwise(misread) = self.reads(pool)
        {
            let why = format!("this host does not read the pool as recorded: {misread}");
            return Err(TypeError::Unavailable { type_id: type_id.to_string(), why });
        }
        if host.reads(type_id.as_str(), &pool.draft.mapping_id).map_err(told)? {
            return Ok(host);
        }
        let why = "another version of it is taking over".to_owned();
        Err(TypeError::Unavailable { type_id: type_id.to_string(), why })
    }
}

/// Where active components are kept: beside the records, not in the operator's folder.
fn state_dir(config: &Config) -> std::path::PathBuf {
    config.data_path.join("components")
}

impl ResourceTypes for Plugins {
    fn open(&self, type_id: &TypeId, spec: &str) -> Result<OpenedSpec, TypeError> {
        let opened = self.host(type_id)?.open(type_id.as_str(), spec).map_err(told)?;
        Ok(OpenedSpec { geometry: opened.geometry, mapping_id: opened.mapping_id })
    }

    fn render(&self, pool: &Pool, spans: &[Span]) -> Result<Vec<Result<CompactString, TypeError>>, TypeError> {
        let names =
            self.reader(pool)?.render_each(pool.draft.type_id.as_str(), &pool.draft.spec, spans).map_err(told)?;
        Ok(names.into_iter().map(|name| name.map_err(told)).collect())
    }

    fn parse(&self, pool: &Pool, names: &[&str]) -> Result<Vec<Result<Span, TypeError>>, TypeError> {
        let parsed = self.reader(pool)?.parse(pool.draft.type_id.as_str(), &pool.draft.spec, names).map_err(told)?;
        Ok(parsed.into_iter().map(|span| span.map_err(told)).collect())
    }

    fn interpret(&self, pool: &Pool, hints: &[(CompactString, CompactString)]) -> Result<Plan, TypeError> {
        self.reader(pool)?.interpret(pool.draft.type_id.as_str(), &pool.draft.spec, hints).map_err(told)
    }

    fn summarize(&self, pool: &Pool, run: Span) -> Result<Vec<CompactString>, TypeError> {
        self.reader(pool)?.summarize(pool.draft.type_id.as_str(), &pool.draft.spec, run).map_err(told)
    }

    fn attributes(&self, pool: &Pool, span: Span) -> Result<Vec<(CompactString, CompactString)>, TypeError> {
        self.reader(pool)?.attributes(pool.draft.type_id.as_str(), &pool.draft.spec, span).map_err(told)
    }

    fn list(&self) -> Vec<api::ports::PluginStatus> {
        self.host.get().map_or_else(Vec::new, |host| host.list().into_iter().map(shown).collect())
    }

    fn retire(&self, type_id: &TypeId) -> Result<(), RetireError> {
        let host = self.host.get().ok_or_else(|| RetireError::Unknown(type_id.to_string()))?;
        host.retire(type_id.as_str()).map_err(not_turned)
    }

    fn resume(&self, type_id: &TypeId) -> Result<(), RetireError> {
        let host = self.host.get().ok_or_else(|| RetireError::Unknown(type_id.to_string()))?;
        host.resume(type_id.as_str()).map_err(not_turned)
    }
}

fn not_turned(error: plugin_host::RetireError) -> RetireError {
    match error {
        plugin_host::RetireError::Unknown { type_id, .. } => RetireError::Unknown(type_id),
        plugin_host::RetireError::InUse { type_id, pools } => RetireError::InUse { type_id, pools },
        plugin_host::RetireError::Record(why) => RetireError::Storage(why.to_string()),
    }
}

fn told(error: PluginError) -> TypeError {
    let problem = |found: plugin_host::Problem| Problem { path: found.path, message: found.message };
    match error {
        PluginError::UnknownType { type_id, known } => TypeError::Unknown { type_id, known },
        PluginError::InvalidSpec(problems) => TypeError::InvalidSpec(problems.into_iter().map(problem).collect()),
        PluginError::InvalidName(why) => TypeError::InvalidName(why),
        PluginError::InvalidHint(found) => TypeError::InvalidHint(problem(found)),
        PluginError::OutOfRange => TypeError::OutOfRange,
        PluginError::Unavailable { type_id, reason, why } => {
            TypeError::Unavailable { type_id, why: format!("{reason}: {why}") }
        }
    }
}

fn shown(status: PluginStatus) -> api::ports::PluginStatus {
    use api::ports::PluginState as Shown;
    let (state, why) = match status.state {
        PluginState::Active => (Shown::Active, String::new()),
        PluginState::Suspended { why } => (Shown::Suspended, why),
        PluginState::Retired => (Shown::Retired, String::new()),
        PluginState::Refused { why } => (Shown::Refused, why.to_string()),
    };
    let since = status.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let descriptor = status.descriptor;
    let text = |read: fn(&plugin_host::Descriptor) -> String| descriptor.as_ref().map(read).unwrap_or_default();
    api::ports::PluginStatus {
        type_id: text(|of| of.type_id.clone()),
        version: text(|of| of.version.to_string()),
        mapping_id: text(|of| of.mapping_id.clone()),
        title: text(|of| of.title.clone()),
        digest: status.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        source: status.source.to_string(),
        missing: status.file_gone,
        state,
        why,
        spec_schema: text(|of| of.spec_schema.clone()),
        hint_schema: text(|of| of.hint_schema.clone()),
        examples: descriptor.as_ref().map(|of| of.examples.clone()).unwrap_or_default(),
        loaded_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        calls: status.calls,
        failures: status.failures,
    }
}
