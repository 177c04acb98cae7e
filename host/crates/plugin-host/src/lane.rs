//! One instance of a plugin and the pools it has open. A plugin has as many lanes as there are cores; whoever finds one
//! free uses it.
//!
//! Invariant: an open pool's handle belongs to the lane's present instance. [`Lane::discard`] drops both together.

use std::collections::HashMap;
use std::sync::Arc;

use nexus_plugin_contract::Layout;
use wasmtime::component::ResourceAny;

use crate::fault::Fault;
use crate::judge;
use crate::v1::{CallError, Component, Guest};

/// A pool's handle in one instance.
#[derive(Clone, Debug)]
pub(crate) struct OpenPool {
    pub(crate) handle: ResourceAny,
    pub(crate) layout: Arc<Layout>,
}

#[derive(Debug)]
struct Kept {
    pool: OpenPool,
    /// Keeps the text's address from being another's: the address is the key.
    spec: Arc<str>,
    used: u64,
}

/// One instance, made when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    guest: Option<Guest>,
    pools: HashMap<usize, Kept>,
    /// Counts uses, to tell the least recent.
    uses: u64,
}

impl Lane {
    /// The instance.
    pub(crate) fn guest(&mut self, component: &Component) -> Result<&mut Guest, Fault> {
        match &mut self.guest {
            Some(guest) => Ok(guest),
            empty => Ok(empty.insert(component.instantiate()?)),
        }
    }

    /// The instance with this pool open in it.
    pub(crate) fn pool(&mut self, component: &Component, spec: &Arc<str>) -> Result<(&mut Guest, OpenPool), CallError> {
        self.uses += 1;
        let key = Arc::as_ptr(spec).cast::<u8>().addr();
        if let Some(kept) = self.pools.get_mut(&key).filter(|kept| Arc::ptr_eq(&kept.spec, spec)) {
            kept.used = self.uses;
            let pool = kept.pool.clone();
            return Ok((self.guest(component)?, pool));
        }
        self.make_room(component)?;
        let limits = component.engine().limits();
        let guest = match &mut self.guest {
            Some(guest) => guest,
            empty => empty.insert(component.instantiate()?),
        };
        let handle = guest.open(spec)?;
        let layout = guest.layout(handle)?;
        // Checked when the pool was made; checked again because this may be another instance, or another version.
        judge::geometry(&layout, limits)?;
        let pool = OpenPool { handle, layout: Arc::new(layout) };
        self.pools.insert(key, Kept { pool: pool.clone(), spec: Arc::clone(spec), used: self.uses });
        Ok((guest, pool))
    }

    /// Throws the instance away, with all it had open.
    pub(crate) fn discard(&mut self) {
        self.pools.clear();
        self.guest = None;
    }

    fn make_room(&mut self, component: &Component) -> Result<(), Fault> {
        if self.pools.len() < component.engine().limits().values().open_pools {
            return Ok(());
        }
        let oldest = self.pools.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key);
        let Some(kept) = oldest.and_then(|key| self.pools.remove(&key)) else { return Ok(()) };
        self.guest(component)?.close(kept.pool.handle)
    }
}
