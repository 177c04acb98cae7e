//! What operators order of the pools: spans are reserved and given up, space leaves a pool and comes back.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::govern::Purpose;
use super::host::Host;
use super::route::{Caller, Outcome, Trouble};
use super::world::{Event, World};
use crate::allocation::Allocation;
use crate::command::{Command, CommandError, Reply, ReserveRequest};
use crate::id::{MemberId, PoolUid, ShardId, SubscriberId};
use crate::ledger::{ClosingWhat, LedgerCommand};
use crate::pool::LeaseTerms;
use crate::sim::{Invariant, Verdict, broken};
use crate::span::Span;

/// How long space may take to leave a pool before its operator gives up, milliseconds.
const CLOSES_WITHIN: u64 = 6_000;

/// When an operator asks again for what too few hosts know of, milliseconds.
const ASKS_AGAIN: u64 = 300;

/// What is reserved: in which pool and realm, and where.
type Spot = (PoolUid, Option<CompactString>, Span);

/// That a span shall be reserved.
#[derive(Debug)]
struct Order {
    at: usize,
    spot: Spot,
    subscriber: SubscriberId,
}

/// What operators were answered.
#[derive(Debug, Default)]
pub(super) struct Operator {
    open: BTreeMap<u64, Order>,
    /// Reserved for sure, and for whom.
    reserved: BTreeMap<Spot, SubscriberId>,
    /// When each closing began.
    closings: BTreeMap<PoolUid, u64>,
    /// Shards whose former owners were not waited for.
    vouched: BTreeSet<(PoolUid, ShardId)>,
}

impl Operator {
    /// Nobody knows any more what was reserved there.
    pub(super) fn forget(&mut self, pool: PoolUid, span: Span) {
        self.reserved.retain(|(of, _, kept), _| *of != pool || !kept.intersects(span));
    }

    /// Nobody uses what former owners of the shard may have handed out unheard, says an operator who does not wait for them.
    pub(super) fn vouch(&mut self, pool: PoolUid, shard: ShardId) {
        self.vouched.insert((pool, shard));
    }

    /// Whether somebody said so of where this is. What was written there unheard, and answered to nobody, turns up after that and
    /// is told as a conflict.
    pub(super) fn vouched_for(&self, found: &Allocation) -> bool {
        self.vouched.contains(&(found.pool, found.shard))
    }
}

impl World {
    /// Reserves a span for some subscriber, or gives up what was reserved.
    pub(super) fn reserve(&mut self, at: usize) {
        if !self.host(at).is_awake(self.now) || self.host(at).member.is_none() {
            return;
        }
        if self.draws.one_in(3)
            && let Some(((pool, realm, span), _)) = self.operator.reserved.pop_first()
        {
            // From now on nobody can be sure.
            let request = self.clients.next_request();
            let command = Command::Unreserve { pool, realm_value: realm, span };
            return self.begin(at, Caller::Client(request), None, command);
        }
        let client = self.draws.index(self.clients.len());
        let nth = u128::from(self.draws.below(16));
        let Some(found) = self.clients.all.get(client) else { return };
        let Some(span) = Span::new(found.first + nth, 1) else { return };
        let (pool, realm, subscriber) = (found.pool, found.realm.clone(), &found.subscriber);
        let subscriber = subscriber.clone();
        self.order(Order { at, spot: (pool, realm, span), subscriber }, 0);
    }

    /// Asks for a reservation, after so many milliseconds.
    fn order(&mut self, order: Order, after: u64) {
        let request = self.clients.next_request();
        let (at, life) = (order.at, self.host(order.at).life);
        let ((pool, realm_value, span), subscriber) = (order.spot.clone(), order.subscriber.clone());
        let (name, note) = (CompactString::default(), CompactString::default());
        let asked = ReserveRequest { pool, realm_value, span, subscriber, name, note };
        self.note(|| format!("an operator asks host {at}: {asked:?} ({request})"));
        self.operator.open.insert(request, order);
        let command = Command::Reserve(Box::new(asked));
        self.after(after, Event::Asks { at, life, request, command });
    }

    /// An answer to an operator.
    pub(super) fn operator_hears(&mut self, request: u64, outcome: &Outcome) {
        let Some(order) = self.operator.open.remove(&request) else { return };
        match outcome {
            Ok(Reply::Reserved { .. }) => {
                self.summary.reserved += 1;
                self.operator.reserved.insert(order.spot, order.subscriber);
            }
            Err(Trouble::Refused(CommandError::Unconfirmed { .. })) => self.order(order, ASKS_AGAIN),
            Ok(_) | Err(_) => {}
        }
    }

    /// What is reserved goes to its own subscriber only.
    pub(super) fn check_reserved(&self, client: usize, span: Span) -> Verdict {
        let Some(found) = self.clients.all.get(client) else { return Ok(()) };
        for ((pool, realm, kept), subscriber) in &self.operator.reserved {
            let same = *pool == found.pool && *realm == found.realm && kept.intersects(span);
            if same && *subscriber != found.subscriber {
                let what = format!("client {client} was answered {span:?}, {kept:?} is reserved for {subscriber}");
                return broken(Invariant::Reserved, what);
            }
        }
        Ok(())
    }

