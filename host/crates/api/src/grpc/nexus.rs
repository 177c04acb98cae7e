//! `Nexus`: what a BNG calls.

use futures_util::stream::BoxStream;
use kernel::SubscriberId;
use nexus_proto::v1;
use nexus_proto::v1::nexus_server::Nexus;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::show::{self, Detail, durability, timestamp};
use super::{Face, answer, read, refuse};
use crate::app::{AppError, Caller, HolderQuery, read_id};

impl Face {
    async fn renew_some(&self, caller: &Caller, request: v1::RenewRequest) -> Result<v1::RenewResponse, AppError> {
        let v1::RenewRequest { subscriber_id, pool_id, key, ttl, duid, iaid } = request;
        let subscriber: SubscriberId = read_id("subscriber_id", &subscriber_id)?;
        let select = read::select(&pool_id, &key, &duid, iaid)?;
        let renewed = self.app.renew(caller, &subscriber, &select, read::ttl(ttl)?).await;
        let renewed = renewed.map_err(|error| self.perhaps_swapped(caller, error, &subscriber_id))?;
        let renewed = renewed.iter().map(|granted| {
            let durability = durability(Some(granted.durability)).into();
            v1::Allocation { durability, ..self.allocation(&granted.holding, Detail::Full) }
        });
        Ok(v1::RenewResponse { renewed: renewed.collect() })
    }

    async fn look_up_by_resource(
        &self,
        caller: &Caller,
        request: v1::LookupByResourceRequest,
    ) -> Result<v1::LookupByResourceResponse, AppError> {
        let v1::LookupByResourceRequest { r#type, resource, realm, at, pool_id, past } = request;
        if resource.is_empty() {
            return Err(AppError::missing("resource", "must be the text of a resource"));
        }
        let query = HolderQuery {
            type_id: read::optional_id("type", &r#type)?,
            resource,
            pool: read::optional_id("pool_id", &pool_id)?,
            realm: read::optional_id("realm", &realm)?,
            at_ms: read::timestamp("at", at)?,
            past: usize::try_from(past).unwrap_or(usize::MAX),
        };
        let holders = self.app.holders(caller, &query).await?;
        Ok(v1::LookupByResourceResponse {
            holders: self.allocations(&holders.current),
            past: holders.past.iter().map(show::past).collect(),
            history_from: holders.history_from_ms.map(timestamp),
        })
    }
}

#[async_trait]
impl Nexus for Face {
    type WatchAllocationsStream = BoxStream<'static, Result<v1::WatchAllocationsResponse, Status>>;
    type AllocateStreamStream = BoxStream<'static, Result<v1::AllocateStreamResponse, Status>>;

    async fn allocate(&self, request: Request<v1::AllocateRequest>) -> Result<Response<v1::AllocateResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.allocate_one(&caller, request).await)
    }

    async fn deallocate(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.release_some(&caller, request).await)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.renew_some(&caller, request).await)
    }

    async fn get_allocation(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::AllocateResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.look_up(&caller, &request))
    }

    async fn lookup_by_resource(
        &self,
        request: Request<v1::LookupByResourceRequest>,
    ) -> Result<Response<v1::LookupByResourceResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.look_up_by_resource(&caller, request).await)
    }

    async fn watch_allocations(
        &self,
        request: Request<v1::WatchAllocationsRequest>,
    ) -> Result<Response<Self::WatchAllocationsStream>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.watch(&caller, &request))
    }

    async fn allocate_stream(
        &self,
        request: Request<Streaming<v1::AllocateStreamRequest>>,
    ) -> Result<Response<Self::AllocateStreamStream>, Status> {
        let (caller, requests) = self.open(request)?;
        caller.needs(crate::app::Role::Allocate).map_err(|error| refuse(&error))?;
        Ok(Response::new(self.allocate_on_stream(caller, requests)))
    }
}
