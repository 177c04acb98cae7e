use std::time::Duration;

use kernel::{AllocationTarget, PoolUid};

use super::*;

fn ride(calls: usize, left: Duration) -> (Ride, oneshot::Receiver<Arrived>) {
    let (back, arrived) = oneshot::channel();
    let target = |number: usize| AllocationTarget {
        pool: PoolUid(1),
        subscriber: format!("line-{number}").parse().expect("a plain word"),
        key: None,
        span: None,
        made_ms: None,
    };
    let calls = (0..calls).map(|number| (Leg::Home, Command::Release(target(number)))).collect();
    (Ride { calls, deadline: Instant::now() + left, back }, arrived)
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn so_many_messages_leave_and_what_comes_then_gathers_whole_for_the_next() {
    let lanes = Lanes::default();
    let to = MemberId(1);
    let mut waiting = Vec::new();
    let mut put = |calls| {
        let (ride, arrived) = ride(calls, LONG);
        waiting.push(arrived);
        lanes.wait(to, ride).expect("there is room")
    };
    for _ in 0..UNDER_WAY {
        assert!(put(1));
        assert_eq!(lanes.next(to).expect("a load").len(), 1);
    }
    for calls in [CALLS - 1, 1, CALLS, 1] {
        assert!(!put(calls), "as many are under way as may be");
    }
    let loads =
        |lanes: &Lanes| lanes.next(to).map(|rides| rides.iter().map(|ride| ride.calls.len()).collect::<Vec<_>>());
    assert_eq!(loads(&lanes), Some(vec![CALLS - 1, 1]));
    assert_eq!(loads(&lanes), Some(vec![CALLS]));
    assert_eq!(loads(&lanes), Some(vec![1]));
    assert_eq!(loads(&lanes), None);
    let (next, _arrived) = ride(1, LONG);
    assert!(lanes.wait(to, next).expect("there is room"), "one came back");
}

#[test]
fn who_gave_up_is_not_taken_along() {
    let lanes = Lanes::default();
    let to = MemberId(1);
    let (gone, arrived) = ride(1, LONG);
    drop(arrived);
    let (over, _over) = ride(1, Duration::ZERO);
    let (here, _here) = ride(2, LONG);
    for ride in [gone, over, here] {
        lanes.wait(to, ride).expect("there is room");
    }
    let aboard = lanes.next(to).expect("a load");
    assert_eq!(aboard.iter().map(|ride| ride.calls.len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_queue_that_is_full_refuses() {
    let lanes = Lanes::default();
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        let (ride, arrived) = ride(1, LONG);
        waiting.push(arrived);
        lanes.wait(MemberId(1), ride).expect("there is room");
    }
    let (one_more, _arrived) = ride(1, LONG);
    assert!(lanes.wait(MemberId(1), one_more).is_err());
    let (other, _arrived) = ride(1, LONG);
    assert!(lanes.wait(MemberId(2), other).is_ok());
}
