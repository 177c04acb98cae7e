//! Guests that pass the checks and turn on the host afterwards: each costs its own call and nothing else.
//!
//! A guest turns when it is asked for position 1666 (which the smoke checks have no reason to ask for more than any other),
//! so that it gets into service at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin_host::{FailureReason, Limits, PluginError, PluginEvent, PluginHost, PluginState};

use crate::bench::{Bench, span, spec};
use crate::guest::Guest;

const TRIGGER: u128 = 1_000_666;

/// A plugin of a million positions that runs `code` when it names the trigger.
fn turning(code: &str) -> Guest {
    let code = format!("(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then {code}))");
    Guest::new("num").range(1_000, 100_000_000).hook("NAME", code)
}

/// Puts the guest into service, triggers it and says how the call failed.
fn turned(guest: &Guest) -> FailureReason {
    let bench = Bench::new();
    let host = bench.start(&[guest.build(), Guest::new("other").build()]);
    assert_eq!(host.types(), ["num", "other"], "{:#?}", host.list());
    let reason = match host.render("num", &spec(), &[span(TRIGGER)]) {
        Err(PluginError::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(host.render("other", &spec(), &[span(1_000)]).unwrap(), ["1000"], "another type is not concerned");
    assert_eq!(eventually(&host, 1_001), "1001", "after its rest it answers again");
    reason
}

/// Asks until the plugin's rest is over.
fn eventually(host: &PluginHost, position: u128) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match host.render("num", &spec(), &[span(position)]) {
            Ok(names) => return names[0].to_string(),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[test]
fn an_endless_loop_meets_its_deadline() {
    assert_eq!(turned(&turning("(loop $ever (br $ever))")), FailureReason::Deadline);
}

#[test]
fn a_trap_is_caught() {
    assert_eq!(turned(&turning("unreachable")), FailureReason::Trap);
}

#[test]
fn a_memory_bomb_gets_no_more_than_its_limit() {
    let bomb = "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable";
    assert_eq!(turned(&turning(bomb)), FailureReason::Memory);
}

#[test]
fn deep_recursion_ends_at_the_stack_limit() {
    let deep = "(func $deep (param $n i64) (result i64)
      (i64.add (i64.const 1) (call $deep (i64.add (local.get $n) (i64.const 1)))))";
    let guest = turning("(drop (call $deep (i64.const 0)))").hook("FUNCTIONS", deep);
    assert_eq!(turned(&guest), FailureReason::Stack);
}

#[test]
fn a_handle_flood_is_dammed() {
    let flood = "(loop $more (drop (call $new_pool (i32.const 1))) (br $more))";
    assert_eq!(turned(&turning(flood)), FailureReason::Handles);
}

#[test]
fn a_huge_string_is_not_copied() {
    // A name of 8 MiB, in memory that is really there.
    let huge = "(drop (memory.grow (i32.const 150)))
      (i32.store (local.get $names) (i32.const 0)) (i32.store offset=4 (local.get $names) (i32.const 8388608))";
    assert_eq!(turned(&turning_after(huge)), FailureReason::Answer);
}

#[test]
fn a_list_past_the_end_of_memory_is_refused() {
    let beyond =
        "(i32.store (local.get $names) (i32.const -8)) (i32.store offset=4 (local.get $names) (i32.const 4096))";
    assert_eq!(turned(&turning_after(beyond)), FailureReason::Answer);
}

#[test]
fn a_name_above_255_bytes_is_refused() {
    let long = "(memory.fill (call $alloc (i32.const 300)) (i32.const 65) (i32.const 300))
      (i32.store (local.get $names) (i32.sub (global.get $heap) (i32.const 304)))
      (i32.store offset=4 (local.get $names) (i32.const 256))";
    assert_eq!(turned(&turning_after(long)), FailureReason::Answer);
}

#[test]
fn a_name_with_a_newline_is_refused() {
    let newline = "(i32.store8 (i32.load (local.get $names)) (i32.const 10))";
    assert_eq!(turned(&turning_after(newline)), FailureReason::Answer);
}

#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let wrong = "(i32.store8 (i32.load (local.get $names)) (i32.const 255))";
    assert_eq!(turned(&turning_after(wrong)), FailureReason::Answer);
}

#[test]
fn an_empty_name_is_refused() {
    assert_eq!(turned(&turning_after("(i32.store offset=4 (local.get $names) (i32.const 0))")), FailureReason::Answer);
}

/// Like [`turning`], with the code after the name was written.
fn turning_after(code: &str) -> Guest {
    let code = format!("(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then {code}))");
    Guest::new("num").range(1_000, 100_000_000).hook("NAMED", code)
}

#[test]
fn names_that_collide_in_a_batch_are_refused() {
    let bench = Bench::new();
    let code = format!("(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then (local.set $n (i64.const 1001))))");
    let host = bench.start(&[Guest::new("num").range(1_000, 100_000_000).hook("NAME", code).build()]);
    let names = host.render_each("num", &spec(), &[span(1_001), span(1_002), span(TRIGGER)]).unwrap();
    let unavailable =
        |at: usize| matches!(names[at], Err(PluginError::Unavailable { reason: FailureReason::Answer, .. }));
    assert!(unavailable(0) && unavailable(2), "{names:?}");
    assert_eq!(names[1].as_deref(), Ok("1002"));
    assert_eq!(host.list()[0].failures, 1);
    let registry = prometheus::Registry::new();
    bench.metrics.register(&registry).unwrap();
    let shown = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(shown.contains(r#"nexus_plugin_failures_total{reason="answer",type="num"} 1"#), "{shown}");
}

#[test]
fn too_few_names_are_refused() {
    let few = "(i32.store offset=8 (local.get $at) (i32.const 0))";
    let code = format!("(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then {few}))");
    let guest = Guest::new("num").range(1_000, 100_000_000).hook("RENDERED", code);
    assert_eq!(turned(&guest), FailureReason::Answer);
}

#[test]
fn a_parsed_span_outside_the_pool_is_refused() {
    let outside = format!(
        "(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then (i64.store offset=16 (local.get $spans) (i64.const 7))))"
    );
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").range(1_000, 100_000_000).hook("PARSED", outside).build()]);
    let found = host.parse("num", &spec(), &["1000666", "1001"]).unwrap();
    assert!(matches!(found[0], Err(PluginError::Unavailable { reason: FailureReason::Answer, .. })), "{found:?}");
    assert_eq!(found[1], Ok(span(1_001)), "its neighbour is answered");
}

#[test]
fn a_plan_outside_the_pool_is_refused() {
    // Some(span) at 7, which the smoke checks cannot see: only the fortieth plan of an instance lies.
    let lie = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const 100000)) (then
        (i32.store8 offset=24 (local.get $at) (i32.const 1))
        (i64.store offset=40 (local.get $at) (i64.const 7))
        (i64.store offset=56 (local.get $at) (i64.const 1))))";
    let bench = Bench { lanes: 1, ..Bench::new() };
    let host = bench.start(&[Guest::new("num").hook("INTERPRETED", lie).build()]);
    assert_eq!(host.types(), ["num"], "{:#?}", host.list());
    let spec = spec();
    let lied = (0..100_100).map(|_| host.interpret("num", &spec, &[])).filter(|plan| {
        assert!(plan.as_ref().map_or(true, |plan| plan.at.is_none()), "{plan:?}");
        plan.is_err()
    });
    // Thrown away after its first lie, and its successor is honest for as long.
    assert_eq!(lied.count(), 0);
    assert_eq!(host.list()[0].failures, 1);
}

