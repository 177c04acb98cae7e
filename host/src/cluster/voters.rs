//! Who votes: the leader sees to it that those do who should, one change at a time.
//!
//! What was released in a leased shard is handed out again once a majority of the voters knows of it, and whoever takes the
//! shard over asks a majority of the voters. The two meet only if no host counts with voters of long ago: two lists that differ
//! by one voter have no majorities apart, others may. So the next change waits until every owner counts with the last one, and
//! until a majority of the next list has what a majority of this one knows. `models::voters` has what goes wrong otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::MemberId;
use kernel::ledger::{Ledger, Member};

use super::inquiry;
use super::messages::StateAnswer;
use super::seat::{self, Seat};
use super::{Cluster, Vector, covers};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One voter more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Promote(MemberId),
    Demote(MemberId),
}

/// What has to be known before a step is made.
#[derive(Debug)]
struct Preparation {
    voters: BTreeSet<MemberId>,
    step: Step,
    /// What a majority of the voters knew once every owner counted with them.
    known: Vector,
}

/// Looks after who votes, while this host leads.
pub(super) async fn run(cluster: Cluster) {
    let mut prepared: Option<Preparation> = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = cluster.stopping().cancelled() => return,
        }
        let Some(seat) = cluster.seat().filter(|seat| seat.leads()) else {
            prepared = None;
            continue;
        };
        let ledger = seat.book.ledger();
        if let Err(error) = look(&cluster, &seat, &ledger, &mut prepared).await {
            tracing::info!(error = format_args!("{error:#}"), "who votes is not changed yet");
        }
    }
}

async fn look(
    cluster: &Cluster,
    seat: &Seat,
    ledger: &Ledger,
    prepared: &mut Option<Preparation>,
) -> anyhow::Result<()> {
    let state = seat.consensus.state();
    let (voters, learners) = (seat::members(&state.voters), seat::members(&state.learners));
    // Who left gets the log no more.
    for gone in learners.iter().filter(|learner| ledger.member(**learner).is_none()) {
        seat.consensus.remove(u64::from(gone.0)).await?;
    }
    let wanted: BTreeSet<MemberId> = ledger.voters_wanted().into_iter().collect();
    let listed = |member: MemberId| ledger.member(member).is_some();
    let Some(step) = next(&voters, &wanted, listed) else {
        *prepared = None;
        return Ok(());
    };
    let Some(answers) = inquiry::ask_most(cluster, seat, ledger).await else { return Ok(()) };
    if prepared.as_ref().is_none_or(|prepared| prepared.voters != voters || prepared.step != step) {
        *prepared = None;
        let counts = |owner: &Member| answers.get(&owner.id).is_some_and(|answer| answer.voters == voters);
        let mut owners = ledger.members().values().filter(|member| member.role.owns() && !member.is_deposed());
        if let Some(behind) = owners.find(|owner| owner.id != seat.me && !counts(owner)) {
            tracing::debug!(node = %behind.node, "who votes is not changed before every owner knows who does now");
            return Ok(());
        }
        let known = known(cluster, &voters, &answers);
        *prepared = Some(Preparation { voters: voters.clone(), step, known });
    }
    let Some(Preparation { known, .. }) = prepared.as_ref() else { return Ok(()) };
    let own = cluster.vector();
    let has = |member: MemberId| {
        let vector = if member == seat.me { Some(&own) } else { answers.get(&member).map(|answer| &answer.vector) };
        vector.is_some_and(|vector| covers(vector, known))
    };
    if !is_handed_on(&voters, &wanted, step, has) {
        return Ok(());
    }
    match step {
        Step::Promote(member) => seat.consensus.promote(BTreeSet::from([u64::from(member.0)])).await?,
        Step::Demote(member) => seat.consensus.demote(BTreeSet::from([u64::from(member.0)])).await?,
    };
    Ok(())
}

