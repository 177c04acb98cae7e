//! What holds after each command, whatever came before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::asks::{Ask, ask};
use super::bed::{Bed, draft, join};
use crate::id::{CommandId, MemberId, Origin, PoolUid, ShardId};
use crate::ledger::outcomes::REMEMBERED;
use crate::ledger::{
    Applied, Change, Closing, Grant, GrantState, HostRole, Ledger, LedgerCommand, LedgerEntry, LedgerPool, LedgerReply,
    Member, Misread, Terms,
};
use crate::pool::Pool;

/// What a host knows that hears of changes only.
#[derive(Debug, Default, PartialEq)]
struct Mirror {
    pools: BTreeMap<PoolUid, Arc<Pool>>,
    grants: BTreeMap<(PoolUid, ShardId), Grant>,
    closings: BTreeMap<PoolUid, Arc<Closing>>,
    members: BTreeMap<MemberId, (Origin, HostRole, u32, Option<u64>, bool)>,
    terms: Terms,
    misread: BTreeMap<(PoolUid, MemberId), Misread>,
}

fn outline(member: &Member) -> (Origin, HostRole, u32, Option<u64>, bool) {
    (member.origin, member.role, member.weight, member.lease.nonce, member.is_deposed())
}

impl Mirror {
    fn of(ledger: &Ledger) -> Self {
        let mut mirror = Self { terms: ledger.terms(), ..Self::default() };
        for (uid, pool) in ledger.pools() {
            mirror.pools.insert(*uid, Arc::clone(&pool.record));
            mirror.grants.extend(pool.grants.iter().map(|(shard, grant)| ((*uid, shard), grant)));
            mirror.misread.extend(pool.misread.iter().map(|(member, how)| ((*uid, *member), how.clone())));
            mirror.closings.extend(pool.closing.iter().map(|closing| (*uid, Arc::clone(closing))));
        }
        mirror.members.extend(ledger.members().values().map(|member| (member.id, outline(member))));
        mirror
    }

    fn hear(&mut self, change: &Change) {
        match change {
            Change::Pool(pool) => {
                self.pools.insert(pool.uid, Arc::clone(pool));
            }
            Change::PoolGone(uid) => {
                self.pools.remove(uid);
                self.closings.remove(uid);
                self.grants.retain(|(pool, _), _| pool != uid);
                self.misread.retain(|(pool, _), _| pool != uid);
            }
            Change::Closing { pool, closing: Some(closing) } => {
                self.closings.insert(*pool, Arc::clone(closing));
            }
            Change::Closing { pool, closing: None } => {
                self.closings.remove(pool);
            }
            Change::Grants { pool, runs } => {
                let each = runs.iter().flat_map(|run| run.shards().map(|shard| ((*pool, shard), run.grant)));
                self.grants.extend(each);
            }
            Change::Member(member) => {
                self.members.insert(member.id, outline(member));
            }
            Change::MemberGone(member) => {
                self.members.remove(member);
                self.misread.retain(|(_, other), _| other != member);
            }
            Change::Lease { member, lease } => {
                let known = self.members.get_mut(member).unwrap();
                known.3 = lease.nonce;
            }
            Change::Deposed { member } => self.members.get_mut(member).unwrap().4 = true,
            Change::Ordered(_) => {}
            Change::Terms(terms) => self.terms = *terms,
            Change::Reading { pool, member, misread } => match misread {
                Some(misread) => _ = self.misread.insert((*pool, *member), misread.clone()),
                None => _ = self.misread.remove(&(*pool, *member)),
            },
        }
    }
}

/// Every position a pool may hand out from, or will when a change under way is finished.
fn positions(pool: &LedgerPool) -> BTreeSet<u128> {
    let runs = pool.drafts().flat_map(|draft| draft.geometry.spans.iter());
    let members = runs.flat_map(|run| (0..run.count()).filter_map(|nth| run.get(nth)));
    members.flat_map(|span| span.start()..span.end()).collect()
}

