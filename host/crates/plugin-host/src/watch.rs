//! The plugins directory, watched: a file is offered once it was left alone for a while and could be read whole.
//!
//! inotify says when to look and a rescan looks anyway, so a lost event costs time only. Dot-files, `.part` files and
//! whatever does not end in `.wasm` are not looked at. A refused file is offered again when its size or time changes, and
//! one that live pools stood in the way of also when those change.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use notify::Watcher as _;

use crate::error::PluginHostError;
use crate::intake::{Intake, Verdict};
use crate::live::Standing;
use crate::refusal::Refusal;

/// When the directory is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long a file must have been left alone.
    pub(crate) settle: Duration,
    /// How often to look without being told.
    pub(crate) rescan: Duration,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: SystemTime,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// When it may be offered; none once it was.
    due: Option<Instant>,
    /// It was refused because of these pools.
    in_the_way: Option<Standing>,
}

/// The directory and what was seen in it.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    pace: Pace,
    files: BTreeMap<PathBuf, Seen>,
    /// True once its absence was reported.
    missing: bool,
}

impl Folder {
    pub(crate) fn new(dir: PathBuf, pace: Pace) -> Self {
        Self { dir, pace, files: BTreeMap::new(), missing: false }
    }

    /// Looks once and offers what is due, the file last changed last. Returns when to look again at the latest.
    pub(crate) fn visit(&mut self, intake: &Intake, stop: &AtomicBool) -> Instant {
        self.look(intake);
        let now = Instant::now();
        let mut due: Vec<(SystemTime, PathBuf)> = self
            .files
            .iter()
            .filter(|(_, seen)| seen.due.is_some_and(|due| due <= now))
            .map(|(path, seen)| (seen.stamp.modified, path.clone()))
            .collect();
        due.sort();
        for (_, path) in due {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let (due, in_the_way) = self.offer(intake, &path);
            if let Some(seen) = self.files.get_mut(&path) {
                (seen.due, seen.in_the_way) = (due, in_the_way);
            }
        }
        let rescan = Instant::now() + self.pace.rescan;
        self.files.values().filter_map(|seen| seen.due).min().map_or(rescan, |due| due.min(rescan))
    }

    /// Compares the directory with what was seen before.
    fn look(&mut self, intake: &Intake) {
        let found = match list(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                if !self.missing {
                    tracing::warn!(dir = %self.dir.display(), %error, "plugins directory cannot be read");
                }
                self.missing = true;
                return;
            }
        };
        self.missing = false;
        let now = Instant::now();
        let gone: Vec<PathBuf> = self.files.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            intake.file_gone(&path);
        }
        // What serves from an earlier run was never seen here if its file went while nobody looked.
        for path in intake.files().into_iter().filter(|path| !found.contains_key(path) && !path.exists()) {
            intake.file_gone(&path);
        }
        for (path, stamp) in found {
            if self.files.get(&path).is_none_or(|seen| seen.stamp != stamp) {
                // A file that was left alone since long before it was seen need not wait again.
                let age = SystemTime::now().duration_since(stamp.modified).unwrap_or(Duration::ZERO);
                let due = now + self.pace.settle.saturating_sub(age);
                self.files.insert(path, Seen { stamp, due: Some(due), in_the_way: None });
            }
        }
        for seen in self.files.values_mut() {
            if seen.in_the_way.as_ref().is_some_and(|pools| !pools.lasts(&*intake.live)) {
                (seen.due, seen.in_the_way) = (Some(now), None);
            }
        }
    }

    /// Offers one file. When to offer it again, and which pools to watch for that.
    fn offer(&self, intake: &Intake, path: &Path) -> (Option<Instant>, Option<Standing>) {
        let Some(Seen { stamp, .. }) = self.files.get(path) else { return (None, None) };
        let limit = intake.engine.limits().values().file_bytes;
        match read_whole(path, *stamp, limit) {
            Ok(Some(bytes)) => match intake.offer_file(path, stamp.modified, &bytes) {
                Verdict::Serves | Verdict::Refused => (None, None),
                Verdict::InTheWay(pools) => (None, Some(pools)),
                Verdict::NotYet => (Some(Instant::now() + self.pace.rescan), None),
            },
            // It changed under our eyes: what `look` finds next decides.
            Ok(None) => (Some(Instant::now() + self.pace.settle), None),
            Err(why) => {
                intake.refuse_unread(path, why);
                (None, None)
            }
        }
    }
}

fn list(dir: &Path) -> std::io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Gone since it was listed: the next look sees that.
        if let Ok(stamp) = fs::metadata(&path).and_then(|metadata| stamp(&metadata)) {
            found.insert(path, stamp);
        }
    }
    Ok(found)
}

fn stamp(metadata: &Metadata) -> std::io::Result<Stamp> {
    Ok(Stamp { len: metadata.len(), modified: metadata.modified()? })
}

/// The file's bytes; none if it is no longer what was seen.
fn read_whole(path: &Path, seen: Stamp, limit: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let unreadable = |error: std::io::Error| Refusal::Unreadable(error.to_string());
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Refusal::Unreadable("it is not a regular file".into()));
    }
    if metadata.len() > limit as u64 {
        return Err(Refusal::TooLarge { found: metadata.len(), limit });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let now = fs::metadata(path).and_then(|metadata| stamp(&metadata)).map_err(unreadable)?;
    Ok((now == seen && now.len == bytes.len() as u64).then_some(bytes))
}

/// The thread that watches. Dropping it stops and joins it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Goes on watching a folder that was visited once.
    pub(crate) fn start(folder: Folder, intake: Arc<Intake>) -> Result<Self, PluginHostError> {
        let stop = Arc::new(AtomicBool::new(false));
        // One pending wake is enough: it makes the thread look at everything.
        let (wake, woken) = sync_channel(1);
        let (flag, waker) = (Arc::clone(&stop), wake.clone());
        let thread = thread::Builder::new()
            .name("plugin-watch".into())
            .spawn(move || run(folder, &intake, &flag, waker, &woken))
            .map_err(|source| PluginHostError::Thread { name: "plugin-watch", source })?;
        Ok(Self { stop, wake, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Full: a wake is pending already.
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and that was reported when it did.
            let _ = thread.join();
        }
    }
}

fn run(mut folder: Folder, intake: &Intake, stop: &AtomicBool, wake: SyncSender<()>, woken: &Receiver<()>) {
    crate::engine::yield_to_others();
    let mut watcher = None;
    while !stop.load(Ordering::Acquire) {
        if watcher.is_none() {
            watcher = subscribe(&folder.dir, &wake);
        }
        let next = folder.visit(intake, stop);
        // Both ends of the wait mean the same: look again.
        let _ = woken.recv_timeout(next.saturating_duration_since(Instant::now()));
    }
    drop((watcher, wake));
}

/// Asks to be woken at changes; none if the system cannot, and then the rescan has to do.
fn subscribe(dir: &Path, wake: &SyncSender<()>) -> Option<notify::RecommendedWatcher> {
    let wake = wake.clone();
    let changed = move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too, and it is ours.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // Full: a wake is pending already.
            let _ = wake.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(changed).ok()?;
    watcher.watch(dir, notify::RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
