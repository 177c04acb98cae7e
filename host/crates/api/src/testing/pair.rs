//! A cluster of two for tests: `core-1`, which is the daemon, votes and owns everything, and `core-2`, which learns and
//! cannot be reached. It does what it is asked where that needs no other host, and keeps every order.

use std::sync::Arc;

use kernel::{MemberId, Pool, PoolUid, Ring, RingMember, ShardId};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use view::View;

use crate::cluster::{
    Cluster, ClusterError, ClusterStatus, Doing, HashringStatus, LedgerStatus, MemberStatus, OrderStatus, OriginStatus,
    PoolShards, QuarantineOrder, ShardOrder, ShardStatus, Standing, Vote,
};
use crate::ports::{BackupPiece, BackupSummary, Backups};
use crate::testing::BEGIN_MS;

#[derive(Debug)]
pub(crate) struct Pair {
    view: Arc<View>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    members: Vec<MemberStatus>,
    moved: Vec<(PoolUid, ShardId)>,
    orders: Vec<ShardOrder>,
    /// Each removal.
    removed: Vec<OrderStatus>,
    /// How often a backup was asked for.
    backups: u32,
}

fn member(number: u32, vote: Vote, reachable: bool) -> MemberStatus {
    MemberStatus {
        member: MemberId(number),
        node: format!("core-{number}"),
        role: "core".to_owned(),
        vote,
        weight: 1,
        peer: format!("peer-{number}"),
        addresses: vec![format!("192.0.2.{number}:33123")],
        reachable,
        draining: false,
        deposed: false,
        shards: 0,
        escrow: 0,
        behind: reachable.then_some(0),
    }
}

impl State {
    fn status(&self) -> ClusterStatus {
        ClusterStatus {
            standing: Standing::Member,
            cluster_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
            node: "core-1".to_owned(),
            member: Some(MemberId(1)),
            peer: "peer-1".to_owned(),
            addresses: vec!["192.0.2.1:33123".to_owned()],
            ledger: Some(LedgerStatus {
                leader: Some(MemberId(1)),
                term: 3,
                committed: 120,
                applied: 119,
                majority: true,
            }),
            members: self.members.clone(),
            digest: "9f86d081884c7d65".to_owned(),
            vector: vec![OriginStatus { host: "5be8dde2a1c4f036".to_owned(), incarnation: 1, through: 4_711 }],
            orders: self.removed.iter().rev().cloned().collect(),
            warnings: vec!["core-2 cannot be reached".to_owned()],
        }
    }

    fn find(&mut self, named: &str) -> Result<&mut MemberStatus, ClusterError> {
        let fits = |one: &&mut MemberStatus| one.node == named || one.member.to_string() == named;
        self.members.iter_mut().find(fits).ok_or_else(|| ClusterError::Invalid {
            field: "member".to_owned(),
            value: named.to_owned(),
            remedy: "must be a member".to_owned(),
        })
    }
}

impl Pair {
    pub(crate) fn new(view: Arc<View>) -> Self {
        let members = vec![member(1, Vote::Voter, true), member(2, Vote::Learner, false)];
        let state = State { members, moved: Vec::new(), orders: Vec::new(), removed: Vec::new(), backups: 0 };
        Self { view, state: Arc::new(Mutex::new(state)) }
    }

    /// Every order so far.
    pub(crate) fn orders(&self) -> Vec<ShardOrder> {
        self.state.lock().orders.clone()
    }

    /// Every removal so far.
    pub(crate) fn removed(&self) -> Vec<OrderStatus> {
        self.state.lock().removed.clone()
    }

    fn decide<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut State) -> Result<T, ClusterError> + Send + 'static,
    ) -> Doing<T> {
        let state = Arc::clone(&self.state);
        Box::pin(async move { decide(&mut state.lock()) })
    }

    fn order(&self, order: ShardOrder) -> Doing<u64> {
        let pools = self.view.pools(None);
        self.decide(move |state| {
            state.find(&order.to)?;
            let pool = pools.iter().find(|pool| pool.draft.id.as_str() == order.pool_id).expect("it was checked");
            state.moved.extend(order.shards.iter().map(|shard| (pool.uid, *shard)));
            let count = order.shards.len() as u64;
            state.orders.push(order);
            Ok(count)
        })
    }
}

