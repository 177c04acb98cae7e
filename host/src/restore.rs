//! `nexus restore`: from the file of a backup to a data directory that a daemon may start on.
//!
//! The whole file is checked before anything is written. The mark that quarantines what the backup does not know comes first,
//! the identity last: without it no daemon takes the directory for a store, so a restore that was cut short serves nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kernel::{Fact, Pool, PoolUid};
use std::sync::Arc;
use store::{Identity, Store, StoreSettings};

use crate::backup::About;
use crate::backup::archive::{self, ArchiveError, Nobody, Take};
use crate::cluster;
use crate::restored::{Mark, Phase, Quarantined};

const DATA: &str = "data/";
const IDENTITY: &str = "identity";

/// Whether what was forgotten may be handed out again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    Refused,
    Accepted,
}

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restoration {
    pub(crate) about: About,
    pub(crate) identity: Identity,
    pub(crate) pools: Vec<Quarantined>,
}

/// Why nothing was restored.
#[derive(Debug)]
pub(crate) enum Unrestored {
    /// What was named cannot be used; nothing was changed.
    Wrong(anyhow::Error),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Unrestored {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Restores a backup into a directory that is empty or not there.
pub(crate) fn restore(from: &Path, dir: &Path, duplicates: Duplicates) -> Result<Restoration, Unrestored> {
    check_empty(dir).map_err(Unrestored::Wrong)?;
    let header = archive::read(from, &mut Nobody).map_err(wrong_or_failed)?;
    let about = about(from, &header).map_err(Unrestored::Wrong)?;
    if about.membership.is_some() && duplicates == Duplicates::Accepted {
        return Err(Unrestored::Wrong(anyhow::anyhow!(
            "{} is of a member of a cluster: its records come from the other members, which quarantine its shards when it \
             joins again; leave --i-accept-duplicates out, and end the quarantine with nexus shard end-quarantine",
            from.display()
        )));
    }
    let made = !dir.exists();
    create_dir(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let cluster = about.membership.map(|membership| membership.cluster.to_string());
    let mut mark = Mark::begun(about.made_ms, cluster);
    mark.write(dir)?;
    let mut put = Put { dir, member: about.membership.is_some(), open: None, identity: None };
    // Checked again: it may be another file by now.
    let again = archive::read(from, &mut put).map_err(wrong_or_failed)?;
    if again != header {
        return Err(Unrestored::Failed(anyhow::anyhow!("{} changed while it was read", from.display())));
    }
    let text = put.identity.take();
    let text = text.with_context(|| format!("{} holds no {DATA}{IDENTITY}", from.display()))?;
    sync_all(dir)?;
    let identity = store::begin_next_life(dir, &text).context("the identity cannot be written")?;
    if about.membership.is_none() {
        mark.pools = quarantined(dir)?;
    }
    mark.accepted_duplicates = duplicates == Duplicates::Accepted;
    if mark.accepted_duplicates {
        mark.pools.clear();
    }
    mark.phase = Phase::Restored;
    mark.write(dir)?;
    if made && let Some(parent) = dir.canonicalize().ok().as_deref().and_then(Path::parent) {
        sync(parent)?;
    }
    Ok(Restoration { about, identity, pools: mark.pools })
}

fn wrong_or_failed(error: ArchiveError) -> Unrestored {
    match error {
        ArchiveError::Unreadable { .. } | ArchiveError::Damaged { .. } => Unrestored::Wrong(error.into()),
        ArchiveError::Taken(_) => Unrestored::Failed(error.into()),
    }
}

fn check_empty(dir: &Path) -> anyhow::Result<()> {
    let listed = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.with_context(|| format!("{} cannot be listed", dir.display()))?,
    };
    for entry in listed {
        let name = entry.with_context(|| format!("{} cannot be listed", dir.display()))?.file_name();
        // Of the file system's own.
        if name != "lost+found" {
            bail!(
                "{} is not empty, it has {}: a backup is restored into an empty directory",
                dir.display(),
                name.display()
            );
        }
    }
    Ok(())
}

fn about(from: &Path, header: &str) -> anyhow::Result<About> {
    let about: About = serde_json::from_str(header)
        .with_context(|| format!("{} of {} is not what this version knows", archive::HEADER, from.display()))?;
    if about.format != About::FORMAT {
        bail!("{} has format {}, this version reads {}", from.display(), about.format, About::FORMAT);
    }
    Ok(about)
}

fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

/// The pools as the records have them, which are read to their end and must be whole.
fn quarantined(dir: &Path) -> anyhow::Result<Vec<Quarantined>> {
    let report = store::check(dir).context("the restored records cannot be read")?;
    if let Some(damage) = report.damage.first() {
        bail!("the restored records are damaged ({damage}): {} must not be used", dir.display());
    }
    let mut pools: BTreeMap<PoolUid, Arc<Pool>> = BTreeMap::new();
    let (mut deleted, mut lasting) = (Vec::new(), BTreeSet::new());
    let (store, _) = Store::open(dir, StoreSettings::default(), 0).context("the restored records cannot be opened")?;
    store.recover(&mut |op| match op.fact {
        Fact::Pool(pool) => {
            let known = pools.entry(pool.uid).or_insert_with(|| Arc::clone(&pool));
            if known.revision < pool.revision {
                *known = pool;
            }
        }
        Fact::PoolDeleted(uid) => deleted.push(uid),
        Fact::Held(held) if held.expires_ms().is_none() => _ = lasting.insert(held.pool),
        Fact::Held(_)
        | Fact::Realm(_)
        | Fact::Resting(_)
        | Fact::Free(_)
        | Fact::Reserved(_)
        | Fact::Unreserved { .. }
        | Fact::Clock
        | Fact::RestsOn(_)
        | Fact::Heard { .. }
        | Fact::Adopted(_)
        | Fact::Noted(_)
        | Fact::Unnoted(_)
        | Fact::Conflict(_)
        | Fact::ConflictClosed(_) => {}
    })?;
    pools.retain(|uid, _| !deleted.contains(uid));
    Ok(pools.into_values().map(|pool| Quarantined::of(&pool, lasting.contains(&pool.uid))).collect())
}

/// Syncs every directory below, and the directory itself.
fn sync_all(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be listed", dir.display()))? {
        let path = entry.with_context(|| format!("{} cannot be listed", dir.display()))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        }
    }
    sync(dir)
}

