//! Random commands over a handful of pools, one of each kind that behaves differently.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use super::model::Model;
use crate::command::{AllocateRequest, AllocationTarget, Command, ReserveRequest, Ttl};
use crate::hash::Draws;
use crate::id::{Key, PoolUid, SubscriberId};
use crate::plan::{Plan, Strategy};
use crate::pool::{Alignment, Geometry, LeaseTerms, Pool, PoolDraft, PoolTerms, RealmRef, Sizing};
use crate::span::{Series, Span};

impl Draws {
    /// Below `bound`, which is not 0. Not quite even, which is of no matter here.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index below `len`, which is not 0.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// One of several, of which there is at least one.
    pub(super) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        among.get(self.index(among.len())).expect("an index below the length")
    }

    pub(super) const fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// How many subscribers there are.
const SUBSCRIBERS: u64 = 24;

/// The pools of one seed and who asks for them.
#[derive(Debug)]
pub(super) struct Traffic {
    drafts: Vec<PoolDraft>,
    subscribers: u64,
}

impl Traffic {
    pub(super) fn new(draws: &mut Draws) -> Self {
        let drafts = KINDS.iter().map(|kind| draft(kind, draws)).collect();
        Self { drafts, subscribers: 4 + draws.below(SUBSCRIBERS) }
    }

    pub(super) fn command(&self, draws: &mut Draws, model: &Model) -> Command {
        let pools: Vec<&Arc<Pool>> = model.pools.values().collect();
        if pools.is_empty() || draws.one_in(60) {
            let draft = Box::new(draws.pick(&self.drafts).clone());
            return if draws.one_in(8) { Command::CheckPool(draft) } else { Command::CreatePool(draft) };
        }
        let pool = *draws.pick(&pools);
        match draws.below(100) {
            0..62 => Command::Allocate(Box::new(self.allocate(draws, pool))),
            62..64 => Command::Explain(Box::new(self.allocate(draws, pool))),
            64..82 => Command::Release(self.target(draws, pool)),
            82..90 => Command::Renew { target: self.target(draws, pool), ttl: ttl(draws) },
            90..94 => {
                let span = some_span(draws, pool);
                Command::Reserve(Box::new(ReserveRequest {
                    pool: pool.uid,
                    realm_value: realm_value(draws, pool),
                    span,
                    subscriber: self.subscriber(draws),
                    name: format_compact!("{span:?}"),
                    note: CompactString::default(),
                }))
            }
            94..97 => {
                let reserved: Vec<Span> = model.ground.reserved.values().map(|kept| kept.span).collect();
                let span = if reserved.is_empty() { some_span(draws, pool) } else { *draws.pick(&reserved) };
                Command::Unreserve { pool: pool.uid, realm_value: realm_value(draws, pool), span }
            }
            97..99 => Command::UpdatePool {
                pool: pool.uid,
                expected: None,
                draft: Box::new(changed(draws, pool)),
                dry_run: draws.one_in(4),
            },
            _ => Command::DeletePool { pool: pool.uid, force: draws.one_in(3) },
        }
    }

    fn allocate(&self, draws: &mut Draws, pool: &Pool) -> AllocateRequest {
        let sizing = pool.draft.geometry.sizing;
        let mut plan = Plan::anywhere(sizing.default_len);
        if draws.one_in(3) {
            plan.len = length(draws, sizing);
        }
        if draws.one_in(5) {
            plan = Plan::exactly(some_span(draws, pool));
        } else if draws.one_in(8) {
            let cover = some_span(draws, pool);
            plan.within = vec![Span::new(cover.start(), cover.len() * 4).expect("small")];
        }
        if draws.one_in(12) {
            plan.strategy = Some(*draws.pick(&Strategy::ALL));
        }
        AllocateRequest {
            pool: if draws.one_in(200) { PoolUid(9_999) } else { pool.uid },
            subscriber: self.subscriber(draws),
            key: key(draws),
            realm_value: realm_value(draws, pool),
            explicit: plan.at.is_some() && !draws.one_in(4),
            plan,
            ttl: ttl(draws),
            node: draws.one_in(2).then(|| format!("olt-{}", draws.below(3)).parse().expect("a node id")),
            metadata: CompactString::default(),
            supersedes: None,
        }
    }

