//! How long a caller waits: said with a gRPC call, and told to every host that works for it, so that none carries out what
//! nobody waits for any more.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use http::{HeaderMap, Request};
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static UNTIL: Instant;
}

/// When the caller of the request that is served gives up; `None`: it did not say.
pub(crate) fn until() -> Option<Instant> {
    UNTIL.try_with(|until| *until).ok()
}

/// How long the caller waits (gRPC over HTTP/2, `Timeout`): up to eight digits and a unit. What is not that is no deadline.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Lets [`until`] tell what goes through it how long its caller waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines;

/// A service that knows it.
#[derive(Clone, Debug)]
pub(crate) struct Hurried<S>(S);

impl<S> Layer<S> for Deadlines {
    type Service = Hurried<S>;

    fn layer(&self, inner: S) -> Hurried<S> {
        Hurried(inner)
    }
}

impl<S, In> Service<Request<In>> for Hurried<S>
where
    S: Service<Request<In>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<TaskLocalFuture<Instant, S::Future>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let until = timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
        let answer = self.0.call(request);
        match until {
            Some(until) => Either::Left(UNTIL.scope(until, answer)),
            None => Either::Right(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value.parse().unwrap());
        timeout(&headers)
    }

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it_and_nothing_else_is() {
        let seconds = Duration::from_secs;
        assert_eq!(read("2H"), Some(seconds(7_200)));
        assert_eq!(read("3M"), Some(seconds(180)));
        assert_eq!(read("99999999S"), Some(seconds(99_999_999)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        for wrong in ["", "S", "5", "-1S", "+1S", "100000000S", "1 S", "1.5S", "5s", "5\u{b5}"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