    /// What was answered as reserved is known everywhere.
    pub(super) fn check_reservations(&self, up: &[usize]) -> Verdict {
        for at in up {
            let Some(kernel) = &self.host(*at).kernel else { continue };
            let rows: BTreeSet<String> = kernel.rows(0).into_iter().collect();
            for ((pool, realm, span), subscriber) in &self.operator.reserved {
                let realm = realm.as_ref().map_or_else(|| "default".to_owned(), |realm| format!("default/{realm}"));
                let row = format!("reserved {pool} {realm} {span:?} {subscriber}");
                if self.log.ledger.pool(*pool).is_some() && !rows.contains(&row) {
                    return broken(Invariant::Kept, format!("host {at} does not know of it: {row}"));
                }
            }
        }
        Ok(())
    }

    /// An operator takes space out of a pool, or puts it back.
    pub(super) fn close(&mut self, by: usize) {
        if !self.host(by).is_awake(self.now) {
            return;
        }
        let pools: Vec<PoolUid> = self.host(by).ledger.pools().keys().copied().collect();
        let Some(uid) = pools.get(self.draws.index(pools.len().max(1))).copied() else { return };
        let Some(pool) = self.host(by).ledger.pool(uid) else { return };
        if pool.closing.is_some() {
            return;
        }
        let mut draft = pool.record.draft.clone();
        if draft.geometry.excluded.is_empty() {
            let shards = pool.record.shards.len();
            let last = pool.record.shards.iter().skip(shards - shards.div_ceil(3)).map(|shard| shard.cover).collect();
            self.operator.closings.insert(uid, self.now);
            let command = LedgerCommand::ClosePool { pool: uid, spans: Some(last), at_ms: 1 };
            self.propose(by, Purpose::Order, command);
        } else {
            std::sync::Arc::make_mut(&mut draft.geometry).excluded.clear();
            let draft = Box::new(draft);
            self.propose(by, Purpose::Order, LedgerCommand::UpdatePool { pool: uid, expected: None, draft, at_ms: 1 });
        }
    }

    /// An operator changes how long a pool's allocations last.
    pub(super) fn change_lease(&mut self, by: usize) {
        if !self.host(by).is_awake(self.now) {
            return;
        }
        let terms = [
            LeaseTerms::None,
            LeaseTerms::Timed { default_ms: 12_000, min_ms: 5_000, max_ms: 14_000 },
            LeaseTerms::Timed { default_ms: 4_000, min_ms: 4_000, max_ms: 5_000 },
        ];
        let lease = *self.draws.pick(&terms);
        let nth = self.draws.index(self.host(by).ledger.pools().len().max(1));
        let Some((uid, pool)) = self.host(by).ledger.pools().iter().nth(nth) else { return };
        if pool.closing.is_some() {
            return;
        }
        let (uid, mut draft) = (*uid, pool.record.draft.clone());
        draft.terms.lease = lease;
        let draft = Box::new(draft);
        self.propose(by, Purpose::Order, LedgerCommand::UpdatePool { pool: uid, expected: None, draft, at_ms: 1 });
    }

    /// Says of shards that close: stopped and empty. Ends a closing that everybody did so for, or one that takes too long.
    pub(super) fn give_back(&mut self, at: usize, me: MemberId) {
        if self.is_pending(at, |why| matches!(why, Purpose::Closing)) {
            return;
        }
        let host = self.host(at);
        let vector = host.vector();
        let closing = host.ledger.pools().iter().filter_map(|(uid, pool)| Some((*uid, pool, pool.closing.as_ref()?)));
        let mut command = None;
        for (uid, pool, closing) in closing {
            let began = self.operator.closings.get(&uid).copied().unwrap_or_default();
            if closing.waiting.is_empty() {
                command = Some(LedgerCommand::FinishClose { pool: uid });
            } else if self.net.calm || self.now > began + CLOSES_WITHIN {
                command = Some(LedgerCommand::ReopenPool { pool: uid });
            }
            let mine: Vec<ShardId> = closing
                .waiting
                .iter()
                .copied()
                .filter(|shard| pool.grants.of(*shard).is_some_and(|grant| grant.holder == me && !grant.is_doubtful()))
                .filter(|shard| pool.is_covered(*shard, &vector))
                .filter(|shard| self.is_given_up(host, uid, *shard, &closing.what))
                .collect();
            if !mine.is_empty() {
                let (closing, member) = (closing.since, me);
                command = Some(LedgerCommand::Returned { pool: uid, closing, member, shards: mine });
            }
        }
        if let Some(command) = command {
            self.propose(at, Purpose::Closing, command);
        }
    }

    /// Whether nothing is held where a shard closes, and nothing will be.
    fn is_given_up(&self, host: &Host, uid: PoolUid, shard: ShardId, what: &ClosingWhat) -> bool {
        if self.breach == Some(super::Breach::ReturnOnlyEmpty) {
            return true;
        }
        let kept = host.kept.get(&uid).is_some_and(|kept| kept.contains(&shard)) && host.told.is_durable(uid);
        let matters = |span: Span| match what {
            ClosingWhat::Spans(spans) => spans.iter().any(|closes| closes.intersects(span)),
            ClosingWhat::Whole | ClosingWhat::Update(_) => true,
        };
        let held = |kernel: &crate::kernel::Kernel| kernel.taken(uid, shard).any(matters);
        kept && !host.kernel.as_ref().is_none_or(held)
    }
}
