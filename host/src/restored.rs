//! The mark of a restored data directory, and the quarantine that goes with it.
//!
//! A backup does not know what was handed out after it was made. So of every pool in it nothing new is handed out, and what it
//! says is answered, until nobody can hold any more what was forgotten: until the longest lease that the pool gives has passed
//! since, or an operator says so. The file `restored.json` says it in the data directory, from before the first start on.
//!
//! A member of a cluster is restored without its records: the others tell them, and the ledger quarantines its shards, because
//! it comes in another incarnation. Then the mark only keeps it from being taken for a host that is alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::engine::WeakEngine;
use kernel::{Command, Longest, News, Pool, PoolUid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::cluster::replace;

pub(crate) const FILE: &str = "restored.json";

/// A lease that ended while the daemon was down may be renewed for a while, and answers may be late.
const GRACE_MS: u64 = 600_000;

/// How often time is counted, and how often that is written down.
const COUNT_EVERY: Duration = Duration::from_secs(1);
const WRITE_EVERY_MS: u64 = 60_000;

/// How far a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// It is being written, or was not written to its end.
    Restoring,
    Restored,
}

/// A pool that nothing is handed out of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) pool: PoolUid,
    pub(crate) id: String,
    /// How long after the restore; `None`: until an operator says so, because its allocations have no end.
    pub(crate) wait_ms: Option<u64>,
}

impl Quarantined {
    /// As the pool was when the backup was made. `lasting`: allocations without a lease were handed out of it, whatever its terms.
    pub(crate) fn of(pool: &Pool, lasting: bool) -> Self {
        let terms = &pool.draft.terms;
        let wait_ms = match terms.lease.longest() {
            // Clocks differ in rate by up to 1 %.
            Longest::Millis(ms) if !lasting => {
                Some(ms.saturating_add(ms / 100).saturating_add(terms.hold_down_ms).saturating_add(GRACE_MS))
            }
            Longest::Millis(_) | Longest::Ever => None,
        };
        Self { pool: pool.uid, id: pool.draft.id.to_string(), wait_ms }
    }
}

/// What `restored.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) format: u32,
    pub(crate) phase: Phase,
    /// When the backup was made, and when it was restored.
    pub(crate) made_ms: u64,
    pub(crate) restored_ms: u64,
    /// Of a member: the cluster that it must join again.
    pub(crate) cluster: Option<String>,
    /// Somebody said that duplicates do not matter.
    pub(crate) accepted_duplicates: bool,
    pub(crate) pools: Vec<Quarantined>,
    /// So much time has passed since the restore for sure: the clock since boot was there to count it.
    pub(crate) counted_ms: u64,
    /// In this boot of the machine, up to this moment of it.
    boot: String,
    boot_ms: u64,
}

impl Mark {
    const FORMAT: u32 = 1;

    /// A restore begins, of a backup that was made then.
    pub(crate) fn begun(made_ms: u64, cluster: Option<String>) -> Self {
        Self {
            format: Self::FORMAT,
            phase: Phase::Restoring,
            made_ms,
            restored_ms: clock::wall_ms(),
            cluster,
            accepted_duplicates: false,
            pools: Vec::new(),
            counted_ms: 0,
            boot: boot(),
            boot_ms: clock::boot_ms(),
        }
    }

    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the mark of a restore has no text")?;
        replace(dir, FILE, &text)
    }

    fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let mark: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged: it says what may not be handed out; restore the backup again", path.display())
        })?;
        if mark.format != Self::FORMAT {
            bail!("{} has format {}, this version reads {}", path.display(), mark.format, Self::FORMAT);
        }
        if mark.phase == Phase::Restoring {
            bail!(
                "{} says that a backup was not restored to its end: remove the directory and run nexus restore again",
                path.display()
            );
        }
        Ok(Some(mark))
    }

    /// Adds the time since it was last looked at. What passed while the machine was off is not known, so it is not counted.
    fn count(&mut self, boot: &str, boot_ms: u64) {
        if self.boot == boot {
            self.counted_ms = self.counted_ms.saturating_add(boot_ms.saturating_sub(self.boot_ms));
        } else {
            boot.clone_into(&mut self.boot);
        }
        self.boot_ms = boot_ms;
    }

    /// Takes out the pools whose time has come.
    fn take_due(&mut self) -> Vec<Quarantined> {
        let counted_ms = self.counted_ms;
        self.pools.extract_if(.., |pool| pool.wait_ms.is_some_and(|wait_ms| wait_ms <= counted_ms)).collect()
    }
}

