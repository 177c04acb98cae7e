//! What is asked of the application layer, already read from whatever a face speaks.

use compact_str::{CompactString, format_compact};
use kernel::{
    Durability, Key, LeaseTerms, NodeId, NoteKey, NoteStamp, NoteText, PoolId, RealmName, Revision, Seq, Strategy,
    SubscriberId, Ttl, TypeId,
};

use super::error::{AppError, read_id};

/// Name and value pairs, in the order they came.
pub type Pairs = Vec<(CompactString, CompactString)>;

/// Most rows of a page.
pub const MOST_ROWS: usize = 10_000;

/// A request for a resource. Everything but pool and subscriber may be left at its default.
#[derive(Clone, Debug)]
pub struct AllocateInput {
    pub pool: PoolId,
    pub subscriber: SubscriberId,
    /// Tells several allocations of one subscriber in one pool apart; an empty one is the same as none.
    pub key: Option<Key>,
    /// The OLT-BNG that asks (`olt_id`, `node_id`).
    pub node: Option<NodeId>,
    /// Exactly this resource, as text (`ip`, `resource`).
    pub resource: Option<CompactString>,
    pub ttl: Ttl,
    /// For the plugin: `prefix_length=56`.
    pub hints: Pairs,
    /// For the pool's `realm_by`; `olt_id` and `node_id` are found in `node` too.
    pub attributes: Pairs,
    /// JSON object as text, or empty.
    pub metadata: CompactString,
}

impl AllocateInput {
    /// Any resource of this pool for this subscriber.
    pub fn new(pool: PoolId, subscriber: SubscriberId) -> Self {
        Self {
            pool,
            subscriber,
            key: None,
            node: None,
            resource: None,
            ttl: Ttl::Default,
            hints: Vec::new(),
            attributes: Vec::new(),
            metadata: CompactString::default(),
        }
    }
}

/// The allocation's key: as it was named, or made of the client's DUID and IAID, which tell one household's prefixes
/// apart. Empty texts are absent.
pub fn key_of(key: &str, duid: &str, iaid: Option<u32>) -> Result<Option<Key>, AppError> {
    let made = match (duid, iaid) {
        ("", None) => return if key.is_empty() { Ok(None) } else { read_id("key", key).map(Some) },
        (duid, None) => format_compact!("duid:{duid}"),
        ("", Some(iaid)) => format_compact!("iaid:{iaid}"),
        (duid, Some(iaid)) => format_compact!("duid:{duid}/iaid:{iaid}"),
    };
    if !key.is_empty() {
        return Err(AppError::invalid("key", key, "must be left out when duid or iaid are given: they are the key"));
    }
    read_id("duid", &made).map(Some)
}

/// Which of a subscriber's allocations: all when empty.
#[derive(Clone, Debug, Default)]
pub struct Select {
    pub pool: Option<PoolId>,
    pub key: Option<Key>,
    /// A resource's text, in any spelling its type knows.
    pub resource: Option<String>,
    /// When it was made, Unix milliseconds.
    pub made_ms: Option<u64>,
}

/// What to release of what [`Select`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseScope {
    /// Exactly the one a look-up shows, with what it superseded.
    Shown,
    All,
}

/// A pool to be made or changed. `None` is the default of the type or the host.
#[derive(Clone, Debug)]
pub struct PoolInput {
    pub id: PoolId,
    pub type_id: TypeId,
    /// `None`: `default`.
    pub realm: Option<RealmName>,
    pub shared: bool,
    /// JSON object as text, for the plugin.
    pub spec: String,
    pub strategy: Option<Strategy>,
    pub lease: Option<LeaseTerms>,
    pub hold_down_ms: Option<u64>,
    pub strict: Option<bool>,
    pub ack: Option<Durability>,
    pub realm_by: Vec<CompactString>,
    /// JSON object as text, or empty.
    pub metadata: CompactString,
    /// `None`: as many shards as the type's cut gives.
    pub sharding_factor: Option<u32>,
    /// Host fields of the older form that are kept and given back, JSON object as text; empty if there are none.
    pub extra: CompactString,
    /// What the body says beside `spec` of things that follow from it (`cidr`, `gateway`): must agree with the plugin.
    pub derived: Pairs,
    /// True: the body had no `spec`, its fields that are not the host's stand for it.
    pub older_form: bool,
    /// The revision the body was read at, if it says so: an update of another one is refused.
    pub revision: Option<Revision>,
}

