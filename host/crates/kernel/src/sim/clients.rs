//! What subscribers know: what they were answered, and what they asked for since. Nothing else.

use std::collections::BTreeMap;

use super::time::Time;
use super::{Invariant, Verdict, broken};
use crate::command::{AllocateRequest, Command, CommandError, Reply};
use crate::fact::{Fact, Op};
use crate::id::{Key, PoolUid, RealmUid, Seq, SubscriberId, TypeId};
use crate::span::Span;

/// Who holds under which name.
type Who = (PoolUid, SubscriberId, Option<Key>);

/// An answered allocation that nobody has asked to end.
#[derive(Clone, Debug)]
struct Answered {
    request: AllocateRequest,
    span: Span,
    realm: RealmUid,
    life: u64,
    /// Until when its holder may use it, if it has a lease, in real time.
    until_ms: Option<u64>,
}

/// All that was answered.
#[derive(Debug, Default)]
pub(super) struct Clients {
    types: BTreeMap<PoolUid, TypeId>,
    answered: BTreeMap<Who, Answered>,
    /// The last end seen of each, in this life.
    ended: BTreeMap<Who, Seq>,
}

impl Clients {
    /// Somebody asks: from now on he cannot be sure of what he asks to end.
    pub(super) fn ask(&mut self, command: &Command) {
        match command {
            Command::Release(target) => {
                self.answered.remove(&(target.pool, target.subscriber.clone(), target.key.clone()));
            }
            Command::DeletePool { pool, force: true } => self.answered.retain(|who, _| who.0 != *pool),
            Command::DeletePool { .. }
            | Command::Allocate(_)
            | Command::Explain(_)
            | Command::Renew { .. }
            | Command::CreatePool(_)
            | Command::CheckPool(_)
            | Command::UpdatePool { .. }
            | Command::Reserve(_)
            | Command::Unreserve { .. }
            | Command::PutNote(_)
            | Command::CloseConflict(_)
            | Command::Relayed { .. }
            | Command::News(_) => {}
        }
    }

    /// The end of an allocation, judged elsewhere.
    pub(super) fn see(&mut self, op: &Op) {
        if let Fact::Resting(rest) = &op.fact {
            let who = (rest.pool, rest.subscriber.clone(), rest.key.clone());
            self.answered.remove(&who);
            self.ended.insert(who, op.seq);
        }
    }

    /// An answer arrives.
    pub(super) fn hear(
        &mut self,
        command: &Command,
        answer: &Result<Reply, CommandError>,
        life: u64,
        time: &Time,
    ) -> Verdict {
        match (command, answer) {
            (Command::CreatePool(draft), Ok(Reply::PoolCreated(pool) | Reply::PoolExists(pool))) => {
                self.types.insert(pool.uid, draft.type_id.clone());
                Ok(())
            }
            (Command::Allocate(request), Ok(Reply::Allocated { allocation, .. })) => {
                let who = (request.pool, request.subscriber.clone(), request.key.clone());
                if self.ended.get(&who).is_some_and(|ended| *ended > allocation.seq()) {
                    return Ok(());
                }
                let lease_ms = allocation.expires_ms().map(|end| end.get().saturating_sub(allocation.renewed_ms()));
                let answered = Answered {
                    request: AllocateRequest::clone(request),
                    span: allocation.span,
                    realm: allocation.realm,
                    life,
                    until_ms: lease_ms.map(|lease_ms| time.passed_ms() + lease_ms),
                };
                self.check_alone(&who, &answered, time)?;
                self.answered.insert(who, answered);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// I1, as subscribers see it.
    fn check_alone(&self, who: &Who, new: &Answered, time: &Time) -> Verdict {
        let others = self.answered.iter().filter(|(other, _)| *other != who);
        let same_line = others
            .filter(|(other, found)| found.realm == new.realm && self.types.get(&other.0) == self.types.get(&who.0));
        for (other, found) in same_line.filter(|(_, found)| found.span.intersects(new.span)) {
            let sure = match found.until_ms {
                Some(until_ms) => found.life == new.life && time.passed_ms() < until_ms,
                None => true,
            };
            if sure {
                return broken(Invariant::Unique, format!("{who:?} was answered {new:?}, {other:?} {found:?}"));
            }
        }
        Ok(())
    }

    /// A new life: ends seen in the last one may be lost, and operations are numbered anew from the last durable one.
    pub(super) fn restart(&mut self) {
        self.ended.clear();
    }

    /// Everybody who was answered asks again.
    pub(super) fn repeats(&self) -> Vec<(AllocateRequest, Span)> {
        self.answered.values().map(|answered| (answered.request.clone(), answered.span)).collect()
    }
}