/// Which boot of which machine this is; where the machine does not say, which process.
fn boot() -> String {
    static PROCESS: OnceLock<String> = OnceLock::new();
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
    let process = || format!("process {} since {}", std::process::id(), clock::boot_ms());
    read.unwrap_or_else(|_| PROCESS.get_or_init(process).clone())
}

/// What of the data directory is quarantined, if it was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    dir: PathBuf,
    mark: Mutex<Option<Mark>>,
}

impl Restored {
    /// # Errors
    ///
    /// If a restore was cut short, or the mark cannot be believed: then nobody knows what may be handed out.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut mark = Mark::read(dir)?;
        if let Some(mark) = mark.as_mut().filter(|mark| !mark.pools.is_empty()) {
            mark.count(&boot(), clock::boot_ms());
            tracing::warn!(
                pools = mark.pools.len(),
                "this data directory was restored from a backup: nothing new is handed out of its pools for now"
            );
        }
        Ok(Self { dir: dir.to_owned(), mark: Mutex::new(mark) })
    }

    /// The cluster that this host was a member of when its backup was made.
    pub(crate) fn was_member(&self) -> bool {
        self.mark.lock().as_ref().is_some_and(|mark| mark.cluster.is_some())
    }

    /// The pools that nothing is handed out of.
    pub(crate) fn pools(&self) -> BTreeSet<PoolUid> {
        self.mark.lock().iter().flat_map(|mark| &mark.pools).map(|quarantined| quarantined.pool).collect()
    }

    pub(crate) fn has(&self, pool: PoolUid) -> bool {
        self.mark.lock().iter().flat_map(|mark| &mark.pools).any(|quarantined| quarantined.pool == pool)
    }

    /// One line for each such pool, for people.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mark = self.mark.lock();
        let Some(mark) = mark.as_ref() else { return Vec::new() };
        let line = |pool: &Quarantined| match pool.wait_ms {
            Some(wait_ms) => format!(
                "pool {} was restored from a backup: nothing new is handed out of it for {} s more",
                pool.id,
                wait_ms.saturating_sub(mark.counted_ms).div_ceil(1_000)
            ),
            None => format!(
                "pool {} was restored from a backup and has no leases: nothing new is handed out of it until \
                 nexus shard end-quarantine {}",
                pool.id, pool.id
            ),
        };
        mark.pools.iter().map(line).collect()
    }

    /// Ends a pool's quarantine by an operator's word; `false`: it is in none. Written down before the kernel hears of it.
    pub(crate) async fn end(&self, pool: PoolUid, engine: &WeakEngine) -> anyhow::Result<bool> {
        if !self.has(pool) {
            return Ok(false);
        }
        self.change(|mark| mark.pools.retain(|quarantined| quarantined.pool != pool))?;
        open(pool, engine).await?;
        Ok(true)
    }

    fn change(&self, change: impl FnOnce(&mut Mark)) -> anyhow::Result<()> {
        let mut mark = self.mark.lock();
        let Some(known) = mark.as_ref() else { return Ok(()) };
        let mut changed = known.clone();
        change(&mut changed);
        changed.write(&self.dir)?;
        *mark = Some(changed);
        Ok(())
    }

    /// Ends each quarantine when its time has come; comes back when none is left.
    pub(crate) async fn watch(&self, engine: WeakEngine) {
        let boot = boot();
        let mut written_ms = clock::boot_ms();
        while !self.pools().is_empty() {
            let now_ms = clock::boot_ms();
            let due = {
                let mut mark = self.mark.lock();
                mark.as_mut().map_or_else(Vec::new, |mark| {
                    mark.count(&boot, now_ms);
                    let mut ahead = mark.clone();
                    ahead.take_due()
                })
            };
            let over: BTreeSet<PoolUid> = due.iter().map(|quarantined| quarantined.pool).collect();
            if !over.is_empty() || now_ms.saturating_sub(written_ms) >= WRITE_EVERY_MS {
                written_ms = now_ms;
                let kept = |mark: &mut Mark| mark.pools.retain(|quarantined| !over.contains(&quarantined.pool));
                if let Err(error) = self.change(kept) {
                    tracing::warn!(
                        error = format_args!("{error:#}"),
                        "the end of a quarantine cannot be written down yet"
                    );
                } else {
                    for quarantined in due {
                        match open(quarantined.pool, &engine).await {
                            Ok(()) => tracing::info!(pool = quarantined.id, "the quarantine after the restore is over"),
                            Err(error) => tracing::debug!(%error, "the kernel was not told"),
                        }
                    }
                }
            }
            tokio::time::sleep(COUNT_EVERY).await;
        }
    }
}

