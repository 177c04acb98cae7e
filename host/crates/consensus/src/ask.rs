//! What only a leader can do, asked for anywhere: proposals and reads. Finding the leader and forwarding to it is ours.
//!
//! An ask is handed to a leader again only if the last one surely did nothing with it. So no entry is proposed twice
//! behind the caller's back.

use std::time::Duration;

use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use tokio::time::Instant;

use crate::consensus::Consensus;
use crate::error::ProposeError;
use crate::state::{leader, majority_silent};
use crate::wire::{Answer, Ask, Asked, Message};

/// The largest entry that is taken, in bytes.
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// A committed and applied entry: its index in the log, and what the machine said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub index: u64,
    pub bytes: Vec<u8>,
}

impl Consensus {
    /// Appends an entry to the log, from any member. Returns once it is committed and applied by this member's machine.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; [`ProposeError::outcome_unknown`] tells whether it may be committed all the same.
    pub async fn propose(&self, entry: Vec<u8>, within: Duration) -> Result<Outcome, ProposeError> {
        if entry.len() > MAX_ENTRY_BYTES {
            let why = format!("the entry has {} bytes, but must have at most {MAX_ENTRY_BYTES}", entry.len());
            return Err(ProposeError::Refused { why });
        }
        let until = Instant::now() + within;
        let outcome = self.ask(Ask::Propose(entry), until).await?;
        self.applied(outcome.index, until).await?;
        Ok(outcome)
    }

    /// Waits until this member has applied everything that was committed anywhere when this was called. What its machine
    /// shows then is no older than that. Returns how far that was.
    ///
    /// # Errors
    ///
    /// If there is no leader with a majority, or this member did not catch up in time.
    pub async fn read_barrier(&self, within: Duration) -> Result<u64, ProposeError> {
        let until = Instant::now() + within;
        let Outcome { index, .. } = self.ask(Ask::Read, until).await?;
        self.applied(index, until).await?;
        Ok(index)
    }

    /// Waits until this member's machine has seen an entry.
    pub(crate) async fn applied(&self, index: u64, until: Instant) -> Result<(), ProposeError> {
        let mut state = self.inner.state.clone();
        let wait = state.wait_for(|state| state.failure.is_some() || state.applied >= Some(index));
        match tokio::time::timeout_at(until, wait).await {
            Err(_) => Err(ProposeError::TimedOut),
            Ok(Ok(state)) => match &state.failure {
                None => Ok(()),
                Some(why) => Err(ProposeError::Stopped { why: why.clone() }),
            },
            Ok(Err(_)) => Err(ProposeError::Stopped { why: "it was told to".to_owned() }),
        }
    }

