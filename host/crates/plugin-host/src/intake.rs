//! The life of a plugin's file, from bytes to service: size, digest, imports and exports, compile, describe, rank,
//! conformance, live pools (which become what it reads), copy, active. The first check that fails is the [`Refusal`], and
//! what served before serves on.
//!
//! One file at a time: loads, retirement and resumption hold one lock that no call of a plugin takes.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

use crate::active::{Record, Records};
use crate::catalog::{Catalog, RefusedFile};
use crate::digest::Digest;
use crate::engine::{Metering, PluginEngine};
use crate::error::{PluginHostError, RetireError};
use crate::event::{Listener, PluginEvent};
use crate::fault::{FailureReason, Fault};
use crate::live::{self, LivePools, Rereading, Standing};
use crate::metrics::PluginMetrics;
use crate::plugin::{Origin, Plugin};
use crate::printable::printable;
use crate::refusal::Refusal;
use crate::status::{Descriptor, Source};
use crate::subject;
use crate::v1::Component;

/// What became of an offered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It serves, or is what serves already.
    Serves,
    /// It is refused until it changes.
    Refused,
    /// It is refused until it or these pools change.
    InTheWay(Standing),
    /// Nothing is decided: to be offered again.
    NotYet,
}

/// Everything a load needs.
pub(crate) struct Intake {
    pub(crate) engine: Arc<PluginEngine>,
    pub(crate) catalog: Catalog,
    pub(crate) records: Records,
    pub(crate) live: Arc<dyn LivePools>,
    pub(crate) metrics: PluginMetrics,
    pub(crate) events: Listener,
    pub(crate) lanes: usize,
    /// Held while the set changes.
    pub(crate) changes: Mutex<()>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("catalog", &self.catalog).field("records", &self.records).finish_non_exhaustive()
    }
}

/// A refused file with what is known of it, if it came so far as to say what it is.
struct Refused {
    known: Option<Box<Known>>,
    why: Refusal,
}

#[derive(Clone)]
struct Known {
    descriptor: Descriptor,
    /// The pools of its type before it was checked against them: what changes after that is worth another look.
    standing: Standing,
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self { known: None, why }
    }
}

impl Intake {
    /// Takes what served before the restart back into service, on as many threads as there are lanes: it passed its
    /// checks then, and compiling is what the daemon's start waits for.
    pub(crate) fn restore(&self) -> Result<(), PluginHostError> {
        let _changes = self.changes.lock();
        let records = Mutex::new(self.records.all()?.into_iter());
        let next = || records.lock().next();
        thread::scope(|scope| {
            for _ in 0..self.lanes {
                scope.spawn(|| {
                    while let Some(record) = next() {
                        if let Err(error) = record.and_then(|record| self.restore_one(&record)) {
                            // What is embedded or dropped takes its place, or the type is unknown until it is dropped.
                            tracing::error!(error = with_source(&error), "recorded plugin is not usable");
                        }
                    }
                });
            }
        });
        Ok(())
    }

    fn restore_one(&self, record: &Record) -> Result<(), PluginHostError> {
        let bytes: Arc<[u8]> = self.records.component(record.origin.digest)?.into();
        let (component, descriptor) = self.examine(&record.type_id, &bytes).map_err(|refused| {
            let name = format!("{} of {}", record.origin.digest, record.type_id);
            PluginHostError::Recorded { name, source: refused.why }
        })?;
        let plugin = self.plugin(component, descriptor, record.origin.clone());
        self.catalog.install(&plugin, record.retired);
        Ok(())
    }

    /// Offers a part of the daemon.
    pub(crate) fn offer_embedded(&self, name: &str, bytes: &[u8]) -> Verdict {
        let source = Source::Embedded(name.to_owned());
        self.offer(Origin { digest: Digest::of(bytes), source, modified: UNIX_EPOCH }, bytes)
    }

