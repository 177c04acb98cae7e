//! Lists, a page at a time: as many rows as were asked for, or all of them.

use nexus_proto::v1::{ExpiringRequest, ListAllocationsRequest};

use crate::arguments::{Connection, ListArgs, PageArgs};
use crate::document::Document;
use crate::exit::Failure;
use crate::screen::{Format, List, Row, Screen, complain};
use crate::session::{Patience, connect};
use crate::shape::{ALLOCATION_COLUMNS, allocation_row};

/// Rows asked for at once with `--all`: enough to be fast, few enough to be shown while the rest is fetched.
const PAGE: u32 = 1_000;

/// A page as it came.
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) total: u64,
    /// Empty on the last page.
    pub(super) next_cursor: String,
}

/// Shows a list that `fetch` gives a page at a time, by cursor and limit.
pub(super) async fn paged(
    screen: &mut Screen,
    name: &'static str,
    headings: &'static [&'static str],
    args: PageArgs,
    fetch: impl AsyncFn(String, u32) -> Result<Page, Failure>,
) -> Result<(), Failure> {
    let limit = if args.all { PAGE } else { args.limit };
    // The first page comes before anything is written: a refusal leaves no half list behind.
    let mut page = fetch(args.cursor, limit).await?;
    let format = screen.format();
    let mut list = List::begin(screen, name, headings);
    list.rows(&page.rows)?;
    while args.all && !page.next_cursor.is_empty() {
        page = fetch(page.next_cursor, limit).await?;
        list.rows(&page.rows)?;
    }
    let written = list.written();
    let mut about = vec![("total", Document::number(page.total))];
    if !page.next_cursor.is_empty() {
        about.push(("next_cursor", Document::text(page.next_cursor.as_str())));
    }
    list.end(&about)?;
    if format == Format::Table && !page.next_cursor.is_empty() {
        let (total, cursor) = (page.total, &page.next_cursor);
        complain(&format!("{written} of {total} shown; go on with --cursor {cursor}, or list all with --all"));
    }
    Ok(())
}

/// `nexus list`.
pub(super) async fn allocations(connection: &Connection, args: ListArgs, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let ListArgs { pool, subscriber, node, resource, realm, expiring, page } = args;
    match expiring {
        Some(within) => {
            paged(screen, "allocations", ALLOCATION_COLUMNS, page, async |cursor, limit| {
                let request = ExpiringRequest { within: Some(within), pool_id: pool.clone(), cursor, limit };
                let answer = client.allocations().expiring(request).await?.into_inner();
                let rows = answer.allocations.iter().map(allocation_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await
        }
        None => {
            paged(screen, "allocations", ALLOCATION_COLUMNS, page, async |cursor, limit| {
                let request = ListAllocationsRequest {
                    pool_id: pool.clone(),
                    subscriber_id: subscriber.clone(),
                    node_id: node.clone(),
                    resource: resource.clone(),
                    realm: realm.clone(),
                    cursor,
                    limit,
                };
                let answer = client.allocations().list(request).await?.into_inner();
                let rows = answer.allocations.iter().map(allocation_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await
        }
    }
}
