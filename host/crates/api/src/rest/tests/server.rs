//! The face on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::tls::Incoming;

const DEADLINE: Duration = Duration::from_secs(10);

async fn serving() -> (Daemon, SocketAddr, JoinHandle<std::io::Result<()>>) {
    let daemon = Daemon::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = Incoming::new(listener, None);
    let server = tokio::spawn(super::super::serve(Arc::clone(&daemon.app), Arc::new(Authority::open()), incoming));
    (daemon, address, server)
}

/// Sends a request on an open connection and reads until the answer's text has `enough`.
async fn exchange(peer: &mut TcpStream, request: &str, enough: &str) -> String {
    peer.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let reading = async {
        let mut chunk = [0; 4096];
        while !text.contains(enough) {
            let read = peer.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the connection ended after {text:?}");
            text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
        }
    };
    timeout(DEADLINE, reading).await.unwrap();
    text
}

#[tokio::test]
async fn a_drain_waits_for_nobody_who_says_nothing() {
    let (daemon, address, server) = serving().await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    exchange(&mut idle, "GET /health HTTP/1.1\r\nhost: n\r\n\r\n", "\r\n\r\nok").await;
    let mut watching = TcpStream::connect(address).await.unwrap();
    exchange(&mut watching, "GET /api/v1/watch HTTP/1.1\r\nhost: n\r\n\r\n", "event: start").await;
    daemon.app.stopping().cancel();
    timeout(DEADLINE, server).await.unwrap().unwrap().unwrap();
    assert_eq!(timeout(DEADLINE, idle.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn the_answer_to_a_body_that_is_too_long_is_seen() {
    let (_daemon, address, _server) = serving().await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    let body = "x".repeat(3 << 20);
    let request = format!("POST /api/v1/pools HTTP/1.1\r\nhost: n\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert!(exchange(&mut peer, &request, "TOO_LARGE").await.starts_with("HTTP/1.1 413 "));
    // The connection is as good as before.
    exchange(&mut peer, "GET /health HTTP/1.1\r\nhost: n\r\n\r\n", "\r\n\r\nok").await;
}
