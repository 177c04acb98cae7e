//! What this host decides for whoever was asked, as a subscriber's home or as an owner.
//!
//! A subscriber's first allocation goes through its home, which keeps all others of the same key waiting until it knows what
//! came of it. What is held already is its owner's business.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::engine::{Engine, EngineError, Outcome};
use kernel::{
    AllocateRequest, Command, CommandError, Detour, ExplainedOutcome, Key, Leg, MemberId, PoolUid, Reply, SubscriberId,
};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Cluster;
use super::messages::{CALLS, RouteAnswer, RouteAsk};
use super::route::repeated;
use crate::clock;

/// Who waits for whom at a subscriber's home.
type Whose = (PoolUid, SubscriberId, Option<Key>);

/// First allocations that are being looked for elsewhere, each once.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Whose, Weak<tokio::sync::Mutex<()>>>>,
}

impl Flights {
    async fn board(&self, whose: &Whose) -> OwnedMutexGuard<()> {
        let flight = {
            let mut under_way = self.under_way.lock();
            if under_way.len() > 4_096 {
                under_way.retain(|_, flight| flight.strong_count() > 0);
            }
            let known = under_way.get(whose).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let flight = Arc::new(tokio::sync::Mutex::new(()));
                under_way.insert(whose.clone(), Arc::downgrade(&flight));
                flight
            })
        };
        flight.lock_owned().await
    }
}

/// Whether a request may come after its asker gave up. It may have waited in this host's buffers while the process was stopped, or
/// on its way over a link that was cut, and a release that is carried out then ends what its subscriber was told since to use.
/// It was sent after this host's clock showed `heard_ms`, so it is not older than that; what cannot be is refused, too. However long
/// its asker waits, he takes a host to be gone that he has not heard of for a while, and has another one decide.
fn may_be_late(heard_ms: u64, at_ms: u64, left: Duration) -> bool {
    let left = left.min(net::SILENT_AFTER);
    at_ms.checked_sub(heard_ms).is_none_or(|age_ms| Duration::from_millis(age_ms) > left)
}

/// What may come from another host.
const fn is_carried(command: &Command) -> bool {
    match command {
        Command::Allocate(_)
        | Command::Explain(_)
        | Command::Renew { .. }
        | Command::Release(_)
        | Command::Reserve(_)
        | Command::Unreserve { .. } => true,
        Command::CreatePool(_)
        | Command::CheckPool(_)
        | Command::UpdatePool { .. }
        | Command::DeletePool { .. }
        | Command::PutNote(_)
        | Command::CloseConflict(_)
        | Command::Relayed { .. }
        | Command::News(_) => false,
    }
}

impl Cluster {
    /// What another host asks of this one.
    pub(super) async fn serve_routed(&self, ask: RouteAsk, left: Duration) -> Result<RouteAnswer, String> {
        if ask.calls.len() > CALLS {
            return Err(format!("{} requests at once, at most {CALLS} are served", ask.calls.len()));
        }
        if ask.calls.iter().any(|(_, command)| !is_carried(command)) {
            return Err("a command that no host carries for another".to_owned());
        }
        let engine = self.engine().ok_or("the host is stopping")?;
        let (origin, at_ms) = (self.inner.settings.origin, clock::boot_ms());
        if may_be_late(ask.heard_ms, at_ms, left) {
            let through = self.inner.parts.view.last_word();
            return Ok(RouteAnswer { outcomes: Vec::new(), origin, through, at_ms });
        }
        let deadline = Instant::now() + left.min(self.inner.settings.response_deadline);
        let vitals = &self.inner.parts.vitals;
        let is_home = |(leg, command): &(Leg, Command)| *leg == Leg::Home && matches!(command, Command::Allocate(_));
        let passes_on = vitals.lacks_state() || (vitals.is_full() && ask.calls.iter().any(is_home));
        let outcomes = match (ask.alone, passes_on) {
            (true, true) => self.pass_on(&engine, ask.calls, deadline).await.into_iter().map(Some).collect(),
            (true, false) => self.serve(&engine, ask.calls, deadline).await.into_iter().map(Some).collect(),
            (false, true) => ask.calls.iter().map(|_| None).collect(),
            (false, false) => self.decide_at_once(&engine, &ask.calls).await,
        };
        // Not all that is committed: what is no word is told only along with the next one.
        let through = self.inner.parts.view.last_word();
        Ok(RouteAnswer { outcomes, origin, through, at_ms })
    }

