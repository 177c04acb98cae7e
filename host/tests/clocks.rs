//! Real daemons whose wall clocks differ: who is too far off is not let in, and does not stay.

#![allow(clippy::indexing_slicing, reason = "a test that finds nothing there has failed")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::hosts::{Hosts, pool};
use common::{directory, wait_for};
use serde_json::json;

/// Puts itself before the C library's clock: the wall clock is off by `CLOCK_OFF_BY` seconds, every other clock is as it is.
const SHIM: &str = r#"
use std::os::raw::{c_char, c_int, c_long};
#[repr(C)]
pub struct Timespec { seconds: i64, nanos: c_long }
unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn atol(text: *const c_char) -> c_long;
}
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, at: *mut Timespec) -> c_int {
    const CLOCK_GETTIME: c_long = if cfg!(target_arch = "aarch64") { 113 } else { 228 };
    let done = unsafe { syscall(CLOCK_GETTIME, clock, at) } as c_int;
    let off = unsafe { getenv(c"CLOCK_OFF_BY".as_ptr()) };
    if done == 0 && clock == 0 && !off.is_null() {
        unsafe { (*at).seconds += atol(off) };
    }
    done
}
"#;

fn shim(dir: &Path) -> PathBuf {
    let (source, built) = (dir.join("clock.rs"), dir.join("libclock.so"));
    std::fs::write(&source, SHIM).expect("written");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"]).arg(&built).arg(&source);
    let said = command.output().expect("rustc runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    built
}

/// What a host says when it runs to its end, which must be a refusal, with a clock that is off by so many seconds.
fn refused_off(hosts: &Hosts, host: usize, shim: &Path, seconds: &str) -> String {
    let start = hosts.start_of(host).variable("LD_PRELOAD", shim.to_str().expect("plain"));
    let ended = start.variable("CLOCK_OFF_BY", seconds).command().output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("its clock is too far from most other hosts'"), "{said}");
    said
}

#[test]
fn a_member_that_comes_back_with_a_clock_an_hour_off_ends_and_says_why() {
    let dir = directory();
    let shim = shim(dir.path());
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    let answered = hosts.allocate_many(2, 0..20);
    hosts.kill(2);
    for seconds in ["3600", "-3600"] {
        let said = refused_off(&hosts, 2, &shim, seconds);
        assert!(said.contains("core-1 (") && said.contains("core-2 ("), "{said}");
    }
    // A little is allowed, and with the right time it is there again.
    hosts.start(2);
    hosts.await_held(&answered);
    assert!(!hosts.warnings(2).contains("clocks"), "{}", hosts.warnings(2));
}

#[test]
fn who_comes_back_a_day_ahead_ends_although_only_one_other_host_is_there_to_contradict() {
    let dir = directory();
    let shim = shim(dir.path());
    let mut hosts = Hosts::formed(3);
    hosts.create(0, &pool());
    let answered = hosts.allocate_many(2, 0..20);
    hosts.kill(1);
    hosts.kill(2);
    let said = refused_off(&hosts, 2, &shim, "86400");
    assert!(said.contains("core-1 (") && !said.contains("core-2 ("), "{said}");
    hosts.start(1);
    hosts.start(2);
    hosts.await_held(&answered);
}

#[test]
fn a_host_with_a_clock_an_hour_off_does_not_join() {
    let dir = directory();
    let shim = shim(dir.path());
    let mut hosts = Hosts::new(2);
    hosts.start(0);
    assert_eq!(hosts.post(0, "/api/v1/cluster/init", &json!({})).0, 200);
    let start = hosts.start_of(1).variable("LD_PRELOAD", shim.to_str().expect("plain"));
    let newcomer = start.variable("CLOCK_OFF_BY", "3600").run();
    let said = wait_for("it is refused", || {
        let (status, answer) = newcomer.post("/api/v1/cluster/join", &json!({}));
        let said = answer.to_string();
        (status == 409 || said.contains("clocks")).then_some(said)
    });
    assert!(said.contains("s apart, at most 30 s are allowed: let both follow a time server"), "{said}");
}
