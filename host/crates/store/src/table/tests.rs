//! What a table gives back, whole or damaged.

use std::fs;

use kernel::{Op, PoolUid};
use tempfile::TempDir;

use super::*;
use crate::sample;

const ID: TableId = TableId(3);
/// Enough for all of these tables to be in one volume, but for those with many spans.
const CACHE_BYTES: u64 = 16 << 20;
/// How many spans of each pool take several volumes.
const MANY: u32 = 60_000;

fn write(dir: &TempDir, ops: &[(RowKey, Op)]) -> Summary {
    let mut writer = TableWriter::create(dir.path(), ID, CACHE_BYTES).unwrap();
    for (key, op) in ops {
        writer.push(*key, op).unwrap();
    }
    writer.finish().unwrap()
}

fn spans(count: u32) -> Vec<(RowKey, Op)> {
    let of =
        |pool, number| (RowKey::Span(sample::key(pool, number)), sample::held(u64::from(number) + 1, pool, number));
    (0..count).map(|number| of(1, number)).chain((0..count).map(|number| of(2, number))).collect()
}

/// A pool whose record takes many values.
fn wide_pool(uid: u32) -> (RowKey, Op) {
    (RowKey::Pool(PoolUid(uid)), sample::pool(1, uid, 16_384))
}

fn read(table: &Table) -> (Vec<String>, Vec<Damage>) {
    let (mut ops, mut damage) = (Vec::new(), Vec::new());
    for row in table.rows() {
        match row.unwrap() {
            Ok(row) => row.decode(ID, &mut Interner::default(), |op| ops.push(format!("{op:?}"))).unwrap(),
            Err(fault) => damage.push(fault),
        }
    }
    (ops, damage)
}

fn text(ops: &[(RowKey, Op)]) -> Vec<String> {
    ops.iter().map(|(_, op)| format!("{op:?}")).collect()
}

/// Changes the database behind the table's back.
fn meddle(dir: &TempDir, change: impl FnOnce(&sled::Db)) {
    let path = volume::path(&dir.path().join(ID.dir_name()), 0);
    let volume = Volume::open(&path, CACHE_BYTES).unwrap();
    change(volume.database());
    volume.close().unwrap();
}

#[test]
fn what_is_written_reads_back_in_order() {
    let dir = TempDir::new().unwrap();
    let ops: Vec<_> = [wide_pool(1), wide_pool(2)].into_iter().chain(spans(3000)).collect();
    let written = write(&dir, &ops);
    assert_eq!(written.ops, ops.len() as u64);
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    assert_eq!(read(&table), (text(&ops), Vec::new()));
    assert_eq!(table.survey().unwrap(), (written, Vec::new()));
}

#[test]
fn no_value_is_so_long_that_sled_puts_it_into_a_file_of_its_own() {
    let dir = TempDir::new().unwrap();
    write(&dir, &[wide_pool(1), wide_pool(2)]);
    let blobs = dir.path().join(ID.dir_name()).join("0000/blobs");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 0);
    meddle(&dir, |db| assert!(db.iter().all(|pair| pair.unwrap().1.len() <= MAX_VALUE_BYTES)));
}

#[test]
fn rows_from_a_key_begin_with_the_row_that_holds_it() {
    let dir = TempDir::new().unwrap();
    let ops = spans(3000);
    write(&dir, &ops);
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    for number in [0, 1, 777, 2999] {
        let key = RowKey::Span(sample::key(2, number));
        let row = table.rows_from(key).next().unwrap().unwrap().unwrap();
        let mut held = Vec::new();
        row.decode(ID, &mut Interner::default(), |op| held.push(crate::record::span_key(&op.fact))).unwrap();
        assert!(held.contains(&Some(sample::key(2, number))), "address {number}");
    }
}

#[test]
fn a_changed_row_is_damage_of_its_pool_alone() {
    let dir = TempDir::new().unwrap();
    let ops = spans(3000);
    let written = write(&dir, &ops);
    meddle(&dir, |db| {
        let (key, mut value) = db.range(RowKey::Span(sample::key(2, 0)).to_bytes()..).next().unwrap().unwrap();
        value[100] ^= 1;
        db.insert(key, value).unwrap();
    });
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    let (read, damage) = read(&table);
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].pool, Some(PoolUid(2)));
    assert!(damage[0].key.starts_with("table-000000000003: spans of pool 2"), "{}", damage[0].key);
    assert!(read.len() > 5900 && read.len() < 6000);
    assert!(table.compare(written, table.survey().unwrap().0).is_some());
}

