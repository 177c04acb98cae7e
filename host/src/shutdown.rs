//! The end: SIGTERM or SIGINT drains within `graceful_shutdown.timeout`, a second one leaves at once. SIGHUP reloads.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end or reload the daemon.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals no longer kill.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at the first signal to end; runs `reload` at each SIGHUP.
    pub(crate) async fn end(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }

    /// Returns at a second signal, or after so long.
    pub(crate) async fn give_up(&mut self, after: Duration) -> GaveUp {
        tokio::select! {
            _ = self.terminate.recv() => GaveUp::Asked,
            _ = self.interrupt.recv() => GaveUp::Asked,
            () = tokio::time::sleep(after) => GaveUp::Late,
        }
    }
}

/// Why the drain was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    Asked,
    Late,
}
