//! Subscribers and their BNGs: they ask at any host, give up, ask again elsewhere, and know what they were answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;

use super::route::{Caller, DEADLINE, Outcome, Trouble};
use super::world::{Event, World};
use super::{Breach, Weather};
use crate::allocation::Allocation;
use crate::command::{AllocateRequest, AllocationTarget, Command, CommandError, Reply, Ttl};
use crate::hash::Draws;
use crate::id::{Epoch, PoolUid, ShardId, SubscriberId};
use crate::plan::{Plan, Strategy};
use crate::pool::{Alignment, Geometry, LeaseTerms, PoolDraft, PoolTerms, RealmRef, Sizing};
use crate::sim::{Invariant, Verdict, broken};
use crate::span::{Series, Span};

/// What clocks of different hosts, and the way of an answer, may take from a lease, milliseconds.
const MARGIN: u64 = 500;

/// How long a BNG waits that waits for whoever does not answer.
const PATIENCE: u64 = 12 * DEADLINE;

/// After a release that nobody answered: it may still be on its way.
const QUIET: u64 = 5 * DEADLINE;

/// One subscriber in one pool.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) pool: PoolUid,
    pub(super) subscriber: SubscriberId,
    /// Where the pool begins.
    pub(super) first: u128,
    /// The longest span there is.
    pub(super) longest: u128,
    /// Which of the pool's realms it is in.
    pub(super) realm: Option<CompactString>,
    bng: usize,
    pub(super) holds: Option<Holding>,
    /// What he was answered by a host whose disk is lost, and nobody else heard of.
    pub(super) forgotten: Option<Forgotten>,
    /// What he was given before, does not use any more, and has not confirmed yet.
    pub(super) left: Vec<Span>,
    asks: Option<Asked>,
    /// What he released without an answer and releases again, by name, until he gets one.
    unheard: Option<Named>,
    quiet_until: u64,
}

/// An allocation, and when it was made.
type Named = (Span, u64);

/// What a subscriber uses.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) span: Span,
    made_ms: u64,
    /// Until when he may, if it has a lease, in real time.
    pub(super) until: Option<u64>,
}

/// What a lost host had given to somebody, who goes on using it.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) held: Holding,
    /// Of escrow. There nobody waited until others knew that the one before had given it back: it may be repeated to him.
    pub(super) outright: bool,
}

#[derive(Debug)]
struct Asked {
    at: usize,
    since: u64,
    what: What,
    /// Which allocation is meant.
    meant: Option<Named>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Allocate,
    Renew,
    Release,
    /// That he uses the other one now: a release of what he has left, by name.
    Confirm(Span),
}

/// All subscribers.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) all: Vec<Client>,
    /// Whose each open request is.
    open: BTreeMap<u64, usize>,
    /// How many there are behind which all of them are.
    bngs: usize,
    /// The highest epoch each BNG has seen of a shard.
    fences: BTreeMap<(usize, PoolUid, ShardId), Epoch>,
    /// Nobody asks for anything by himself any more.
    rest: bool,
    next: u64,
    /// The last answer, for who asks one question after the other.
    pub(super) last: Option<Outcome>,
}

impl Clients {
    /// All behind so many BNGs.
    pub(super) fn behind(bngs: usize) -> Self {
        Self { bngs, ..Self::default() }
    }

    /// The pools there shall be.
    pub(super) fn found(draws: &mut Draws) -> Vec<PoolDraft> {
        let plain = |draws: &mut Draws| (1_u128, 1_u128, 8 + u128::from(draws.below(17)));
        let (_, _, size) = plain(draws);
        let leased = LeaseTerms::Timed { default_ms: 12_000, min_ms: 5_000, max_ms: 14_000 };
        let mut drafts = vec![
            draft("static", 0x100, size, 1, LeaseTerms::None, draws),
            draft("homes", 0x1000, 8 + u128::from(draws.below(9)), 1, leased, draws),
        ];
        if draws.one_in(2) {
            drafts.push(draft("prefixes", 0x4000, 32, 4, *draws.pick(&[LeaseTerms::None, leased]), draws));
        }
        if draws.one_in(2) {
            // Three lines, each with the same space in a realm of its own.
            let mut lines = draft("lines", 0x8000, 4, 1, *draws.pick(&[LeaseTerms::None, leased]), draws);
            lines.terms.realm_by = vec!["line".into()];
            drafts.push(lines);
        }
        drafts
    }

