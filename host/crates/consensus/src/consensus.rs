//! The handle of a member: opening, forming a log, what it knows, stopping.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::BasicNode;
use openraft::error::{InitializeError, RaftError};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::error::{ConsensusError, InitError};
use crate::handle::Receiving;
use crate::machine::Machine;
use crate::network::Network;
use crate::raft::Raft;
use crate::settings::Settings;
use crate::state::{Metrics, State};
use crate::storage::{Disk, LogStore, MachineStore, Progress, Snapshots, claim};
use crate::transport::Transport;

/// How many proposals, reads and changes may be under way at a member; more are refused.
const ASKS: usize = 4096;

/// A running member. Cheap to clone; all clones are one member.
#[derive(Clone)]
pub struct Consensus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) me: u64,
    pub(crate) raft: Raft,
    pub(crate) log: LogStore,
    pub(crate) network: Network,
    pub(crate) settings: Settings,
    pub(crate) asks: Semaphore,
    pub(crate) receiving: tokio::sync::Mutex<Receiving>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) disk: Arc<Disk>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus").field("member", &self.inner.me).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get_mut().take() {
            follower.abort();
        }
        self.disk.close();
    }
}

impl Consensus {
    /// Starts member `me` on its directory, which is made if it is missing. The machine is brought to the newest snapshot
    /// and what is known to be committed after it before this returns.
    ///
    /// # Errors
    ///
    /// If the settings cannot work, or the directory is in use, damaged, of a newer format, or another member's.
    pub async fn open(
        dir: &Path,
        me: u64,
        settings: Settings,
        machine: Box<dyn Machine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, ConsensusError> {
        let config = Arc::new(settings.to_config().map_err(ConsensusError::Settings)?);
        let (published, progress) = watch::channel(Progress::default());
        let opening = {
            let (dir, message_bytes) = (dir.to_owned(), usize::try_from(settings.chunk_bytes).unwrap_or(usize::MAX));
            move || {
                let disk = Arc::new(Disk::open(&dir)?);
                claim(&disk, me)?;
                let (snapshots, stored) = Snapshots::open(Arc::clone(&disk))?;
                let machine = MachineStore::open(machine, Arc::new(snapshots), stored, published.clone())?;
                let log = LogStore::open(Arc::clone(&disk), message_bytes, published)?;
                Ok((disk, log, machine))
            }
        };
        let opened = tokio::task::spawn_blocking(opening).await;
        let opened = opened.map_err(|why| ConsensusError::Start { why: why.to_string() })?;
        let (disk, log, machine) = opened.map_err(ConsensusError::Storage)?;
        let network = Network { me, transport, pause: settings.heartbeat };
        let raft = match Raft::new(me, config, network.clone(), log.clone(), machine).await {
            Ok(raft) => raft,
            Err(why) => {
                disk.close();
                return Err(ConsensusError::Start { why: why.to_string() });
            }
        };
        let (state, follower) = follow(raft.metrics(), progress, settings.leader_lost_after());
        let inner = Inner {
            me,
            raft,
            log,
            network,
            settings,
            asks: Semaphore::new(ASKS),
            receiving: tokio::sync::Mutex::default(),
            state,
            disk,
            follower: Mutex::new(Some(follower)),
        };
        let consensus = Self { inner: Arc::new(inner) };
        consensus.elect_if_alone().await;
        Ok(consensus)
    }

    /// A sole voter need not wait for others to be silent.
    async fn elect_if_alone(&self) {
        let alone = {
            let metrics = self.inner.raft.metrics();
            let metrics = metrics.borrow();
            metrics.membership_config.voter_ids().eq([self.inner.me]) && metrics.current_leader.is_none()
        };
        if alone && let Err(why) = self.inner.raft.trigger().elect().await {
            tracing::warn!(%why, "could not elect the sole voter; it waits for the election's time");
        }
    }

    /// Forms a log with this member as its only voter. Once in the life of a log, on one member.
    ///
    /// # Errors
    ///
    /// [`InitError::Exists`] if this member has, or takes part in, a log.
    pub async fn init(&self, address: String) -> Result<(), InitError> {
        let members = BTreeMap::from([(self.inner.me, BasicNode::new(address))]);
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_) | InitializeError::NotInMembers(_))) => {
                Err(InitError::Exists)
            }
            Err(RaftError::Fatal(why)) => Err(InitError::Stopped { why: why.to_string() }),
        }
    }

    /// What this member knows now.
    pub fn state(&self) -> State {
        self.inner.state.borrow().clone()
    }

    /// Follows [`Consensus::state`]; only the latest is kept. Ends when the member is stopped.
    pub fn changed(&self) -> watch::Receiver<State> {
        self.inner.state.clone()
    }

    /// Ends the member. Its directory can be opened again when this returns; asks under way end with an error.
    pub async fn stop(&self) {
        if let Err(why) = self.inner.raft.shutdown().await {
            tracing::warn!(%why, "the log's task did not end in order");
        }
        let follower = self.inner.follower.lock().take();
        if let Some(follower) = follower {
            follower.abort();
            // It was told to end, so how it ended says nothing.
            drop(follower.await);
        }
        let disk = Arc::clone(&self.inner.disk);
        let closing = move || disk.close();
        if tokio::task::spawn_blocking(closing).await.is_err() {
            self.inner.disk.close();
        }
    }
}

/// Keeps the state up to date until either source ends.
fn follow(
    mut metrics: watch::Receiver<Metrics>,
    mut progress: watch::Receiver<Progress>,
    lost_after: Duration,
) -> (watch::Receiver<State>, JoinHandle<()>) {
    let (publish, state) = watch::channel(State::of(&metrics.borrow(), &progress.borrow(), lost_after));
    let follower = tokio::spawn(async move {
        loop {
            let next = State::of(&metrics.borrow_and_update(), &progress.borrow_and_update(), lost_after);
            publish.send_if_modified(|state| {
                let changed = *state != next;
                *state = next;
                changed
            });
            let open = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                changed = progress.changed() => changed.is_ok(),
            };
            if !open {
                return;
            }
        }
    });
    (state, follower)
}
