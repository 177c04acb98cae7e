//! The envelope of every whole file: what it is, in which format, how long, and a checksum over all of that.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StorageError;

/// The format this build writes. A newer one is refused.
pub(crate) const FORMAT: u16 = 1;

/// Kind (8), format (2), length of the content (8).
pub(crate) const HEAD_BYTES: usize = 18;
const SUM_BYTES: usize = 4;

/// What a file is; its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) &'static [u8; 8]);

fn head(kind: Kind, bytes: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(kind.0);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&(bytes as u64).to_le_bytes());
    head
}

/// What goes before and behind the content's parts.
pub(crate) fn around(kind: Kind, parts: &[&[u8]]) -> (Vec<u8>, [u8; SUM_BYTES]) {
    let head = head(kind, parts.iter().map(|part| part.len()).sum());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head);
    for part in parts {
        sum.update(part);
    }
    (head, sum.finalize().to_le_bytes())
}

/// A small value in its envelope.
pub(crate) fn seal<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let content = encode(value);
    let (mut bytes, sum) = around(kind, &[&content]);
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(&sum);
    bytes
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("records hold only numbers, texts, bytes and collections of known length")
}

/// The content of an envelope at the start of `bytes`, and how long the envelope is.
pub(crate) fn open<'a>(kind: Kind, path: &Path, bytes: &'a [u8]) -> Result<(&'a [u8], usize), StorageError> {
    let damaged = |offset: usize, why: &str| StorageError::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
        why: why.to_owned(),
    };
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(damaged(bytes.len(), "it ends within its head"));
    };
    let (name, rest_of_head) = head.split_at(kind.0.len());
    if name != kind.0 {
        return Err(damaged(0, &format!("it does not begin with {:?}", String::from_utf8_lossy(kind.0))));
    }
    let (format, length) = rest_of_head.split_at(2);
    let format = u16::from_le_bytes(format.try_into().unwrap_or_default());
    // Before the checksum: a newer format may sum in another way.
    if format > FORMAT {
        return Err(StorageError::NewerFormat { path: path.to_owned(), found: format, known: FORMAT });
    }
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    let content = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((content, sum)) = content else {
        return Err(damaged(bytes.len(), &format!("it ends within its content of {length} bytes")));
    };
    let Some((sum, _)) = sum.split_first_chunk::<SUM_BYTES>() else {
        return Err(damaged(bytes.len(), "it ends within its checksum"));
    };
    let mut found = crc32fast::Hasher::new();
    found.update(head);
    found.update(content);
    if found.finalize().to_le_bytes() != *sum {
        return Err(damaged(HEAD_BYTES, "the checksum does not match"));
    }
    Ok((content, HEAD_BYTES + content.len() + SUM_BYTES))
}

pub(crate) fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StorageError> {
    postcard::from_bytes(bytes).map_err(|why| StorageError::Damaged {
        path: path.to_owned(),
        offset: HEAD_BYTES as u64,
        why: why.to_string(),
    })
}

/// The small value of a whole file.
pub(crate) fn unseal<T: DeserializeOwned>(kind: Kind, path: &Path, bytes: &[u8]) -> Result<T, StorageError> {
    let (content, _) = open(kind, path, bytes)?;
    decode(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind(b"nx-test\0");

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let whole = seal(KIND, &(7_u64, "seven".to_owned()));
        let path = Path::new("x");
        assert_eq!(unseal::<(u64, String)>(KIND, path, &whole).expect("whole"), (7, "seven".to_owned()));
        for cut in 0..whole.len() {
            assert!(unseal::<(u64, String)>(KIND, path, &whole[..cut]).is_err(), "cut at {cut}");
            let mut changed = whole.clone();
            changed[cut] ^= 0x40;
            assert!(unseal::<(u64, String)>(KIND, path, &changed).is_err(), "changed at {cut}");
        }
    }

    #[test]
    fn a_newer_format_is_named_with_both_numbers() {
        let mut bytes = seal(KIND, &1_u64);
        bytes[8] = 2;
        let refused = unseal::<u64>(KIND, Path::new("dir/vote"), &bytes).expect_err("newer");
        assert_eq!(refused.to_string(), "dir/vote has format 2, and this build knows formats up to 1");
    }
}
