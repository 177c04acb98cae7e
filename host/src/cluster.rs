//! This host among others: the ledger that says who owns what, the facts that go around, and requests that another host
//! must decide.
//!
//! Who knows what: `book` keeps the ledger as the replicated log drives it; `follow` tells the kernel what it says; `replicate`
//! moves facts, `acks` lets answers wait until another host has them, `takeover` all of them where the logs reach back no longer, and `agreement` compares; `route` carries
//! requests, in messages that `lanes` shares out; `versions` keeps builds apart that are too different; `govern` keeps the cluster in shape (leases, voters, moves), by `offers` of shards; `readings` gives up pools that this host's plugins
//! read otherwise; `oversee` looks after lost hosts; `door` lets hosts in and answers what they ask; `old_disk` keeps a host with an older state of its disk from serving; `office` is what operators order and `status` what they see.

mod acks;
mod agreement;
mod arrival;
mod book;
mod clocks;
mod copy;
mod door;
mod follow;
mod founding;
mod gauges;
mod govern;
mod home;
mod inquiry;
mod lanes;
mod messages;
pub(crate) mod nonce;
mod offers;
mod office;
mod old_disk;
mod oversee;
mod pools;
mod quarantine;
mod readings;
mod replicate;
mod route;
mod seat;
mod stable;
mod status;
mod stopped;
mod takeover;
mod versions;
mod voters;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::engine::{Engine, WeakEngine};
use kernel::ledger::HostRole;
use kernel::{Epoch, NodeId, Origin, PoolUid, ProtocolVersion, Seq, ShardId, Tenure};
use net::{Net, NetEvents, NetSettings, PeerId};
use parking_lot::{Mutex, RwLock};
use store::Reader;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use view::View;

use crate::driver::{Parcel, Standing};
use crate::plugins::Plugins;
use crate::restored::Restored;
use crate::vitals::Vitals;
use seat::Seat;

pub(crate) use route::Router;
pub(crate) use seat::{FILE as MEMBERSHIP, Membership, is_member, read as membership, replace};
pub(crate) use versions::{BUILT, SPOKEN};

/// What the cluster is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) net: NetSettings,
    pub(crate) data_path: PathBuf,
    pub(crate) node: NodeId,
    pub(crate) origin: Origin,
    pub(crate) role: HostRole,
    pub(crate) weight: u32,
    /// What it says that it speaks: [`SPOKEN`], but in a test of builds that differ.
    pub(crate) protocol: ProtocolVersion,
    /// How long a node lease is, in a cluster that this host forms.
    pub(crate) node_lease: Duration,
    /// How much longer others wait before its leased shards are theirs.
    pub(crate) lease_grace: Duration,
    /// Points on the hashring of a host of weight 1, in such a cluster.
    pub(crate) virtual_nodes: u32,
    /// How far its clock and another host's may be apart.
    pub(crate) clock_tolerance: Duration,
    /// How often a random peer is asked for what is missing here.
    pub(crate) rebroadcast: Duration,
    /// How long a request may take over all hosts.
    pub(crate) response_deadline: Duration,
    pub(crate) consensus: consensus::Settings,
}

/// What of the daemon the cluster works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Weak: the driver ends when the last face does.
    pub(crate) engine: WeakEngine,
    pub(crate) view: Arc<View>,
    pub(crate) reader: Reader,
    pub(crate) vitals: Arc<Vitals>,
    /// Only to have a checkpoint written for another host.
    pub(crate) store: Arc<std::sync::Mutex<store::Store>>,
    /// What this host may answer for; the cluster keeps it.
    pub(crate) standing: Arc<Standing>,
    /// Answers that wait until another host has them.
    pub(crate) parcels: mpsc::Receiver<Parcel>,
    /// What is quarantined after a restore.
    pub(crate) restored: Arc<Restored>,
    /// How this host reads the pools.
    pub(crate) plugins: Arc<Plugins>,
}

/// The same, without what one task alone takes.
#[derive(Debug)]
struct Lent {
    engine: WeakEngine,
    view: Arc<View>,
    reader: Reader,
    vitals: Arc<Vitals>,
    standing: Arc<Standing>,
    /// Only to have a checkpoint written for another host.
    store: Arc<std::sync::Mutex<store::Store>>,
    restored: Arc<Restored>,
    plugins: Arc<Plugins>,
}

/// Most bytes of the log that are kept for other hosts although a checkpoint covers them.
pub(crate) const RETAIN_BYTES: u64 = 1 << 30;

/// How far each origin's log is known.
pub(crate) type Vector = BTreeMap<Origin, Seq>;

/// Whether one reaches at least as far as another. Of a log that it does not name it knows nothing, which is as far as one goes that
/// says nothing yet.
fn covers(vector: &Vector, known: &Vector) -> bool {
    known.iter().all(|(origin, through)| vector.get(origin).copied().unwrap_or_default() >= *through)
}