    /// While this host lacks the state of the cluster it does not know who holds something already, and owns nothing; while its
    /// disk is full it gives nobody anything. Whoever takes it for a home is served by the home that comes next.
    async fn pass_on(&self, engine: &Engine, calls: Vec<(Leg, Command)>, deadline: Instant) -> Vec<Outcome> {
        let unreachable = Err(EngineError::Unreachable { hosts: vec![self.inner.settings.node.to_string()] });
        let lacks_state = self.inner.parts.vitals.lacks_state();
        let mut outcomes = Vec::with_capacity(calls.len());
        for (leg, command) in calls {
            outcomes.push(match leg {
                // Boxed: the next home's answer may come from this very host.
                Leg::Home | Leg::Entry => Box::pin(self.decide_one(engine, command, deadline)).await,
                Leg::Space | Leg::Owner if lacks_state => unreachable.clone(),
                Leg::Space | Leg::Owner => {
                    let decided = Box::pin(self.serve(engine, vec![(leg, command)], deadline)).await;
                    decided.into_iter().next().unwrap_or(Err(EngineError::Stopped))
                }
            });
        }
        outcomes
    }

    /// What this host decides without asking anybody.
    async fn decide_at_once(&self, engine: &Engine, calls: &[(Leg, Command)]) -> Vec<Option<Outcome>> {
        let outcomes = self.decide_here(engine, calls).await;
        let longer = |(leg, outcome): &(Leg, Outcome)| {
            (*leg == Leg::Home && owners_asked(outcome).is_some()) || is_unknown_pool(outcome)
        };
        let outcomes = calls.iter().map(|(leg, _)| *leg).zip(outcomes);
        outcomes.map(|outcome| (!longer(&outcome)).then_some(outcome.1)).collect()
    }

    async fn decide_here(&self, engine: &Engine, calls: &[(Leg, Command)]) -> Vec<Outcome> {
        let commands = calls.iter().map(|(leg, command)| relayed(*leg, command)).collect();
        let outcomes = engine.submit_here(commands).await;
        outcomes.unwrap_or_else(|error| repeated(&error, calls.len()))
    }

    pub(super) async fn serve(&self, engine: &Engine, calls: Vec<(Leg, Command)>, deadline: Instant) -> Vec<Outcome> {
        let mut outcomes = self.decide_here(engine, &calls).await;
        if outcomes.iter().any(is_unknown_pool) {
            // Whoever asks knows the pool: the ledger's word has yet to come here.
            let caught_up = self.catch_up().await;
            tracing::debug!(?caught_up, "another host knows a pool that this one did not");
            for (call, outcome) in calls.iter().zip(&mut outcomes).filter(|(_, outcome)| is_unknown_pool(outcome)) {
                let again = self.decide_here(engine, std::slice::from_ref(call)).await;
                *outcome = again.into_iter().next().unwrap_or(Err(EngineError::Stopped));
            }
        }
        for ((leg, command), outcome) in calls.iter().zip(&mut outcomes) {
            if let (Leg::Home, Some(owners)) = (leg, owners_asked(outcome)) {
                let owners = owners.to_vec();
                // Boxed: the owner's answer may come from this very host.
                *outcome = Box::pin(self.find_space(engine, command, owners, deadline)).await;
            }
        }
        outcomes
    }

    /// At the subscriber's home: asks the owners of the other shards one after the other. Whoever else asks for the same
    /// subscriber waits.
    pub(super) async fn find_space(
        &self,
        engine: &Engine,
        command: &Command,
        owners: Vec<MemberId>,
        deadline: Instant,
    ) -> Outcome {
        let Command::Allocate(request) = command else {
            return self.ask_owners(engine, command, &owners, deadline).await;
        };
        let _boarded = self.inner.flights.board(&whose(request)).await;
        // Whoever was before may have found something.
        let again = engine.submit_here(vec![relayed(Leg::Home, command)]).await;
        match again.map(|outcomes| outcomes.into_iter().next()) {
            Ok(Some(Ok(Err(refused)))) => {
                let CommandError::Elsewhere { detour: Detour::Space(owners), .. } = &refused else {
                    return Ok(Err(refused));
                };
                let mut command = command.clone();
                command.take_along(&refused);
                self.ask_owners(engine, &command, owners, deadline).await
            }
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(EngineError::Stopped),
            Err(error) => Err(error),
        }
    }

