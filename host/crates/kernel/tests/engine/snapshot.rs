//! A host that cannot be given the logs any more takes in what another host knows, over whatever it knew before.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, which the lints do not take for such; what is missing or unexpected fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{
    Adopting, AllocateRequest, Command, Dot, Epoch, Fact, Fingerprint, Leg, News, Op, Origin, Plan, PoolDraft, Reply,
    ReserveRequest, Seq, ShardTenure, SnapshotPart, SpanKey, Tenure,
};
use proptest::prelude::*;

use crate::bed::{prefixes, request, span, target, with_geometry, with_terms};
use crate::cluster::{Hosts, Namer, origin};

/// Two hosts own the pool in turn, the third one only listens.
const LISTENER: usize = 2;

/// Lengths 1 to 8 in 64 positions: what is handed out again need not have the length it had.
fn mixed() -> PoolDraft {
    let mut draft = with_geometry(prefixes(), |geometry| {
        geometry.spans = vec![kernel::Series::one(span(0, 64))];
    });
    draft.sharding_factor = Some(8);
    with_terms(draft, |terms| terms.hold_down_ms = 5_000)
}

pub(crate) fn hosts() -> Hosts {
    Hosts::sharing(mixed(), 3, 2)
}

/// What happens at an owner, or with time.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Allocate { host: usize, who: u8, len: u32 },
    Release { host: usize, who: u8 },
    Reserve { host: usize, who: u8, start: u8 },
    Unreserve { host: usize, start: u8 },
    Pass { ms: u64 },
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let host = 0_usize..2;
    prop_oneof![
        6 => (host.clone(), 0_u8..24, 0_u32..4).prop_map(|(host, who, len)| Act::Allocate { host, who, len }),
        4 => (host.clone(), 0_u8..24).prop_map(|(host, who)| Act::Release { host, who }),
        1 => (host.clone(), 0_u8..24, 0_u8..64).prop_map(|(host, who, start)| Act::Reserve { host, who, start }),
        1 => (host, 0_u8..64).prop_map(|(host, start)| Act::Unreserve { host, start }),
        1 => (1_u64..8_000).prop_map(|ms| Act::Pass { ms }),
    ]
}

/// Whether it was done or refused does not matter here.
pub(crate) fn carry_out(hosts: &mut Hosts, act: &Act) {
    let pool = Arc::clone(&hosts.pool);
    let relayed = |command| Command::Relayed { leg: Leg::Space, command: Box::new(command) };
    let _answer = match act {
        Act::Allocate { host, who, len } => {
            let request = AllocateRequest { plan: Plan::anywhere(1 << len), ..request(&pool, &format!("s{who}")) };
            hosts.beds[*host].try_ask(relayed(Command::Allocate(Box::new(request))))
        }
        Act::Release { host, who } => {
            hosts.beds[*host].try_ask(relayed(Command::Release(target(&pool, &format!("s{who}")))))
        }
        Act::Reserve { host, who, start } => {
            let request = ReserveRequest {
                pool: pool.uid,
                realm_value: None,
                span: span(u128::from(*start), 1),
                subscriber: format!("s{who}").parse().unwrap(),
                name: "reserved".into(),
                note: "".into(),
            };
            hosts.beds[*host].try_ask(Command::Reserve(Box::new(request)))
        }
        Act::Unreserve { host, start } => {
            let span = span(u128::from(*start), 1);
            hosts.beds[*host].try_ask(Command::Unreserve { pool: pool.uid, realm_value: None, span })
        }
        Act::Pass { ms } => {
            for bed in &mut hosts.beds {
                bed.pass(*ms);
                bed.alarms();
            }
            None
        }
    };
}

pub(crate) fn fingerprint(hosts: &mut Hosts, host: usize) -> Fingerprint {
    match hosts.tell(host, News::Fingerprint) {
        Reply::Fingerprint(fingerprint) => *fingerprint,
        other => panic!("{other:?}"),
    }
}

struct Snapshot {
    by: Origin,
    vector: BTreeMap<Origin, Seq>,
    parts: Vec<SnapshotPart>,
}

