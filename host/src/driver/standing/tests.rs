use kernel::{Epoch, PoolUid, ShardId, ShardTenure, Tenure};

use super::*;

/// Shard 0 of a pool is somebody's from now on.
pub(in crate::driver) fn tenure(pool: u32, epoch: u32, tenure: Tenure) -> News {
    let tenure = ShardTenure {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        tenure,
        leased: tenure == Tenure::Leased,
        doubtful: false,
    };
    News::Tenures { pool: PoolUid(pool), tenures: vec![tenure] }
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
