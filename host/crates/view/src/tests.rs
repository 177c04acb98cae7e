//! The view against a plain list of what was applied.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::{
    Alignment, Allocation, AllocationKind, AllocationParts, EndCause, Epoch, Fact, Geometry, LeaseTerms, NodeId, Note,
    NoteEnds, NoteStamp, Op, Origin, Pool, PoolDraft, PoolTerms, PoolUid, RealmRef, RealmUid, Resting, Revision, Seq,
    Series, ShardId, Sizing, Span, SpanKey, Strategy, SubscriberId, TenantId,
};
use proptest::prelude::*;

use crate::{AllocationFilter, Event, EventKind, ListCursor, PoolChange, View};

fn span(start: u128, len: u128) -> Span {
    Span::new(start, len).expect("a test's span is valid")
}

fn pool(uid: u32) -> Arc<Pool> {
    let geometry = Geometry {
        spans: vec![Series::one(span(0, 1 << 20))],
        excluded: Vec::new(),
        grain: 1,
        sizing: Sizing { default_len: 1, min_len: 1, max_len: 16, align: Alignment::Origin },
        cut: 256,
        attributes: Vec::new(),
        strategy: Strategy::FirstFree,
    };
    let terms = PoolTerms {
        strategy: Strategy::FirstFree,
        lease: LeaseTerms::None,
        hold_down_ms: 0,
        strict: false,
        ack: None,
        realm_by: Vec::new(),
        metadata: "".into(),
    };
    let draft = PoolDraft {
        tenant: TenantId::default(),
        id: format!("pool-{uid}").parse().expect("well formed"),
        type_id: "number".parse().expect("well formed"),
        realm: RealmRef { name: "default".parse().expect("well formed"), shared: false },
        spec: "{}".into(),
        geometry: Arc::new(geometry),
        mapping_id: "1".into(),
        terms,
        sharding_factor: None,
        extra: "".into(),
    };
    Arc::new(Pool { uid: PoolUid(uid), revision: Revision(1), created_ms: 1, updated_ms: 1, draft, shards: Vec::new() })
}

struct Bench {
    view: View,
    now: Arc<AtomicU64>,
    seq: u64,
}

impl Bench {
    fn new(window: usize) -> Self {
        let now = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&now);
        let view = View::new(Box::new(move || clock.load(Ordering::Relaxed)), window);
        view.set_lease_clock(0, true);
        let mut bench = Self { view, now, seq: 0 };
        bench.apply(Fact::Pool(pool(1)));
        bench.apply(Fact::Pool(pool(2)));
        bench
    }

    fn apply(&mut self, fact: Fact) {
        self.seq += 1;
        self.view.apply(&[Op { seq: Seq(self.seq), stamp_ms: self.seq, from: None, fact }]);
    }

    fn hold(&mut self, uid: u32, start: u128, len: u128, who: &str, node: Option<&str>, expires_ms: u64) {
        let parts = AllocationParts {
            span: span(start, len),
            subscriber: who.parse().expect("well formed"),
            pool: PoolUid(uid),
            realm: RealmUid(0),
            shard: ShardId(0),
            epoch: Epoch(1),
            created_ms: self.seq,
            renewed_ms: self.seq,
            expires_ms: NonZeroU64::new(expires_ms),
            seq: Seq(self.seq + 1),
            node: node.map(|node| Arc::new(node.parse::<NodeId>().expect("well formed"))),
            extra: None,
            kind: AllocationKind::Session,
        };
        self.apply(Fact::Held(Arc::new(Allocation::new(parts))));
    }

    fn end(&mut self, uid: u32, start: u128, len: u128) {
        let resting = Resting {
            span: span(start, len),
            pool: PoolUid(uid),
            realm: RealmUid(0),
            subscriber: "gone".parse().expect("well formed"),
            key: None,
            node: None,
            created_ms: 1,
            ended_ms: 2,
            until_ms: 3,
            cause: EndCause::Released,
            epoch: Epoch(1),
            renewed_ms: 0,
            seq: Seq(self.seq + 1),
            name: None,
        };
        self.apply(Fact::Resting(Arc::new(resting)));
    }

    fn of(&self, who: &str) -> Vec<u128> {
        let found = self.view.of_subscriber(&TenantId::default(), &subscriber(who));
        found.iter().map(|held| held.span.start()).collect()
    }
}

fn subscriber(who: &str) -> SubscriberId {
    who.parse().expect("well formed")
}

#[test]
fn a_span_is_found_by_any_position_in_it() {
    let mut bench = Bench::new(16);
    bench.hold(1, 64, 16, "a", None, 0);
    for (position, found) in [(63, false), (64, true), (79, true), (80, false)] {
        assert_eq!(!bench.view.holders(PoolUid(1), None, position).is_empty(), found, "{position}");
    }
    assert!(bench.view.holders(PoolUid(2), None, 64).is_empty());
    assert_eq!(bench.view.gets(), 5, "every look-up counts");
}

