//! `WatchAllocations`: the application layer's watch as a stream of messages with resume tokens.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kernel::{Resting, Seq};
use nexus_proto::v1;
use nexus_proto::v1::watch_allocations_response::Event;
use tonic::Status;

use super::show::{self, Detail, timestamp};
use super::{Face, read, refuse};
use crate::app::{AppError, Caller, Change, Watch, WatchEvent, WatchOf, WatchQuery, Watched};
use crate::engine::EngineError;

type Message = Result<v1::WatchAllocationsResponse, Status>;

/// A watch on its way to a client.
struct Told {
    face: Face,
    /// `None` after the daemon began to stop.
    watch: Option<Watch>,
    /// What the last look brought and was not sent yet: one batch at most.
    waiting: VecDeque<Message>,
}

impl Face {
    /// Begins to watch.
    pub(super) fn watch(
        &self,
        caller: &Caller,
        request: &v1::WatchAllocationsRequest,
    ) -> Result<BoxStream<'static, Message>, AppError> {
        let query = WatchQuery {
            pool: read::optional_id("pool_id", &request.pool_id)?,
            subscriber: read::optional_id("subscriber_id", &request.subscriber_id)?,
            of: WatchOf::Pools,
            after: resume(&request.resume_token)?,
        };
        let watch = self.app.watch(caller, &query)?;
        let ready = message(watch.position(), self.app.now_ms(), Event::Ready(v1::WatchReady {}));
        let told = Told { face: self.clone(), watch: Some(watch), waiting: VecDeque::from([Ok(ready)]) };
        Ok(stream::unfold(told, Told::next).boxed())
    }
}

pub(super) fn resume(token: &str) -> Result<Option<Seq>, AppError> {
    if token.is_empty() {
        return Ok(None);
    }
    let remedy = "must be the resume_token of a message of a watch; leave it out to begin now";
    let seq = token.parse().map_err(|_| AppError::invalid("resume_token", token, remedy))?;
    Ok(Some(Seq(seq)))
}

fn message(seq: Seq, at_ms: u64, event: Event) -> v1::WatchAllocationsResponse {
    v1::WatchAllocationsResponse { resume_token: seq.to_string(), at: Some(timestamp(at_ms)), event: Some(event) }
}

impl Told {
    async fn next(mut self) -> Option<(Message, Self)> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Some((message, self));
            }
            let watch = self.watch.as_mut()?;
            match watch.next().await {
                Some(Watched::Events(events)) => {
                    self.waiting.extend(events.iter().filter_map(|event| Some(Ok(self.face.event(event)?))));
                }
                Some(Watched::Gap { after: _, resumed }) => {
                    let gap = message(resumed, self.face.app.now_ms(), Event::Gap(v1::WatchGap {}));
                    self.waiting.push_back(Ok(gap));
                }
                None => {
                    self.watch = None;
                    self.waiting.push_back(Err(refuse(&AppError::Engine(EngineError::Stopped))));
                }
            }
        }
    }
}

impl Face {
    fn event(&self, event: &WatchEvent) -> Option<v1::WatchAllocationsResponse> {
        let told = match &event.change {
            Change::Allocated(held) => Event::Allocated(self.allocation(held, Detail::Full)),
            Change::Renewed(held) => Event::Renewed(self.allocation(held, Detail::Full)),
            Change::Ended { resting, pool, resource } => {
                let past = self.ended(resting);
                let (pool_id, r#type) = (pool.draft.id.to_string(), pool.draft.type_id.to_string());
                Event::Ended(v1::PastAllocation { pool_id, r#type, resource: resource.to_string(), ..past })
            }
            Change::PoolCreated(pool) | Change::PoolUpdated(pool) => Event::Pool(show::pool(pool)),
            Change::PoolDeleted(pool) => Event::PoolDeleted(show::pool(pool)),
            Change::Reserved(reserved) => Event::Reserved(show::reservation(reserved)),
            // Has a watch of its own.
            Change::Note(_) => return None,
            Change::Unreserved { pool, key, resource } => Event::Unreserved(v1::Reservation {
                pool_id: pool.draft.id.to_string(),
                realm: self.realm(key.realm),
                resource: resource.to_string(),
                ..v1::Reservation::default()
            }),
            Change::Conflict(conflict) => Event::Conflict(self.conflict(conflict)),
            Change::ConflictClosed(conflict) => Event::ConflictClosed(self.conflict(conflict)),
        };
        Some(message(event.seq, event.at_ms, told))
    }

    fn ended(&self, resting: &Resting) -> v1::PastAllocation {
        v1::PastAllocation {
            subscriber_id: resting.subscriber.to_string(),
            key: resting.key.as_ref().map_or_else(String::new, ToString::to_string),
            realm: self.realm(resting.realm),
            node_id: resting.node.as_ref().map_or_else(String::new, ToString::to_string),
            from: Some(timestamp(resting.created_ms)),
            to: Some(timestamp(resting.ended_ms)),
            cause: show::end_cause(resting.cause).into(),
            ..v1::PastAllocation::default()
        }
    }
}
