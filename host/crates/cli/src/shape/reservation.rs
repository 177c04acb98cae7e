//! Reservations.

use nexus_proto::v1::Reservation;

use super::time_document;
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::{second, time};

pub(crate) const RESERVATION_COLUMNS: &[&str] = &["POOL", "RESOURCE", "REALM", "SUBSCRIBER", "CREATED", "NOTE"];

pub(crate) fn reservation_document(reservation: &Reservation) -> Document {
    Fields::default()
        .text("pool_id", &reservation.pool_id)
        .text("resource", &reservation.resource)
        .some_text("realm", &reservation.realm)
        .text("subscriber_id", &reservation.subscriber_id)
        .some_text("note", &reservation.note)
        .some("created_at", time_document(reservation.created_at.as_ref()))
        .done()
}

pub(crate) fn reservation_row(reservation: &Reservation) -> Row {
    let cells = vec![
        reservation.pool_id.as_str().into(),
        reservation.resource.as_str().into(),
        reservation.realm.as_str().into(),
        reservation.subscriber_id.as_str().into(),
        second(reservation.created_at.as_ref()).into(),
        reservation.note.as_str().into(),
    ];
    Row { cells, document: reservation_document(reservation) }
}

pub(crate) fn reservation_lines(reservation: &Reservation) -> Vec<(&'static str, Cell)> {
    vec![
        ("resource", Cell::toned(reservation.resource.as_str(), Tone::Good)),
        ("pool", reservation.pool_id.as_str().into()),
        ("realm", reservation.realm.as_str().into()),
        ("subscriber", reservation.subscriber_id.as_str().into()),
        ("note", reservation.note.as_str().into()),
        ("created", time(reservation.created_at.as_ref()).into()),
    ]
}
