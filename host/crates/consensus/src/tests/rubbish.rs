use std::sync::Arc;

use super::net::{Net, settings, voters};
use crate::record::{Entry, LogId, Membership, Payload, SnapshotMeta, Vote};
use crate::wire::{self, Answer, Ask, Asked, Envelope, Message};

fn id(term: u64, index: u64) -> LogId {
    LogId { term, leader: 9, index }
}

fn vote(term: u64) -> Vote {
    Vote { term, member: 9, committed: true }
}

fn snapshot(offset: u64, bytes: Vec<u8>) -> Message {
    let membership = Membership { configs: Vec::new(), addresses: std::collections::BTreeMap::new() };
    let meta = SnapshotMeta { last: Some(id(50, 50)), membership_id: None, membership, name: "s".to_owned() };
    Message::Snapshot { vote: vote(50), meta, offset, bytes, done: false }
}

#[tokio::test]
async fn rubbish_gets_an_error_and_harms_nobody() {
    let net = Arc::new(Net::default());
    let members = voters(&net, 1, settings()).await;
    let one = &members[0].consensus;
    let send = async |body: Vec<u8>| wire::decode::<Answer>(&one.handle(body).await).expect("an answer");
    let message = async |message| send(wire::encode(&Envelope { from: 9, to: 1, message })).await;
    let is_refused = |answer: &Answer| matches!(answer, Answer::Refused(_));

    assert!(is_refused(&send(Vec::new()).await));
    assert!(is_refused(&send(vec![9, 1, 2, 3]).await), "another version");
    assert!(is_refused(&send(vec![1; 100]).await));
    assert!(is_refused(&send(vec![1; 17 * 1024 * 1024]).await), "too large");
    let entry = |index| Entry { id: id(60, index), payload: Payload::Normal(vec![1, 2, 3]) };
    let append = |vote, previous, entries| Message::Append { vote, previous, entries, committed: None };
    let good = append(vote(60), None, vec![entry(0)]);
    let body = wire::encode(&Envelope { from: 9, to: 1, message: good.clone() });
    for cut in 0..body.len() {
        assert!(is_refused(&send(body[..cut].to_vec()).await), "cut at {cut}");
    }
    let other = wire::encode(&Envelope { from: 9, to: 2, message: good });
    assert!(is_refused(&send(other).await), "for another member");

    let uncommitted = Vote { committed: false, ..vote(60) };
    assert!(is_refused(&message(append(uncommitted, None, Vec::new())).await));
    assert!(is_refused(&message(append(vote(u64::MAX), None, Vec::new())).await));
    assert!(is_refused(&message(append(vote(60), Some(id(60, u64::MAX)), Vec::new())).await));
    assert!(is_refused(&message(append(vote(60), None, vec![entry(5)])).await), "a gap");
    assert!(is_refused(&message(append(vote(60), Some(id(60, 4)), vec![entry(5), entry(7)])).await), "a gap");
    assert!(is_refused(&message(append(vote(60), Some(id(61, 4)), vec![entry(5)])).await), "terms go back");
    assert!(is_refused(&message(snapshot(1 << 31, vec![1])).await), "beyond every snapshot");
    assert_eq!(message(snapshot(5000, vec![1])).await, Answer::SnapshotRestart, "a part without those before it");
    let large = Ask::Propose(vec![0; crate::MAX_ENTRY_BYTES + 1]);
    let answer = message(Message::Ask { ask: large, within_ms: u64::MAX }).await;
    assert!(matches!(answer, Answer::Asked(Asked::Refused(_))), "{answer:?}");

    members[0].must("still works").await;
    assert_eq!(members[0].machine.entries(), ["still works"]);
}