/// The cluster as this host takes part in it; clones are the same.
#[derive(Clone)]
pub(crate) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    parts: Lent,
    net: Net,
    /// `None` while the host waits to be joined.
    seat: RwLock<Option<Arc<Seat>>>,
    /// Rung when a seat was taken, and when who is connected changed.
    bell: Notify,
    /// What is heard and on this host's disk.
    heard: watch::Sender<Vector>,
    /// What each peer said that it has.
    acknowledged: Mutex<BTreeMap<PeerId, Vector>>,
    /// Which of this host's own operations another host has.
    acks: acks::Acks,
    /// How far each peer said that it knows this host's own log.
    told_of_us: watch::Sender<old_disk::Told>,
    hints: mpsc::Sender<replicate::Hint>,
    /// Whoever has what is missing here.
    pulls: mpsc::Sender<PeerId>,
    /// Held by whoever takes over the state of the cluster.
    taking_over: tokio::sync::Mutex<()>,
    /// Held while something of a peer is taken in, from the look whether it is a member until it counts as heard; and alone
    /// before the kernel is told of another list of members. So what a host says it has, under a list, lacks nothing that it
    /// took from one who is not on it.
    hearing: tokio::sync::RwLock<()>,
    /// How far the state of the cluster is taken over, and from whom.
    takeover: Mutex<Option<takeover::Takeover>>,
    /// How often in a row a peer's log did not reach back while this host handed out.
    owner_asked: std::sync::atomic::AtomicU32,
    /// When another host last needed a newer checkpoint.
    checkpoint_wanted: Mutex<Option<std::time::Instant>>,
    agreement: agreement::Agreement,
    arrival: Mutex<arrival::Arrival>,
    /// Other processes that run under this host's identity.
    copies: Mutex<copy::Copies>,
    /// By the clock since boot: until when this process has the node lease.
    lease_until_ms: std::sync::atomic::AtomicU64,
    /// Where a host was met last that has another cluster key.
    other_key: Mutex<Option<String>>,
    /// Hosts that are there and belong to another cluster, in words.
    foreign: Mutex<BTreeMap<PeerId, String>>,
    clocks: clocks::Clocks,
    /// When this process began, by the clock since boot.
    began_ms: u64,
    /// When this host last asked what others know before it said that something is not there. Held while it asks.
    caught_up: tokio::sync::Mutex<inquiry::LastCaughtUp>,
    flights: home::Flights,
    lanes: lanes::Lanes,
    /// Held while shards are offered.
    offering: tokio::sync::Mutex<()>,
    /// What this host stopped handing out from, to give it away.
    stopped: Mutex<stopped::Stopped>,
    /// Its shards from which the kernel hands out nothing, by the kernel's own word, and as what.
    kept: Mutex<BTreeMap<PoolUid, BTreeMap<ShardId, Tenure>>>,
    /// Those of them that the kernel answers for, and in which term; by its own word, which is on the disk.
    answered: Mutex<BTreeMap<PoolUid, BTreeMap<ShardId, Epoch>>>,
    /// Pools that this host does not read as recorded.
    misread: Mutex<readings::Misreadings>,
    /// Hosts of builds that are too different.
    apart: versions::Apart,
    /// Up to which entry of the ledger the kernel knows it.
    told: watch::Sender<u64>,
    alive: watch::Sender<follow::Alive>,
    /// Forming and joining happen once.
    forming: tokio::sync::Mutex<()>,
    founding: Mutex<founding::Founding>,
    stopping: CancellationToken,
}

/// Whether a start failed because the directory must not be served from: it is an older state of itself, or another
/// process has its place.
pub(crate) fn may_not_serve(error: &anyhow::Error) -> bool {
    error.is::<old_disk::OldDisk>() || error.is::<copy::PlaceTaken>()
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.inner.settings.node).finish_non_exhaustive()
    }
}

/// The tasks of a cluster that runs.
#[derive(Debug)]
pub(crate) struct Running {
    cluster: Cluster,
    tasks: JoinSet<()>,
}

impl Cluster {
    /// Drawn in this place; a copy of the disk has another.
    fn nonce(&self) -> u64 {
        self.inner.settings.net.process
    }

