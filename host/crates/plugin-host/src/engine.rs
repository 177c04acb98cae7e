//! The wasm engine: how components are compiled, and the clock that ends their calls.
//!
//! Not here: what a component may import (`preflight`), and calling it (`v1`). Invariant: while any call runs, the epoch
//! grows by one each millisecond, so every call ends by its deadline and the overtime after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, OptLevel};

use crate::error::PluginHostError;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::v1::overtime;

/// Whether calls are measured in fuel (a measure that repeats, 11 % slower).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    Off,
    Fuel,
}

/// A wasmtime engine under [`Limits`], with its ticker.
#[derive(Debug)]
pub(crate) struct PluginEngine {
    engine: Engine,
    limits: Limits,
    ticker: Ticker,
    late: Arc<LateCompilations>,
}

impl PluginEngine {
    pub(crate) fn new(limits: Limits, metering: Metering) -> Result<Self, PluginHostError> {
        let engine =
            Engine::new(&config(&limits, metering)).map_err(|error| PluginHostError::Engine(error.to_string()))?;
        let ticker = Ticker::start(engine.clone(), limits.cold_ticks().max(limits.hot_ticks()) + overtime::LONGEST)?;
        Ok(Self { engine, limits, ticker, late: Arc::default() })
    }

    pub(crate) fn wasm(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// To be called before each guest call, after its deadline is set.
    pub(crate) fn wake(&self) {
        self.ticker.wake();
    }

    /// Native code of a component that passed `preflight`, made at low priority on a thread of its own.
    pub(crate) fn compile(&self, bytes: &Arc<[u8]>) -> Result<Component, Refusal> {
        let limits = self.limits.values();
        self.late.wait_until_none(limits.compile_time)?;
        let (engine, input) = (self.engine.clone(), Arc::clone(bytes));
        let (sender, receiver) = sync_channel(1);
        let (late, stage) = (Arc::clone(&self.late), Arc::new(AtomicU8::new(RUNNING)));
        let mine = Arc::clone(&stage);
        // Not joined when it is late: Cranelift cannot be interrupted, and nothing waits for a hostile file. No other
        // compilation begins while one is late, and it only computes.
        thread::Builder::new()
            .name("plugin-compile".into())
            .spawn(move || {
                yield_to_others();
                let compiled = Component::new(&engine, &input).map_err(|error| Refusal::Compile(format!("{error:#}")));
                // The receiver is gone if this came too late; then the result is of no use.
                let _ = sender.send(compiled);
                if stage.swap(FINISHED, Ordering::AcqRel) == LATE {
                    late.end();
                }
            })
            .map_err(|error| Refusal::Compile(format!("no thread for it: {error}")))?;
        let component = match receiver.recv_timeout(limits.compile_time) {
            Ok(compiled) => compiled?,
            Err(RecvTimeoutError::Timeout) => {
                self.late.begin();
                if mine.compare_exchange(RUNNING, LATE, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    self.late.end();
                }
                return Err(Refusal::CompileTime { limit: limits.compile_time });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Refusal::Compile("the compiler gave up".into())),
        };
        let found = component.text().len();
        if found > limits.code_bytes {
            return Err(Refusal::NativeCode { found, limit: limits.code_bytes });
        }
        Ok(component)
    }
}

const RUNNING: u8 = 0;
const FINISHED: u8 = 1;
/// Nobody waits for it any more.
const LATE: u8 = 2;

/// Compilations that ran past their time and are still going.
#[derive(Debug, Default)]
struct LateCompilations {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl LateCompilations {
    fn begin(&self) {
        *self.count.lock() += 1;
    }

    fn end(&self) {
        *self.count.lock() -= 1;
        self.fewer.notify_all();
    }

    fn wait_until_none(&self, most: Duration) -> Result<(), Refusal> {
        let waited = self.fewer.wait_while_for(&mut self.count.lock(), |count| *count > 0, most);
        if waited.timed_out() { Err(Refusal::CompilerBusy) } else { Ok(()) }
    }
}

/// Lowers this thread's priority so that compiling never slows serving.
pub(crate) fn yield_to_others() {
    // On Linux "process 0" is the calling thread. Refused: the compilation is just not as polite.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

fn config(limits: &Limits, metering: Metering) -> Config {
    let values = limits.values();
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .max_wasm_stack(values.stack_bytes)
        // An idle daemon with five plugins must stay small: reserve what a plugin may use, not the default 4 GiB.
        .memory_reservation(values.memory_bytes as u64)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 * 1024)
        .memory_may_move(false)
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_backtrace_max_frames(None);
    config
}

/// Advances the epoch each millisecond while calls are made, and sleeps when none were for longer than any deadline: an
/// idle daemon wakes for nothing.
#[derive(Debug)]
struct Ticker {
    shared: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct TickerState {
    /// Set by callers, cleared once a window.
    used: AtomicBool,
    parked: AtomicBool,
    stop: AtomicBool,
}

const TICK: Duration = Duration::from_millis(1);

impl Ticker {
    /// `longest`: the longest deadline in ticks. A window is longer than that, so a call that began in one window still
    /// sees ticks until its deadline if nobody calls again.
    fn start(engine: Engine, longest: u64) -> Result<Self, PluginHostError> {
        let shared = Arc::new(TickerState::default());
        let state = Arc::clone(&shared);
        let window = longest.saturating_add(2);
        let thread = thread::Builder::new()
            .name("plugin-ticker".into())
            .spawn(move || state.run(&engine, window))
            .map_err(|source| PluginHostError::Thread { name: "plugin-ticker", source })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn wake(&self) {
        // Loads before stores: in a busy daemon the line stays shared between the cores.
        if !self.shared.used.load(Ordering::SeqCst) {
            self.shared.used.store(true, Ordering::SeqCst);
        }
        if self.shared.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl TickerState {
    fn run(&self, engine: &Engine, window: u64) {
        while !self.stop.load(Ordering::SeqCst) {
            self.parked.store(true, Ordering::SeqCst);
            if !self.used.swap(false, Ordering::SeqCst) {
                thread::park();
                self.parked.store(false, Ordering::SeqCst);
                continue;
            }
            self.parked.store(false, Ordering::SeqCst);
            for _ in 0..window {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and that was reported when it did.
            let _ = thread.join();
        }
    }
}
