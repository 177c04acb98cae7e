//! A backup as one download.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc::Receiver;

use super::Rest;
use super::openapi::Problems;
use super::params::By;
use super::problem::Refusal;
use crate::ports::BackupPiece;

/// Make a backup of this host as it is at this moment: a tar archive for `nexus restore`. A download that breaks off is no
/// backup, and is refused by it.
#[utoipa::path(post, path = "/api/v1/admin/backup", operation_id = "backup", tag = "cluster",
    responses((status = 200, description = "The archive", body = Vec<u8>, content_type = "application/x-tar"), Problems))]
pub(super) async fn backup(By(caller): By, State(rest): State<Rest>) -> Result<Response, Refusal> {
    let pieces = rest.app.backup(&caller)?;
    let mut response = Response::new(Body::from_stream(bytes_of(pieces)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

/// An error in the middle breaks the body off, so that nobody takes it for whole.
fn bytes_of(pieces: Receiver<BackupPiece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.recv().await {
            Some(BackupPiece::Data(bytes)) => Some((Ok(bytes), Some(pieces))),
            Some(BackupPiece::Done(_)) => None,
            Some(BackupPiece::Failed(why)) => Some((Err(io::Error::other(why)), None)),
            None => Some((Err(io::Error::other("the backup was given up")), None)),
        }
    })
}
