//! `PoolService`.

use kernel::{CommandError, Revision};
use nexus_proto::v1;
use nexus_proto::v1::pool_service_server::PoolService;
use tonic::{Request, Response, Status, async_trait};

use super::refusal::{refuse, refuse_held};
use super::show::{self, grains};
use super::{Face, answer, read};
use crate::app::{AppError, Caller, DeleteMode, PoolInput, PoolQuery, UpdateMode, capacity, read_id};

impl Face {
    async fn create(
        &self,
        caller: &Caller,
        request: v1::CreatePoolRequest,
    ) -> Result<v1::CreatePoolResponse, AppError> {
        use v1::create_pool_request::Pool;
        let input = match request.pool {
            Some(Pool::Definition(definition)) => read::pool_definition(definition, None),
            Some(Pool::Document(document)) => read::pool_document(&document, None),
            None => Err(no_pool()),
        }?;
        if request.dry_run {
            let would = self.app.check_pool(caller, input).await?;
            return Ok(v1::CreatePoolResponse { pool: Some(show::pool(&would.pool)), created: would.added_grains > 0 });
        }
        let made = self.app.create_pool(caller, input).await?;
        Ok(v1::CreatePoolResponse { pool: Some(show::pool(&made.pool)), created: made.created })
    }

    fn list_pools_page(
        &self,
        caller: &Caller,
        request: v1::ListPoolsRequest,
    ) -> Result<v1::ListPoolsResponse, AppError> {
        let query = PoolQuery {
            type_id: read::optional_id("type", &request.r#type)?,
            cursor: read::optional_text(request.cursor),
            limit: read::limit(request.limit),
        };
        let page = self.app.pools(caller, &query)?;
        Ok(v1::ListPoolsResponse {
            pools: page.rows.iter().map(|pool| show::pool(pool)).collect(),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }

    async fn update(
        &self,
        caller: &Caller,
        request: v1::UpdatePoolRequest,
    ) -> Result<v1::UpdatePoolResponse, AppError> {
        use v1::update_pool_request::Pool;
        let id = read::optional_text(request.pool_id);
        let mut input = match request.pool {
            Some(Pool::Definition(definition)) => read::pool_definition(definition, id.as_deref()),
            Some(Pool::Document(document)) => read::pool_document(&document, id.as_deref()),
            None => Err(no_pool()),
        }?;
        if request.expected_revision != 0 {
            input.revision = Some(Revision(request.expected_revision));
        }
        let mode = if request.dry_run { UpdateMode::DryRun } else { UpdateMode::Apply };
        let updated = self.app.update_pool(caller, input, mode).await?;
        Ok(v1::UpdatePoolResponse {
            pool: Some(show::pool(&updated.pool)),
            added: Some(grains(updated.added_grains)),
            removed: Some(grains(updated.removed_grains)),
        })
    }

    async fn apply(&self, caller: &Caller, request: v1::ApplyPoolRequest) -> Result<v1::ApplyPoolResponse, AppError> {
        use v1::apply_pool_request::Pool;
        let input = match request.pool {
            Some(Pool::Definition(definition)) => read::pool_definition(definition, None),
            Some(Pool::Document(document)) => read::pool_document(&document, None),
            None => Err(no_pool()),
        }?;
        if !request.dry_run {
            if !request.beside.is_empty() {
                return Err(AppError::missing("beside", "belongs to dry_run: without it the pools are there"));
            }
            return self.apply_now(caller, input).await;
        }
        let beside = request.beside.iter().enumerate().map(|(at, document)| read::pool_beside(at, document));
        self.would_apply(caller, input, beside.collect::<Result<_, _>>()?).await
    }

    async fn apply_now(&self, caller: &Caller, input: PoolInput) -> Result<v1::ApplyPoolResponse, AppError> {
        match self.app.create_pool(caller, input.clone()).await {
            Ok(made) => {
                let outcome = if made.created { v1::ApplyOutcome::Created } else { v1::ApplyOutcome::Unchanged };
                let added = if made.created { capacity(&made.pool) } else { 0 };
                Ok(applied(outcome, &made.pool, (added, 0)))
            }
            Err(AppError::Refused { error, .. }) if matches!(*error, CommandError::PoolDiffers { .. }) => {
                let updated = self.app.update_pool(caller, input, UpdateMode::Apply).await?;
                let change = (updated.added_grains, updated.removed_grains);
                Ok(applied(v1::ApplyOutcome::Updated, &updated.pool, change))
            }
            Err(error) => Err(error),
        }
    }

    async fn would_apply(
        &self,
        caller: &Caller,
        input: PoolInput,
        beside: Vec<PoolInput>,
    ) -> Result<v1::ApplyPoolResponse, AppError> {
        match self.app.pool(caller, &input.id) {
            Ok(there) => {
                let would = self.app.update_pool(caller, input, UpdateMode::DryRun).await?;
                self.app.check_beside(caller, &would.pool, beside).await?;
                let same = would.pool.draft == there.draft;
                let outcome = if same { v1::ApplyOutcome::Unchanged } else { v1::ApplyOutcome::Updated };
                Ok(applied(outcome, &would.pool, (would.added_grains, would.removed_grains)))
            }
            Err(AppError::PoolUnknown { .. }) => {
                let would = self.app.check_pool(caller, input).await?;
                self.app.check_beside(caller, &would.pool, beside).await?;
                Ok(applied(v1::ApplyOutcome::Created, &would.pool, (would.added_grains, 0)))
            }
            Err(error) => Err(error),
        }
    }

    /// A change that would take away what is held is refused with the holders.
    fn refuse_change(&self, caller: &Caller, error: &AppError) -> Status {
        let AppError::Refused { error: refused, .. } = error else { return refuse(error) };
        let CommandError::SpansHeld { pool, holders, .. } = &**refused else { return refuse(error) };
        let Ok(pool) = self.app.pool(caller, pool) else { return refuse(error) };
        let in_the_way = holders.iter().filter_map(|(span, holder)| {
            let resource = self.app.render_one(&pool, *span).ok()?;
            Some((resource.to_string(), holder.to_string()))
        });
        refuse_held(error, in_the_way)
    }

    async fn delete(
        &self,
        caller: &Caller,
        request: v1::DeletePoolRequest,
    ) -> Result<v1::DeletePoolResponse, AppError> {
        let mode = if request.force { DeleteMode::Force } else { DeleteMode::IfUnused };
        let released = self.app.delete_pool(caller, &read_id("pool_id", &request.pool_id)?, mode).await?;
        Ok(v1::DeletePoolResponse { released })
    }

    async fn stats(&self, caller: &Caller, request: v1::GetPoolStatsRequest) -> Result<v1::PoolStats, AppError> {
        let stats = self.app.pool_stats(caller, &read_id("pool_id", &request.pool_id)?).await?;
        Ok(show::stats(&stats))
    }
}

fn no_pool() -> AppError {
    AppError::missing("pool", "must be given, as a definition or as a document")
}

fn applied(outcome: v1::ApplyOutcome, pool: &kernel::Pool, change: (u128, u128)) -> v1::ApplyPoolResponse {
    v1::ApplyPoolResponse {
        outcome: outcome.into(),
        pool: Some(show::pool(pool)),
        added: Some(grains(change.0)),
        removed: Some(grains(change.1)),
    }
}

#[async_trait]
impl PoolService for Face {
    async fn create_pool(
        &self,
        request: Request<v1::CreatePoolRequest>,
    ) -> Result<Response<v1::CreatePoolResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.create(&caller, request).await)
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Result<Response<v1::Pool>, Status> {
        let (caller, request) = self.open(request)?;
        let found = read_id("pool_id", &request.pool_id).and_then(|id| self.app.pool(&caller, &id));
        answer(found.map(|pool| show::pool(&pool)))
    }

    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.list_pools_page(&caller, request))
    }

    async fn update_pool(
        &self,
        request: Request<v1::UpdatePoolRequest>,
    ) -> Result<Response<v1::UpdatePoolResponse>, Status> {
        let (caller, request) = self.open(request)?;
        self.update(&caller, request).await.map(Response::new).map_err(|error| self.refuse_change(&caller, &error))
    }

    async fn delete_pool(
        &self,
        request: Request<v1::DeletePoolRequest>,
    ) -> Result<Response<v1::DeletePoolResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.delete(&caller, request).await)
    }

    async fn get_pool_stats(
        &self,
        request: Request<v1::GetPoolStatsRequest>,
    ) -> Result<Response<v1::PoolStats>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.stats(&caller, request).await)
    }

    async fn apply_pool(
        &self,
        request: Request<v1::ApplyPoolRequest>,
    ) -> Result<Response<v1::ApplyPoolResponse>, Status> {
        let (caller, request) = self.open(request)?;
        self.apply(&caller, request).await.map(Response::new).map_err(|error| self.refuse_change(&caller, &error))
    }
}