/// What the host's checkpoint would say now: the last word of each key in their order, reservations first.
fn snapshot(hosts: &Hosts, host: usize, each: usize) -> Snapshot {
    let bed = &hosts.beds[host];
    let mut last: BTreeMap<(bool, SpanKey), &Op> = BTreeMap::new();
    for op in &bed.log {
        let (spans, key, stays) = match &op.fact {
            Fact::Held(held) => (true, SpanKey { pool: held.pool, realm: held.realm, span: held.span }, true),
            Fact::Resting(rest) => {
                let over = rest.until_ms <= bed.now.wall_ms;
                (true, SpanKey { pool: rest.pool, realm: rest.realm, span: rest.span }, !over)
            }
            Fact::Free(key) => (true, *key, false),
            Fact::Reserved(kept) => (false, kept.key(), true),
            Fact::Unreserved { key, .. } => (false, *key, false),
            _ => continue,
        };
        if stays {
            last.insert((spans, key), op);
        } else {
            last.remove(&(spans, key));
        }
    }
    let by = origin(host);
    let mut vector = bed.kernel.heard().clone();
    vector.insert(by, bed.log.last().map_or(Seq(0), |op| op.seq));
    let words: Vec<&Op> = last.into_values().collect();
    let names = Namer(&bed.log);
    let mut parts: Vec<SnapshotPart> = words
        .chunks(each)
        .enumerate()
        .map(|(nth, ops)| SnapshotPart::pack(by, vector.clone(), nth == 0, ops.iter().copied(), &names))
        .collect();
    if parts.is_empty() {
        parts.push(SnapshotPart::pack(by, vector.clone(), true, [], &names));
    }
    Snapshot { by, vector, parts }
}

fn part(hosts: &mut Hosts, to: usize, part: &SnapshotPart) -> Adopting {
    match hosts.tell(to, News::Snapshot(Arc::new(part.clone()))) {
        Reply::Adopting(adopting) => adopting,
        other => panic!("{other:?}"),
    }
}

fn end(hosts: &mut Hosts, to: usize, snapshot: &Snapshot) -> Adopting {
    loop {
        match hosts.tell(to, News::SnapshotEnd { by: snapshot.by, vector: snapshot.vector.clone() }) {
            Reply::Adopting(Adopting::Going { left }) => assert!(left > 0),
            Reply::Adopting(adopting) => return adopting,
            other => panic!("{other:?}"),
        }
    }
}

fn take_in(hosts: &mut Hosts, to: usize, snapshot: &Snapshot) {
    for some in &snapshot.parts {
        assert_eq!(part(hosts, to, some), Adopting::Taken);
    }
    assert_eq!(end(hosts, to, snapshot), Adopting::Done);
}

fn act_some(hosts: &mut Hosts) {
    for (host, who) in (0..20).map(|who| (usize::from(who % 2), who)) {
        carry_out(hosts, &Act::Allocate { host, who, len: u32::from(who % 3) });
    }
    for start in 40..50 {
        carry_out(hosts, &Act::Reserve { host: usize::from(start % 2), who: start, start });
    }
    for who in 0..6 {
        carry_out(hosts, &Act::Release { host: usize::from(who % 2), who });
    }
}

/// The same is held and reserved, whether counted or summed up, now and after a restart.
fn assert_same(hosts: &mut Hosts, one: usize, other: usize) {
    let (theirs, ours) = (fingerprint(hosts, one), fingerprint(hosts, other));
    assert!(theirs.is_of_the_same(&ours), "{theirs:?} {ours:?}");
    assert_eq!(theirs.digest, ours.digest);
    let pool = hosts.pool.uid;
    let counted = |hosts: &Hosts, host: usize| {
        let occupancy = hosts.beds[host].occupancy(pool);
        (occupancy.allocations, occupancy.held, occupancy.reserved)
    };
    assert_eq!(counted(hosts, one), counted(hosts, other));
    assert!(hosts.beds[other].kernel.conflicts().is_empty());
    let (digest, heard) = (ours.digest, hosts.beds[other].kernel.heard().clone());
    assert_eq!(hosts.beds[other].kernel.digest_anew(), digest);
    hosts.beds[other].recover();
    assert_eq!((hosts.beds[other].kernel.digest(), hosts.beds[other].kernel.heard()), (digest, &heard));
}

/// Only what the ledger says is not on the disk.
fn crash(hosts: &mut Hosts, host: usize) {
    hosts.beds[host].recover();
    hosts.grant(host, Epoch(1), |shard| usize::try_from(shard.0).unwrap() % 2);
}

#[test]
fn a_new_host_knows_what_the_giver_knows_and_goes_on_from_its_logs() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(0, 1);
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 4);
    assert!(taken.parts.len() > 3);
    take_in(&mut hosts, LISTENER, &taken);
    assert_eq!(*hosts.beds[LISTENER].kernel.heard(), taken.vector);
    assert_same(&mut hosts, 0, LISTENER);
    // What was told before is passed over, what came after is heard.
    for who in 30..40 {
        carry_out(&mut hosts, &Act::Allocate { host: 1, who, len: 0 });
    }
    let before = hosts.beds[LISTENER].log.len();
    let (known, old) = (taken.vector[&origin(1)], &hosts.beds[1].log.clone());
    let old: Vec<&Op> = old.iter().filter(|op| op.from.is_none() && op.seq <= known).collect();
    let repeated = kernel::Batch::pack(origin(1), Seq(0), known, old, &Namer(&hosts.beds[1].log));
    assert!(!repeated.ops.is_empty());
    hosts.tell(LISTENER, News::Batch(Arc::new(repeated)));
    assert_eq!(hosts.beds[LISTENER].log.len(), before);
    hosts.share(1, 0);
    hosts.share(0, LISTENER);
    hosts.share(1, LISTENER);
    assert_same(&mut hosts, 0, LISTENER);
}

