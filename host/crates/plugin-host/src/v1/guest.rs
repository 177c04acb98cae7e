//! One compiled component and one instance of it: the functions of `wit/geometry.wit`, each under its deadline.
//!
//! An instance that returned a [`Fault`] must not be used again: a trap poisons its whole store.

use std::sync::Arc;

use nexus_plugin_contract as contract;
use wasmtime::component::{HasSelf, Linker, ResourceAny};
use wasmtime::{ResourceLimiter, Store};

use crate::engine::{Metering, PluginEngine};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::preflight::Outline;
use crate::refusal::Refusal;

use super::bindings::nexus::allocator::log::{Host as LogHost, Level};
use super::bindings::{Allocator, AllocatorPre};
use super::convert::{attribute_in, attribute_out, descriptor_in, error_in, layout_in, plan_in, span_in, span_out};
use super::log::LogBudget;
use super::overtime::Overtime;
use super::{types, wit};

/// Fuel of a metered instance: more than any deadline lets it burn.
const FUEL: u64 = u64::MAX / 2;
/// Core instances of one component: its own, its adapters and the shims between them.
const CORE_INSTANCES: usize = 16;
/// Entries of one table.
const TABLE_ENTRIES: usize = 65_536;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The plugin answered with one of the interface's errors.
    Says(contract::PluginError),
    /// It did not answer, or not as promised.
    Fault(Fault),
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A component compiled and linked: ready to be instantiated any number of times.
pub(crate) struct Component {
    engine: Arc<PluginEngine>,
    pre: AllocatorPre<Host>,
    logs: Arc<LogBudget>,
    outline: Outline,
    metering: Metering,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("logs", &self.logs).field("outline", &self.outline).finish_non_exhaustive()
    }
}

impl Component {
    /// Checks, compiles and links a file. `label` names it in the log.
    pub(crate) fn new(
        engine: &Arc<PluginEngine>,
        metering: Metering,
        label: &str,
        bytes: &Arc<[u8]>,
    ) -> Result<Self, Refusal> {
        let limit = engine.limits().values().file_bytes;
        if bytes.len() > limit {
            return Err(Refusal::TooLarge { found: bytes.len() as u64, limit });
        }
        let outline = crate::preflight::inspect(bytes)?;
        let compiled = engine.compile(bytes)?;
        let misfit =
            |error: wasmtime::Error| Refusal::Interface(crate::printable::printable(&format!("{error:#}"), 512));
        let mut linker = Linker::new(engine.wasm());
        Allocator::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host).map_err(misfit)?;
        let pre = AllocatorPre::new(linker.instantiate_pre(&compiled).map_err(misfit)?).map_err(misfit)?;
        let logs = Arc::new(LogBudget::new(label.into(), engine.limits()));
        Ok(Self { engine: Arc::clone(engine), pre, logs, outline, metering })
    }

    /// Names it in the log by its type, once that is known.
    pub(crate) fn name(&mut self, type_id: &str) {
        self.logs = Arc::new(LogBudget::new(type_id.into(), self.engine.limits()));
    }

    pub(crate) fn engine(&self) -> &Arc<PluginEngine> {
        &self.engine
    }

    /// Bytes of native code.
    pub(crate) fn native_bytes(&self) -> usize {
        self.pre.instance_pre().component().text().len()
    }

    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }

    /// A fresh instance that shares nothing with those before it.
    pub(crate) fn instantiate(&self) -> Result<Guest, Fault> {
        let limits = self.engine.limits();
        let overtime = Overtime::of(limits.values().cold_cpu);
        let host = Host { bounds: Bounds::new(limits), logs: Arc::clone(&self.logs), overtime };
        let mut store = Store::new(self.engine.wasm(), host);
        let engine = Arc::clone(&self.engine);
        store.epoch_deadline_callback(move |mut context| {
            engine.wake();
            Ok(context.data_mut().overtime.look())
        });
        store.limiter(|host| &mut host.bounds);
        store.set_hostcall_fuel(limits.values().answer_bytes);
        store.set_max_component_handles(limits.values().handles);
        if self.metering == Metering::Fuel {
            store.set_fuel(FUEL).map_err(|error| Fault::of(&error, false))?;
        }
        store.set_epoch_deadline(limits.cold_ticks());
        self.engine.wake();
        match self.pre.instantiate(&mut store) {
            Ok(bindings) => Ok(Guest { engine: Arc::clone(&self.engine), store, bindings }),
            Err(error) => Err(Fault::of(&error, store.data().bounds.denied)),
        }
    }
}

/// One instance.
pub(crate) struct Guest {
    engine: Arc<PluginEngine>,
    store: Store<Host>,
    bindings: Allocator,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("plugin", &self.store.data().logs).finish_non_exhaustive()
    }
}

/// Which deadline a call has.
#[derive(Clone, Copy)]
enum Pace {
    Hot,
    Cold,
}

