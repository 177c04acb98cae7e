//! `nexus reservation`.

use nexus_proto::v1::{AddReservationRequest, ListReservationsRequest, RemoveReservationRequest};

use super::list::{Page, paged};
use crate::arguments::{Connection, ReservationCommand};
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};
use crate::shape::{RESERVATION_COLUMNS, reservation_document, reservation_lines, reservation_row};
use crate::words::map_of;

pub(super) async fn run(
    connection: &Connection,
    command: ReservationCommand,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    match command {
        ReservationCommand::Add { pool, resource, subscriber, note, realm } => {
            let attributes = map_of(&realm.attributes);
            let request =
                AddReservationRequest { pool_id: pool, resource, subscriber_id: subscriber, note, attributes };
            let answer = client.reservations().add_reservation(request).await?.into_inner();
            let reservation = answer.reservation.unwrap_or_default();
            let mut lines = reservation_lines(&reservation);
            if !answer.created {
                lines.push(("remark", "it was reserved like this already".into()));
            }
            screen.one(&reservation_document(&reservation), &lines)?;
        }
        ReservationCommand::List { pool, subscriber, page } => {
            return paged(screen, "reservations", RESERVATION_COLUMNS, page, async |cursor, limit| {
                let request =
                    ListReservationsRequest { pool_id: pool.clone(), subscriber_id: subscriber.clone(), cursor, limit };
                let answer = client.reservations().list_reservations(request).await?.into_inner();
                let rows = answer.reservations.iter().map(reservation_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await;
        }
        ReservationCommand::Remove { pool, resource, realm } => {
            let request = RemoveReservationRequest { pool_id: pool, resource, attributes: map_of(&realm.attributes) };
            let answer = client.reservations().remove_reservation(request).await?.into_inner();
            let reservation = answer.reservation.unwrap_or_default();
            screen.one(&reservation_document(&reservation), &reservation_lines(&reservation))?;
        }
    }
    Ok(())
}
