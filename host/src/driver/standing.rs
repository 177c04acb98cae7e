//! What this host may answer for now ([`kernel::Standing`]), for whoever sends answers, and what an answer waits for. It is told
//! before the kernel is: an answer that was decided in a term of ownership that is over does not leave.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Durability, News, Reply};
use parking_lot::RwLock;

/// What is answered for, and whether there is another host to wait for.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    known: RwLock<kernel::Standing>,
    has_others: AtomicBool,
}

impl Standing {
    /// What the kernel will be told next.
    pub(crate) fn hear(&self, news: &News) {
        self.known.write().hear(news);
    }

    /// Whether other hosts could have what this one writes, reachable or not.
    pub(crate) fn has_others(&self) -> bool {
        self.has_others.load(Ordering::Acquire)
    }

    pub(crate) fn set_others(&self, others: bool) {
        self.has_others.store(others, Ordering::Release);
    }

    /// What an answer of a pool waits for, now.
    pub(super) fn wants(&self, ack: Option<Durability>) -> Durability {
        match ack {
            _ if !self.has_others() => Durability::Local,
            Some(level) => level,
            None => Durability::Peer,
        }
    }

    /// Whether a reply may still be given at this moment of the boot clock.
    pub(super) fn stands(&self, reply: &Reply, boot_ms: u64) -> bool {
        self.known.read().stands(reply, boot_ms)
    }
}

#[cfg(test)]
pub(super) mod tests;
