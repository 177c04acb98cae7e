//! `NoteService`.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use kernel::{NoteKey, NoteStamp, NoteText, Seq};
use nexus_proto::v1;
use nexus_proto::v1::note_service_server::NoteService;
use nexus_proto::v1::watch_notes_response::Event;
use tonic::{Request, Response, Status, async_trait};

use super::show::{self, timestamp};
use super::{Face, answer, read, refuse, watch};
use crate::app::{AppError, Caller, Change, NoteInput, NoteQuery, Watch, WatchOf, WatchQuery, Watched, read_id};
use crate::engine::EngineError;

type Message = Result<v1::WatchNotesResponse, Status>;

fn version(raw: &str) -> Result<Option<NoteStamp>, AppError> {
    if raw.is_empty() {
        return Ok(None);
    }
    let read = raw.parse().map(Some);
    read.map_err(|_| AppError::invalid("version", raw, "must be the version of a note; leave it out for any"))
}

/// A watch on its way to a client.
struct Told {
    face: Face,
    /// `None` after the daemon began to stop.
    watch: Option<Watch>,
    /// What the last look brought and was not sent yet: one batch at most.
    waiting: VecDeque<Message>,
}

impl Told {
    async fn next(mut self) -> Option<(Message, Self)> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Some((message, self));
            }
            match self.watch.as_mut()?.next().await {
                Some(Watched::Events(events)) => self.waiting.extend(events.iter().filter_map(|event| {
                    let Change::Note(note) = &event.change else { return None };
                    Some(Ok(message(event.seq, event.at_ms, Event::Note(show::note(note)))))
                })),
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

fn message(seq: Seq, at_ms: u64, event: Event) -> v1::WatchNotesResponse {
    v1::WatchNotesResponse { resume_token: seq.0.to_string(), at: Some(timestamp(at_ms)), event: Some(event) }
}

impl Face {
    async fn put_one(&self, caller: &Caller, request: v1::PutNoteRequest) -> Result<v1::PutNoteResponse, AppError> {
        let v1::PutNoteRequest { key, value, version: expected } = request;
        let (key, value): (NoteKey, NoteText) = (read_id("key", &key)?, read_id("value", &value)?);
        let input = NoteInput { key, value: Some(value), expected: version(&expected)? };
        let note = self.app.write_note(caller, input).await?;
        Ok(v1::PutNoteResponse { note: Some(show::note(&note)) })
    }

    fn get_one(&self, caller: &Caller, request: &v1::GetNoteRequest) -> Result<v1::GetNoteResponse, AppError> {
        let note = self.app.note(caller, read_id("key", &request.key)?)?;
        Ok(v1::GetNoteResponse { note: Some(show::note(&note)) })
    }

    async fn delete_one(
        &self,
        caller: &Caller,
        request: v1::DeleteNoteRequest,
    ) -> Result<v1::DeleteNoteResponse, AppError> {
        let v1::DeleteNoteRequest { key, version: expected } = request;
        let input = NoteInput { key: read_id("key", &key)?, value: None, expected: version(&expected)? };
        self.app.write_note(caller, input).await?;
        Ok(v1::DeleteNoteResponse {})
    }

    fn list_notes_page(
        &self,
        caller: &Caller,
        request: v1::ListNotesRequest,
    ) -> Result<v1::ListNotesResponse, AppError> {
        let v1::ListNotesRequest { prefix, disputed, cursor, limit } = request;
        let (cursor, limit) = (read::optional_text(cursor), read::limit(limit));
        let page = self.app.notes(caller, &NoteQuery { prefix, disputed, cursor, limit })?;
        Ok(v1::ListNotesResponse {
            notes: page.rows.iter().map(show::note).collect(),
            total: page.total,
            next_cursor: page.next.unwrap_or_default(),
        })
    }

    fn watch_of_notes(
        &self,
        caller: &Caller,
        request: v1::WatchNotesRequest,
    ) -> Result<BoxStream<'static, Message>, AppError> {
        let v1::WatchNotesRequest { prefix, resume_token } = request;
        let (of, after) = (WatchOf::Notes { prefix }, watch::resume(&resume_token)?);
        let watch = self.app.watch(caller, &WatchQuery { of, after, ..WatchQuery::default() })?;
        let ready = message(watch.position(), self.app.now_ms(), Event::Ready(v1::WatchReady {}));
        let told = Told { face: self.clone(), watch: Some(watch), waiting: VecDeque::from([Ok(ready)]) };
        Ok(stream::unfold(told, Told::next).boxed())
    }
}

#[async_trait]
impl NoteService for Face {
    type WatchNotesStream = BoxStream<'static, Message>;

    async fn put_note(&self, request: Request<v1::PutNoteRequest>) -> Result<Response<v1::PutNoteResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.put_one(&caller, request).await)
    }

    async fn get_note(&self, request: Request<v1::GetNoteRequest>) -> Result<Response<v1::GetNoteResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.get_one(&caller, &request))
    }

    async fn delete_note(
        &self,
        request: Request<v1::DeleteNoteRequest>,
    ) -> Result<Response<v1::DeleteNoteResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.delete_one(&caller, request).await)
    }

    async fn list_notes(
        &self,
        request: Request<v1::ListNotesRequest>,
    ) -> Result<Response<v1::ListNotesResponse>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.list_notes_page(&caller, request))
    }

    async fn watch_notes(
        &self,
        request: Request<v1::WatchNotesRequest>,
    ) -> Result<Response<Self::WatchNotesStream>, Status> {
        let (caller, request) = self.open(request)?;
        answer(self.watch_of_notes(&caller, request))
    }
}
