//! The life of a plugin's file: dropped, swapped under live pools, deleted, retired, remembered across a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Geometry, PoolUid};
use plugin_host::{LivePool, NotReread, PluginEvent, PluginHost, PluginState, Reading, Refusal, RetireError};

use crate::bench::{Bench, span, spec};
use crate::guest::Guest;

fn activated(version: &str) -> impl Fn(&PluginEvent) -> bool {
    move |event| matches!(event, PluginEvent::Activated { version: found, .. } if found.to_string() == version)
}

fn version(host: &PluginHost) -> String {
    host.descriptor("num").unwrap().version.to_string()
}

/// A live pool as the serving version reads it.
fn live(host: &PluginHost) -> LivePool {
    let opened = host.open("num", "{}").unwrap();
    LivePool {
        tenant: "default".parse().unwrap(),
        pool: "p1".parse().unwrap(),
        uid: PoolUid(7),
        spec: spec(),
        mapping_id: opened.mapping_id,
        geometry: Arc::<Geometry>::new(opened.geometry),
    }
}

#[test]
fn a_dropped_file_serves() {
    let bench = Bench::new();
    let host = bench.start(&[]);
    assert_eq!(host.types(), Vec::<String>::new());
    bench.drop_file("num.wasm", &Guest::new("num").build());
    bench.event(activated("1.0.0"));
    assert_eq!(host.render("num", &spec(), &[span(1_000)]).unwrap(), ["1000"]);
}

#[test]
fn dot_files_and_parts_are_not_looked_at() {
    let bench = Bench::new();
    let bytes = Guest::new("num").build();
    for name in [".num.wasm", "num.part", "num.wasm.part", "README"] {
        std::fs::write(bench.drop_dir().join(name), &bytes).unwrap();
    }
    let host = bench.start(&[]);
    bench.drop_file("seen.wasm", &Guest::new("seen").build());
    bench.event(activated("1.0.0"));
    assert_eq!(host.types(), ["seen"]);
    assert_eq!(host.list().len(), 1);
}

#[test]
fn a_newer_version_takes_over_under_live_pools_while_calls_are_made() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    bench.pools.names.lock().unwrap().extend((1_000..4_000).map(|n| (span(n), n.to_string())));
    let (done, host) = (&AtomicBool::new(false), &host);
    std::thread::scope(|scope| {
        let calls = scope.spawn(move || {
            let (spec, mut calls) = (spec(), 0_u32);
            while !done.load(Ordering::Acquire) {
                assert_eq!(host.render("num", &spec, &[span(1_234)]).unwrap(), ["1234"]);
                calls += 1;
            }
            calls
        });
        bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").build());
        let event = bench.event(activated("1.1.0"));
        assert!(matches!(event, PluginEvent::Activated { changed, .. } if changed.is_empty()));
        done.store(true, Ordering::Release);
        assert!(calls.join().unwrap() > 0);
    });
    assert_eq!(version(host), "1.1.0");
    assert_eq!(host.list()[0].previous.as_ref().unwrap().to_string(), "1.0.0");
}

#[test]
fn a_version_that_would_move_live_names_is_refused() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    // It says that its mapping is the same, which 1024 names do not confirm.
    bench.pools.names.lock().unwrap().push((span(1_500), "1501".into()));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").build());
    let event = bench.event(|event| matches!(event, PluginEvent::Refused { .. }));
    let PluginEvent::Refused { why, .. } = event else { unreachable!() };
    assert!(
        matches!(&why, Refusal::LivePool { pool, problem } if pool == "default/p1" && problem.contains("1501")),
        "{why}"
    );
    assert_eq!(version(&host), "1.0.0");
}

#[test]
fn a_version_that_reads_a_smaller_pool_is_refused_if_that_loses_a_live_name() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    bench.pools.names.lock().unwrap().extend((1_000..5_096).map(|n| (span(n), n.to_string())));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 4_095).build());
    let event = bench.event(|event| matches!(event, PluginEvent::Refused { .. }));
    assert!(
        matches!(event, PluginEvent::Refused { why: Refusal::LivePool { problem, .. }, .. } if problem.contains("5095"))
    );
    assert_eq!(version(&host), "1.0.0");
}

