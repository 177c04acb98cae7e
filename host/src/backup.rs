//! Backups of the running daemon, told piece by piece to whoever asked: the daemon needs no place to write them to, and gives
//! nobody a way to write files.
//!
//! What it has: the records of one moment ([`store::Pinned`]), whose they are, the key this host has among others, and the
//! plugins' components. Not the ledger's log: a member that is restored gets it from the others, and a vote that was put
//! back could elect two leaders. `restore` reads it.

pub(crate) mod archive;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::ports::{BackupPiece, BackupSummary, Backups as Port};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Identity, Reader};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use view::View;

use crate::clock;
use crate::cluster::{self, Membership};

/// Pieces on their way; each has at most [`PIECE`] bytes.
const WAITING: usize = 8;
const PIECE: usize = 64 * 1024;

/// Whoever takes nothing for so long has gone.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);

/// How deep the directories of plugins are.
const DEPTH: usize = 3;

/// What makes no sense in another directory, or another time.
const LEFT_OUT: [&str; 4] = ["ledger", "nonce.json", "stopped.json", crate::restored::FILE];

/// The first member of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) format: u32,
    pub(crate) version: String,
    pub(crate) node: String,
    /// Hexadecimal.
    pub(crate) host: String,
    pub(crate) incarnation: u32,
    /// Of a member: which cluster, and which of its members.
    pub(crate) membership: Option<Membership>,
    /// Every operation up to here is in it.
    pub(crate) through: u64,
    pub(crate) made_ms: u64,
}

impl About {
    pub(crate) const FORMAT: u32 = 1;
}

/// What backups are made of.
#[derive(Debug)]
pub(crate) struct Backups {
    pub(crate) reader: Reader,
    pub(crate) view: Arc<View>,
    pub(crate) data_path: PathBuf,
    pub(crate) stopping: CancellationToken,
    one_at_a_time: Arc<Semaphore>,
}

impl Backups {
    pub(crate) fn new(reader: Reader, view: Arc<View>, data_path: PathBuf, stopping: CancellationToken) -> Self {
        Self { reader, view, data_path, stopping, one_at_a_time: Arc::new(Semaphore::new(1)) }
    }
}

impl Port for Backups {
    fn begin(&self) -> Result<mpsc::Receiver<BackupPiece>, String> {
        let turn = Arc::clone(&self.one_at_a_time).try_acquire_owned();
        let turn = turn.map_err(|_| "another backup is being made; ask again when it is done".to_owned())?;
        let (pieces, taken) = mpsc::channel(WAITING);
        let telling = Telling { pieces, stopping: self.stopping.clone(), runtime: Handle::current() };
        let (reader, view, data) = (self.reader.clone(), Arc::clone(&self.view), self.data_path.clone());
        // It ends by itself when nobody takes its pieces any more, or the daemon drains.
        drop(tokio::task::spawn_blocking(move || tell_all(&reader, &view, &data, &telling, turn)));
        Ok(taken)
    }
}

/// The way to whoever asked.
struct Telling {
    pieces: mpsc::Sender<BackupPiece>,
    stopping: CancellationToken,
    runtime: Handle,
}

impl Telling {
    fn send(&self, piece: BackupPiece) -> anyhow::Result<()> {
        let sent = async {
            tokio::select! {
                sent = self.pieces.send_timeout(piece, TAKEN_WITHIN) => sent.map_err(|_| "nobody takes it"),
                () = self.stopping.cancelled() => Err("the daemon stops"),
            }
        };
        self.runtime.block_on(sent).map_err(anyhow::Error::msg)
    }
}

fn tell_all(reader: &Reader, view: &View, data: &Path, telling: &Telling, turn: OwnedSemaphorePermit) {
    let told = tell(reader, view, data, telling);
    match &told {
        Ok(summary) => {
            let BackupSummary { files, bytes, through, .. } = summary;
            tracing::info!(files, bytes, through, "a backup was made");
        }
        Err(error) => tracing::warn!(error = format_args!("{error:#}"), "a backup was not made"),
    }
    drop(turn);
    let last = match told {
        Ok(summary) => BackupPiece::Done(summary),
        Err(error) => BackupPiece::Failed(format!("{error:#}")),
    };
    // Who went away does not want to know.
    telling.send(last).unwrap_or_default();
}

