//! Watches as server-sent events. The event's id is what `Last-Event-ID` resumes after; who comes too late gets a `gap`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use kernel::Seq;
use serde::Serialize;

use super::Rest;
use super::dto::event::{EventBody, GapBody};
use super::openapi::{Problems, Unknown};
use super::params::{By, Params};
use super::problem::Refusal;
use crate::app::{App, AppError, Watch, WatchOf, WatchQuery, Watched};

/// A comment so often, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// Watch what happens, as server-sent events: `start` (its id is where the watch begins), then each change under its own
/// name with an Event as data, and `gap` when events were missed.
#[utoipa::path(get, path = "/api/v1/watch", operation_id = "watch", tag = "watch",
    params(
        ("pool_id" = Option<String>, Query, description = "Only of this pool"),
        ("subscriber_id" = Option<String>, Query, description = "Only of this subscriber"),
        ("notes" = Option<String>, Query, description = "Only notes whose keys begin like this; `/` for all of them"),
        ("after" = Option<u64>, Query, description = "Go on after this event"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, as browsers send it when they connect again"),
    ),
    responses(
        (status = 200, description = "Events without end", body = EventBody, content_type = "text/event-stream"),
        Problems, Unknown,
    ))]
pub(super) async fn watch(
    By(caller): By,
    State(rest): State<Rest>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = match headers.get("last-event-id") {
        Some(raw) => {
            let raw = raw.to_str().unwrap_or_default();
            let seq = raw.parse().map_err(|_| AppError::invalid("Last-Event-ID", raw, "must be the id of an event"))?;
            Some(seq)
        }
        None => params.number("after")?,
    };
    let of = match params.text("notes") {
        None => WatchOf::Everything,
        // No key begins so.
        Some("/") => WatchOf::Notes { prefix: String::new() },
        Some(prefix) => WatchOf::Notes { prefix: prefix.to_owned() },
    };
    let (pool, subscriber) = (params.id("pool_id")?, params.id("subscriber_id")?);
    let query = WatchQuery { pool, subscriber, of, after: after.map(Seq) };
    let watch = rest.app.watch(&caller, &query)?;
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events(rest.app, watch)).keep_alive(keep_alive).into_response())
}

fn events(app: Arc<App>, watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = Event::default().event("start").retry(RETRY).id(watch.position().0.to_string()).data("{}");
    let later = stream::unfold((app, watch), |(app, mut watch)| async move {
        let watched = watch.next().await?;
        let events = shown(&app, &watched);
        Some((stream::iter(events), (app, watch)))
    });
    stream::once(async { start }).chain(later.flatten()).map(Ok)
}

fn shown(app: &App, watched: &Watched) -> Vec<Event> {
    match watched {
        Watched::Events(events) => {
            let one = |event| sse(&EventBody::of(app, event), event.change.word(), event.seq);
            events.iter().map(one).collect()
        }
        Watched::Gap { after, resumed } => {
            let gap =
                GapBody { after: after.0, resumed: resumed.0, remedy: "list anew: events in between were missed" };
            vec![sse(&gap, "gap", *resumed)]
        }
    }
}

fn sse(body: &impl Serialize, name: &str, id: Seq) -> Event {
    // A body of ours is always writable; if not, the watcher still sees that something happened, and its id.
    let data = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned());
    Event::default().event(name).id(id.0.to_string()).data(data)
}
