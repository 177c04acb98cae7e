//! The safety rules by name. All are kept, always; the simulator may break one to see that its checks would notice.

/// A rule whose breach must not go unnoticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "sim"), allow(unreachable_pub, reason = "only the simulator names them from outside"))]
pub enum Rule {
    /// A released span rests before another subscriber gets it.
    HoldDown,
    /// A reserved span goes to its own subscriber only.
    Reserved,
    /// A repeat gives what is held.
    Idempotent,
    /// Nobody's lease ends while the clocks disagree.
    TrustedClock,
    /// A lease that ended while the host was down may still be renewed for a while.
    RestartGrace,
    /// What a longer or shorter span replaces is written off.
    FreeReplaced,
    /// Resting spans count as free for whoever would else be refused.
    RestingIsFree,
    /// A pool may not be made over another in its realm.
    NoOverlap,
    /// A new subscriber is served by its home, or by whom that one asks.
    Home,
    /// Leased shards are handed out from only while the node lease is good.
    NodeLease,
    /// And what is held there is answered, renewed and released only as long.
    LeasedAnswers,
    /// What is handed out for ever, where others get leases, is handed out of escrow.
    LastingInEscrow,
    /// A lease is kept for as long as the clock of whoever gave it may be behind.
    LeaseSlack,
    /// Nobody's lease ends before other hosts' clocks have shown the same.
    AgreedClocks,
    /// What others wrote is taken in without gaps.
    NoGaps,
    /// What a shard's new owner writes is taken in only after the last words of the former one.
    Barrier,
    /// What is said of a pool is taken in only by who knows its record as its writer did, or a later one.
    PoolFirst,
    /// Of several allocations of one subscriber all hosts take the same one to stand.
    Survivor,
    /// The owner of a shard says what counts after each word about it that comes late.
    LastWord,
    /// What is released in a leased shard is nobody's until a majority knows.
    Limbo,
    /// Whoever reserves a span in a leased shard is told so once a majority knows.
    ReservedKnown,
    /// The deletion of a note is forgotten only once every member has it.
    TombstoneKnown,
    /// And once this host has all that they had then.
    TombstoneCovered,
    /// And only what they had under the list of members that this host goes by counts.
    TombstoneList,
    /// Who joins, or begins another life, writes notes only once it has all that some member had who knew it for one.
    TombstoneNewcomer,
}

#[cfg(feature = "sim")]
impl Rule {
    /// All that a host keeps that is alone.
    pub const ALL: [Self; 8] = [
        Self::HoldDown,
        Self::Reserved,
        Self::Idempotent,
        Self::TrustedClock,
        Self::RestartGrace,
        Self::FreeReplaced,
        Self::RestingIsFree,
        Self::NoOverlap,
    ];

    /// All that count among several hosts.
    pub const CLUSTER: [Self; 13] = [
        Self::Home,
        Self::NodeLease,
        Self::LeasedAnswers,
        Self::LastingInEscrow,
        Self::LeaseSlack,
        Self::AgreedClocks,
        Self::NoGaps,
        Self::Barrier,
        Self::PoolFirst,
        Self::Survivor,
        Self::LastWord,
        Self::Limbo,
        Self::ReservedKnown,
    ];

    /// All that count where notes are deleted.
    pub const TOMBSTONES: [Self; 4] =
        [Self::TombstoneKnown, Self::TombstoneCovered, Self::TombstoneList, Self::TombstoneNewcomer];
}

/// Which rules are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    #[cfg(feature = "sim")]
    broken: Option<Rule>,
}

impl Rules {
    /// All but one.
    #[cfg(feature = "sim")]
    pub(crate) const fn without(rule: Rule) -> Self {
        Self { broken: Some(rule) }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    #[cfg(not(feature = "sim"))]
    #[allow(clippy::unused_self, reason = "the simulator's build looks")]
    pub(crate) const fn keep(self, _rule: Rule) -> bool {
        true
    }
}