impl Cluster for Pair {
    fn status(&self) -> ClusterStatus {
        self.state.lock().status()
    }

    fn hashring(&self) -> HashringStatus {
        let state = self.state.lock();
        let ring = Ring::new(state.members.iter().map(|one| RingMember { id: one.member, weight: one.weight }), 2);
        let pools = self.view.pools(None);
        let shown = pools.iter().map(|pool| PoolShards {
            uid: pool.uid,
            pool_id: pool.draft.id.to_string(),
            tenant: pool.draft.tenant.to_string(),
            shards: pool
                .shards
                .iter()
                .map(|shard| ShardStatus {
                    shard: shard.id,
                    epoch: 1,
                    owner: MemberId(if state.moved.contains(&(pool.uid, shard.id)) { 2 } else { 1 }),
                    wished: MemberId(1),
                    kind: "escrow".to_owned(),
                    state: "held".to_owned(),
                })
                .collect(),
        });
        HashringStatus { virtual_nodes: 2, points: ring.points().collect(), pools: shown.collect() }
    }

    fn quarantined_shards(&self, _pool: &Pool) -> usize {
        0
    }

    fn init(&self) -> Doing<ClusterStatus> {
        self.decide(|_| Err(ClusterError::Refused("the ledger was formed already".to_owned())))
    }

    fn join(&self, address: Option<String>) -> Doing<ClusterStatus> {
        self.decide(move |state| match address {
            Some(address) => Err(ClusterError::Unavailable(format!("{address} cannot be reached"))),
            None => Ok(state.status()),
        })
    }

    fn leave(&self) -> Doing<ClusterStatus> {
        self.decide(|_| Err(ClusterError::Unknown("the leader did not answer".to_owned())))
    }

    fn promote(&self, member: String) -> Doing<ClusterStatus> {
        self.decide(move |state| {
            state.find(&member)?.vote = Vote::Voter;
            Ok(state.status())
        })
    }

    fn demote(&self, member: String) -> Doing<ClusterStatus> {
        self.decide(move |state| {
            state.find(&member)?.vote = Vote::Learner;
            Ok(state.status())
        })
    }

    fn remove(&self, member: String, reason: String, by: String) -> Doing<ClusterStatus> {
        self.decide(move |state| {
            let number = state.find(&member)?.member;
            state.members.retain(|one| one.member != number);
            let what = format!("{member} was removed");
            state.removed.push(OrderStatus { at_ms: BEGIN_MS, what, tenant: None, reason, by });
            Ok(state.status())
        })
    }

    fn drain(&self, member: String, draining: bool) -> Doing<ClusterStatus> {
        self.decide(move |state| {
            state.find(&member)?.draining = draining;
            Ok(state.status())
        })
    }

    fn move_shards(&self, order: ShardOrder) -> Doing<u64> {
        self.order(order)
    }

    fn seize_shards(&self, order: ShardOrder) -> Doing<u64> {
        self.order(order)
    }

    fn end_quarantine(&self, order: QuarantineOrder) -> Doing<u64> {
        self.decide(move |_| match order.reason.as_str() {
            "too early" => Err(ClusterError::Refused(format!("no shard of pool {} is quarantined", order.pool_id))),
            _ => Ok(3),
        })
    }
}

/// A backup of three bytes; the next one fails in the middle, and from then on none can be made.
impl Backups for Pair {
    fn begin(&self) -> Result<mpsc::Receiver<BackupPiece>, String> {
        let made = {
            let mut state = self.state.lock();
            state.backups += 1;
            state.backups
        };
        let (pieces, taken) = mpsc::channel(4);
        let last = match made {
            1 => BackupPiece::Done(BackupSummary { node: "core-1".to_owned(), files: 1, bytes: 3, through: 7 }),
            2 => BackupPiece::Failed("the disk cannot be read".to_owned()),
            _ => return Err("another backup is being made".to_owned()),
        };
        for piece in [BackupPiece::Data("ab".into()), BackupPiece::Data("c".into()), last] {
            pieces.try_send(piece).expect("there is room");
        }
        Ok(taken)
    }
}
