//! A resource type as native code: what an author's tests check.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nexus_plugin_contract::{Attribute, Descriptor, Layout, Plan, PluginError, ResourceType, Span};

use crate::subject::{Broken, CallError, Instance, PoolHandle, Structure, Subject, Usage};

/// The [`Subject`] of a [`ResourceType`]. A panic is what a trap is in a component: a broken call.
#[derive(Debug)]
pub struct Native<T>(PhantomData<T>);

impl<T> Native<T> {
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Native<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ResourceType> Subject for Native<T> {
    fn structure(&self) -> Option<Structure> {
        None
    }

    fn instantiate(&self) -> Result<Box<dyn Instance + '_>, Broken> {
        Ok(Box::new(NativeInstance::<T> { pools: BTreeMap::new(), next: 0 }))
    }
}

struct NativeInstance<T> {
    pools: BTreeMap<PoolHandle, T>,
    next: u64,
}

impl<T: ResourceType> NativeInstance<T> {
    fn call<R>(&self, pool: PoolHandle, call: impl FnOnce(&T) -> R) -> Result<R, Broken> {
        let pool = self.pools.get(&pool).ok_or_else(|| Broken(format!("pool handle {} is not open", pool.0)))?;
        guarded(|| call(pool))
    }
}

fn guarded<R>(call: impl FnOnce() -> R) -> Result<R, Broken> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| Broken(format!("panicked: {}", text(panic.as_ref()))))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

impl<T: ResourceType> Instance for NativeInstance<T> {
    fn describe(&mut self) -> Result<Descriptor, Broken> {
        guarded(T::describe)
    }

    fn open(&mut self, spec: &str) -> Result<PoolHandle, CallError> {
        let pool = guarded(|| T::open(spec))??;
        let handle = PoolHandle(self.next);
        self.next += 1;
        self.pools.insert(handle, pool);
        Ok(handle)
    }

    fn close(&mut self, pool: PoolHandle) -> Result<(), Broken> {
        self.pools.remove(&pool).map(|_| ()).ok_or_else(|| Broken(format!("pool handle {} is not open", pool.0)))
    }

    fn layout(&mut self, pool: PoolHandle) -> Result<Layout, Broken> {
        self.call(pool, T::layout)
    }

    fn render(&mut self, pool: PoolHandle, spans: &[Span]) -> Result<Vec<String>, CallError> {
        Ok(self.call(pool, |pool| spans.iter().map(|span| pool.render(*span)).collect::<Result<_, _>>())??)
    }

    fn parse(&mut self, pool: PoolHandle, names: &[String]) -> Result<Vec<Result<Span, PluginError>>, Broken> {
        self.call(pool, |pool| names.iter().map(|name| pool.parse(name)).collect())
    }

    fn interpret(&mut self, pool: PoolHandle, hints: &[Attribute]) -> Result<Plan, CallError> {
        Ok(self.call(pool, |pool| pool.interpret(hints))??)
    }

    fn summarize(&mut self, pool: PoolHandle, run: Span) -> Result<Vec<String>, CallError> {
        Ok(self.call(pool, |pool| pool.summarize(run))??)
    }

    fn attributes(&mut self, pool: PoolHandle, span: Span) -> Result<Vec<Attribute>, CallError> {
        Ok(self.call(pool, |pool| pool.attributes(span))??)
    }

    fn usage(&mut self) -> Usage {
        Usage::default()
    }
}
