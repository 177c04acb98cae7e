//! Notes.

use kernel::{NoteText, Written};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::{AppError, NoteShown, Reader, rfc3339};

/// What a note shall say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = NoteRequest, example = json!({"value": "by the mill, key at the neighbour's"}))]
pub(crate) struct NoteRequestBody {
    /// Up to 4,096 bytes of text.
    #[schema(value_type = String, required = true)]
    value: Option<Value>,
}

impl NoteRequestBody {
    pub(crate) fn read(&self) -> Result<NoteText, AppError> {
        let mut reader = Reader::default();
        let value: Option<NoteText> = match &self.value {
            // An empty text is a text.
            Some(Value::String(text)) => match text.parse() {
                Ok(value) => Some(value),
                Err(why) => return Err(AppError::invalid_id("value", text, &why)),
            },
            other => {
                let found = other.as_ref().map_or_else(String::new, ToString::to_string);
                reader.fault("value", found, "must be a text: what the note says");
                None
            }
        };
        reader.finish(value)
    }
}

/// A note.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Note, example = json!({"key": "olt/north-1", "value": "by the mill", "deleted": false, "version": "1769847300000.0", "written_at": "2026-01-31T08:15:00.000Z", "losers": []}))]
pub(crate) struct NoteBody<'a> {
    key: &'a str,
    /// What it says; absent if it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    deleted: bool,
    /// For `If-Match`.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<String>,
    /// What was written elsewhere at the same time and lost; gone as soon as somebody writes the note again.
    losers: Vec<LoserBody<'a>>,
}

/// A write that lost against another one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NoteLoser, example = json!({"value": "by the river", "deleted": false, "version": "1769847299000.0", "written_at": "2026-01-31T08:14:59.000Z"}))]
pub(crate) struct LoserBody<'a> {
    /// What it says; absent if it was a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    deleted: bool,
    version: String,
    written_at: String,
}

impl<'a> NoteBody<'a> {
    pub(crate) fn of(note: &'a NoteShown) -> Self {
        let winner = note.winner();
        let value = winner.and_then(value_of);
        Self {
            key: note.key.as_str(),
            value,
            deleted: value.is_none(),
            version: winner.map(|write| write.note.stamp.to_string()),
            written_at: winner.map(|write| rfc3339(write.note.stamp.ms)),
            losers: note.losers().map(LoserBody::of).collect(),
        }
    }
}

impl<'a> LoserBody<'a> {
    fn of(write: &'a Written) -> Self {
        let (value, stamp) = (value_of(write), write.note.stamp);
        Self { value, deleted: value.is_none(), version: stamp.to_string(), written_at: rfc3339(stamp.ms) }
    }
}

fn value_of(write: &Written) -> Option<&str> {
    write.note.value.as_ref().map(NoteText::as_str)
}

/// A page of notes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NoteList, example = json!({"notes": [], "count": 0, "total": 0}))]
pub(crate) struct NotesBody<'a> {
    pub(crate) notes: Vec<NoteBody<'a>>,
    pub(crate) count: usize,
    pub(crate) total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}
