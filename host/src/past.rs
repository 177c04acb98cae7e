//! Past holders, from the store to the API.

use std::sync::Arc;

use api::ports::{History, HistoryAnswer, HistoryEntry};
use kernel::{PoolUid, RealmUid, Resting, Span};
use store::{HistoryQuery, Reader};

/// The store's history as the API asks for it.
#[derive(Debug)]
pub(crate) struct Past(pub Reader);

impl History for Past {
    fn holders(
        &self,
        pool: PoolUid,
        realm: RealmUid,
        position: u128,
        at_ms: Option<u64>,
        limit: usize,
    ) -> Result<HistoryAnswer, String> {
        let span = Span::new(position, 1).ok_or("the position is not on the line")?;
        let query = HistoryQuery { pool, realm, span, at_ms, limit };
        let answer = self.0.history(&query).map_err(|error| error.to_string())?;
        let entries = answer.ended.iter().map(entry).collect();
        Ok(HistoryAnswer { entries, history_from_ms: answer.from_ms })
    }
}

fn entry(ended: &Arc<Resting>) -> HistoryEntry {
    HistoryEntry {
        pool: ended.pool,
        realm: ended.realm,
        span: ended.span,
        name: ended.name.clone(),
        subscriber: ended.subscriber.clone(),
        key: ended.key.clone(),
        node: ended.node.as_ref().map(ToString::to_string),
        from_ms: ended.created_ms,
        to_ms: ended.ended_ms,
        cause: ended.cause,
    }
}
