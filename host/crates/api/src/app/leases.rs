//! Release and renew.

use kernel::{AllocationTarget, Command, CommandError, Reply, SubscriberId, Ttl};

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::{ReleaseScope, Select};
use super::lookups::shown;
use super::output::{Granted, Holding};
use crate::engine::{EngineError, Outcome};

pub(crate) fn target(held: &Holding) -> AllocationTarget {
    let allocation = &held.allocation;
    AllocationTarget {
        pool: allocation.pool,
        subscriber: allocation.subscriber.clone(),
        key: allocation.key().cloned(),
        // What was looked up is what is meant, whatever happens in between.
        span: Some(allocation.span),
        made_ms: Some(allocation.created_ms()),
    }
}

/// What a look-up shows, behind everything that it stands in place of: whoever wants none keeps none.
fn with_superseded(all: &[Holding]) -> Vec<Holding> {
    let Some(shown) = shown(all) else { return Vec::new() };
    let whose = |held: &Holding| (held.allocation.pool, held.allocation.key().cloned());
    let mut meant: Vec<Holding> = all.iter().filter(|held| whose(held) == whose(shown)).cloned().collect();
    // The one that stands comes first in the list, and goes last.
    meant.reverse();
    meant
}

impl App {
    /// Releases what a look-up with the same `select` shows, or all it leaves; gives back what was released.
    pub async fn release(
        &self,
        caller: &Caller,
        subscriber: &SubscriberId,
        select: &Select,
        scope: ReleaseScope,
    ) -> Result<Vec<Holding>, AppError> {
        caller.needs(Role::Allocate)?;
        self.await_pools(caller, select.pool.iter()).await;
        let mut done = self.release_known(caller, subscriber, select, scope).await?;
        if done.is_empty() {
            let caught_up = self.engine.catch_up().await;
            done = self.release_known(caller, subscriber, select, scope).await?;
            self.is_none(&done, caught_up, subscriber, select)?;
        }
        Ok(done)
    }

    /// Releases what this host knows of; empty if that is nothing.
    async fn release_known(
        &self,
        caller: &Caller,
        subscriber: &SubscriberId,
        select: &Select,
        scope: ReleaseScope,
    ) -> Result<Vec<Holding>, AppError> {
        let all = self.all_of(caller, subscriber, select)?;
        let meant = match scope {
            // By name it is exactly that one.
            ReleaseScope::Shown if select.resource.is_some() => shown(&all).cloned().into_iter().collect(),
            ReleaseScope::Shown => with_superseded(&all),
            ReleaseScope::All => all,
        };
        let commands = meant.iter().map(|held| Command::Release(target(held))).collect();
        let mut released = Vec::new();
        for (held, outcome) in meant.into_iter().zip(self.carry_out(commands).await?) {
            match outcome? {
                Ok(Reply::Released(_)) => released.push(held),
                Ok(other) => return Err(unexpected(&other)),
                // Somebody else, or the lease's end, was faster: it is gone, as was wanted.
                Err(CommandError::NotHeld { .. }) => {}
                Err(error) => return Err(self.refused(&held.pool, error)),
            }
        }
        Ok(released)
    }

    /// Renews every lease of a subscriber that `select` leaves; gives back the renewed allocations.
    pub async fn renew(
        &self,
        caller: &Caller,
        subscriber: &SubscriberId,
        select: &Select,
        ttl: Ttl,
    ) -> Result<Vec<Granted>, AppError> {
        caller.needs(Role::Allocate)?;
        self.await_pools(caller, select.pool.iter()).await;
        let mut done = self.renew_known(caller, subscriber, select, ttl).await?;
        if done.is_empty() {
            let caught_up = self.engine.catch_up().await;
            done = self.renew_known(caller, subscriber, select, ttl).await?;
            self.is_none(&done, caught_up, subscriber, select)?;
        }
        Ok(done)
    }

    /// Nothing was there, and another host may have answered a moment ago. So it was tried again, knowing what every host knows.
    fn is_none<T>(
        &self,
        done: &[T],
        caught_up: Result<(), EngineError>,
        subscriber: &SubscriberId,
        select: &Select,
    ) -> Result<(), AppError> {
        if done.is_empty() {
            caught_up?;
            return Err(self.nothing_held(subscriber, select));
        }
        Ok(())
    }

    /// Renews what this host knows of; empty if that is nothing.
    async fn renew_known(
        &self,
        caller: &Caller,
        subscriber: &SubscriberId,
        select: &Select,
        ttl: Ttl,
    ) -> Result<Vec<Granted>, AppError> {
        let all = self.all_of(caller, subscriber, select)?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let leased = all.into_iter().filter(|held| held.allocation.expires_ms().is_some());
        // What another one stands in place of runs out. If only such are left, its owner says so.
        let (superseded, standing): (Vec<_>, Vec<_>) =
            leased.partition(|held| self.view.stands_in_place_of(&held.allocation).is_some());
        let leased = if standing.is_empty() { superseded } else { standing };
        if leased.is_empty() {
            return Err(AppError::OnlyPermanent { subscriber: subscriber.clone() });
        }
        let commands = leased.iter().map(|held| Command::Renew { target: target(held), ttl }).collect();
        let mut renewed = Vec::with_capacity(leased.len());
        let mut superseded = None;
        for (held, outcome) in leased.into_iter().zip(self.carry_out(commands).await?) {
            match outcome? {
                Ok(Reply::Renewed { allocation, durability }) => {
                    self.name(&held.pool, &allocation)?;
                    let holding = Holding { allocation, pool: held.pool };
                    renewed.push(Granted { holding, created: false, durability });
                }
                Ok(other) => return Err(unexpected(&other)),
                Err(CommandError::NotHeld { .. }) => {}
                // Its owner has heard more than this host.
                Err(error @ CommandError::Superseded { .. }) => superseded = Some(self.refused(&held.pool, error)),
                Err(error) => return Err(self.refused(&held.pool, error)),
            }
        }
        match superseded {
            _ if !renewed.is_empty() => Ok(renewed),
            Some(error) => Err(error),
            None => Ok(Vec::new()),
        }
    }

    /// Commands in one journey; the outcomes in their order, one each.
    async fn carry_out(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, EngineError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let expected = commands.len();
        let mut outcomes = self.engine.submit_many(commands).await?;
        outcomes.resize_with(expected, || Err(EngineError::Stopped));
        Ok(outcomes)
    }
}