    fn lease_until_ms(&self) -> u64 {
        self.inner.lease_until_ms.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Joins the network, and the cluster if this host is a member already.
    pub(crate) async fn start(settings: Settings, parts: Parts, heard: Vector) -> anyhow::Result<(Self, Running)> {
        messages::pretend(settings.protocol);
        let (net, events) = Net::start(settings.net.clone()).await.context("the network between hosts cannot start")?;
        let (hints, hinted) = mpsc::channel(replicate::HINTS);
        let (pulls, pulled) = mpsc::channel(replicate::PULLS);
        let (heard, _) = watch::channel(heard);
        let stopped = stopped::Stopped::read(&settings.data_path)?;
        let Parts { engine, view, reader, vitals, store, standing, parcels, restored, plugins } = parts;
        let inner = Inner {
            settings,
            parts: Lent { engine, view, reader, vitals, standing, store, restored, plugins },
            net,
            seat: RwLock::new(None),
            bell: Notify::new(),
            heard,
            acknowledged: Mutex::default(),
            acks: acks::Acks::default(),
            told_of_us: watch::Sender::default(),
            hints,
            pulls,
            taking_over: tokio::sync::Mutex::default(),
            hearing: tokio::sync::RwLock::default(),
            takeover: Mutex::default(),
            owner_asked: std::sync::atomic::AtomicU32::new(0),
            checkpoint_wanted: Mutex::default(),
            agreement: agreement::Agreement::default(),
            arrival: Mutex::default(),
            copies: Mutex::default(),
            lease_until_ms: std::sync::atomic::AtomicU64::new(0),
            other_key: Mutex::default(),
            foreign: Mutex::default(),
            clocks: clocks::Clocks::default(),
            began_ms: crate::clock::boot_ms(),
            caught_up: tokio::sync::Mutex::default(),
            flights: home::Flights::default(),
            lanes: lanes::Lanes::default(),
            offering: tokio::sync::Mutex::default(),
            stopped: Mutex::new(stopped),
            kept: Mutex::default(),
            answered: Mutex::default(),
            misread: Mutex::default(),
            apart: versions::Apart::default(),
            told: watch::channel(0).0,
            alive: watch::Sender::default(),
            forming: tokio::sync::Mutex::default(),
            founding: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.inner.parts.vitals.waiting(true);
        let tasks = cluster.run(events, hinted, pulled, parcels);
        if let Some(membership) = seat::read(&cluster.inner.settings.data_path)? {
            // Without its seat this host owns nothing and has no vote.
            old_disk::look(&cluster).await?;
            copy::look(&cluster).await?;
            cluster.check_versions()?;
            let seat = Seat::take(&cluster, membership).await?;
            copy::end_if_copy(&cluster, &seat);
            cluster.sit(seat);
        }
        Ok((cluster.clone(), Running { cluster, tasks }))
    }

    fn run(
        &self,
        events: NetEvents,
        hinted: mpsc::Receiver<replicate::Hint>,
        pulled: mpsc::Receiver<PeerId>,
        parcels: mpsc::Receiver<Parcel>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(door::run(self.clone(), events));
        tasks.spawn(follow::run(self.clone()));
        tasks.spawn(replicate::publish(self.clone()));
        tasks.spawn(replicate::hear(self.clone(), hinted));
        tasks.spawn(replicate::ask_around(self.clone()));
        tasks.spawn(replicate::pull(self.clone(), pulled));
        tasks.spawn(acks::push(self.clone()));
        tasks.spawn(acks::deliver(self.clone(), parcels));
        tasks.spawn(govern::renew(self.clone()));
        tasks.spawn(voters::run(self.clone()));
        tasks.spawn(govern::give(self.clone()));
        tasks.spawn(govern::close(self.clone()));
        tasks.spawn(readings::say(self.clone()));
        tasks.spawn(stable::say(self.clone()));
        tasks.spawn(oversee::run(self.clone()));
        tasks.spawn(clocks::run(self.clone()));
        tasks
    }

    /// The seat, once this host is a member.
    fn seat(&self) -> Option<Arc<Seat>> {
        self.inner.seat.read().clone()
    }

    fn sit(&self, seat: Seat) {
        *self.inner.seat.write() = Some(Arc::new(seat));
        self.inner.parts.vitals.waiting(false);
        self.inner.bell.notify_waiters();
        // Whoever was there before: only now it can be told whether it is of this cluster.
        for peer in self.inner.net.connected() {
            let cluster = self.clone();
            tokio::spawn(async move { door::greet(&cluster, peer).await });
        }
    }

    /// The way to this host's kernel, while the daemon serves.
    fn engine(&self) -> Option<Engine> {
        self.inner.parts.engine.upgrade()
    }

    fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// How far every log is known here, this host's own among them.
    fn vector(&self) -> Vector {
        let mut vector = self.inner.heard.borrow().clone();
        vector.insert(self.inner.settings.origin, Seq(*self.inner.parts.view.committed().borrow()));
        vector
    }
}

impl Running {
    /// Registers what its network counts.
    pub(crate) fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(gauges::NetCounters::new(self.cluster.inner.net.clone())?))
    }

    /// Stops taking part, before the driver ends.
    pub(crate) async fn stop(mut self) {
        self.cluster.inner.stopping.cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Some(seat) = self.cluster.seat() {
            seat.consensus.stop().await;
        }
        self.cluster.inner.net.clone().stop().await;
    }
}

/// Random bytes.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut bytes))
        .context("no randomness from /dev/urandom")?;
    Ok(bytes)
}
