//! Requests and their answers, ours and those of peers.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use libp2p::request_response::{self, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Task;
use crate::channel::Channel;
use crate::conduct::Fault;
use crate::error::RequestError;
use crate::event::{NetEvent, Replier};
use crate::frame::{Answer, Question, Unreadable, Verdict};
use crate::gate::GateEvent;
use crate::handle::{RequestReply, Response};
use crate::limits;
use crate::peer::PeerId;

type Event = request_response::Event<Question, Answer>;

/// What is under way: bounded by channel and peer.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    asking: HashMap<(Channel, OutboundRequestId), Asking>,
    asked: HashMap<(Channel, InboundRequestId), PeerId>,
}

#[derive(Debug)]
struct Asking {
    to: PeerId,
    body_bytes: u64,
    reply: RequestReply,
}

/// The owner's answer to a peer's request, or that there is none in time.
#[derive(Debug)]
pub(super) struct Answered {
    channel: Channel,
    back: ResponseChannel<Answer>,
    answer: Answer,
}

impl Task {
    pub(super) fn ask(&mut self, to: PeerId, channel: Channel, body: Bytes, deadline: Instant, reply: RequestReply) {
        let refusal = if !self.peers.contains(to) {
            Some(RequestError::Unreachable)
        } else if channel != Channel::Hello && !self.allowed.contains(&to) {
            Some(RequestError::Refused)
        } else if !self.peers.begin_asking(to, channel) {
            Some(RequestError::Busy)
        } else {
            None
        };
        if let Some(error) = refusal {
            // Nobody waits if the future was dropped; so below.
            let _ = reply.send(Err(error));
            return;
        }
        let body_bytes = body.len() as u64;
        let question = Question { major: 0, deadline, body: Ok(body) };
        let id = self.swarm.behaviour_mut().exchange(channel).send_request(&to.0, question);
        self.exchanges.asking.insert((channel, id), Asking { to, body_bytes, reply });
    }

    pub(super) fn on_gated(&mut self, channel: Channel, event: GateEvent<Event>) {
        match event {
            GateEvent::Inner(event) => self.on_exchange(channel, event),
            GateEvent::Refused { peer } => {
                self.counters.refused_not_allowed.count();
                // A host that has just started cannot tell members from others yet: those that have allowed it long since
                // ask it at once, and would be cut off for it.
                if !self.allowed.is_empty() {
                    self.fault(PeerId(peer), Fault::NotAllowed);
                }
            }
        }
    }

    pub(super) fn on_exchange(&mut self, channel: Channel, event: Event) {
        match event {
            Event::Message {
                peer,
                connection_id,
                message: Message::Request { request_id, request, channel: back },
            } => {
                self.peers.heard(PeerId(peer), connection_id, Instant::now());
                self.on_question(PeerId(peer), channel, request_id, request, back);
            }
            Event::Message { peer, connection_id, message: Message::Response { request_id, response } } => {
                self.peers.heard(PeerId(peer), connection_id, Instant::now());
                let Some(asking) = self.end_asking(channel, request_id) else { return };
                let result = match response.verdict {
                    Verdict::Body(body) => Ok(Response { body, major: response.major }),
                    Verdict::Refused => Err(RequestError::Refused),
                    Verdict::Busy => Err(RequestError::Busy),
                    Verdict::TooLarge => {
                        let (found_bytes, most_bytes) = (asking.body_bytes, channel.body_bytes());
                        Err(RequestError::TooLarge { channel, found_bytes, most_bytes })
                    }
                    Verdict::TooLate => Err(RequestError::TimedOut),
                };
                let _ = asking.reply.send(result);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                let error = self.judge_failure(PeerId(peer), &error);
                if let Some(asking) = self.end_asking(channel, request_id) {
                    let _ = asking.reply.send(Err(error));
                }
            }
            Event::InboundFailure { request_id, .. } | Event::ResponseSent { request_id, .. } => {
                if let Some(peer) = self.exchanges.asked.remove(&(channel, request_id)) {
                    self.peers.end_asked(peer, channel);
                }
            }
        }
    }

    /// Nobody waits any longer for a peer that is gone, and what it asked counts no more when it comes back.
    pub(super) fn give_up(&mut self, peer: PeerId) {
        self.exchanges.asked.retain(|_, from| *from != peer);
        for (_, asking) in self.exchanges.asking.extract_if(|_, asking| asking.to == peer) {
            // Whoever asked may have gone; so above.
            let _ = asking.reply.send(Err(RequestError::Unreachable));
        }
    }

    fn end_asking(&mut self, channel: Channel, id: OutboundRequestId) -> Option<Asking> {
        let asking = self.exchanges.asking.remove(&(channel, id))?;
        self.peers.end_asking(asking.to, channel);
        Some(asking)
    }

