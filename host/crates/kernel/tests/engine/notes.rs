//! Notes: written at any host, the same everywhere once everything was heard, and deleted for good.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, which the lints do not take for such; what is missing or unexpected fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{
    Adopting, Command, CommandError, Fact, MemberList, News, Note, NoteStamp, Notes, Notice, Origin, PutNote, Reply,
    Seq, SnapshotPart,
};
use proptest::prelude::*;

use crate::bed::{Answer, Bed, addresses};
use crate::cluster::{Hosts, Namer, member, origin};

const KEY: &str = "olt/north-1";

fn put(key: &str, value: Option<&str>) -> PutNote {
    PutNote {
        tenant: kernel::TenantId::default(),
        key: key.parse().unwrap(),
        value: value.map(|value| value.parse().unwrap()),
        expected: None,
    }
}

fn write(bed: &mut Bed, key: &str, value: &str) -> Answer {
    bed.ask(Command::PutNote(Box::new(put(key, Some(value)))))
}

fn delete(bed: &mut Bed, key: &str) -> Answer {
    bed.ask(Command::PutNote(Box::new(put(key, None))))
}

/// What stands of a key, the winner first; `-` is a deletion.
fn standing(bed: &Bed, key: &str) -> Vec<String> {
    let writes = bed.kernel.notes().of(&kernel::TenantId::default(), &key.parse().unwrap());
    writes.iter().map(|write| write.note.value.as_ref().map_or("-".into(), ToString::to_string)).collect()
}

fn stamp(bed: &Bed, key: &str) -> NoteStamp {
    bed.kernel.notes().get(&kernel::TenantId::default(), &key.parse().unwrap()).unwrap().note.stamp
}

fn hosts(count: usize) -> Hosts {
    let mut hosts = Hosts::sharing(addresses(0, 16), count, 1);
    for host in 0..count {
        list(&mut hosts, host, count, 1);
    }
    for host in 0..count {
        catch_up(&mut hosts, host, 1);
    }
    hosts
}

/// It hears all that another one has.
fn catch_up(hosts: &mut Hosts, host: usize, told: u64) {
    let other = (host + 1) % hosts.beds.len();
    acknowledge(hosts, other, host, told);
    for from in (0..hosts.beds.len()).filter(|from| *from != host) {
        hosts.share(from, host);
    }
}

/// The first of the hosts are members since an entry, and this host was told so far.
fn list(hosts: &mut Hosts, host: usize, count: usize, entry: u64) {
    let members = (0..count).map(|host| (member(host), origin(host))).collect();
    let list = MemberList { me: member(host), members, changed: entry, told: entry };
    hosts.tell(host, News::Members(list));
}

fn vector(hosts: &Hosts, host: usize) -> Arc<BTreeMap<Origin, Seq>> {
    let bed = &hosts.beds[host];
    let mut vector = bed.kernel.heard().clone();
    vector.insert(origin(host), bed.log.last().map_or(Seq(0), |op| op.seq));
    Arc::new(vector)
}

/// One host says to another what it has.
fn acknowledge(hosts: &mut Hosts, from: usize, to: usize, told: u64) {
    let vector = vector(hosts, from);
    hosts.tell(to, News::Seen { member: member(from), told, vector });
}

#[test]
fn what_is_written_is_read_and_still_there_after_a_restart() {
    let mut bed = Bed::new();
    assert!(matches!(write(&mut bed, KEY, "by the mill"), Ok(Reply::NotePut { changed: true, .. })));
    assert!(matches!(write(&mut bed, KEY, "by the mill"), Ok(Reply::NotePut { changed: false, .. })));
    write(&mut bed, "olt/north-2", "").unwrap();
    write(&mut bed, KEY, "moved").unwrap();
    let before = stamp(&bed, KEY);
    bed.restart(5_000);
    assert_eq!((standing(&bed, KEY), standing(&bed, "olt/north-2")), (vec!["moved".into()], vec![String::new()]));
    assert_eq!(stamp(&bed, KEY), before);
    let tenant = kernel::TenantId::default();
    let notes = bed.kernel.notes();
    let found =
        |prefix: &'static str| notes.query(&tenant, prefix, None).map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    assert_eq!(found("olt/"), [KEY, "olt/north-2"]);
    assert_eq!(found("olt/north-2"), ["olt/north-2"]);
    assert!(found("p").is_empty());
    let after = notes.query(&tenant, "olt/", Some(&KEY.parse().unwrap())).count();
    assert_eq!(after, 1);
}

