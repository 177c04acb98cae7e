//! `ConflictService`.

use nexus_proto::v1;
use nexus_proto::v1::conflict_service_server::ConflictService;
use tonic::{Request, Response, Status, async_trait};

use super::{Face, answer, read};
use crate::app::{AppError, Caller, ConflictQuery};

impl Face {
    fn conflicts_page(
        &self,
        caller: &Caller,
        request: v1::ListConflictsRequest,
    ) -> Result<v1::ListConflictsResponse, AppError> {
        let query = ConflictQuery {
            pool: read::optional_id("pool_id", &request.pool_id)?,
            subscriber: read::optional_id("subscriber_id", &request.subscriber_id)?,
            cursor: read::optional_text(request.cursor),
            limit: read::limit(request.limit),
        };
        let page = self.app.conflicts(caller, &query)?;
        Ok(v1::ListConflictsResponse {
            conflicts: page.rows.iter().map(|conflict| self.conflict(conflict)).collect(),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }
}

#[async_trait]
impl ConflictService for Face {
    async fn list_conflicts(
        &self,
        request: Request<v1::ListConflictsRequest>,
    ) -> Result<Response<v1::ListConflictsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.conflicts_page(&caller, request))
    }

    async fn confirm_conflict(
        &self,
        request: Request<v1::ConfirmConflictRequest>,
    ) -> Result<Response<v1::ConfirmConflictResponse>, Status> {
        let (caller, request) = self.open(request)?;
        let closed = self.app.confirm(&caller, &request.id).await;
        answer(closed.map(|closed| v1::ConfirmConflictResponse { conflict: Some(self.conflict(&closed)) }))
    }
}