#[test]
fn newest_first_and_gone_after_the_end() {
    let mut bench = Bench::new(16);
    bench.hold(1, 1, 1, "a", Some("olt-1"), 0);
    bench.hold(2, 9, 1, "a", Some("olt-1"), 0);
    assert_eq!(bench.of("a"), [9, 1]);
    assert_eq!(bench.view.nodes().iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2]);
    bench.end(2, 9, 1);
    assert_eq!(bench.of("a"), [1]);
    bench.apply(Fact::PoolDeleted(PoolUid(1)));
    assert!(bench.of("a").is_empty());
}

#[test]
fn a_name_is_its_new_pools_even_if_the_old_one_goes_later() {
    let mut bench = Bench::new(16);
    let old = pool(1);
    let mut new = Pool::clone(&pool(3));
    new.draft.id = old.draft.id.clone();
    bench.apply(Fact::Pool(Arc::new(new)));
    bench.apply(Fact::PoolDeleted(PoolUid(1)));
    let found = bench.view.pool(&old.draft.tenant, &old.draft.id);
    assert_eq!(found.map(|pool| pool.uid), Some(PoolUid(3)));
    assert_eq!(bench.view.pools(None).len(), 2);
}

#[test]
fn a_lease_that_ended_is_not_shown_unless_expiry_stopped() {
    let mut bench = Bench::new(16);
    bench.hold(1, 1, 1, "a", None, 5_000);
    assert_eq!(bench.of("a"), [1]);
    bench.now.store(5_000, Ordering::Relaxed);
    assert!(bench.of("a").is_empty());
    bench.view.set_lease_clock(0, false);
    assert_eq!(bench.of("a"), [1]);
}

#[test]
fn a_list_goes_on_where_it_was_although_rows_come_and_go() {
    let mut bench = Bench::new(16);
    for start in 0..1_000_u128 {
        bench.hold(1, start * 2, 1, &format!("s{start}"), None, 0);
    }
    let filter = AllocationFilter::default();
    let first = bench.view.list(&filter, None, 400);
    let next = first.next.expect("more follow");
    bench.end(1, 0, 1);
    bench.hold(1, 1, 1, "before", None, 0);
    let text = next.encode();
    let rest = bench.view.list(&filter, Some(ListCursor::decode(&text).expect("as given")), 10_000);
    assert_eq!(rest.rows.first().map(|held| held.span.start()), Some(800));
    assert_eq!((rest.rows.len(), rest.next), (600, None));
}

#[test]
fn a_watch_resumes_in_the_window_and_is_told_outside() {
    let mut bench = Bench::new(4);
    for start in 0..10 {
        bench.hold(1, start, 1, &format!("line-{start}"), None, 0);
    }
    let kept = bench.view.events_after(Seq(8), 100).expect("in the window");
    assert_eq!(kept.len(), 4);
    assert!(matches!(kept[0].kind, EventKind::InPool(_, PoolChange::Held(_))));
    assert_eq!(bench.view.events_after(Seq(7), 100).unwrap_err().oldest, Seq(8));
    assert!(bench.view.events_after(Seq(13), 100).is_err(), "a place from another life");
}

#[test]
fn events_of_a_deleted_pool_still_say_which_it_was() {
    let mut bench = Bench::new(16);
    bench.hold(1, 1, 1, "a", None, 0);
    bench.end(1, 1, 1);
    bench.apply(Fact::PoolDeleted(PoolUid(1)));
    assert!(bench.view.pool_by_uid(PoolUid(1)).is_none());
    let kept = bench.view.events_after(Seq(2), 2).expect("in the window");
    let pool_of = |event: &Event| match &event.kind {
        EventKind::InPool(pool, _) => Some(pool.uid),
        EventKind::Note(_) => None,
    };
    assert_eq!(kept.iter().map(pool_of).collect::<Vec<_>>(), [Some(PoolUid(1)); 2]);
    let kept = bench.view.events_after(Seq(4), 2).expect("in the window");
    assert!(matches!(
        &kept[..],
        [Event { kind: EventKind::InPool(pool, PoolChange::PoolDeleted), .. }] if pool.uid == PoolUid(1)
    ));
}