    fn judge_failure(&mut self, peer: PeerId, error: &OutboundFailure) -> RequestError {
        match error {
            OutboundFailure::Timeout => RequestError::TimedOut,
            OutboundFailure::UnsupportedProtocols => RequestError::Refused,
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::TimedOut => RequestError::TimedOut,
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.counters.malformed_responses.count();
                self.fault(peer, Fault::Rubbish);
                RequestError::Refused
            }
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => {
                RequestError::Unreachable
            }
        }
    }

    fn on_question(
        &mut self,
        peer: PeerId,
        channel: Channel,
        id: InboundRequestId,
        question: Question,
        back: ResponseChannel<Answer>,
    ) {
        let major = question.major;
        let verdict = match question.body {
            Ok(body) => match self.admit(peer, channel) {
                Ok(()) => {
                    self.exchanges.asked.insert((channel, id), peer);
                    self.hand_over(peer, channel, major, body, question.deadline, back);
                    return;
                }
                Err(verdict) => verdict,
            },
            Err(unreadable) => self.judge_unreadable(peer, unreadable),
        };
        self.send_back(channel, back, Answer { major, verdict });
    }

    fn judge_unreadable(&mut self, peer: PeerId, unreadable: Unreadable) -> Verdict {
        match unreadable {
            Unreadable::TooLarge => {
                self.counters.refused_too_large.count();
                self.fault(peer, Fault::Rubbish);
                Verdict::TooLarge
            }
            Unreadable::Malformed => {
                self.counters.malformed_requests.count();
                self.fault(peer, Fault::Rubbish);
                Verdict::Refused
            }
            // An honest peer does that too, when its caller ran out of time.
            Unreadable::Cut => {
                self.counters.malformed_requests.count();
                self.fault(peer, Fault::TooMuch);
                Verdict::TooLate
            }
        }
    }

    /// Whether the owner is asked. If so, the request has a place, which [`Exchanges`] gives back.
    fn admit(&mut self, peer: PeerId, channel: Channel) -> Result<(), Verdict> {
        // It was taken to be gone while its connection closes.
        if !self.peers.contains(peer) {
            return Err(Verdict::Busy);
        }
        if channel == Channel::Hello {
            if !self.peers.may_say_hello(peer, Instant::now()) {
                self.counters.refused_busy.count();
                self.fault(peer, Fault::TooMuch);
                return Err(Verdict::Busy);
            }
        } else if !self.allowed.contains(&peer) {
            // It was allowed when the stream was opened.
            self.counters.refused_not_allowed.count();
            return Err(Verdict::Refused);
        }
        if self.peers.present(peer) {
            self.outbox.changed(peer);
        }
        let needed = match channel {
            Channel::State => limits::EVENTS_LEFT_FOR_STATE,
            Channel::Hello | Channel::Ledger | Channel::Route => limits::EVENTS_LEFT_FOR_REQUESTS,
        };
        // The owner hears of the peer before it hears what the peer asks.
        if self.outbox.capacity() < needed || !self.outbox.tell(peer, &self.peers) {
            self.counters.refused_owner_slow.count();
            return Err(Verdict::Busy);
        }
        if !self.peers.begin_asked(peer, channel) {
            self.counters.refused_busy.count();
            self.fault(peer, Fault::TooMuch);
            return Err(Verdict::Busy);
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        peer: PeerId,
        channel: Channel,
        major: u32,
        body: Bytes,
        deadline: Instant,
        back: ResponseChannel<Answer>,
    ) {
        let (reply, verdict) = oneshot::channel();
        let left = deadline.saturating_duration_since(Instant::now());
        let event = NetEvent::Request { peer, channel, major, body, left, reply: Replier(reply) };
        if !self.outbox.offer(event) {
            self.counters.refused_owner_slow.count();
            self.send_back(channel, back, Answer { major, verdict: Verdict::Busy });
            return;
        }
        self.counters.requests_received.count();
        self.owed.push(Box::pin(async move {
            let verdict = match timeout_at(deadline, verdict).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(_)) => Verdict::Refused,
                Err(_) => Verdict::TooLate,
            };
            Answered { channel, back, answer: Answer { major, verdict } }
        }));
    }

    pub(super) fn on_answered(&mut self, answered: Answered) {
        let Answered { channel, back, mut answer } = answered;
        match &answer.verdict {
            Verdict::Body(body) if body.len() > channel.body_bytes() => {
                let (bytes, most) = (body.len(), channel.body_bytes());
                tracing::error!(%channel, bytes, most, "an answer is too large for its channel, the peer is refused");
                answer.verdict = Verdict::Refused;
            }
            Verdict::TooLate => self.counters.answered_late.count(),
            Verdict::Body(_) | Verdict::Refused | Verdict::Busy | Verdict::TooLarge => {}
        }
        self.send_back(channel, back, answer);
    }

    fn send_back(&mut self, channel: Channel, back: ResponseChannel<Answer>, answer: Answer) {
        // An error means that the connection or the request is gone, and an event tells so.
        let _ = self.swarm.behaviour_mut().exchange(channel).send_response(back, answer);
    }
}
