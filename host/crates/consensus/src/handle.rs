//! One message of a peer. Whatever it says, the answer is a message too: what openraft would trip over is refused here.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};

use crate::ask::MAX_ENTRY_BYTES;
use crate::consensus::Consensus;
use crate::raft::{self, Types};
use crate::record::{Entry, InvalidRecord, LogId, SnapshotMeta, Vote, maybe_raft};
use crate::wire::{self, Answer, Ask, Asked, Envelope, Message};

/// The largest snapshot that is received, in bytes: it is in memory until it is complete.
const SNAPSHOT_LIMIT: u64 = 1 << 30;

/// How far the snapshot that is being received came. A part must not leave a gap, which would be filled with zeros.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    name: String,
    next: u64,
}

impl Receiving {
    /// Whether a part may follow what came before it; the first part begins anew.
    fn follows(&mut self, name: &str, offset: u64, bytes: usize) -> bool {
        if offset != 0 && (name != self.name || offset > self.next) {
            return false;
        }
        name.clone_into(&mut self.name);
        self.next = offset.saturating_add(bytes as u64);
        true
    }
}

fn refused(why: &InvalidRecord) -> Answer {
    Answer::Refused(why.to_string())
}

impl Consensus {
    /// Takes one message of a peer, as its [`crate::Transport`] was given it, and returns the answer to send back. What
    /// cannot be read, or is for another member, is answered with an error.
    pub async fn handle(&self, body: Vec<u8>) -> Vec<u8> {
        let answer = match wire::decode::<Envelope>(&body) {
            Err(why) => Answer::Refused(why),
            Ok(Envelope { to, .. }) if to != self.inner.me => {
                Answer::Refused(format!("the message is for member {to}, but this is member {}", self.inner.me))
            }
            Ok(Envelope { message, .. }) => self.answer(message).await,
        };
        wire::encode(&answer)
    }

    async fn answer(&self, message: Message) -> Answer {
        let answer = match message {
            Message::Append { vote, previous, entries, committed } => {
                self.on_append(vote, previous, entries, committed).await
            }
            Message::Vote { vote, last } => self.on_vote(vote, last).await,
            Message::Snapshot { vote, meta, offset, bytes, done } => {
                self.on_snapshot(vote, &meta, offset, bytes, done).await
            }
            Message::Ask { ask, within_ms } => Ok(self.on_ask(ask, Duration::from_millis(within_ms)).await),
        };
        answer.unwrap_or_else(|why| refused(&why))
    }

    async fn on_append(
        &self,
        vote: Vote,
        previous: Option<LogId>,
        entries: Vec<Entry>,
        committed: Option<LogId>,
    ) -> Result<Answer, InvalidRecord> {
        let vote = leaders(vote)?;
        let entries = entries.into_iter().map(Entry::into_raft).collect::<Result<Vec<_>, _>>()?;
        let previous = maybe_raft(previous)?;
        check_order(previous, &entries)?;
        let request = AppendEntriesRequest::<Types> {
            vote,
            prev_log_id: previous,
            entries,
            leader_commit: maybe_raft(committed)?,
        };
        Ok(match self.inner.raft.append_entries(request).await {
            Ok(AppendEntriesResponse::Success) => Answer::Appended,
            Ok(AppendEntriesResponse::PartialSuccess(id)) => Answer::AppendedUpTo(id.as_ref().map(LogId::of)),
            Ok(AppendEntriesResponse::Conflict) => Answer::AppendConflict,
            Ok(AppendEntriesResponse::HigherVote(vote)) => Answer::HigherVote(Vote::of(&vote)),
            Err(why) => Answer::Stopped(why.to_string()),
        })
    }

    async fn on_vote(&self, vote: Vote, last: Option<LogId>) -> Result<Answer, InvalidRecord> {
        let request = VoteRequest::new(vote.to_raft()?, maybe_raft(last)?);
        Ok(match self.inner.raft.vote(request).await {
            Ok(response) => Answer::Voted {
                vote: Vote::of(&response.vote),
                granted: response.vote_granted,
                last: response.last_log_id.as_ref().map(LogId::of),
            },
            Err(why) => Answer::Stopped(why.to_string()),
        })
    }

    async fn on_snapshot(
        &self,
        vote: Vote,
        meta: &SnapshotMeta,
        offset: u64,
        bytes: Vec<u8>,
        done: bool,
    ) -> Result<Answer, InvalidRecord> {
        let (vote, meta) = (leaders(vote)?, meta.to_raft()?);
        let end = offset.saturating_add(bytes.len() as u64);
        if end > SNAPSHOT_LIMIT {
            return Err(InvalidRecord { field: "snapshot", value: format!("{end} bytes"), must: "at most 1 GiB" });
        }
        // Held to the end, so that parts are taken in the order in which they were looked at.
        let mut receiving = self.inner.receiving.lock().await;
        if !receiving.follows(&meta.snapshot_id, offset, bytes.len()) {
            return Ok(Answer::SnapshotRestart);
        }
        let request = InstallSnapshotRequest::<Types> { vote, meta, offset, data: bytes, done };
        Ok(match self.inner.raft.install_snapshot(request).await {
            Ok(response) => Answer::SnapshotTaken { vote: Vote::of(&response.vote) },
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(_))) => Answer::SnapshotRestart,
            Err(RaftError::Fatal(why)) => Answer::Stopped(why.to_string()),
        })
    }

    async fn on_ask(&self, ask: Ask, within: Duration) -> Answer {
        if let Ask::Propose(entry) = &ask
            && entry.len() > MAX_ENTRY_BYTES
        {
            let why = format!("the entry has {} bytes, but must have at most {MAX_ENTRY_BYTES}", entry.len());
            return Answer::Asked(Asked::Refused(why));
        }
        let Ok(_permit) = self.inner.asks.try_acquire() else {
            return Answer::Asked(Asked::Busy("too many asks are under way at the leader".to_owned()));
        };
        // A peer that asks for more gives up long before.
        let within = within.min(Duration::from_mins(10));
        Answer::Asked(self.lead(ask, within).await)
    }
}

/// The vote of somebody who was elected, which alone may send entries and snapshots.
fn leaders(vote: Vote) -> Result<raft::Vote, InvalidRecord> {
    if vote.committed {
        return vote.to_raft();
    }
    Err(InvalidRecord { field: "vote", value: format!("{vote:?}"), must: "a leader's, which a majority granted" })
}

/// Entries follow each other and what they are said to follow.
fn check_order(previous: Option<raft::LogId>, entries: &[raft::Entry]) -> Result<(), InvalidRecord> {
    let mut before = previous;
    for entry in entries {
        let id = entry.log_id;
        if id.index != before.map_or(0, |before| before.index + 1) || Some(id) <= before {
            return Err(InvalidRecord { field: "entry", value: id.to_string(), must: "right after the one before it" });
        }
        before = Some(id);
    }
    Ok(())
}
