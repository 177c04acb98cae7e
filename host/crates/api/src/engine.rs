//! The way to the kernel: a bounded queue of commands and, for each, an answer after its records are on disk.

use std::fmt;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use kernel::{Command, CommandError, Reply};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::deadline;

/// Why the engine gave no answer of its own. All are retryable; after `Stopped` and `Unknown` the request may or may not
/// have been carried out, and repeating it is safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EngineError {
    #[error("the request queue of {limit} is full")]
    Overloaded { limit: usize },
    #[error("free disk space is {free_bytes} bytes, below min_free of {min_bytes}")]
    StorageFull { free_bytes: u64, min_bytes: u64 },
    #[error("the group could not be written: {0}")]
    Storage(String),
    #[error("pool records are damaged on disk: {0}")]
    Damaged(String),
    #[error("{} could not be asked", hosts.join(", "))]
    Unreachable { hosts: Vec<String> },
    #[error("the resource's shard has another owner since, who decides now")]
    OwnerChanged,
    #[error("the answer took longer than the response deadline of {within_ms} ms, so it is not given any more")]
    Late { within_ms: u64 },
    #[error("the cluster's ledger gave no answer: {0}")]
    Ledger(String),
    /// It may or may not have happened, and asking again is safe.
    #[error("{0}")]
    Unknown(String),
    /// This host is no member of a cluster, and decides nothing: why, and what to do.
    #[error("{0}")]
    NotInCluster(String),
    #[error("the daemon is stopping")]
    Stopped,
}

/// What came of one command.
pub type Outcome = Result<Result<Reply, CommandError>, EngineError>;

/// Commands that travel together and are answered together. They are separate commands: each has its own outcome.
#[derive(Debug)]
pub struct Job {
    pub commands: Vec<Command>,
    pub answer: oneshot::Sender<Vec<Outcome>>,
}

/// Carries commands to whichever host must decide, in a cluster.
pub trait Relay: fmt::Debug + Send + Sync {
    /// As [`Engine::submit_many`], wherever the deciding host is; `until`: when whoever asks gives up, if it said so.
    fn carry(&self, commands: Vec<Command>, until: Option<Instant>) -> Carried;

    /// As [`Engine::catch_up`].
    fn catch_up(&self) -> CaughtUp;
}

/// The outcomes on their way.
pub type Carried = Pin<Box<dyn Future<Output = Result<Vec<Outcome>, EngineError>> + Send>>;

/// Knowing what others know, on its way.
pub type CaughtUp = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

/// Where requests enter. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    queue: Arc<SyncSender<Option<Job>>>,
    limit: usize,
    /// `None`: this host decides everything.
    relay: Option<Arc<dyn Relay>>,
}

/// Where the kernel's thread takes them out. `None` is no job, only a reason to look up.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Option<Job>>,
}

/// Makes the kernel's thread look up. Keeps the queue open no longer than the engines do.
#[derive(Clone, Debug)]
pub struct Waker {
    queue: Weak<SyncSender<Option<Job>>>,
}

impl Waker {
    /// A full queue needs no wake: the thread is busy and looks up by itself.
    pub fn wake(&self) {
        if let Some(queue) = self.queue.upgrade() {
            let _full_or_closed = queue.try_send(None);
        }
    }
}

/// An engine for whoever must not keep the daemon from ending: the queue stays open no longer than others need it.
#[derive(Clone, Debug)]
pub struct WeakEngine {
    queue: Weak<SyncSender<Option<Job>>>,
    limit: usize,
}

impl WeakEngine {
    /// The engine, without a relay, while the daemon serves.
    pub fn upgrade(&self) -> Option<Engine> {
        self.queue.upgrade().map(|queue| Engine { queue, limit: self.limit, relay: None })
    }

    /// Carries out one command and waits on this thread until its records are on disk. Not for async callers.
    pub fn submit_blocking(&self, command: Command) -> Outcome {
        let queue = self.queue.upgrade().ok_or(EngineError::Stopped)?;
        let outcome = Engine { queue, limit: self.limit, relay: None }.hand_in(vec![command])?;
        let outcomes = outcome.blocking_recv().map_err(|_| EngineError::Stopped)?;
        outcomes.into_iter().next().unwrap_or(Err(EngineError::Stopped))
    }
}

impl Engine {
    /// A queue of at most `limit` jobs; when it is full, jobs are refused as [`EngineError::Overloaded`].
    pub fn channel(limit: usize) -> (Self, Inbox) {
        let (sender, receiver) = sync_channel(limit);
        (Self { queue: Arc::new(sender), limit, relay: None }, Inbox { queue: receiver })
    }

    /// The same queue, but what another host must decide is carried there.
    #[must_use]
    pub fn relayed(self, relay: Arc<dyn Relay>) -> Self {
        Self { relay: Some(relay), ..self }
    }

    /// The same queue, without keeping it open.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine { queue: Arc::downgrade(&self.queue), limit: self.limit }
    }

    /// A waker of this queue's reader.
    pub fn waker(&self) -> Waker {
        Waker { queue: Arc::downgrade(&self.queue) }
    }

    /// Carries out one command; returns when its records are on disk.
    pub async fn submit(&self, command: Command) -> Outcome {
        let mut outcomes = self.submit_many(vec![command]).await?;
        outcomes.pop().unwrap_or(Err(EngineError::Stopped))
    }

    /// Carries out commands in order, each on its own; returns when the records of all are on disk.
    pub async fn submit_many(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, EngineError> {
        match &self.relay {
            Some(relay) => relay.carry(commands, deadline::until()).await,
            None => self.submit_here(commands).await,
        }
    }

    /// Waits until this host knows of whatever any host answered before this was called. For whoever is about to say that
    /// something is not there.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unreachable`] if some host that may have answered cannot be asked.
    pub async fn catch_up(&self) -> Result<(), EngineError> {
        match &self.relay {
            Some(relay) => relay.catch_up().await,
            None => Ok(()),
        }
    }

    /// As [`Self::submit_many`], on this host, which may answer that another one must decide.
    pub async fn submit_here(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, EngineError> {
        self.hand_in(commands)?.await.map_err(|_| EngineError::Stopped)
    }

    fn hand_in(&self, commands: Vec<Command>) -> Result<oneshot::Receiver<Vec<Outcome>>, EngineError> {
        let (answer, outcome) = oneshot::channel();
        self.queue.try_send(Some(Job { commands, answer })).map_err(|refused| match refused {
            TrySendError::Full(_) => EngineError::Overloaded { limit: self.limit },
            TrySendError::Disconnected(_) => EngineError::Stopped,
        })?;
        Ok(outcome)
    }
}

impl Inbox {
    /// The next job or wake, waiting at most so long.
    pub fn wait(&self, most: Duration) -> Result<Option<Job>, RecvTimeoutError> {
        self.queue.recv_timeout(most)
    }

    /// The next job or wake if there is one.
    pub fn next(&self) -> Result<Option<Job>, TryRecvError> {
        self.queue.try_recv()
    }
}
