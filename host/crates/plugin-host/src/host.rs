//! The plugins of one daemon: the door to this crate.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use compact_str::CompactString;
use kernel::{Geometry, Plan, Span};
use parking_lot::Mutex;

use crate::active::Records;
use crate::catalog::Catalog;
use crate::digest::{Digest, GeometryHash};
use crate::engine::{Metering, PluginEngine};
use crate::error::{PluginError, PluginHostError, RetireError};
use crate::event::{Listener, PluginEvent};
use crate::intake::Intake;
use crate::limits::Limits;
use crate::live::LivePools;
use crate::metrics::PluginMetrics;
use crate::status::{Descriptor, PluginStatus};
use crate::watch::{Folder, Pace, Watch};

/// What a [`PluginHost`] is made of.
pub struct Settings {
    /// What each plugin may use.
    pub limits: Limits,
    /// Where the active components and their records are kept; made if it is not there.
    pub state_dir: PathBuf,
    /// Components that are part of the daemon, each under its name.
    pub embedded: Vec<(String, Vec<u8>)>,
    /// The directory watched for dropped components.
    pub plugins_dir: Option<PathBuf>,
    /// How long a dropped file must have been left alone (2 s).
    pub settle: Duration,
    /// How often the directory is looked at without being told of a change (30 s).
    pub rescan: Duration,
    /// Instances of each plugin; as many calls of one type can run at once. As many as there are cores.
    pub lanes: NonZeroUsize,
    /// The pools that live, for the check of a new version.
    pub live: Arc<dyn LivePools>,
    pub metrics: PluginMetrics,
    /// Told of each change of the plugin set.
    pub events: Arc<dyn Fn(PluginEvent) + Send + Sync>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("state_dir", &self.state_dir)
            .field("plugins_dir", &self.plugins_dir)
            .finish_non_exhaustive()
    }
}

/// A spec as its plugin reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedPool {
    pub geometry: Geometry,
    pub mapping_id: CompactString,
    pub geometry_hash: GeometryHash,
    pub plugin_version: semver::Version,
}

/// The plugins that serve. Calls may come from any number of threads; they block for at most the plugin's deadline, so an
/// async caller makes them where blocking is allowed, or accepts the microsecond a healthy plugin takes.
///
/// Dropping it stops and joins its threads.
#[derive(Debug)]
pub struct PluginHost {
    // Stopped before what it uses.
    watch: Option<Watch>,
    intake: Arc<Intake>,
}

impl PluginHost {
    /// Takes into service what served before, then what is embedded and newer, then what lies in the directory; goes on
    /// watching it. A refused component is no error: [`list`](Self::list) shows it.
    pub fn start(settings: Settings) -> Result<Self, PluginHostError> {
        let Settings { limits, state_dir, embedded, plugins_dir, settle, rescan, lanes, live, metrics, events } =
            settings;
        let events: Listener = events;
        let intake = Arc::new(Intake {
            engine: Arc::new(PluginEngine::new(limits, Metering::Off)?),
            catalog: Catalog::default(),
            records: Records::open(&state_dir)?,
            live,
            metrics,
            events,
            lanes: lanes.get(),
            changes: Mutex::new(()),
        });
        intake.restore()?;
        for (name, bytes) in &embedded {
            intake.offer_embedded(name, bytes);
        }
        let watch = match plugins_dir {
            None => None,
            Some(dir) => {
                let mut folder = Folder::new(dir, Pace { settle, rescan });
                folder.visit(&intake, &AtomicBool::new(false));
                Some(Watch::start(folder, Arc::clone(&intake))?)
            }
        };
        Ok(Self { watch, intake })
    }

    /// Stops watching the directory. Calls go on being answered.
    pub fn shutdown(&mut self) {
        self.watch = None;
    }

