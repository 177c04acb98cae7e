//! Who may hand out from a shard, as the ledger says it, and who should be asked instead.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, MemberId, ShardId};
use crate::ring::Ring;

/// What this host may do with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tenure {
    /// It hands out from it, whatever becomes of the others.
    Escrow,
    /// It hands out from it, and answers for what is held there, as long as its node lease is good.
    Leased,
    /// It answers for what is held there and hands out nothing new: the shard is being given up, or a former owner may have
    /// handed out what nobody else knows of.
    Kept,
    /// It is this host's, but this host neither answers for what is held there nor changes it: what the former owner wrote
    /// last is not known yet, or the shard was offered to another, for whom all that counts ends with the offer.
    Silent,
    /// Another host's.
    Theirs(MemberId),
}

impl Tenure {
    /// Whether this host answers for what is held there, and ends it.
    pub const fn answers(self) -> bool {
        match self {
            Self::Escrow | Self::Leased | Self::Kept => true,
            Self::Silent | Self::Theirs(_) => false,
        }
    }

    /// Whether another host owns it.
    pub const fn is_theirs(self) -> bool {
        match self {
            Self::Theirs(_) => true,
            Self::Escrow | Self::Leased | Self::Kept | Self::Silent => false,
        }
    }
}

/// A shard's owner in one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTenure {
    pub shard: ShardId,
    pub epoch: Epoch,
    pub tenure: Tenure,
    /// Whoever can be taken for lost loses it, so nothing of it is answered without a good node lease, also if it is only kept.
    pub leased: bool,
    /// The former owner was lost: words of his from behind what counts of it may still turn up.
    pub doubtful: bool,
}

/// The hosts as this one sees them now. What it sees decides whom it asks, never who owns what.
#[derive(Clone, Debug)]
pub struct Sight {
    pub me: MemberId,
    pub ring: Arc<Ring>,
    /// Who can be reached, this host included.
    pub alive: BTreeSet<MemberId>,
    /// The kept clock less the boot clock ([`Kernel::lease_clock`](crate::Kernel::lease_clock)) with which other hosts' clocks agree,
    /// or any where there is no other host. With another one nobody's lease ends here.
    pub agreed_offset_ms: Option<i64>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Leg {
    /// From a client.
    #[default]
    Entry,
    /// Another host sent it to the subscriber's home.
    Home,
    /// The home sent it to an owner that has space.
    Space,
    /// A host that knows of the allocation sent it to the owner.
    Owner,
}

/// Which host must decide instead. Not a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detour {
    /// The subscriber's home: it sees to it that nobody gets two resources by asking two hosts.
    Home(MemberId),
    /// Whose shard the resource is in.
    Owner(MemberId),
    /// This host is the home and has nothing free itself: these own the other shards.
    Space(Vec<MemberId>),
}