#[test]
fn what_ended_while_a_host_was_away_is_dropped_and_what_took_its_place_is_known() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(0, LISTENER);
    hosts.share(1, LISTENER);
    let before = hosts.beds[LISTENER].kernel.allocations();
    // All of it ends and rests no more, so no word of it is left; longer spans and other reservations stand there now.
    for who in 0..24 {
        carry_out(&mut hosts, &Act::Release { host: usize::from(who % 2), who });
    }
    for start in 40..44 {
        carry_out(&mut hosts, &Act::Unreserve { host: 0, start });
        carry_out(&mut hosts, &Act::Unreserve { host: 1, start });
    }
    carry_out(&mut hosts, &Act::Pass { ms: 6_000 });
    for who in 60..64 {
        carry_out(&mut hosts, &Act::Allocate { host: usize::from(who % 2), who, len: 3 });
    }
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 3);
    take_in(&mut hosts, LISTENER, &taken);
    assert!(before > 10 && hosts.beds[LISTENER].kernel.allocations() < before);
    assert!(hosts.beds[LISTENER].count(|fact| matches!(fact, Fact::Free(_))) > 3);
    assert!(hosts.beds[LISTENER].count(|fact| matches!(fact, Fact::Unreserved { .. })) > 0);
    // Nobody may take it for this host's own word.
    let own_words = hosts.beds[LISTENER].log.iter().filter(|op| {
        op.from.is_none() && !matches!(op.fact, Fact::Pool(_) | Fact::Realm(_) | Fact::Heard { .. } | Fact::Adopted(_))
    });
    assert_eq!(own_words.count(), 0);
    assert_same(&mut hosts, 0, LISTENER);
}

#[test]
fn nothing_counts_as_heard_before_the_end_and_a_crash_begins_again_with_another_hosts_snapshot() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(0, LISTENER);
    let before = hosts.beds[LISTENER].kernel.heard().clone();
    act_some(&mut hosts);
    hosts.share(1, 0);
    let cut_short = snapshot(&hosts, 0, 2);
    for some in &cut_short.parts[..cut_short.parts.len() / 2] {
        assert_eq!(part(&mut hosts, LISTENER, some), Adopting::Taken);
    }
    assert_eq!(*hosts.beds[LISTENER].kernel.heard(), before);
    crash(&mut hosts, LISTENER);
    assert_eq!(*hosts.beds[LISTENER].kernel.heard(), before);
    // To go on would drop what the parts before had brought.
    let rest = cut_short.parts.len() / 2;
    assert_eq!(part(&mut hosts, LISTENER, &cut_short.parts[rest]), Adopting::Unknown);
    assert_eq!(end(&mut hosts, LISTENER, &cut_short), Adopting::Unknown);
    for who in 0..20 {
        carry_out(&mut hosts, &Act::Release { host: usize::from(who % 2), who });
    }
    hosts.share(0, 1);
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 1, 5);
    take_in(&mut hosts, LISTENER, &taken);
    assert_same(&mut hosts, 1, LISTENER);
}

#[test]
fn a_snapshot_that_covers_less_than_was_heard_is_refused() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    let old = snapshot(&hosts, 0, 100);
    let known = hosts.share(1, LISTENER);
    assert_eq!(part(&mut hosts, LISTENER, &old.parts[0]), Adopting::Behind(Dot { origin: origin(1), seq: known }));
    assert!(!hosts.beds[LISTENER].kernel.is_adopting());
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 100);
    take_in(&mut hosts, LISTENER, &taken);
    assert_same(&mut hosts, 0, LISTENER);
}

