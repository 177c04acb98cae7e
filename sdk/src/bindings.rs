//! Code generated from `wit/`: the only place where unsafe code is allowed.
#![allow(
    unsafe_code,
    missing_debug_implementations,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::allow_attributes_without_reason,
    reason = "generated; the component model's calling convention is made of raw pointers"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "allocator",
    pub_export_macro: true,
    default_bindings_module: "nexus_plugin_sdk::bindings",
});
