//! Requests that another host must decide: carried there in at most two hops, and back. What that one does is in
//! [`home`](super::home).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::engine::{Carried, CaughtUp, Engine, EngineError, Outcome, Relay};
use futures_util::stream::{self, StreamExt as _};
use kernel::{Command, CommandError, Detour, Leg, MemberId, Origin, Reply, Seq};
use tokio::time::Instant;

use super::Cluster;
use super::home::is_unknown_pool;
use super::lanes::Arrived;
use super::messages::CALLS;
use crate::clock;

/// How long an answer waits for this host to hear what it is about. Without it a look-up right after the answer could miss.
const HEAR_WITHIN: Duration = Duration::from_millis(250);

/// How often it is asked whether enough hosts know of a reservation.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);

/// Messages of one request that are under way to others at a time.
const ASKS: usize = 4;

/// Times a request goes on when hosts point at each other because one knows more than the other.
const DETOURS: usize = 4;

/// How long it may take until a host that is gone is gone for the kernel, too; and the pause before it is looked again whether it
/// is for others.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What came of asking a host.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) outcomes: Vec<Outcome>,
    /// Whether the host is gone, or went before it answered all of it. What it did not answer it may have done.
    is_gone: bool,
}

/// Requests that their hosts did not answer.
#[derive(Debug, Default)]
struct Lost {
    members: BTreeSet<MemberId>,
    /// Where they stand among the commands.
    places: Vec<usize>,
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

/// Whether another host may decide a request whose own host is gone.
const fn is_anybodys(command: &Command) -> bool {
    matches!(command, Command::Allocate(_) | Command::Explain(_))
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
                    asks.push(async move { (*member, places, self.call(engine, *member, calls, deadline).await) });
                }
            }
            let mut lost = Lost::default();
            let mut answers = stream::iter(asks).buffer_unordered(ASKS);
            while let Some((member, places, called)) = answers.next().await {
                // Who is named although he has been gone for a while, nobody can stand in for.
                let has_another = called.is_gone && self.inner.alive.borrow().was_lately(member);
                for (at, outcome) in places.iter().zip(called.outcomes) {
                    let unreached = has_another && matches!(outcome, Err(EngineError::Unreachable { .. }));
                    if unreached && commands.get(*at).is_some_and(is_anybodys) {
                        lost.members.insert(member);
                        lost.places.push(*at);
                    }
                    if let Some(slot) = outcomes.get_mut(*at) {
                        *slot = outcome;
                    }
                }
            }
            if !lost.places.is_empty() {
                self.look_again(engine, &lost, commands, outcomes, deadline).await;
                rounds = 0;
            }
        }
        for outcome in outcomes.iter_mut() {
            if let Ok(Err(CommandError::Elsewhere { .. })) = outcome {
                // The hosts do not agree yet on who decides; a moment later they will.
                *outcome = Err(EngineError::Unreachable { hosts: vec!["whoever decides this now".to_owned()] });
            }
        }
    }

    /// What a host did not answer is decided without it, once the kernel knows that it is gone; or by it after all, if it is
    /// not: of two connections one may have ended. The deadline bounds how often.
    async fn look_again(
        &self,
        engine: &Engine,
        lost: &Lost,
        commands: &[Command],
        outcomes: &mut [Outcome],
        deadline: Instant,
    ) {
        let until = deadline.min(Instant::now() + LOOK_AGAIN);
        let mut alive = self.inner.alive.subscribe();
        if lost.members.is_disjoint(&alive.borrow_and_update().members) {
            tokio::time::sleep_until(until).await;
        } else {
            let known = alive.wait_for(|alive| lost.members.is_disjoint(&alive.members));
            let _is_there = tokio::time::timeout_at(until, known).await.is_err();
        }
        if Instant::now() >= deadline {
            return;
        }
        let again = lost.places.iter().filter_map(|at| commands.get(*at).cloned()).collect();
        let Ok(decided) = engine.submit_here(again).await else { return };
        for (at, outcome) in lost.places.iter().zip(decided) {
            if let Some(slot) = outcomes.get_mut(*at) {
                *slot = outcome;
            }
        }
    }

    /// Asks another host, or this one if it is meant.
    pub(super) async fn call(
        &self,
        engine: &Engine,
        member: MemberId,
        calls: Vec<(Leg, Command)>,
        deadline: Instant,
    ) -> Called {
        let count = calls.len();
        let seat = match self.needs_place() {
            Ok(seat) => seat,
            Err(error) => return Called { outcomes: repeated(&error, count), is_gone: false },
        };
        if member == seat.me {
            return Called { outcomes: self.serve(engine, calls, deadline).await, is_gone: false };
        }
        let asked = calls.clone();
        let Arrived { mut outcomes, mut rests_on, mut is_gone } = self.ride(member, calls, deadline).await;
        let late: Vec<usize> = (0..count).filter(|at| outcomes.get(*at).is_some_and(Option::is_none)).collect();
        if !late.is_empty() {
            let calls = late.iter().filter_map(|at| asked.get(*at).cloned()).collect();
            let alone = self.ask(member, calls, true, deadline).await;
            for (at, outcome) in late.into_iter().zip(alone.outcomes) {
                if let Some(slot) = outcomes.get_mut(at) {
                    *slot = outcome;
                }
            }
            is_gone = alone.is_gone;
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
        Called { outcomes: outcomes.map(|outcome| self.in_own_words(known(outcome))).collect(), is_gone }
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
        let known = heard.wait_for(|heard| heard.get(&origin).copied().unwrap_or_default() >= through);
        if tokio::time::timeout(HEAR_WITHIN, known).await.is_err() {
            tracing::debug!("an answer leaves before its operations were heard");
        }
    }
}

/// What would give somebody a resource becomes an error.
fn refuse_grants(outcomes: &mut [Outcome], error: &EngineError) {
    for outcome in outcomes {
        if let Ok(Ok(Reply::Allocated { .. } | Reply::Renewed { .. })) = outcome {
            *outcome = Err(error.clone());
        }
    }
}

pub(super) fn repeated(error: &EngineError, count: usize) -> Vec<Outcome> {
    std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
}