proptest! {
    #[test]
    fn cursors_survive_their_text(uid: u32, realm: u32, start: u128) {
        let cursor = ListCursor { pool: PoolUid(uid), realm: RealmUid(realm), start };
        prop_assert_eq!(ListCursor::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn no_text_panics_as_a_cursor(text in "\\PC{0,60}") {
        let _cursor_or_not = ListCursor::decode(&text);
    }

    #[test]
    fn the_view_agrees_with_a_plain_map(steps in prop::collection::vec((0..600_u128, any::<bool>(), 0..9_u8), 1..1_500)) {
        let mut bench = Bench::new(16);
        let mut model: BTreeMap<u128, String> = BTreeMap::new();
        for (start, hold, who) in steps {
            if hold {
                let who = format!("s{who}");
                bench.hold(1, start, 1, &who, None, 0);
                model.insert(start, who);
            } else {
                bench.apply(Fact::Free(SpanKey { pool: PoolUid(1), realm: RealmUid(0), span: span(start, 1) }));
                model.remove(&start);
            }
        }
        let listed = bench.view.list(&AllocationFilter::default(), None, 10_000);
        let listed: Vec<_> = listed.rows.iter().map(|held| (held.span.start(), held.subscriber.to_string())).collect();
        prop_assert_eq!(listed, model.clone().into_iter().collect::<Vec<_>>());
        for who in 0..9 {
            let who = format!("s{who}");
            let mut found = bench.of(&who);
            found.sort_unstable();
            let wanted: Vec<_> = model.iter().filter(|(_, of)| **of == who).map(|(start, _)| *start).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}

#[test]
fn who_has_two_under_one_key_is_listed_until_one_is_gone() {
    let mut bench = Bench::new(64);
    bench.hold(1, 9, 1, "a", None, 0);
    bench.hold(2, 9, 1, "a", None, 0);
    assert_eq!(bench.view.open_conflicts_count(), 0, "another pool is no conflict");
    let first = bench.view.holders(PoolUid(1), None, 9).remove(0);
    bench.hold(1, 5, 1, "a", None, 0);
    let open = bench.view.open_conflicts(|_| true);
    assert_eq!(open.iter().map(|open| open.loser().span.start()).collect::<Vec<_>>(), [9]);
    assert_eq!(bench.view.stands_in_place_of(&first).expect("it is superseded").span.start(), 5);
    // What stands comes first although another pool's is newer; what does not is last.
    assert_eq!(bench.of("a"), [5, 9, 9]);
    bench.hold(1, 7, 1, "a", None, 0);
    assert_eq!(bench.view.open_conflicts_count(), 2);
    bench.end(1, 7, 1);
    bench.end(1, 9, 1);
    assert_eq!(bench.view.open_conflicts_count(), 0);
    let told = bench.view.events_after(Seq(0), 64).expect("all are kept");
    let told: Vec<(bool, u128)> = told
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::InPool(_, PoolChange::Conflict(open)) => Some((true, open.loser().span.start())),
            EventKind::InPool(_, PoolChange::Settled(open)) => Some((false, open.loser().span.start())),
            EventKind::InPool(..) | EventKind::Note(_) => None,
        })
        .collect();
    // The third made the second go, its end let that one stand again; then the first ended.
    assert_eq!(told, [(true, 9), (true, 5), (false, 5), (false, 9)]);
}

#[test]
fn events_of_one_place_are_not_torn_apart() {
    let mut bench = Bench::new(64);
    bench.hold(1, 9, 1, "a", None, 0);
    let before = Seq(bench.seq);
    bench.hold(1, 5, 1, "a", None, 0);
    let told = bench.view.events_after(before, 1).expect("all are kept");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_renewal_makes_nobody_have_two_and_a_pool_that_is_gone_has_no_conflicts() {
    let mut bench = Bench::new(64);
    bench.hold(1, 9, 1, "a", None, 0);
    bench.hold(1, 9, 1, "a", None, 0);
    assert_eq!(bench.view.open_conflicts_count(), 0);
    bench.hold(1, 5, 1, "a", None, 0);
    assert_eq!(bench.view.open_conflicts_count(), 1);
    bench.apply(Fact::PoolDeleted(PoolUid(1)));
    assert_eq!(bench.view.open_conflicts_count(), 0);
}

#[test]
fn a_note_that_was_replaced_when_it_was_heard_of_is_no_event_and_a_forgotten_deletion_neither() {
    let mut bench = Bench::new(16);
    let seq = |bench: &Bench| Seq(*bench.view.committed().borrow());
    let begin = seq(&bench);
    let note = |bench: &mut Bench, value: Option<&str>, ends: &[u64]| {
        let next = seq(bench).0 + 1;
        let ends: Vec<Seq> = ends.iter().map(|end| Seq(if *end == 0 { next } else { *end })).collect();
        bench.apply(Fact::Noted(Arc::new(Note {
            tenant: TenantId::default(),
            key: "olt/1".parse().unwrap(),
            value: value.map(|value| value.parse().unwrap()),
            stamp: NoteStamp { ms: next, count: 0 },
            by: Origin::default(),
            knew: Box::default(),
            ends: ends.into(),
        })));
        next
    };
    let first = note(&mut bench, Some("one"), &[]);
    note(&mut bench, Some("late"), &[0]);
    let last = note(&mut bench, None, &[first]);
    let ends = NoteEnds { tenant: TenantId::default(), key: "olt/1".parse().unwrap(), places: [Seq(last)].into() };
    bench.apply(Fact::Unnoted(Arc::new(ends)));
    let said: Vec<_> = bench
        .view
        .events_after(begin, 9)
        .unwrap()
        .into_iter()
        .map(|event| match event.kind {
            EventKind::Note(change) => change.writes.iter().map(|write| write.note.value.is_some()).collect::<Vec<_>>(),
            EventKind::InPool(..) => panic!("a note"),
        })
        .collect();
    assert_eq!(said, [vec![true], vec![false]]);
    assert_eq!(bench.view.note_counts(), (0, 0));
    assert!(bench.view.note(&TenantId::default(), &"olt/1".parse().unwrap()).is_empty());
}