/// Whether an update is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    Apply,
    /// Says what would happen, changes nothing.
    DryRun,
}

/// What happens to a pool that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// It is not deleted.
    IfUnused,
    /// Its allocations are released, each as its own event.
    Force,
}

/// Which pools to list.
#[derive(Clone, Debug, Default)]
pub struct PoolQuery {
    pub type_id: Option<TypeId>,
    pub cursor: Option<String>,
    /// `None`: [`MOST_ROWS`].
    pub limit: Option<usize>,
}

/// Which allocations to list. Empty: all of the tenant.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub pool: Option<PoolId>,
    pub subscriber: Option<SubscriberId>,
    pub node: Option<NodeId>,
    pub realm: Option<RealmName>,
    /// A resource's text: those that hold it, in any pool that knows the text.
    pub resource: Option<String>,
    /// Only leases that end within so many milliseconds from now.
    pub expiring_within_ms: Option<u64>,
    pub cursor: Option<String>,
    /// 1 to [`MOST_ROWS`]; `None`: [`MOST_ROWS`].
    pub limit: Option<usize>,
}

/// Who holds, or held, a resource.
#[derive(Clone, Debug)]
pub struct HolderQuery {
    /// `None`: any type that knows the text.
    pub type_id: Option<TypeId>,
    pub resource: String,
    pub pool: Option<PoolId>,
    pub realm: Option<RealmName>,
    /// Unix milliseconds; `None`: now.
    pub at_ms: Option<u64>,
    /// Without `at_ms`: how many past holders to show too.
    pub past: usize,
}

/// The resource a reservation is about.
#[derive(Clone, Debug)]
pub struct ReservationInput {
    pub pool: PoolId,
    pub resource: String,
    /// For the pool's `realm_by`.
    pub node: Option<NodeId>,
    pub attributes: Pairs,
}

/// Which reservations to list.
#[derive(Clone, Debug, Default)]
pub struct ReservationQuery {
    pub pool: Option<PoolId>,
    pub subscriber: Option<SubscriberId>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

/// Which open conflicts to list.
#[derive(Clone, Debug, Default)]
pub struct ConflictQuery {
    pub pool: Option<PoolId>,
    pub subscriber: Option<SubscriberId>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

/// Which kind of events to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchOf {
    /// Pools and notes; only pools, if a pool or a subscriber is named.
    #[default]
    Everything,
    /// Pools and what is in them.
    Pools,
    /// Only notes whose keys begin like this.
    Notes { prefix: String },
}

/// A note that is asked for or written.
#[derive(Clone, Debug)]
pub struct NoteInput {
    pub key: NoteKey,
    /// `None`: to be deleted.
    pub value: Option<NoteText>,
    /// Only at this version.
    pub expected: Option<NoteStamp>,
}

/// Which notes to list. Empty: all of the tenant.
#[derive(Clone, Debug, Default)]
pub struct NoteQuery {
    pub prefix: String,
    /// Only those of which two people wrote something else at the same time.
    pub disputed: bool,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

/// What to watch. Empty: everything of the tenant.
#[derive(Clone, Debug, Default)]
pub struct WatchQuery {
    pub pool: Option<PoolId>,
    pub subscriber: Option<SubscriberId>,
    pub of: WatchOf,
    /// Go on after this event; `None`: from now on.
    pub after: Option<Seq>,
}
