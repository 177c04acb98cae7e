//! Requests that another host must decide, carried there and back: the same turns as the real router takes.

use std::collections::VecDeque;

use super::Breach;
use super::host::Waits;
use super::net::Body;
use super::world::{Event, World};
use crate::command::{Command, CommandError, Reply};
use crate::id::{Key, MemberId, Origin, PoolUid, Seq, SubscriberId};
use crate::tenure::{Detour, Leg};

/// How long a client waits, and so everybody in between, milliseconds.
pub(super) const DEADLINE: u64 = 1_000;

/// How long an answer waits for this host to hear what it is about.
const HEAR_WITHIN: u64 = 100;

const DETOURS: u8 = 4;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Refused(CommandError),
    Unreachable,
    /// Its shard has another owner since it was decided.
    OwnerChanged,
}

pub(super) type Outcome = Result<Reply, Trouble>;
pub(super) type Whose = (PoolUid, SubscriberId, Option<Key>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Caller {
    Client(u64),
    Host { at: usize, task: u64 },
}

#[derive(Debug)]
pub(super) struct Task {
    from: Caller,
    /// `None`: a client's.
    leg: Option<Leg>,
    command: Command,
    /// Who asked waits until then.
    until: u64,
    detours: u8,
    hunt: Hunt,
    /// Whether this host knew all that anybody had said when it looked last.
    knew_all: bool,
    /// An answer that waits until this host has heard what it is about.
    late: Option<(Origin, Seq, Outcome)>,
}

/// The home's search for space.
#[derive(Debug)]
enum Hunt {
    No,
    /// Somebody else hunts for the same subscriber.
    Queues,
    /// Perhaps the one before found something.
    Again,
    Asks {
        owners: VecDeque<MemberId>,
        /// Shards whose owners said that nothing is left.
        full: u32,
        unreachable: bool,
    },
    /// All have said so; what this host owns now has the last word.
    Last {
        full: u32,
    },
}

fn whose(command: &Command) -> Option<Whose> {
    if let Command::Allocate(request) = command {
        return Some((request.pool, request.subscriber.clone(), request.key.clone()));
    }
    None
}

impl World {
    pub(super) fn begin(&mut self, at: usize, from: Caller, leg: Option<Leg>, command: Command) {
        let task = self.next_task;
        self.next_task += 1;
        // It matters only where what others did may be under way for long.
        let knew_all = !self.weather.stops_processes();
        let until = self.now + DEADLINE;
        let new = Task { from, leg, command, until, detours: 0, hunt: Hunt::No, knew_all, late: None };
        let host = self.host_mut(at);
        host.tasks.insert(task, new);
        let life = host.life;
        self.after(DEADLINE, Event::Deadline { at, life, task });
        self.submit(at, task, leg.unwrap_or(Leg::Entry));
    }

    /// Another host asks. Who is nobody's home passes it on to the home that comes next.
    pub(super) fn asked(&mut self, at: usize, from: Caller, leg: Leg, command: Command) {
        let leg = match (leg, self.lacks_state(at)) {
            (leg, false) => Some(leg),
            (Leg::Home | Leg::Entry, true) => None,
            // It owns nothing, and who asked gives up.
            (Leg::Space | Leg::Owner, true) => return,
        };
        self.begin(at, from, leg, command);
    }

    fn submit(&mut self, at: usize, task: u64, leg: Leg) {
        let knew_all = !self.weather.stops_processes() || self.knows_all(at);
        let Some(found) = self.host_mut(at).tasks.get_mut(&task) else { return };
        found.knew_all = knew_all;
        let command = Box::new(found.command.clone());
        self.put(at, Command::Relayed { leg, command }, Waits::Task(task));
    }

    /// What became of the step a task waited for.
    pub(super) fn outcome(&mut self, at: usize, task: u64, outcome: Outcome) {
        let breach = self.breach;
        let Some(found) = self.host_mut(at).tasks.get_mut(&task) else { return };
        if let Err(Trouble::Refused(refused)) = &outcome {
            found.command.take_along(refused);
        }
        let (leg, hunts) = (found.leg, matches!(found.command, Command::Allocate(_)));
        match (&mut found.hunt, outcome) {
            (Hunt::No, Err(Trouble::Refused(CommandError::Elsewhere { detour, pool, supersedes }))) => {
                match (detour, leg) {
                    (Detour::Space(_), None | Some(Leg::Home)) if hunts => self.hunt(at, task),
                    (Detour::Space(owners), None) if owners.len() == 1 => {
                        // What is reserved has one owner.
                        let owner = owners.first().copied().unwrap_or_default();
                        self.go_on(at, task, owner, Leg::Space);
                    }
                    (Detour::Home(member), None) => self.go_on(at, task, member, Leg::Home),
                    (Detour::Owner(member), None) => self.go_on(at, task, member, Leg::Owner),
                    (detour, _) => {
                        let refused = CommandError::Elsewhere { detour, pool, supersedes };
                        self.finish(at, task, Err(Trouble::Refused(refused)));
                    }
                }
            }
            (Hunt::Again, Err(Trouble::Refused(CommandError::Elsewhere { detour: Detour::Space(owners), .. }))) => {
                found.hunt = Hunt::Asks { owners: owners.into(), full: 0, unreachable: false };
                self.ask_next(at, task);
            }
            (Hunt::Asks { .. }, Err(Trouble::Refused(error @ CommandError::Exhausted { .. })))
                if breach == Some(Breach::AskEveryOwner) =>
            {
                self.finish(at, task, Err(Trouble::Refused(error)));
            }
            (Hunt::Asks { full, .. }, Err(Trouble::Refused(CommandError::Exhausted { shards, .. }))) => {
                *full += shards;
                self.ask_next(at, task);
            }
            (Hunt::Last { full }, Err(Trouble::Refused(CommandError::Exhausted { pool, len, occupancy, shards }))) => {
                let (said, of) = (*full + shards, whose(&found.command).map(|(pool, ..)| pool));
                let of = of.and_then(|of| self.host(at).ledger.pool(of));
                let every = of.map_or(0, |found| found.record.shards.len());
                let error = CommandError::Exhausted { pool, len, occupancy, shards: said };
                let all = usize::try_from(said).is_ok_and(|said| said >= every);
                self.finish(at, task, Err(if all { Trouble::Refused(error) } else { Trouble::Unreachable }));
            }
            (
                Hunt::Asks { unreachable, .. },
                Err(Trouble::Unreachable | Trouble::Refused(CommandError::Withheld { .. })),
            ) => {
                *unreachable = true;
                self.ask_next(at, task);
            }
            (Hunt::Again | Hunt::Asks { .. }, Err(Trouble::Refused(CommandError::Elsewhere { detour, .. })))
                if leg.is_none() =>
            {
                self.land(at, task);
                match detour {
                    Detour::Home(member) => self.go_on(at, task, member, Leg::Home),
                    Detour::Owner(member) => self.go_on(at, task, member, Leg::Owner),
                    Detour::Space(_) => self.finish(at, task, Err(Trouble::Unreachable)),
                }
            }
            (Hunt::No | Hunt::Queues | Hunt::Again | Hunt::Asks { .. } | Hunt::Last { .. }, outcome) => {
                self.finish(at, task, outcome);
            }
        }
    }

    fn go_on(&mut self, at: usize, task: u64, member: MemberId, leg: Leg) {
        let Some(found) = self.host_mut(at).tasks.get_mut(&task) else { return };
        found.detours += 1;
        if found.detours > DETOURS {
            return self.finish(at, task, Err(Trouble::Unreachable));
        }
        self.call(at, task, member, leg);
    }

    fn call(&mut self, at: usize, task: u64, member: MemberId, leg: Leg) {
        if self.is_too_late(at, task) && self.breach != Some(Breach::CarriedOutInTime) {
            return self.overdue(at, task);
        }
        if self.host(at).member == Some(member) {
            return self.submit(at, task, leg);
        }
        let Some(found) = self.host(at).tasks.get(&task) else { return };
        let command = found.command.clone();
        match self.host_of(member).filter(|other| self.net.both_ways(at, *other) && self.host(*other).is_up()) {
            Some(to) => self.send(at, to, Body::Ask { task, leg, command }),
            None => self.outcome(at, task, Err(Trouble::Unreachable)),
        }
    }

    /// Each subscriber is looked for once at a time.
    fn hunt(&mut self, at: usize, task: u64) {
        let host = self.host_mut(at);
        let Some(found) = host.tasks.get_mut(&task) else { return };
        let Some(whose) = whose(&found.command) else { return };
        if host.flights.insert(whose) {
            found.hunt = Hunt::Again;
            self.submit(at, task, Leg::Home);
        } else {
            found.hunt = Hunt::Queues;
        }
    }

    fn ask_next(&mut self, at: usize, task: u64) {
        let Some(found) = self.host_mut(at).tasks.get_mut(&task) else { return };
        let Hunt::Asks { owners, full, unreachable } = &mut found.hunt else { return };
        if let Some(owner) = owners.pop_front() {
            return self.call(at, task, owner, Leg::Space);
        }
        if *unreachable {
            return self.finish(at, task, Err(Trouble::Unreachable));
        }
        found.hunt = Hunt::Last { full: *full };
        self.submit(at, task, Leg::Space);
    }

    /// The hunt is over: whoever waits may hunt.
    fn land(&mut self, at: usize, task: u64) {
        let host = self.host_mut(at);
        let Some(found) = host.tasks.get_mut(&task) else { return };
        if !matches!(std::mem::replace(&mut found.hunt, Hunt::No), Hunt::Again | Hunt::Asks { .. } | Hunt::Last { .. })
        {
            return;
        }
        let Some(of) = whose(&found.command) else { return };
        host.flights.remove(&of);
        let queues = |task: &Task| matches!(task.hunt, Hunt::Queues) && whose(&task.command).as_ref() == Some(&of);
        let next = host.tasks.iter().find(|(_, task)| queues(task)).map(|(task, _)| *task);
        if let Some(next) = next {
            self.hunt(at, next);
        }
    }

    fn finish(&mut self, at: usize, task: u64, outcome: Outcome) {
        self.land(at, task);
        let host = self.host_mut(at);
        let Some(found) = host.tasks.remove(&task) else { return };
        let (origin, through) = (host.origin, host.committed);
        match found.from {
            Caller::Client(request) => {
                // The real host hears what the others know before it says that something is not there, or says that it cannot.
                let unsure = !found.knew_all;
                let is_none = matches!(outcome, Err(Trouble::Refused(CommandError::NotHeld { .. })));
                let outcome = if unsure && is_none { Err(Trouble::Unreachable) } else { outcome };
                let delay = if self.net.calm { 1 } else { 1 + self.draws.below(40) };
                self.after(delay, Event::Reply { request, outcome });
            }
            Caller::Host { at: asker, task } => self.send(at, asker, Body::Answer { task, outcome, origin, through }),
        }
    }

    /// Another host answers.
    pub(super) fn arrived(&mut self, at: usize, task: u64, outcome: Outcome, origin: Origin, through: Seq) {
        if self.is_too_late(at, task) {
            return self.overdue(at, task);
        }
        let host = self.host_mut(at);
        if !host.tasks.contains_key(&task) {
            return;
        }
        if host.heard.get(&origin).is_some_and(|known| *known >= through) {
            return self.outcome(at, task, outcome);
        }
        let life = host.life;
        if let Some(found) = host.tasks.get_mut(&task) {
            found.late = Some((origin, through, outcome));
        }
        self.after(HEAR_WITHIN, Event::HearLimit { at, life, task });
    }

    /// This host heard something: perhaps an answer waited for it.
    pub(super) fn let_through(&mut self, at: usize) {
        let host = self.host(at);
        let heard = |late: &(Origin, Seq, Outcome)| host.heard.get(&late.0).is_some_and(|known| *known >= late.1);
        let ready: Vec<u64> = host
            .tasks
            .iter()
            .filter(|(_, task)| task.late.as_ref().is_some_and(heard))
            .map(|(task, _)| *task)
            .collect();
        for task in ready {
            self.no_longer(at, task);
        }
    }

    /// An answer leaves although this host has not heard what it is about.
    pub(super) fn no_longer(&mut self, at: usize, task: u64) {
        if self.is_too_late(at, task) {
            return self.overdue(at, task);
        }
        let late = self.host_mut(at).tasks.get_mut(&task).and_then(|task| task.late.take());
        if let Some((_, _, outcome)) = late {
            self.outcome(at, task, outcome);
        }
    }

    /// Whether nobody may be asked any more, nor told what another host answered. A process that was stopped may come to that
    /// before it comes to its deadline; the real host looks at clocks that ran on. (What this host decides by itself is left to
    /// the look after the flush: that must be enough.)
    fn is_too_late(&self, at: usize, task: u64) -> bool {
        self.host(at).tasks.get(&task).is_some_and(|task| self.now > task.until)
    }

    pub(super) fn overdue(&mut self, at: usize, task: u64) {
        if self.host(at).tasks.contains_key(&task) {
            self.finish(at, task, Err(Trouble::Unreachable));
        }
    }
}
