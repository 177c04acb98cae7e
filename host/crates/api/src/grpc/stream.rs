//! `AllocateStream`: what has arrived on the stream travels to the kernel together.
//!
//! Bounded throughout: a chunk has at most [`CHUNK`] requests and at most [`IN_FLIGHT`] chunks wait for the kernel. When
//! so many do, nothing more is read, and HTTP/2 flow control holds the client.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use nexus_proto::v1;
use nexus_proto::v1::allocate_stream_response::Outcome;
use tonic::{Status, Streaming};

use super::refusal::{refuse, refuse_item};
use super::{Face, unreadable};
use crate::app::{AppError, Caller};
use crate::engine::EngineError;

/// Most requests of one chunk: a commit group is of this order.
const CHUNK: usize = 256;

/// Chunks of one stream that may wait for the kernel at once: while one is written the next ones form.
const IN_FLIGHT: usize = 8;

type Arrived = Result<v1::AllocateStreamRequest, Status>;
type Answer = Result<v1::AllocateStreamResponse, Status>;

impl Face {
    /// The answers to a stream of requests. Ends with the requests, or with `UNAVAILABLE` when the daemon drains.
    pub(super) fn allocate_on_stream(
        &self,
        caller: Caller,
        requests: Streaming<v1::AllocateStreamRequest>,
    ) -> BoxStream<'static, Answer> {
        let stopping = self.app.stopping().clone();
        let end = stream::once(async move { stopping.is_cancelled() }).filter_map(async |stopped| {
            if stopped { Some(Err(refuse(&AppError::Engine(EngineError::Stopped)))) } else { None }
        });
        let face = self.clone();
        requests
            .take_until(self.app.stopping().clone().cancelled_owned())
            .ready_chunks(CHUNK)
            .map(move |arrived| answer_chunk(face.clone(), caller.clone(), arrived))
            .buffered(IN_FLIGHT)
            .flat_map(stream::iter)
            .chain(end)
            .boxed()
    }
}

async fn answer_chunk(face: Face, caller: Caller, arrived: Vec<Arrived>) -> Vec<Answer> {
    let mut ids = Vec::with_capacity(arrived.len());
    let mut requests = Vec::with_capacity(arrived.len());
    let mut broken = None;
    for one in arrived {
        match one {
            Ok(v1::AllocateStreamRequest { id, request }) => {
                ids.push(id);
                // A missing request reads as an empty one, whose fault then names the first field it lacks.
                requests.push(request.unwrap_or_default());
            }
            Err(status) => broken = Some(unreadable::meant(&status).unwrap_or(status)),
        }
    }
    let outcomes = face.allocate_all(&caller, requests.into_iter()).await;
    let answers = ids.into_iter().zip(outcomes).map(|(id, outcome)| {
        let outcome = match outcome {
            Ok((granted, detail)) => Outcome::Allocated(face.granted(&granted, detail)),
            Err(error) => Outcome::Error(refuse_item(&error)),
        };
        Ok(v1::AllocateStreamResponse { id, outcome: Some(outcome) })
    });
    answers.chain(broken.map(Err)).collect()
}
