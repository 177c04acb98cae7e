//! Notes.

use nexus_proto::v1::watch_notes_response::Event;
use nexus_proto::v1::{Note, NoteLoser, WatchNotesResponse};

use super::time_document;
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::{second, time};

pub(crate) const NOTE_COLUMNS: &[&str] = &["KEY", "WRITTEN", "NOTE", "LOST"];
pub(crate) const NOTE_EVENT_COLUMNS: &[&str] = &["AT", "EVENT", "KEY", "NOTE"];

/// A deletion is none.
const DELETED: &str = "(deleted)";

pub(crate) fn note_document(note: &Note) -> Document {
    Fields::default()
        .text("key", &note.key)
        .some("value", note.value.as_deref().map(Document::text))
        .some_text("version", &note.version)
        .some("written_at", time_document(note.written_at.as_ref()))
        .put("losers", Document::List(note.losers.iter().map(loser_document).collect()))
        .done()
}

fn loser_document(loser: &NoteLoser) -> Document {
    Fields::default()
        .some("value", loser.value.as_deref().map(Document::text))
        .text("version", &loser.version)
        .some("written_at", time_document(loser.written_at.as_ref()))
        .done()
}

pub(crate) fn note_row(note: &Note) -> Row {
    let losers = if note.losers.is_empty() { String::new() } else { note.losers.len().to_string() };
    let cells = vec![
        note.key.as_str().into(),
        second(note.written_at.as_ref()).into(),
        said(note.value.as_deref()).into(),
        Cell::toned(losers, Tone::Notable),
    ];
    Row { cells, document: note_document(note) }
}

pub(crate) fn note_lines(note: &Note) -> Vec<(&'static str, Cell)> {
    let mut lines = vec![
        ("key", note.key.as_str().into()),
        ("note", Cell::toned(said(note.value.as_deref()), Tone::Good)),
        ("version", note.version.as_str().into()),
        ("written", time(note.written_at.as_ref()).into()),
    ];
    let lost = |loser: &NoteLoser| format!("{} ({})", said(loser.value.as_deref()), time(loser.written_at.as_ref()));
    lines.extend(note.losers.iter().map(|loser| ("lost", Cell::toned(lost(loser), Tone::Notable))));
    lines
}

/// `None` if the daemon tells what this version does not know.
pub(crate) fn note_event_row(message: &WatchNotesResponse) -> Option<Row> {
    let (word, tone, note) = match message.event.as_ref()? {
        Event::Ready(_) => ("ready", Tone::Plain, None),
        Event::Gap(_) => ("gap", Tone::Bad, None),
        Event::Note(note) if !note.losers.is_empty() => ("disputed", Tone::Notable, Some(note)),
        Event::Note(note) if note.value.is_some() => ("written", Tone::Good, Some(note)),
        Event::Note(note) => ("deleted", Tone::Notable, Some(note)),
    };
    let cells = vec![
        second(message.at.as_ref()).into(),
        Cell::toned(word, tone),
        note.map_or("", |note| note.key.as_str()).into(),
        note.and_then(|note| note.value.as_deref()).map_or_else(String::new, |value| said(Some(value))).into(),
    ];
    let document = Fields::default()
        .text("event", word)
        .some_text("at", &time(message.at.as_ref()))
        .some_text("resume_token", &message.resume_token)
        .some("value", note.map(note_document))
        .done();
    Some(Row { cells, document })
}

/// In one line.
fn said(value: Option<&str>) -> String {
    value.map_or_else(|| DELETED.to_owned(), |value| value.replace(['\r', '\n', '\t'], " "))
}
