use std::sync::Arc;

use kernel::{Fact, MemberId, ShardTenure};

use super::*;

/// What is handed out from shard 0 of pool 1 in its first epoch.
fn held() -> Arc<Allocation> {
    let Fact::Held(held) = store::sample::held(5, 1, 10).fact else { panic!("no allocation") };
    held
}

/// Shard 0 of a pool is somebody's from now on.
pub(in crate::driver) fn tenure(pool: u32, epoch: u32, tenure: Tenure) -> News {
    let tenure = ShardTenure {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        tenure,
        leased: tenure == Tenure::Leased,
        after: None,
        doubtful: false,
    };
    News::Tenures { pool: PoolUid(pool), tenures: vec![tenure] }
}

fn told(standing: &Standing, epoch: u32, of: Tenure) {
    standing.hear(&tenure(1, epoch, of));
}

/// Whether (a new allocation, a repeat, a renewal, a release) of the first epoch may be answered.
fn stands(standing: &Standing, boot_ms: u64) -> [bool; 4] {
    let durability = Durability::Local;
    let [new, again, renewed, released] = std::array::from_fn(|_| held());
    [
        Reply::Allocated { allocation: new, created: true, durability },
        Reply::Allocated { allocation: again, created: false, durability },
        Reply::Renewed { allocation: renewed, durability },
        Reply::Released(released),
    ]
    .map(|reply| standing.stands(&reply, boot_ms))
}

#[test]
fn nothing_is_answered_from_a_shard_that_is_not_known_to_be_ours() {
    let standing = Standing::default();
    assert_eq!(stands(&standing, 0), [false; 4]);
    told(&standing, 1, Tenure::Escrow);
    assert_eq!(stands(&standing, 0), [true; 4]);
    told(&standing, 2, Tenure::Theirs(MemberId(2)));
    assert_eq!(stands(&standing, 0), [false; 4]);
    standing.hear(&News::PoolGone(PoolUid(1)));
    assert_eq!(stands(&standing, 0), [false; 4]);
}

#[test]
fn an_older_word_changes_nothing() {
    let standing = Standing::default();
    told(&standing, 2, Tenure::Theirs(MemberId(2)));
    told(&standing, 1, Tenure::Escrow);
    assert_eq!(stands(&standing, 0), [false; 4]);
}

#[test]
fn what_was_handed_out_in_a_former_term_is_not_new_in_this_one() {
    let standing = Standing::default();
    told(&standing, 3, Tenure::Escrow);
    assert_eq!(stands(&standing, 0), [false, true, true, true]);
}

#[test]
fn a_shard_that_is_given_away_still_answers_for_what_was_handed_out() {
    let standing = Standing::default();
    told(&standing, 1, Tenure::Kept);
    assert_eq!(stands(&standing, 0), [true; 4]);
}

#[test]
fn nothing_of_a_leased_shard_leaves_after_the_node_lease() {
    let standing = Standing::default();
    told(&standing, 1, Tenure::Leased);
    assert_eq!(stands(&standing, 0), [false; 4]);
    standing.hear(&News::NodeLease { until_ms: 1_000 });
    assert_eq!(stands(&standing, 999), [true; 4]);
    assert_eq!(stands(&standing, 1_000), [false; 4]);
}

#[test]
fn a_pool_that_chooses_nothing_waits_where_there_are_others() {
    let standing = Standing::default();
    let all = [None, Some(Durability::Local), Some(Durability::Peer)];
    assert_eq!(all.map(|ack| standing.wants(ack)), [Durability::Local; 3]);
    standing.set_others(true);
    let wanted = [Durability::Peer, Durability::Local, Durability::Peer];
    assert_eq!(all.map(|ack| standing.wants(ack)), wanted);
}
