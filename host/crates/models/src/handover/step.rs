//! What may happen next in the hand-over model, and what it changes.

use super::state::{Answer, Fact, Grant, Move, Op, State};
use super::{Action, Breach, Handover};

/// Everything that may happen in `state`. What it leaves unchanged is dropped by the caller.
pub(super) fn actions(model: &Handover, state: &State, actions: &mut Vec<Action>) {
    for (subscriber, side) in state.sides.iter().enumerate() {
        // Subscribers are alike, so their first questions come in the order of their numbers.
        if side.session.is_none() && !side.asks && subscriber <= state.asked {
            actions.push(Action::Ask(subscriber));
        }
    }
    for host in 0..2 {
        of_host(model, state, host, actions);
        if state.serves(model, host) {
            of_holder(model, state, host, actions);
        }
        for (subscriber, side) in state.sides.iter().enumerate() {
            let Some(at) = side.work[host] else { continue };
            let log = &state.hosts[host];
            let still_ours = state.holds(host) && log.log.get(at).is_some_and(|op| op.epoch <= log.knows);
            if at < log.flushed && still_ours {
                actions.push(Action::Answer(host, subscriber));
            }
        }
        let answered = state.sides.iter().enumerate().filter(|(_, side)| side.answer[host].is_some());
        actions.extend(answered.map(|(subscriber, _)| Action::Deliver(host, subscriber)));
    }
    let epoch = state.ledger.len();
    let fits = |entry: &&Move| entry.epoch == epoch || model.breaks(Breach::NoEpochCheck);
    if epoch <= model.moves {
        actions.extend(state.proposals.iter().filter(fits).map(|entry| Action::Apply(*entry)));
    }
}

fn of_host(model: &Handover, state: &State, host: usize, actions: &mut Vec<Action>) {
    let own = &state.hosts[host];
    actions.extend([Action::Flush(host), Action::Copy(host), Action::Crash(host)]);
    if own.knows < state.ledger.len() {
        actions.push(Action::Learn(host));
    }
    let durable = own.stop_flushed == own.stopped || model.breaks(Breach::StopInMemory);
    let written = own.flushed == own.log.len() || model.breaks(Breach::CutBeforeFlush);
    if state.holds(host) && own.stopped == own.knows && durable && written {
        actions.push(Action::Propose(host));
    }
    if model.breaks(Breach::TakeBack) && state.holds(host) && own.stopped == own.knows {
        actions.push(Action::TakeBack(host));
    }
}

fn of_holder(model: &Handover, state: &State, host: usize, actions: &mut Vec<Action>) {
    actions.push(Action::Stop(host));
    let table = state.table(model, host);
    let may_write = state.hosts[host].log.len() < model.writes;
    for (subscriber, side) in state.sides.iter().enumerate() {
        if side.asks && side.work[host].is_none() {
            if position(model, state, host, subscriber).is_some() {
                actions.push(Action::Repeat(host, subscriber));
            } else if may_write {
                let free = (0..model.addresses).filter(|address| table[*address].is_none());
                actions.extend(free.map(|address| Action::Allocate(host, subscriber, address)));
            }
        }
        if may_write && side.session.is_some_and(|session| table[session.address] == Some(subscriber)) {
            actions.push(Action::Release(host, subscriber));
        }
    }
}

/// The address that the subscriber holds, as the host knows it.
fn position(model: &Handover, state: &State, host: usize, subscriber: usize) -> Option<usize> {
    state.table(model, host).iter().position(|held| *held == Some(subscriber))
}

/// Carries out one action of `actions`.
pub(super) fn apply(model: &Handover, state: &mut State, action: &Action) {
    match *action {
        Action::Ask(subscriber) => {
            state.sides[subscriber].asks = true;
            state.asked = state.asked.max(subscriber + 1);
        }
        Action::Allocate(host, subscriber, address) => {
            let own = &mut state.hosts[host];
            own.log.push(Op { epoch: own.knows, fact: Fact::Held, address, subscriber });
            state.sides[subscriber].work[host] = Some(own.log.len() - 1);
        }
        Action::Repeat(host, subscriber) => repeat(model, state, host, subscriber),
        // The stop is a record of the same log, so all that was handed out before it is on the disk with it.
        Action::Flush(host) => {
            let own = &mut state.hosts[host];
            (own.flushed, own.stop_flushed) = (own.log.len(), own.stopped);
        }
        Action::Answer(host, subscriber) => {
            if let Some(at) = state.sides[subscriber].work[host].take() {
                let Op { address, epoch, .. } = state.hosts[host].log[at];
                state.sides[subscriber].answer[host] = Some(Answer { address, epoch });
            }
        }
        Action::Deliver(host, subscriber) => deliver(state, host, subscriber),
        Action::Release(host, subscriber) => {
            let own = &mut state.hosts[host];
            if let Some(Answer { address, .. }) = state.sides[subscriber].session.take() {
                own.log.push(Op { epoch: own.knows, fact: Fact::Freed, address, subscriber });
            }
        }
        Action::Stop(host) => {
            let own = &mut state.hosts[host];
            own.stopped = own.knows;
            if model.breaks(Breach::CutBeforeFlush) {
                own.stop_flushed = own.stopped;
            }
        }
        Action::Propose(host) => {
            let own = &state.hosts[host];
            state.proposals.insert(Move { epoch: own.knows, from: host, cut: own.flushed });
        }
        Action::Apply(Move { from, cut, .. }) => state.ledger.push(Grant { holder: 1 - from, cut }),
        Action::Learn(host) => state.hosts[host].knows += 1,
        Action::Copy(host) => state.hosts[host].copied = state.hosts[1 - host].flushed,
        Action::Crash(host) => {
            let own = &mut state.hosts[host];
            own.log.truncate(own.flushed);
            own.stopped = own.stop_flushed;
            state.sides.iter_mut().for_each(|side| side.work[host] = None);
        }
        Action::TakeBack(host) => (state.hosts[host].stopped, state.hosts[host].stop_flushed) = (0, 0),
    }
}

/// What was written in this epoch waits for its flush; what is inherited is on the disk and is answered at once.
fn repeat(model: &Handover, state: &mut State, host: usize, subscriber: usize) {
    let Some(address) = position(model, state, host, subscriber) else { return };
    let own = &state.hosts[host];
    let wrote = own.log.iter().rposition(|op| {
        op.epoch == own.knows && op.fact == Fact::Held && op.address == address && op.subscriber == subscriber
    });
    let side = &mut state.sides[subscriber];
    match wrote {
        Some(at) => side.work[host] = Some(at),
        None => side.answer[host] = Some(Answer { address, epoch: own.knows }),
    }
}

/// A BNG takes one answer to its question, unless it has seen a later epoch. Others are known by their number and dropped.
fn deliver(state: &mut State, host: usize, subscriber: usize) {
    let side = &mut state.sides[subscriber];
    let Some(answer) = side.answer[host].take() else { return };
    if side.asks && answer.epoch >= side.seen {
        (side.session, side.asks, side.seen) = (Some(answer), false, answer.epoch);
        (side.work, side.answer) = ([None, None], [None, None]);
    }
}
