use kernel::{Fact, RequestId, Tenure};
use tokio::sync::oneshot;

use super::*;
use crate::driver::empty_view;
use crate::driver::standing::tests::tenure;

/// Pool 1 chooses nothing, pool 3 `local`, pool 4 `peer`; shard 0 of each is ours.
struct Bed {
    standing: Arc<Standing>,
    courier: Courier,
    parcels: mpsc::Receiver<Parcel>,
    view: Arc<View>,
}

fn bed() -> Bed {
    let standing = Arc::new(Standing::default());
    let view = empty_view(16, kernel::Origin::default());
    for (seq, pool) in [(1, 1), (2, 3), (3, 4)] {
        view.apply(&[store::sample::pool(seq, pool, 4)]);
        standing.hear(&tenure(pool, 1, Tenure::Escrow));
    }
    standing.set_others(true);
    let (courier, parcels) = Courier::new(Arc::clone(&standing));
    Bed { standing, courier, parcels, view }
}

#[allow(clippy::unnecessary_wraps, reason = "an outcome is what jobs are answered with")]
fn allocated(seq: u64, pool: u32) -> Outcome {
    let Fact::Held(allocation) = store::sample::held(seq, pool, 10).fact else { panic!("no allocation") };
    Ok(Ok(Reply::Allocated { allocation, created: true, durability: Durability::Local }))
}

/// A job that is answered, and where its answer arrives.
fn job(outcomes: Vec<Outcome>) -> (Waiter, oneshot::Receiver<Vec<Outcome>>) {
    let (answer, arrives) = oneshot::channel();
    let mut waiter = Waiter::new(RequestId(0), outcomes.len(), answer);
    for (id, outcome) in (0..).zip(outcomes) {
        waiter.answer(RequestId(id), outcome);
    }
    (waiter, arrives)
}

fn durabilities(outcomes: &[Outcome]) -> Vec<Option<Durability>> {
    let of = |outcome: &Outcome| match outcome {
        Ok(Ok(Reply::Allocated { durability, .. })) => Some(*durability),
        _ => None,
    };
    outcomes.iter().map(of).collect()
}

#[test]
fn answers_of_pools_that_want_it_wait_for_another_host_and_no_others() {
    let Bed { courier, mut parcels, view, .. } = bed();
    let (first, mut first_arrives) = job(vec![allocated(11, 3)]);
    let (second, mut second_arrives) = job(vec![allocated(12, 4)]);
    let (third, mut third_arrives) = job(vec![allocated(14, 3), allocated(13, 1)]);
    courier.send(vec![first, second, third], &view);
    assert_eq!(durabilities(&first_arrives.try_recv().expect("it left at once")), [Some(Durability::Local)]);
    assert!(second_arrives.try_recv().is_err() && third_arrives.try_recv().is_err());
    let parcel = parcels.try_recv().expect("the rest waits");
    assert_eq!((parcel.through(), parcel.answers()), (Seq(13), 2));
    parcel.leave(Durability::Peer);
    assert_eq!(durabilities(&second_arrives.try_recv().expect("sent")), [Some(Durability::Peer)]);
    // Of operation 14 nobody said that another host has it.
    let third = third_arrives.try_recv().expect("sent");
    assert_eq!(durabilities(&third), [Some(Durability::Local), Some(Durability::Peer)]);
}

#[test]
fn that_something_ended_waits_for_another_host_too() {
    let Bed { courier, mut parcels, view, .. } = bed();
    let Fact::Held(ended) = store::sample::held(11, 4, 10).fact else { panic!("no allocation") };
    view.apply(&[store::sample::held(12, 4, 20)]);
    let (waiter, mut arrives) = job(vec![Ok(Ok(Reply::Released(ended)))]);
    courier.send(vec![waiter], &view);
    let parcel = parcels.try_recv().expect("it waits");
    assert_eq!(parcel.through(), Seq(12), "the whole group");
    assert!(arrives.try_recv().is_err());
    parcel.leave(Durability::Peer);
    assert!(arrives.try_recv().is_ok());
}

#[test]
fn what_waited_in_vain_says_so() {
    let Bed { courier, mut parcels, view, .. } = bed();
    let (waiter, mut arrives) = job(vec![allocated(12, 4)]);
    courier.send(vec![waiter], &view);
    parcels.try_recv().expect("it waits").leave(Durability::Local);
    assert_eq!(durabilities(&arrives.try_recv().expect("sent")), [Some(Durability::Local)]);
}

#[test]
fn a_shard_that_is_lost_while_its_answer_waits_is_not_answered_for() {
    let Bed { standing, courier, mut parcels, view } = bed();
    let (waiter, mut arrives) = job(vec![allocated(12, 4), allocated(13, 1)]);
    courier.send(vec![waiter], &view);
    standing.hear(&tenure(4, 2, Tenure::Theirs(kernel::MemberId(2))));
    parcels.try_recv().expect("it waits").leave(Durability::Peer);
    let outcomes = arrives.try_recv().expect("sent");
    assert!(matches!(outcomes.as_slice(), [Err(EngineError::OwnerChanged), Ok(Ok(_))]), "{outcomes:?}");
}

#[test]
fn nothing_waits_without_another_host_or_when_nobody_carries_it() {
    let Bed { standing, courier, mut parcels, view } = bed();
    standing.set_others(false);
    let (waiter, mut arrives) = job(vec![allocated(12, 4)]);
    courier.send(vec![waiter], &view);
    assert!(parcels.try_recv().is_err());
    assert_eq!(durabilities(&arrives.try_recv().expect("sent")), [Some(Durability::Local)]);
    standing.set_others(true);
    drop(parcels);
    let (waiter, mut arrives) = job(vec![allocated(13, 4)]);
    courier.send(vec![waiter], &view);
    assert_eq!(durabilities(&arrives.try_recv().expect("sent")), [Some(Durability::Local)]);
}
