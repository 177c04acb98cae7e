//! What happened, counted. How it is exported is for the owner to decide.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// How often what happened since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct NetStats {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl NetStats {
            /// Each by its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            pub(crate) fn read(&self) -> NetStats {
                NetStats { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Requests that we sent and that were answered.
    requests_answered,
    /// Requests of ours that failed, for whatever reason.
    requests_failed,
    /// Requests of peers that went to the owner.
    requests_received,
    /// Requests refused because the peer is not allowed.
    refused_not_allowed,
    /// Requests refused because the peer had too many under way, or said hello too often.
    refused_busy,
    /// Requests refused because the owner was slow.
    refused_owner_slow,
    /// Requests refused unread because of their size.
    refused_too_large,
    /// Requests that are no frame of ours.
    malformed_requests,
    /// Responses that are no frame of ours, or too large.
    malformed_responses,
    /// Requests that arrived, but whose answer came too late to be sent.
    answered_late,
    /// Gossip that went to the owner.
    gossip_received,
    /// Gossip that we published.
    gossip_published,
    /// Gossip dropped because the owner was slow.
    gossip_dropped,
    /// Gossip refused because who sent it is not allowed, or because it is too large.
    gossip_refused,
    /// Connections refused because the other end has another cluster key, or none.
    strangers_other_key,
    /// Connections that ended before they proved anything: a port scanner, a health check, a cut.
    strangers_silent,
    /// Connections refused because a bound on connections was reached.
    refused_connections,
    /// Connections dropped because their other end gave no sign of life.
    dropped_silent,
    /// Times a peer was cut off for its conduct.
    peers_cut_off,
    /// Connections refused because the peer is cut off.
    refused_cut_off,
    /// Connections refused because another process of the peer is connected.
    copies_refused,
    /// Connections to a peer with our own identity, or to one that knows another process with it.
    identity_clashes,
    /// Dials that failed.
    dials_failed,
    /// Dials that ended at ourselves.
    own_dials,
    /// Names that could not be resolved.
    names_unresolved,
}

/// Only ever grows. Relaxed: counters order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
