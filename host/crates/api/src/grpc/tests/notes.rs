//! Notes.

use nexus_proto::v1::watch_notes_response::Event;
use tokio::time::timeout;

use super::*;

fn put(key: &str, value: &str, version: &str) -> v1::PutNoteRequest {
    v1::PutNoteRequest { key: key.to_owned(), value: value.to_owned(), version: version.to_owned() }
}

#[tokio::test]
async fn a_note_is_written_read_listed_watched_and_deleted() {
    let served = Served::start().await;
    let client = served.client().await;
    let watch = v1::WatchNotesRequest { prefix: "olt/".to_owned(), resume_token: String::new() };
    let mut events = answered(client.notes().watch_notes(watch).await).unwrap();
    let mut next = async || timeout(DEADLINE, events.message()).await.unwrap().unwrap().unwrap().event.unwrap();
    assert!(matches!(next().await, Event::Ready(_)));
    let first = answered(client.notes().put_note(put("olt/1", "by the mill", "")).await).unwrap().note.unwrap();
    answered(client.notes().put_note(put("site/1", "x", "")).await).unwrap();
    let get = v1::GetNoteRequest { key: "olt/1".to_owned() };
    assert_eq!(answered(client.notes().get_note(get.clone()).await).unwrap().note.unwrap(), first);
    let second = put("olt/1", "moved", &first.version);
    let second = answered(client.notes().put_note(second).await).unwrap().note.unwrap();
    let late = blame(answered(client.notes().put_note(put("olt/1", "late", &first.version)).await));
    assert_eq!(late, (Code::Aborted, "VERSION_DIFFERS".to_owned(), "version".to_owned()));
    let list = v1::ListNotesRequest { prefix: "olt".to_owned(), ..Default::default() };
    let page = answered(client.notes().list_notes(list).await).unwrap();
    assert_eq!((page.notes, page.total, page.next_cursor.as_str()), (vec![second.clone()], 1, ""));
    let delete = v1::DeleteNoteRequest { key: "olt/1".to_owned(), version: second.version.clone() };
    answered(client.notes().delete_note(delete.clone()).await).unwrap();
    let gone = (Code::NotFound, "NOTE_UNKNOWN".to_owned(), "key".to_owned());
    assert_eq!(blame(answered(client.notes().get_note(get).await)), gone);
    let again = v1::DeleteNoteRequest { version: String::new(), ..delete };
    assert_eq!(blame(answered(client.notes().delete_note(again).await)), gone);
    // The other key is not watched, and a deletion says nothing.
    for said in [Some("by the mill"), Some("moved"), None] {
        let Event::Note(note) = next().await else { panic!("a note") };
        assert_eq!((note.key.as_str(), note.value.as_deref()), ("olt/1", said));
    }
}

#[tokio::test]
async fn what_is_no_key_and_no_text_is_named() {
    let served = Served::start().await;
    let client = served.client().await;
    for (request, field) in [
        (put("", "x", ""), "key"),
        (put("a//b", "x", ""), "key"),
        (put("a", "\u{1}", ""), "value"),
        (put("a", &"x".repeat(4_097), ""), "value"),
        (put("a", "x", "yesterday"), "version"),
    ] {
        let blamed = blame(answered(client.notes().put_note(request).await));
        assert_eq!(blamed, (Code::InvalidArgument, "INVALID_FIELD".to_owned(), field.to_owned()));
    }
    let list = v1::ListNotesRequest { cursor: "zz".to_owned(), ..Default::default() };
    assert_eq!(blame(answered(client.notes().list_notes(list).await)).1, "CURSOR_INVALID");
}
