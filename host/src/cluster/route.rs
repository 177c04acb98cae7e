//! Requests that another host must decide: carried there in at most two hops, and back.
//!
//! A subscriber's first allocation goes through its home, which keeps all others of the same key waiting until it knows what
//! came of it. What is held already is its owner's business.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::engine::{Carried, CaughtUp, Engine, EngineError, Outcome, Relay};
use futures_util::stream::{self, StreamExt as _};
use kernel::{
    AllocateRequest, Command, CommandError, Detour, ExplainedOutcome, Key, Leg, MemberId, Origin, PoolUid, Reply, Seq,
    SubscriberId,
};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Cluster;
use super::lanes::Arrived;
use super::messages::{CALLS, RouteAnswer, RouteAsk};
use crate::clock;

/// How long an answer waits for this host to hear what it is about. Without it a look-up right after the answer could miss.
const HEAR_WITHIN: Duration = Duration::from_millis(250);

/// How often it is asked whether enough hosts know of a reservation.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);

/// Messages of one request that are under way to others at a time.
const ASKS: usize = 4;

/// Times a request goes on when hosts point at each other because one knows more than the other.
const DETOURS: usize = 4;

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

/// Carries commands for the API.
pub(crate) struct Router {
    cluster: Cluster,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

impl Router {
    pub(crate) const fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl Relay for Router {
    fn carry(&self, commands: Vec<Command>, until: Option<std::time::Instant>) -> Carried {
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let engine = cluster.engine().ok_or(EngineError::Stopped)?;
            cluster.needs_place()?;
            let arrived_ms = clock::boot_ms();
            // Less than what is too late: whoever does not answer must not make the others' answers late, too.
            let own = Instant::now() + cluster.inner.settings.response_deadline * 9 / 10;
            let deadline = until.map_or(own, |until| own.min(until.into()));
            if commands.iter().any(is_for_ledger) {
                let mut outcomes = Vec::with_capacity(commands.len());
                for command in commands {
                    outcomes.push(if is_for_ledger(&command) {
                        cluster.decide_pool(&engine, command, deadline).await
                    } else {
                        cluster.decide_one(&engine, command, deadline).await
                    });
                }
                cluster.refuse_late(&mut outcomes, arrived_ms);
                return Ok(outcomes);
            }
            // Few are: for all others this costs nothing.
            let reserves = commands.iter().enumerate().filter(|(_, command)| matches!(command, Command::Reserve(_)));
            let reserves: Vec<(usize, Command)> = reserves.map(|(at, command)| (at, command.clone())).collect();
            let mut outcomes = cluster.decide_all(&engine, commands, deadline).await?;
            for (at, command) in reserves {
                if let Some(outcome) = outcomes.get_mut(at) {
                    cluster.confirm(&engine, &command, outcome, deadline).await;
                }
            }
            cluster.refuse_late(&mut outcomes, arrived_ms);
            Ok(outcomes)
        })
    }

    fn catch_up(&self) -> CaughtUp {
        let cluster = self.cluster.clone();
        Box::pin(async move { cluster.catch_up().await })
    }
}

const fn is_for_ledger(command: &Command) -> bool {
    match command {
        Command::CreatePool(_) | Command::UpdatePool { dry_run: false, .. } | Command::DeletePool { .. } => true,
        Command::UpdatePool { .. }
        | Command::CheckPool(_)
        | Command::Allocate(_)
        | Command::Explain(_)
        | Command::Renew { .. }
        | Command::Release(_)
        | Command::Reserve(_)
        | Command::Unreserve { .. }
        | Command::PutNote(_)
        | Command::CloseConflict(_)
        | Command::Relayed { .. }
        | Command::News(_) => false,
    }
}

