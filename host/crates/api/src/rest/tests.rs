//! The face as a whole, in process: the real kernel behind the real router.

mod cluster;
mod compat;
mod conflicts;
mod document;
mod faults;
mod lists;
mod pools;
mod resources;
mod server;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::auth::Authority;
use crate::testing::Daemon;

/// A daemon with its REST face.
struct Face {
    daemon: Daemon,
    router: Router,
}

/// What came back.
#[derive(Debug)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Told {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {:?}", self.text))
    }

    /// The answer, after checking its status.
    #[track_caller]
    fn with(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem, after checking that it says everything a problem says.
    #[track_caller]
    fn problem(self, status: u16, reason: &str) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let problem = self.with(status);
        assert_eq!(problem["reason"], reason, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["error"], problem["detail"], "{problem}");
        assert!(problem["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{problem}");
        let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(errors.is_empty(), status >= 500, "{problem}");
        let complete = |fault: &Value| {
            !fault["field"].as_str().unwrap().is_empty() && !fault["remedy"].as_str().unwrap().is_empty()
        };
        assert!(errors.iter().all(complete), "{problem}");
        problem
    }
}

impl Face {
    fn start() -> Self {
        Self::of(Daemon::start())
    }

    fn of(daemon: Daemon) -> Self {
        let router = super::router(Arc::clone(&daemon.app), Arc::new(Authority::open()));
        Self { daemon, router }
    }

    /// One with a pool `p`: 10.0.0.0/24, all 256 addresses.
    async fn with_pool() -> Self {
        let face = Self::start();
        face.post("/api/v1/pools", &json!({"id": "p", "cidr": "10.0.0.0/24"})).await.with(201);
        face
    }

    async fn send(&self, request: Request<Body>) -> Told {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let mut text = Vec::new();
        let mut chunks = response.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            text.extend_from_slice(&chunk.unwrap());
        }
        Told { status, headers, text: String::from_utf8(text).unwrap() }
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> Told {
        self.send(Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(Method::GET, path, Body::empty()).await
    }

    async fn delete(&self, path: &str) -> Told {
        self.ask(Method::DELETE, path, Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Told {
        self.ask(Method::POST, path, body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Told {
        self.ask(Method::PUT, path, body.to_string()).await
    }

    /// Allocates in pool `p`.
    async fn allocate(&self, subscriber: &str) -> Value {
        let told = self.post("/api/v1/allocations", &json!({"pool_id": "p", "subscriber_id": subscriber})).await;
        assert!(told.status.is_success(), "{}", told.text);
        told.json()
    }
}
