//! Notes on real daemons: written at one host they are read at all, two writes at the same time come to one winner, and what
//! is deleted stays deleted, also on a host that was away.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::sync::Barrier;

use common::hosts::Hosts;
use common::wait_for;
use serde_json::{Value, json};

fn path(key: &str) -> String {
    format!("/api/v1/notes/{key}")
}

/// Writes at a host as soon as it may: one that has just begun must hear the others first.
fn put(hosts: &Hosts, host: usize, key: &str, value: &str) -> Value {
    wait_for("a note is written", || {
        let (status, answer) = hosts.daemon(host).call("PUT", &path(key), Some(&json!({ "value": value })));
        assert!(matches!(status, 200 | 503), "{status} {answer}");
        (status == 200).then_some(answer)
    })
}

fn await_note(hosts: &Hosts, host: usize, key: &str, value: Option<&str>) {
    wait_for("a note is heard of", || {
        let (status, answer) = hosts.get(host, &path(key));
        match value {
            Some(value) => (status == 200 && answer["value"] == value).then_some(()),
            None => (status == 404).then_some(()),
        }
    });
}

#[test]
fn what_is_written_at_one_host_is_read_at_all_and_stays_deleted_where_it_was_away() {
    let mut hosts = Hosts::formed(3);
    let written = put(&hosts, 0, "olt/north-1", "by the mill");
    put(&hosts, 1, "olt/north-2", "by the river");
    for host in 0..3 {
        await_note(&hosts, host, "olt/north-1", Some("by the mill"));
        await_note(&hosts, host, "olt/north-2", Some("by the river"));
        let (status, list) = hosts.get(host, "/api/v1/notes?prefix=olt/&limit=1");
        assert_eq!((status, &list["total"], &list["notes"][0]["key"]), (200, &json!(2), &json!("olt/north-1")));
        let cursor = list["next_cursor"].as_str().expect("there is another page");
        let (_, rest) = hosts.get(host, &format!("/api/v1/notes?prefix=olt/&cursor={cursor}"));
        assert_eq!((&rest["notes"][0]["key"], &rest["next_cursor"]), (&json!("olt/north-2"), &Value::Null));
        // The same version everywhere.
        assert_eq!(hosts.get(host, &path("olt/north-1")).1["version"], written["version"]);
    }
    hosts.daemon(2).freeze();
    put(&hosts, 0, "olt/north-1", "moved");
    await_note(&hosts, 1, "olt/north-1", Some("moved"));
    hosts.daemon(2).go_on();
    await_note(&hosts, 2, "olt/north-1", Some("moved"));
    // One is away while it is deleted, and another while it is away.
    hosts.kill(2);
    assert_eq!(hosts.daemon(0).call("DELETE", &path("olt/north-1"), None).0, 204);
    await_note(&hosts, 1, "olt/north-1", None);
    hosts.kill(0);
    hosts.start(2);
    await_note(&hosts, 2, "olt/north-1", None);
    hosts.start(0);
    put(&hosts, 0, "told", "by the first");
    for host in 0..3 {
        await_note(&hosts, host, "told", Some("by the first"));
        await_note(&hosts, host, "olt/north-1", None);
        assert_eq!(hosts.get(host, &path("olt/north-2")).1["value"], "by the river");
        assert_eq!(hosts.daemon(host).metric("nexus_clset_digest_mismatch_total"), Some(0.0));
    }
    assert_eq!(hosts.daemon(1).call("DELETE", &path("olt/north-1"), None).0, 404);
}

#[test]
fn of_two_writes_at_the_same_time_one_wins_everywhere_and_the_other_is_listed() {
    let hosts = Hosts::formed(3);
    put(&hosts, 0, "first", "0");
    put(&hosts, 1, "second", "1");
    // How close two writes must be depends on the machine, so several are tried.
    let mut tried = 0;
    let key = wait_for("two hosts write before they hear of each other", || {
        tried += 1;
        let key = format!("site/{tried}");
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for host in 0..2 {
                let (hosts, key, start) = (&hosts, &key, &start);
                scope.spawn(move || {
                    start.wait();
                    put(hosts, host, key, &format!("by host {host}"));
                });
            }
        });
        for host in 0..3 {
            wait_for("both are heard of", || {
                let (_, note) = hosts.get(host, &path(&key));
                let heard = [0, 1].map(|other| hosts.get(other, &path(&key)).1);
                (note == heard[0] && note == heard[1] && note["value"].is_string()).then_some(())
            });
        }
        let (_, note) = hosts.get(2, &path(&key));
        (note["losers"].as_array().expect("a list").len() == 1).then_some(key)
    });
    let notes: Vec<Value> = (0..3).map(|host| hosts.get(host, &path(&key)).1).collect();
    assert!(notes.iter().all(|note| *note == notes[0]), "{notes:?}");
    let mut both = [&notes[0]["value"], &notes[0]["losers"][0]["value"]];
    both.sort_by_key(ToString::to_string);
    assert_eq!(both, [&json!("by host 0"), &json!("by host 1")]);
    for host in 0..3 {
        let (_, list) = hosts.get(host, "/api/v1/notes?disputed=true");
        assert_eq!((&list["total"], &list["notes"][0]["key"]), (&json!(1), &json!(key)), "{list}");
    }
    // Whoever writes it again ends the dispute.
    put(&hosts, 2, &key, "by the third");
    for host in 0..3 {
        await_note(&hosts, host, &key, Some("by the third"));
        assert_eq!(hosts.get(host, "/api/v1/notes?disputed=true").1["total"], 0);
    }
}

#[test]
fn a_host_that_is_alone_keeps_notes_by_tenant_and_guards_them_by_version() {
    let hosts = common::directory();
    let daemon = common::Start::on(hosts.path()).run();
    let call = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>| {
        common::call(&format!("{}{path}", daemon.rest), method, headers, body.map(ToString::to_string))
    };
    let (status, note) = call("PUT", "/api/v1/notes/tenant/contact", &[], Some(&json!({"value": "ring twice"})));
    assert_eq!((status, &note["losers"]), (200, &json!([])));
    let version = note["version"].as_str().expect("a version").to_owned();
    let moved = json!({"value": "ring once"});
    let matching = [("if-match", version.as_str())];
    assert_eq!(call("PUT", "/api/v1/notes/tenant%2Fcontact", &matching, Some(&moved)).0, 200);
    let (status, refused) = call("DELETE", "/api/v1/notes/tenant/contact", &matching, None);
    assert_eq!((status, &refused["reason"]), (409, &json!("VERSION_DIFFERS")), "{refused}");
    let other = [("x-nexus-tenant", "other-isp")];
    assert_eq!(call("GET", "/api/v1/notes/tenant/contact", &other, None).0, 404);
    assert_eq!(call("GET", "/api/v1/notes", &other, None).1["total"], 0);
    for (key, body) in [("a%0Ab", json!({"value": "x"})), ("a", json!({})), ("a", json!({"value": "\u{0}"}))] {
        let (status, answer) = call("PUT", &format!("/api/v1/notes/{key}"), &[], Some(&body));
        assert_eq!(status, 400, "{key} {answer}");
    }
    assert_eq!(call("DELETE", "/api/v1/notes/tenant/contact", &[], None).0, 204);
    let (status, gone) = call("GET", "/api/v1/notes/tenant/contact", &[], None);
    assert_eq!((status, &gone["reason"]), (404, &json!("NOTE_UNKNOWN")), "{gone}");
}