    /// Finds the leader and has it do what is asked.
    pub(crate) async fn ask(&self, ask: Ask, until: Instant) -> Result<Outcome, ProposeError> {
        let Ok(_permit) = self.inner.asks.try_acquire() else {
            return Err(ProposeError::Refused { why: "too many asks are under way".to_owned() });
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let why_not = match self.leader_or_why() {
                Err(why) => why,
                Ok(to) if to.member == self.inner.me => match self.ask_here(ask.clone(), left).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(Next::Fail(why)) => return Err(why),
                    Err(Next::Again(why)) => why,
                },
                Ok(to) => {
                    let leader = to.member;
                    match self.ask_there(to, ask.clone(), left).await {
                        Ok(outcome) => return Ok(outcome),
                        Err(Next::Fail(why)) => return Err(why),
                        Err(Next::Again(why)) => {
                            tracing::debug!(peer = leader, %why, "asking again");
                            why
                        }
                    }
                }
            };
            let pause = self.inner.settings.heartbeat / 4;
            if left <= pause {
                return Err(why_not);
            }
            let mut state = self.inner.state.clone();
            state.mark_unchanged();
            // Something changed, or a moment passed: either way it is worth another look.
            if let Ok(Err(_)) = tokio::time::timeout(pause, state.changed()).await {
                return Err(ProposeError::Stopped { why: "it was told to".to_owned() });
            }
        }
    }

    fn leader_or_why(&self) -> Result<crate::transport::Peer, ProposeError> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        let lost_after = self.inner.settings.leader_lost_after();
        if majority_silent(&metrics, lost_after) {
            return Err(ProposeError::NoMajority { leader: self.inner.me });
        }
        leader(&metrics, lost_after).ok_or(ProposeError::NoLeader)
    }

    async fn ask_here(&self, ask: Ask, within: Duration) -> Result<Outcome, Next> {
        self.lead(ask, within).await.into_outcome(self.inner.me)
    }

    async fn ask_there(&self, to: crate::transport::Peer, ask: Ask, within: Duration) -> Result<Outcome, Next> {
        let leader = to.member;
        let harmless = ask == Ask::Read;
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        match self.inner.network.call(to, Message::Ask { ask, within_ms }, within).await {
            Ok(Answer::Asked(asked)) => asked.into_outcome(leader),
            // Not the member we meant, or one of another version: it has not even looked at it.
            Ok(Answer::Refused(why)) => Err(Next::Fail(ProposeError::Refused { why })),
            // It may have been told to stop after it had done it.
            Ok(Answer::Stopped(why)) => Err(Next::Fail(ProposeError::LeaderLost { leader, why })),
            Ok(other) => Err(Next::Fail(ProposeError::LeaderLost { leader, why: format!("it answered {other:?}") })),
            Err(_) if harmless => Err(Next::Again(ProposeError::NoLeader)),
            Err(lost) => Err(Next::Fail(ProposeError::LeaderLost { leader, why: lost.why })),
        }
    }

    /// Does what is asked if this member leads.
    pub(crate) async fn lead(&self, ask: Ask, within: Duration) -> Asked {
        if majority_silent(&self.inner.raft.metrics().borrow(), self.inner.settings.leader_lost_after()) {
            return Asked::NoMajority;
        }
        let work = async {
            match ask {
                Ask::Propose(entry) => self.lead_proposal(entry).await,
                Ask::Read => self.lead_read().await,
                Ask::Change(change) => self.lead_change(change).await,
            }
        };
        tokio::time::timeout(within, work).await.unwrap_or(Asked::Unfinished)
    }

    async fn lead_proposal(&self, entry: Vec<u8>) -> Asked {
        if let Err(why) = (self.inner.settings.admits)(&entry) {
            return Asked::Refused(why);
        }
        let truncations = self.inner.log.truncations();
        match self.inner.raft.client_write(entry).await {
            Ok(written) => Asked::Done { index: written.log_id.index, bytes: written.data },
            Err(RaftError::APIError(why)) => self.not_written(why, truncations),
            Err(RaftError::Fatal(why)) => Asked::Stopped(why.to_string()),
        }
    }

    /// An entry may be turned away at the door, or be dropped from our log later though another member still has it.
    pub(crate) fn not_written(
        &self,
        why: ClientWriteError<u64, openraft::BasicNode>,
        truncations_before: u64,
    ) -> Asked {
        match why {
            ClientWriteError::ForwardToLeader(_) if self.inner.log.truncations() == truncations_before => {
                Asked::NotLeader
            }
            ClientWriteError::ForwardToLeader(_) => Asked::Unfinished,
            ClientWriteError::ChangeMembershipError(openraft::error::ChangeMembershipError::InProgress(why)) => {
                Asked::Busy(why.to_string())
            }
            ClientWriteError::ChangeMembershipError(why) => Asked::Refused(why.to_string()),
        }
    }

    async fn lead_read(&self) -> Asked {
        match self.inner.raft.get_read_log_id().await {
            Ok((Some(id), _)) => Asked::Done { index: id.index, bytes: Vec::new() },
            Ok((None, _)) | Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => Asked::NotLeader,
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Asked::NoMajority,
            Err(RaftError::Fatal(why)) => Asked::Stopped(why.to_string()),
        }
    }
}

/// What to do about an ask that was not done.
pub(crate) enum Next {
    /// Nothing was done: it may be asked again while there is time, and this is the error when there is none.
    Again(ProposeError),
    Fail(ProposeError),
}

impl Asked {
    fn into_outcome(self, leader: u64) -> Result<Outcome, Next> {
        match self {
            Self::Done { index, bytes } => Ok(Outcome { index, bytes }),
            Self::NotLeader => Err(Next::Again(ProposeError::NoLeader)),
            Self::NoMajority => Err(Next::Again(ProposeError::NoMajority { leader })),
            Self::Busy(why) => Err(Next::Again(ProposeError::Refused { why })),
            Self::Refused(why) => Err(Next::Fail(ProposeError::Refused { why })),
            Self::Unfinished => Err(Next::Fail(ProposeError::TimedOut)),
            Self::Stopped(why) => Err(Next::Fail(ProposeError::Stopped { why })),
        }
    }
}