#[test]
fn a_write_that_expects_another_version_is_refused() {
    let mut bed = Bed::new();
    let first = match write(&mut bed, KEY, "one") {
        Ok(Reply::NotePut { note, .. }) => note.stamp,
        other => panic!("{other:?}"),
    };
    write(&mut bed, KEY, "two").unwrap();
    let mut guarded = |value: Option<&str>, expected| {
        bed.ask(Command::PutNote(Box::new(PutNote { expected: Some(expected), ..put(KEY, value) })))
    };
    let refused = guarded(Some("three"), first).unwrap_err();
    let CommandError::NoteDiffers { expected, found: Some(found), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(expected, first);
    assert!(guarded(None, found).is_ok());
    assert!(matches!(guarded(Some("four"), found), Err(CommandError::NoteDiffers { found: None, .. })));
}

#[test]
fn alone_a_deletion_is_forgotten_at_once() {
    let mut bed = Bed::new();
    write(&mut bed, KEY, "one").unwrap();
    assert!(matches!(delete(&mut bed, KEY), Ok(Reply::NoteDeleted(note)) if note.value.is_some()));
    assert!(matches!(delete(&mut bed, KEY), Err(CommandError::NoteUnknown { .. })));
    assert!(bed.kernel.notes().is_empty());
    bed.restart(0);
    assert!(bed.kernel.notes().is_empty());
}

#[test]
fn of_two_writes_at_once_the_later_wins_and_the_other_is_listed_until_somebody_writes_again() {
    let mut hosts = hosts(3);
    write(&mut hosts.beds[0], KEY, "north").unwrap();
    hosts.beds[1].pass(10);
    write(&mut hosts.beds[1], KEY, "south").unwrap();
    for (from, to) in [(0, 1), (1, 0), (1, 2), (0, 2)] {
        hosts.share(from, to);
    }
    for bed in &hosts.beds {
        assert_eq!(standing(bed, KEY), ["south", "north"]);
        assert_eq!(bed.kernel.notes().disputed(), 1);
        assert_eq!(bed.notices.iter().filter(|notice| **notice == Notice::NoteConflict).count(), 1);
        assert_eq!(bed.kernel.digest(), hosts.beds[0].kernel.digest());
    }
    hosts.beds[2].restart(0);
    assert_eq!(standing(&hosts.beds[2], KEY), ["south", "north"]);
    // The same text again is a word on the matter.
    assert!(matches!(write(&mut hosts.beds[0], KEY, "south"), Ok(Reply::NotePut { changed: true, .. })));
    for to in [1, 2] {
        hosts.share(0, to);
    }
    assert!(hosts.beds.iter().all(|bed| standing(bed, KEY) == ["south"]));
}

#[test]
fn a_write_replaces_what_its_writer_knew_in_whatever_order_it_is_heard() {
    let mut hosts = hosts(3);
    write(&mut hosts.beds[0], KEY, "one").unwrap();
    hosts.share(0, 1);
    write(&mut hosts.beds[1], KEY, "two").unwrap();
    // The third one hears of the second write first.
    hosts.share(1, 2);
    hosts.share(0, 2);
    assert_eq!(standing(&hosts.beds[2], KEY), ["two"]);
    assert!(hosts.beds[2].notices.is_empty());
    hosts.beds[2].restart(0);
    assert_eq!(standing(&hosts.beds[2], KEY), ["two"]);
}

#[test]
fn a_clock_far_ahead_moves_nobody_elses_and_loses_against_whoever_knew() {
    let mut hosts = hosts(2);
    let day_ms = 86_400_000;
    hosts.beds[0].restart(day_ms);
    list(&mut hosts, 0, 2, 1);
    catch_up(&mut hosts, 0, 1);
    write(&mut hosts.beds[0], KEY, "from tomorrow").unwrap();
    hosts.share(0, 1);
    let ahead = stamp(&hosts.beds[1], KEY);
    write(&mut hosts.beds[1], KEY, "from today").unwrap();
    let today = stamp(&hosts.beds[1], KEY);
    assert!(today.ms + day_ms / 2 < ahead.ms, "{today} {ahead}");
    hosts.share(1, 0);
    assert!(hosts.beds.iter().all(|bed| standing(bed, KEY) == ["from today"]));
    // A little ahead is believed: the next stamp is above it.
    hosts.beds[1].now.wall_ms += 60_000;
    hosts.beds[1].restart(60_000);
    list(&mut hosts, 1, 2, 1);
    catch_up(&mut hosts, 1, 1);
    write(&mut hosts.beds[1], "other", "x").unwrap();
    let mut third = self::hosts(3);
    third.beds.swap(0, 2);
    let (mut near, log) = (third, hosts.beds[1].log.clone());
    let op = log.iter().rev().find(|op| matches!(op.fact, Fact::Noted(_))).unwrap();
    let batch = kernel::Batch::pack(origin(1), Seq(0), op.seq, [op], &Namer(&log));
    near.beds[0].ask(Command::News(News::Batch(Arc::new(batch)))).unwrap();
    write(&mut near.beds[0], KEY, "y").unwrap();
    assert!(stamp(&near.beds[0], KEY) > stamp(&near.beds[0], "other"));
}

#[test]
fn a_deletion_is_forgotten_once_all_have_it_and_this_host_has_all_they_had() {
    let mut hosts = hosts(3);
    write(&mut hosts.beds[0], KEY, "one").unwrap();
    hosts.share(0, 1);
    hosts.share(0, 2);
    delete(&mut hosts.beds[0], KEY).unwrap();
    // At the same time, and not known to the first host.
    write(&mut hosts.beds[2], "else", "two").unwrap();
    hosts.share(0, 1);
    acknowledge(&mut hosts, 1, 0, 1);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "the third one has yet to hear of it");
    hosts.share(0, 2);
    acknowledge(&mut hosts, 2, 0, 1);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "the third one has something that the first one lacks");
    hosts.share(1, 0);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "it still does");
    hosts.share(2, 0);
    assert!(standing(&hosts.beds[0], KEY).is_empty());
    hosts.beds[0].restart(0);
    list(&mut hosts, 0, 3, 1);
    assert!(matches!(write(&mut hosts.beds[0], KEY, "again"), Err(CommandError::NotesWithheld)));
    catch_up(&mut hosts, 0, 1);
    assert!(standing(&hosts.beds[0], KEY).is_empty());
    // What comes after it replaces the deletion where that is still remembered.
    assert_eq!(standing(&hosts.beds[1], KEY), ["-"]);
    write(&mut hosts.beds[0], KEY, "again").unwrap();
    hosts.share(0, 1);
    assert_eq!(standing(&hosts.beds[1], KEY), ["again"]);
}

