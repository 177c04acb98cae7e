//! The wire messages of the gRPC API, with its clients and servers, generated from `nexus/v1/*.proto`.
//!
//! Only what is on the wire: domain types live in `kernel`, and `api` converts by hand. Published field numbers never
//! change; `descriptor.golden` holds them and a test compares.

/// Package `nexus.v1`.
pub mod v1 {
    #![allow(
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::large_enum_variant,
        unreachable_pub,
        reason = "generated code"
    )]
    tonic::include_proto!("nexus.v1");
}

/// The encoded descriptor set of everything above and of what it imports, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