    /// Offers a file of the plugins directory, last changed at `modified`.
    pub(crate) fn offer_file(&self, path: &Path, modified: SystemTime, bytes: &[u8]) -> Verdict {
        let source = Source::File(path.to_owned());
        self.offer(Origin { digest: Digest::of(bytes), source, modified }, bytes)
    }

    /// Notes a file that could not even be read.
    pub(crate) fn refuse_unread(&self, path: &Path, why: Refusal) {
        let _changes = self.changes.lock();
        self.refuse(Source::File(path.to_owned()), None, why.into());
    }

    /// The files that what serves came from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.catalog.files()
    }

    /// Notes that a file is gone. What it brought serves on.
    pub(crate) fn file_gone(&self, path: &Path) {
        let _changes = self.changes.lock();
        let source = Source::File(path.to_owned());
        if let Some(type_id) = self.catalog.set_file_gone(&source, true) {
            tracing::warn!(plugin = type_id, file = %path.display(), "plugin file is gone, its plugin serves on");
            (self.events)(PluginEvent::FileGone { type_id, source });
        }
    }

    fn offer(&self, origin: Origin, bytes: &[u8]) -> Verdict {
        let _changes: MutexGuard<'_, ()> = self.changes.lock();
        if self.serves_already(&origin) {
            self.catalog.set_file_gone(&origin.source, false);
            return Verdict::Serves;
        }
        match self.take_in(&origin, bytes) {
            Ok(()) => Verdict::Serves,
            Err(Refused { why: Refusal::CompilerBusy, .. }) => Verdict::NotYet,
            Err(refused) => {
                let verdict = match (&refused.why, &refused.known) {
                    (Refusal::PoolsBusy(_), _) => Verdict::NotYet,
                    (Refusal::LivePool { .. }, Some(known)) => Verdict::InTheWay(known.standing.clone()),
                    (_, _) => Verdict::Refused,
                };
                self.refuse(origin.source, Some(origin.digest), refused);
                verdict
            }
        }
    }

    fn serves_already(&self, origin: &Origin) -> bool {
        self.catalog.list().iter().any(|status| {
            status.digest == Some(origin.digest) && !matches!(status.state, crate::status::PluginState::Refused { .. })
        })
    }

    fn take_in(&self, origin: &Origin, bytes: &[u8]) -> Result<(), Refused> {
        let limit = self.engine.limits().values().file_bytes;
        if bytes.len() > limit {
            return Err(Refusal::TooLarge { found: bytes.len() as u64, limit }.into());
        }
        let label = origin.source.to_string();
        let (component, descriptor) = self.examine(&label, &bytes.into())?;
        let standing = Standing::of(&descriptor.type_id, &*self.live);
        let facts = Known { descriptor: descriptor.clone(), standing };
        let known = |why: Refusal| Refused { known: Some(Box::new(facts.clone())), why };
        self.outranks(&descriptor, origin).map_err(known)?;
        subject::smoke(&component, bytes.len()).map_err(known)?;
        let plugin = self.plugin(component, descriptor.clone(), origin.clone());
        let serving = self.catalog.serving(&descriptor.type_id).filter(|serving| !serving.retired);
        let serving = serving.as_ref().map(|serving| &*serving.plugin);
        let changed = live::check(&plugin, serving, &*self.live).map_err(known)?;
        // The pools go first: while they still can refuse, the version can be refused.
        self.live.reread(&changed).map_err(|error| known(error.into()))?;
        let record = Record { type_id: descriptor.type_id.clone(), origin: origin.clone(), retired: false };
        if let Err(error) = self.records.keep(&record, bytes) {
            let undone: Vec<_> = changed.iter().map(Rereading::undone).collect();
            if let Err(error) = self.live.reread(&undone) {
                tracing::error!(plugin = descriptor.type_id, %error, "pools stay as a version reads them that is not kept");
            }
            return Err(known(Refusal::NotKept(with_source(&error))));
        }
        self.catalog.install(&plugin, false);
        if !facts.standing.lasts(&*self.live) {
            self.catch_up(&plugin);
        }
        let changed: Vec<_> = changed.iter().map(|reading| reading.pool).collect();
        let Descriptor { type_id, version, .. } = descriptor;
        let Origin { digest, source, .. } = origin.clone();
        tracing::info!(plugin = type_id, %version, %digest, %source, changed = changed.len(), "plugin serves");
        (self.events)(PluginEvent::Activated { type_id, version, digest, source, changed });
        Ok(())
    }

    /// Pools that the version before still opened, while this one took over, become what this one reads them as. One that
    /// cannot keeps its mapping, so nothing in it is named until an operator edits it.
    fn catch_up(&self, plugin: &Plugin) {
        let late = live::check(plugin, None, &*self.live);
        if let Err(why) = late.and_then(|late| self.live.reread(&late).map_err(Refusal::from)) {
            tracing::error!(plugin = plugin.descriptor.type_id, %why, "a pool made meanwhile is not as its plugin reads it");
        }
    }

    /// Reads, compiles and instantiates a component, and asks what it is.
    fn examine(&self, label: &str, bytes: &Arc<[u8]>) -> Result<(Component, Descriptor), Refused> {
        let mut component = Component::new(&self.engine, Metering::Off, label, bytes)?;
        let descriptor = describe(&component)?;
        component.name(&descriptor.type_id);
        Ok((component, descriptor))
    }

    fn plugin(&self, component: Component, descriptor: Descriptor, origin: Origin) -> Arc<Plugin> {
        let events = Arc::clone(&self.events);
        Arc::new(Plugin::new(component, descriptor, origin, self.lanes, &self.metrics, events))
    }

    /// Newest version first; of equal versions a dropped file before an embedded one, then the newest file. Whoever replaces
    /// the very file that serves means it, also with an older version: that is the way back.
    fn outranks(&self, found: &Descriptor, origin: &Origin) -> Result<(), Refusal> {
        let Some(serving) = self.catalog.serving(&found.type_id) else { return Ok(()) };
        let Origin { source, modified, .. } = &serving.plugin.origin;
        let served = &serving.plugin.descriptor.version;
        let newer = match found.version.cmp_precedence(served) {
            Ordering::Greater => true,
            Ordering::Less => {
                matches!((&origin.source, source), (Source::File(path), Source::File(now)) if path == now)
            }
            Ordering::Equal => match (&origin.source, source) {
                (Source::Embedded(_) | Source::File(_), Source::Embedded(_)) => true,
                (Source::Embedded(_), Source::File(_)) => false,
                (Source::File(path), Source::File(before)) => path == before || origin.modified > *modified,
            },
        };
        if serving.retired && matches!(origin.source, Source::Embedded(_)) {
            return Err(Refusal::Retired(found.type_id.clone()));
        }
        if newer || serving.retired {
            return Ok(());
        }
        let type_id = found.type_id.clone();
        Err(Refusal::Older { type_id, found: found.version.to_string(), serving: format!("{served} from {source}") })
    }

    fn refuse(&self, source: Source, digest: Option<Digest>, refused: Refused) {
        let Refused { known, why } = refused;
        let descriptor = known.map(|known| known.descriptor);
        let plugin = descriptor.as_ref().map_or("unknown", |known| known.type_id.as_str());
        if matches!(why, Refusal::Older { .. } | Refusal::Retired(_)) {
            tracing::info!(plugin, %source, %why, "plugin file is not needed");
        } else {
            tracing::warn!(plugin, %source, %why, "plugin file is refused");
            self.metrics.failures(plugin, FailureReason::Refused).inc();
        }
        let file = RefusedFile { descriptor, digest, why: why.clone(), since: SystemTime::now() };
        self.catalog.refuse(source.clone(), file);
        (self.events)(PluginEvent::Refused { source, why });
    }

    /// Takes a type out of service, for good: its embedded plugin stays out too.
    pub(crate) fn retire(&self, type_id: &str) -> Result<(), RetireError> {
        let _changes = self.changes.lock();
        let serving = self.catalog.serving(type_id).filter(|serving| !serving.retired);
        let Some(serving) = serving else { return Err(self.unknown(type_id)) };
        let pools: Vec<String> =
            self.live.pools(type_id).iter().map(|pool| format!("{}/{}", pool.tenant, pool.pool)).collect();
        if !pools.is_empty() {
            return Err(RetireError::InUse { type_id: type_id.to_owned(), pools });
        }
        self.save(type_id, &serving.plugin.origin, true)?;
        self.catalog.set_retired(type_id, true);
        serving.plugin.cool();
        tracing::info!(plugin = type_id, "plugin is retired");
        (self.events)(PluginEvent::Retired { type_id: type_id.to_owned() });
        Ok(())
    }

    /// Lets a suspended or retired type serve again. Does nothing to one that serves.
    pub(crate) fn resume(&self, type_id: &str) -> Result<(), RetireError> {
        let _changes = self.changes.lock();
        let Some(serving) = self.catalog.serving(type_id) else { return Err(self.unknown(type_id)) };
        if serving.retired {
            self.save(type_id, &serving.plugin.origin, false)?;
            self.catalog.set_retired(type_id, false);
        }
        if serving.plugin.health().resume() || serving.retired {
            tracing::info!(plugin = type_id, "plugin is resumed");
            (self.events)(PluginEvent::Resumed { type_id: type_id.to_owned() });
        }
        Ok(())
    }

    fn save(&self, type_id: &str, origin: &Origin, retired: bool) -> Result<(), RetireError> {
        let record = Record { type_id: type_id.to_owned(), origin: origin.clone(), retired };
        self.records.save(&record).map_err(RetireError::Record)
    }

    fn unknown(&self, type_id: &str) -> RetireError {
        RetireError::Unknown { type_id: type_id.to_owned(), known: self.catalog.known() }
    }
}

