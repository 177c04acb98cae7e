//! The gRPC face: package `nexus.v1` over the application layer.
//!
//! It reads messages, asks [`App`], and shows answers; it decides nothing that REST would have to decide too. [`serve`]
//! runs it on a listener until it is told to drain. [`client`] is the other end, for the operator's command and tests.

mod allocations;
pub mod client;
mod cluster;
mod conflicts;
mod metrics;
mod nexus;
mod notes;
mod plugins;
mod pools;
mod read;
mod refusal;
mod reservations;
mod server;
mod show;
mod stream;
#[cfg(test)]
mod tests;
mod unreadable;
mod watch;

use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::app::{App, AppError, Caller};
use crate::auth::{Authority, TENANT_HEADER};
use refusal::refuse;
pub use server::{ServeError, serve};

/// What all services share.
#[derive(Clone, Debug)]
struct Face {
    app: Arc<App>,
    authority: Arc<Authority>,
}

impl Face {
    /// Who calls, and with what.
    #[allow(clippy::result_large_err, reason = "a status is what every handler fails with")]
    fn open<T>(&self, request: Request<T>) -> Result<(Caller, T), Status> {
        let caller = self.caller(request.metadata()).map_err(|error| refuse(&error))?;
        Ok((caller, request.into_inner()))
    }

    fn caller(&self, metadata: &MetadataMap) -> Result<Caller, AppError> {
        // A header that is not text matches no token and is no tenant.
        let text = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap_or("?"));
        self.authority.check(text("authorization"), text(TENANT_HEADER))
    }

    /// An unknown pool whose name is in the subscriber's field: the caller has mixed them up.
    fn perhaps_swapped(&self, caller: &Caller, error: AppError, subscriber: &str) -> AppError {
        if let AppError::PoolUnknown { pool } = &error
            && self.app.names_a_pool(caller, subscriber)
            && let Ok(subscriber) = subscriber.parse()
        {
            return AppError::IdsSwapped { pool: pool.clone(), subscriber };
        }
        error
    }
}

/// An answer, or a refusal.
#[allow(clippy::result_large_err, reason = "a status is what every handler fails with")]
fn answer<T>(outcome: Result<T, AppError>) -> Result<Response<T>, Status> {
    match outcome {
        Ok(message) => Ok(Response::new(message)),
        Err(error) => Err(refuse(&error)),
    }
}
