//! The channels between two hosts, and which versions of them are spoken.

use std::fmt;

/// A way to ask a peer. Each channel has streams of its own, so that nothing on one waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Who are you, may I come in: the only one that is open to peers that were not allowed yet.
    Hello,
    /// The ledger's votes, entries and snapshots.
    Ledger,
    /// What the other lacks of the facts.
    State,
    /// Requests that another host must answer.
    Route,
}

impl Channel {
    pub const ALL: [Self; 4] = [Self::Hello, Self::Ledger, Self::State, Self::Route];

    /// The most bytes of a request's body, and of a response's. A larger one is refused before it is read.
    pub const fn body_bytes(self) -> usize {
        match self {
            Self::Hello => 16 * 1024,
            Self::Ledger => 1024 * 1024,
            Self::State => 256 * 1024,
            Self::Route => 64 * 1024,
        }
    }

    /// How many requests may be under way to one peer, and as many from it. Beyond, they are refused as busy.
    pub const fn in_flight(self) -> usize {
        match self {
            Self::Hello | Self::Ledger | Self::State => 64,
            Self::Route => 256,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Ledger => "ledger",
            Self::State => "state",
            Self::Route => "route",
        }
    }

    /// The protocols of this channel, newest first: the newest that both ends speak is taken.
    pub(crate) fn protocols(self, majors: &[u32]) -> Vec<Protocol> {
        let mut majors = majors.to_vec();
        majors.sort_unstable_by(|one, other| other.cmp(one));
        majors.dedup();
        majors.into_iter().map(|major| Protocol { name: format!("/nexus/{self}/{major}"), major }).collect()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One version of a channel, as it is negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    name: String,
    pub(crate) major: u32,
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_offered_first() {
        let names: Vec<_> = Channel::Route.protocols(&[1, 2, 1]).iter().map(|it| it.as_ref().to_owned()).collect();
        assert_eq!(names, ["/nexus/route/2", "/nexus/route/1"]);
    }
}