    /// A pool was made: its subscribers, a few more than it has room for at times.
    pub(super) fn founded(&mut self, pool: PoolUid, draft: &PoolDraft) {
        let geometry = &draft.geometry;
        let first = geometry.spans.first().map(|run| run.first().start()).unwrap_or_default();
        let longest = geometry.sizing.max_len;
        for number in 0..12 {
            let by_realm = !draft.terms.realm_by.is_empty();
            let realm = by_realm.then(|| CompactString::from(format!("port-{}", number % 3)));
            let subscriber = format!("line-{number}").parse().expect("a subscriber");
            self.all.push(Client {
                pool,
                subscriber,
                first,
                longest,
                realm,
                bng: number % self.bngs,
                holds: None,
                forgotten: None,
                left: Vec::new(),
                asks: None,
                unheard: None,
                quiet_until: 0,
            });
        }
    }

    /// A request that none of them makes.
    pub(super) fn next_request(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_open(&self, request: u64) -> bool {
        self.open.contains_key(&request)
    }
}

fn draft(id: &str, start: u128, size: u128, longest: u128, lease: LeaseTerms, draws: &mut Draws) -> PoolDraft {
    let geometry = Geometry {
        spans: vec![Series::one(Span::new(start, size).expect("not empty"))],
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: longest, align: Alignment::Natural },
        cut: longest.max(*draws.pick(&[2, 4])),
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    };
    let strategies = [Strategy::FirstFree, Strategy::NextFree, Strategy::Random, Strategy::OldestFree];
    PoolDraft {
        tenant: crate::id::TenantId::default(),
        id: id.parse().expect("a pool id"),
        type_id: "ipv4".parse().expect("a type"),
        realm: RealmRef { name: "default".parse().expect("a realm"), shared: false },
        spec: id.into(),
        geometry: Arc::new(geometry),
        mapping_id: CompactString::default(),
        terms: PoolTerms {
            strategy: *draws.pick(&strategies),
            lease,
            hold_down_ms: *draws.pick(&[0, 0, 500, 3_000]),
            strict: draws.one_in(3),
            realm_by: Vec::new(),
            ack: None,
            metadata: CompactString::default(),
        },
        sharding_factor: None,
        extra: CompactString::default(),
    }
}

