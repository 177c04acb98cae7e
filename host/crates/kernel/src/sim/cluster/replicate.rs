//! Facts on their way: what a host writes is gossiped, what got lost is pulled.

use std::sync::Arc;

use super::host::{Host, Waits};
use super::net::{Body, Vector};
use super::world::World;
use crate::command::{Command, CommandError, News, Reply};
use crate::fact::Op;
use crate::id::{Dot, Origin, Seq};
use crate::replica::Batch;

/// How often a host asks another for what it misses, milliseconds.
const PULL_EVERY: u64 = 400;

/// Operations of one answer.
const PULLED: usize = 60;

impl Host {
    /// A run of what is durable here of one log.
    fn run(&self, origin: Origin, after: Seq, most: usize) -> Batch {
        let own = origin == self.origin;
        let number = |op: &Op| op.from.map_or(op.seq, |from| from.seq);
        let ops = self.runs.get(&origin).map(Vec::as_slice).unwrap_or_default();
        let from = ops.partition_point(|op| number(op) <= after);
        let ops = ops.get(from..).unwrap_or_default();
        let complete = if own { self.committed } else { self.heard.get(&origin).copied().unwrap_or_default() };
        let ops: Vec<&Op> = ops.iter().take_while(|op| number(op) <= complete).take(most + 1).collect();
        let through = match (ops.len() > most, ops.get(most.saturating_sub(1))) {
            (true, Some(last)) => number(last),
            _ => complete,
        };
        Batch::pack(origin, after, through, ops.into_iter().take(most), self)
    }
}

impl World {
    /// Gossips what was just flushed.
    pub(super) fn publish(&mut self, at: usize) {
        let host = self.host_mut(at);
        if host.member.is_none() {
            return;
        }
        let batch = host.run(host.origin, host.published, usize::MAX - 1);
        if batch.ops.is_empty() {
            return;
        }
        host.published = batch.through;
        let batch = Arc::new(batch);
        for to in (0..self.hosts.len()).filter(|to| *to != at) {
            self.send(at, to, Body::Gossip(Arc::clone(&batch)));
        }
    }

    pub(super) fn pull(&mut self, at: usize) {
        let (now, hosts) = (self.now, self.hosts.len());
        if self.host(at).pull_at > now || hosts < 2 || self.host(at).member.is_none() {
            return;
        }
        self.host_mut(at).pull_at = now + PULL_EVERY;
        let to = (at + 1 + self.draws.index(hosts - 1)) % hosts;
        self.pull_from(at, to);
    }

    fn pull_from(&mut self, at: usize, to: usize) {
        let vector = self.host(at).vector();
        self.send(at, to, Body::Pull(vector));
    }

    pub(super) fn answer_pull(&mut self, at: usize, asker: usize, theirs: &Vector) {
        let host = self.host(at);
        let vector = host.vector();
        let mut batches = Vec::new();
        for (origin, known) in &vector {
            let after = theirs.get(origin).copied().unwrap_or_default();
            if after < *known {
                batches.push(Arc::new(host.run(*origin, after, PULLED)));
            }
        }
        // What a majority knew it may have forgotten: until it has heard the others it is none of them.
        let applied = if self.lacks_state(at) { 0 } else { host.applied as u64 };
        let listed = if self.breach == Some(super::Breach::ListOnceHeard) { applied } else { host.listed };
        self.send(at, asker, Body::Facts { batches, vector, applied, listed });
    }

    pub(super) fn take_in(&mut self, at: usize, batch: &Arc<Batch>) {
        let host = self.host(at);
        if batch.origin != host.origin && host.member.is_some() {
            self.put(at, Command::News(News::Batch(Arc::clone(batch))), Waits::Heard);
        }
    }

    pub(super) fn hear_gossip(&mut self, at: usize, from: usize, batch: &Arc<Batch>) {
        let known = self.host(at).heard.get(&batch.origin).copied().unwrap_or_default();
        let gapless = self.breach == Some(super::Breach::Kernel(crate::rules::Rule::NoGaps)) || batch.after <= known;
        if batch.through <= known {
            return;
        }
        if gapless {
            self.take_in(at, batch);
        } else {
            self.pull_from(at, from);
        }
    }

    /// The kernel took something in, and it is on the disk.
    pub(super) fn learnt(&mut self, at: usize, answer: &Result<Reply, CommandError>) {
        let Ok(Reply::Heard(Dot { origin, seq })) = answer else { return };
        let known = self.host_mut(at).heard.entry(*origin).or_default();
        if *known < *seq {
            *known = *seq;
            self.follow(at);
            self.let_through(at);
        }
    }
}