fn sync(dir: &Path) -> anyhow::Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("{} cannot be synced", dir.display()))
}

/// Puts the members of an archive below a directory.
struct Put<'a> {
    dir: &'a Path,
    /// Of a member of a cluster nothing is restored that the others know better.
    member: bool,
    open: Option<Open>,
    identity: Option<String>,
}

enum Open {
    File(File, PathBuf),
    Identity(Vec<u8>),
}

impl Put<'_> {
    fn wants(&self, name: &str) -> bool {
        let top = name.split('/').next().unwrap_or_default();
        name == IDENTITY || !(self.member && (store::is_store_file(top) || top == cluster::MEMBERSHIP))
    }
}

impl Take for Put<'_> {
    fn begin(&mut self, name: &str, _: u64) -> Result<(), String> {
        let Some(name) = name.strip_prefix(DATA).filter(|name| self.wants(name)) else { return Ok(()) };
        if name == IDENTITY {
            self.open = Some(Open::Identity(Vec::new()));
            return Ok(());
        }
        let path = self.dir.join(name);
        let create = || -> io::Result<File> {
            let above = path.parent().unwrap_or(self.dir);
            DirBuilder::new().recursive(true).mode(0o750).create(above)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)
        };
        let file = create().map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
        self.open = Some(Open::File(file, path));
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.open {
            None => Ok(()),
            Some(Open::Identity(text)) => {
                text.extend_from_slice(bytes);
                Ok(())
            }
            Some(Open::File(file, path)) => {
                file.write_all(bytes).map_err(|error| format!("{} cannot be written: {error}", path.display()))
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self.open.take() {
            None => Ok(()),
            Some(Open::Identity(text)) => {
                let text = String::from_utf8(text).map_err(|_| "the identity is no text".to_owned())?;
                self.identity = Some(text);
                Ok(())
            }
            Some(Open::File(file, path)) => {
                file.sync_all().map_err(|error| format!("{} cannot be synced: {error}", path.display()))
            }
        }
    }
}