#[test]
fn a_host_writes_once_it_heard_a_member_even_one_that_wrote_nothing() {
    let mut hosts = Hosts::sharing(addresses(0, 16), 2, 1);
    assert!(matches!(write(&mut hosts.beds[0], KEY, "x"), Err(CommandError::NotesWithheld)));
    list(&mut hosts, 0, 2, 1);
    assert!(matches!(write(&mut hosts.beds[0], KEY, "x"), Err(CommandError::NotesWithheld)));
    let vector = Arc::new(BTreeMap::from([(origin(1), Seq(0))]));
    hosts.tell(0, News::Seen { member: member(1), told: 1, vector });
    assert!(write(&mut hosts.beds[0], KEY, "x").is_ok());
    // The only member waits for nobody.
    list(&mut hosts, 1, 2, 1);
    let members = BTreeMap::from([(member(1), origin(1))]);
    hosts.tell(1, News::Members(MemberList { me: member(1), members, changed: 2, told: 2 }));
    assert!(write(&mut hosts.beds[1], KEY, "y").is_ok());
}

#[test]
fn what_was_acknowledged_under_another_list_of_members_does_not_count() {
    let mut hosts = hosts(3);
    write(&mut hosts.beds[0], KEY, "one").unwrap();
    delete(&mut hosts.beds[0], KEY).unwrap();
    hosts.share(0, 1);
    acknowledge(&mut hosts, 1, 0, 1);
    list(&mut hosts, 0, 2, 5);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "said while the third one was a member");
    acknowledge(&mut hosts, 1, 0, 4);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "said by who has not heard that it is none any more");
    acknowledge(&mut hosts, 1, 0, 6);
    assert_eq!(standing(&hosts.beds[0], KEY), ["-"], "this host may lack a newer list");
    list(&mut hosts, 0, 2, 5);
    let members = (0..2).map(|host| (member(host), origin(host))).collect();
    hosts.tell(0, News::Members(MemberList { me: member(0), members, changed: 5, told: 6 }));
    acknowledge(&mut hosts, 1, 0, 6);
    hosts.share(1, 0);
    assert!(standing(&hosts.beds[0], KEY).is_empty());
}

