//! Pools that this host's plugins do not read as their records say. It hands out nothing from them from the moment it is
//! found out. If it lasts, the ledger hears of it: the host's shards go to those who read the pool, and it is given none.
//! When a version serves that reads it, the host takes part again, without anybody's asking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kernel::ledger::{Ledger, LedgerCommand, LedgerPool, Misread};
use kernel::{Pool, PoolUid, ShardId, Tenure};
use tokio::time::Instant;

use super::Cluster;
use super::seat::Seat;
use crate::plugins::{Reads, recorded};

/// How long before shards are given up: a file that was just put there serves a little later than the daemon.
const LASTS: Duration = Duration::from_secs(3);

const LOOK_EVERY: Duration = Duration::from_millis(500);
const DECIDE_WITHIN: Duration = Duration::from_secs(5);

/// What is not read as recorded, and since when.
#[derive(Debug, Default)]
pub(super) struct Misreadings(BTreeMap<PoolUid, Misreading>);

#[derive(Debug)]
struct Misreading {
    record: Arc<Pool>,
    misread: Misread,
    since: Instant,
}

impl Misreading {
    /// Why it is not ready. That there is no plugin is told of each pool anyway.
    fn reason(&self) -> Option<String> {
        let told = match self.misread {
            Misread::NoPlugin => None,
            Misread::NotOpened { .. } | Misread::Otherwise { .. } => Some(&self.misread),
        };
        told.map(|misread| describe(&self.record, "this host", misread))
    }
}

/// A host that does not read a pool as recorded, in words.
pub(super) fn describe(pool: &Pool, host: &str, misread: &Misread) -> String {
    format!(
        "{host} does not read pool {} as recorded ({}): {misread}; it owns nothing of the pool until a plugin that does serves there",
        pool.draft.id,
        recorded(pool)
    )
}

/// What this host may do with a shard that the ledger says is its own, of a pool that it does not read as recorded. Until the
/// ledger knows, and while nobody else can take it, it goes on answering for what is held there: names are kept with the
/// records. Then the shard is about to be offered (`leaves`).
pub(super) fn unread(tenure: Tenure, leaves: bool) -> Tenure {
    match tenure {
        Tenure::Escrow | Tenure::Leased if leaves => Tenure::Silent,
        Tenure::Escrow | Tenure::Leased => Tenure::Kept,
        Tenure::Kept | Tenure::Silent | Tenure::Theirs(_) => tenure,
    }
}

/// The shards of a pool that this host does not read which somebody who does can take now: none before the ledger knows.
pub(super) fn leaving(cluster: &Cluster, seat: &Seat, ledger: &Ledger, pool: &LedgerPool) -> BTreeSet<ShardId> {
    if !pool.misread.contains_key(&seat.me) {
        return BTreeSet::new();
    }
    let reaches = |to| ledger.member(to).is_some_and(|member| cluster.is_connected(&member.peer));
    let wishes = seat.book.wishes(ledger);
    let mine = wishes.iter().filter(|wish| wish.pool == pool.record.uid && wish.from == seat.me && reaches(wish.to));
    mine.map(|wish| wish.shard).collect()
}

impl Cluster {
    /// Whether this host's plugin reads the pool as recorded, found out now if it is not known; remembers and tells if not.
    pub(super) async fn reads(&self, record: &Arc<Pool>) -> bool {
        let plugins = &self.inner.parts.plugins;
        let reads = if let Some(reads) = plugins.reads_at_once(record) {
            reads
        } else {
            let (plugins, record) = (Arc::clone(plugins), Arc::clone(record));
            tokio::task::spawn_blocking(move || plugins.reads(&record)).await.unwrap_or(Reads::Unknown)
        };
        self.remember(record, reads)
    }

