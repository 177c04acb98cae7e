//! What a watch tells.

use nexus_proto::v1::watch_allocations_response::Event;
use nexus_proto::v1::{Allocation, Conflict, Pool, Reservation, WatchAllocationsResponse};

use super::allocation::cause;
use super::{allocation_document, conflict_document, past_row, pool_document, reservation_document};
use crate::document::{Document, Fields};
use crate::screen::Row;
use crate::table::{Cell, Tone};
use crate::words::{second, time};

pub(crate) const EVENT_COLUMNS: &[&str] = &["AT", "EVENT", "POOL", "RESOURCE", "SUBSCRIBER", "ABOUT"];

struct Told {
    word: &'static str,
    tone: Tone,
    pool: String,
    resource: String,
    subscriber: String,
    about: String,
    document: Option<Document>,
}

impl Told {
    fn bare(word: &'static str, tone: Tone, about: &str) -> Self {
        let empty = String::new;
        Self {
            word,
            tone,
            pool: empty(),
            resource: empty(),
            subscriber: empty(),
            about: about.to_owned(),
            document: None,
        }
    }

    fn allocation(word: &'static str, tone: Tone, one: &Allocation) -> Self {
        let about = one.expires_at.as_ref().map_or_else(String::new, |at| format!("until {}", second(Some(at))));
        Self {
            word,
            tone,
            pool: one.pool_id.clone(),
            resource: one.resource.clone(),
            subscriber: one.subscriber_id.clone(),
            about,
            document: Some(allocation_document(one)),
        }
    }

    fn pool(word: &'static str, tone: Tone, one: &Pool) -> Self {
        Self {
            pool: one.definition.as_ref().map(|definition| definition.id.clone()).unwrap_or_default(),
            document: Some(pool_document(one)),
            ..Self::bare(word, tone, &format!("revision {}", one.revision))
        }
    }

    fn conflict(word: &'static str, tone: Tone, one: &Conflict) -> Self {
        let named = |held: &Option<Allocation>| held.clone().unwrap_or_default();
        let (superseded, survivor) = (named(&one.superseded), named(&one.survivor));
        Self {
            word,
            tone,
            pool: superseded.pool_id,
            resource: superseded.resource,
            subscriber: superseded.subscriber_id,
            about: format!("{} is used instead", survivor.resource),
            document: Some(conflict_document(one)),
        }
    }

    fn reservation(word: &'static str, one: &Reservation) -> Self {
        Self {
            word,
            tone: Tone::Plain,
            pool: one.pool_id.clone(),
            resource: one.resource.clone(),
            subscriber: one.subscriber_id.clone(),
            about: one.note.clone(),
            document: Some(reservation_document(one)),
        }
    }
}

/// `None` if the daemon tells what this version does not know.
pub(crate) fn event_row(message: &WatchAllocationsResponse) -> Option<Row> {
    let told = told(message.event.as_ref()?);
    let cells = vec![
        second(message.at.as_ref()).into(),
        Cell::toned(told.word, told.tone),
        told.pool.into(),
        told.resource.into(),
        told.subscriber.into(),
        told.about.into(),
    ];
    let document = Fields::default()
        .text("event", told.word)
        .some_text("at", &time(message.at.as_ref()))
        .some_text("resume_token", &message.resume_token)
        .some("value", told.document)
        .done();
    Some(Row { cells, document })
}

fn told(event: &Event) -> Told {
    match event {
        Event::Ready(_) => Told::bare("ready", Tone::Plain, ""),
        Event::Gap(_) => Told::bare("gap", Tone::Bad, "events since the asked place are lost: list again"),
        Event::Allocated(one) => Told::allocation("allocated", Tone::Good, one),
        Event::Renewed(one) => Told::allocation("renewed", Tone::Plain, one),
        Event::Ended(past) => Told {
            word: "ended",
            tone: Tone::Notable,
            pool: past.pool_id.clone(),
            resource: past.resource.clone(),
            subscriber: past.subscriber_id.clone(),
            about: cause(past).to_owned(),
            document: Some(past_row(past).document),
        },
        Event::Pool(pool) if pool.revision <= 1 => Told::pool("pool_created", Tone::Good, pool),
        Event::Pool(pool) => Told::pool("pool_updated", Tone::Plain, pool),
        Event::PoolDeleted(pool) => Told::pool("pool_deleted", Tone::Notable, pool),
        Event::Conflict(one) => Told::conflict("conflict", Tone::Bad, one),
        Event::ConflictClosed(one) => Told::conflict("conflict_closed", Tone::Good, one),
        Event::Reserved(one) => Told::reservation("reserved", one),
        Event::Unreserved(one) => Told::reservation("unreserved", one),
    }
}
