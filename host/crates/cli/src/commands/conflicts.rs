//! `nexus conflicts`.

use nexus_proto::v1::{ConfirmConflictRequest, ListConflictsRequest};

use super::list::{Page, paged};
use crate::arguments::{ConflictsCommand, Connection};
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};
use crate::shape::{CONFLICT_COLUMNS, conflict_document, conflict_lines, conflict_row};

pub(super) async fn run(
    connection: &Connection,
    command: ConflictsCommand,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    match command {
        ConflictsCommand::List { pool, subscriber, page } => {
            paged(screen, "conflicts", CONFLICT_COLUMNS, page, async |cursor, limit| {
                let request =
                    ListConflictsRequest { pool_id: pool.clone(), subscriber_id: subscriber.clone(), cursor, limit };
                let answer = client.conflicts().list_conflicts(request).await?.into_inner();
                let rows = answer.conflicts.iter().map(conflict_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await
        }
        ConflictsCommand::Confirm { id } => {
            let answer = client.conflicts().confirm_conflict(ConfirmConflictRequest { id }).await?.into_inner();
            let closed = answer.conflict.unwrap_or_default();
            Ok(screen.one(&conflict_document(&closed), &conflict_lines(&closed))?)
        }
    }
}