    fn remember(&self, record: &Arc<Pool>, reads: Reads) -> bool {
        let mut known = self.inner.misread.lock();
        let known = &mut known.0;
        let misread = match reads {
            // Who gives no answer names nothing; what was found out before counts on.
            Reads::Unknown => return !known.contains_key(&record.uid),
            Reads::AsRecorded => {
                if known.remove(&record.uid).is_some() {
                    tracing::info!(pool = %record.draft.id, "the pool is read as recorded again");
                    self.show(known);
                }
                return true;
            }
            Reads::Otherwise(misread) => misread,
        };
        let since = known.get(&record.uid).map_or_else(Instant::now, |found| found.since);
        let is_news = known.get(&record.uid).is_none_or(|found| found.misread != misread);
        if is_news {
            tracing::error!(pool = %record.draft.id, "{}", describe(record, "this host", &misread));
        }
        known.insert(record.uid, Misreading { record: Arc::clone(record), misread, since });
        if is_news {
            self.show(known);
        }
        false
    }

    /// How this host misreads a pool, in words; `None`: it does not.
    pub(super) fn misreads_now(&self, seat: &Seat, uid: PoolUid) -> Option<String> {
        let known = self.inner.misread.lock();
        let found = known.0.get(&uid)?;
        let others = seat.book.ledger().pool(uid).is_some_and(|pool| pool.misread.len() > 1);
        let remedy = if others { "install the plugin version that made the pool" } else { "change it at another host" };
        Some(format!("{}: {remedy}", describe(&found.record, "this host", &found.misread)))
    }

    /// Forgets pools that are gone.
    pub(super) fn forget_reading(&self, uid: PoolUid) {
        let mut known = self.inner.misread.lock();
        if known.0.remove(&uid).is_some() {
            self.show(&known.0);
        }
    }

    fn show(&self, known: &BTreeMap<PoolUid, Misreading>) {
        let reasons = known.values().filter_map(Misreading::reason).collect();
        self.inner.parts.vitals.misreads(known.len(), reasons);
    }
}

/// Tells the ledger what this host does not read, and what it reads again.
pub(super) async fn say(cluster: Cluster) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat() else { continue };
        let ledger = seat.book.ledger();
        if ledger.member(seat.me).is_none() {
            continue;
        }
        for command in unsaid(&cluster, &seat, &ledger) {
            match seat.decide(command, DECIDE_WITHIN).await {
                Ok(Ok(_)) => {}
                // Another record by now, or none.
                Ok(Err(error)) => tracing::debug!(%error, "the ledger does not take how a pool is read"),
                Err(error) => tracing::debug!(%error, "the ledger does not hear yet how a pool is read"),
            }
        }
    }
}

/// What the ledger says otherwise of this host than it is.
fn unsaid(cluster: &Cluster, seat: &Seat, ledger: &Ledger) -> Vec<LedgerCommand> {
    let known = cluster.inner.misread.lock();
    let mut commands = Vec::new();
    for (uid, pool) in ledger.pools() {
        let said = pool.misread.get(&seat.me);
        let found = known.0.get(uid).filter(|found| found.record.revision == pool.record.revision);
        let misread = match found {
            Some(found) if said.is_none() && found.since.elapsed() < LASTS => continue,
            Some(found) => Some(&found.misread),
            // Of the newest record nothing is known yet.
            None if known.0.contains_key(uid) => continue,
            None => None,
        };
        if misread != said {
            let (pool, revision) = (*uid, pool.record.revision);
            commands.push(LedgerCommand::SetReading { pool, revision, member: seat.me, misread: misread.cloned() });
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use kernel::MemberId;

    use super::*;

    #[test]
    fn what_is_not_read_is_kept_until_somebody_can_take_it() {
        for open in [Tenure::Escrow, Tenure::Leased] {
            assert_eq!((unread(open, false), unread(open, true)), (Tenure::Kept, Tenure::Silent));
        }
        for other in [Tenure::Kept, Tenure::Silent, Tenure::Theirs(MemberId(2))] {
            assert_eq!((unread(other, false), unread(other, true)), (other, other));
        }
    }
}
