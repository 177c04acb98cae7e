//! The network of a test, and members with their directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::machine::Recorder;
use crate::{Call, Consensus, Outcome, Peer, ProposeError, Settings, State, Transport, Unreachable};

/// Generous: only a member that is stuck takes so long.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

#[derive(Default)]
struct Faults {
    /// From, to.
    cut: BTreeSet<(u64, u64)>,
    delay: Duration,
    /// Every so many answers one is lost; never if zero.
    lose_every: u64,
}

/// Knows who is up, by address.
#[derive(Default)]
pub(super) struct Net {
    up: Mutex<BTreeMap<String, Consensus>>,
    faults: Mutex<Faults>,
    answers: AtomicU64,
}

struct Wire {
    me: u64,
    net: Arc<Net>,
}

/// A member's end of the network.
pub(super) fn wire(me: u64, net: &Arc<Net>) -> Arc<dyn Transport> {
    Arc::new(Wire { me, net: Arc::clone(net) })
}

impl Transport for Wire {
    fn call(&self, to: Peer, body: Vec<u8>, _within: Duration) -> Call {
        let (me, net) = (self.me, Arc::clone(&self.net));
        Box::pin(async move {
            let (there, back, delay) = {
                let faults = net.faults.lock();
                let cut = |from, to| faults.cut.contains(&(from, to));
                (cut(me, to.member), cut(to.member, me), faults.delay)
            };
            if there {
                return std::future::pending().await;
            }
            if delay > Duration::ZERO {
                tokio::time::sleep(delay).await;
            }
            let member = net.up.lock().get(&to.address).cloned();
            let member = member.ok_or_else(|| Unreachable { why: format!("{} is down", to.address) })?;
            let answer = member.handle(body).await;
            let count = net.answers.fetch_add(1, Ordering::Relaxed) + 1;
            let lose_every = net.faults.lock().lose_every;
            if back || lose_every != 0 && count.is_multiple_of(lose_every) {
                return std::future::pending().await;
            }
            Ok(answer)
        })
    }
}

impl Net {
    pub(super) fn cut(&self, one: &[u64], other: &[u64]) {
        let mut faults = self.faults.lock();
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            faults.cut.extend([(a, b), (b, a)]);
        }
    }

    pub(super) fn heal(&self) {
        *self.faults.lock() = Faults::default();
    }

    pub(super) fn trouble(&self, delay: Duration, lose_every: u64) {
        let mut faults = self.faults.lock();
        faults.delay = delay;
        faults.lose_every = lose_every;
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        heartbeat: Duration::from_millis(100),
        election: (Duration::from_millis(600), Duration::from_millis(1200)),
        snapshot_timeout: Duration::from_secs(10),
        ..Settings::default()
    }
}

pub(super) fn address(member: u64) -> String {
    format!("host-{member}")
}

pub(super) fn peer(member: u64) -> Peer {
    Peer { member, address: address(member) }
}

pub(super) struct Member {
    pub(super) consensus: Consensus,
    pub(super) machine: Recorder,
    pub(super) dir: TempDir,
    net: Arc<Net>,
    address: String,
}

impl Member {
    pub(super) async fn start(net: &Arc<Net>, me: u64, settings: Settings) -> Self {
        Self::start_at(net, me, &address(me), tempfile::tempdir().expect("a directory"), settings).await
    }

    pub(super) async fn start_at(net: &Arc<Net>, me: u64, address: &str, dir: TempDir, settings: Settings) -> Self {
        let machine = Recorder::default();
        let consensus = Consensus::open(dir.path(), me, settings, Box::new(machine.clone()), wire(me, net)).await;
        let consensus = consensus.expect("opens");
        net.up.lock().insert(address.to_owned(), consensus.clone());
        Self { consensus, machine, dir, net: Arc::clone(net), address: address.to_owned() }
    }

    pub(super) fn number(&self) -> u64 {
        self.consensus.inner.me
    }

