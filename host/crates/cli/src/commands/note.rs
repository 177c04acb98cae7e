//! `nexus note`.

use nexus_proto::v1::{
    DeleteNoteRequest, GetNoteRequest, ListNotesRequest, PutNoteRequest, WatchNotesRequest, WatchNotesResponse,
};

use super::list::{Page, paged};
use super::watch::show;
use crate::arguments::{Connection, NoteCommand};
use crate::document::Fields;
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};
use crate::shape::{NOTE_COLUMNS, NOTE_EVENT_COLUMNS, note_document, note_event_row, note_lines, note_row};
use crate::table::Columns;

pub(super) async fn run(connection: &Connection, command: NoteCommand, screen: &mut Screen) -> Result<(), Failure> {
    match command {
        NoteCommand::Put { key, value, version } => {
            let client = connect(connection, Patience::Timeout).await?;
            let answer = client.notes().put_note(PutNoteRequest { key, value, version }).await?.into_inner();
            let note = answer.note.unwrap_or_default();
            screen.one(&note_document(&note), &note_lines(&note))?;
        }
        NoteCommand::Get { key } => {
            let client = connect(connection, Patience::Timeout).await?;
            let answer = client.notes().get_note(GetNoteRequest { key }).await?.into_inner();
            let note = answer.note.unwrap_or_default();
            screen.one(&note_document(&note), &note_lines(&note))?;
        }
        NoteCommand::Delete { key, version } => {
            let client = connect(connection, Patience::Timeout).await?;
            client.notes().delete_note(DeleteNoteRequest { key: key.clone(), version }).await?;
            let document = Fields::default().text("deleted", &key).done();
            screen.one(&document, &[("deleted", key.into())])?;
        }
        NoteCommand::List { prefix, disputed, page } => {
            let client = connect(connection, Patience::Timeout).await?;
            return paged(screen, "notes", NOTE_COLUMNS, page, async |cursor, limit| {
                let request = ListNotesRequest { prefix: prefix.clone(), disputed, cursor, limit };
                let answer = client.notes().list_notes(request).await?.into_inner();
                let rows = answer.notes.iter().map(note_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await;
        }
        NoteCommand::Watch { prefix, resume } => return watch(connection, prefix, resume, screen).await,
    }
    Ok(())
}

async fn watch(connection: &Connection, prefix: String, resume: String, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Endless).await?;
    let request = WatchNotesRequest { prefix, resume_token: resume.clone() };
    let events = client.notes().watch_notes(request).await?.into_inner();
    let read = |event: WatchNotesResponse| (note_event_row(&event), event.resume_token);
    show(events, resume, read, Columns::new(NOTE_EVENT_COLUMNS), screen).await
}
