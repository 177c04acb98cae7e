//! How much does the store cost over the bare minimum? Groups of several sizes through [`Store::append`], beside the same
//! bytes written and synced to a plain file; then a million allocations through a start. Prints, asserts nothing.
//!
//! `cargo bench -p store`, or with a directory: `cargo bench -p store -- /var/lib/nexus-bench`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::Op;
use store::{Store, StoreError, StoreSettings, sample};

const FOR: Duration = Duration::from_secs(2);
const MILLION: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let dir = match place {
        Some(place) => tempfile::tempdir_in(place)?,
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
    };
    println!("| group | store groups/s | bare append+fdatasync/s | ratio | store ops/s | bytes/op |");
    println!("|---|---|---|---|---|---|");
    for size in [1, 8, 64, 512] {
        group_commit(dir.path(), size)?;
    }
    start(dir.path())?;
    Ok(())
}

fn held(seq: u64) -> Op {
    sample::held(seq, 1, u32::try_from(seq % (1 << 22)).unwrap_or_default())
}

fn group_commit(dir: &Path, size: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (mut store, _) = Store::open(&dir.join(format!("groups-{size}")), StoreSettings::default(), sample::START_MS)?;
    let compactor = store.compactor();
    let worker = std::thread::spawn({
        let compactor = compactor.clone();
        move || compactor.run(drop)
    });
    let mut groups = 0_u32;
    let mut seq = 1;
    let mut spent = Duration::ZERO;
    while spent < FOR {
        let ops: Vec<Op> = (seq..seq + size).map(held).collect();
        seq += size;
        let began = Instant::now();
        store.append(&ops)?;
        spent += began.elapsed();
        groups += 1;
    }
    compactor.stop();
    drop(worker.join());
    let bytes = store.reader().usage()?.log_bytes / (seq - 1).max(1);
    let ours = f64::from(groups) / spent.as_secs_f64();
    let group_bytes = usize::try_from(bytes * size)?;
    let bare = bare_append(&dir.join(format!("bare-{size}")), group_bytes)?;
    let ratio = ours / bare;
    let ops = ours * f64::from(u32::try_from(size)?);
    println!("| {size} | {ours:.0} | {bare:.0} | {ratio:.2} | {ops:.0} | {bytes} |");
    Ok(())
}

/// The same bytes to the end of a plain file.
fn bare_append(path: &Path, bytes: usize) -> io::Result<f64> {
    let mut file = File::create(path)?;
    let group = vec![7_u8; bytes];
    let began = Instant::now();
    let mut groups = 0_u32;
    while began.elapsed() < FOR {
        file.write_all(&group)?;
        file.sync_data()?;
        groups += 1;
    }
    Ok(f64::from(groups) / began.elapsed().as_secs_f64())
}

fn start(dir: &Path) -> Result<(), StoreError> {
    let dir = dir.join("million");
    let (mut store, _) = Store::open(&dir, StoreSettings::default(), sample::START_MS)?;
    store.append(&[sample::pool(1, 1, 1024)])?;
    for first in (2..MILLION).step_by(1000) {
        let ops: Vec<Op> = (first..first + 1000).map(held).collect();
        store.append(&ops)?;
    }
    report("a million allocations, all in the log", &dir, store)?;
    let (mut store, _) = Store::open(&dir, StoreSettings::default(), sample::START_MS)?;
    store.seal()?;
    let began = Instant::now();
    let done = store.compactor().cycle()?;
    println!("checkpoint of them: {:.0?}, {:?}", began.elapsed(), done);
    report("a million allocations, all in a checkpoint", &dir, store)
}

/// Closes the store and starts again.
fn report(what: &str, dir: &Path, store: Store) -> Result<(), StoreError> {
    drop(store);
    let began = Instant::now();
    let (store, _) = Store::open(dir, StoreSettings::default(), sample::START_MS)?;
    let opened = began.elapsed();
    let began = Instant::now();
    let mut ops = Vec::new();
    let found = store.recover(&mut |op| ops.push(op))?;
    let recovered = began.elapsed();
    println!(
        "start with {what}: open {opened:.0?}, recover {recovered:.0?}, {} operations",
        found.checkpoint_ops + found.log_ops
    );
    Ok(())
}