    /// Ends it and gives back what it had on its disk.
    pub(super) async fn kill(self) -> TempDir {
        self.net.up.lock().remove(&self.address);
        self.consensus.stop().await;
        self.dir
    }

    pub(super) async fn restart(self) -> Self {
        let (net, me, address) = (Arc::clone(&self.net), self.number(), self.address.clone());
        let settings = self.consensus.inner.settings.clone();
        Self::start_at(&net, me, &address, self.kill().await, settings).await
    }

    pub(super) async fn until(&self, what: &str, reached: impl Fn(&State) -> bool) -> State {
        let mut changed = self.consensus.changed();
        match tokio::time::timeout(DEADLINE, changed.wait_for(|state| reached(state))).await {
            Ok(Ok(state)) => state.clone(),
            _ => panic!("member {} never reached: {what}; it is at {:?}", self.number(), self.consensus.state()),
        }
    }

    pub(super) async fn applied(&self, index: u64) {
        self.until(&format!("applied {index}"), |state| state.applied >= Some(index)).await;
    }

    /// Waits until the log begins behind an entry.
    pub(super) async fn purged(&self, index: u64) {
        let mut metrics = self.consensus.inner.raft.metrics();
        let purged = metrics.wait_for(|metrics| metrics.purged.is_some_and(|id| id.index >= index));
        let purged = tokio::time::timeout(DEADLINE, purged).await;
        assert!(matches!(purged, Ok(Ok(_))), "member {} never purged entry {index}", self.number());
    }

    /// Proposes as a caller does: again for as long as the outcome is open, since the machine knows the entry.
    pub(super) async fn settle(&self, entry: &str) -> Outcome {
        let started = tokio::time::Instant::now();
        let mut changed = self.consensus.changed();
        loop {
            changed.mark_unchanged();
            match self.consensus.propose(entry.into(), Duration::from_secs(3)).await {
                Ok(outcome) => return outcome,
                Err(ProposeError::Refused { why }) => panic!("{entry} was refused: {why}"),
                Err(why) => assert!(started.elapsed() < DEADLINE, "{entry} was never committed: {why}"),
            }
            // Until it knows more, or may have missed it.
            drop(tokio::time::timeout(Duration::from_millis(100), changed.changed()).await);
        }
    }

    pub(super) async fn must(&self, entry: &str) -> Outcome {
        self.consensus.propose(entry.into(), DEADLINE).await.expect("committed")
    }
}

/// A log with these members, the first of which formed it; all of them vote.
pub(super) async fn voters(net: &Arc<Net>, count: u64, settings: Settings) -> Vec<Member> {
    let mut members = Vec::new();
    for me in 1..=count {
        members.push(Member::start(net, me, settings.clone()).await);
    }
    let first = &members[0].consensus;
    first.init(address(1)).await.expect("forms a log");
    for member in 2..=count {
        first.add_learner(peer(member)).await.expect("joins");
    }
    if count > 1 {
        first.promote((2..=count).collect()).await.expect("promoted");
    }
    for member in &members {
        let all = usize::try_from(count).expect("few");
        member.until("all vote", |state| state.voters.len() == all && state.learners.is_empty()).await;
    }
    members
}

/// Every machine has seen what any has, and the same.
pub(super) async fn agree(members: &[Member]) -> Vec<String> {
    let last = members.iter().filter_map(|member| member.consensus.state().last_log).max().unwrap_or(0);
    for member in members {
        member.applied(last).await;
    }
    let entries = members[0].machine.entries();
    for member in members {
        assert_eq!(member.machine.entries(), entries, "member {}", member.number());
    }
    entries
}

/// The leader that a majority answers, as the member itself sees it.
pub(super) async fn leader_among(members: &[Member]) -> usize {
    let all: Vec<u64> = members.iter().map(Member::number).collect();
    let state = members[0].until("a leader among these", |state| state.leader.is_some_and(|l| all.contains(&l))).await;
    members.iter().position(|member| Some(member.number()) == state.leader).expect("one of them")
}
