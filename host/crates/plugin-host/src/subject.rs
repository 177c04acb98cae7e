//! A component as the conformance kit sees it.

use std::collections::BTreeMap;

use nexus_plugin_conformance::{Broken, CallError, Instance, PoolHandle, Profile, Report, Structure, Subject, Usage};
use nexus_plugin_contract::{Attribute, Descriptor, Layout, Plan, PluginError, Span};
use wasmtime::component::ResourceAny;

use crate::fault::Fault;
use crate::refusal::Refusal;
use crate::v1::{self, Component, Guest};

const TYPES: &str = "nexus:allocator/types@";
/// Failed checks shown of one report.
const MOST_SHOWN: usize = 8;

/// The checks a component must pass before it serves.
pub(crate) fn smoke(component: &Component, file_bytes: usize) -> Result<(), Refusal> {
    let report = conform(component, file_bytes, Profile::Smoke);
    if report.passed() {
        return Ok(());
    }
    let shown = report.failures().take(MOST_SHOWN);
    Err(Refusal::Conformance(
        shown.map(|(name, why)| crate::printable::printable(&format!("{name}: {why}"), 512)).collect(),
    ))
}

/// Runs the kit on a component.
pub(crate) fn conform(component: &Component, file_bytes: usize, profile: Profile) -> Report {
    nexus_plugin_conformance::check(&ComponentSubject { component, file_bytes: file_bytes as u64 }, profile)
}

struct ComponentSubject<'a> {
    component: &'a Component,
    file_bytes: u64,
}

impl Subject for ComponentSubject<'_> {
    fn structure(&self) -> Option<Structure> {
        let outline = self.component.outline();
        Some(Structure {
            file_bytes: self.file_bytes,
            // `types` has no function: a component names it only to say where its records come from.
            imports: outline.imports.iter().filter(|name| !name.starts_with(TYPES)).cloned().collect(),
            exports: outline.exports.clone(),
        })
    }

    fn instantiate(&self) -> Result<Box<dyn Instance + '_>, Broken> {
        let guest = self.component.instantiate().map_err(|fault| broken(&fault))?;
        Ok(Box::new(ComponentInstance { guest, pools: BTreeMap::new(), next: 0 }))
    }
}

struct ComponentInstance {
    guest: Guest,
    pools: BTreeMap<u64, ResourceAny>,
    next: u64,
}

impl ComponentInstance {
    fn pool(&self, PoolHandle(number): PoolHandle) -> Result<ResourceAny, Broken> {
        self.pools.get(&number).copied().ok_or_else(|| Broken(format!("pool {number} is not open")))
    }
}

fn broken(fault: &Fault) -> Broken {
    Broken(fault.to_string())
}

fn call_error(error: v1::CallError) -> CallError {
    match error {
        v1::CallError::Says(said) => CallError::Refused(said),
        v1::CallError::Fault(fault) => CallError::Broken(broken(&fault)),
    }
}

impl Instance for ComponentInstance {
    fn describe(&mut self) -> Result<Descriptor, Broken> {
        self.guest.describe().map_err(|fault| broken(&fault))
    }

    fn open(&mut self, spec: &str) -> Result<PoolHandle, CallError> {
        let pool = self.guest.open(spec).map_err(call_error)?;
        self.next += 1;
        self.pools.insert(self.next, pool);
        Ok(PoolHandle(self.next))
    }

    fn close(&mut self, pool: PoolHandle) -> Result<(), Broken> {
        let handle = self.pool(pool)?;
        self.pools.remove(&pool.0);
        self.guest.close(handle).map_err(|fault| broken(&fault))
    }

    fn layout(&mut self, pool: PoolHandle) -> Result<Layout, Broken> {
        let pool = self.pool(pool)?;
        self.guest.layout(pool).map_err(|fault| broken(&fault))
    }

    fn render(&mut self, pool: PoolHandle, spans: &[Span]) -> Result<Vec<String>, CallError> {
        let pool = self.pool(pool)?;
        self.guest.render(pool, spans.iter().copied()).map_err(call_error)
    }

    fn parse(&mut self, pool: PoolHandle, names: &[String]) -> Result<Vec<Result<Span, PluginError>>, Broken> {
        let pool = self.pool(pool)?;
        self.guest.parse(pool, names).map_err(|fault| broken(&fault))
    }

    fn interpret(&mut self, pool: PoolHandle, hints: &[Attribute]) -> Result<Plan, CallError> {
        let pool = self.pool(pool)?;
        self.guest.interpret(pool, hints).map_err(call_error)
    }

    fn summarize(&mut self, pool: PoolHandle, run: Span) -> Result<Vec<String>, CallError> {
        let pool = self.pool(pool)?;
        self.guest.summarize(pool, run).map_err(call_error)
    }

    fn attributes(&mut self, pool: PoolHandle, span: Span) -> Result<Vec<Attribute>, CallError> {
        let pool = self.pool(pool)?;
        self.guest.attributes(pool, span).map_err(call_error)
    }

    fn usage(&mut self) -> Usage {
        Usage { memory_bytes: Some(self.guest.memory_bytes()), fuel: self.guest.fuel() }
    }
}
