//! REST and gRPC, two thin faces of one application layer ([`App`](app::App)) that answer alike.
//!
//! The only crate that knows axum and tonic. It knows the kernel's words and the read view, but neither the store nor
//! wasmtime: those reach it through [`ports`], and the kernel's thread through [`engine`].

pub mod app;
pub mod auth;
pub mod cluster;
mod deadline;
pub mod engine;
pub mod grpc;
pub mod ports;
pub mod rest;
pub mod status;
#[cfg(test)]
mod testing;
pub mod tls;
