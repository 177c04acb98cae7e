//! `nexus watch`: events as they come, until the daemon or the operator ends it.

use nexus_proto::v1::WatchAllocationsRequest;

use crate::arguments::{Connection, WatchArgs};
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};
use crate::shape::{EVENT_COLUMNS, event_row};
use crate::table::Columns;

pub(super) async fn watch(connection: &Connection, args: WatchArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Endless).await?;
    let WatchArgs { pool, subscriber, resume } = args;
    let mut token = (!resume.is_empty()).then_some(resume);
    let request = WatchAllocationsRequest {
        resume_token: token.clone().unwrap_or_default(),
        pool_id: pool,
        subscriber_id: subscriber,
    };
    let mut events = client.nexus().watch_allocations(request).await?.into_inner();
    let mut columns = Columns::new(EVENT_COLUMNS);
    loop {
        match events.message().await {
            Ok(Some(event)) => {
                if let Some(row) = event_row(&event) {
                    screen.event(&row, &mut columns)?;
                }
                if !event.resume_token.is_empty() {
                    token = Some(event.resume_token);
                }
            }
            Ok(None) => return Err(Failure::WatchEnded { resume: token, source: None }),
            Err(status) => {
                return Err(Failure::WatchEnded { resume: token, source: Some(Box::new(status.into())) });
            }
        }
    }
}
