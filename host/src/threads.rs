//! Threads the daemon cannot do without: the kernel's, the flusher's and the one that writes checkpoints.
//!
//! Were one of them gone and the process not, requests would wait for ever or the log would grow for ever, and `/ready`
//! would say that all is well. So a panic in one of them ends the process, as a failed write does. Not by
//! `panic = "abort"`: the store catches sled's panics.

use std::thread::{self, JoinHandle};

/// A thread whose panic ends the process.
#[derive(Debug)]
pub(crate) struct Essential(JoinHandle<()>);

impl Essential {
    /// Starts it.
    pub(crate) fn start(name: &'static str, run: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _last = Last(name);
            run();
        })?;
        Ok(Self(thread))
    }

    /// Waits until it has ended.
    pub(crate) fn join(self) {
        self.0.join().expect("a panic there ends the process");
    }
}

/// Dropped after everything else of the thread, with its name.
struct Last(&'static str);

impl Drop for Last {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(thread = self.0, "a thread the daemon cannot do without panicked, so the daemon ends");
            // Whether its last group is on the disk nobody knows: nothing may be answered any more.
            std::process::exit(crate::EXIT_STORAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that is to end.
    const DOOMED: &str = "NEXUS_TEST_DOOMED";

    #[test]
    fn a_panic_in_an_essential_thread_ends_the_process() {
        if std::env::var_os(DOOMED).is_some() {
            let thread = Essential::start("doomed", || panic!("on purpose")).expect("a test may start a thread");
            let _ended = thread.0.join();
            // Only reached by whoever outlives its thread.
            std::process::exit(0);
        }
        let this = std::env::current_exe().expect("this test is a file");
        let ended = Command::new(this)
            .args(["--exact", "threads::tests::a_panic_in_an_essential_thread_ends_the_process"])
            .env(DOOMED, "1")
            .output()
            .expect("this test runs");
        assert_eq!(ended.status.code(), Some(crate::EXIT_STORAGE), "{ended:?}");
    }
}