    /// Reads a pool's spec (JSON text).
    pub fn open(&self, type_id: &str, spec: &str) -> Result<OpenedPool, PluginError> {
        let plugin = self.intake.catalog.get(type_id)?;
        let geometry = plugin.open(spec)?;
        let Descriptor { mapping_id, version, .. } = &plugin.descriptor;
        Ok(OpenedPool {
            geometry_hash: GeometryHash::of(&geometry),
            geometry,
            mapping_id: mapping_id.as_str().into(),
            plugin_version: version.clone(),
        })
    }

    /// Canonical names, in order; the first that has none is the error of all.
    ///
    /// Pass the same `Arc` for the same pool: instances keep pools open by it.
    pub fn render(&self, type_id: &str, spec: &Arc<str>, spans: &[Span]) -> Result<Vec<CompactString>, PluginError> {
        self.render_each(type_id, spec, spans)?.into_iter().collect()
    }

    /// Canonical names, in order, each on its own: a span that breaks the plugin does not spoil its neighbours.
    pub fn render_each(
        &self,
        type_id: &str,
        spec: &Arc<str>,
        spans: &[Span],
    ) -> Result<Vec<Result<CompactString, PluginError>>, PluginError> {
        Ok(self.intake.catalog.get(type_id)?.render(spec, spans))
    }

    /// Spans of names, in order, each on its own.
    pub fn parse(
        &self,
        type_id: &str,
        spec: &Arc<str>,
        names: &[&str],
    ) -> Result<Vec<Result<Span, PluginError>>, PluginError> {
        Ok(self.intake.catalog.get(type_id)?.parse(spec, names))
    }

    /// What a request's hints ask for.
    pub fn interpret(
        &self,
        type_id: &str,
        spec: &Arc<str>,
        hints: &[(CompactString, CompactString)],
    ) -> Result<Plan, PluginError> {
        self.intake.catalog.get(type_id)?.interpret(spec, hints)
    }

    /// Short texts that together cover exactly `run`.
    pub fn summarize(&self, type_id: &str, spec: &Arc<str>, run: Span) -> Result<Vec<CompactString>, PluginError> {
        self.intake.catalog.get(type_id)?.summarize(spec, run)
    }

    /// Facts true of one allocation, beside the pool's.
    pub fn attributes(
        &self,
        type_id: &str,
        spec: &Arc<str>,
        span: Span,
    ) -> Result<Vec<(CompactString, CompactString)>, PluginError> {
        self.intake.catalog.get(type_id)?.attributes(spec, span)
    }

    /// Whether the version that serves a type names resources as a pool of this mapping does. While another version takes
    /// over they differ for a moment, and then neither may name anything in that pool.
    pub fn reads(&self, type_id: &str, mapping_id: &str) -> Result<bool, PluginError> {
        Ok(self.intake.catalog.get(type_id)?.descriptor.mapping_id == mapping_id)
    }

    /// The component that serves a type, which is another with each version; `None`: no plugin serves it.
    pub fn serves(&self, type_id: &str) -> Option<Digest> {
        self.intake.catalog.get(type_id).ok().map(|plugin| plugin.origin.digest)
    }

    /// The types that are served, sorted.
    pub fn types(&self) -> Vec<String> {
        self.intake.catalog.known()
    }

    /// What the plugin of a served type says about itself.
    pub fn descriptor(&self, type_id: &str) -> Result<Descriptor, PluginError> {
        self.intake.catalog.get(type_id).map(|plugin| plugin.descriptor.clone())
    }

    /// Every plugin: those that serve or did, then the files that are refused.
    pub fn list(&self) -> Vec<PluginStatus> {
        self.intake.catalog.list()
    }

    /// Takes a type out of service until it is [resumed](Self::resume) or another file is dropped. Refused while pools of
    /// it live.
    pub fn retire(&self, type_id: &str) -> Result<(), RetireError> {
        self.intake.retire(type_id)
    }

    /// Lets a suspended or retired type serve again.
    pub fn resume(&self, type_id: &str) -> Result<(), RetireError> {
        self.intake.resume(type_id)
    }
}
