//! Who serves which type now, and which files were refused. Reading it takes no lock that a load holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::digest::Digest;
use crate::error::PluginError;
use crate::plugin::Plugin;
use crate::refusal::Refusal;
use crate::status::{Descriptor, PluginState, PluginStatus, Source};

/// Files refused and kept for the list; beyond that the oldest is forgotten.
const MOST_REFUSED: usize = 256;

/// What serves one type.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) plugin: Arc<Plugin>,
    /// The version before, compiled and without instances.
    pub(crate) previous: Option<Arc<Plugin>>,
    pub(crate) file_gone: bool,
    pub(crate) retired: bool,
}

/// A file that is not taken into service.
#[derive(Clone, Debug)]
pub(crate) struct RefusedFile {
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) digest: Option<Digest>,
    pub(crate) why: Refusal,
    pub(crate) since: SystemTime,
}

/// The present set.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    types: ArcSwap<BTreeMap<String, Serving>>,
    refused: Mutex<BTreeMap<Source, RefusedFile>>,
}

impl Catalog {
    /// The plugin that answers for a type.
    pub(crate) fn get(&self, type_id: &str) -> Result<Arc<Plugin>, PluginError> {
        let types = self.types.load();
        match types.get(type_id) {
            Some(serving) if !serving.retired => Ok(Arc::clone(&serving.plugin)),
            Some(_) | None => Err(PluginError::UnknownType { type_id: type_id.to_owned(), known: self.known() }),
        }
    }

    /// What is known of a type, retired or not.
    pub(crate) fn serving(&self, type_id: &str) -> Option<Serving> {
        self.types.load().get(type_id).cloned()
    }

    /// The types that are served.
    pub(crate) fn known(&self) -> Vec<String> {
        let types = self.types.load();
        types.iter().filter(|(_, serving)| !serving.retired).map(|(type_id, _)| type_id.clone()).collect()
    }

    /// Lets a plugin serve its type from now on. What served before has no instances any more, once its calls ended.
    pub(crate) fn install(&self, plugin: &Arc<Plugin>, retired: bool) {
        plugin.begin_service();
        let type_id = plugin.descriptor.type_id.clone();
        let previous = self.serving(&type_id).map(|serving| serving.plugin);
        self.refused.lock().remove(&plugin.origin.source);
        self.change(&type_id, |_| {
            Some(Serving { plugin: Arc::clone(plugin), previous: previous.clone(), file_gone: false, retired })
        });
        if let Some(previous) = previous {
            previous.cool();
        }
    }

    /// Marks a type retired or not.
    pub(crate) fn set_retired(&self, type_id: &str, retired: bool) {
        self.change(type_id, |serving| serving.map(|serving| Serving { retired, ..serving.clone() }));
    }

    /// Notes that a file is there, or gone. Some if that is news: the type it serves.
    pub(crate) fn set_file_gone(&self, source: &Source, gone: bool) -> Option<String> {
        self.refused.lock().retain(|refused, _| !gone || refused != source);
        let types = self.types.load();
        let (type_id, _) =
            types.iter().find(|(_, serving)| serving.plugin.origin.source == *source && serving.file_gone != gone)?;
        self.change(type_id, |serving| serving.map(|serving| Serving { file_gone: gone, ..serving.clone() }));
        Some(type_id.clone())
    }

    /// The files that what serves came from, and that were there when last seen.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let types = self.types.load();
        let there = types.values().filter(|serving| !serving.file_gone);
        let file = |serving: &Serving| match &serving.plugin.origin.source {
            Source::File(path) => Some(path.clone()),
            Source::Embedded(_) => None,
        };
        there.filter_map(file).collect()
    }

    pub(crate) fn refuse(&self, source: Source, refused: RefusedFile) {
        let mut files = self.refused.lock();
        files.insert(source, refused);
        if files.len() > MOST_REFUSED {
            let oldest = files.iter().min_by_key(|(_, file)| file.since).map(|(source, _)| source.clone());
            oldest.and_then(|source| files.remove(&source));
        }
    }

    /// Everything, plugins that serve first.
    pub(crate) fn list(&self) -> Vec<PluginStatus> {
        let mut out: Vec<PluginStatus> = self.types.load().values().map(status).collect();
        out.extend(self.refused.lock().iter().map(|(source, file)| PluginStatus {
            descriptor: file.descriptor.clone(),
            digest: file.digest,
            source: source.clone(),
            state: PluginState::Refused { why: file.why.clone() },
            since: file.since,
            file_gone: false,
            previous: None,
            calls: 0,
            failures: 0,
        }));
        out
    }

    /// Loads are made one at a time by `intake`, so read-copy-update never loses a change.
    fn change(&self, type_id: &str, next: impl Fn(Option<&Serving>) -> Option<Serving>) {
        self.types.rcu(|types| {
            let mut types = BTreeMap::clone(types);
            match next(types.get(type_id)) {
                Some(serving) => types.insert(type_id.to_owned(), serving),
                None => types.remove(type_id),
            };
            types
        });
    }
}

fn status(serving: &Serving) -> PluginStatus {
    let plugin = &serving.plugin;
    let state = match (serving.retired, plugin.health().suspended()) {
        (true, _) => PluginState::Retired,
        (false, Some(why)) => PluginState::Suspended { why: why.to_string() },
        (false, None) => PluginState::Active,
    };
    PluginStatus {
        descriptor: Some(plugin.descriptor.clone()),
        digest: Some(plugin.origin.digest),
        source: plugin.origin.source.clone(),
        state,
        since: plugin.since,
        file_gone: serving.file_gone,
        previous: serving.previous.as_ref().map(|plugin| plugin.descriptor.version.clone()),
        calls: plugin.calls(),
        failures: plugin.failures(),
    }
}