impl Holding {
    /// Whether he may use it, whatever clocks say.
    fn is_sure(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Client {
    pub(super) fn uses_forgotten(&self, now: u64) -> bool {
        self.forgotten.as_ref().is_some_and(|forgotten| forgotten.held.is_sure(now))
    }

    /// What he has left is confirmed.
    fn no_longer_left(&mut self, what: What) {
        if let What::Confirm(confirmed) = what {
            self.left.retain(|left| *left != confirmed);
        }
    }
}

impl World {
    fn client(&mut self, client: usize) -> &mut Client {
        self.clients.all.get_mut(client).expect("clients are numbered from 0")
    }

    pub(super) fn client_acts(&mut self, client: usize) {
        if self.clients.rest {
            return;
        }
        let pause = if self.net.calm { 400 } else { 50 } + self.draws.below(1_500);
        self.after(pause, Event::Client(client));
        let now = self.now;
        let (idle, holds, left) = {
            let found = self.client(client);
            (found.asks.is_none() && found.quiet_until <= now, found.holds.clone(), found.left.last().copied())
        };
        if !idle || (self.client(client).uses_forgotten(now) && !self.draws.one_in(20)) {
            return;
        }
        let mut at = self.draws.index(self.hosts.len());
        if self.weather == Weather::Cuts && !self.draws.one_in(8) {
            at = self.client(client).bng % self.hosts.len();
        }
        if self.client(client).unheard.is_some() {
            self.client_asks(client, at, What::Release);
            return;
        }
        // Some BNGs never say so.
        if let Some(left) = left.filter(|_| !client.is_multiple_of(4)) {
            self.client_asks(client, at, What::Confirm(left));
            return;
        }
        let what = match (holds, self.draws.below(10)) {
            (Some(_), 0..3) => What::Release,
            (Some(Holding { until: Some(_), .. }), 3..7) => What::Renew,
            (Some(_), 3..6) => return,
            (Some(_) | None, _) => What::Allocate,
        };
        self.client_asks(client, at, what);
    }

    /// Asks a host for what it holds, or something new.
    pub(super) fn client_allocates(&mut self, client: usize, at: usize) -> u64 {
        self.client_asks(client, at, What::Allocate)
    }

    /// Says that he does not use a resource any more since he has another.
    pub(super) fn client_confirms(&mut self, client: usize, at: usize, left: Span) -> u64 {
        self.client_asks(client, at, What::Confirm(left))
    }

    fn client_asks(&mut self, client: usize, at: usize, what: What) -> u64 {
        let request = self.clients.next;
        self.clients.next += 1;
        let since = self.now;
        let len = if self.draws.one_in(4) { 4 } else { 1 };
        let named = (!self.clients.rest && self.draws.one_in(6)).then(|| self.draws.below(24));
        // Where hosts are cut off for long or lost some want theirs for ever, as long as escrow has something left.
        let lasts = matches!(self.weather, Weather::Cuts | Weather::Losses);
        let lasting = lasts && client.is_multiple_of(6) && !self.clients.rest;
        let breach = self.breach;
        let found = self.client(client);
        let wanted = named.and_then(|nth| Span::new(found.first + u128::from(nth), 1));
        let holds = found.holds.as_ref().map(|held| (held.span, held.made_ms));
        let meant = if what == What::Release { holds.or(found.unheard) } else { holds };
        let says_which = what == What::Release && breach != Some(Breach::ReleaseNamesWhich);
        let named_ms = meant.map(|(_, made_ms)| made_ms).filter(|_| says_which);
        let target = |span| AllocationTarget {
            pool: found.pool,
            subscriber: found.subscriber.clone(),
            key: None,
            span,
            made_ms: named_ms,
        };
        let span = meant.map(|(span, _)| span);
        let command = match what {
            What::Allocate => Command::Allocate(Box::new(AllocateRequest {
                pool: found.pool,
                subscriber: found.subscriber.clone(),
                key: None,
                realm_value: found.realm.clone(),
                plan: wanted.map_or_else(|| Plan::anywhere(len.min(found.longest)), Plan::exactly),
                explicit: false,
                ttl: if lasting { Ttl::Permanent } else { Ttl::Default },
                node: None,
                metadata: CompactString::default(),
                supersedes: None,
            })),
            What::Renew => Command::Renew { target: target(span), ttl: Ttl::Default },
            What::Release => Command::Release(target(span)),
            What::Confirm(left) => Command::Release(target(Some(left))),
        };
        if what == What::Release {
            // From now on he does not use it.
            found.holds = None;
        }
        found.asks = Some(Asked { at, since, what, meant });
        self.clients.open.insert(request, client);
        self.note(|| format!("client {client} asks host {at}: {what:?} ({request})"));
        let patience = if what == What::Allocate && self.is_patient(client) { PATIENCE } else { DEADLINE };
        self.after(patience, Event::GivesUp { request });
        let reached = self.host(at).is_awake(self.now) && self.host(at).member.is_some();
        if reached && (self.net.calm || !self.draws.one_in(30)) {
            self.begin(at, Caller::Client(request), None, command);
        } else if self.names_what_he_ends(client) && self.host(at).member.is_some() {
            // What was sent to a process that stands still waits for it.
            let life = self.host(at).life;
            self.after(300, Event::Asks { at, life, request, command });
        }
        request
    }

    pub(super) fn client_gives_up(&mut self, request: u64) {
        let Some(client) = self.clients.open.remove(&request) else { return };
        self.summary.unanswered += 1;
        self.clients.last = Some(Err(Trouble::Unreachable));
        if let Some(asked) = self.client(client).asks.take() {
            self.client_unheard(client, &asked);
        }
    }

    /// Where processes stand still every other one does; the others wait.
    fn names_what_he_ends(&self, client: usize) -> bool {
        self.weather.stops_processes() && client.is_multiple_of(2)
    }

    /// Whether he waits for longer than it takes to have a host's shards taken over. Each BNG has both kinds.
    fn is_patient(&self, client: usize) -> bool {
        self.weather == Weather::Stalls && !self.net.calm && !(client / 3).is_multiple_of(3)
    }

    /// What was asked may have been carried out, or may be yet. Who releases by name asks until he is answered, the others wait.
    fn client_unheard(&mut self, client: usize, asked: &Asked) {
        let (quiet_until, names) = (self.quiet_until(), self.names_what_he_ends(client));
        let found = self.client(client);
        match asked.what {
            What::Release if names => found.unheard = asked.meant,
            What::Release | What::Confirm(_) => found.quiet_until = quiet_until,
            What::Allocate | What::Renew => {}
        }
    }

    /// An answer. Whoever gave up hears it no more.
    pub(super) fn client_hears(&mut self, request: u64, outcome: &Outcome) -> Verdict {
        let Some(client) = self.clients.open.remove(&request) else { return Ok(()) };
        self.note(|| format!("client {client} hears ({request}) {outcome:?}"));
        self.clients.last = Some(outcome.clone());
        let found = self.client(client);
        let Some(asked) = found.asks.take() else { return Ok(()) };
        match outcome {
            Ok(Reply::Allocated { allocation, created, .. }) => {
                self.summary.allocations += u64::from(*created);
                self.summary.repeats += u64::from(!created);
                self.client_gets(client, &asked, allocation, *created)
            }
            Ok(Reply::Renewed { allocation, .. }) => self.client_gets(client, &asked, allocation, false),
            Ok(Reply::Released(allocation)) => {
                found.no_longer_left(asked.what);
                found.unheard = None;
                self.is_current(client, allocation);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Trouble::Refused(error)) => {
                if matches!(error, CommandError::NotHeld { .. }) {
                    found.no_longer_left(asked.what);
                    found.unheard = None;
                    found.holds = found.holds.take().filter(|_| matches!(asked.what, What::Confirm(_)));
                }
                self.summary.refused += 1;
                Ok(())
            }
            Err(Trouble::Unreachable | Trouble::OwnerChanged) => {
                self.summary.unanswered += 1;
                self.client_unheard(client, &asked);
                Ok(())
            }
        }
    }

    /// A BNG drops an answer whose epoch is below one that it has seen of the shard.
    fn is_current(&mut self, client: usize, allocation: &Allocation) -> bool {
        let bng = self.client(client).bng;
        let fence = (bng, allocation.pool, allocation.shard);
        let seen = self.clients.fences.entry(fence).or_insert(allocation.epoch);
        *seen = allocation.epoch.max(*seen);
        *seen == allocation.epoch || self.breaks(Breach::Fence)
    }

    fn client_gets(&mut self, client: usize, asked: &Asked, allocation: &Allocation, created: bool) -> Verdict {
        let pool = allocation.pool;
        if !self.is_current(client, allocation) {
            return Ok(());
        }
        let lease_ms = allocation.expires_ms().map(|end| end.get().saturating_sub(allocation.renewed_ms()));
        let until = lease_ms.map(|lease_ms| (asked.since + lease_ms).saturating_sub(MARGIN));
        let holding = Holding { span: allocation.span, made_ms: allocation.created_ms(), until };
        let now = self.now;
        let realm = self.client(client).realm.clone();
        let others = self.clients.all.iter().enumerate().filter(|(other, _)| *other != client);
        let others = others.filter(|(_, other)| other.pool == pool && other.realm == realm);
        let uses = |(at, other): (usize, &'_ Client)| {
            let forgotten = other.forgotten.as_ref().filter(|forgotten| created || !forgotten.outright);
            let used = other.holds.iter().chain(forgotten.map(|forgotten| &forgotten.held));
            used.map(|held| (at, held.clone())).collect::<Vec<_>>()
        };
        for (other, held) in others.flat_map(uses) {
            if held.span.intersects(holding.span) && held.is_sure(now) && holding.is_sure(now) {
                let what =
                    format!("client {client} was answered {holding:?} by host {}, client {other} {held:?}", asked.at);
                return broken(Invariant::Unique, what);
            }
        }
        self.check_reserved(client, holding.span)?;
        self.summary.superseded += u64::from(allocation.supersedes().is_some());
        let found = self.client(client);
        found.forgotten = None;
        let former = found.holds.replace(holding).map(|former| former.span);
        found.left.extend(former);
        found.left.retain(|left| *left != allocation.span);
        Ok(())
    }

    /// When a release that nobody answered has happened or never will. A host that sleeps may carry it out when it wakes.
    fn quiet_until(&self) -> u64 {
        let wakes = self.hosts.iter().map(|host| host.sleeps_until).max().unwrap_or_default();
        self.now.max(wakes) + QUIET
    }

    /// Nobody asks for anything by himself any more.
    pub(super) fn clients_rest(&mut self) {
        self.clients.rest = true;
    }

    /// What a client is sure to hold.
    pub(super) fn client_state(&self, client: usize) -> Option<Holding> {
        let now = self.now;
        let found = self.clients.all.get(client)?;
        found.holds.clone().filter(|held| held.until.is_none_or(|until| now + 500 < until))
    }
}
