//! Compiles `nexus/v1/*.proto` without a `protoc`: protox parses, tonic and prost generate.

use std::path::PathBuf;
use std::{env, error, fs};

use prost::Message as _;

const SOURCES: [&str; 9] = [
    "nexus/v1/allocation.proto",
    "nexus/v1/cluster.proto",
    "nexus/v1/conflict.proto",
    "nexus/v1/error.proto",
    "nexus/v1/nexus.proto",
    "nexus/v1/plugin.proto",
    "nexus/v1/pool.proto",
    "nexus/v1/note.proto",
    "nexus/v1/reservation.proto",
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=nexus/v1");
    let described = protox::compile(SOURCES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut bare = described.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptor.bin"), bare.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").compile_fds(described)?;
    Ok(())
}
