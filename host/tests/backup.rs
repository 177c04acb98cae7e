//! `nexus backup` and `nexus restore` on real daemons: what was answered before the backup is there, and what was answered
//! after it goes to nobody else.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::hosts::{Hosts, address, distinct};
use common::{Daemon, Start, directory, wait_for};
use serde_json::{Value, json};

fn nexus(line: &[&str]) -> Output {
    common::nexus(line, &[])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn backup(daemon: &Daemon, to: &Path) -> Output {
    nexus(&["--server", &daemon.grpc, "backup", "--to", to.to_str().expect("a plain path")])
}

fn restore(from: &Path, to: &Path, more: &[&str]) -> Output {
    let (from, to) = (from.to_str().expect("a plain path"), to.to_str().expect("a plain path"));
    nexus(&[&["restore", "--from", from, "--data-dir", to], more].concat())
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Refused as a wrong argument; what was said.
fn refused(output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

fn allocate(daemon: &Daemon, pool: &str, subscriber: &str) -> (u16, Value) {
    daemon.post("/api/v1/allocate", &json!({"pool_id": pool, "subscriber_id": subscriber}))
}

fn given(daemon: &Daemon, pool: &str, subscriber: &str) -> String {
    let (status, answer) = allocate(daemon, pool, subscriber);
    assert!(matches!(status, 200 | 201), "{status} {answer}");
    address(&answer)
}

fn withheld(daemon: &Daemon, pool: &str, subscriber: &str) {
    let (status, answer) = allocate(daemon, pool, subscriber);
    assert_eq!((status, &answer["reason"]), (503, &json!("SPACE_WITHHELD")), "{answer}");
}

fn end_quarantine(daemon: &Daemon, pool: &str) -> Output {
    nexus(&["--server", &daemon.grpc, "shard", "end-quarantine", pool, "--reason", "all BNGs were restarted"])
}

fn note(daemon: &Daemon, key: &str, value: &str) -> u16 {
    daemon.call("PUT", &format!("/api/v1/notes/{key}"), Some(&json!({ "value": value }))).0
}

/// Writes a note as soon as the host may, and waits until another host has it.
fn note_between(hosts: &Hosts, from: usize, to: usize, key: &str, value: &str) {
    wait_for("a note is written", || (note(hosts.daemon(from), key, value) == 200).then_some(()));
    await_note(hosts, to, key, value);
}

fn await_note(hosts: &Hosts, host: usize, key: &str, value: &str) {
    wait_for("a note is heard of", || {
        (hosts.get(host, &format!("/api/v1/notes/{key}")).1["value"] == value).then_some(())
    });
}

/// Makes a backup while two clients allocate; what was answered before it began, and what was at all.
fn backup_under_load(daemon: &Daemon, file: &Path) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let answered: Mutex<BTreeMap<String, String>> = Mutex::default();
    let stop = AtomicBool::new(false);
    let before = std::thread::scope(|scope| {
        for client in 0..2 {
            let (daemon, answered, stop) = (daemon, &answered, &stop);
            scope.spawn(move || {
                for line in 0..1_500 {
                    let name = format!("line-{client}-{line}");
                    let ip = given(daemon, "homes", &name);
                    answered.lock().expect("no thread panicked").insert(name, ip);
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let enough = || (answered.lock().expect("no thread panicked").len() >= 100).then_some(());
        wait_for("there is load", enough);
        let before = answered.lock().expect("no thread panicked").clone();
        let said = done(&backup(daemon, file));
        assert!(said.contains("core-1") && said.contains("through"), "{said}");
        let until = answered.lock().expect("no thread panicked").len() + 50;
        wait_for("the load goes on", || (answered.lock().expect("no thread panicked").len() >= until).then_some(()));
        stop.store(true, Ordering::SeqCst);
        before
    });
    (before, answered.into_inner().expect("no thread panicked"))
}

/// What a quarantine of all three pools looks like.
fn shown_as_quarantined(restored: &Daemon) {
    withheld(restored, "homes", "new");
    withheld(restored, "timed", "new");
    let ready = restored.get("/ready").1;
    let warnings = ready["warnings"].as_array().expect("warnings");
    assert!(warnings.iter().any(|line| line.as_str().expect("text").contains("end-quarantine homes")), "{ready}");
    assert_eq!(restored.metric("nexus_quarantined_pools"), Some(3.0));
    let shards = done(&nexus(&["--server", &restored.grpc, "shard", "list", "homes"]));
    assert!(shards.contains("quarantined") && !shards.contains(" held"), "{shards}");
}

#[test]
fn a_backup_under_load_is_one_moment_and_what_came_after_it_goes_to_nobody_else() {
    let (old, new, files) = (directory(), directory(), directory());
    let file = files.path().join("nexus.tar");
    let daemon = Start::on(old.path()).with(&["--compact-at", "1MiB"]).run();
    for pool in [
        json!({"id": "homes", "cidr": "10.0.0.0/20"}),
        json!({"id": "timed", "cidr": "10.1.0.0/24", "lease": {"default": "1h", "min": "1m", "max": "2h"}}),
        json!({"id": "mixed", "cidr": "10.2.0.0/24", "lease": {"default": "1h", "min": "1m", "max": "2h"}}),
    ] {
        assert_eq!(daemon.post("/api/v1/pools", &pool).0, 201);
    }
    let lasting = json!({"pool_id": "mixed", "subscriber_id": "line-0", "alloc_type": "permanent"});
    assert_eq!(daemon.post("/api/v1/allocations", &lasting).0, 201);
    let timed = given(&daemon, "timed", "line-0");
    assert_eq!(note(&daemon, "olt/1", "by the mill"), 200);
    assert_eq!(note(&daemon, "olt/2", "gone"), 200);
    assert_eq!(daemon.call("DELETE", "/api/v1/notes/olt/2", None).0, 204);
    let (before, answered) = backup_under_load(&daemon, &file);
    let late = given(&daemon, "timed", "line-late");
    assert_eq!(note(&daemon, "olt/1", "too late"), 200);
    daemon.kill();
    distinct(&answered);

    // A directory that is in use is none to restore into.
    let said = refused(&restore(&file, old.path(), &[]));
    assert!(said.contains("is not empty") && said.contains(old.path().to_str().expect("plain")), "{said}");
    let said = done(&restore(&file, new.path(), &[]));
    assert!(
        said.contains("pool timed: nothing new is handed out for") && said.contains("end-quarantine homes"),
        "{said}"
    );
    assert!(said.contains("end-quarantine mixed"), "more may be without a lease than the backup knows: {said}");
    assert!(done(&nexus(&["store", "check", new.path().to_str().expect("plain")])).contains("everything reads back"));

    let restored = Start::on(new.path()).run();
    for (name, ip) in &before {
        assert_eq!(given(&restored, "homes", name), *ip, "{name} was answered before the backup");
    }
    assert_eq!(given(&restored, "timed", "line-0"), timed);
    assert_eq!(restored.get("/api/v1/notes/olt/1").1["value"], "by the mill");
    assert_eq!(restored.get("/api/v1/notes/olt/2").0, 404);
    assert_eq!(note(&restored, "olt/1", "by the river"), 200);
    shown_as_quarantined(&restored);
    // What becomes free is not handed out either: somebody may have got it since.
    let (name, freed) = before.first_key_value().expect("there was load");
    let path = format!("/api/v1/allocations/{name}?pool_id=homes");
    assert_eq!(restored.call("DELETE", &path, None).0, 204);
    withheld(&restored, "homes", "new");
    restored.kill();

    // The mark survives restarts.
    let restored = Start::on(new.path()).run();
    assert_eq!(restored.get("/api/v1/notes/olt/1").1["value"], "by the river");
    withheld(&restored, "homes", "new");
    done(&end_quarantine(&restored, "homes"));
    assert_eq!(end_quarantine(&restored, "homes").status.code(), Some(4), "it is over");
    assert_eq!(restored.metric("nexus_quarantined_pools"), Some(2.0));
    let ip = given(&restored, "homes", "new");
    assert!(before.values().all(|held| *held != ip || held == freed), "{ip} is held");
    withheld(&restored, "timed", "new");
    restored.kill();

    // The time of the other one has come: as if the longest lease had passed.
    let mark = new.path().join("restored.json");
    let mut said: Value = serde_json::from_slice(&fs::read(&mark).expect("there")).expect("JSON");
    said["counted_ms"] = json!(24 * 3_600_000);
    fs::write(&mark, said.to_string()).expect("written");
    let restored = Start::on(new.path()).run();
    let ip = wait_for("the quarantine is over", || {
        let (status, answer) = allocate(&restored, "timed", "new");
        (status == 201).then(|| address(&answer))
    });
    assert!(ip != timed, "{ip} is held; {late} is nobody's any more");
    // No time ends what was handed out for ever.
    withheld(&restored, "mixed", "new");
    assert_eq!(restored.metric("nexus_quarantined_pools"), Some(1.0));
}

#[test]
fn whoever_accepts_duplicates_gets_them() {
    let (old, new, files) = (directory(), directory(), directory());
    let file = files.path().join("nexus.tar");
    let daemon = Start::on(old.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "homes", "cidr": "10.0.0.0/29"})).0, 201);
    let known = given(&daemon, "homes", "known");
    done(&backup(&daemon, &file));
    // Never over what is there, and the daemon goes on.
    assert_eq!(backup(&daemon, &file).status.code(), Some(4));
    let forgotten = given(&daemon, "homes", "forgotten");
    daemon.kill();
    let said = done(&restore(&file, &new.path().join("data"), &["--i-accept-duplicates"]));
    assert!(said.contains("warning: duplicates are accepted"), "{said}");
    let restored = Start::on(&new.path().join("data")).run();
    assert_eq!(given(&restored, "homes", "known"), known);
    assert_eq!(given(&restored, "homes", "another"), forgotten, "as was accepted");
    let mark = fs::read_to_string(new.path().join("data/restored.json")).expect("there");
    assert!(mark.contains("\"accepted_duplicates\": true"), "{mark}");
}

#[test]
fn what_is_no_whole_backup_is_refused_with_its_name_and_changes_nothing() {
    let (old, new, files) = (directory(), directory(), directory());
    let file = files.path().join("nexus.tar");
    let daemon = Start::on(old.path()).run();
    assert_eq!(daemon.post("/api/v1/pools", &json!({"id": "homes", "cidr": "10.0.0.0/24"})).0, 201);
    given(&daemon, "homes", "known");
    done(&backup(&daemon, &file));
    let whole = fs::read(&file).expect("readable");
    let untouched = |bytes: &[u8], what: &str| {
        let wrong = files.path().join(format!("{what}.tar"));
        fs::write(&wrong, bytes).expect("written");
        let said = refused(&restore(&wrong, new.path(), &[]));
        assert!(said.contains(wrong.to_str().expect("plain")), "{said}");
        assert_eq!(fs::read_dir(new.path()).expect("there").count(), 0, "{what}");
    };
    untouched(&whole[..whole.len() / 2], "torn");
    untouched(&whole[..whole.len() - 1024], "without-its-end");
    untouched(b"", "empty");
    untouched(b"PK\x03\x04 something else", "foreign");
    for at in [700, whole.len() / 2, whole.len() - 2_000] {
        let mut edited = whole.clone();
        edited[at] ^= 1;
        untouched(&edited, &format!("edited-{at}"));
    }
    assert!(refused(&restore(&files.path().join("none.tar"), new.path(), &[])).contains("none.tar"));
    // Over REST it is the same file.
    let served = ureq::post(&format!("{}/api/v1/admin/backup", daemon.rest)).send_empty();
    let bytes = served.expect("served").body_mut().with_config().limit(1 << 30).read_to_vec().expect("whole");
    let other = files.path().join("rest.tar");
    fs::write(&other, bytes).expect("written");
    done(&restore(&other, new.path(), &[]));
    // Any tar lists it.
    let listed = Command::new("tar").arg("tf").arg(&other).output().expect("tar is there");
    let listed = done(&listed);
    for name in ["backup.json", "data/identity", "checksums"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
    }
    assert!(!listed.contains("lock") && !listed.contains("nonce.json"), "{listed}");
}

#[test]
fn a_restore_that_was_cut_short_serves_nobody() {
    let (old, new, files) = (directory(), directory(), directory());
    let file = files.path().join("nexus.tar");
    let daemon = Start::on(old.path()).run();
    done(&backup(&daemon, &file));
    daemon.kill();
    done(&restore(&file, new.path(), &[]));
    let mark = new.path().join("restored.json");
    let half = fs::read_to_string(&mark).expect("there").replace("\"restored\"", "\"restoring\"");
    fs::write(&mark, half).expect("written");
    let output = Start::on(new.path()).command().output().expect("it starts");
    assert!(!output.status.success() && text(&output.stderr).contains("restore again"), "{}", text(&output.stderr));
}

/// Its disk is lost, and it gets what a backup has.
fn lose_and_restore(hosts: &mut Hosts, host: usize, file: &Path) {
    hosts.kill(host);
    for entry in fs::read_dir(hosts.dir(host)).expect("there") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("removed");
    }
    let said = refused(&restore(file, hosts.dir(host), &["--i-accept-duplicates"]));
    assert!(said.contains("end-quarantine"), "{said}");
    let said = done(&restore(file, hosts.dir(host), &[]));
    assert!(said.contains("nexus cluster join"), "{said}");
}

/// New subscribers, asking these hosts in turn.
fn more(hosts: &Hosts, answered: &mut BTreeMap<String, String>, lines: Range<usize>, asked: &[usize]) {
    for line in lines {
        let name = format!("line-{line}");
        let ip = address(&hosts.allocate(asked[line % asked.len()], &name));
        answered.insert(name, ip);
    }
}

fn join_again(hosts: &Hosts, host: usize) {
    wait_for("it joins again", || {
        let (status, answer) = hosts.post(host, "/api/v1/cluster/join", &json!({}));
        assert!(matches!(status, 200 | 503), "{answer}");
        (status == 200).then_some(())
    });
    for host in 0..3 {
        hosts.await_members(host, 3);
    }
}

#[test]
fn a_restored_member_joins_again_as_itself_and_its_shards_wait_for_an_operator() {
    let files = directory();
    let file = files.path().join("core-3.tar");
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &json!({"id": "homes", "cidr": "100.64.0.0/22", "hold_down": "0s"}));
    let mut answered = BTreeMap::new();
    more(&hosts, &mut answered, 0..60, &[0, 1, 2]);
    let mut gone = BTreeMap::new();
    more(&hosts, &mut gone, 1_000..1_060, &[0, 1, 2]);
    note_between(&hosts, 2, 0, "olt/1", "before");
    done(&backup(hosts.daemon(2), &file));
    // What the backup has is released, and given to others.
    for name in gone.keys() {
        let (status, answer) = hosts.daemon(0).call("DELETE", &format!("/api/v1/allocations/{name}"), None);
        assert_eq!(status, 204, "{answer}");
    }
    hosts.await_held(&answered);
    note_between(&hosts, 2, 0, "olt/1", "after");
    note_between(&hosts, 2, 1, "olt/2", "only after");
    more(&hosts, &mut answered, 60..180, &[2, 0, 1]);
    assert!(gone.values().any(|ip| answered.values().any(|given| given == ip)), "some are given again");
    hosts.await_held(&answered);
    lose_and_restore(&mut hosts, 2, &file);
    hosts.start(2);
    assert_eq!(hosts.status(2)["standing"], "waiting");
    let (status, answer) = hosts.post(2, "/api/v1/cluster/init", &json!({}));
    assert_eq!(status, 409, "{answer}");
    join_again(&hosts, 2);
    let status = hosts.status(2);
    assert_eq!(status["member"], 3, "as itself: {status}");
    // Everything is there again, what it answered after the backup too, and nothing else.
    wait_for("it knows what the others do", || (hosts.get(2, "/ready").0 == 200).then_some(()));
    assert_eq!(hosts.held(2), answered);
    hosts.await_held(&answered);
    await_note(&hosts, 2, "olt/1", "after");
    await_note(&hosts, 2, "olt/2", "only after");
    note_between(&hosts, 2, 1, "olt/1", "again");
    let quarantined = || {
        let ring = hosts.get(2, "/api/v1/hashring?pool_id=homes").1;
        let shards = ring["pools"][0]["shards"].as_array().expect("shards").clone();
        shards.iter().filter(|shard| shard["owner"] == 3 && shard["state"] == "quarantined").count()
    };
    assert!(quarantined() > 0);
    // Others serve new subscribers meanwhile, whomever they ask.
    more(&hosts, &mut answered, 180..210, &[0, 1, 2]);
    distinct(&answered);
    wait_for("the operator's word is taken", || {
        end_quarantine(hosts.daemon(2), "homes").status.success().then_some(())
    });
    wait_for("nothing is quarantined", || (quarantined() == 0).then_some(()));
    more(&hosts, &mut answered, 210..270, &[2]);
    distinct(&answered);
    hosts.await_held(&answered);
    wait_for("it votes again", || {
        let members = hosts.status(0)["members"].as_array()?.clone();
        members.iter().all(|member| member["vote"] == "voter").then_some(())
    });
    for host in 0..3 {
        assert_eq!(hosts.daemon(host).metric("nexus_clset_conflicts_total"), Some(0.0));
    }
    // A restart finds it a member like every other.
    hosts.kill(2);
    hosts.start(2);
    hosts.await_members(2, 3);
    hosts.await_held(&answered);
}