#[test]
fn a_version_that_reads_a_larger_pool_serves_once_the_pool_is_larger() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    bench.pools.names.lock().unwrap().extend((1_000..5_096).map(|n| (span(n), n.to_string())));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 8_192).build());
    let event = bench.event(activated("1.1.0"));
    assert!(matches!(event, PluginEvent::Activated { changed, .. } if changed == [PoolUid(7)]));
    let reread = bench.pools.reread.lock().unwrap();
    let lens = |reading: &Reading| reading.geometry.spans.iter().map(|series| series.positions()).sum::<u128>();
    assert_eq!((reread.len(), lens(&reread[0].from), lens(&reread[0].to)), (1, 4_096, 8_192));
}

#[test]
fn a_pool_made_while_a_version_takes_over_becomes_what_that_version_reads() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    *bench.pools.meanwhile.lock().unwrap() = Some(LivePool { uid: PoolUid(8), ..live(&host) });
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 8_192).build());
    bench.event(activated("1.1.0"));
    let last = bench.pools.reread.lock().unwrap().last().map(|reading| reading.pool);
    assert_eq!(last, Some(PoolUid(8)));
    let mapping = host.descriptor("num").unwrap().mapping_id;
    assert_eq!((host.reads("num", &mapping), host.reads("num", "another")), (Ok(true), Ok(false)));
}

#[test]
fn a_version_that_a_live_pool_cannot_follow_is_refused_until_the_pool_is_gone() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    let why = NotReread::Refused { pool: "default/p1".into(), why: "it overlaps another".into() };
    *bench.pools.not_reread.lock().unwrap() = Some(why);
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 8_192).build());
    let event = bench.event(|event| matches!(event, PluginEvent::Refused { .. }));
    assert!(
        matches!(&event, PluginEvent::Refused { why: Refusal::LivePool { pool, .. }, .. } if pool == "default/p1"),
        "{event:?}"
    );
    assert_eq!(version(&host), "1.0.0");
    bench.pools.pools.lock().unwrap().clear();
    bench.event(activated("1.1.0"));
}

#[test]
fn a_version_is_tried_again_when_the_pools_could_not_be_changed_just_then() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    *bench.pools.not_reread.lock().unwrap() = Some(NotReread::NotNow("the disk is full".into()));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 8_192).build());
    bench.event(|event| matches!(event, PluginEvent::Refused { why: Refusal::PoolsBusy(_), .. }));
    bench.event(activated("1.1.0"));
    assert_eq!(host.list().len(), 1, "nothing is refused any more");
}

#[test]
fn an_older_version_is_not_needed() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").version("2.0.0").build()]);
    bench.drop_file("num.wasm", &Guest::new("num").version("1.9.0").build());
    let event = bench.event(|event| matches!(event, PluginEvent::Refused { .. }));
    assert!(matches!(event, PluginEvent::Refused { why: Refusal::Older { .. }, .. }), "{event:?}");
    assert_eq!(version(&host), "2.0.0");
}

#[test]
fn an_older_version_comes_back_by_replacing_the_file_that_serves_and_by_no_other() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").version("1.0.0").build()]);
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").build());
    bench.event(activated("1.1.0"));
    bench.drop_file("other.wasm", &Guest::new("num").version("1.0.5").build());
    bench.event(|event| matches!(event, PluginEvent::Refused { why: Refusal::Older { .. }, .. }));
    bench.pools.pools.lock().unwrap().push(live(&host));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.0.1").build());
    bench.event(activated("1.0.1"));
    assert_eq!(version(&host), "1.0.1");
}

#[test]
fn what_a_pool_is_told_of_a_swap_says_whether_the_version_before_read_it() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    bench.pools.pools.lock().unwrap().push(live(&host));
    bench.drop_file("num.wasm", &Guest::new("num").version("1.1.0").range(1_000, 8_192).build());
    bench.event(activated("1.1.0"));
    // The record stayed as it was, so this one does not read it either.
    bench.drop_file("num.wasm", &Guest::new("num").version("1.2.0").range(1_000, 9_000).build());
    bench.event(activated("1.2.0"));
    let reread = bench.pools.reread.lock().unwrap();
    assert_eq!(reread.iter().map(|reading| reading.reads_now).collect::<Vec<_>>(), [true, false]);
    assert!(reread[0].from.is_like(&reread[1].from) && !reread[0].from.is_like(&reread[0].to));
}

