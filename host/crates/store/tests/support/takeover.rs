//! One host's state to another, as two daemons do it but for the network: kernel, store, checkpoint, parts, kernel, store.

#![allow(clippy::unwrap_used, reason = "a bench has it too, which is no test to the lints")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use kernel::{
    Adopting, Alignment, Command, Digest, Effects, Epoch, Fact, Geometry, Input, Kernel, KernelSettings, LeaseTerms,
    MemberId, NamedRealm, Names, News, Op, Origin, Plan, Pool, PoolDraft, PoolTerms, PoolUid, RealmRef, RealmUid,
    Recovery, Reply, RequestId, Revision, Series, Shard, ShardId, ShardTenure, Sizing, SnapshotPart, Span, Strategy,
    Tenure, Tick, Ttl,
};
use store::{Store, StoreSettings};
use tempfile::TempDir;

const NOW: Tick = Tick { boot_ms: 1_000, wall_ms: 1_800_000_000_000 };
const PART_BYTES: usize = 48 << 10;
/// Commands in one group.
const GROUP: usize = 1_000;

/// A host without a network.
pub(crate) struct Host {
    pub(crate) kernel: Kernel,
    pub(crate) store: Store,
    pub(crate) origin: Origin,
    realms: BTreeMap<RealmUid, NamedRealm>,
    dir: TempDir,
}

fn settings(origin: Origin) -> KernelSettings {
    KernelSettings {
        seed: 7,
        restart_grace_ms: 300_000,
        clock_tolerance_ms: 60_000,
        lease_slack_ms: 0,
        cluster: Some(origin),
    }
}

impl Names for Host {
    fn realm(&self, uid: RealmUid) -> Option<NamedRealm> {
        self.realms.get(&uid).cloned()
    }

    /// Its pools never change.
    fn revision(&self, _pool: PoolUid) -> Option<Revision> {
        Some(Revision(1))
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (store, identity) = Store::open(dir.path(), StoreSettings::default(), NOW.wall_ms).unwrap();
        let origin = Origin::from(identity.origin);
        let kernel = Recovery::new(settings(origin)).finish(NOW);
        Self { kernel, store, origin, realms: BTreeMap::new(), dir }
    }

