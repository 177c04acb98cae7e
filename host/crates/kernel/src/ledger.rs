//! The ledger: who may hand out from which shard, which pools there are, and who is a member. It is the state machine of
//! a replicated log. Entries arrive in the same order on every host, and the same entries make the same ledger: it reads
//! no clock and draws nothing. What was handed out to whom is not in here.
//!
//! Which rule prevents what:
//!
//! **Escrow** is held outright. Its holder uses it without clock or majority, for ever, so a host that is cut off goes on
//! serving. Therefore nothing but the holder's own word may take it away: `Move` and `TakeBack` are proposed by the holder
//! after it durably stopped, and name the epoch they end. A proposal that is late, or whose sender learnt never how it
//! ended, names an epoch that is over by then and is refused; so no shard is given away twice, and none comes back to
//! somebody who was told it is gone.
//!
//! **Leased** grants are good while their holder's node lease is. They are there so that a lost host's share of the free
//! space comes back without anybody's decision. A lease is renewed under the nonce of one process: a cloned disk, which
//! is another process with the same identity, is refused as long as the first may be good. A process that was restarted is no
//! exception, because nobody can tell the two apart: it waits until the former lease is declared over. How long a lease is
//! good is fixed by its renewal, because a holder may not have heard of terms that changed since.
//!
//! **Depose** is how time enters. Applying an entry reads no clock, or two hosts would apply it differently. So somebody
//! who saw lease and grace pass proposes it with the last renewal it counted from, and it is refused if there was a later
//! one: a holder that renewed in time is never deposed by somebody who did not see it. Afterwards no renewal is answered
//! until the host joins again, which begins new epochs for what is still its own: a takeover prepared before, with a cut
//! of then, can no longer match.
//!
//! **Takeover** gives a deposed host's leased shards to another. The old holder's last answers may be known to nobody who
//! is left, so the shard arrives quarantined: its new holder keeps what is allocated up to the cut and hands out nothing, until
//! `Released` says in the same epoch that the doubt is over. The quarantine goes along when the shard moves on. That
//! prevents that an address is handed out which the old holder gave away unheard. A host that comes back in another
//! incarnation lost part of its log, and its shards are quarantined for the same reason.
//!
//! **Seizure** takes escrow from a lost holder, which no rule can make safe: the holder may be alive behind a broken link.
//! So it is an operator's word with a reason, kept and told; it is refused while the holder renews its lease; and the
//! shards come forced, quarantined as in a takeover but with no cut, in an epoch above the one that may still be in use.
//!
//! **Forgoing.** Who is given a shard waits for what counts of the logs of those who had it. If one of them is no member any more,
//! and nobody has the end of its log, that would be for ever. So the holder may go on without, in doubt about all of it. Nobody
//! else may say so for it: what one host lacks another may have.
//!
//! **Reading.** A plugin says what a pool's description means; hosts may have different versions of it. Who reads a pool
//! otherwise than its record says would hand out something else under the same name. It says so itself and is then given
//! none of that pool's shards; the ring of that pool is one without it. If nobody is left who reads it, the shards stay
//! where they are.
//!
//! **Closing** is how space leaves a pool. Were it gone at once, another pool could be made over it while a host that has
//! not heard hands it out. So its shards close first, each holder says that it stopped and that nothing is allocated, in the
//! name of this closing and no other, and only `FinishClose` makes the space free. Until then it counts in each check for
//! overlaps, and so does space that an update under way will add.

mod closing;
mod command;
mod error;
mod grants;
mod members;
mod moves;
mod orders;
mod outcomes;
mod place;
mod pools;
mod quarantine;
mod reading;
mod shrink;
mod state;
mod tenure;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Epoch, MemberId, NodeId, PoolUid, ShardId};
use crate::ring::Ring;
use outcomes::Outcomes;
use state::State;

pub use closing::{Closing, ClosingWhat};
pub use command::{Applied, Change, HostRole, LedgerCommand, LedgerEntry, LedgerReply};
pub use error::LedgerError;
pub use grants::{Grant, GrantKind, GrantRun, GrantState, Grants};
pub use members::{Member, NodeLease};
pub use orders::{Deed, Order, Word};
pub use place::{Terms, Wish};
pub use quarantine::{Former, Quarantines};
pub use reading::Misread;
pub use state::LedgerPool;
pub use tenure::{Bereft, Offer};

