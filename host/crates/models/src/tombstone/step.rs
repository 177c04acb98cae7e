//! What may happen next in the tombstone model, and what it changes.

use super::state::{Dot, HOSTS, Heard, Host, ORIGINS, State, Vector, Write};
use super::{Action, Breach, Tombstone};

/// Everything that may happen in `state`. What it leaves unchanged is dropped by the caller.
pub(super) fn actions(model: &Tombstone, state: &State, actions: &mut Vec<Action>) {
    if state.changes < model.changes {
        actions.push(Action::Change);
    }
    let written: usize = state.logs.iter().map(Vec::len).sum();
    for (at, host) in state.hosts.iter().enumerate() {
        if host.empty {
            let sources = (0..HOSTS).filter(|from| *from != at && state.hosts[*from].knows == state.changes);
            actions.extend(sources.map(Action::Snapshot));
            continue;
        }
        if host.knows < state.changes {
            actions.push(Action::Learn(at));
        }
        actions.push(Action::Crash(at));
        if written < model.writes {
            actions.push(Action::Put(at));
            if host.cell.is_some_and(|dot| !state.write(dot).delete) {
                actions.push(Action::Delete(at));
            }
        }
        for peer in (0..HOSTS).filter(|peer| *peer != at && connected(model, state, at, *peer)) {
            let news = (0..ORIGINS).filter(|origin| state.hosts[peer].vector[*origin] > host.vector[*origin]);
            actions.extend(news.map(|origin| Action::Pull(at, peer, origin)));
            if open_tombstones(state, at, state.hosts[peer].vector) {
                actions.push(Action::Hear(at, peer));
            }
        }
        if host.cell.is_some_and(|dot| state.write(dot).delete && may_collect(model, state, at, dot)) {
            actions.push(Action::Collect(at));
        }
    }
}

/// Whether `host` takes `peer`, in the incarnation that it is in, for a member.
fn knows_member(model: &Tombstone, state: &State, host: usize, peer: usize) -> bool {
    let returned = state.hosts[peer].returned || model.breaks(Breach::OldIncarnation);
    match state.hosts[host].knows {
        0 => peer < 2 || !state.hosts[peer].returned,
        1 => peer < 2,
        _ => peer < 2 || returned,
    }
}

/// Two hosts speak if each takes the other for a member.
fn connected(model: &Tombstone, state: &State, one: usize, other: usize) -> bool {
    !state.hosts[other].empty && knows_member(model, state, one, other) && knows_member(model, state, other, one)
}

/// Whether the host may drop the tombstone: each member acknowledged it under this host's own list of members, and this
/// host has everything that the member had then.
fn may_collect(model: &Tombstone, state: &State, host: usize, tombstone: Dot) -> bool {
    if model.breaks(Breach::ByTime) {
        return true;
    }
    let Host { vector, heard, knows, .. } = &state.hosts[host];
    let mut members = (0..HOSTS).filter(|peer| *peer != host && (*peer < 2 || *knows != 1));
    let stable = |peer: usize| {
        heard[peer].is_some_and(|heard| {
            let acknowledged = heard.vector[tombstone.origin] >= tombstone.seq;
            let same_list = heard.knows == *knows || model.breaks(Breach::AnyMemberList);
            let ahead = |origin: usize| heard.vector[origin] > vector[origin];
            let everything = if model.breaks(Breach::OwnWritingsOnly) {
                !ahead(state.origin(peer))
            } else {
                !(0..ORIGINS).any(ahead) || model.breaks(Breach::AcknowledgedOnly)
            };
            acknowledged && same_list && everything
        })
    };
    let outside = host == 2 && *knows == 1;
    !outside && members.all(stable)
}

/// Whether the vector covers a deletion that the host did not drop yet; else hearing of it changes nothing.
fn open_tombstones(state: &State, host: usize, vector: Vector) -> bool {
    State::covered(vector).any(|dot| state.write(dot).delete && !state.hosts[host].dropped.contains(&dot))
}

/// Makes states equal that differ only in what nobody asks for any more.
pub(super) fn forget(state: &mut State) {
    for at in 0..HOSTS {
        for peer in 0..HOSTS {
            let idle = |heard: Heard| !open_tombstones(state, at, heard.vector);
            if state.hosts[at].heard[peer].is_some_and(idle) {
                state.hosts[at].heard[peer] = None;
            }
        }
    }
}

/// Carries out one action of `actions`.
pub(super) fn apply(model: &Tombstone, state: &mut State, action: &Action) {
    match *action {
        Action::Put(host) => write(state, host, Write { stamp: next_stamp(state, host), delete: false }),
        Action::Delete(host) => write(state, host, Write { stamp: next_stamp(state, host), delete: true }),
        Action::Pull(host, peer, origin) => pull(state, host, peer, origin),
        Action::Hear(host, peer) => {
            let Host { vector, knows, .. } = state.hosts[peer];
            state.hosts[host].heard[peer] = Some(Heard { vector, knows });
        }
        Action::Collect(host) => {
            let host = &mut state.hosts[host];
            host.dropped.extend(host.cell.take());
        }
        Action::Crash(host) => state.hosts[host].heard = [None; HOSTS],
        Action::Change => {
            state.changes += 1;
            let [_, _, host] = &mut state.hosts;
            if state.changes == 2 && model.breaks(Breach::OldIncarnation) {
                host.knows = 2;
            } else if state.changes == 2 {
                *host = Host { returned: true, empty: true, ..Host::default() };
            }
        }
        Action::Learn(host) => state.hosts[host].knows += 1,
        Action::Snapshot(from) => {
            let Host { vector, cell, dropped, knows, .. } = state.hosts[from].clone();
            state.hosts[2] = Host { vector, cell, dropped, knows, heard: [None; HOSTS], returned: true, empty: false };
        }
    }
}

/// One more than everything that the host has seen.
fn next_stamp(state: &State, host: usize) -> usize {
    State::covered(state.hosts[host].vector).map(|dot| state.write(dot).stamp).max().map_or(1, |last| last + 1)
}

fn write(state: &mut State, host: usize, write: Write) {
    let origin = state.origin(host);
    state.logs[origin].push(write);
    let seq = state.logs[origin].len();
    let host = &mut state.hosts[host];
    host.vector[origin] = seq;
    host.cell = Some(Dot { origin, seq });
}

/// Dropped tombstones cannot be sent any more: for them only the vector goes on. Everything else is sent, as long as the
/// receiver lacks it.
fn pull(state: &mut State, host: usize, peer: usize, origin: usize) {
    let upto = state.hosts[peer].vector[origin];
    for seq in state.hosts[host].vector[origin] + 1..=upto {
        let dot = Dot { origin, seq };
        if !state.hosts[peer].dropped.contains(&dot) {
            let kept = state.hosts[host].cell.map_or(dot, |kept| state.later(kept, dot));
            state.hosts[host].cell = Some(kept);
        }
    }
    state.hosts[host].vector[origin] = upto;
}