#[test]
fn of_two_files_the_newest_version_wins_whatever_their_names_and_order() {
    let bench = Bench::new();
    bench.drop_file("a.wasm", &Guest::new("num").version("1.2.0").build());
    bench.drop_file("b.wasm", &Guest::new("num").version("1.10.0").build());
    bench.drop_file("c.wasm", &Guest::new("num").version("1.3.0").build());
    let host = bench.start(&[]);
    bench.event(activated("1.10.0"));
    assert_eq!(version(&host), "1.10.0");
}

#[test]
fn a_rebuilt_file_of_the_same_version_replaces_itself() {
    let bench = Bench::new();
    let host = bench.start(&[]);
    bench.drop_file("num.wasm", &Guest::new("num").build());
    bench.event(activated("1.0.0"));
    let first = host.list()[0].digest;
    bench.drop_file("num.wasm", &Guest::new("num").range(1_000, 4_097).build());
    bench.event(|event| matches!(event, PluginEvent::Activated { digest, .. } if Some(*digest) != first));
}

#[test]
fn a_deleted_file_serves_on_and_is_remembered_across_a_restart() {
    let bench = Bench::new();
    let host = bench.start(&[]);
    let path = bench.drop_file("num.wasm", &Guest::new("num").version("3.0.0").build());
    bench.event(activated("3.0.0"));
    std::fs::remove_file(path).unwrap();
    bench.event(|event| matches!(event, PluginEvent::FileGone { .. }));
    assert!(host.list()[0].file_gone);
    assert_eq!(host.render("num", &spec(), &[span(1_000)]).unwrap(), ["1000"]);
    drop(host);
    let host = bench.start(&[Guest::new("num").version("2.0.0").build()]);
    assert_eq!(version(&host), "3.0.0");
    assert!(host.list()[0].file_gone, "nobody saw it go in this run");
}

#[test]
fn a_file_that_goes_while_nobody_looks_is_gone_at_the_next_start_until_it_is_back() {
    let bench = Bench::new();
    let host = bench.start(&[]);
    let bytes = Guest::new("num").build();
    let path = bench.drop_file("num.wasm", &bytes);
    bench.event(activated("1.0.0"));
    drop(host);
    std::fs::remove_file(&path).unwrap();
    let host = bench.start(&[]);
    assert_eq!((version(&host).as_str(), host.list()[0].file_gone), ("1.0.0", true));
    drop(host);
    bench.drop_file("num.wasm", &bytes);
    let host = bench.start(&[]);
    assert_eq!((version(&host).as_str(), host.list()[0].file_gone), ("1.0.0", false));
}

#[test]
fn a_newer_embedded_plugin_takes_over_at_start() {
    let bench = Bench::new();
    drop(bench.start(&[Guest::new("num").build()]));
    let host = bench.start(&[Guest::new("num").version("1.0.1").build()]);
    assert_eq!(version(&host), "1.0.1");
    drop(host);
    let copies = std::fs::read_dir(bench.dir.path().join("state")).unwrap();
    let copies = copies.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "wasm"));
    assert_eq!(copies.count(), 1, "what no record names is deleted");
}

#[test]
fn a_damaged_copy_is_not_loaded() {
    let bench = Bench::new();
    drop(bench.start(&[Guest::new("num").version("2.0.0").build()]));
    for entry in std::fs::read_dir(bench.dir.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            std::fs::write(path, b"\0asm").unwrap();
        }
    }
    let host = bench.start(&[Guest::new("num").version("1.0.0").build()]);
    assert_eq!(version(&host), "1.0.0", "the embedded one takes its place");
}

#[test]
fn retiring_is_refused_while_pools_live_and_lasts_across_a_restart() {
    let bench = Bench::new();
    let embedded = [Guest::new("num").build()];
    let host = bench.start(&embedded);
    bench.pools.pools.lock().unwrap().push(live(&host));
    let refused = host.retire("num").unwrap_err();
    assert_eq!(refused.to_string(), "type num is used by 1 pools, first default/p1");
    bench.pools.pools.lock().unwrap().clear();
    host.retire("num").unwrap();
    assert_eq!(host.types(), Vec::<String>::new());
    assert!(matches!(host.retire("num"), Err(RetireError::Unknown { .. })));
    drop(host);
    let host = bench.start(&embedded);
    assert_eq!(host.types(), Vec::<String>::new());
    assert_eq!(host.list()[0].state, PluginState::Retired);
    host.resume("num").unwrap();
    assert_eq!(host.render("num", &spec(), &[span(1_000)]).unwrap(), ["1000"]);
}
