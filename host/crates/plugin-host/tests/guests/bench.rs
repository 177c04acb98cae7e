//! What the tests of this crate share.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kernel::{PoolUid, Span};
use plugin_host::{
    Limits, LivePool, LivePools, NameCursor, NamePage, NotReread, PluginEvent, PluginHost, PluginMetrics, Rereading,
    Settings,
};

/// What lives, as a test sets it.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) pools: Mutex<Vec<LivePool>>,
    pub(crate) names: Mutex<Vec<(Span, String)>>,
    /// What the pools were made to be.
    pub(crate) reread: Mutex<Vec<Rereading>>,
    /// What the next rereading meets.
    pub(crate) not_reread: Mutex<Option<NotReread>>,
    /// A pool that somebody makes during the next rereading.
    pub(crate) meanwhile: Mutex<Option<LivePool>>,
}

impl LivePools for Live {
    fn pools(&self, _: &str) -> Vec<LivePool> {
        self.pools.lock().unwrap().clone()
    }

    fn names(&self, _: PoolUid, from: Option<NameCursor>, limit: usize) -> NamePage {
        let all = self.names.lock().unwrap();
        let skip = from.map_or(0, |cursor| usize::try_from(cursor.start).unwrap());
        let names: Vec<_> = all.iter().skip(skip).take(limit).map(|(span, name)| (*span, name.into())).collect();
        let next = (skip + names.len() < all.len())
            .then(|| NameCursor { realm: kernel::RealmUid(0), start: (skip + names.len()) as u128 });
        NamePage { names, next }
    }

    fn reread(&self, readings: &[Rereading]) -> Result<(), NotReread> {
        if let Some(error) = self.not_reread.lock().unwrap().take() {
            return Err(error);
        }
        self.reread.lock().unwrap().extend_from_slice(readings);
        self.pools.lock().unwrap().extend(self.meanwhile.lock().unwrap().take());
        Ok(())
    }
}

/// A plugin host in a directory of its own.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) pools: Arc<Live>,
    pub(crate) events: Arc<Mutex<Vec<PluginEvent>>>,
    pub(crate) metrics: PluginMetrics,
    pub(crate) limits: Limits,
    pub(crate) lanes: usize,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            pools: Arc::default(),
            events: Arc::default(),
            metrics: PluginMetrics::new().unwrap(),
            limits: Limits::small(),
            lanes: 2,
        }
    }

    /// Where plugins are dropped.
    pub(crate) fn drop_dir(&self) -> PathBuf {
        let dir = self.dir.path().join("plugins");
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Starts a host with these embedded plugins, watching [`drop_dir`](Self::drop_dir).
    pub(crate) fn start(&self, embedded: &[Vec<u8>]) -> PluginHost {
        let events = Arc::clone(&self.events);
        let numbered = embedded.iter().enumerate();
        PluginHost::start(Settings {
            limits: self.limits.clone(),
            state_dir: self.dir.path().join("state"),
            embedded: numbered.map(|(n, bytes)| (format!("plugin-{n}"), bytes.clone())).collect(),
            plugins_dir: Some(self.drop_dir()),
            settle: Duration::from_millis(20),
            rescan: Duration::from_millis(200),
            lanes: NonZeroUsize::new(self.lanes).unwrap(),
            live: Arc::clone(&self.pools) as Arc<dyn LivePools>,
            metrics: self.metrics.clone(),
            events: Arc::new(move |event| events.lock().unwrap().push(event)),
        })
        .unwrap()
    }

    /// Writes a plugin file whole.
    pub(crate) fn drop_file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.drop_dir().join(name);
        let part = path.with_extension("part");
        std::fs::write(&part, bytes).unwrap();
        std::fs::rename(&part, &path).unwrap();
        path
    }

    /// The event that `wanted` accepts, within ten seconds.
    pub(crate) fn event(&self, wanted: impl Fn(&PluginEvent) -> bool) -> PluginEvent {
        let found = || self.events.lock().unwrap().iter().find(|event| wanted(event)).cloned();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(event) = found() {
                return event;
            }
            assert!(Instant::now() < deadline, "no such event among {:#?}", self.events.lock().unwrap());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

pub(crate) fn span(start: u128) -> Span {
    Span::new(start, 1).unwrap()
}

pub(crate) fn spec() -> Arc<str> {
    "{}".into()
}

/// The plugins that the workspace builds.
pub(crate) fn built(name: &str) -> Vec<u8> {
    let dir = std::env::var_os("NEXUS_PLUGINS_DIR").map_or_else(default_dir, PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("no plugins: run cargo xtask plugins or set plugins.dir ({}: {error})", path.display())
    })
}

/// `<target-dir>/nexus-plugins`: test executables lie in `<target-dir>/<profile>/deps`.
fn default_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap_or(Path::new("target"));
    target.join("nexus-plugins")
}