#[test]
fn a_hosts_own_words_must_be_covered_too() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    let all_to = |hosts: &mut Hosts, host: usize, owner: usize| hosts.grant(host, Epoch(2), |_| owner);
    for host in 0..3 {
        all_to(&mut hosts, host, 0);
    }
    let last = hosts.beds[1].log.iter().rfind(|op| matches!(op.fact, Fact::Resting(_))).unwrap().seq;
    let old = snapshot(&hosts, 0, 100);
    assert_eq!(part(&mut hosts, 1, &old.parts[0]), Adopting::Behind(Dot { origin: origin(1), seq: last }));
    crash_owner(&mut hosts);
    assert_eq!(part(&mut hosts, 1, &old.parts[0]), Adopting::Behind(Dot { origin: origin(1), seq: last }));
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 100);
    take_in(&mut hosts, 1, &taken);
    assert_same(&mut hosts, 0, 1);
}

fn crash_owner(hosts: &mut Hosts) {
    hosts.beds[1].recover();
    hosts.grant(1, Epoch(2), |_| 0);
}

#[test]
fn whoever_hands_out_takes_no_snapshot() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 100);
    assert_eq!(part(&mut hosts, 1, &taken.parts[0]), Adopting::Owner);
    let (mut alone, _) = crate::bed::Bed::with(mixed());
    let news = News::Snapshot(Arc::new(taken.parts[0].clone()));
    assert!(matches!(alone.ask(Command::News(news)), Ok(Reply::Adopting(Adopting::Owner))));
}

#[test]
fn words_of_a_pool_or_a_term_that_the_ledger_has_not_told_yet_wait() {
    let mut hosts = hosts();
    let tenures: Vec<ShardTenure> = hosts.beds[0].kernel.tenures(hosts.pool.uid);
    let next = tenures.iter().map(|said| ShardTenure { epoch: Epoch(2), tenure: Tenure::Escrow, ..*said }).collect();
    let pool = hosts.pool.uid;
    hosts.tell(0, News::Tenures { pool, tenures: next });
    act_some(&mut hosts);
    let taken = snapshot(&hosts, 0, 100);
    assert_eq!(part(&mut hosts, LISTENER, &taken.parts[0]), Adopting::Later);
    hosts.grant(LISTENER, Epoch(2), |_| 0);
    take_in(&mut hosts, LISTENER, &taken);
    assert_same(&mut hosts, 0, LISTENER);
}

#[test]
fn a_shard_given_to_a_host_that_takes_in_a_snapshot_is_only_kept() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 3);
    assert_eq!(part(&mut hosts, LISTENER, &taken.parts[0]), Adopting::Taken);
    hosts.grant(LISTENER, Epoch(2), |_| LISTENER);
    let tenures = hosts.beds[LISTENER].kernel.tenures(hosts.pool.uid);
    assert!(tenures.iter().all(|said| said.tenure == Tenure::Kept));
    take_in(&mut hosts, LISTENER, &taken);
    hosts.grant(LISTENER, Epoch(2), |_| LISTENER);
    assert!(hosts.allocate(LISTENER, Leg::Space, "newcomer").is_ok());
}

#[test]
fn while_a_snapshot_is_taken_in_nothing_else_is_heard() {
    let mut hosts = hosts();
    act_some(&mut hosts);
    hosts.share(1, 0);
    let taken = snapshot(&hosts, 0, 3);
    assert_eq!(part(&mut hosts, LISTENER, &taken.parts[0]), Adopting::Taken);
    assert_eq!(hosts.share(0, LISTENER), Seq(0));
    take_in(&mut hosts, LISTENER, &taken);
    assert_same(&mut hosts, 0, LISTENER);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn whatever_was_known_before_a_snapshot_brings_what_the_giver_knows(
        before in prop::collection::vec(act(), 0..60),
        away in prop::collection::vec(act(), 0..80),
        during in prop::collection::vec(act(), 0..12),
        heard in 0_usize..3,
        each in 1_usize..12,
        crash_at in 0_usize..30,
    ) {
        let mut hosts = hosts();
        for act in &before {
            carry_out(&mut hosts, act);
        }
        for from in 0..heard {
            hosts.share(from, LISTENER);
        }
        for act in &away {
            carry_out(&mut hosts, act);
        }
        hosts.share(1, 0);
        let cut_short = snapshot(&hosts, 0, each);
        for some in cut_short.parts.iter().take(crash_at) {
            prop_assert_eq!(part(&mut hosts, LISTENER, some), Adopting::Taken);
        }
        if crash_at % 2 == 0 {
            crash(&mut hosts, LISTENER);
        }
        for act in &during {
            carry_out(&mut hosts, act);
        }
        hosts.share(1, 0);
        let taken = snapshot(&hosts, 0, each);
        for act in &during {
            carry_out(&mut hosts, act);
        }
        take_in(&mut hosts, LISTENER, &taken);
        hosts.share(1, 0);
        hosts.share(0, LISTENER);
        hosts.share(1, LISTENER);
        assert_same(&mut hosts, 0, LISTENER);
    }
}