    /// One group: what the commands made the kernel write is on the disk when the answers are there.
    pub(crate) fn ask(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Reply> {
        let mut effects = Effects::default();
        for (id, command) in (0..).map(RequestId).zip(commands) {
            self.kernel.step(NOW, Input::Request { id, command }, &mut effects);
        }
        self.kernel.seal(&mut effects);
        let durable = effects
            .persist(|ops| {
                self.realms.extend(ops.iter().filter_map(|op| {
                    let Fact::Realm(realm) = &op.fact else { return None };
                    Some((realm.uid, (realm.tenant.clone(), realm.name.clone())))
                }));
                self.store.append(&ops).unwrap();
                Ok::<_, Infallible>(())
            })
            .unwrap();
        durable.replies.into_iter().map(|(_, answer)| answer.unwrap()).collect()
    }

    fn tell(&mut self, news: News) -> Reply {
        self.ask([Command::News(news)]).remove(0)
    }

    /// The ledger's word: the pool, and who owns all of it.
    pub(crate) fn learn(&mut self, pool: &Arc<Pool>, owner: Tenure) {
        self.tell(News::Pool(Arc::clone(pool)));
        let said = |shard: &Shard| ShardTenure {
            shard: shard.id,
            epoch: Epoch(1),
            tenure: owner,
            leased: false,
            doubtful: false,
        };
        let tenures = pool.shards.iter().map(said).collect();
        self.tell(News::Tenures { pool: pool.uid, tenures });
    }

    pub(crate) fn allocate(&mut self, pool: &Pool, count: u32) {
        let request = |line: u32| {
            Command::Allocate(Box::new(kernel::AllocateRequest {
                pool: pool.uid,
                subscriber: format!("02:00:00:00:{:02x}:{:02x}-{line}", line >> 8 & 255, line & 255).parse().unwrap(),
                key: None,
                realm_value: None,
                plan: Plan::anywhere(1),
                explicit: false,
                ttl: Ttl::Default,
                node: None,
                metadata: "".into(),
                supersedes: None,
            }))
        };
        let lines: Vec<u32> = (0..count).collect();
        for group in lines.chunks(GROUP) {
            self.ask(group.iter().map(|line| request(*line)));
        }
    }

    pub(crate) fn checkpoint(&mut self) {
        self.store.seal().unwrap();
        self.store.compactor().cycle().unwrap();
    }

    /// Takes over everything that the other host's checkpoint knows; how many parts that took.
    pub(crate) fn take_over(&mut self, giver: &Host) -> usize {
        let reader = giver.store.reader();
        let mut cursor = None;
        for parts in 1.. {
            let first = cursor.is_none();
            let run = reader.snapshot(cursor, PART_BYTES).unwrap();
            let vector: BTreeMap<Origin, _> =
                run.vector.iter().map(|(of, through)| (of.unwrap_or(giver.origin), *through)).collect();
            let part = SnapshotPart::pack(giver.origin, vector.clone(), first, &run.ops, giver);
            let taken = self.tell(News::Snapshot(Arc::new(part)));
            assert!(matches!(taken, Reply::Adopting(Adopting::Taken)), "{taken:?}");
            cursor = run.next;
            if cursor.is_none() {
                let end = self.tell(News::SnapshotEnd { by: giver.origin, vector });
                assert!(matches!(end, Reply::Adopting(Adopting::Done)), "{end:?}");
                return parts;
            }
        }
        unreachable!("it ends with the last row");
    }

    /// What a new life of the host knows.
    pub(crate) fn restarted(self) -> (Digest, usize) {
        let Self { store, origin, dir, .. } = self;
        drop(store);
        let (store, _) = Store::open(dir.path(), StoreSettings::default(), NOW.wall_ms).unwrap();
        let mut recovery = Recovery::new(settings(origin));
        store.recover(&mut |op: Op| recovery.apply(&op)).unwrap();
        let kernel = recovery.finish(NOW);
        assert!(kernel.faults().is_empty());
        (kernel.digest(), kernel.allocations())
    }
}

/// So many addresses in 16 shards.
pub(crate) fn pool(addresses: u128) -> Arc<Pool> {
    let span = |start, len| Span::new(start, len).unwrap();
    let (begin, shards) = (0x0a00_0000, 16);
    let geometry = Geometry {
        spans: vec![Series::one(span(begin, addresses))],
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Natural },
        cut: 1,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    };
    let terms = PoolTerms {
        strategy: Strategy::FirstFree,
        lease: LeaseTerms::Timed { default_ms: 3_600_000, min_ms: 1_000, max_ms: 86_400_000 },
        hold_down_ms: 60_000,
        strict: false,
        realm_by: Vec::new(),
        ack: None,
        metadata: "".into(),
    };
    let draft = PoolDraft {
        tenant: kernel::TenantId::default(),
        id: "homes".parse().unwrap(),
        type_id: "ipv4".parse().unwrap(),
        realm: RealmRef { name: "default".parse().unwrap(), shared: false },
        spec: "".into(),
        geometry: Arc::new(geometry),
        mapping_id: "".into(),
        terms,
        sharding_factor: Some(shards),
        extra: "".into(),
    };
    let each = addresses / u128::from(shards);
    let shard = |id: u32| Shard { id: ShardId(id), epoch: Epoch(1), cover: span(begin + each * u128::from(id), each) };
    let shards = (0..shards).map(shard).collect();
    Arc::new(Pool { uid: PoolUid(1), revision: Revision(1), created_ms: 1, updated_ms: 1, draft, shards })
}

/// A host that handed out so many addresses and wrote a checkpoint, and a new one beside it.
pub(crate) fn giver_and_newcomer(count: u32) -> (Host, Host) {
    let pool = pool(u128::from(count.next_power_of_two()));
    let (mut giver, mut newcomer) = (Host::new(), Host::new());
    giver.learn(&pool, Tenure::Escrow);
    newcomer.learn(&pool, Tenure::Theirs(MemberId(1)));
    giver.allocate(&pool, count);
    giver.checkpoint();
    (giver, newcomer)
}
