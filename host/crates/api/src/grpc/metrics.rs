//! Counts calls, in the same metric family as REST.
//!
//! A layer around all services, so that calls that never reach a handler (unknown method, unreadable message) are counted
//! too. A stream counts when it begins. Paths are the methods in the descriptor; anything else is one label, `other`.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use nexus_proto::DESCRIPTORS;
use pin_project_lite::pin_project;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tower::{Layer, Service};

use super::unreadable;
use crate::app::App;

/// The `method` label of every gRPC call.
const METHOD: &str = "grpc";
const OTHER: &str = "other";

/// Counts what goes through it.
#[derive(Clone)]
pub(super) struct Counting(Arc<Shared>);

struct Shared {
    app: Arc<App>,
    paths: HashSet<String>,
    under_way: AtomicUsize,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting").field("paths", &self.0.paths.len()).finish_non_exhaustive()
    }
}

impl Counting {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self(Arc::new(Shared { app, paths: paths(), under_way: AtomicUsize::new(0) }))
    }

    /// Calls whose answer has not begun.
    pub(super) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }
}

/// A call that is counted as under way as long as this lives.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(Counting(shared): &Counting) -> Self {
        shared.under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Every method's path: `/nexus.v1.Nexus/Allocate`.
fn paths() -> HashSet<String> {
    let described = FileDescriptorSet::decode(DESCRIPTORS).expect("the build wrote a descriptor set");
    let mut paths = HashSet::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counting: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, In, Out> Service<Request<In>> for Counted<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Call<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Call<S::Future> {
        let begun = Instant::now();
        // The path lives in the request's shared buffer: this copies no text.
        let path = request.uri().path_and_query().cloned();
        let under_way = UnderWay::new(&self.counting);
        Call { answer: self.inner.call(request), under_way, path, begun }
    }
}

pin_project! {
    /// A call on its way.
    pub(super) struct Call<F> {
        #[pin]
        answer: F,
        under_way: UnderWay,
        path: Option<http::uri::PathAndQuery>,
        begun: Instant,
    }
}

impl<F, Out, E> Future for Call<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let call = self.project();
        let mut answer = ready!(call.answer.poll(context));
        let code = answer.as_mut().map_or(Code::Unknown, |answer| {
            if code_of(answer) != Code::Ok {
                unreadable::mend(answer);
            }
            code_of(answer)
        });
        let asked = call.path.as_ref().map_or(OTHER, |path| path.path());
        let Shared { app, paths, .. } = &*call.under_way.0;
        let path = paths.get(asked).map_or(OTHER, String::as_str);
        app.metrics().request(METHOD, path, word(code), call.begun.elapsed());
        Poll::Ready(answer)
    }
}

/// A refusal has its status in the head; a head without one is the beginning of a good answer.
fn code_of<Out>(answer: &Response<Out>) -> Code {
    answer.headers().get("grpc-status").map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()))
}

/// The code as the specification writes it.
const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
