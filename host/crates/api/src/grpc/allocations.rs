//! `AllocationService`, and what it shares with `Nexus`.

use std::net::IpAddr;

use kernel::{Choice, ExplainedOutcome, SubscriberId};
use nexus_proto::v1;
use nexus_proto::v1::allocation_service_server::AllocationService;
use tonic::{Request, Response, Status, async_trait};

use super::refusal::refuse_item;
use super::show::{Detail, occupancy, timestamp};
use super::{Face, answer, read};
use crate::app::{AppError, Caller, Explained, Granted, HolderQuery, ListQuery, ReleaseScope, Select, read_id};

/// One request of many: its answer and how much of it the caller wants, or why it was refused.
pub(super) type ItemOutcome = Result<(Granted, Detail), AppError>;

impl Face {
    pub(super) async fn allocate_one(
        &self,
        caller: &Caller,
        request: v1::AllocateRequest,
    ) -> Result<v1::AllocateResponse, AppError> {
        let detail = Detail::of(request.omit_attributes);
        let input = read::allocate(request)?;
        let subscriber = input.subscriber.clone();
        match self.app.allocate(caller, input).await {
            Ok(granted) => Ok(self.granted(&granted, detail)),
            Err(error) => Err(self.perhaps_swapped(caller, error, subscriber.as_str())),
        }
    }

    /// Many requests in one journey to the kernel; outcomes in their order.
    pub(super) async fn allocate_all(
        &self,
        caller: &Caller,
        requests: impl Iterator<Item = v1::AllocateRequest>,
    ) -> Vec<ItemOutcome> {
        let mut inputs = Vec::new();
        let mut slots = Vec::new();
        for request in requests {
            let detail = Detail::of(request.omit_attributes);
            slots.push(read::allocate(request).map(|input| {
                let subscriber = input.subscriber.clone();
                inputs.push(input);
                (subscriber, detail)
            }));
        }
        let mut granted = self.app.allocate_many(caller, inputs).await.into_iter();
        let outcomes = slots.into_iter().map(|slot| {
            let (subscriber, detail) = slot?;
            match granted.next() {
                Some(Ok(granted)) => Ok((granted, detail)),
                Some(Err(error)) => Err(self.perhaps_swapped(caller, error, subscriber.as_str())),
                None => Err(AppError::Engine(crate::engine::EngineError::Stopped)),
            }
        });
        outcomes.collect()
    }