fn check_state(ledger: &Ledger) {
    let mut all = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (uid, pool) in ledger.pools() {
        let draft = &pool.record.draft;
        assert_eq!(pool.record.uid, *uid);
        assert!(names.insert((draft.tenant.clone(), draft.id.clone())), "two pools named {}", draft.id);
        assert_eq!(usize::try_from(pool.grants.shards()).unwrap(), pool.record.shards.len());
        for (shard, grant) in pool.grants.iter() {
            assert!(ledger.member(grant.holder).is_some(), "{shard} of {uid} is held by nobody: {grant:?}");
            let closes = pool.closing.as_ref().is_some_and(|closing| closing.shards.contains(&shard));
            let right = match grant.state {
                GrantState::Held => !closes,
                GrantState::Closing => closes,
                GrantState::Quarantined | GrantState::Forced => true,
            };
            assert!(right, "{shard} of {uid}: {grant:?}, closes: {closes}");
        }
        for position in positions(pool) {
            assert!(all.insert(position), "{position} is in {uid} and in another pool");
        }
    }
    assert!(ledger.voters_wanted().len() % 2 == 1 || ledger.members().is_empty() || !has_core(ledger));
}

fn has_core(ledger: &Ledger) -> bool {
    ledger.members().values().any(|member| member.role == HostRole::Core)
}

fn check_step(before: &Ledger, after: &Ledger, command: &LedgerCommand, applied: &Applied) {
    if applied.outcome.is_err() {
        assert_eq!(before.state, after.state, "{command:?} was refused");
        assert!(applied.changes.is_empty());
    }
    for (uid, pool) in before.pools() {
        let Some(now) = after.pool(*uid) else {
            assert!(matches!(command, LedgerCommand::FinishClose { .. }), "{uid} is gone by {command:?}");
            continue;
        };
        for shard in &pool.record.shards {
            let same = now.record.shards.iter().find(|other| other.id == shard.id).unwrap();
            assert_eq!(shard.cover, same.cover);
        }
        for ((shard, was), (_, is)) in pool.grants.iter().zip(now.grants.iter()) {
            assert!(is.epoch >= was.epoch, "{shard} of {uid} went back: {was:?} to {is:?}");
            let same_term = (was.holder, was.kind, was.cut) == (is.holder, is.kind, is.cut);
            assert!(same_term || is.epoch > was.epoch, "{shard} of {uid} in one epoch: {was:?} and {is:?}");
            let doubtful = |grant: Grant| matches!(grant.state, GrantState::Quarantined | GrantState::Forced);
            if doubtful(was) && !doubtful(is) {
                assert!(matches!(command, LedgerCommand::Released { .. }), "{command:?} ended a quarantine");
            }
        }
    }
}

/// What a repeat would be taken for if it were not known: the same entry later in the log.
fn live(asks: &[Ask]) -> Bed {
    let mut bed = Bed::of(3);
    bed.creates(draft("first", 448, 64));
    let mut mirror = Mirror::of(&bed.ledger);
    for ask in asks {
        let command = ask.command(&bed.ledger);
        let before = bed.ledger.clone();
        bed.index += 1;
        let entry = LedgerEntry { id: CommandId(u128::from(bed.index)), command };
        let applied = bed.ledger.apply(bed.index, &entry);
        check_step(&before, &bed.ledger, &entry.command, &applied);
        check_state(&bed.ledger);
        applied.changes.iter().for_each(|change| mirror.hear(change));
        assert_eq!(mirror, Mirror::of(&bed.ledger), "after {:?}", entry.command);

        let once = bed.ledger.clone();
        bed.index += 1;
        let again = bed.ledger.apply(bed.index, &entry);
        assert_eq!(again.outcome, applied.outcome);
        assert!(again.changes.is_empty());
        assert_eq!(bed.ledger, once);
    }
    bed
}