    fn target(&self, draws: &mut Draws, pool: &Pool) -> AllocationTarget {
        let span = draws.one_in(10).then(|| some_span(draws, pool));
        AllocationTarget { pool: pool.uid, subscriber: self.subscriber(draws), key: key(draws), span, made_ms: None }
    }

    fn subscriber(&self, draws: &mut Draws) -> SubscriberId {
        format!("sub-{}", draws.below(self.subscribers)).parse().expect("a subscriber id")
    }
}

fn key(draws: &mut Draws) -> Option<Key> {
    draws.one_in(8).then(|| "second".parse().expect("a key"))
}

fn ttl(draws: &mut Draws) -> Ttl {
    match draws.below(10) {
        0 => Ttl::Permanent,
        1..3 => Ttl::Millis(1 + draws.below(40_000)),
        _ => Ttl::Default,
    }
}

fn realm_value(draws: &mut Draws, pool: &Pool) -> Option<CompactString> {
    let by = !pool.draft.terms.realm_by.is_empty() && !draws.one_in(30);
    by.then(|| if draws.one_in(30) { CompactString::default() } else { format_compact!("olt-{}", draws.below(3)) })
}

fn length(draws: &mut Draws, sizing: Sizing) -> u128 {
    if draws.one_in(20) {
        return sizing.max_len * 2 + 1;
    }
    match sizing.align {
        Alignment::Natural => (sizing.min_len << draws.below(6)).min(sizing.max_len),
        Alignment::Origin => (sizing.min_len * u128::from(1 + draws.below(4))).min(sizing.max_len),
    }
}

/// Mostly one that could be handed out.
fn some_span(draws: &mut Draws, pool: &Pool) -> Span {
    let sizing = pool.draft.geometry.sizing;
    let len = length(draws, sizing);
    let candidates = Model::candidates(pool, len);
    if candidates.is_empty() || draws.one_in(12) {
        let cover = pool.draft.geometry.spans.first().expect("a pool has spans").cover();
        let start = cover.start() + u128::from(draws.below(u64::try_from(cover.len() + 8).expect("small")));
        return Span::new(start, sizing.min_len).expect("small");
    }
    *draws.pick(&candidates)
}

/// A pool as it could be written next: more space, less space, other terms.
fn changed(draws: &mut Draws, pool: &Pool) -> PoolDraft {
    let mut draft = pool.draft.clone();
    let mut geometry = Geometry::clone(&draft.geometry);
    match draws.below(5) {
        0 => {
            let last = geometry.spans.iter().map(|series| series.cover().end()).max().expect("a pool has spans");
            let start = last.next_multiple_of(geometry.cut) + geometry.cut * u128::from(draws.below(2));
            if start < 0x4000 {
                geometry.spans.push(Series::one(Span::new(start, geometry.cut).expect("small")));
            }
            // Plugins make the cut fit the pool's size.
            geometry.cut = geometry.grain << draws.below(5);
        }
        1 if geometry.spans.len() > 1 => {
            geometry.spans.pop();
        }
        2 => {
            geometry.excluded.pop();
        }
        3 if geometry.excluded.is_empty() => {
            let candidates = Model::candidates(pool, geometry.sizing.min_len);
            if let Some(span) = candidates.get(draws.index(candidates.len() + 1)) {
                geometry.excluded.push(Series::one(*span));
            }
        }
        _ => {
            draft.terms.hold_down_ms = *draws.pick(&[0, 5_000, 60_000]);
            draft.terms.strict = draws.one_in(2);
        }
    }
    let inside = |series: &Series| geometry.spans.iter().any(|span| span.cover().contains(series.cover()));
    let excluded = geometry.excluded.iter().copied().filter(inside).collect();
    geometry.excluded = excluded;
    draft.spec = format!("{geometry:?}").into();
    draft.geometry = Arc::new(geometry);
    draft
}

/// What tells kinds of pools apart: name, type, realm, shared, and what they are made of.
struct Kind {
    id: &'static str,
    type_id: &'static str,
    tenant: &'static str,
    realm: &'static str,
    shared: bool,
    realm_by: &'static [&'static str],
    geometry: fn() -> Geometry,
}

