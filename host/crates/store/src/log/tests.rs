//! What a start makes of the log's bytes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kernel::{Op, Seq};
use tempfile::TempDir;

use super::*;
use crate::medium::OsMedium;
use crate::record::{Block, Interner};
use crate::sample;

const FILE_BYTES: u64 = 4096;

fn medium(dir: &Path) -> OsMedium {
    OsMedium::new(dir).unwrap()
}

fn held(seqs: std::ops::RangeInclusive<u64>) -> Vec<Op> {
    seqs.map(|seq| sample::held(seq, 1, u32::try_from(seq).unwrap())).collect()
}

/// Writes groups of three, as the store does.
fn write(dir: &Path, first: u64, groups: u64) {
    let medium = medium(dir);
    let mut writer = LogWriter::new(Seq(first));
    let mut ordinal = scan(&medium, Ordinal(0), Seq(0), Tidy::No).unwrap().next_ordinal;
    for group in 0..groups {
        let ops = held(first + group * 3..=first + group * 3 + 2);
        while let Written::NeedsFile = writer.write(&ops, FILE_BYTES).unwrap() {
            let file = LogFile::create(&medium, ordinal, 77 + ordinal.0, FILE_BYTES).unwrap();
            ordinal = ordinal.next();
            writer.set_file(Some(Arc::new(file)));
        }
    }
}

struct Found {
    seqs: Vec<u64>,
    damage: Vec<String>,
    torn_bytes: u64,
    next_seq: u64,
}

fn read(dir: &Path) -> Found {
    let found = scan(&medium(dir), Ordinal(0), Seq(0), Tidy::Yes).unwrap();
    let mut seqs = Vec::new();
    each_frame(&found.files, |_, frame| {
        let block = Block::parse(frame.block).unwrap();
        block.decode_all(&mut Interner::default(), |op| seqs.push(op.seq.0)).unwrap();
        Ok::<(), StoreError>(())
    })
    .unwrap();
    let damage = found.damage.iter().map(ToString::to_string).collect();
    Found { seqs, damage, torn_bytes: found.torn_bytes, next_seq: found.next_seq.0 }
}

fn expect(seqs: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    seqs.collect()
}

fn log_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn groups_over_several_files_read_back_in_order() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 100);
    assert!(log_files(dir.path()).len() > 3);
    for _ in 0..2 {
        let found = read(dir.path());
        assert_eq!((found.seqs, found.damage, found.next_seq), (expect(1..=300), Vec::new(), 301));
    }
}

#[test]
fn a_log_goes_on_in_a_new_file_after_every_start() {
    let dir = TempDir::new().unwrap();
    for start in 0..5 {
        write(dir.path(), 1 + start * 30, 10);
        assert_eq!(read(dir.path()).seqs, expect(1..=30 * (start + 1)));
    }
}

#[test]
fn a_last_group_cut_at_any_byte_is_gone_whole_and_no_damage() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 4);
    let path = log_files(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let salt = 77;
    let mut frames = Vec::new();
    let mut at = 64;
    while let Some(frame) = frame::frame_at(&whole, at, salt) {
        frames.push(at);
        at = frame.end();
    }
    let (start, end) = (frames[3], at);
    for cut in start..end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, torn).unwrap();
        let found = read(dir.path());
        assert_eq!((found.seqs, found.damage), (expect(1..=9), Vec::new()), "cut at {cut}");
        // A cut inside the zeros that end the frame cannot be told from none only if nothing was begun.
        assert!(cut == start || found.torn_bytes > 0, "cut at {cut}");
        // What was torn must be gone before the log goes on, or the next start would take it for damage.
        write(dir.path(), 10, 1);
        let found = read(dir.path());
        assert_eq!((found.seqs, found.damage), (expect(1..=12), Vec::new()), "after cut at {cut}");
        for file in log_files(dir.path()).iter().skip(1) {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_changed_byte_before_good_groups_is_damage_and_the_rest_is_read() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 100);
    let first = log_files(dir.path()).remove(0);
    let whole = fs::read(&first).unwrap();
    for at in [64, 70, 90, 200, 300] {
        let mut bad = whole.clone();
        bad[at] ^= 0x40;
        fs::write(&first, bad).unwrap();
        let found = read(dir.path());
        assert_eq!(found.seqs.len(), 297, "byte {at}");
        assert!(found.damage[0].starts_with("log-000000000000 byte "), "{:?}", found.damage);
        assert_eq!(found.next_seq, 301);
    }
}

#[test]
fn a_missing_file_is_damage() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 100);
    fs::remove_file(&log_files(dir.path())[1]).unwrap();
    let found = read(dir.path());
    assert_eq!(found.damage.len(), 1);
    assert!(found.damage[0].contains("is due"), "{:?}", found.damage);
}

#[test]
fn a_bad_header_before_good_files_is_damage_and_at_the_end_an_unfinished_file() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 100);
    let files = log_files(dir.path());
    let last = files.last().unwrap();
    LogFile::create(&medium(dir.path()), Ordinal(files.len() as u64), 1, FILE_BYTES).unwrap();
    let spare = log_files(dir.path()).pop().unwrap();
    assert_ne!(&spare, last);
    let mut bytes = fs::read(&spare).unwrap();
    bytes[30] ^= 1;
    fs::write(&spare, bytes).unwrap();
    let found = read(dir.path());
    assert_eq!((found.seqs.len(), found.damage), (300, Vec::new()));
    assert!(!spare.exists());
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[30] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    assert!(!read(dir.path()).damage.is_empty());
}