/// Whether a request may come after its asker gave up. It may have waited in this host's buffers while the process was stopped, or
/// on its way over a link that was cut, and a release that is carried out then ends what its subscriber was told since to use.
/// It was sent after this host's clock showed `heard_ms`, so it is not older than that; what cannot be is refused, too.
fn may_be_late(heard_ms: u64, at_ms: u64, left: Duration) -> bool {
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
    /// A late answer might be about what another owner has handed out since. Counted on a clock that runs on in suspend, of
    /// which the host knows nothing afterwards.
    fn refuse_late(&self, outcomes: &mut [Outcome], arrived_ms: u64) {
        let within_ms = u64::try_from(self.inner.settings.response_deadline.as_millis()).unwrap_or(u64::MAX);
        if clock::boot_ms().saturating_sub(arrived_ms) > within_ms {
            refuse_grants(outcomes, &EngineError::Late { within_ms });
        }
    }

    pub(super) async fn decide_all(
        &self,
        engine: &Engine,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, EngineError> {
        let mut sent = commands.clone();
        let mut outcomes = engine.submit_here(commands).await?;
        self.go_on(engine, &mut sent, &mut outcomes, deadline).await;
        Ok(outcomes)
    }

    /// Asks again for a reservation that too few hosts know of yet.
    async fn confirm(&self, engine: &Engine, command: &Command, outcome: &mut Outcome, deadline: Instant) {
        let mut is_new = false;
        while let Ok(Err(CommandError::Unconfirmed { created, .. })) = outcome
            && Instant::now() + CONFIRM_EVERY < deadline
        {
            is_new |= *created;
            tokio::time::sleep(CONFIRM_EVERY).await;
            *outcome = self.decide_one(engine, command.clone(), deadline).await;
        }
        if let Ok(Ok(Reply::Reserved { created, .. })) = outcome {
            *created |= is_new;
        }
    }

    pub(super) async fn decide_one(&self, engine: &Engine, command: Command, deadline: Instant) -> Outcome {
        let outcomes = self.decide_all(engine, vec![command], deadline).await?;
        outcomes.into_iter().next().unwrap_or(Err(EngineError::Stopped))
    }

    /// Sends on every command that this host may not decide.
    async fn go_on(&self, engine: &Engine, commands: &mut [Command], outcomes: &mut [Outcome], deadline: Instant) {
        let mut rounds = 0;
        while rounds < DETOURS {
            rounds += 1;
            let mut to: HashMap<(MemberId, Leg), Vec<usize>> = HashMap::new();
            let mut home: Vec<(usize, Vec<MemberId>)> = Vec::new();
            for (at, outcome) in outcomes.iter().enumerate() {
                let Ok(Err(refused @ CommandError::Elsewhere { detour, .. })) = outcome else { continue };
                if let Some(command) = commands.get_mut(at) {
                    command.take_along(refused);
                }
                match detour {
                    Detour::Home(member) => to.entry((*member, Leg::Home)).or_default().push(at),
                    Detour::Owner(member) => to.entry((*member, Leg::Owner)).or_default().push(at),
                    Detour::Space(owners) => home.push((at, owners.clone())),
                }
            }
            if to.is_empty() && home.is_empty() {
                return;
            }
            for (at, owners) in home {
                let (Some(command), Some(outcome)) = (commands.get(at), outcomes.get_mut(at)) else { continue };
                *outcome = self.find_space(engine, command, owners, deadline).await;
            }
            let mut asks = Vec::new();
            for ((member, leg), places) in &to {
                for places in places.chunks(CALLS) {
                    let commands = places.iter().filter_map(|at| commands.get(*at));
                    let calls = commands.map(|command| (*leg, command.clone())).collect();
                    asks.push(async move { (places, self.call(engine, *member, calls, deadline).await) });
                }
            }
            let mut answers = stream::iter(asks).buffer_unordered(ASKS);
            while let Some((places, answered)) = answers.next().await {
                for (at, outcome) in places.iter().zip(answered) {
                    if let Some(slot) = outcomes.get_mut(*at) {
                        *slot = outcome;
                    }
                }
            }
        }
        for outcome in outcomes.iter_mut() {
            if let Ok(Err(CommandError::Elsewhere { .. })) = outcome {
                // The hosts do not agree yet on who decides; a moment later they will.
                *outcome = Err(EngineError::Unreachable { hosts: vec!["whoever decides this now".to_owned()] });
            }
        }
    }

    /// Asks another host, or this one if it is meant.
    async fn call(
        &self,
        engine: &Engine,
        member: MemberId,
        calls: Vec<(Leg, Command)>,
        deadline: Instant,
    ) -> Vec<Outcome> {
        let count = calls.len();
        let seat = match self.needs_place() {
            Ok(seat) => seat,
            Err(error) => return repeated(&error, count),
        };
        if member == seat.me {
            return self.serve(engine, calls, deadline).await;
        }
        let asked = calls.clone();
        let Arrived { mut outcomes, mut rests_on } = self.ride(member, calls, deadline).await;
        let late: Vec<usize> = (0..count).filter(|at| outcomes.get(*at).is_some_and(Option::is_none)).collect();
        if !late.is_empty() {
            let calls = late.iter().filter_map(|at| asked.get(*at).cloned()).collect();
            let alone = self.ask(member, calls, true, deadline).await;
            for (at, outcome) in late.into_iter().zip(alone.outcomes) {
                if let Some(slot) = outcomes.get_mut(at) {
                    *slot = outcome;
                }
            }
            rests_on = alone.rests_on.or(rests_on);
        }
        if let Some((origin, through)) = rests_on {
            self.await_heard(origin, through).await;
        }
        let undecided = || Err(self.unreachable(member));
        let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(undecided));
        let known = |outcome: Outcome| {
            if is_unknown_pool(&outcome) {
                let host = format!("{} (it has not heard of the pool yet)", self.named(member));
                return Err(EngineError::Unreachable { hosts: vec![host] });
            }
            outcome
        };
        outcomes.map(|outcome| self.in_own_words(known(outcome))).collect()
    }

    /// The same outcome with this host's own record of the allocation, whose realm is numbered as here.
    fn in_own_words(&self, outcome: Outcome) -> Outcome {
        let view = &self.inner.parts.view;
        let own = |theirs: &Arc<kernel::Allocation>| {
            view.allocation(theirs.pool, &theirs.subscriber, theirs.key(), theirs.span)
        };
        match outcome {
            Ok(Ok(Reply::Allocated { allocation, created, durability })) => {
                let allocation = own(&allocation).unwrap_or(allocation);
                Ok(Ok(Reply::Allocated { allocation, created, durability }))
            }
            Ok(Ok(Reply::Renewed { allocation, durability })) => {
                let allocation = own(&allocation).unwrap_or(allocation);
                Ok(Ok(Reply::Renewed { allocation, durability }))
            }
            Ok(Ok(Reply::Explained(explanation))) => {
                // Its number is the other host's, and the caller named it.
                Ok(Ok(Reply::Explained(Box::new(kernel::Explanation { realm: None, ..*explanation }))))
            }
            other => other,
        }
    }

    /// Waits a moment until this host has heard what an answer is about.
    async fn await_heard(&self, origin: Origin, through: Seq) {
        let mut heard = self.inner.heard.subscribe();
        let known = heard.wait_for(|heard| heard.get(&origin).is_some_and(|known| *known >= through));
        if tokio::time::timeout(HEAR_WITHIN, known).await.is_err() {
            tracing::debug!("an answer leaves before its operations were heard");
        }
    }

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

    async fn serve(&self, engine: &Engine, calls: Vec<(Leg, Command)>, deadline: Instant) -> Vec<Outcome> {
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
    async fn find_space(
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
            let outcome = self.call(engine, *owner, calls, deadline).await.into_iter().next();
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
const fn is_unknown_pool(outcome: &Outcome) -> bool {
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

/// What would give somebody a resource becomes an error.
fn refuse_grants(outcomes: &mut [Outcome], error: &EngineError) {
    for outcome in outcomes {
        if let Ok(Ok(Reply::Allocated { .. } | Reply::Renewed { .. })) = outcome {
            *outcome = Err(error.clone());
        }
    }
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

pub(super) fn repeated(error: &EngineError, count: usize) -> Vec<Outcome> {
    std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
}

fn whose(request: &AllocateRequest) -> Whose {
    (request.pool, request.subscriber.clone(), request.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_too_long_ago_for_all_that_is_known_is_late() {
        let left = Duration::from_secs(4);
        assert!(!may_be_late(1_000, 5_000, left));
        assert!(may_be_late(1_000, 5_001, left));
        assert!(may_be_late(0, 5_000, left), "it was never heard from");
        assert!(may_be_late(5_001, 5_000, left), "it heard from another clock");
    }
}
