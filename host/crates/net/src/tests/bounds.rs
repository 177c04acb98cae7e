use std::time::Duration;

use bytes::Bytes;

use crate::testing::{DEADLINE, Host, settings, two, until};
use crate::{Channel, NetEvent, PublishError, Replier, RequestError};

/// Waits until so many requests are with the owner, which keeps them.
async fn keep(host: &mut Host, wanted: usize) -> Vec<Replier> {
    let mut kept = Vec::new();
    while kept.len() < wanted {
        if let NetEvent::Request { reply, .. } = host.next().await {
            kept.push(reply);
        }
    }
    kept
}

/// Sends so many requests at once, without waiting for answers.
fn send(host: &Host, to: &Host, channel: Channel, count: usize) {
    for _ in 0..count {
        let (net, to) = (host.net.clone(), to.peer());
        tokio::spawn(async move { net.request(to, channel, Bytes::new(), DEADLINE).await });
    }
}

#[tokio::test]
async fn one_request_too_many_is_busy_and_other_channels_are_free() {
    let (one, mut two, ..) = two().await;
    send(&one, &two, Channel::Ledger, Channel::Ledger.in_flight());
    let kept = keep(&mut two, Channel::Ledger.in_flight()).await;
    assert_eq!(one.ask(two.peer(), Channel::Ledger, b"").await, Err(RequestError::Busy));
    let ask = one.ask(two.peer(), Channel::Route, b"");
    let (result, ()) = tokio::join!(ask, async {
        keep(&mut two, 1).await.remove(0).reply(Bytes::new());
    });
    assert!(result.is_ok());
    drop(kept);
    until(async || match one.net.request(two.peer(), Channel::Ledger, Bytes::new(), Duration::from_millis(50)).await {
        Err(RequestError::Busy) => None,
        _ => Some(()),
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let (one, two, ..) = two().await;
    for channel in Channel::ALL {
        let most_bytes = channel.body_bytes();
        let result = one.net.request(two.peer(), channel, Bytes::from(vec![0; most_bytes + 1]), DEADLINE).await;
        let found_bytes = most_bytes as u64 + 1;
        assert_eq!(result, Err(RequestError::TooLarge { channel, found_bytes, most_bytes }));
    }
    let gossip = one.net.publish(Bytes::from(vec![0; 48 * 1024 + 1])).await;
    assert!(matches!(gossip, Err(PublishError::TooLarge { found_bytes: 49_153, most_bytes: 49_152 })));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_at_the_peer() {
    let (one, mut two, ..) = two().await;
    let ask = one.ask(two.peer(), Channel::Hello, b"");
    let (result, ()) = tokio::join!(ask, async {
        keep(&mut two, 1).await.remove(0).reply(Bytes::from(vec![0; 16 * 1024 + 1]));
    });
    assert_eq!(result, Err(RequestError::Refused));
}

#[tokio::test]
async fn an_answer_that_is_too_late_is_none_and_the_peer_knew_its_deadline() {
    let (one, mut two, ..) = two().await;
    let within = Duration::from_millis(200);
    let ask = one.net.request(two.peer(), Channel::Route, Bytes::new(), within);
    let (result, kept) = tokio::join!(
        ask,
        two.wait(|event| match event {
            NetEvent::Request { left, reply, .. } => {
                assert!(left <= within);
                Some(reply)
            }
            _ => None,
        })
    );
    assert_eq!(result, Err(RequestError::TimedOut));
    until(async || (two.net.stats().answered_late == 1).then_some(())).await;
    kept.reply(Bytes::new());
    // The place is free again at both ends.
    let (to, _net) = (two.peer(), two.echo());
    assert!(one.ask(to, Channel::Route, b"").await.is_ok());
}

#[tokio::test]
async fn a_peer_that_was_not_allowed_can_only_say_hello() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut host = Host::start(settings(one_dir.path(), &[])).await;
    let mut guest = Host::start(settings(two_dir.path(), &[host.address()])).await;
    guest.wait_for(host.peer()).await;
    host.wait_for(guest.peer()).await;
    guest.net.allow(host.peer());
    for channel in [Channel::Ledger, Channel::State, Channel::Route] {
        assert_eq!(guest.ask(host.peer(), channel, b"let me in").await, Err(RequestError::Refused), "{channel}");
    }
    // It has allowed nobody, so it cannot know who belongs here: nobody is blamed.
    for _ in 0..30 {
        assert_eq!(guest.ask(host.peer(), Channel::State, b"let me in").await, Err(RequestError::Refused));
    }
    let stats = host.net.stats();
    assert_eq!((stats.refused_not_allowed, stats.peers_cut_off), (33, 0));
    let ask = guest.ask(host.peer(), Channel::Hello, b"may I");
    let (result, ()) = tokio::join!(ask, async {
        let NetEvent::Request { channel: Channel::Hello, body, reply, .. } = host.next().await else {
            panic!("something came before the hello");
        };
        reply.reply(body);
    });
    assert_eq!(result.unwrap().body, "may I");

    host.net.allow(guest.peer());
    let (to, other) = (host.peer(), guest.peer());
    let net = host.echo();
    until(async || guest.ask(to, Channel::Route, b"").await.ok()).await;
    net.disallow(other);
    until(async || (guest.ask(to, Channel::Route, b"").await == Err(RequestError::Refused)).then_some(())).await;
}

#[tokio::test]
async fn hello_is_for_once_in_a_while() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let host = Host::start(settings(one_dir.path(), &[])).await;
    let mut guest = Host::start(settings(two_dir.path(), &[host.address()])).await;
    guest.wait_for(host.peer()).await;
    let (to, net) = (host.peer(), host.echo());
    let hello = async || guest.net.request(to, Channel::Hello, Bytes::new(), DEADLINE).await;
    assert!(hello().await.is_ok());
    until(async || (hello().await == Err(RequestError::Busy)).then_some(())).await;
    assert!(net.stats().refused_busy >= 1);
}

#[tokio::test]
async fn a_slow_owner_misses_gossip_first_then_state_requests() {
    let (one, two, ..) = two().await;
    until(async || {
        // What does not fit the queues is lost, as hints may be.
        let _ = one.net.publish(Bytes::from(rand::random::<[u8; 16]>().to_vec())).await;
        (two.net.stats().gossip_dropped > 0).then_some(())
    })
    .await;
    let before = two.net.stats().requests_received;
    send(&one, &two, Channel::Ledger, Channel::Ledger.in_flight());
    send(&one, &two, Channel::Route, Channel::Route.in_flight());
    let wanted = before + (Channel::Ledger.in_flight() + Channel::Route.in_flight()) as u64;
    until(async || (two.net.stats().requests_received == wanted).then_some(())).await;
    assert_eq!(one.ask(two.peer(), Channel::State, b"").await, Err(RequestError::Busy));
    assert_eq!(two.net.stats().refused_owner_slow, 1);
}