impl Guest {
    pub(crate) fn describe(&mut self) -> Result<contract::Descriptor, Fault> {
        self.call(Pace::Cold, |geometry, store| geometry.call_describe(store)).map(descriptor_in)
    }

    pub(crate) fn open(&mut self, spec: &str) -> Result<ResourceAny, CallError> {
        self.call(Pace::Cold, |geometry, store| geometry.pool().call_open(store, spec))?.map_err(says)
    }

    /// Drops a pool's handle, which runs the guest's destructor.
    pub(crate) fn close(&mut self, pool: ResourceAny) -> Result<(), Fault> {
        self.call(Pace::Cold, |_, store| pool.resource_drop(store))
    }

    pub(crate) fn layout(&mut self, pool: ResourceAny) -> Result<contract::Layout, Fault> {
        self.call(Pace::Cold, |geometry, store| geometry.pool().call_layout(store, pool)).map(layout_in)
    }

    pub(crate) fn render(
        &mut self,
        pool: ResourceAny,
        spans: impl Iterator<Item = contract::Span>,
    ) -> Result<Vec<String>, CallError> {
        let spans: Vec<types::Span> = spans.map(span_out).collect();
        self.call(Pace::Hot, |geometry, store| geometry.pool().call_render(store, pool, &spans))?.map_err(says)
    }

    pub(crate) fn parse(
        &mut self,
        pool: ResourceAny,
        names: &[String],
    ) -> Result<Vec<Result<contract::Span, contract::PluginError>>, Fault> {
        let spans = self.call(Pace::Hot, |geometry, store| geometry.pool().call_parse(store, pool, names))?;
        Ok(spans.into_iter().map(|span| span.map(span_in).map_err(error_in)).collect())
    }

    pub(crate) fn interpret(
        &mut self,
        pool: ResourceAny,
        hints: &[contract::Attribute],
    ) -> Result<contract::Plan, CallError> {
        let hints: Vec<types::Attribute> = hints.iter().map(attribute_out).collect();
        let plan = self.call(Pace::Hot, |geometry, store| geometry.pool().call_interpret(store, pool, &hints))?;
        plan.map(plan_in).map_err(says)
    }

    pub(crate) fn summarize(&mut self, pool: ResourceAny, run: contract::Span) -> Result<Vec<String>, CallError> {
        self.call(Pace::Cold, |geometry, store| geometry.pool().call_summarize(store, pool, span_out(run)))?
            .map_err(says)
    }

    pub(crate) fn attributes(
        &mut self,
        pool: ResourceAny,
        span: contract::Span,
    ) -> Result<Vec<contract::Attribute>, CallError> {
        let found =
            self.call(Pace::Cold, |geometry, store| geometry.pool().call_attributes(store, pool, span_out(span)))?;
        found.map(|list| list.into_iter().map(attribute_in).collect()).map_err(says)
    }

    /// Bytes of its linear memories.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().bounds.memory as u64
    }

    /// Fuel burnt since it was made; none unless metered.
    pub(crate) fn fuel(&self) -> Option<u64> {
        self.store.get_fuel().ok().map(|left| FUEL.saturating_sub(left))
    }

    fn call<T>(
        &mut self,
        pace: Pace,
        function: impl FnOnce(&wit::Guest, &mut Store<Host>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let limits = self.engine.limits();
        let (ticks, budget) = match pace {
            Pace::Hot => (limits.hot_ticks(), limits.values().hot_cpu),
            Pace::Cold => (limits.cold_ticks(), limits.values().cold_cpu),
        };
        self.store.set_epoch_deadline(ticks);
        self.store.data_mut().overtime = Overtime::of(budget);
        self.engine.wake();
        function(self.bindings.nexus_allocator_geometry(), &mut self.store)
            .map_err(|error| Fault::of(&error, self.store.data().bounds.denied))
    }
}

fn says(error: types::Error) -> CallError {
    CallError::Says(error_in(error))
}

/// What an instance's store carries.
struct Host {
    bounds: Bounds,
    logs: Arc<LogBudget>,
    overtime: Overtime,
}

impl types::Host for Host {}

impl LogHost for Host {
    fn write(&mut self, level: Level, message: String) {
        self.logs.write(level, &message);
    }
}

/// Counts what an instance has of what it may have.
struct Bounds {
    memory: usize,
    most_memory: usize,
    memories: usize,
    tables: usize,
    /// True once memory was asked for and refused: then the trap that follows has a name.
    denied: bool,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        let values = limits.values();
        Self {
            memory: 0,
            most_memory: values.memory_bytes,
            memories: values.memories,
            tables: values.tables,
            denied: false,
        }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        let granted = total <= self.most_memory;
        if granted {
            self.memory = total;
        } else {
            self.denied = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ENTRIES)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