fn snapshot(ledger: &Ledger) -> Ledger {
    let bytes = postcard::to_stdvec(ledger).expect("a ledger can be written");
    postcard::from_bytes(&bytes).expect("what was written can be read")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_laws_hold_after_each_command_and_the_changes_tell_all(asks in prop::collection::vec(ask(), 1..90)) {
        live(&asks);
    }

    #[test]
    fn a_ledger_goes_on_from_its_snapshot_as_it_would_have(
        asks in prop::collection::vec(ask(), 2..70), cut in any::<prop::sample::Index>(),
    ) {
        let (first, rest) = asks.split_at(cut.index(asks.len()));
        let mut bed = live(first);
        let mut other = bed.clone();
        other.ledger = snapshot(&bed.ledger);
        prop_assert_eq!(&bed.ledger, &other.ledger);
        for ask in rest {
            let command = ask.command(&bed.ledger);
            let one = bed.tell(command.clone());
            prop_assert_eq!(one, other.tell(command));
        }
        prop_assert_eq!(&bed.ledger, &other.ledger);
        prop_assert_eq!(bed.ledger.wishes(), other.ledger.wishes());
        let bytes = |ledger: &Ledger| postcard::to_stdvec(ledger).unwrap();
        prop_assert_eq!(bytes(&bed.ledger), bytes(&other.ledger));
    }
}

/// Random commands are of use only if many of them get through, of each kind.
#[test]
fn the_random_commands_reach_every_reply() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let asks = prop::collection::vec(ask(), 90).new_tree(&mut runner).unwrap().current();
        let mut bed = Bed::of(3);
        bed.creates(draft("first", 448, 64));
        for ask in asks {
            if let Ok(reply) = bed.tell(ask.command(&bed.ledger)).0 {
                let text = format!("{reply:?}");
                seen.insert(text.split([' ', '(']).next().unwrap_or_default().to_owned());
            }
        }
    }
    let all = [
        "Closed",
        "Closing",
        "Deposed",
        "Granted",
        "Joined",
        "Left",
        "MemberSet",
        "PoolCreated",
        "PoolUpdated",
        "ReadingSet",
        "Released",
        "Removed",
        "Renewed",
        "Reopened",
        "Returned",
        "Shrunk",
        "TermsSet",
    ];
    for reply in all {
        assert!(seen.contains(reply), "{reply} was never answered, only {seen:?}");
    }
}

#[test]
fn a_command_is_known_for_4096_more_and_then_no_longer() {
    let mut bed = Bed::of(1);
    let entry = LedgerEntry { id: CommandId(u128::MAX), command: join(2, HostRole::Core) };
    bed.index += 1;
    let first = bed.ledger.apply(bed.index, &entry).outcome;
    for _ in 1..REMEMBERED {
        bed.ok(LedgerCommand::Renew { member: MemberId(1), nonce: 1 });
    }
    bed.index += 1;
    assert_eq!(bed.ledger.apply(bed.index, &entry).outcome, first);
    bed.ok(LedgerCommand::Renew { member: MemberId(1), nonce: 1 });
    bed.index += 1;
    let forgotten = bed.ledger.apply(bed.index, &entry).outcome;
    assert!(matches!(forgotten, Ok(LedgerReply::Joined { new: false, .. })), "{forgotten:?}");
}

#[test]
fn an_entry_that_comes_too_late_is_refused_and_not_remembered() {
    let mut bed = Bed::of(1);
    let entry = LedgerEntry { id: CommandId(u128::MAX), command: join(2, HostRole::Core) };
    let before = bed.ledger.clone();
    let late = bed.ledger.apply(bed.index, &entry).outcome;
    assert!(matches!(late, Err(crate::ledger::LedgerError::OutOfOrder { last: 2, found: 2 })), "{late:?}");
    assert_eq!(bed.ledger, before);
}
