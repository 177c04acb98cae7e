//! What does a plugin cost: a call with numbers only, a batch of 64 names, a compilation, an instance? Baselines measured
//! with wasmtime alone on two cores: 0.17 µs, 0.32 µs a name, 20 ms, 36 µs.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::Span;
use plugin_host::{Limits, NoPools, PluginHost, PluginMetrics, Settings, check_file};

const TYPE: &str = "ipv4";
const SPEC: &str = r#"{"cidr":"100.64.0.0/10"}"#;

fn main() {
    let dir = std::env::var_os("NEXUS_PLUGINS_DIR").map_or_else(default_dir, PathBuf::from);
    let Ok(bytes) = std::fs::read(dir.join("ipv4.wasm")) else {
        eprintln!("no plugins: run cargo xtask plugins or set plugins.dir");
        std::process::exit(2);
    };
    let started = Instant::now();
    let checked = check_file(Limits::small(), &bytes).expect("an engine");
    assert!(checked.passed, "{:?}\n{}", checked.descriptor, checked.report);
    report("check: the whole conformance kit, with fuel", started.elapsed(), 1, "");
    report("compile", checked.compile_time, 1, "20 ms");
    report("instantiate", checked.instantiate_time, 1, "36 us");
    let state = tempfile::tempdir().expect("a temporary directory");
    let settings = || Settings {
        limits: Limits::small(),
        state_dir: state.path().into(),
        embedded: vec![(TYPE.into(), bytes.clone())],
        plugins_dir: None,
        settle: Duration::from_secs(2),
        rescan: Duration::from_secs(30),
        lanes: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        live: Arc::new(NoPools),
        metrics: PluginMetrics::new().expect("metrics"),
        events: Arc::new(drop),
    };
    time("first start: compile and smoke checks", 1, "", || drop(PluginHost::start(settings())));
    time("next start: compile", 1, "", || drop(PluginHost::start(settings())));
    let host = PluginHost::start(settings()).expect("a host");
    let spec: Arc<str> = SPEC.into();
    time("interpret without hints (numbers only)", 1, "0.17 us", || drop(black_box(host.interpret(TYPE, &spec, &[]))));
    let first = 0x6440_0001_u128;
    for count in [1, 64, 1_024_u64] {
        let spans: Vec<Span> = (0..u128::from(count)).filter_map(|n| Span::new(first + n, 1)).collect();
        let what = format!("render a name, {count} a call");
        time(&what, count, "0.32 us", || drop(black_box(host.render(TYPE, &spec, &spans))));
    }
    time("open a spec", 1, "", || drop(black_box(host.open(TYPE, SPEC))));
}

/// Runs `body` for about half a second and prints what one of its `parts` costs.
fn time(what: &str, parts: u64, baseline: &str, mut body: impl FnMut()) {
    let (started, mut runs) = (Instant::now(), 0);
    while runs == 0 || started.elapsed() < Duration::from_millis(500) {
        body();
        runs += 1;
    }
    report(what, started.elapsed(), runs * parts, baseline);
}

#[allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "a figure for people, on the terminal")]
fn report(what: &str, elapsed: Duration, runs: u64, baseline: &str) {
    let micros = elapsed.as_secs_f64() * 1e6 / runs as f64;
    println!("{what:<44}{micros:>12.3} us    baseline {}", if baseline.is_empty() { "-" } else { baseline });
}

/// `<target-dir>/nexus-plugins`: benches lie in `<target-dir>/<profile>/deps`.
fn default_dir() -> PathBuf {
    let bench = std::env::current_exe().unwrap_or_default();
    bench.ancestors().nth(3).unwrap_or(&bench).join("nexus-plugins")
}
