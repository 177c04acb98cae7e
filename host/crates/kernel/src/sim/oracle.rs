//! Whether an answer is right, by the facts before and after it.

use super::model::{Ground, Model, grains, legal};
use super::{Invariant, Verdict, broken};
use crate::allocation::Allocation;
use crate::command::{AllocateRequest, AllocationTarget, Command, CommandError, Reply};
use crate::fact::{Fact, Op};
use crate::id::{PoolUid, RealmUid};
use crate::plan::{Strategy, inside};
use crate::pool::Pool;
use crate::span::Span;

/// Judges the answer to a command by what the step wrote.
pub(super) fn judge(
    model: &Model,
    command: &Command,
    answer: &Result<Reply, CommandError>,
    operations: &[Op],
) -> Verdict {
    match command {
        Command::Allocate(request) => allocated(model, request, answer, operations),
        Command::Release(target) => released(model, target, answer),
        Command::Explain(_)
        | Command::Renew { .. }
        | Command::CreatePool(_)
        | Command::CheckPool(_)
        | Command::UpdatePool { .. }
        | Command::DeletePool { .. }
        | Command::Reserve(_)
        | Command::Unreserve { .. }
        | Command::PutNote(_)
        | Command::CloseConflict(_)
        | Command::Relayed { .. }
        | Command::News(_) => Ok(()),
    }
}

fn released(model: &Model, target: &AllocationTarget, answer: &Result<Reply, CommandError>) -> Verdict {
    let held = model.before.held_by(target.pool, &target.subscriber, target.key.as_ref());
    let held = held.filter(|lease| target.span.is_none_or(|span| span == lease.allocation.span));
    match (held, answer) {
        (Some(_), Ok(Reply::Released(_))) | (None, Err(_)) => Ok(()),
        (Some(lease), Err(_)) if model.over(lease) => Ok(()),
        (held, answer) => broken(Invariant::Kept, format!("release of {held:?} was answered {answer:?}")),
    }
}

fn allocated(
    model: &Model,
    request: &AllocateRequest,
    answer: &Result<Reply, CommandError>,
    operations: &[Op],
) -> Verdict {
    let Some(pool) = model.pools.get(&request.pool) else {
        return match answer {
            Err(CommandError::PoolUnknown { .. }) => Ok(()),
            other => broken(Invariant::Kept, format!("there is no such pool, but {other:?}")),
        };
    };
    if matches!(answer, Err(CommandError::PoolClosing { .. })) {
        return Ok(());
    }
    let Some(realm_name) = realm_name(pool, request) else {
        return match answer {
            Err(CommandError::RealmValueMissing { .. } | CommandError::RealmValueInvalid { .. }) => Ok(()),
            other => broken(Invariant::Accounted, format!("the realm is missing, but {other:?}")),
        };
    };
    let tenant = (!pool.draft.realm.shared).then_some(&pool.draft.tenant);
    let realm =
        model.realms.values().find(|realm| realm.name.as_str() == realm_name && realm.tenant.as_ref() == tenant);
    let realm = realm.map(|realm| realm.uid);
    let held = model.before.held_by(request.pool, &request.subscriber, request.key.as_ref());
    match held.filter(|lease| !model.over(lease)) {
        Some(lease) => repeated(&lease.allocation, request, realm, answer, operations),
        None => match answer {
            Ok(Reply::Allocated { allocation, created: true, .. }) => given(model, pool, request, allocation),
            Ok(other) => broken(Invariant::Idempotent, format!("nothing was held, but {other:?}")),
            Err(error) => refused(model, pool, request, realm, error),
        },
    }
}

fn realm_name(pool: &Pool, request: &AllocateRequest) -> Option<String> {
    let base = pool.draft.realm.name.as_str();
    if pool.draft.terms.realm_by.is_empty() {
        return Some(base.to_owned());
    }
    let value = request.realm_value.as_ref().filter(|value| !value.is_empty())?;
    Some(format!("{base}/{value}"))
}

/// I5: what is held is answered, and at most its lease is written.
fn repeated(
    held: &Allocation,
    request: &AllocateRequest,
    realm: Option<RealmUid>,
    answer: &Result<Reply, CommandError>,
    operations: &[Op],
) -> Verdict {
    let asks_for = request.plan.at.map_or(request.plan.len == held.span.len(), |at| at == held.span);
    let right = match answer {
        Ok(Reply::Allocated { allocation, created: false, .. }) => {
            allocation.span == held.span && realm == Some(held.realm) && (!request.explicit || asks_for)
        }
        Err(CommandError::HoldsInOtherRealm { .. }) => realm != Some(held.realm),
        Err(CommandError::HoldsAnother { .. }) => request.explicit && !asks_for,
        Ok(_) | Err(_) => false,
    };
    let renews =
        |op: &Op| matches!(&op.fact, Fact::Held(new) if new.span == held.span && new.created_ms() == held.created_ms());
    let written = match operations {
        [] => true,
        [op] => held.expires_ms().is_some() && renews(op),
        _ => false,
    };
    if right && written {
        Ok(())
    } else {
        broken(Invariant::Idempotent, format!("{held:?} was held, but {answer:?} with {operations:?}"))
    }
}