/// The next change, if one is wanted: those that left vote no more, then others come, then others go.
fn next(voters: &BTreeSet<MemberId>, wanted: &BTreeSet<MemberId>, listed: impl Fn(MemberId) -> bool) -> Option<Step> {
    // Somebody has to be left.
    let spare = || voters.difference(wanted).copied().filter(|_| voters.len() > 1);
    let gone = spare().find(|voter| !listed(*voter)).map(Step::Demote);
    let come = || wanted.difference(voters).next().copied().map(Step::Promote);
    gone.or_else(come).or_else(|| spare().next().map(Step::Demote))
}

/// What this host, which leads, and the voters that answered know.
fn known(cluster: &Cluster, voters: &BTreeSet<MemberId>, answers: &BTreeMap<MemberId, StateAnswer>) -> Vector {
    let said = answers.iter().filter(|(member, _)| voters.contains(member)).map(|(_, answer)| &answer.vector);
    inquiry::most(cluster.vector(), said)
}

/// Whether a majority of the next voters has what must be known, and everybody who is to vote and does not yet.
fn is_handed_on(
    voters: &BTreeSet<MemberId>,
    wanted: &BTreeSet<MemberId>,
    step: Step,
    has: impl Fn(MemberId) -> bool,
) -> bool {
    let mut next = voters.clone();
    match step {
        Step::Promote(member) => next.insert(member),
        Step::Demote(member) => next.remove(&member),
    };
    let newcomers = wanted.difference(voters).filter(|_| matches!(step, Step::Promote(_)));
    newcomers.copied().all(&has) && next.iter().filter(|member| has(**member)).count() * 2 > next.len()
}

#[cfg(test)]
mod tests {
    use kernel::{Origin, Seq};

    use super::*;

    fn set(members: &[u32]) -> BTreeSet<MemberId> {
        members.iter().copied().map(MemberId).collect()
    }

    #[test]
    fn those_that_left_go_first_and_nobody_goes_before_others_have_come() {
        let all = |_| true;
        assert_eq!(next(&set(&[1, 2, 3]), &set(&[1, 2, 3]), all), None);
        assert_eq!(next(&set(&[1]), &set(&[1, 2, 3]), all), Some(Step::Promote(MemberId(2))));
        assert_eq!(next(&set(&[1, 2, 3]), &set(&[1, 2, 4]), all), Some(Step::Promote(MemberId(4))));
        assert_eq!(next(&set(&[1, 2, 3, 4]), &set(&[1, 2, 4]), all), Some(Step::Demote(MemberId(3))));
        assert_eq!(next(&set(&[1, 2, 3]), &set(&[1, 2, 4]), |one| one != MemberId(3)), Some(Step::Demote(MemberId(3))));
        assert_eq!(next(&set(&[1]), &set(&[]), all), None, "somebody has to vote");
    }

    #[test]
    fn a_step_waits_for_most_of_the_next_voters_and_for_all_newcomers() {
        let (one, three) = (set(&[1]), set(&[1, 2, 3]));
        let promote = Step::Promote(MemberId(2));
        assert!(!is_handed_on(&one, &three, promote, |member| member != MemberId(3)), "3 would leave an even count");
        assert!(is_handed_on(&one, &three, promote, |_| true));
        let demote = Step::Demote(MemberId(1));
        assert!(!is_handed_on(&three, &set(&[2, 3]), demote, |member| member != MemberId(3)), "1 of 2 is no majority");
        assert!(is_handed_on(&three, &set(&[2, 3]), demote, |member| member != MemberId(1)));
    }

    #[test]
    fn what_one_lacks_of_any_log_is_lacking() {
        let (one, other) = (Origin { host: 1, incarnation: 1 }, Origin { host: 2, incarnation: 1 });
        let known = Vector::from([(one, Seq(3)), (other, Seq(1))]);
        assert!(covers(&Vector::from([(one, Seq(4)), (other, Seq(1))]), &known));
        assert!(!covers(&Vector::from([(one, Seq(2)), (other, Seq(9))]), &known));
        assert!(!covers(&Vector::from([(one, Seq(4))]), &known));
        assert!(covers(&Vector::new(), &Vector::from([(one, Seq(0))])), "nothing was said yet");
    }
}
