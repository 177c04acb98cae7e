//! Pools are the ledger's to make, change and remove. Space leaves a pool in two steps: first nobody hands it out any more,
//! and only when every holder has said so is it gone.

use std::sync::Arc;
use std::time::Duration;

use api::engine::{Engine, EngineError, Outcome};
use kernel::ledger::{LedgerCommand, LedgerError, LedgerReply};
use kernel::{AllocationTarget, Command, CommandError, Pool, PoolUid, Reply, Revision};
use tokio::time::Instant;
use view::AllocationFilter;

use super::Cluster;
use super::seat::{Seat, Undecided};

/// Allocations released at once by a forced deletion.
const RELEASED: usize = 256;

/// How long the answer about a pool waits until this host knows its shards, too.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// How often a closing is looked at.
const LOOK: Duration = Duration::from_millis(20);

impl Cluster {
    #[allow(clippy::wildcard_enum_match_arm, reason = "only these are the ledger's")]
    pub(super) async fn decide_pool(&self, engine: &Engine, command: Command, deadline: Instant) -> Outcome {
        let seat = self.needs_place()?;
        if !self.has_majority(&seat) {
            return Err(EngineError::Ledger("it has no majority here: nothing was changed".to_owned()));
        }
        let at_ms = crate::clock::wall_ms();
        match command {
            Command::CreatePool(draft) => {
                self.propose_pool(&seat, LedgerCommand::CreatePool { draft, at_ms }, deadline).await
            }
            Command::UpdatePool { pool, expected, draft, .. } => {
                // Its reading would become the record, which the hosts that read it as it is could not follow.
                if let Some(why) = self.misreads_now(&seat, pool) {
                    return Err(EngineError::Ledger(why));
                }
                // Who holds what would go is known here, and named.
                let dry = Command::UpdatePool { pool, expected, draft: draft.clone(), dry_run: true };
                let judged = engine.submit_here(vec![dry]).await?.into_iter().next();
                match judged {
                    Some(Ok(Ok(_))) => {}
                    Some(other) => return other,
                    None => return Err(EngineError::Stopped),
                }
                let update = LedgerCommand::UpdatePool { pool, expected, draft, at_ms };
                self.propose_pool(&seat, update, deadline).await
            }
            Command::DeletePool { pool, force } => self.delete_pool(engine, &seat, pool, force, deadline).await,
            other => self.decide_one(engine, other, deadline).await,
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a reply that is no answer is told as it is")]
    async fn propose_pool(&self, seat: &Seat, command: LedgerCommand, deadline: Instant) -> Outcome {
        let reply = match seat.decide(command, left(deadline)).await.map_err(|why| undecided(&why))? {
            Ok(reply) => reply,
            Err(error) => return refused(error),
        };
        match reply {
            LedgerReply::PoolCreated { pool, revision } => {
                self.await_pool(seat, pool, revision, deadline).await.map(|pool| Ok(Reply::PoolCreated(pool)))
            }
            LedgerReply::PoolExists { pool, revision } => {
                self.await_pool(seat, pool, revision, deadline).await.map(|pool| Ok(Reply::PoolExists(pool)))
            }
            LedgerReply::PoolUpdated { pool, revision } => {
                self.await_pool(seat, pool, revision, deadline).await.map(|pool| Ok(Reply::PoolUpdated(pool)))
            }
            LedgerReply::Closing { pool, .. } => self.await_shrunk(seat, pool, deadline).await,
            other => Err(EngineError::Ledger(format!("{other:?} is no answer to a change of a pool"))),
        }
    }

    /// Waits until this host shows the pool as the ledger has it.
    async fn await_pool(
        &self,
        seat: &Seat,
        uid: PoolUid,
        revision: Revision,
        deadline: Instant,
    ) -> Result<Arc<Pool>, EngineError> {
        let view = &self.inner.parts.view;
        let mut committed = view.committed();
        let shown = async {
            loop {
                if let Some(pool) = view.pool_by_uid(uid).filter(|pool| pool.revision >= revision) {
                    return pool;
                }
                if committed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let late = || EngineError::Unknown("the pool is decided, but not yet shown here; ask again".to_owned());
        let pool = tokio::time::timeout_at(deadline, shown).await.map_err(|_| late())?;
        // Its shards come after it, and whoever asks next wants something of them.
        let (decided, mut told) = (seat.book.ledger().last_index(), self.inner.told.subscribe());
        let until = deadline.min(Instant::now() + TOLD_WITHIN);
        let _late = tokio::time::timeout_at(until, told.wait_for(|told| *told >= decided)).await.is_err();
        Ok(pool)
    }

    /// The holders give back what an update takes away; then it is done.
    async fn await_shrunk(&self, seat: &Seat, uid: PoolUid, deadline: Instant) -> Outcome {
        if let Some(hosts) = self.await_returned(seat, uid, deadline, || false).await {
            seat.decide(LedgerCommand::ReopenPool { pool: uid }, LATE).await.ok();
            return Err(EngineError::Unreachable { hosts });
        }
        match seat.decide(LedgerCommand::FinishClose { pool: uid }, left(deadline)).await {
            Ok(Ok(LedgerReply::Shrunk { revision, .. })) => {
                self.await_pool(seat, uid, revision, deadline).await.map(|pool| Ok(Reply::PoolUpdated(pool)))
            }
            Ok(Ok(other)) => Err(EngineError::Ledger(format!("{other:?} is no answer to the end of a closing"))),
            Ok(Err(error)) => refused(error),
            Err(why) => Err(undecided(&why)),
        }
    }

    async fn delete_pool(&self, engine: &Engine, seat: &Seat, uid: PoolUid, force: bool, deadline: Instant) -> Outcome {
        let Some(pool) = self.inner.parts.view.pool_by_uid(uid) else {
            return Ok(Err(CommandError::PoolUnknown { pool: uid }));
        };
        let in_use = |allocations| CommandError::PoolInUse { pool: pool.draft.id.clone(), allocations };
        let held = self.held_in(uid);
        if held > 0 && !force {
            return Ok(Err(in_use(held)));
        }
        let close = LedgerCommand::ClosePool { pool: uid, spans: None, at_ms: crate::clock::wall_ms() };
        match seat.decide(close, left(deadline)).await.map_err(|why| undecided(&why))? {
            Ok(_) => {}
            Err(error) => return refused(error),
        }
        let released = if force { self.release_all(engine, uid, deadline).await? } else { 0 };
        let taken = || !force && self.held_in(uid) > 0;
        if let Some(hosts) = self.await_returned(seat, uid, deadline, taken).await {
            let held = self.held_in(uid);
            // Forced, it goes on closing: nothing is handed out from it, and repeating the deletion ends it.
            if !force {
                seat.decide(LedgerCommand::ReopenPool { pool: uid }, LATE).await.ok();
            }
            return if held > 0 && !force { Ok(Err(in_use(held))) } else { Err(EngineError::Unreachable { hosts }) };
        }
        match seat.decide(LedgerCommand::FinishClose { pool: uid }, left(deadline)).await {
            Ok(Ok(_) | Err(LedgerError::PoolUnknown { .. })) => {}
            Ok(Err(error)) => return refused(error),
            Err(why) => return Err(undecided(&why)),
        }
        let mut committed = self.inner.parts.view.committed();
        let gone =
            async { while self.inner.parts.view.pool_by_uid(uid).is_some() && committed.changed().await.is_ok() {} };
        let late = || EngineError::Unknown("the pool is removed, but still shown here; ask again".to_owned());
        tokio::time::timeout_at(deadline, gone).await.map_err(|_| late())?;
        Ok(Ok(Reply::PoolDeleted { released }))
    }

    pub(super) fn held_in(&self, uid: PoolUid) -> u64 {
        self.inner.parts.view.count(&AllocationFilter { pool: Some(uid), ..AllocationFilter::default() })
    }

    /// Releases everything in a pool, wherever it was handed out.
    async fn release_all(&self, engine: &Engine, uid: PoolUid, deadline: Instant) -> Result<u64, EngineError> {
        let filter = AllocationFilter { pool: Some(uid), ..AllocationFilter::default() };
        let mut released = 0;
        while Instant::now() < deadline {
            let page = self.inner.parts.view.list(&filter, None, RELEASED);
            if page.rows.is_empty() {
                break;
            }
            let ends: Vec<Command> = page
                .rows
                .iter()
                .map(|held| {
                    let (subscriber, key) = (held.subscriber.clone(), held.key().cloned());
                    Command::Release(AllocationTarget {
                        pool: uid,
                        subscriber,
                        key,
                        span: Some(held.span),
                        made_ms: None,
                    })
                })
                .collect();
            let outcomes = self.decide_all(engine, ends, deadline).await?;
            let ended = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ok(_)))).count() as u64;
            released += ended;
            if let Some(error) = outcomes.into_iter().find_map(Result::err) {
                return Err(error);
            }
            if ended == 0 {
                // Released elsewhere, and not yet heard of.
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(released)
    }

    /// Waits until every holder gave its shards back; else who did not. `stop` ends the waiting.
    async fn await_returned(
        &self,
        seat: &Seat,
        uid: PoolUid,
        deadline: Instant,
        stop: impl Fn() -> bool,
    ) -> Option<Vec<String>> {
        loop {
            let ledger = seat.book.ledger();
            let waiting: Vec<_> = ledger
                .pool(uid)
                .and_then(|pool| pool.closing.as_ref().map(|closing| (pool, closing)))
                .map(|(pool, closing)| closing.waiting.iter().filter_map(|shard| pool.grants.of(*shard)).collect())
                .unwrap_or_default();
            if waiting.is_empty() {
                return None;
            }
            if stop() || Instant::now() + LOOK >= deadline {
                let mut hosts: Vec<String> = waiting
                    .iter()
                    .map(|grant: &kernel::ledger::Grant| {
                        let host = ledger.member(grant.holder);
                        let host = host.map_or_else(|| grant.holder.to_string(), |found| found.node.to_string());
                        // It is there, but nobody knows that what it keeps is empty.
                        if grant.is_doubtful() { format!("{host} (quarantined)") } else { host }
                    })
                    .collect();
                hosts.sort_unstable();
                hosts.dedup();
                return Some(hosts);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// For a word that must be said although the request is over.
const LATE: Duration = Duration::from_secs(2);

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn undecided(why: &Undecided) -> EngineError {
    match why {
        Undecided::Unavailable(why) => EngineError::Ledger(why.clone()),
        Undecided::Unknown(why) => EngineError::Unknown(why.clone()),
    }
}

/// The ledger's refusal in the kernel's words, which the faces know.
#[allow(clippy::wildcard_enum_match_arm, reason = "what has no such words is told in its own")]
fn refused(error: LedgerError) -> Outcome {
    let why = error.to_string();
    Ok(Err(match error {
        LedgerError::PoolUnknown { pool } => CommandError::PoolUnknown { pool },
        LedgerError::PoolClosing { pool, .. } => CommandError::PoolClosing { pool },
        LedgerError::PoolDiffers { pool, fields } => CommandError::PoolDiffers { pool, fields },
        LedgerError::PoolOverlaps { pool, other, realm, span } => {
            CommandError::PoolOverlaps { pool, other, realm, span }
        }
        LedgerError::RevisionDiffers { pool, found, asked } => {
            CommandError::RevisionDiffers { pool, expected: asked, found }
        }
        LedgerError::PoolFieldFixed { pool, field, found, asked } => {
            CommandError::PoolFieldFixed { pool, field, found, wanted: asked }
        }
        LedgerError::PoolGeometry { pool, why } => CommandError::PoolGeometry { pool, why },
        _ => return Err(EngineError::Ledger(why)),
    }))
}
