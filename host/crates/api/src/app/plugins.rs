//! Plugins as operators see them.

use std::sync::Arc;

use compact_str::CompactString;

use super::App;
use super::caller::{Caller, Role};
use super::error::AppError;
use super::names::of_type_error;
use super::output::Holding;
use crate::ports::{PluginStatus, ResourceTypes, RetireError};

impl App {
    /// Every plugin, serving or refused.
    pub fn plugins(&self, caller: &Caller) -> Result<Vec<PluginStatus>, AppError> {
        caller.needs(Role::Read)?;
        Ok(self.types.list())
    }

    /// Takes a type out of service; refused while pools use it.
    pub async fn retire_plugin(&self, caller: &Caller, type_id: &kernel::TypeId) -> Result<(), AppError> {
        self.turn(caller, type_id, |types, type_id| types.retire(type_id)).await
    }

    /// Lets a suspended or retired type serve again.
    pub async fn resume_plugin(&self, caller: &Caller, type_id: &kernel::TypeId) -> Result<(), AppError> {
        self.turn(caller, type_id, |types, type_id| types.resume(type_id)).await
    }

    async fn turn(
        &self,
        caller: &Caller,
        type_id: &kernel::TypeId,
        turn: fn(&dyn ResourceTypes, &kernel::TypeId) -> Result<(), RetireError>,
    ) -> Result<(), AppError> {
        caller.needs(Role::Admin)?;
        let (types, type_id) = (Arc::clone(&self.types), type_id.clone());
        // It is recorded on disk.
        match tokio::task::spawn_blocking(move || turn(&*types, &type_id)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RetireError::Unknown(type_id))) => Err(AppError::PluginUnknown { type_id }),
            Ok(Err(RetireError::InUse { type_id, pools })) => Err(AppError::PluginInUse { type_id, pools }),
            Ok(Err(RetireError::Storage(why))) => Err(AppError::Storage { why }),
            Err(ended) => Err(AppError::Storage { why: ended.to_string() }),
        }
    }

    /// Facts for the client that are true of this one allocation (RADIUS pairs, the bare address): asks the plugin. The
    /// pool's own are in its geometry.
    pub async fn attributes(&self, held: &Holding) -> Result<Vec<(CompactString, CompactString)>, AppError> {
        let (types, asked) = (Arc::clone(&self.types), held.clone());
        match tokio::task::spawn_blocking(move || types.attributes(&asked.pool, asked.allocation.span)).await {
            Ok(Ok(attributes)) => Ok(attributes),
            Ok(Err(error)) => Err(of_type_error(&held.pool, held.resource(), error)),
            Err(ended) => Err(AppError::PluginUnavailable {
                type_id: held.pool.draft.type_id.to_string(),
                why: ended.to_string(),
            }),
        }
    }
}
