use std::sync::Arc;

use libp2p::Transport as _;
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::greeting::{Greeter, Met};
use crate::presence::{Claim, Presence};
use crate::testing::{DEADLINE, Host, quick, settings, until};
use crate::{Channel, NetEvent, StrangerReason, behaviour};

/// The reason why a stranger was refused; nothing else may be told before.
async fn refusal(host: &mut Host) -> StrangerReason {
    match host.next().await {
        NetEvent::StrangerRefused { reason, address } => {
            assert!(address.starts_with("/ip4/127.0.0.1/tcp/"), "{address}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_with_another_key_is_refused_and_both_operators_are_told() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = Host::start(settings(one_dir.path(), &[])).await;
    let mut other = settings(two_dir.path(), &[one.address()]);
    other.cluster_key = Some("another secret text".parse().unwrap());
    let mut stranger = Host::start(other).await;
    for host in [&mut one, &mut stranger] {
        assert_eq!(refusal(host).await, StrangerReason::OtherKey);
        assert_eq!(refusal(host).await, StrangerReason::OtherKey, "it tries again, and nothing of it arrives");
        assert!(host.net.connected().is_empty());
        assert!(host.net.stats().strangers_other_key >= 2);
    }
}

#[tokio::test]
async fn a_host_without_any_key_is_refused() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Host::start(settings(one_dir.path(), &[])).await;
    let mut keyless = settings(two_dir.path(), &[one.address()]);
    keyless.cluster_key = None;
    let mut keyless = Host::start(keyless).await;
    assert_eq!(refusal(&mut keyless).await, StrangerReason::OtherKey);
    until(async || {
        let stats = one.net.stats();
        (stats.strangers_other_key + stats.strangers_silent >= 2).then_some(())
    })
    .await;
    assert!(one.net.connected().is_empty());
}

#[tokio::test]
async fn hosts_on_loopback_may_do_without_a_key() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keyless = |dir: &std::path::Path, peers: &[String]| {
        let mut settings = settings(dir, peers);
        settings.cluster_key = None;
        settings
    };
    let one = Host::start(keyless(one_dir.path(), &[])).await;
    let mut two = Host::start(keyless(two_dir.path(), &[one.address()])).await;
    two.wait_for(one.peer()).await;
    let (to, _net) = (one.peer(), one.echo());
    assert!(two.ask(to, Channel::Hello, b"").await.is_ok());
}

#[tokio::test]
async fn a_process_on_a_copy_of_a_directory_is_refused_beside_its_original_and_told() {
    let (one_dir, two_dir, copy_dir) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut one = Host::start(settings(one_dir.path(), &[])).await;
    let mut original = Host::start(settings(two_dir.path(), &[one.address()])).await;
    one.wait_for(original.peer()).await;
    std::fs::copy(two_dir.path().join("p2p.key"), copy_dir.path().join("p2p.key")).unwrap();
    let of_copy = settings(copy_dir.path(), &[one.address()]);
    let copied = of_copy.process;
    let mut copy = Host::start(of_copy).await;
    let by = copy.wait(|event| match event {
        NetEvent::RefusedAsCopy { by, address } => Some((by, address)),
        NetEvent::Connected { .. } => panic!("it was let in"),
        _ => None,
    });
    assert_eq!(by.await, (one.peer(), one.address()));
    let refused = one.wait(|event| match event {
        NetEvent::CopyRefused { peer, .. } => Some(peer),
        NetEvent::Disconnected { .. } => panic!("the original must not suffer"),
        _ => None,
    });
    assert_eq!(refused.await, original.peer());
    assert!(copy.net.connected().is_empty());
    assert_eq!((one.net.stats().strangers_silent, copy.net.stats().strangers_silent), (0, 0));
    // Unless it is the one that is wanted: then the other one makes way, and is refused from then on.
    one.net.prefer(copy.peer(), copied);
    copy.wait_for(one.peer()).await;
    original.wait(|event| matches!(event, NetEvent::RefusedAsCopy { .. }).then_some(())).await;
    assert_eq!(one.net.connected(), [copy.peer()]);
    // In its place, but not beside it.
    one.net.prefer(copy.peer(), 0);
    copy.net.stop().await;
    original.wait_for(one.peer()).await;
}

#[tokio::test]
async fn whoever_comes_cannot_say_that_our_place_is_taken() {
    let (dir, liar_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut host = Host::start(settings(dir.path(), &[])).await;
    let address: libp2p::Multiaddr = host.address().parse().unwrap();
    let how = || DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let (settings, key) = (settings(liar_dir.path(), &[]), libp2p::identity::ed25519::Keypair::generate());
    // It claims to be connected with another process of whoever it greets.
    let presence = Arc::new(Presence::default());
    presence.takes(Claim { peer: host.peer().0, process: 0 });
    let (met, mut told) = tokio::sync::mpsc::channel(1);
    let greeter = Greeter::new(&settings, &key.public(), DEADLINE, met, presence, Arc::default());
    let mut liar = behaviour::transport(&settings, &quick(), &key.into(), greeter).unwrap();
    assert!(liar.dial(address, how()).unwrap().await.is_err());
    assert_eq!(told.recv().await.map(|met| matches!(met, Met::CopyRefused { .. })), Some(true));
    // The next that is told is of somebody else.
    let mut plain = TcpStream::connect(("127.0.0.1", host.port())).await.unwrap();
    plain.write_all(&[0x5a; 256]).await.unwrap();
    assert_eq!(refusal(&mut host).await, StrangerReason::OtherKey);
}

#[tokio::test]
async fn rubbish_on_a_plain_connection_is_refused_and_hung_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::start(settings(dir.path(), &[])).await;
    let mut plain = TcpStream::connect(("127.0.0.1", host.port())).await.unwrap();
    plain.write_all(&[0x5a; 256]).await.unwrap();
    assert_eq!(refusal(&mut host).await, StrangerReason::OtherKey);
    let mut rest = Vec::new();
    // Ends with the end of the stream, or with a reset; a connection that stays open would never end.
    let end = tokio::time::timeout(crate::testing::DEADLINE, plain.read_to_end(&mut rest)).await;
    end.expect("it was hung up").ok();
    assert_eq!(host.net.stats().strangers_other_key, 1);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_hung_up() {
    let dir = tempfile::tempdir().unwrap();
    let timing =
        crate::limits::Timing { greet_within: std::time::Duration::from_millis(100), ..crate::testing::quick() };
    let mut host = Host::start_with(settings(dir.path(), &[]), timing).await;
    let _silent = TcpStream::connect(("127.0.0.1", host.port())).await.unwrap();
    assert_eq!(refusal(&mut host).await, StrangerReason::Silent);
    assert_eq!(host.net.stats().strangers_silent, 1);
}
