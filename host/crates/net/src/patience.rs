//! A connection whose other end takes nothing any more ends with an error.
//!
//! A cable that is cut tells nobody. Pings find that out, but to close a connection its last bytes must leave first, and once
//! the socket's buffer is full they leave only when the system gives up, after a quarter of an hour or more: for so long the
//! peer would count as connected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// A stream that waits only so long for room to write to.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    within: Duration,
    /// Since something did not fit; it wakes whoever writes.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) const fn new(stream: S, within: Duration) -> Self {
        Self { stream, within, waits: None }
    }

    /// What became of an attempt to write, or that it has waited for too long.
    fn patiently<T>(&mut self, attempt: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.waits = None;
            return attempt;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(self.within)));
        ready!(waits.as_mut().poll(cx));
        let why = format!("the peer has taken nothing for {} s", self.within.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let attempt = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.patiently(attempt, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let attempt = Pin::new(&mut this.stream).poll_flush(cx);
        this.patiently(attempt, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let attempt = Pin::new(&mut this.stream).poll_close(cx);
        this.patiently(attempt, cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::AsyncWriteExt as _;

    use tokio::time::Instant;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(15);

    /// Not so long.
    const BEFORE: Duration = Duration::from_secs(14);

    /// A socket's buffer that nobody empties.
    #[derive(Debug)]
    struct Buffer {
        room: usize,
    }

    impl AsyncWrite for Buffer {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let fits = buf.len().min(self.room);
            self.room -= fits;
            if fits == 0 { Poll::Pending } else { Poll::Ready(Ok(fits)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_an_error_after_a_while() {
        let began = Instant::now();
        let mut stream = Patient::new(Buffer { room: 4 }, WITHIN);
        stream.write_all(b"four").await.expect("there is room");
        let error = stream.write_all(b"more").await.expect_err("there is none");
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, WITHIN));
        assert!(error.to_string().contains("15 s"), "{error}");
        stream.close().await.expect_err("it cannot be closed either");
        assert_eq!(began.elapsed(), WITHIN, "nobody waits for the same again");
    }

    #[tokio::test(start_paused = true)]
    async fn room_in_time_begins_the_wait_anew() {
        let began = Instant::now();
        let mut stream = Patient::new(Buffer { room: 0 }, WITHIN);
        for _ in 0..3 {
            let late = tokio::time::timeout(BEFORE, stream.write(b"x")).await;
            assert!(late.is_err(), "there is no room yet");
            stream.stream.room = 1;
            assert_eq!(stream.write(b"x").await.expect("there is room"), 1);
        }
        assert_eq!(began.elapsed(), 3 * BEFORE);
    }
}