/// Instantiates a component once and asks what it is.
pub(crate) fn describe(component: &Component) -> Result<Descriptor, Refusal> {
    let failed = |call| move |Fault { reason, detail }: Fault| Refusal::Guest { call, reason, detail };
    let mut guest = component.instantiate().map_err(failed("instantiation"))?;
    let found = guest.describe().map_err(failed("describe"))?;
    let wrong = |field, found: &str, wanted| Refusal::Descriptor { field, found: printable(found, 200), wanted };
    let type_id = found.type_id;
    if !is_type_id(&type_id) {
        return Err(wrong("type-id", &type_id, "1 to 32 of a-z 0-9 - are needed, first a letter, last not -"));
    }
    let version = semver::Version::parse(&found.plugin_version)
        .map_err(|_| wrong("plugin-version", &found.plugin_version, "a semantic version such as 1.0.0 is needed"))?;
    let short = |text: &str| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    for (field, text) in [("mapping-id", &found.mapping_id), ("title", &found.title)] {
        if !short(text) {
            return Err(wrong(field, text, "1 to 128 bytes without control characters are needed"));
        }
    }
    for (field, text) in [("spec-schema", &found.spec_schema), ("hint-schema", &found.hint_schema)] {
        if !serde_json::from_str::<serde_json::Value>(text).is_ok_and(|schema| schema.is_object()) {
            return Err(wrong(field, text, "a JSON object (JSON Schema 2020-12) is needed"));
        }
    }
    Ok(Descriptor {
        type_id,
        version,
        mapping_id: found.mapping_id,
        title: found.title,
        spec_schema: found.spec_schema,
        hint_schema: found.hint_schema,
        examples: found.examples,
    })
}

fn is_type_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}

fn with_source(error: &PluginHostError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