    pub(super) async fn release_some(
        &self,
        caller: &Caller,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, AppError> {
        let v1::ReleaseRequest { subscriber_id, pool_id, key, all, duid, iaid, resource, created_at } = request;
        let subscriber: SubscriberId = read_id("subscriber_id", &subscriber_id)?;
        let resource = read::resource(resource)?;
        let made_ms = read::timestamp("created_at", created_at)?;
        let select = Select { resource, made_ms, ..read::select(&pool_id, &key, &duid, iaid)? };
        let scope = if all { ReleaseScope::All } else { ReleaseScope::Shown };
        let released = self.app.release(caller, &subscriber, &select, scope).await;
        let released = released.map_err(|error| self.perhaps_swapped(caller, error, &subscriber_id))?;
        Ok(v1::ReleaseResponse { released: self.allocations(&released) })
    }

    pub(super) fn look_up(
        &self,
        caller: &Caller,
        request: &v1::LookupRequest,
    ) -> Result<v1::AllocateResponse, AppError> {
        let v1::LookupRequest { subscriber_id, pool_id, key, duid, iaid } = request;
        let subscriber: SubscriberId = read_id("subscriber_id", subscriber_id)?;
        let select = read::select(pool_id, key, duid, *iaid)?;
        let held = self.app.holdings(caller, &subscriber, &select);
        let held = held.map_err(|error| self.perhaps_swapped(caller, error, subscriber_id))?;
        let mut shown = self.held(&held.shown, Detail::Full);
        if held.all.len() > 1 {
            shown.allocations = self.allocations(&held.all);
        }
        Ok(shown)
    }

    async fn look_up_by_ip(
        &self,
        caller: &Caller,
        request: v1::LookupByIpRequest,
    ) -> Result<v1::AllocateResponse, AppError> {
        let v1::LookupByIpRequest { ip, realm } = request;
        let type_id = match ip.split('/').next().unwrap_or_default().parse() {
            Ok(IpAddr::V4(_)) => "ipv4",
            Ok(IpAddr::V6(_)) => "ipv6",
            Err(_) => return Err(AppError::invalid("ip", ip, "must be an IPv4 or IPv6 address")),
        };
        let type_id = Some(read_id("type", type_id)?);
        let realm = read::optional_id("realm", &realm)?;
        let query = HolderQuery { type_id, resource: ip.clone(), pool: None, realm, at_ms: None, past: 0 };
        let holders = self.app.holders(caller, &query).await?;
        let held = holders.current.first().ok_or(AppError::NoHolder { resource: ip, at: None })?;
        Ok(self.held(held, Detail::Full))
    }

    fn list_page(
        &self,
        caller: &Caller,
        request: v1::ListAllocationsRequest,
    ) -> Result<v1::ListAllocationsResponse, AppError> {
        let query = ListQuery {
            pool: read::optional_id("pool_id", &request.pool_id)?,
            subscriber: read::optional_id("subscriber_id", &request.subscriber_id)?,
            node: read::optional_id("node_id", &request.node_id)?,
            realm: read::optional_id("realm", &request.realm)?,
            resource: read::optional_text(request.resource),
            expiring_within_ms: None,
            cursor: read::optional_text(request.cursor),
            limit: read::limit(request.limit),
        };
        let page = self.app.list(caller, &query)?;
        Ok(v1::ListAllocationsResponse {
            allocations: self.allocations(&page.rows),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }

    fn expiring_page(&self, caller: &Caller, request: v1::ExpiringRequest) -> Result<v1::ExpiringResponse, AppError> {
        let Some(within_ms) = read::duration("within", request.within)? else {
            return Err(AppError::missing("within", "must be how long from now, such as 3600s"));
        };
        let query = ListQuery {
            pool: read::optional_id("pool_id", &request.pool_id)?,
            expiring_within_ms: Some(within_ms),
            cursor: read::optional_text(request.cursor),
            limit: read::limit(request.limit),
            ..ListQuery::default()
        };
        let before_ms = self.app.now_ms().saturating_add(within_ms);
        let page = self.app.list(caller, &query)?;
        Ok(v1::ExpiringResponse {
            allocations: self.allocations(&page.rows),
            expiring_before: Some(timestamp(before_ms)),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }

    async fn batch_all(&self, caller: &Caller, request: v1::BatchRequest) -> Result<v1::BatchResponse, AppError> {
        let most = self.app.settings().batch_limit;
        let count = request.requests.len();
        if count > most {
            return Err(AppError::invalid("requests", count, format!("must be at most {most} in one batch")));
        }
        let outcomes = self.allocate_all(caller, request.requests.into_iter()).await;
        let results = outcomes.into_iter().map(|outcome| {
            use v1::batch_result::Outcome;
            let outcome = match outcome {
                Ok((granted, detail)) => Outcome::Allocated(self.granted(&granted, detail)),
                Err(error) => Outcome::Error(refuse_item(&error)),
            };
            v1::BatchResult { outcome: Some(outcome) }
        });
        Ok(v1::BatchResponse { results: results.collect() })
    }

    async fn explain_one(&self, caller: &Caller, request: v1::ExplainRequest) -> Result<v1::ExplainResponse, AppError> {
        let Some(request) = request.request else {
            return Err(AppError::missing("request", "must be the allocate request to explain"));
        };
        let input = read::allocate(request)?;
        let subscriber = input.subscriber.clone();
        match self.app.explain(caller, input).await {
            Ok(explained) => Ok(explanation(&explained)),
            Err(error) => Err(self.perhaps_swapped(caller, error, subscriber.as_str())),
        }
    }
}

fn explanation(explained: &Explained) -> v1::ExplainResponse {
    let (outcome, choice) = match &explained.outcome {
        ExplainedOutcome::AlreadyHeld { .. } => (v1::ExplainOutcome::AlreadyHeld, v1::ExplainChoice::Unspecified),
        ExplainedOutcome::WouldGet { why, .. } => (v1::ExplainOutcome::WouldGet, choice(*why)),
        ExplainedOutcome::WouldFail(_) => (v1::ExplainOutcome::WouldFail, v1::ExplainChoice::Unspecified),
    };
    v1::ExplainResponse {
        outcome: outcome.into(),
        resource: explained.resource.as_ref().map_or_else(String::new, ToString::to_string),
        choice: choice.into(),
        error: explained.failure.as_ref().map(refuse_item),
        strategy: explained.strategy.to_string(),
        realm: explained.realm.as_ref().map_or_else(String::new, ToString::to_string),
        occupancy: Some(occupancy(&explained.occupancy)),
    }
}

fn choice(why: Choice) -> v1::ExplainChoice {
    match why {
        Choice::Reserved => v1::ExplainChoice::Reserved,
        Choice::Sticky => v1::ExplainChoice::Sticky,
        Choice::Asked => v1::ExplainChoice::Asked,
        Choice::Strategy => v1::ExplainChoice::Strategy,
        Choice::LongestRested => v1::ExplainChoice::LongestRested,
    }
}

#[async_trait]
impl AllocationService for Face {
    async fn allocate(&self, request: Request<v1::AllocateRequest>) -> Result<Response<v1::AllocateResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.allocate_one(&caller, request).await)
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.release_some(&caller, request).await)
    }

    async fn lookup_by_subscriber(
        &self,
        request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::AllocateResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.look_up(&caller, &request))
    }

    async fn lookup_by_ip(
        &self,
        request: Request<v1::LookupByIpRequest>,
    ) -> Result<Response<v1::AllocateResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.look_up_by_ip(&caller, request).await)
    }

    async fn list(
        &self,
        request: Request<v1::ListAllocationsRequest>,
    ) -> Result<Response<v1::ListAllocationsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.list_page(&caller, request))
    }

    async fn batch(&self, request: Request<v1::BatchRequest>) -> Result<Response<v1::BatchResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.batch_all(&caller, request).await)
    }

    async fn expiring(&self, request: Request<v1::ExpiringRequest>) -> Result<Response<v1::ExpiringResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.expiring_page(&caller, request))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.explain_one(&caller, request).await)
    }
}
