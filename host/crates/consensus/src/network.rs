//! openraft's view of the transport. Whatever goes wrong there is `Unreachable` to it, so that it waits before it tries
//! again instead of at once.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, SnapshotSegmentId};

use crate::raft::Types;
use crate::record::{Entry, InvalidRecord, LogId, SnapshotMeta, Vote, maybe_raft};
use crate::transport::{self, Peer, Transport};
use crate::wire::{self, Answer, Envelope, Message};

type Failed<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// Makes the connection to each member.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) me: u64,
    pub(crate) transport: Arc<dyn Transport>,
    /// How long to leave an unreachable member alone.
    pub(crate) pause: Duration,
}

impl Network {
    /// One message to a member, and its answer. The time limit holds whatever the transport does.
    pub(crate) async fn call(
        &self,
        to: Peer,
        message: Message,
        within: Duration,
    ) -> Result<Answer, transport::Unreachable> {
        let lost = |why: String| transport::Unreachable { why };
        let body = wire::encode(&Envelope { from: self.me, to: to.member, message });
        let call = self.transport.call(to, body, within);
        let answer =
            tokio::time::timeout(within, call).await.map_err(|_| lost(format!("no answer in {within:?}")))??;
        wire::decode(&answer).map_err(lost)
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Line;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Line {
        Line { to: Peer { member: target, address: node.addr.clone() }, network: self.clone() }
    }
}

/// To one member.
pub(crate) struct Line {
    to: Peer,
    network: Network,
}

fn unreachable<E: std::error::Error>(why: String) -> Failed<E> {
    RPCError::Unreachable(Unreachable::new(&transport::Unreachable { why }))
}

fn invalid<E: std::error::Error>(why: &InvalidRecord) -> Failed<E> {
    unreachable(format!("the answer makes no sense: {why}"))
}

impl Line {
    async fn call<E: std::error::Error>(&self, message: Message, option: &RPCOption) -> Result<Answer, Failed<E>> {
        let answer = self.network.call(self.to.clone(), message, option.hard_ttl()).await;
        answer.map_err(|lost| unreachable(lost.why))
    }

    /// An answer to another question than ours, or none.
    fn unexpected<E: std::error::Error>(&self, answer: &Answer) -> Failed<E> {
        unreachable(format!("member {} answered {answer:?}", self.to.member))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "answers to other questions are one case, whichever they are")]
impl RaftNetwork<Types> for Line {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed> {
        let message = Message::Append {
            vote: Vote::of(&rpc.vote),
            previous: rpc.prev_log_id.as_ref().map(LogId::of),
            entries: rpc.entries.iter().map(Entry::of).collect(),
            committed: rpc.leader_commit.as_ref().map(LogId::of),
        };
        match self.call(message, &option).await? {
            Answer::Appended => Ok(AppendEntriesResponse::Success),
            Answer::AppendedUpTo(id) => {
                Ok(AppendEntriesResponse::PartialSuccess(maybe_raft(id).map_err(|why| invalid(&why))?))
            }
            Answer::AppendConflict => Ok(AppendEntriesResponse::Conflict),
            Answer::HigherVote(vote) => {
                Ok(AppendEntriesResponse::HigherVote(vote.to_raft().map_err(|why| invalid(&why))?))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<InstallSnapshotError>> {
        let part = |offset| SnapshotSegmentId { id: rpc.meta.snapshot_id.clone(), offset };
        let mismatch = SnapshotMismatch { expect: part(0), got: part(rpc.offset) };
        let message = Message::Snapshot {
            vote: Vote::of(&rpc.vote),
            meta: SnapshotMeta::of(&rpc.meta),
            offset: rpc.offset,
            bytes: rpc.data,
            done: rpc.done,
        };
        match self.call(message, &option).await? {
            Answer::SnapshotTaken { vote } => {
                Ok(InstallSnapshotResponse { vote: vote.to_raft().map_err(|why| invalid(&why))? })
            }
            Answer::SnapshotRestart => {
                let source = RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch));
                Err(RPCError::RemoteError(RemoteError::new(self.to.member, source)))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, Failed> {
        let message = Message::Vote { vote: Vote::of(&rpc.vote), last: rpc.last_log_id.as_ref().map(LogId::of) };
        match self.call(message, &option).await? {
            Answer::Voted { vote, granted, last } => Ok(VoteResponse {
                vote: vote.to_raft().map_err(|why| invalid(&why))?,
                vote_granted: granted,
                last_log_id: maybe_raft(last).map_err(|why| invalid(&why))?,
            }),
            other => Err(self.unexpected(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.pause))
    }
}