#[test]
fn a_missing_row_is_noticed() {
    let dir = TempDir::new().unwrap();
    let written = write(&dir, &spans(3000));
    meddle(&dir, |db| {
        let (key, _) = db.iter().nth(10).unwrap().unwrap();
        db.remove(key).unwrap();
    });
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    let (found, damage) = table.survey().unwrap();
    assert_eq!(damage, Vec::new());
    assert!(table.compare(written, found).is_some());
}

#[test]
fn a_missing_part_is_damage_of_its_row_and_the_next_is_read() {
    for part in [0, 5, 10] {
        let dir = TempDir::new().unwrap();
        let ops = [wide_pool(1), wide_pool(2)];
        write(&dir, &ops);
        meddle(&dir, |db| {
            let (key, _) = db.iter().nth(part).unwrap().unwrap();
            db.remove(key).unwrap();
        });
        let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
        let (read, damage) = read(&table);
        assert_eq!(read, text(&ops[1..]), "part {part}");
        // Without its first part a row is not seen at all; the summary notices.
        assert!(part == 0 || damage[0].pool == Some(PoolUid(1)), "part {part}: {damage:?}");
    }
}

#[test]
fn bytes_that_are_no_row_are_damage_and_never_a_panic() {
    let dir = TempDir::new().unwrap();
    write(&dir, &spans(10));
    meddle(&dir, |db| {
        for len in 0..60 {
            db.insert(vec![b'x'; len], vec![7; len]).unwrap();
            db.insert(vec![5; len], vec![0; len]).unwrap();
        }
    });
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    let (read, damage) = read(&table);
    assert_eq!(read.len(), 20);
    assert!(damage.len() > 50);
}

#[test]
fn many_rows_take_several_volumes_and_read_back_in_order() {
    let dir = TempDir::new().unwrap();
    let ops = spans(MANY);
    let written = write(&dir, &ops);
    let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
    assert!(table.firsts.len() > 3, "{} volumes", table.firsts.len());
    assert_eq!(table.survey().unwrap(), (written, Vec::new()));
    assert!(read(&table) == (text(&ops), Vec::new()));
    for number in (0..MANY).step_by(9973) {
        let key = RowKey::Span(sample::key(2, number));
        let mut rows = table.rows_from(key).map(|row| row.unwrap().unwrap());
        let first = rows.next().unwrap();
        assert!(first.key() <= key && rows.next().is_none_or(|next| next.key() > key), "address {number}");
    }
}

#[test]
fn a_volume_that_cannot_be_read_is_damage_of_its_pools_and_the_next_are_read() {
    let dir = TempDir::new().unwrap();
    write(&dir, &spans(MANY));
    let volumes = Table::open(dir.path(), ID, CACHE_BYTES).unwrap().firsts.len();
    let at = dir.path().join(ID.dir_name());
    let mut pools = Vec::new();
    for number in 0..volumes {
        let (volume, aside) = (volume::path(&at, number), at.join("aside"));
        fs::rename(&volume, &aside).unwrap();
        let (read, damage) = read(&Table::open(dir.path(), ID, CACHE_BYTES).unwrap());
        assert!(!read.is_empty() && read.len() < 2 * MANY as usize);
        assert_eq!(damage.len(), 1);
        assert_eq!(damage[0].key, format!("table-000000000003/{number:04}"));
        pools.push(damage[0].pool.map(|pool| pool.0));
        fs::rename(&aside, &volume).unwrap();
    }
    // The one in which the first pool ends and the second begins could concern both, and nothing ends the last.
    let both = pools.iter().position(Option::is_none).unwrap();
    assert!(pools[..both].iter().all(|pool| *pool == Some(1)), "{pools:?}");
    assert!(pools[both + 1..volumes - 1].iter().all(|pool| *pool == Some(2)), "{pools:?}");
}

#[test]
fn a_changed_byte_anywhere_in_a_database_is_noticed_or_harmless() {
    let dir = TempDir::new().unwrap();
    let ops = spans(300);
    let written = write(&dir, &ops);
    let file = volume::path(&dir.path().join(ID.dir_name()), 0).join("db");
    let whole = fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noticed = 0;
    for nth in 0..60 {
        let mut bytes = whole.clone();
        bytes[used * nth / 60] ^= 0x10;
        fs::write(&file, bytes).unwrap();
        let table = Table::open(dir.path(), ID, CACHE_BYTES).unwrap();
        let (found, damage) = table.survey().unwrap();
        if damage.is_empty() && found == written {
            assert_eq!(read(&table).0, text(&ops));
        } else {
            noticed += 1;
        }
    }
    assert!(noticed > 0);
}

#[test]
fn a_table_that_is_not_there_is_an_error_and_is_not_made() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(Table::open(dir.path(), ID, CACHE_BYTES), Err(StoreError::Corrupt { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
