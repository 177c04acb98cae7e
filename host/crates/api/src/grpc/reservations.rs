//! `ReservationService`.

use std::collections::BTreeMap;

use kernel::SubscriberId;
use nexus_proto::v1;
use nexus_proto::v1::reservation_service_server::ReservationService;
use tonic::{Request, Response, Status, async_trait};

use super::{Face, answer, read, show};
use crate::app::{AppError, Caller, ReservationInput, ReservationQuery, read_id};

fn place(pool_id: &str, resource: String, attributes: BTreeMap<String, String>) -> Result<ReservationInput, AppError> {
    if resource.is_empty() {
        return Err(AppError::missing("resource", "must be the text of a resource of the pool"));
    }
    let attributes = read::attributes(attributes)?;
    Ok(ReservationInput { pool: read_id("pool_id", pool_id)?, resource, node: None, attributes })
}

impl Face {
    async fn add_one(
        &self,
        caller: &Caller,
        request: v1::AddReservationRequest,
    ) -> Result<v1::AddReservationResponse, AppError> {
        let v1::AddReservationRequest { pool_id, resource, subscriber_id, note, attributes } = request;
        let subscriber: SubscriberId = read_id("subscriber_id", &subscriber_id)?;
        let place = place(&pool_id, resource, attributes)?;
        let made = self.app.reserve(caller, &place, subscriber, &note).await?;
        Ok(v1::AddReservationResponse { reservation: Some(show::reservation(&made.reserved)), created: made.created })
    }

    fn list_reservations_page(
        &self,
        caller: &Caller,
        request: v1::ListReservationsRequest,
    ) -> Result<v1::ListReservationsResponse, AppError> {
        let query = ReservationQuery {
            pool: read::optional_id("pool_id", &request.pool_id)?,
            subscriber: read::optional_id("subscriber_id", &request.subscriber_id)?,
            cursor: read::optional_text(request.cursor),
            limit: read::limit(request.limit),
        };
        let page = self.app.reservations(caller, &query)?;
        Ok(v1::ListReservationsResponse {
            reservations: page.rows.iter().map(show::reservation).collect(),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }

    async fn remove_one(
        &self,
        caller: &Caller,
        request: v1::RemoveReservationRequest,
    ) -> Result<v1::RemoveReservationResponse, AppError> {
        let v1::RemoveReservationRequest { pool_id, resource, attributes } = request;
        let removed = self.app.unreserve(caller, &place(&pool_id, resource, attributes)?).await?;
        Ok(v1::RemoveReservationResponse { reservation: Some(show::reservation(&removed)) })
    }
}

#[async_trait]
impl ReservationService for Face {
    async fn add_reservation(
        &self,
        request: Request<v1::AddReservationRequest>,
    ) -> Result<Response<v1::AddReservationResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.add_one(&caller, request).await)
    }

    async fn list_reservations(
        &self,
        request: Request<v1::ListReservationsRequest>,
    ) -> Result<Response<v1::ListReservationsResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.list_reservations_page(&caller, request))
    }

    async fn remove_reservation(
        &self,
        request: Request<v1::RemoveReservationRequest>,
    ) -> Result<Response<v1::RemoveReservationResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.remove_one(&caller, request).await)
    }
}
