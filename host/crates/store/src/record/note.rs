//! Notes. Who wrote one is not in its fields: it is whoever wrote the operation.

use kernel::{Dot, Note, NoteEnds, NoteStamp, Op, Origin, Seq};

use super::facts::{Context, id};
use super::origins::OriginTable;
use super::primitives::{Bytes, RecordFault, put_delta, put_text, put_varint};

/// The least a dot and a place take, bytes.
const DOT_BYTES: usize = 2;
const PLACE_BYTES: usize = 1;

pub(super) fn put_note(out: &mut Vec<u8>, note: &Note, op: &Op, origins: &mut OriginTable) {
    put_text(out, note.tenant.as_str());
    put_text(out, note.key.as_str());
    out.push(u8::from(note.value.is_some()));
    if let Some(value) = &note.value {
        put_text(out, value.as_str());
    }
    put_delta(out, note.stamp.ms, op.stamp_ms);
    put_varint(out, u64::from(note.stamp.count));
    put_varint(out, note.knew.len() as u64);
    for dot in &note.knew {
        origins.put(out, *dot);
    }
    put_places(out, &note.ends, op.seq);
}

pub(super) fn read_note(bytes: &mut Bytes<'_>, context: &Context<'_>) -> Result<Note, RecordFault> {
    let (tenant, key) = (id(bytes)?, id(bytes)?);
    let at = bytes.offset();
    let value = match bytes.byte()? {
        0 => None,
        1 => Some(id(bytes)?),
        other => return Err(RecordFault::new(at, format!("a note has a text or none, not {other}"))),
    };
    let stamp = NoteStamp { ms: bytes.delta(context.stamp_ms)?, count: bytes.varint_u32()? };
    let count = bytes.varint()?;
    let mut knew = Vec::with_capacity(bytes.at_most(count, DOT_BYTES));
    for _ in 0..count {
        knew.push(context.origins.dot(bytes)?);
    }
    let by = context.from.map_or_else(Origin::default, |Dot { origin, .. }| origin);
    let ends = read_places(bytes, context.seq)?;
    Ok(Note { tenant, key, value, stamp, by, knew: knew.into(), ends })
}

pub(super) fn put_ends(out: &mut Vec<u8>, ends: &NoteEnds, seq: Seq) {
    put_text(out, ends.tenant.as_str());
    put_text(out, ends.key.as_str());
    put_places(out, &ends.places, seq);
}

pub(super) fn read_ends(bytes: &mut Bytes<'_>, seq: Seq) -> Result<NoteEnds, RecordFault> {
    Ok(NoteEnds { tenant: id(bytes)?, key: id(bytes)?, places: read_places(bytes, seq)? })
}

fn put_places(out: &mut Vec<u8>, places: &[Seq], seq: Seq) {
    put_varint(out, places.len() as u64);
    for place in places {
        put_delta(out, place.0, seq.0);
    }
}

fn read_places(bytes: &mut Bytes<'_>, seq: Seq) -> Result<Box<[Seq]>, RecordFault> {
    let count = bytes.varint()?;
    let mut places = Vec::with_capacity(bytes.at_most(count, PLACE_BYTES));
    for _ in 0..count {
        places.push(Seq(bytes.delta(seq.0)?));
    }
    Ok(places.into())
}
