//! Notes.

use axum::extract::State;
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kernel::{NoteKey, NoteStamp};

use super::Rest;
use super::body::{Body, answer, no_content};
use super::dto::note::{NoteBody, NoteRequestBody, NotesBody};
use super::openapi::{Conflicts, Problems, Unknown};
use super::params::{By, Params, Segments};
use super::problem::Refusal;
use crate::app::{AppError, NoteInput, NoteQuery, read_id};

/// List notes, in the order of their keys.
#[utoipa::path(get, path = "/api/v1/notes", operation_id = "list_notes", tag = "notes",
    params(
        ("prefix" = Option<String>, Query, description = "Only those whose keys begin like this"),
        ("disputed" = Option<bool>, Query, description = "Only those that were written on two hosts at the same time, and not since"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 10,000, which is also the default"),
    ),
    responses((status = 200, description = "A page of them", body = NotesBody), Problems))]
pub(super) async fn list(By(caller): By, State(rest): State<Rest>, params: Params) -> Result<Response, Refusal> {
    let query = NoteQuery {
        prefix: params.text("prefix").unwrap_or_default().to_owned(),
        disputed: params.flag("disputed")?,
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.number("limit")?,
    };
    let page = rest.app.notes(&caller, &query)?;
    let notes: Vec<_> = page.rows.iter().map(NoteBody::of).collect();
    let (count, total, next_cursor) = (notes.len(), page.total, page.next);
    answer(StatusCode::OK, &NotesBody { notes, count, total, next_cursor })
}

/// Show a note.
#[utoipa::path(get, path = "/api/v1/notes/{key}", operation_id = "get_note", tag = "notes",
    params(("key" = String, Path, description = "The note's key; a `/` may stand as it is")),
    responses((status = 200, description = "The note", body = NoteBody), Problems, Unknown))]
pub(super) async fn get(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(key): Segments<String>,
) -> Result<Response, Refusal> {
    let note = rest.app.note(&caller, read_id("key", &key)?)?;
    answer(StatusCode::OK, &NoteBody::of(&note))
}

/// Write a note. On any host; if another host writes the same note before it heard of this, the later one wins everywhere, and
/// the other is listed as a loser until somebody writes the note again.
#[utoipa::path(put, path = "/api/v1/notes/{key}", operation_id = "put_note", tag = "notes", request_body = NoteRequestBody,
    params(
        ("key" = String, Path, description = "The note's key: parts between single `/`, at most 255 bytes without control characters; a `/` may stand as it is"),
        ("If-Match" = Option<String>, Header, description = "Only at this `version`, as the host that is asked knows it"),
    ),
    responses((status = 200, description = "What stands of it now", body = NoteBody), Problems, Conflicts))]
pub(super) async fn put(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let value = body.json::<NoteRequestBody>()?.read()?;
    let key: NoteKey = read_id("key", &key)?;
    let input = NoteInput { key, value: Some(value), expected: if_match(&headers)? };
    let note = rest.app.write_note(&caller, input).await?;
    answer(StatusCode::OK, &NoteBody::of(&note))
}

/// Delete a note. It stays deleted, also on hosts that hear of it only later.
#[utoipa::path(delete, path = "/api/v1/notes/{key}", operation_id = "delete_note", tag = "notes",
    params(
        ("key" = String, Path, description = "The note's key; a `/` may stand as it is"),
        ("If-Match" = Option<String>, Header, description = "Only at this `version`, as the host that is asked knows it"),
    ),
    responses((status = 204, description = "It is gone"), Problems, Unknown, Conflicts))]
pub(super) async fn delete(
    By(caller): By,
    State(rest): State<Rest>,
    Segments(key): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key: NoteKey = read_id("key", &key)?;
    rest.app.write_note(&caller, NoteInput { key, value: None, expected: if_match(&headers)? }).await?;
    Ok(no_content())
}

fn if_match(headers: &HeaderMap) -> Result<Option<NoteStamp>, AppError> {
    let Some(raw) = headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or("?")).filter(|raw| *raw != "*") else {
        return Ok(None);
    };
    let read = raw.trim_matches('"').parse().map(Some);
    read.map_err(|_| AppError::invalid("If-Match", raw, "must be a note's `version`"))
}
