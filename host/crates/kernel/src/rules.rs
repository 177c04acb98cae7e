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
}

#[cfg(feature = "sim")]
impl Rule {
    /// All of them.
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
