//! Laws that hold for whatever is asked: the same inputs give the same effects, and the same facts give the same kernel, in
//! whatever order and however often they are read.

#[allow(dead_code, reason = "the engine's tests use more of it")]
#[path = "engine/bed.rs"]
mod bed;

use std::convert::Infallible;

use kernel::{
    Command, Effects, Input, Kernel, Occupancy, Op, Plan, Pool, PoolUid, RealmUid, Recovery, RequestId, ReserveRequest,
    Span, Tick, Ttl,
};
use proptest::prelude::*;

use bed::{Bed, SETTINGS, prefixes, request, span, target, with_terms};

/// What a test asks for.
#[derive(Clone, Debug)]
enum Ask {
    Any { who: u8, len: u32 },
    Exactly { who: u8, start: u128 },
    Leased { who: u8, ttl_ms: u64 },
    Release { who: u8 },
    Reserve { who: u8, start: u128 },
    Unreserve { start: u128 },
    Pass { ms: u64 },
}

fn ask() -> impl Strategy<Value = Ask> {
    let who = 0..12_u8;
    prop_oneof![
        4 => (who.clone(), 0..4_u32).prop_map(|(who, shift)| Ask::Any { who, len: 1 << shift }),
        2 => (who.clone(), 0..32_u128).prop_map(|(who, start)| Ask::Exactly { who, start }),
        2 => (who.clone(), 1..30_000_u64).prop_map(|(who, ttl_ms)| Ask::Leased { who, ttl_ms }),
        4 => who.clone().prop_map(|who| Ask::Release { who }),
        1 => (who, 0..32_u128).prop_map(|(who, start)| Ask::Reserve { who, start }),
        1 => (0..32_u128).prop_map(|start| Ask::Unreserve { start }),
        2 => (1..40_000_u64).prop_map(|ms| Ask::Pass { ms }),
    ]
}

fn put(bed: &mut Bed, pool: &Pool, ask: &Ask) {
    let name = |who: u8| format!("s{who}");
    let command = match *ask {
        Ask::Any { who, len } => {
            let mut request = request(pool, &name(who));
            request.plan = Plan::anywhere(u128::from(len));
            Command::Allocate(Box::new(request))
        }
        Ask::Exactly { who, start } => {
            let mut request = request(pool, &name(who));
            request.plan = Plan::exactly(span(start, 1));
            request.explicit = true;
            Command::Allocate(Box::new(request))
        }
        Ask::Leased { who, ttl_ms } => {
            let mut request = request(pool, &name(who));
            request.ttl = Ttl::Millis(ttl_ms);
            Command::Allocate(Box::new(request))
        }
        Ask::Release { who } => Command::Release(target(pool, &name(who))),
        Ask::Reserve { who, start } => Command::Reserve(Box::new(ReserveRequest {
            pool: pool.uid,
            realm_value: None,
            span: span(start, 1),
            subscriber: name(who).parse().expect("a subscriber id"),
            name: start.to_string().into(),
            note: "".into(),
        })),
        Ask::Unreserve { start } => Command::Unreserve { pool: pool.uid, realm_value: None, span: span(start, 1) },
        Ask::Pass { ms } => {
            bed.pass(ms);
            bed.alarms();
            return;
        }
    };
    let _refusals_are_fine = bed.try_ask(command);
}

fn lived(asks: &[Ask], strict: bool) -> (Bed, std::sync::Arc<Pool>) {
    let draft = with_terms(prefixes(), |terms| {
        terms.strict = strict;
        terms.hold_down_ms = 5_000;
    });
    let (mut bed, pool) = Bed::with(draft);
    for ask in asks {
        put(&mut bed, &pool, ask);
    }
    (bed, pool)
}

fn recovered<'a>(log: impl Iterator<Item = &'a Op>, now: Tick) -> Kernel {
    let mut recovery = Recovery::new(SETTINGS);
    for op in log {
        recovery.apply(op);
    }
    recovery.finish(now)
}

/// How full everything is, and what each subscriber would be told.
type Told = (Vec<((PoolUid, RealmUid), Occupancy)>, Vec<String>);

fn told(kernel: &mut Kernel, pool: &Pool, now: Tick) -> Told {
    let mut effects = Effects::default();
    for who in 0..12 {
        let command = Command::Explain(Box::new(request(pool, &format!("s{who}"))));
        kernel.step(now, Input::Request { id: RequestId(who), command }, &mut effects);
    }
    let durable = effects.persist(Ok::<_, Infallible>).expect("cannot fail");
    (kernel.occupancy(), durable.replies.iter().map(|reply| format!("{reply:?}")).collect())
}

proptest! {
    #[test]
    fn the_same_inputs_give_the_same_effects(asks in prop::collection::vec(ask(), 1..80), strict: bool) {
        let (one, _) = lived(&asks, strict);
        let (other, _) = lived(&asks, strict);
        prop_assert_eq!(format!("{:?}", one.log), format!("{:?}", other.log));
    }

    #[test]
    fn the_same_facts_give_the_same_kernel_in_any_order_and_however_often(
        asks in prop::collection::vec(ask(), 1..80), strict: bool, order in any::<u64>(),
    ) {
        let (bed, pool) = lived(&asks, strict);
        let now = Tick { boot_ms: 5, wall_ms: bed.now.wall_ms };
        let in_order = told(&mut recovered(bed.log.iter(), now), &pool, now);

        let mut mixed: Vec<&Op> = bed.log.iter().chain(bed.log.iter().step_by(3)).collect();
        let key = |op: &&Op| order.wrapping_mul(op.seq.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).rotate_left(17);
        mixed.sort_by_key(key);
        let out_of_order = told(&mut recovered(mixed.into_iter(), now), &pool, now);
        prop_assert_eq!(in_order, out_of_order);
    }

    #[test]
    fn a_restart_keeps_what_is_held_reserved_and_rests(
        asks in prop::collection::vec(ask(), 1..80), strict: bool,
    ) {
        let (mut bed, pool) = lived(&asks, strict);
        let before = bed.occupancy(pool.uid);
        let held = bed.kernel.allocations();
        bed.restart(0);
        prop_assert_eq!((bed.occupancy(pool.uid), bed.kernel.allocations()), (before, held));
    }

    #[test]
    fn intersecting_is_mutual_and_inside_both(a in 0..50_u128, b in 0..50_u128, n in 1..20_u128, m in 1..20_u128) {
        let (one, other) = (span(a, n), span(b, m));
        prop_assert_eq!(one.intersects(other), other.intersects(one));
        prop_assert_eq!(one.intersection(other), other.intersection(one));
        prop_assert_eq!(one.intersection(other).is_some(), one.intersects(other));
        if let Some(both) = one.intersection(other) {
            prop_assert!(one.contains(both) && other.contains(both));
        }
    }

    #[test]
    fn a_span_gives_back_what_it_was_made_of(start in any::<u128>(), len in any::<u128>()) {
        match Span::new(start, len) {
            Some(span) => prop_assert_eq!((span.start(), span.len(), span.end()), (start, len, start + len)),
            None => prop_assert!(len == 0 || start.checked_add(len).is_none()),
        }
    }

    #[test]
    fn spans_are_ordered_as_their_positions(a in any::<u128>(), b in any::<u128>()) {
        let of = |start| Span::new(start, 1);
        if let (Some(one), Some(other)) = (of(a), of(b)) {
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
        }
    }
}
