//! What comes back of other hosts: how far each was heard, in whatever order a checkpoint and a log tell it.

use std::collections::BTreeMap;

use kernel::{Dot, Fact, Op, Origin, Recovery, Seq, Tick};

use crate::bed::{BEGIN_MS, SETTINGS};

#[test]
fn the_highest_number_of_each_origin_counts() {
    let [one, other] = [(7, 1), (7, 2)].map(|(host, incarnation)| Origin { host, incarnation });
    let heard = [(one, 5), (other, 3), (one, 9), (one, 5), (other, 3), (one, 8)];
    let mut recovery = Recovery::new(SETTINGS);
    for (seq, (origin, through)) in (1..).zip(heard) {
        let fact = Fact::Heard { origin, through: Seq(through) };
        recovery.apply(&Op { seq: Seq(seq), stamp_ms: BEGIN_MS, from: None, fact });
    }
    // Others' operations are written in their origin's order, so one says that those before it are there: a torn group may
    // lack its last word.
    let from = Some(Dot { origin: other, seq: Seq(40) });
    recovery.apply(&Op { seq: Seq(7), stamp_ms: BEGIN_MS, from, fact: Fact::Clock });
    let kernel = recovery.finish(Tick { boot_ms: 0, wall_ms: BEGIN_MS });
    assert_eq!(*kernel.heard(), BTreeMap::from([(one, Seq(9)), (other, Seq(40))]));
}
