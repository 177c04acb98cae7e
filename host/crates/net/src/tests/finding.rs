use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::NetEvent;
use crate::limits::Timing;
use crate::testing::{Host, quick, settings, two, until};

#[tokio::test]
async fn a_peer_is_told_with_its_addresses_and_its_name() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Host::start(settings(one_dir.path(), &[])).await;
    let mut two = Host::start(settings(two_dir.path(), &[one.address()])).await;
    let (addresses, agent) = two.wait_for(one.peer()).await;
    assert_eq!((addresses, agent), (vec![one.address()], "nexus/test".to_owned()));
}

#[tokio::test]
async fn a_name_of_many_hosts_is_resolved_and_dialed() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Host::start(settings(one_dir.path(), &[])).await;
    let mut two = Host::start(settings(two_dir.path(), &[format!("dns:localhost:{}", one.port())])).await;
    two.wait_for(one.peer()).await;
    let three_dir = tempfile::tempdir().unwrap();
    let mut three = Host::start(settings(three_dir.path(), &[format!("/dns4/localhost/tcp/{}", one.port())])).await;
    three.wait_for(one.peer()).await;
}

#[tokio::test]
async fn a_peer_that_comes_up_later_is_found() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = free();
    let mut one = Host::start(settings(one_dir.path(), &[address.to_string()])).await;
    until(async || (one.net.stats().dials_failed >= 2).then_some(())).await;
    let mut late = settings(two_dir.path(), &[]);
    late.listen = vec![address];
    let two = Host::start(late).await;
    one.wait_for(two.peer()).await;
}

#[tokio::test]
async fn a_peer_that_returns_on_another_port_is_found_through_what_it_knows() {
    let (mut one, two, _one_dir, two_dir) = two().await;
    let (peer, before) = (two.peer(), two.address());
    two.net.stop().await;
    one.wait_without(peer).await;
    let two = Host::start(settings(two_dir.path(), &[one.address()])).await;
    let (addresses, _) = one.wait_for(peer).await;
    assert_eq!(addresses, [two.address()]);
    assert_ne!(addresses, [before]);
}

#[tokio::test]
async fn a_peer_that_returns_on_another_port_is_found_through_the_addresses_it_is_known_by() {
    let (mut one, two, _one_dir, two_dir) = two().await;
    let (peer, before) = (two.peer(), two.address());
    one.net.dial(peer, std::slice::from_ref(&before));
    two.net.stop().await;
    one.wait_without(peer).await;
    let failed = one.net.stats().dials_failed;
    until(async || (one.net.stats().dials_failed > failed).then_some(())).await;
    let two = Host::start(settings(two_dir.path(), &[])).await;
    one.net.dial(peer, &[before, two.address()]);
    one.wait_for(peer).await;
}

#[tokio::test]
async fn another_host_at_a_known_address_is_not_taken_for_the_peer() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Host::start(settings(one_dir.path(), &[])).await;
    let two = Host::start(settings(two_dir.path(), &[])).await;
    let wanted = crate::PeerId(libp2p::PeerId::random());
    one.net.dial(wanted, &[two.address(), "/dns4/x/tcp/1".to_owned(), "rubbish".to_owned()]);
    until(async || (one.net.stats().dials_failed >= 2).then_some(())).await;
    assert!(one.net.connected().is_empty());
}

/// An address at which nobody listens: no other test uses this part of the loopback network, so none gets its port meanwhile.
fn free() -> SocketAddr {
    static GIVEN: AtomicU8 = AtomicU8::new(1);
    let ip = Ipv4Addr::new(127, 77, 0, GIVEN.fetch_add(1, Ordering::Relaxed));
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Starts a host that listens on `own` and finds itself at `peer`: it must notice, and leave that address alone.
async fn finds_itself(own: SocketAddr, peer: String) {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Host::start(settings(one_dir.path(), &[])).await;
    let mut both = settings(two_dir.path(), &[peer]);
    both.listen = vec![own];
    let mut two = Host::start(both).await;
    until(async || (two.net.stats().own_dials == 1).then_some(())).await;
    // Several pauses later, as another address shows that is dialed in vain.
    let failed = two.net.stats().dials_failed;
    two.net.dial(one.peer(), &[crate::address::multiaddr(free()).to_string()]);
    until(async || (two.net.stats().dials_failed >= failed + 4).then_some(())).await;
    two.net.dial(one.peer(), &[one.address()]);
    two.wait_for(one.peer()).await;
    assert_eq!(two.net.stats().own_dials, 1);
    assert_eq!(two.net.stats().identity_clashes, 0);
}

#[tokio::test]
async fn a_dial_to_ourselves_is_dropped_and_not_repeated() {
    let own = free();
    finds_itself(own, own.to_string()).await;
}

#[tokio::test]
async fn a_dial_to_ourselves_by_a_detour_is_dropped_and_not_repeated() {
    let own = free();
    let (port, _) = freezable(own).await;
    finds_itself(own, format!("127.0.0.1:{port}")).await;
}

/// Passes bytes on to a host, until it is frozen; then it keeps its connections and passes nothing.
async fn freezable(to: SocketAddr) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let frozen = Arc::new(AtomicBool::new(false));
    let freeze = frozen.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::spawn(pass(near_in, far_out, freeze.clone()));
            tokio::spawn(pass(far_in, near_out, freeze.clone()));
        }
    });
    (port, frozen)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if frozen.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dropped() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let timing = Timing { ping_every: Duration::from_millis(50), silent_after: Duration::from_millis(500), ..quick() };
    let mut one = Host::start_with(settings(one_dir.path(), &[]), timing).await;
    let (port, frozen) = freezable(SocketAddr::from(([127, 0, 0, 1], one.port()))).await;
    let two = Host::start(settings(two_dir.path(), &[format!("127.0.0.1:{port}")])).await;
    one.wait_for(two.peer()).await;
    frozen.store(true, Ordering::SeqCst);
    one.wait_without(two.peer()).await;
    assert!(one.net.stats().dropped_silent >= 1);
}

#[tokio::test]
async fn two_hosts_with_one_key_file_are_told() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = Host::start(settings(one_dir.path(), &[])).await;
    std::fs::copy(one_dir.path().join("p2p.key"), two_dir.path().join("p2p.key")).unwrap();
    let mut two = Host::start(settings(two_dir.path(), &[one.address()])).await;
    let clash = |event| matches!(event, NetEvent::IdentityClash { .. }).then_some(());
    one.wait(clash).await;
    two.wait(clash).await;
    assert!(one.net.connected().is_empty());
}
