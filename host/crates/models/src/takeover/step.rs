//! What each action of the takeover model changes.

use super::offer::position;
use super::state::{Grant, Lease, OldAnswer, Op, Renewal, Served, Session, State, grace, replay};
use super::{Action, Breach, LEASE, Takeover};

/// Carries out one action that `offer` names.
pub(super) fn apply(model: &Takeover, state: &mut State, action: &Action) {
    match *action {
        Action::Tick => tick(model, state, 1),
        Action::SlowTick => slow_tick(model, state),
        Action::Flush => state.old.flushed = state.old.log.len(),
        Action::OldToVoter => state.voter_has = state.old.flushed,
        Action::OldToNew => state.new.has = state.old.flushed,
        Action::VoterToNew => {
            state.new.has = state.new.has.max(state.voter_has);
            adopt(model, state);
        }
        Action::LogArrives => {
            state.new.has = state.old.flushed;
            adopt(model, state);
            state.new.quarantine = false;
        }
        Action::Crash => crash(model, state),
        Action::Renew
        | Action::ApplyRenewal
        | Action::HearRenewal
        | Action::LoseRenewal
        | Action::ProposeDepose
        | Action::ApplyDepose
        | Action::AskVoters
        | Action::ApplyGrant
        | Action::Begin => apply_ledger(model, state, action),
        Action::Ask(subscriber)
        | Action::Allocate(subscriber, _)
        | Action::Repeat(subscriber)
        | Action::Answer(subscriber)
        | Action::DeliverOld(subscriber)
        | Action::DeliverNew(subscriber)
        | Action::ReleaseAtOld(subscriber)
        | Action::ReleaseAtNew(subscriber)
        | Action::AllocateAtNew(subscriber, _)
        | Action::RepeatAtNew(subscriber)
        | Action::Confirm(subscriber) => apply_side(model, state, action, subscriber),
    }
}

fn tick(model: &Takeover, state: &mut State, by_old_clock: u8) {
    state.old.lease.left = state.old.lease.left.saturating_sub(by_old_clock);
    if let Some(renewal) = &mut state.old.renewal {
        // Older than a lease it brings nothing, however old it is.
        renewal.age = (renewal.age + by_old_clock).min(LEASE);
    }
    state.ledger.wait = state.ledger.wait.saturating_sub(1);
    if model.breaks(Breach::AnyAnswerCounts) {
        return;
    }
    for side in &mut state.sides {
        side.old_answer =
            side.old_answer.and_then(|answer| Some(OldAnswer { left: answer.left.checked_sub(1)?, ..answer }));
    }
}

fn slow_tick(model: &Takeover, state: &mut State) {
    tick(model, state, 0);
    state.old.lease.slow = true;
    if let Some(renewal) = &mut state.old.renewal {
        renewal.slow = true;
    }
}

