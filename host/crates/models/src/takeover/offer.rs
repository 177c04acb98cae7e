//! What may happen next in the takeover model.

use super::state::{Grant, Op, Renewal, State, replay};
use super::{Action, Breach, Takeover};

/// Everything that may happen in `state`. What it leaves unchanged is dropped by the caller.
pub(super) fn actions(model: &Takeover, state: &State, actions: &mut Vec<Action>) {
    actions.push(Action::Tick);
    let lease_may = state.old.lease.left == 0 || !state.old.lease.slow;
    if lease_may && state.old.renewal.is_none_or(|renewal| !renewal.slow) {
        actions.push(Action::SlowTick);
    }
    for subscriber in 0..model.subscribers {
        of_side(model, state, subscriber, actions);
    }
    of_log(state, actions);
    of_ledger(model, state, actions);
}

fn of_side(model: &Takeover, state: &State, subscriber: usize, actions: &mut Vec<Action>) {
    let side = &state.sides[subscriber];
    // Subscribers are alike, so their first questions come in the order of their numbers.
    if side.session.is_none() && !side.asks && subscriber <= state.asked {
        actions.push(Action::Ask(subscriber));
    }
    if side.asks {
        if state.old.lease.left > 0 && side.work.is_none() {
            if position(&state.old.log, model, subscriber).is_some() {
                actions.push(Action::Repeat(subscriber));
            } else if state.old.log.len() < model.writes {
                let free = free_at_old(model, state).into_iter();
                actions.extend(free.map(|address| Action::Allocate(subscriber, address)));
            }
        }
        if state.new.serving {
            if state.new.table.iter().flatten().any(|served| served.subscriber == subscriber) {
                actions.push(Action::RepeatAtNew(subscriber));
            } else {
                let free = free_at_new(model, state).into_iter();
                actions.extend(free.map(|address| Action::AllocateAtNew(subscriber, address)));
            }
        }
    }
    let still_ours = state.old.lease.left > 0 || model.breaks(Breach::NoRecheck);
    if side.work.is_some_and(|at| at < state.old.flushed) && still_ours {
        actions.push(Action::Answer(subscriber));
    }
    if side.old_answer.is_some() {
        actions.push(Action::DeliverOld(subscriber));
    }
    if side.new_answer.is_some() {
        actions.push(Action::DeliverNew(subscriber));
    }
    if let Some(session) = side.session {
        let at_old = replay(&state.old.log, model.addresses)[session.address] == Some(subscriber);
        if at_old && state.old.lease.left > 0 && state.old.log.len() < model.writes {
            actions.push(Action::ReleaseAtOld(subscriber));
        }
        if state.new.serving {
            actions.push(Action::ReleaseAtNew(subscriber));
        }
    }
    if state.new.serving && state.new.quarantine && !side.confirmed {
        actions.push(Action::Confirm(subscriber));
    }
}

fn of_log(state: &State, actions: &mut Vec<Action>) {
    actions.extend([Action::Flush, Action::OldToVoter, Action::VoterToNew, Action::Crash]);
    // Once the new holder serves, what the old one has itself arrives as its whole log.
    actions.push(if state.new.serving { Action::LogArrives } else { Action::OldToNew });
}

fn of_ledger(model: &Takeover, state: &State, actions: &mut Vec<Action>) {
    let held = state.ledger.grant == Grant::Old;
    match state.old.renewal {
        None if state.ledger.tried < model.renewals && held => actions.push(Action::Renew),
        None => {}
        Some(Renewal { applied: false, .. }) if held => actions.extend([Action::ApplyRenewal, Action::LoseRenewal]),
        Some(Renewal { applied: false, .. }) => actions.push(Action::LoseRenewal),
        Some(Renewal { applied: true, .. }) => actions.extend([Action::HearRenewal, Action::LoseRenewal]),
    }
    match state.ledger.grant {
        Grant::Old if state.ledger.depose.is_some() => actions.push(Action::ApplyDepose),
        Grant::Old if state.ledger.wait == 0 => actions.push(Action::ProposeDepose),
        Grant::Old => {}
        Grant::Deposed => actions.push(Action::AskVoters),
        Grant::Asked { .. } => actions.push(Action::ApplyGrant),
        Grant::New { cut } => {
            if !state.new.serving && (state.new.has >= cut || model.breaks(Breach::ServeBeforeCut)) {
                actions.push(Action::Begin);
            }
        }
    }
}

/// The record that says what the subscriber holds at the old holder.
pub(super) fn position(log: &[Op], model: &Takeover, subscriber: usize) -> Option<usize> {
    let address = replay(log, model.addresses).iter().position(|held| *held == Some(subscriber))?;
    log.iter().rposition(|op| *op == Op::Held { address, subscriber })
}

/// What the old holder may hand out: one address that nobody ever had (they are alike), and those whose release another
/// voter knows.
fn free_at_old(model: &Takeover, state: &State) -> Vec<usize> {
    let table = replay(&state.old.log, model.addresses);
    let freed = |address: usize| {
        state.old.log.iter().rposition(|op| matches!(*op, Op::Freed { address: freed, .. } if freed == address))
    };
    let free = (0..model.addresses).filter(|address| table[*address].is_none());
    let (used, fresh): (Vec<usize>, Vec<usize>) = free.partition(|address| freed(*address).is_some());
    let stable = |at: usize| at < state.acknowledged() || model.breaks(Breach::ReuseUnstableRelease);
    let reusable = used.into_iter().filter(|address| freed(*address).is_some_and(stable));
    reusable.chain(fresh.into_iter().take(1)).collect()
}

/// What the new holder may hand out.
fn free_at_new(model: &Takeover, state: &State) -> Vec<usize> {
    let known = |address: usize| {
        state.old.log.iter().take(state.new.has).any(|op| match *op {
            Op::Held { address: named, .. } | Op::Freed { address: named, .. } => named == address,
        })
    };
    let held_back =
        |address: usize| state.new.quarantine && !(model.breaks(Breach::QuarantineUnknownOnly) && known(address));
    (0..model.addresses).filter(|address| state.new.table[*address].is_none() && !held_back(*address)).collect()
}