/// The state of the replicated log. Serialized it is its snapshot.
///
/// ```
/// use kernel::ledger::{HostRole, Ledger, LedgerCommand, LedgerEntry, LedgerReply};
/// use kernel::{ClusterId, CommandId, Origin, ProtocolVersion};
///
/// let mut ledger = Ledger::new(ClusterId(7));
/// let join = LedgerCommand::Join {
///     node: "core-1".parse()?,
///     origin: Origin { host: 0xfeed, incarnation: 1 },
///     peer: "12D3KooW".to_owned(),
///     addresses: vec!["10.0.0.1:33123".to_owned()],
///     role: HostRole::Core,
///     weight: 1,
///     protocol: ProtocolVersion { major: 1, minor: 0 },
///     at_ms: 1_800_000_000_000,
/// };
/// let entry = LedgerEntry { id: CommandId(1), command: join };
/// let first = ledger.apply(1, &entry);
/// assert!(matches!(first.outcome, Ok(LedgerReply::Joined { new: true, .. })));
///
/// // The log may bring it again: the same answer, and nothing is done.
/// let again = ledger.apply(2, &entry);
/// assert_eq!(again.outcome, first.outcome);
/// assert!(again.changes.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    cluster: ClusterId,
    /// The last entry that was not a repeat.
    last: u64,
    outcomes: Outcomes,
    state: State,
}

impl Ledger {
    /// Before the first entry.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, last: 0, outcomes: Outcomes::default(), state: State::new() }
    }

    /// Takes the entry at this place of the log, which is above all before it. A refusal changes nothing but what is
    /// remembered as answered; a repeat of one of the last 4,096 commands changes nothing at all.
    pub fn apply(&mut self, index: u64, entry: &LedgerEntry) -> Applied {
        if let Some(outcome) = self.outcomes.of(entry.id) {
            return Applied { outcome: outcome.clone(), changes: Vec::new() };
        }
        if index <= self.last {
            let outcome = Err(LedgerError::OutOfOrder { last: self.last, found: index });
            return Applied { outcome, changes: Vec::new() };
        }
        self.last = index;
        let mut changes = Vec::new();
        let outcome = self.state.apply(index, &entry.command, &mut changes);
        self.outcomes.remember(entry.id, outcome.clone());
        Applied { outcome, changes }
    }

    /// Which cluster it is of.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The last entry that was applied and not a repeat; 0: none.
    pub fn last_index(&self) -> u64 {
        self.last
    }

    /// What an operator set of the whole cluster.
    pub fn terms(&self) -> Terms {
        self.state.terms
    }

    /// The members by number, which is in the order of joining.
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.state.members
    }

    /// A member; `None`: it is none, or none any more.
    pub fn member(&self, member: MemberId) -> Option<&Member> {
        self.state.members.get(&member)
    }

    /// The entry by which a host last joined for the first time, or left; 0: none.
    pub fn members_changed(&self) -> u64 {
        self.state.members_changed()
    }

    /// The member of that name.
    pub fn member_named(&self, node: &NodeId) -> Option<&Member> {
        self.state.members.values().find(|member| member.node == *node)
    }

    /// The pools by number, those that close among them.
    pub fn pools(&self) -> &BTreeMap<PoolUid, LedgerPool> {
        &self.state.pools
    }

    /// A pool; `None`: there is none, or none any more.
    pub fn pool(&self, pool: PoolUid) -> Option<&LedgerPool> {
        self.state.pools.get(&pool)
    }

    /// Whether there was such a pool and is none any more. Of one that is yet to be made, further on in the log, it is not said.
    pub fn is_deleted(&self, pool: PoolUid) -> bool {
        pool < self.state.next_pool && !self.state.pools.contains_key(&pool)
    }

    /// Who may hand out from a shard, and in which term.
    pub fn grant(&self, pool: PoolUid, shard: ShardId) -> Option<Grant> {
        self.pool(pool)?.grants.of(shard)
    }

    /// The term in which this member holds the shard; `None`: it does not.
    pub fn epoch_of(&self, pool: PoolUid, shard: ShardId, holder: MemberId) -> Option<Epoch> {
        self.grant(pool, shard).filter(|grant| grant.holder == holder).map(|grant| grant.epoch)
    }

    /// The last 256 things that were done by an operator's word, the oldest first.
    pub fn orders(&self) -> impl DoubleEndedIterator<Item = &Arc<Order>> {
        self.state.orders.iter()
    }

    /// The ring of core and write hosts with a weight, less the deposed.
    pub fn ring(&self) -> Ring {
        self.state.ring()
    }

    /// What has to move, by pool and shard. Of a deposed holder these are its leased shards, to be taken
    /// over; of others what they hold, to be moved. What is delegated, quarantined or closing is nobody's wish.
    pub fn wishes(&self) -> Vec<Wish> {
        self.state.wishes()
    }

    /// Who should vote: core hosts in the order of joining, an odd count, at most 5.
    pub fn voters_wanted(&self) -> Vec<MemberId> {
        self.state.voters_wanted()
    }

    /// True if a second core host is there that cannot vote yet: the loss of the first one stops the ledger, so somebody
    /// should be warned.
    pub fn has_two_core_hosts(&self) -> bool {
        self.state.has_two_core_hosts()
    }
}