/// What was not flushed is gone, and the lease is void until it is renewed.
fn crash(model: &Takeover, state: &mut State) {
    state.old.log.truncate(state.old.flushed);
    let left = if model.breaks(Breach::LeaseOutlivesCrash) { LEASE } else { 0 };
    state.old.lease = Lease { left, slow: true };
    state.old.renewal = None;
    for side in &mut state.sides {
        side.work = None;
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the caller hands over only the actions named here")]
fn apply_ledger(model: &Takeover, state: &mut State, action: &Action) {
    match action {
        Action::Renew => {
            state.old.renewal = Some(Renewal { age: 0, slow: false, applied: false });
            state.ledger.tried += 1;
        }
        Action::ApplyRenewal => {
            if let Some(renewal) = &mut state.old.renewal {
                renewal.applied = true;
            }
            state.ledger.renewals += 1;
            state.ledger.wait = LEASE + grace(model);
        }
        Action::HearRenewal => {
            if let Some(renewal) = state.old.renewal.take() {
                let age = if model.breaks(Breach::LeaseFromAnswer) { 0 } else { renewal.age };
                if LEASE - age >= state.old.lease.left {
                    state.old.lease = Lease { left: LEASE - age, slow: renewal.slow };
                }
            }
        }
        Action::LoseRenewal => state.old.renewal = None,
        Action::ProposeDepose => state.ledger.depose = Some(state.ledger.renewals),
        Action::ApplyDepose => {
            let known = state.ledger.depose.take();
            if known == Some(state.ledger.renewals) || model.breaks(Breach::DeposeDespiteRenewal) {
                state.ledger.grant = Grant::Deposed;
            }
        }
        Action::AskVoters => state.ledger.grant = Grant::Asked { cut: state.acknowledged() },
        Action::ApplyGrant => {
            if let Grant::Asked { cut } = state.ledger.grant {
                state.ledger.grant = Grant::New { cut };
            }
        }
        Action::Begin => {
            let Grant::New { cut } = state.ledger.grant else { return };
            let copied = state.old.log.iter().take(cut.min(state.new.has)).copied().collect::<Vec<_>>();
            let inherit = |held: Option<usize>| held.map(|subscriber| Served { subscriber, own: false });
            state.new.table = replay(&copied, model.addresses).into_iter().map(inherit).collect();
            state.new.applied = copied.len();
            state.new.serving = true;
            adopt(model, state);
        }
        other => unreachable!("{other:?} is not the ledger's"),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the caller hands over only the actions named here")]
fn apply_side(model: &Takeover, state: &mut State, action: &Action, subscriber: usize) {
    let (acknowledged, is_fenced) = (state.acknowledged(), !model.breaks(Breach::AnyAnswerCounts));
    let State { old, new, sides, asked, .. } = state;
    let side = &mut sides[subscriber];
    match *action {
        Action::Ask(_) => {
            side.asks = true;
            *asked = (*asked).max(subscriber + 1);
        }
        Action::Allocate(_, address) => {
            old.log.push(Op::Held { address, subscriber });
            side.work = Some(old.log.len() - 1);
        }
        Action::Repeat(_) => side.work = position(&old.log, model, subscriber),
        Action::Answer(_) => {
            if let Some(at) = side.work.take()
                && let Some(Op::Held { address, .. }) = old.log.get(at)
            {
                let acked = at < acknowledged || model.breaks(Breach::AckUnasked);
                let session = Session { address: *address, acked };
                side.old_answer = Some(OldAnswer::new(session));
            }
        }
        Action::DeliverOld(_) => {
            let session = side.old_answer.take().map(|answer| answer.session);
            if side.asks && !(side.seen_new && is_fenced) {
                (side.session, side.asks) = (session, false);
                // An answer to an older question is known by its number and dropped.
                (side.work, side.new_answer) = (None, None);
            }
        }
        Action::DeliverNew(_) => {
            let session = side.new_answer.take().map(|address| Session { address, acked: true });
            (side.session, side.asks, side.seen_new) = (session, false, true);
            (side.work, side.old_answer) = (None, None);
        }
        Action::ReleaseAtOld(_) => {
            if let Some(session) = side.session.take() {
                old.log.push(Op::Freed { address: session.address, subscriber });
            }
        }
        Action::ReleaseAtNew(_) => {
            if let Some(session) = side.session.take() {
                new.table[session.address].take_if(|served| served.subscriber == subscriber);
            }
        }
        Action::AllocateAtNew(_, address) => {
            new.table[address] = Some(Served { subscriber, own: true });
            side.new_answer = Some(address);
        }
        Action::RepeatAtNew(_) => {
            let held = new.table.iter_mut().enumerate();
            let mut held = held.filter_map(|(at, served)| served.as_mut().map(|served| (at, served)));
            if let Some((address, served)) = held.find(|(_, served)| served.subscriber == subscriber) {
                served.own = true;
                side.new_answer = Some(address);
            }
        }
        Action::Confirm(_) => {
            (side.confirmed, side.seen_new) = (true, true);
            let session = side.session.map(|session| session.address);
            for (address, served) in new.table.iter_mut().enumerate() {
                if session == Some(address) && served.is_none() {
                    *served = Some(Served { subscriber, own: false });
                } else if session != Some(address) {
                    served.take_if(|served| served.subscriber == subscriber && !served.own);
                }
            }
            new.quarantine = !state.sides.iter().all(|side| side.confirmed);
        }
        ref other => unreachable!("{other:?} is not a subscriber's"),
    }
}

/// Takes into the table what the old holder wrote past the cut, while nothing else was handed out there.
fn adopt(model: &Takeover, state: &mut State) {
    if !(state.new.serving && state.new.quarantine) {
        return;
    }
    let late = state.old.log.iter().take(state.new.has).skip(state.new.applied).copied();
    for op in late.collect::<Vec<_>>() {
        let table = &mut state.new.table;
        match op {
            Op::Held { address, subscriber } => {
                let served = table.iter().flatten().any(|served| served.subscriber == subscriber && served.own);
                if table[address].is_none() && !served {
                    table[address] = Some(Served { subscriber, own: false });
                }
            }
            Op::Freed { address, subscriber } => {
                let counts = |own: bool| !own || model.breaks(Breach::LateReleaseCounts);
                table[address].take_if(|served| served.subscriber == subscriber && counts(served.own));
            }
        }
    }
    state.new.applied = state.new.has;
}

/// Makes states equal that differ only in what nobody asks for any more.
pub(super) fn forget(model: &Takeover, state: &mut State) {
    state.old.lease.slow |= state.old.lease.left == 0;
    if state.voter_has <= state.new.has {
        state.voter_has = 0;
    }
    if state.ledger.grant != Grant::Old {
        (state.ledger.wait, state.ledger.renewals, state.ledger.tried) = (0, 0, 0);
        // What the ledger did not apply by now it refuses.
        state.old.renewal.take_if(|renewal| !renewal.applied);
    }
    for side in &mut state.sides {
        if side.seen_new && !model.breaks(Breach::AnyAnswerCounts) {
            (side.work, side.old_answer) = (None, None);
        }
    }
    if !state.new.quarantine && !state.sides.iter().all(|side| side.confirmed) {
        state.sides.iter_mut().for_each(|side| side.confirmed = false);
    }
}
