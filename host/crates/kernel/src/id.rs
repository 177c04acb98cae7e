//! Names and numbers with a meaning. One in hand is always well formed: the only way in is `FromStr` or a checked `new`.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Why a text is not an id: which kind of id, what was found, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("{kind} has {found} bytes, allowed are {least} to {most}")]
    Length { kind: &'static str, found: usize, least: usize, most: usize },
    #[error("{kind} has {found:?} at byte {offset}, allowed are {allowed}")]
    Character { kind: &'static str, found: char, offset: usize, allowed: &'static str },
}

/// The rule most ids follow, so that they are safe in a key, a URL and a log line.
fn plain(kind: &'static str, raw: &str, most: usize) -> Result<CompactString, InvalidId> {
    if !(1..=most).contains(&raw.len()) {
        return Err(InvalidId::Length { kind, found: raw.len(), least: 1, most });
    }
    let last = raw.len() - 1;
    for (offset, found) in raw.char_indices() {
        let edge = offset == 0 || offset == last;
        if !(found.is_ascii_alphanumeric() || (!edge && matches!(found, '.' | '_' | '-'))) {
            let allowed = if edge { "A-Z a-z 0-9 at both ends" } else { "A-Z a-z 0-9 . _ -" };
            return Err(InvalidId::Character { kind, found, offset, allowed });
        }
    }
    Ok(raw.into())
}

/// The rule for what clients make up: any UTF-8 without control characters.
fn opaque(kind: &'static str, raw: &str, least: usize) -> Result<CompactString, InvalidId> {
    if !(least..=256).contains(&raw.len()) {
        return Err(InvalidId::Length { kind, found: raw.len(), least, most: 256 });
    }
    match raw.char_indices().find(|(_, found)| found.is_control()) {
        Some((offset, found)) => {
            Err(InvalidId::Character { kind, found, offset, allowed: "UTF-8 without control characters" })
        }
        None => Ok(raw.into()),
    }
}

/// The rule for keys that are looked up by their beginning: no part between two slashes is empty, so a key is written in one
/// way only.
fn parted(kind: &'static str, raw: &str) -> Result<CompactString, InvalidId> {
    if !(1..=255).contains(&raw.len()) {
        return Err(InvalidId::Length { kind, found: raw.len(), least: 1, most: 255 });
    }
    let allowed = "UTF-8 without control characters, in parts between single slashes";
    let mut empty = true;
    for (offset, found) in raw.char_indices() {
        if found.is_control() || (found == '/' && empty) {
            return Err(InvalidId::Character { kind, found, offset, allowed });
        }
        empty = found == '/';
    }
    if empty {
        return Err(InvalidId::Character { kind, found: '/', offset: raw.len() - 1, allowed });
    }
    Ok(raw.into())
}