#[test]
fn a_bad_header_of_the_last_file_with_groups_is_damage_and_what_can_be_read_is_read() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 100);
    let path = log_files(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..32 {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let found = read(dir.path());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            found.damage.iter().any(|told| told.starts_with(&format!("{name} header"))),
            "byte {at}: {:?}",
            found.damage
        );
        assert_eq!(fs::read(&path).unwrap(), bad, "whoever repairs it finds what was there");
        let salt = (20..28).contains(&at);
        assert_eq!(found.seqs.len() == 300, !salt, "byte {at}");
    }
}

#[test]
fn a_frame_inside_an_operation_is_not_believed() {
    // A client that knows the format puts a whole frame into its metadata. It cannot know the file's salt.
    let dir = TempDir::new().unwrap();
    write(dir.path(), 1, 1);
    let path = log_files(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let frame = frame::frame_at(&whole, 64, 77).unwrap();
    let (start, end) = (frame.offset, frame.end());
    let mut forged = Vec::new();
    let mut block = BlockWriter::default();
    block.push(&sample::op(4, kernel::Fact::Clock));
    frame::encode(&mut forged, &mut block, Seq(4), 0);
    let mut bytes = whole.clone();
    bytes[start] = 0;
    bytes[end..end + forged.len()].copy_from_slice(&forged);
    fs::write(&path, bytes).unwrap();
    assert_eq!(read(dir.path()).seqs, Vec::<u64>::new());
}

#[test]
fn a_group_longer_than_a_file_has_one_of_its_own() {
    let dir = TempDir::new().unwrap();
    let medium = medium(dir.path());
    let mut writer = LogWriter::new(Seq(1));
    for (ordinal, seqs) in [(0, 1..=2), (1, 3..=500), (2, 501..=502)] {
        let ops = held(seqs);
        assert!(matches!(writer.write(&ops, FILE_BYTES).unwrap(), Written::NeedsFile));
        let file = LogFile::create(&medium, Ordinal(ordinal), 5, 0).unwrap();
        writer.set_file(Some(Arc::new(file)));
        assert!(matches!(writer.write(&ops, FILE_BYTES).unwrap(), Written::Synced(count) if count == ops.len()));
    }
    assert_eq!(read(dir.path()).seqs, expect(1..=502));
}

#[test]
#[should_panic(expected = "gap-free")]
fn a_gap_in_the_sequence_is_never_written() {
    let mut writer = LogWriter::new(Seq(1));
    drop(writer.write(&held(2..=3), FILE_BYTES));
}

/// Changes one byte of the block of a file's frame, given from its end, so that the frame is whole and says something else.
fn forge(path: &Path, nth: usize, from_end: usize, to: u8) {
    let mut bytes = fs::read(path).unwrap();
    let salt: [u8; 8] = bytes[20..28].try_into().unwrap();
    let mut at = 64;
    for _ in 0..nth {
        at = frame::frame_at(&bytes, at, u64::from_le_bytes(salt)).unwrap().end();
    }
    let end = frame::frame_at(&bytes, at, u64::from_le_bytes(salt)).unwrap().end();
    bytes[end - from_end] = to;
    let signed = [&salt[..], &bytes[at + 4..at + 20], &bytes[at + 24..end]].concat();
    bytes[at + 20..at + 24].copy_from_slice(&crc32fast::hash(&signed).to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_as_it_was_written_and_not_understood_is_damage_and_can_be_given_up() {
    let (held, relayed) = (sample::held(3, 1, 3), sample::relayed(sample::held(6, 1, 4), 1, 40));
    let groups = [
        vec![sample::held(1, 1, 1)],
        vec![sample::op(2, kernel::Fact::Clock), held],
        vec![sample::held(4, 1, 2), sample::op(5, kernel::Fact::Clock)],
        vec![relayed, sample::heard(7, 1, 44)],
    ];
    // The kind of the clock's record; or the whole block, which begins behind the frame's header.
    for whole in [false, true] {
        let dir = TempDir::new().unwrap();
        let open = || crate::Store::open(dir.path(), crate::StoreSettings::default(), sample::START_MS).unwrap().0;
        let mut store = open();
        for group in &groups {
            store.append(group).unwrap();
        }
        store.seal().unwrap();
        drop(store);
        let path = log_files(dir.path()).into_iter().find(|path| path.to_string_lossy().contains("log-")).unwrap();
        let bytes = fs::read(&path).unwrap();
        let salt = u64::from_le_bytes(bytes[20..28].try_into().unwrap());
        let second = frame::frame_at(&bytes, 64, salt).unwrap().end();
        let third = frame::frame_at(&bytes, frame::frame_at(&bytes, second, salt).unwrap().end(), salt).unwrap();
        // A clock's record ends with its kind and two differences, of one and of two bytes.
        let from_end = if whole { third.block.len() } else { 4 };
        forge(&path, 2, from_end, 77);
        let store = open();
        let mut known = sample::Known::default();
        let found = store.recover(&mut |op| known.apply(&op)).unwrap();
        assert_eq!((found.damage.len(), found.next_seq), (1, Seq(8)), "whole {whole}");
        let run = store.reader().operations(None, Seq(0), 999);
        assert!(matches!(run, Err(crate::RunError::Store(StoreError::Corrupt { .. }))), "{run:?}");
        drop(store);
        let accepted = crate::accept_damage(dir.path(), crate::StoreSettings::default()).unwrap();
        assert_eq!(accepted.damage, found.damage);
        let store = open();
        let mut after = sample::Known::default();
        let found = store.recover(&mut |op| after.apply(&op)).unwrap();
        assert_eq!((found.damage, found.next_seq), (Vec::new(), Seq(8)));
        assert_eq!(after, known, "whole {whole}");
        assert_eq!((after.spans(), after.heard[&sample::origin(1)]), (if whole { 3 } else { 4 }, Seq(44)));
    }
}
