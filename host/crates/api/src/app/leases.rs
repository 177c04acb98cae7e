//! Release and renew.

use kernel::{AllocationTarget, Command, CommandError, Reply, SubscriberId, Ttl};

use super::App;
use super::allocate::unexpected;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::input::{ReleaseScope, Select};
use super::lookups::{nothing_held, shown};
use super::output::{Granted, Holding};
use crate::engine::{EngineError, Outcome};

fn target(held: &Holding) -> AllocationTarget {
    let allocation = &held.allocation;
    AllocationTarget {
        pool: allocation.pool,
        subscriber: allocation.subscriber.clone(),
        key: allocation.key().cloned(),
        // What was looked up is what is meant, whatever happens in between.
        span: Some(allocation.span),
    }
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
        let all = self.all_of(caller, subscriber, select)?;
        let meant = match scope {
            ReleaseScope::Shown => shown(&all).cloned().into_iter().collect(),
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
        if released.is_empty() { Err(nothing_held(subscriber, select)) } else { Ok(released) }
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
        let all = self.all_of(caller, subscriber, select)?;
        if all.is_empty() {
            return Err(nothing_held(subscriber, select));
        }
        let leased: Vec<_> = all.into_iter().filter(|held| held.allocation.expires_ms().is_some()).collect();
        if leased.is_empty() {
            return Err(AppError::OnlyPermanent { subscriber: subscriber.clone() });
        }
        let commands = leased.iter().map(|held| Command::Renew { target: target(held), ttl }).collect();
        let mut renewed = Vec::with_capacity(leased.len());
        for (held, outcome) in leased.into_iter().zip(self.carry_out(commands).await?) {
            match outcome? {
                Ok(Reply::Renewed { allocation, durability }) => {
                    self.name(&held.pool, &allocation)?;
                    let holding = Holding { allocation, pool: held.pool };
                    renewed.push(Granted { holding, created: false, durability });
                }
                Ok(other) => return Err(unexpected(&other)),
                Err(CommandError::NotHeld { .. }) => {}
                Err(error) => return Err(self.refused(&held.pool, error)),
            }
        }
        if renewed.is_empty() { Err(nothing_held(subscriber, select)) } else { Ok(renewed) }
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
