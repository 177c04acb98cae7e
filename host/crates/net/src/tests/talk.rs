use std::time::Duration;

use bytes::Bytes;

use crate::testing::{DEADLINE, Host, meet, settings, two, until};
use crate::{Channel, NetError, NetEvent, RequestError};

#[tokio::test]
async fn two_hosts_talk_on_every_channel() {
    let (one, mut two, ..) = two().await;
    for channel in Channel::ALL {
        let ask = one.ask(two.peer(), channel, b"who has it");
        let from = one.peer();
        let (result, ()) = tokio::join!(ask, async {
            let reply = two
                .wait(|event| match event {
                    NetEvent::Request { peer, channel: on, body, left, reply, .. } => {
                        assert_eq!((peer, on, body), (from, channel, Bytes::from_static(b"who has it")));
                        assert!(left <= DEADLINE && !left.is_zero());
                        Some(reply)
                    }
                    _ => None,
                })
                .await;
            reply.reply(Bytes::from_static(b"you"));
        });
        let response = result.unwrap();
        assert_eq!((response.body, response.major), (Bytes::from_static(b"you"), 1));
    }
    assert_eq!(one.net.connected(), [two.peer()]);
}

#[tokio::test]
async fn a_body_of_the_largest_size_passes_both_ways() {
    let (one, two, ..) = two().await;
    let (to, _net) = (two.peer(), two.echo());
    for channel in Channel::ALL {
        let body = Bytes::from(vec![7; channel.body_bytes()]);
        let response = one.net.request(to, channel, body.clone(), DEADLINE).await.unwrap();
        assert_eq!(response.body, body);
    }
}

/// A host that is asked, one that may ask it, and their directories.
async fn of_majors(one: &[u32], other: &[u32]) -> (Host, Host, [tempfile::TempDir; 2]) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut old = settings(dirs[0].path(), &[]);
    old.majors = one.to_vec();
    let mut old = Host::start(old).await;
    let mut new = settings(dirs[1].path(), &[old.address()]);
    new.majors = other.to_vec();
    let mut new = Host::start(new).await;
    old.wait_for(new.peer()).await;
    new.wait_for(old.peer()).await;
    old.net.allow(new.peer());
    new.net.allow(old.peer());
    (old, new, dirs)
}

async fn talk_in(one: &[u32], other: &[u32]) -> u32 {
    let (old, new, _dirs) = of_majors(one, other).await;
    let (to, _net) = (old.peer(), old.echo());
    until(async || new.ask(to, Channel::Route, b"").await.ok()).await.major
}

#[tokio::test]
async fn two_adjacent_releases_work_together_and_speak_the_newest_that_both_know() {
    assert_eq!(talk_in(&[2, 1], &[3, 2]).await, 2);
    assert_eq!(talk_in(&[3, 2], &[2, 1]).await, 2);
    assert_eq!(talk_in(&[1], &[2, 1]).await, 1);
    assert_eq!(talk_in(&[2, 1], &[2, 1]).await, 2);
}

#[tokio::test]
async fn releases_too_far_apart_can_only_say_hello() {
    let (old, new, _dirs) = of_majors(&[1], &[3, 2]).await;
    let (to, net) = (old.peer(), old.echo());
    assert_eq!(new.ask(to, Channel::Route, b"").await, Err(RequestError::Refused));
    assert_eq!(net.stats().refused_not_allowed, 0, "it has no such channel, open or shut");
    assert_eq!(new.ask(to, Channel::Hello, b"").await.unwrap().major, 1);
}

#[tokio::test]
async fn the_answering_side_sees_the_version_too() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut newer = settings(one_dir.path(), &[]);
    newer.majors = vec![2, 1];
    let mut newer = Host::start(newer).await;
    let mut older = Host::start(settings(two_dir.path(), &[newer.address()])).await;
    meet(&mut newer, &mut older).await;
    let ask = older.ask(newer.peer(), Channel::Route, b"");
    let (to, answer) = (older.peer(), async {
        let (major, reply) = newer
            .wait(|event| match event {
                NetEvent::Request { major, reply, channel: Channel::Route, .. } => Some((major, reply)),
                _ => None,
            })
            .await;
        assert_eq!(major, 1);
        reply.reply(Bytes::new());
    });
    let (result, ()) = tokio::join!(ask, answer);
    assert_eq!(result.unwrap().major, 1, "{to}");
}

#[tokio::test]
async fn a_request_that_is_dropped_or_refused_is_refused_and_one_put_off_is_busy() {
    let (one, mut two, ..) = two().await;
    for (answer, expected) in
        [("drop", RequestError::Refused), ("refuse", RequestError::Refused), ("busy", RequestError::Busy)]
    {
        let ask = one.ask(two.peer(), Channel::Route, b"");
        let (result, ()) = tokio::join!(ask, async {
            let reply = two
                .wait(|event| match event {
                    NetEvent::Request { reply, .. } => Some(reply),
                    _ => None,
                })
                .await;
            match answer {
                "drop" => drop(reply),
                "refuse" => reply.refuse(),
                _ => reply.busy(),
            }
        });
        assert_eq!(result, Err(expected), "{answer}");
    }
}

#[tokio::test]
async fn who_is_not_connected_is_unreachable_and_a_stopped_network_is_closed() {
    let (one, two, ..) = two().await;
    let (mut one, gone) = (one, two.peer());
    two.net.stop().await;
    one.wait_without(gone).await;
    assert_eq!(one.ask(gone, Channel::Route, b"").await, Err(RequestError::Unreachable));
    let handle = one.net.clone();
    one.net.stop().await;
    assert!(handle.connected().is_empty());
    let result = handle.request(gone, Channel::Route, Bytes::new(), Duration::from_secs(5)).await;
    assert_eq!(result, Err(RequestError::Closed));
    assert_eq!(handle.publish(Bytes::new()).await, Err(crate::PublishError::Closed));
}

#[tokio::test]
async fn a_peer_that_ends_while_it_is_asked_is_unreachable() {
    let (one, mut two, ..) = two().await;
    let ask = one.ask(two.peer(), Channel::Route, b"");
    let (result, ()) = tokio::join!(ask, async {
        let reply = two
            .wait(|event| match event {
                NetEvent::Request { reply, .. } => Some(reply),
                _ => None,
            })
            .await;
        two.net.stop().await;
        drop(reply);
    });
    assert_eq!(result, Err(RequestError::Unreachable));
}

#[tokio::test]
async fn an_identity_outlasts_a_restart_and_a_damaged_one_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Host::start(settings(dir.path(), &[])).await;
    let peer = first.peer();
    first.net.stop().await;
    let again = Host::start(settings(dir.path(), &[])).await;
    assert_eq!(again.peer(), peer);
    again.net.stop().await;
    std::fs::write(dir.path().join("p2p.key"), "rubbish").unwrap();
    let error = crate::Net::start(settings(dir.path(), &[])).await.unwrap_err();
    assert!(matches!(error, NetError::DamagedKey { .. }), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let mut taken = settings(dir.path(), &[]);
    taken.listen = vec![address];
    let error = crate::Net::start(taken).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    let mut several = settings(other.path(), &[]);
    several.listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let host = Host::start(several).await;
    assert_eq!(host.net.local_addresses().len(), 2);
}