#[test]
fn a_trap_every_seventh_call_is_retried_and_then_suspends() {
    let seventh = "(if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 7))) (then unreachable))";
    let bench = Bench { lanes: 1, ..Bench::new() };
    // Smoke checks call more than seven times; this guest waits until it was told to turn.
    let armed = format!(
        "(if (i64.eq (local.get $n) (i64.const {TRIGGER})) (then (global.set $armed (i32.const 1))))
         (if (global.get $armed) (then {seventh}))"
    );
    let guest = Guest::new("num")
        .range(1_000, 100_000_000)
        .hook("NAME", armed)
        .hook("FUNCTIONS", "(global $armed (mut i32) (i32.const 0))");
    let host = bench.start(&[guest.build()]);
    let spec = spec();
    let (mut answered, mut refused) = (0, 0);
    for n in 0..100_u128 {
        // Every instance is armed first, for it loses that with everything else.
        let ok = host.render("num", &spec, &[span(TRIGGER)]).is_ok();
        match host.render("num", &spec, &[span(1_000 + n)]) {
            Ok(names) => {
                assert_eq!(names[0], (1_000 + n).to_string());
                answered += usize::from(ok);
            }
            Err(PluginError::Unavailable { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(answered >= 10, "{answered} answered, {refused} refused");
    bench.event(|event| matches!(event, PluginEvent::Suspended { type_id, .. } if type_id == "num"));
    assert!(matches!(host.list()[0].state, PluginState::Suspended { .. }));
    host.resume("num").unwrap();
    assert_eq!(host.render("num", &spec, &[span(1_000)]).unwrap(), ["1000"]);
}

#[test]
fn one_bad_span_does_not_spoil_its_neighbours() {
    let bench = Bench::new();
    let host = bench.start(&[turning("unreachable").build()]);
    let spans: Vec<_> = (0..64).map(|n| span(TRIGGER - 32 + n)).collect();
    let names = host.render_each("num", &spec(), &spans).unwrap();
    for (span, name) in spans.iter().zip(&names) {
        match name {
            Ok(name) => assert_eq!(*name, span.start().to_string()),
            Err(error) => assert_eq!(span.start(), TRIGGER, "{error}"),
        }
    }
    assert_eq!(names.iter().filter(|name| name.is_err()).count(), 1);
}

#[test]
fn a_flood_of_log_lines_is_dammed_and_harmless() {
    let flood = "(memory.fill (i32.const 70000) (i32.const 10) (i32.const 50000))
      (loop $more
        (call $log (i32.const 1) (i32.const 70000) (i32.const 50000))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (br_if $more (i32.lt_u (global.get $calls) (i32.const 300))))";
    let bench = Bench::new();
    let host = bench.start(&[turning(flood).build()]);
    host.render("num", &spec(), &[span(TRIGGER)]).unwrap();
}

#[test]
fn a_guest_that_says_it_failed_is_counted() {
    let bench = Bench::new();
    // internal("") for the trigger alone.
    let internal = turning("(return (call $refuse (i32.const 4)))");
    let host = bench.start(&[internal.build()]);
    let error = host.render("num", &spec(), &[span(TRIGGER)]).unwrap_err();
    assert!(matches!(error, PluginError::Unavailable { reason: FailureReason::Internal, .. }), "{error}");
}

#[test]
fn calls_of_many_threads_are_answered_while_some_trap() {
    let bench = Bench { lanes: 4, ..Bench::new() };
    let host = Arc::new(bench.start(&[turning("unreachable").build()]));
    let spec = spec();
    std::thread::scope(|scope| {
        for thread in 0..8_u128 {
            let (host, spec) = (Arc::clone(&host), Arc::clone(&spec));
            scope.spawn(move || {
                for n in 0..200 {
                    let position = 2_000 + thread * 1_000 + n;
                    match host.render("num", &spec, &[span(position)]) {
                        Ok(names) => assert_eq!(names[0], position.to_string()),
                        Err(PluginError::Unavailable { .. }) => assert_eq!(thread, 0, "only if thread 0 broke it"),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
}

#[test]
fn what_is_too_large_never_reaches_the_guest() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    let long = "x".repeat(70_000);
    assert!(matches!(host.open("num", &long), Err(PluginError::InvalidSpec(_))));
    let parsed = host.parse("num", &spec(), &[&long, "1000"]).unwrap();
    assert!(matches!(parsed[0], Err(PluginError::InvalidName(_))));
    assert_eq!(parsed[1], Ok(span(1_000)));
    let hints: Vec<_> = (0..17).map(|n| (format!("h{n}").into(), "1".into())).collect();
    assert!(matches!(host.interpret("num", &spec(), &hints), Err(PluginError::InvalidHint(_))));
    let hint = [("h".into(), long.as_str().into())];
    assert!(matches!(host.interpret("num", &spec(), &hint), Err(PluginError::InvalidHint(_))));
    assert_eq!(host.list()[0].failures, 0);
}

#[test]
fn a_batch_above_a_call_is_cut_into_several() {
    let bench = Bench { limits: Limits::small(), ..Bench::new() };
    let host = bench.start(&[Guest::new("num").range(1_000, 10_000).build()]);
    let spans: Vec<_> = (0..5_000).map(|n| span(1_000 + n)).collect();
    let names = host.render("num", &spec(), &spans).unwrap();
    assert_eq!(names.len(), 5_000);
    assert_eq!(names[4_999], "5999");
}