#[test]
fn a_snapshot_brings_the_notes_and_takes_away_what_does_not_stand_any_more() {
    let mut hosts = hosts(3);
    write(&mut hosts.beds[0], "kept", "one").unwrap();
    write(&mut hosts.beds[0], "gone", "two").unwrap();
    hosts.share(0, 2);
    delete(&mut hosts.beds[0], "gone").unwrap();
    write(&mut hosts.beds[1], "kept", "three").unwrap();
    write(&mut hosts.beds[1], "new", "four").unwrap();
    hosts.share(1, 0);
    hosts.share(2, 0);
    let (by, log) = (origin(0), hosts.beds[0].log.clone());
    let vector = BTreeMap::clone(&vector(&hosts, 0));
    let ended: Vec<Seq> = log
        .iter()
        .flat_map(|op| match &op.fact {
            Fact::Noted(note) => note.ends.to_vec(),
            _ => Vec::new(),
        })
        .collect();
    let words = log.iter().filter(|op| matches!(op.fact, Fact::Noted(_)) && !ended.contains(&op.seq));
    // A deletion that the giver forgot.
    let words = words.filter(|op| !matches!(&op.fact, Fact::Noted(note) if note.value.is_none()));
    let part = SnapshotPart::pack(by, vector.clone(), true, words, &Namer(&log));
    assert_eq!(part.ops.len(), 3);
    let taker = 2;
    assert!(matches!(hosts.tell(taker, News::Snapshot(Arc::new(part))), Reply::Adopting(Adopting::Taken)));
    assert!(matches!(write(&mut hosts.beds[taker], "x", "y"), Err(CommandError::NotesWithheld)));
    assert!(matches!(hosts.tell(taker, News::SnapshotEnd { by, vector }), Reply::Adopting(Adopting::Done)));
    let bed = &mut hosts.beds[taker];
    for _ in 0..2 {
        // Written at the same moment: the higher origin wins.
        assert_eq!(standing(bed, "kept"), ["three", "one"]);
        assert_eq!((standing(bed, "gone"), standing(bed, "new")), (vec![], vec!["four".into()]));
        bed.restart(0);
    }
    assert_eq!(hosts.beds[0].kernel.digest(), hosts.beds[taker].kernel.digest());
}

#[test]
fn a_tenant_has_room_for_so_many() {
    let mut bed = Bed::new();
    for n in 0..10_000 {
        write(&mut bed, &format!("n/{n}"), "x").unwrap();
    }
    let full = write(&mut bed, "one-more", "x").unwrap_err();
    assert!(matches!(full, CommandError::NotesFull { of: Some(_), limit: 10_000 }), "{full:?}");
    assert!(write(&mut bed, "n/7", "y").is_ok());
    delete(&mut bed, "n/8").unwrap();
    assert!(write(&mut bed, "one-more", "x").is_ok());
}