fn tell(reader: &Reader, view: &View, data: &Path, telling: &Telling) -> anyhow::Result<BackupSummary> {
    // Before the files are pinned: all that is shown is on the disk.
    let through = *view.committed().borrow();
    let pinned = reader.pin().context("the records cannot be held as they are")?;
    let about = about(reader.identity(), cluster::membership(data)?, through);
    let mut writing = Writing { telling, sums: archive::Sums::default(), files: 0, bytes: 0 };
    let text = serde_json::to_vec_pretty(&about).context("a backup's header has no text")?;
    writing.member(archive::HEADER, &text)?;
    for file in &pinned.files {
        writing.file(&format!("data/{}", file.name), &file.path, Some(file.bytes))?;
    }
    for (name, path) in others(data)? {
        writing.file(&format!("data/{name}"), &path, None)?;
    }
    let sums = writing.sums.text();
    writing.member(archive::CHECKSUMS, sums.as_bytes())?;
    writing.send(archive::end())?;
    Ok(BackupSummary { node: about.node, files: writing.files, bytes: writing.bytes, through })
}

fn about(identity: &Identity, membership: Option<Membership>, through: u64) -> About {
    About {
        format: About::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: identity.node.to_string(),
        host: format!("{:016x}", identity.origin.identity),
        incarnation: identity.origin.incarnation,
        membership,
        through,
        made_ms: clock::wall_ms(),
    }
}

/// What else is in the data directory: small files that are replaced as a whole.
fn others(data: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut below = vec![(String::new(), data.to_owned(), 0)];
    while let Some((prefix, dir, depth)) = below.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("{} cannot be listed", dir.display()))? {
            let entry = entry.with_context(|| format!("{} cannot be listed", dir.display()))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let extension = Path::new(&name).extension().and_then(OsStr::to_str);
            let rubbish = matches!(extension, Some("new" | "part")) || name.starts_with('.');
            let ours = depth == 0 && (store::is_store_file(&name) || LEFT_OUT.contains(&name.as_str()));
            if rubbish || ours || name.starts_with("damaged-") {
                continue;
            }
            let kind = entry.file_type().with_context(|| format!("{} cannot be looked at", entry.path().display()))?;
            let name = format!("{prefix}{name}");
            if kind.is_file() {
                found.push((name, entry.path()));
            } else if kind.is_dir() && depth < DEPTH {
                below.push((format!("{name}/"), entry.path(), depth + 1));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

struct Writing<'a> {
    telling: &'a Telling,
    sums: archive::Sums,
    files: u64,
    bytes: u64,
}

impl Writing<'_> {
    fn send(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.bytes += bytes.len() as u64;
        if bytes.is_empty() { Ok(()) } else { self.telling.send(BackupPiece::Data(Bytes::from(bytes))) }
    }

    fn member(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let bytes = content.len() as u64;
        self.send(archive::head(name, bytes).map_err(anyhow::Error::msg)?)?;
        for piece in content.chunks(PIECE) {
            self.send(piece.to_vec())?;
        }
        self.send(archive::padding(bytes))?;
        self.sums.add(name, bytes, crc32fast::hash(content));
        self.files += 1;
        Ok(())
    }

    /// So many bytes of a file, or all that it has now.
    fn file(&mut self, name: &str, path: &Path, bytes: Option<u64>) -> anyhow::Result<()> {
        let unreadable = || format!("{} cannot be read", path.display());
        let mut file = File::open(path).with_context(unreadable)?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => file.metadata().with_context(unreadable)?.len(),
        };
        self.send(archive::head(name, bytes).map_err(anyhow::Error::msg)?)?;
        let mut sum = crc32fast::Hasher::new();
        let mut left = bytes;
        while left > 0 {
            let mut piece = Vec::with_capacity(PIECE);
            let most = left.min(PIECE as u64);
            let read = file.by_ref().take(most).read_to_end(&mut piece).with_context(unreadable)?;
            if read == 0 {
                bail!("{} became shorter while it was read", path.display());
            }
            sum.update(&piece);
            left -= read as u64;
            self.send(piece)?;
        }
        self.send(archive::padding(bytes))?;
        self.sums.add(name, bytes, sum.finalize());
        self.files += 1;
        Ok(())
    }
}