/// A span was handed out: it must be what was asked for, and rest for nobody else unless nothing was free.
fn given(model: &Model, pool: &Pool, request: &AllocateRequest, allocation: &Allocation) -> Verdict {
    let of = (allocation.pool, allocation.realm);
    let span = allocation.span;
    let plan = &request.plan;
    let before = &model.before;
    let mine = |subscriber: &crate::id::SubscriberId| *subscriber == request.subscriber;
    let own_rest = before.resting(of, span).any(|rest| rest.record.span == span && mine(&rest.record.subscriber));
    // His lease was over and was ended in this very step.
    let own_lapsed = |held: &Allocation| held.span == span && mine(&held.subscriber);
    let own_rest = own_rest || before.holders(of, span).any(|lease| own_lapsed(&lease.allocation));
    let own_place = before.reservations(of, span).any(|kept| kept.span == span && mine(&kept.subscriber));
    let usual = plan.len == pool.draft.geometry.sizing.default_len;
    let right = match plan.at {
        Some(at) => span == at,
        None => inside(&plan.within, span) && (span.len() == plan.len || (usual && (own_rest || own_place))),
    };
    if !right {
        return broken(Invariant::Accounted, format!("{span:?} is not what {request:?} asks for"));
    }
    let others = before.resting(of, span).find(|rest| !mine(&rest.record.subscriber) && !model.rested(rest));
    if let Some(rest) = others {
        let excused =
            plan.at.is_none() && !pool.draft.terms.strict && !any_free(model, pool, of, before, plan.len, request);
        if !excused {
            return broken(Invariant::HoldDown, format!("{allocation:?} while {:?}", rest.record));
        }
    }
    let comes_back = before.rests.iter().any(|(at, rest)| {
        let record = &rest.record;
        (at.0, at.1) == of
            && mine(&record.subscriber)
            && record.key == request.key
            && record.span.len() == plan.len
            && inside(&plan.within, record.span)
            && !model.rested(rest)
    });
    if comes_back && plan.at.is_none() && !own_rest && !own_place {
        return broken(Invariant::HoldDown, format!("{allocation:?} although the subscriber's own still rests"));
    }
    Ok(())
}

/// Whether a span of this length is free, asked naively.
fn any_free(
    model: &Model,
    pool: &Pool,
    of: (PoolUid, RealmUid),
    ground: &Ground,
    len: u128,
    request: &AllocateRequest,
) -> bool {
    let within = &request.plan.within;
    let candidates = Model::candidates(pool, len).into_iter().filter(|span| inside(within, *span));
    candidates.into_iter().any(|span| is_free(model, of, ground, span, |_| false))
}

fn is_free(
    model: &Model,
    of: (PoolUid, RealmUid),
    ground: &Ground,
    span: Span,
    resting_is_free: impl Fn(&super::model::Rest) -> bool,
) -> bool {
    ground.holders(of, span).next().is_none()
        && ground.reservations(of, span).next().is_none()
        && ground.resting(of, span).all(|rest| model.rested(rest) || resting_is_free(rest))
}

/// A refusal must have its reason in the facts after the step.
fn refused(
    model: &Model,
    pool: &Pool,
    request: &AllocateRequest,
    realm: Option<RealmUid>,
    error: &CommandError,
) -> Verdict {
    // A realm nobody used has nothing in it.
    let of = (request.pool, realm.unwrap_or(RealmUid(u32::MAX)));
    let ground = &model.ground;
    let mine = |rest: &super::model::Rest| rest.record.subscriber == request.subscriber;
    if let Some(span) = request.plan.at
        && legal(pool, span)
        && is_free(model, of, ground, span, mine)
    {
        return broken(Invariant::Accounted, format!("{span:?} is free, but {error:?}"));
    }
    let reason = match error {
        CommandError::Exhausted { len, .. } => {
            let claimable = !pool.draft.terms.strict;
            let candidates =
                Model::candidates(pool, *len).into_iter().filter(|span| inside(&request.plan.within, *span));
            !candidates.into_iter().any(|span| is_free(model, of, ground, span, |_| claimable))
        }
        CommandError::Held { span, .. } => ground.holders(of, *span).next().is_some(),
        CommandError::ReservedForAnother { span, .. } => ground.reservations(of, *span).next().is_some(),
        CommandError::RestingForAnother { span, .. } => ground.resting(of, *span).any(|rest| !mine(rest)),
        CommandError::OutsidePool { span, .. }
        | CommandError::Excluded { span, .. }
        | CommandError::Misaligned { span, .. } => !legal(pool, *span),
        CommandError::LengthRefused { len, .. } => {
            let sizing = pool.draft.geometry.sizing;
            !(sizing.min_len..=sizing.max_len).contains(len) || Model::candidates(pool, *len).is_empty()
        }
        CommandError::MustBeAsked { .. } => request.plan.strategy == Some(Strategy::Exact),
        CommandError::PoolUnknown { .. }
        | CommandError::PoolClosing { .. }
        | CommandError::Crowded { .. }
        | CommandError::PoolDiffers { .. }
        | CommandError::PoolOverlaps { .. }
        | CommandError::PoolInUse { .. }
        | CommandError::RevisionDiffers { .. }
        | CommandError::PoolFieldFixed { .. }
        | CommandError::SpansHeld { .. }
        | CommandError::PoolGeometry { .. }
        | CommandError::HoldsAnother { .. }
        | CommandError::HoldsInOtherRealm { .. }
        | CommandError::RealmValueMissing { .. }
        | CommandError::TooManyRealms { .. }
        | CommandError::RealmValueInvalid { .. }
        | CommandError::NotHeld { .. }
        | CommandError::NoLease { .. }
        | CommandError::NotReserved { .. }
        | CommandError::LedgerDecides
        | CommandError::Elsewhere { .. }
        | CommandError::Superseded { .. }
        | CommandError::Withheld { .. }
        | CommandError::Unconfirmed { .. }
        | CommandError::NoteUnknown { .. }
        | CommandError::NoteDiffers { .. }
        | CommandError::NotesFull { .. }
        | CommandError::NotesWithheld => false,
    };
    if reason {
        return Ok(());
    }
    let free = grains(&pool.draft.geometry).len();
    broken(Invariant::Accounted, format!("{error:?} has no reason in the facts of {of:?} ({free} grains)"))
}