const KINDS: [Kind; 7] = [
    Kind {
        id: "homes",
        type_id: "ipv4",
        tenant: "default",
        realm: "default",
        shared: false,
        realm_by: &[],
        geometry: addresses,
    },
    Kind {
        id: "prefixes",
        type_id: "ipv6",
        tenant: "default",
        realm: "default",
        shared: false,
        realm_by: &[],
        geometry: prefixes,
    },
    Kind {
        id: "ports",
        type_id: "port",
        tenant: "default",
        realm: "default",
        shared: false,
        realm_by: &[],
        geometry: ports,
    },
    Kind {
        id: "vlans",
        type_id: "vlan",
        tenant: "default",
        realm: "default",
        shared: false,
        realm_by: &["olt_id"],
        geometry: vlans,
    },
    Kind {
        id: "vrf",
        type_id: "ipv4",
        tenant: "default",
        realm: "vrf-1",
        shared: false,
        realm_by: &[],
        geometry: addresses,
    },
    Kind {
        id: "over",
        type_id: "ipv4",
        tenant: "default",
        realm: "default",
        shared: false,
        realm_by: &[],
        geometry: addresses_over,
    },
    Kind {
        id: "open",
        type_id: "ipv4",
        tenant: "isp-b",
        realm: "default",
        shared: true,
        realm_by: &[],
        geometry: addresses,
    },
];

fn span(start: u128, len: u128) -> Series {
    Series::one(Span::new(start, len).expect("small"))
}

/// Single addresses, some kept out.
fn addresses() -> Geometry {
    Geometry {
        spans: vec![span(0x100, 32)],
        excluded: vec![span(0x100, 1), span(0x10a, 2), span(0x11f, 1)],
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 1, align: Alignment::Natural },
        cut: 8,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    }
}

/// Over the end of the others.
fn addresses_over() -> Geometry {
    Geometry { spans: vec![span(0x11c, 16)], excluded: Vec::new(), cut: 4, ..addresses() }
}

/// Prefixes of four lengths, with a gap.
fn prefixes() -> Geometry {
    Geometry {
        spans: vec![span(0x1000, 64), span(0x1080, 32)],
        excluded: vec![span(0x1020, 1)],
        grain: 4,
        sizing: Sizing { default_len: 8, min_len: 4, max_len: 32, align: Alignment::Natural },
        cut: 32,
        ..addresses()
    }
}

/// Blocks of ports on several addresses; any multiple of the block.
fn ports() -> Geometry {
    Geometry {
        spans: vec![Series::new(Span::new(0x2000, 24).expect("small"), 32, 3).expect("small")],
        excluded: Vec::new(),
        grain: 4,
        sizing: Sizing { default_len: 4, min_len: 4, max_len: 12, align: Alignment::Origin },
        cut: 32,
        ..addresses()
    }
}

/// Tags, once per OLT.
fn vlans() -> Geometry {
    Geometry { spans: vec![span(1, 12)], excluded: vec![span(5, 1)], cut: 16, ..addresses() }
}

fn draft(kind: &Kind, draws: &mut Draws) -> PoolDraft {
    let Kind { id, type_id, tenant, realm, shared, realm_by, geometry } = kind;
    let geometry = geometry();
    let strategies = Strategy::ALL.into_iter().filter(|strategy| *strategy != Strategy::Exact).collect::<Vec<_>>();
    let lease = match draws.below(3) {
        0 => LeaseTerms::None,
        _ => LeaseTerms::Timed { default_ms: 20_000, min_ms: 5_000, max_ms: 60_000 },
    };
    PoolDraft {
        tenant: tenant.parse().expect("a tenant"),
        id: id.parse().expect("a pool id"),
        type_id: type_id.parse().expect("a type"),
        realm: RealmRef { name: realm.parse().expect("a realm"), shared: *shared },
        spec: format!("{geometry:?}").into(),
        geometry: Arc::new(geometry),
        mapping_id: CompactString::default(),
        terms: PoolTerms {
            strategy: *draws.pick(&strategies),
            lease,
            hold_down_ms: *draws.pick(&[0, 5_000, 60_000, 7_200_000]),
            strict: draws.one_in(3),
            ack: None,
            realm_by: realm_by.iter().map(|name| CompactString::from(*name)).collect(),
            metadata: CompactString::default(),
        },
        sharding_factor: None,
        extra: CompactString::default(),
    }
}