/// Tells the kernel.
async fn open(pool: PoolUid, engine: &WeakEngine) -> anyhow::Result<()> {
    let Some(engine) = engine.upgrade() else { return Ok(()) };
    let outcomes = engine.submit_here(vec![Command::News(News::QuarantineOver(pool))]).await?;
    for outcome in outcomes {
        outcome??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(pools: &[(u32, Option<u64>)]) -> Mark {
        let pool = |(uid, wait_ms): &(u32, Option<u64>)| Quarantined {
            pool: PoolUid(*uid),
            id: format!("pool-{uid}"),
            wait_ms: *wait_ms,
        };
        let begun = Mark::begun(1, None);
        Mark { phase: Phase::Restored, pools: pools.iter().map(pool).collect(), ..begun }
    }

    #[test]
    fn only_time_that_passed_for_sure_is_counted() {
        let mut mark = Mark { boot: "one".to_owned(), boot_ms: 1_000, ..mark(&[]) };
        mark.count("one", 5_000);
        assert_eq!(mark.counted_ms, 4_000);
        mark.count("two", 90_000);
        assert_eq!(mark.counted_ms, 4_000, "how long the machine was off is not known");
        mark.count("two", 90_500);
        assert_eq!(mark.counted_ms, 4_500);
    }

    #[test]
    fn a_pool_waits_for_its_own_time_and_one_without_leases_for_an_operator() {
        let mut mark = mark(&[(1, Some(10)), (2, Some(20)), (3, None)]);
        mark.counted_ms = 10;
        assert_eq!(mark.take_due().iter().map(|pool| pool.pool).collect::<Vec<_>>(), [PoolUid(1)]);
        mark.counted_ms = u64::MAX;
        assert_eq!(mark.take_due().iter().map(|pool| pool.pool).collect::<Vec<_>>(), [PoolUid(2)]);
        assert_eq!(mark.pools.len(), 1);
    }

    #[test]
    fn the_mark_survives_and_a_restore_that_was_cut_short_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(Restored::read(dir.path()).expect("none").pools().is_empty());
        mark(&[(1, Some(10_000_000)), (3, None)]).write(dir.path()).expect("written");
        let restored = Restored::read(dir.path()).expect("read");
        assert_eq!(restored.pools(), BTreeSet::from([PoolUid(1), PoolUid(3)]));
        let warnings = restored.warnings();
        assert!(warnings.iter().any(|line| line.contains("end-quarantine pool-3")), "{warnings:?}");
        Mark::begun(1, None).write(dir.path()).expect("written");
        assert!(Restored::read(dir.path()).expect_err("half").to_string().contains("restore again"));
        fs::write(dir.path().join(FILE), b"{").expect("written");
        assert!(Restored::read(dir.path()).is_err());
    }
}