/// The rule for what people write: lines of text.
fn written(kind: &'static str, raw: &str) -> Result<CompactString, InvalidId> {
    if raw.len() > 4_096 {
        return Err(InvalidId::Length { kind, found: raw.len(), least: 0, most: 4_096 });
    }
    match raw.char_indices().find(|(_, found)| found.is_control() && !matches!(found, '\n' | '\r' | '\t')) {
        Some((offset, found)) => {
            let allowed = "UTF-8 without control characters but line ends and tabs";
            Err(InvalidId::Character { kind, found, offset, allowed })
        }
        None => Ok(raw.into()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "CompactString", into = "CompactString")]
        pub struct $name(CompactString);

        impl TryFrom<CompactString> for $name {
            type Error = InvalidId;
            fn try_from(raw: CompactString) -> Result<Self, InvalidId> {
                raw.parse()
            }
        }

        impl From<$name> for CompactString {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl $name {
            /// The id as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                let check: fn(&'static str, &str) -> Result<CompactString, InvalidId> = $check;
                check($kind, raw).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Names a pool: 1 to 128 of `A-Z a-z 0-9 . _ -`, first and last alphanumeric.
    PoolId, "pool id", |kind, raw| plain(kind, raw, 128)
);
text_id!(
    /// Names a tenant (an ISP on a shared network): 1 to 64 of `A-Z a-z 0-9 . _ -`, first and last alphanumeric.
    TenantId, "tenant", |kind, raw| plain(kind, raw, 64)
);
text_id!(
    /// Names a resource type, as its plugin calls it: 1 to 32 of `A-Z a-z 0-9 . _ -`, first and last alphanumeric.
    TypeId, "type", |kind, raw| plain(kind, raw, 32)
);
text_id!(
    /// Names a host or an OLT-BNG: 1 to 256 bytes of UTF-8 without control characters.
    NodeId, "node id", |kind, raw| opaque(kind, raw, 1)
);
text_id!(
    /// Who holds: opaque, 1 to 256 bytes of UTF-8 without control characters (a MAC, `user@realm`, a circuit id).
    SubscriberId, "subscriber id", |kind, raw| opaque(kind, raw, 1)
);
text_id!(
    /// Tells several allocations of one subscriber in one pool apart; usually empty. At most 256 bytes.
    Key, "key", |kind, raw| opaque(kind, raw, 0)
);
text_id!(
    /// Names an address or tag space. A pool's realm is plain; with `realm_by` a request's is `<realm>/<value>`, so a
    /// dynamic realm can never be mistaken for a configured one. At most 256 bytes, no control characters.
    RealmName, "realm", |kind, raw| opaque(kind, raw, 1)
);

text_id!(
    /// Names a note: parts between single `/`, 1 to 255 bytes of UTF-8 without control characters (`olt/north-1/site`).
    NoteKey, "note key", |kind, raw| parted(kind, raw)
);
text_id!(
    /// What a note says: up to 4,096 bytes of UTF-8; of control characters only line ends and tabs.
    NoteText, "note", |kind, raw| written(kind, raw)
);

impl Default for TenantId {
    /// The tenant of whoever names none.
    fn default() -> Self {
        Self("default".into())
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A pool's number: given once at its making and never reused, so a pool deleted and made again is another pool.
    PoolUid, u32
);
number_id!(
    /// A realm's number in this host's log; [`RealmRecord`](crate::RealmRecord) says which realm.
    RealmUid, u32
);
number_id!(
    /// A slice of a pool, numbered from 0 in the pool. Never reused.
    ShardId, u32
);
number_id!(
    /// One term of ownership of a shard. Only grows.
    Epoch, u32
);
number_id!(
    /// The place of an operation in this host's log: gap-free from 1.
    Seq, u64
);
number_id!(
    /// A host of the cluster, as the ledger numbers it: given once when it joins and never reused. 0 is nobody.
    MemberId, u32
);
number_id!(
    /// Counts the changes of a pool's record, from 1.
    Revision, u64
);

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(raw: &str) -> Result<Self, InvalidId> {
                hex($kind, raw).map(Self)
            }
        }
    };
}

/// 32 hexadecimal digits.
fn hex(kind: &'static str, raw: &str) -> Result<u128, InvalidId> {
    let wrong = raw.char_indices().find(|(_, found)| !found.is_ascii_hexdigit());
    if let Some((offset, found)) = wrong {
        return Err(InvalidId::Character { kind, found, offset, allowed: "0-9 a-f" });
    }
    let length = InvalidId::Length { kind, found: raw.len(), least: 32, most: 32 };
    if raw.len() == 32 { u128::from_str_radix(raw, 16).map_err(|_| length) } else { Err(length) }
}

hex_id!(
    /// Names a cluster, drawn when its ledger is formed. Written as 32 hexadecimal digits.
    ClusterId, "cluster id"
);
hex_id!(
    /// Names one command to the ledger, drawn by whoever proposes it, so that a repeat is known as one.
    CommandId, "command id"
);

/// Who writes a log: a host's identity, and which life of its disk. A host whose log was lost or put back comes again
/// as another incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub host: u64,
    pub incarnation: u64,
}

/// Which version of what hosts say to each other a host speaks. Hosts of one major whose minors are at most one apart
/// work together; each step of a rolling upgrade is one minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProtocolVersion {
    pub major: u16,
    pub minor: u16,
}

impl ProtocolVersion {
    /// Whether hosts of these two versions may be in one cluster.
    ///
    /// ```
    /// use kernel::ProtocolVersion;
    ///
    /// let one = |minor| ProtocolVersion { major: 1, minor };
    /// assert!(one(4).works_with(one(5)) && one(5).works_with(one(4)));
    /// assert!(!one(4).works_with(one(6)));
    /// ```
    pub const fn works_with(self, other: Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= 1
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Not a protocol version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a protocol version: right would be MAJOR.MINOR, such as 1.0")]
pub struct InvalidProtocolVersion(String);

impl FromStr for ProtocolVersion {
    type Err = InvalidProtocolVersion;
    fn from_str(raw: &str) -> Result<Self, InvalidProtocolVersion> {
        let parts = raw.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let wrong = || InvalidProtocolVersion(raw.chars().take(40).collect());
        parts.map(|(major, minor)| Self { major, minor }).ok_or_else(wrong)
    }
}

/// One operation of one log, named for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    pub origin: Origin,
    pub seq: Seq,
}

/// What every answer carries so that a late answer of a former owner can be told from a current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    pub pool: PoolUid,
    pub shard: ShardId,
    pub epoch: Epoch,
}

/// The time as the driver read it. `boot_ms` runs on in suspend and never jumps: deadlines use it. `wall_ms` is Unix time
/// and is kept on disk and shown to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    pub boot_ms: u64,
    pub wall_ms: u64,
}