/// What happens at three hosts.
#[derive(Clone, Debug)]
enum Act {
    Put { host: usize, key: u8, value: u8 },
    Delete { host: usize, key: u8 },
    Share { from: usize, to: usize },
    Acknowledge { from: usize, to: usize },
    Restart { host: usize },
    Pass { host: usize, ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let (host, key) = (0_usize..3, 0_u8..2);
    prop_oneof![
        3 => (host.clone(), key.clone(), 0_u8..3).prop_map(|(host, key, value)| Act::Put { host, key, value }),
        3 => (host.clone(), key).prop_map(|(host, key)| Act::Delete { host, key }),
        6 => (host.clone(), host.clone()).prop_map(|(from, to)| Act::Share { from, to }),
        4 => (host.clone(), host.clone()).prop_map(|(from, to)| Act::Acknowledge { from, to }),
        1 => host.clone().prop_map(|host| Act::Restart { host }),
        1 => (host, 1_u64..1_000_000).prop_map(|(host, ms)| Act::Pass { host, ms }),
    ]
}

fn carry_out(hosts: &mut Hosts, act: &Act) {
    match *act {
        Act::Put { host, key, value } => {
            let answer = write(&mut hosts.beds[host], &format!("k{key}"), &format!("v{value}"));
            assert!(matches!(answer, Ok(_) | Err(CommandError::NotesWithheld)), "{answer:?}");
        }
        Act::Delete { host, key } => {
            let _none = delete(&mut hosts.beds[host], &format!("k{key}"));
        }
        Act::Share { from, to } if from != to => {
            hosts.share(from, to);
        }
        Act::Acknowledge { from, to } if from != to => acknowledge(hosts, from, to, 1),
        Act::Share { .. } | Act::Acknowledge { .. } => {}
        Act::Restart { host } => {
            hosts.beds[host].restart(0);
            list(hosts, host, 3, 1);
            // Else it writes no more notes, most of the time.
            if host == 0 {
                catch_up(hosts, host, 1);
            }
        }
        Act::Pass { host, ms } => hosts.beds[host].pass(ms),
    }
}

/// Of every write that was ever made, those that no other replaces: what a host must show that knows them all.
fn expected(hosts: &Hosts) -> Vec<Note> {
    let own = |(host, bed): (usize, &Bed)| {
        let notes = bed.log.iter().filter(|op| op.from.is_none()).filter_map(move |op| match &op.fact {
            Fact::Noted(note) => Some((origin(host), op.seq, Note::clone(note))),
            _ => None,
        });
        notes.collect::<Vec<_>>()
    };
    let all: Vec<(Origin, Seq, Note)> = hosts.beds.iter().enumerate().flat_map(own).collect();
    let replaces = |(by, seq, note): &(Origin, Seq, Note), (origin, number, other): &(Origin, Seq, Note)| {
        note.key == other.key
            && ((by == origin && seq > number)
                || note.knew.iter().any(|known| known.origin == *origin && known.seq >= *number))
    };
    let stands = all.iter().filter(|write| !all.iter().any(|other| replaces(other, write)));
    stands.map(|(_, _, note)| Note { ends: Box::default(), ..note.clone() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn hosts_that_heard_the_same_show_the_same_and_deletions_stay(acts in prop::collection::vec(act(), 1..80)) {
        let mut hosts = hosts(3);
        for act in &acts {
            carry_out(&mut hosts, act);
        }
        for _ in 0..2 {
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                hosts.share(from, to);
            }
        }
        let mut wanted = expected(&hosts);
        // Keys of which only deletions stand may be forgotten.
        let said: Vec<_> = wanted.iter().filter(|note| note.value.is_some()).map(|note| note.key.clone()).collect();
        wanted.retain(|note| said.contains(&note.key));
        wanted.sort_by_key(|note| (note.key.clone(), std::cmp::Reverse((note.stamp, note.by))));
        for bed in &hosts.beds {
            let found: Vec<Note> = bed
                .kernel
                .notes()
                .keys()
                .filter(|(_, key, _)| said.contains(key))
                .flat_map(|(_, _, writes)| writes.iter().map(|write| Note { ends: Box::default(), ..Note::clone(&write.note) }))
                .collect();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(bed.kernel.digest(), hosts.beds[0].kernel.digest());
        }
        // Quiet: everybody says what it has, and nothing is remembered of what is gone.
        for _ in 0..3 {
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                acknowledge(&mut hosts, from, to, 1);
                hosts.share(from, to);
            }
        }
        for (host, bed) in hosts.beds.iter().enumerate() {
            prop_assert_eq!(bed.kernel.notes().deletions(), 0);
            let mut again = Notes::of_host(origin(host));
            for op in &bed.log {
                again.apply(op);
            }
            let rows = |notes: &Notes| {
                let row = |(_, key, writes): (&_, &kernel::NoteKey, &[kernel::Written])| {
                    (key.clone(), writes.iter().map(|write| (write.place, write.dot())).collect::<Vec<_>>())
                };
                notes.keys().map(row).collect::<Vec<_>>()
            };
            prop_assert_eq!(rows(&again), rows(bed.kernel.notes()));
        }
    }
}
