//! Files that are not taken into service: each its own clear refusal, and what served before serves on.

use plugin_host::{FailureReason, Limits, PluginEvent, PluginState, Refusal};

use crate::bench::{Bench, span, spec};
use crate::guest::Guest;

/// Starts a host with one embedded plugin and returns why it was refused.
fn refusal(bytes: &[u8]) -> Refusal {
    refusal_under(Limits::small(), bytes)
}

fn refusal_under(limits: Limits, bytes: &[u8]) -> Refusal {
    let bench = Bench { limits, ..Bench::new() };
    let host = bench.start(&[bytes.to_vec()]);
    assert_eq!(host.types(), Vec::<String>::new());
    let mut list = host.list();
    assert_eq!(list.len(), 1, "{list:?}");
    let PluginState::Refused { why } = list.remove(0).state else { panic!("{:?}", host.list()) };
    why
}

#[test]
fn a_core_module() {
    assert_eq!(refusal(&Guest::new("num").module()), Refusal::CoreModule);
}

#[test]
fn something_else() {
    assert!(matches!(refusal(b"#!/bin/sh\n"), Refusal::NotWasm(_)));
    assert!(matches!(refusal(b""), Refusal::Truncated { offset: 0 }));
}

#[test]
fn a_truncated_file() {
    let whole = Guest::new("num").build();
    for keep in [5, 9, 40, whole.len() / 2, whole.len() - 1] {
        let found = refusal(&whole[..keep]);
        assert!(matches!(found, Refusal::Truncated { .. }), "{keep} bytes: {found:?}");
    }
}

#[test]
fn a_wasi_import() {
    let found = refusal(&Guest::new("num").with_wasi().build());
    assert_eq!(found, Refusal::Wasi { import: "wasi:cli/exit@0.2.0".into() });
}

#[test]
fn a_newer_interface() {
    for newer in ["nexus:allocator@1.1.0", "nexus:allocator@2.0.0"] {
        let module = newer.replace('@', "/geometry@");
        let guest = Guest::new("num")
            .renamed("nexus:allocator@1.0.0", newer.to_owned().leak())
            .renamed("nexus:allocator/geometry@1.0.0", module.clone().leak())
            .renamed("nexus:allocator/log@1.0.0", newer.replace('@', "/log@").leak());
        let found = refusal(&guest.build());
        assert!(matches!(found, Refusal::NewerInterface { known: "1.0.0", .. }), "{found:?}");
    }
}

#[test]
fn a_component_of_another_world() {
    let bytes = wat::parse_str("(component)").unwrap();
    assert!(matches!(refusal(&bytes), Refusal::NoGeometry { exports, .. } if exports.is_empty()));
    let bytes = wat::parse_str(r#"(component (import "evil" (func)))"#).unwrap();
    assert_eq!(refusal(&bytes), Refusal::ForeignImport { import: "evil".into() });
    let bytes =
        wat::parse_str(r#"(component (instance $empty) (export "nexus:allocator/geometry@1.0.0" (instance $empty)))"#);
    assert!(matches!(refusal(&bytes.unwrap()), Refusal::Interface(_)));
}

#[test]
fn a_file_above_the_limit() {
    let mut values = Limits::small().values().clone();
    values.file_bytes = 2_048;
    let found = refusal_under(Limits::new(values).unwrap(), &Guest::new("num").build());
    assert!(matches!(found, Refusal::TooLarge { limit: 2_048, .. }), "{found:?}");
}

#[test]
fn native_code_above_the_limit() {
    let mut values = Limits::small().values().clone();
    values.code_bytes = 2_048;
    let found = refusal_under(Limits::new(values).unwrap(), &Guest::new("num").build());
    assert!(matches!(found, Refusal::NativeCode { limit: 2_048, .. }), "{found:?}");
}

#[test]
fn a_file_that_compiles_too_long() {
    let mut values = Limits::small().values().clone();
    values.compile_time = std::time::Duration::from_millis(1);
    let found = refusal_under(Limits::new(values).unwrap(), &Guest::new("num").build());
    assert!(matches!(found, Refusal::CompileTime { .. }), "{found:?}");
}

#[test]
fn a_trap_in_describe() {
    let found = refusal(&Guest::new("num").hook("DESCRIBE", "unreachable").build());
    assert!(matches!(found, Refusal::Guest { call: "describe", reason: FailureReason::Trap, .. }), "{found:?}");
}

#[test]
fn a_loop_in_describe() {
    let found = refusal(&Guest::new("num").hook("DESCRIBE", "(loop $ever (br $ever))").build());
    assert!(matches!(found, Refusal::Guest { call: "describe", reason: FailureReason::Deadline, .. }), "{found:?}");
}

#[test]
fn memory_it_declares_above_the_limit() {
    let found = refusal(
        &Guest::new("num").renamed("(memory (export \"memory\") 2)", "(memory (export \"memory\") 257)").build(),
    );
    let memory = matches!(found, Refusal::Guest { call: "instantiation", reason: FailureReason::Memory, .. });
    assert!(memory, "{found:?}");
}

#[test]
fn a_descriptor_that_breaks_the_rules() {
    for (guest, wrong) in [
        (Guest::new("Num!"), "type-id"),
        (Guest::new("num").version("one"), "plugin-version"),
        (Guest::new("num").mapping("two\nlines"), "mapping-id"),
    ] {
        let found = refusal(&guest.build());
        assert!(matches!(found, Refusal::Descriptor { field, .. } if field == wrong), "{found:?}");
    }
}

#[test]
fn a_plugin_that_does_not_conform() {
    // Every name is the same: the smoke checks see that before anybody is called it.
    let found = refusal(&Guest::new("num").hook("NAME", "(local.set $n (i64.const 1000))").build());
    assert!(matches!(&found, Refusal::Conformance(failed) if !failed.is_empty()), "{found:?}");
}

#[test]
fn what_served_before_serves_on_and_the_file_is_listed() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    let path = bench.drop_file("bad.wasm", &Guest::new("num").version("2.0.0").hook("RENDER", "unreachable").build());
    bench.event(|event| matches!(event, PluginEvent::Refused { .. }));
    let list = host.list();
    assert_eq!(list.len(), 2, "{list:#?}");
    assert_eq!(list[0].state, PluginState::Active);
    assert_eq!(list[1].source.to_string(), path.display().to_string());
    assert_eq!(list[1].descriptor.as_ref().unwrap().version.to_string(), "2.0.0");
    assert_eq!(host.render("num", &spec(), &[span(1_000)]).unwrap(), ["1000"]);
}
