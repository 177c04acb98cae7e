//! `nexus watch`: events as they come, until the daemon or the operator ends it.

use nexus_proto::v1::{WatchAllocationsRequest, WatchAllocationsResponse};
use tonic::Streaming;

use crate::arguments::{Connection, WatchArgs};
use crate::exit::Failure;
use crate::screen::{Row, Screen};
use crate::session::{Patience, connect};
use crate::shape::{EVENT_COLUMNS, event_row};
use crate::table::Columns;

pub(super) async fn watch(connection: &Connection, args: WatchArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Endless).await?;
    let WatchArgs { pool, subscriber, resume } = args;
    let request = WatchAllocationsRequest { resume_token: resume.clone(), pool_id: pool, subscriber_id: subscriber };
    let events = client.nexus().watch_allocations(request).await?.into_inner();
    let read = |event: WatchAllocationsResponse| (event_row(&event), event.resume_token);
    show(events, resume, read, Columns::new(EVENT_COLUMNS), screen).await
}

/// Shows events until their stream ends; that is told with where it can be resumed. `read` gives an event's row, if it is to be
/// shown, and the place behind it, if it has one.
pub(super) async fn show<E>(
    mut events: Streaming<E>,
    resume: String,
    read: impl Fn(E) -> (Option<Row>, String),
    mut columns: Columns,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut token = (!resume.is_empty()).then_some(resume);
    loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(Failure::WatchEnded { resume: token, source: None }),
            Err(status) => {
                return Err(Failure::WatchEnded { resume: token, source: Some(Box::new(status.into())) });
            }
        };
        let (row, place) = read(event);
        if let Some(row) = row {
            screen.event(&row, &mut columns)?;
        }
        if !place.is_empty() {
            token = Some(place);
        }
    }
}