    /// How many shards the pool has that a request is about.
    fn shards_of(&self, command: &Command) -> Option<u64> {
        let (Command::Allocate(request) | Command::Explain(request)) = command else { return None };
        let ledger = self.seat()?.book.ledger();
        u64::try_from(ledger.pool(request.pool)?.record.shards.len()).ok()
    }

    /// A host that may not hand out now, as an operator knows it.
    fn withholding(&self, member: MemberId) -> String {
        format!("{} (it may not hand out there now)", self.named(member))
    }

    async fn ask_owners(&self, engine: &Engine, command: &Command, owners: &[MemberId], deadline: Instant) -> Outcome {
        let mut full = 0;
        let mut unreachable = Vec::new();
        for owner in owners {
            let calls = vec![(Leg::Space, command.clone())];
            let outcome = self.call(engine, *owner, calls, deadline).await.outcomes.into_iter().next();
            let outcome = outcome.unwrap_or(Err(EngineError::Stopped));
            match (shards_full(&outcome), outcome) {
                (Some(shards), _) => full += shards,
                (None, Ok(Err(CommandError::Withheld { .. }))) => unreachable.push(self.withholding(*owner)),
                (None, Err(EngineError::StorageFull { .. })) => {
                    unreachable.push(format!("{} (its disk is full)", self.named(*owner)));
                }
                (None, Err(EngineError::Unreachable { hosts })) => unreachable.extend(hosts),
                (None, outcome) => return outcome,
            }
        }
        if !unreachable.is_empty() {
            return Err(EngineError::Unreachable { hosts: unreachable });
        }
        // Something may have become free here meanwhile, and a shard that is between two owners is spoken for by neither.
        let own = engine.submit_here(vec![relayed(Leg::Space, command)]).await;
        let own = own?.into_iter().next().unwrap_or(Err(EngineError::Stopped));
        match (shards_full(&own), self.shards_of(command)) {
            (Some(shards), Some(every)) if full + shards < every => {
                Err(EngineError::Unreachable { hosts: vec!["whoever is given shards of the pool just now".to_owned()] })
            }
            _ => own,
        }
    }
}

/// Of a command that another host sent, who found the pool: it is new, or was just removed.
pub(super) const fn is_unknown_pool(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(Err(CommandError::PoolUnknown { .. })))
}

/// How many shards an outcome says have nothing left; `None`: it says something else.
fn shards_full(outcome: &Outcome) -> Option<u64> {
    let error = match outcome {
        Ok(Err(error)) => error,
        Ok(Ok(Reply::Explained(explanation))) => match &explanation.outcome {
            ExplainedOutcome::WouldFail(error) => error,
            ExplainedOutcome::AlreadyHeld { .. } | ExplainedOutcome::WouldGet { .. } => return None,
        },
        Ok(Ok(_)) | Err(_) => return None,
    };
    if let CommandError::Exhausted { shards, .. } = error { Some(u64::from(*shards)) } else { None }
}

/// Those who must be asked for space.
fn owners_asked(outcome: &Outcome) -> Option<&[MemberId]> {
    match outcome {
        Ok(Err(CommandError::Elsewhere { detour: Detour::Space(owners), .. })) => Some(owners),
        Ok(_) | Err(_) => None,
    }
}

fn relayed(leg: Leg, command: &Command) -> Command {
    Command::Relayed { leg, command: Box::new(command.clone()) }
}

fn whose(request: &AllocateRequest) -> Whose {
    (request.pool, request.subscriber.clone(), request.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_too_long_ago_for_all_that_is_known_is_late() {
        let left = Duration::from_secs(3);
        assert!(!may_be_late(1_000, 4_000, left));
        assert!(may_be_late(1_000, 4_001, left));
        let longer = Duration::from_secs(30);
        assert!(!may_be_late(1_000, 5_000, longer));
        assert!(may_be_late(1_000, 5_001, longer), "this host may have been taken to be gone since");
        assert!(may_be_late(0, 5_000, left), "it was never heard from");
        assert!(may_be_late(5_001, 5_000, left), "it heard from another clock");
    }
}
