use bytes::Bytes;

use crate::testing::{Host, meet, settings, two, until};
use crate::{Channel, NetEvent, PublishError};

#[tokio::test]
async fn gossip_reaches_an_allowed_peer_with_its_author() {
    let (one, mut two, ..) = two().await;
    let body = Bytes::from(vec![1; 48 * 1024]);
    until(async || one.net.publish(body.clone()).await.ok()).await;
    let (from, heard) = two
        .wait(|event| match event {
            NetEvent::Gossip { from, body } => Some((from, body)),
            _ => None,
        })
        .await;
    assert_eq!((from, heard), (one.peer(), body));
}

#[tokio::test]
async fn large_messages_arrive_though_others_are_right_behind_them() {
    let (one, mut two, ..) = two().await;
    // Each text is another, or it would be taken for a repeat.
    let body = |number: u8| Bytes::from(vec![number; 48 * 1024]);
    until(async || one.net.publish(body(0)).await.ok()).await;
    for number in 1..50 {
        one.net.publish(body(number)).await.unwrap();
    }
    for number in 0..50 {
        let heard = two.wait(|event| if let NetEvent::Gossip { body, .. } = event { Some(body) } else { None }).await;
        assert_eq!(heard, body(number));
    }
    let too_large = Bytes::from(vec![7; 48 * 1024 + 1]);
    let refused = PublishError::TooLarge { found_bytes: 48 * 1024 + 1, most_bytes: 48 * 1024 };
    assert_eq!(one.net.publish(too_large).await, Err(refused));
}

#[tokio::test]
async fn nothing_is_gossiped_with_a_peer_that_was_not_allowed() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = Host::start(settings(one_dir.path(), &[])).await;
    let mut two = Host::start(settings(two_dir.path(), &[one.address()])).await;
    two.wait_for(one.peer()).await;
    one.wait_for(two.peer()).await;
    two.net.allow(one.peer());
    // A whole exchange later the other has still not said that it listens.
    let ask = two.ask(one.peer(), Channel::Hello, b"");
    tokio::join!(async { ask.await.unwrap() }, async {
        let NetEvent::Request { reply, .. } = one.next().await else { panic!("no hello") };
        reply.reply(Bytes::new());
    });
    assert_eq!(two.net.publish(Bytes::from_static(b"psst")).await, Err(PublishError::NoPeers));
    one.net.allow(two.peer());
    until(async || two.net.publish(Bytes::from_static(b"hear me")).await.ok()).await;
    let heard = one
        .wait(|event| match event {
            NetEvent::Gossip { body, .. } => Some(body),
            _ => None,
        })
        .await;
    assert_eq!(heard, "hear me");
}

#[tokio::test]
async fn what_is_gossiped_is_passed_on_by_nobody() {
    let (mut one, mut two, ..) = two().await;
    let three_dir = tempfile::tempdir().unwrap();
    let mut three = Host::start(settings(three_dir.path(), &[two.address()])).await;
    meet(&mut two, &mut three).await;
    for body in ["first", "second"] {
        until(async || three.net.publish(Bytes::from_static(body.as_bytes())).await.ok()).await;
        let heard =
            two.wait(|event| matches!(event, NetEvent::Gossip { from, .. } if from == three.peer()).then_some(()));
        heard.await;
    }
    until(async || two.net.publish(Bytes::from_static(b"mine")).await.ok()).await;
    let heard = one
        .wait(|event| match event {
            NetEvent::Gossip { from, body } => Some((from, body)),
            _ => None,
        })
        .await;
    assert_eq!(heard, (two.peer(), Bytes::from_static(b"mine")), "and nothing of the third");
}
