//! How a request and its response look on a stream.
//!
//! A request is `1`, the milliseconds that are left (u32), the body's length (u32), the body. A response is a status, the
//! body's length (u32), the body; only an answer has one. Numbers are big-endian. A stream carries one of each.
//!
//! A length beyond the channel's bound is answered with a status and nothing of the body is read. Memory for a body grows
//! with what arrives, not with what was announced.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response;
use tokio::time::{Instant, timeout_at};

use crate::channel::{Channel, Protocol};
use crate::limits::LONGEST_REQUEST;

const REQUEST: u8 = 1;
/// How long a peer may take to send the first bytes of a request.
const HEADER_WITHIN: Duration = Duration::from_secs(5);
/// What a body is read in.
const CHUNK_BYTES: usize = 16 * 1024;

/// A request, sent or received.
#[derive(Debug)]
pub(crate) struct Question {
    /// As negotiated; of no meaning before it is sent.
    pub(crate) major: u32,
    pub(crate) deadline: Instant,
    pub(crate) body: Result<Bytes, Unreadable>,
}

/// A request that was not read, and is answered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge,
    Malformed,
    /// The stream ended, or time did, before the request was whole.
    Cut,
}

/// A response, sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) major: u32,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Body(Bytes),
    Refused,
    Busy,
    TooLarge,
    TooLate,
}

impl Verdict {
    const fn status(&self) -> u8 {
        match self {
            Self::Body(_) => 0,
            Self::Refused => 1,
            Self::Busy => 2,
            Self::TooLarge => 3,
            Self::TooLate => 4,
        }
    }
}

/// Reads and writes the frames of one channel. Each stream has its own.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    channel: Channel,
    /// When the request on this stream is over; set by whichever end knows it first.
    deadline: Option<Instant>,
}

impl Codec {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, deadline: None }
    }

    fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + LONGEST_REQUEST)
    }

    async fn read_question<T: AsyncRead + Unpin + Send>(&mut self, major: u32, io: &mut T) -> io::Result<Question> {
        let (mut kind, mut left_ms, mut announced) = ([0; 1], [0; 4], [0; 4]);
        let header = async {
            io.read_exact(&mut kind).await?;
            io.read_exact(&mut left_ms).await?;
            io.read_exact(&mut announced).await
        };
        within(Instant::now() + HEADER_WITHIN, header).await?;
        let left = Duration::from_millis(u32::from_be_bytes(left_ms).into()).min(LONGEST_REQUEST);
        let deadline = Instant::now() + left;
        self.deadline = Some(deadline);
        let announced = u32::from_be_bytes(announced);
        let body = if kind != [REQUEST] {
            Err(Unreadable::Malformed)
        } else if !self.fits(announced) {
            Err(Unreadable::TooLarge)
        } else {
            Ok(within(deadline, read_body(io, announced)).await?)
        };
        Ok(Question { major, deadline, body })
    }

    async fn read_answer<T: AsyncRead + Unpin + Send>(&mut self, major: u32, io: &mut T) -> io::Result<Answer> {
        let (mut status, mut announced) = ([0; 1], [0; 4]);
        io.read_exact(&mut status).await?;
        io.read_exact(&mut announced).await?;
        let announced = u32::from_be_bytes(announced);
        let [status] = status;
        let verdict = match (status, announced) {
            (0, _) if self.fits(announced) => Verdict::Body(read_body(io, announced).await?),
            (0, _) => return Err(invalid("the response is larger than its channel allows")),
            (1, 0) => Verdict::Refused,
            (2, 0) => Verdict::Busy,
            (3, 0) => Verdict::TooLarge,
            (4, 0) => Verdict::TooLate,
            _ => return Err(invalid("the response is no frame")),
        };
        Ok(Answer { major, verdict })
    }

    fn fits(&self, announced: u32) -> bool {
        usize::try_from(announced).is_ok_and(|bytes| bytes <= self.channel.body_bytes())
    }
}

impl request_response::Codec for Codec {
    type Protocol = Protocol;
    type Request = Question;
    type Response = Answer;

    async fn read_request<T>(&mut self, protocol: &Protocol, io: &mut T) -> io::Result<Question>
    where
        T: AsyncRead + Unpin + Send,
    {
        // A failure is a value too: the library tells nobody of errors while a request is read, and they count against
        // the peer.
        let major = protocol.major;
        let read = self.read_question(major, io).await;
        Ok(read.unwrap_or_else(|_| Question { major, deadline: Instant::now(), body: Err(Unreadable::Cut) }))
    }

    async fn read_response<T>(&mut self, protocol: &Protocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        // Nobody waits any longer than that, so the stream need not either.
        within(self.deadline(), self.read_answer(protocol.major, io)).await
    }

    async fn write_request<T>(&mut self, _: &Protocol, io: &mut T, question: Question) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.deadline = Some(question.deadline);
        let left = question.deadline.saturating_duration_since(Instant::now());
        let body = question.body.map_err(|_| invalid("a request that was not read cannot be sent"))?;
        let mut header = Vec::with_capacity(9);
        header.push(REQUEST);
        header.extend(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
        header.extend(length(&body)?);
        match within(question.deadline, write(io, &header, &body)).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            // The other end may have refused the request unread: then its verdict is there to be read.
            _ => Ok(()),
        }
    }

    async fn write_response<T>(&mut self, _: &Protocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let body = match &answer.verdict {
            Verdict::Body(body) => body.clone(),
            Verdict::Refused | Verdict::Busy | Verdict::TooLarge | Verdict::TooLate => Bytes::new(),
        };
        let mut header = Vec::with_capacity(5);
        header.push(answer.verdict.status());
        header.extend(length(&body)?);
        // A verdict that comes with the deadline should still get out.
        let until = self.deadline().max(Instant::now() + Duration::from_secs(1));
        within(until, write(io, &header, &body)).await
    }
}

/// Refuses a request of which nothing was read.
pub(crate) async fn refuse<T: AsyncWrite + Unpin>(mut io: T) {
    let refusal = [Verdict::Refused.status(), 0, 0, 0, 0];
    let until = Instant::now() + Duration::from_secs(1);
    // Whether it arrives or not, the request is refused.
    let _ = within(until, async {
        io.write_all(&refusal).await?;
        io.close().await
    })
    .await;
}

fn length(body: &Bytes) -> io::Result<[u8; 4]> {
    u32::try_from(body.len()).map(u32::to_be_bytes).map_err(|_| invalid("the body is larger than a frame"))
}

/// Small frames go out as one write, so they are one packet.
async fn write<T: AsyncWrite + Unpin>(io: &mut T, header: &[u8], body: &[u8]) -> io::Result<()> {
    if body.len() <= CHUNK_BYTES {
        io.write_all(&[header, body].concat()).await?;
    } else {
        io.write_all(header).await?;
        io.write_all(body).await?;
    }
    io.flush().await
}

async fn read_body<T: AsyncRead + Unpin>(io: &mut T, announced: u32) -> io::Result<Bytes> {
    let announced = usize::try_from(announced).map_err(|_| invalid("the body is larger than memory"))?;
    let mut body = Vec::with_capacity(announced.min(CHUNK_BYTES));
    io.take(announced as u64).read_to_end(&mut body).await?;
    if body.len() < announced {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body.into())
}

async fn within<O>(deadline: Instant, work: impl Future<Output = io::Result<O>>) -> io::Result<O> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;

    fn protocol() -> Protocol {
        Channel::Route.protocols(&[3]).remove(0)
    }

    async fn read(bytes: &[u8]) -> io::Result<Question> {
        Codec::new(Channel::Route).read_request(&protocol(), &mut Cursor::new(bytes)).await
    }

    async fn read_back(bytes: &[u8]) -> io::Result<Answer> {
        Codec::new(Channel::Route).read_response(&protocol(), &mut Cursor::new(bytes)).await
    }

    #[tokio::test]
    async fn a_request_arrives_with_its_body_and_the_time_that_is_left() {
        let deadline = Instant::now() + Duration::from_secs(7);
        let question = Question { major: 0, deadline, body: Ok(Bytes::from_static(b"who has it")) };
        let mut sent = Cursor::new(Vec::new());
        Codec::new(Channel::Route).write_request(&protocol(), &mut sent, question).await.unwrap();
        let read = read(&sent.into_inner()).await.unwrap();
        assert_eq!((read.major, read.body.unwrap()), (3, Bytes::from_static(b"who has it")));
        assert!(read.deadline <= Instant::now() + Duration::from_secs(7));
        assert!(read.deadline > Instant::now());
    }

    #[tokio::test]
    async fn every_verdict_arrives() {
        let body = Verdict::Body(Bytes::from_static(b"you"));
        for verdict in [body, Verdict::Refused, Verdict::Busy, Verdict::TooLarge, Verdict::TooLate] {
            let answer = Answer { major: 3, verdict };
            let mut sent = Cursor::new(Vec::new());
            Codec::new(Channel::Route).write_response(&protocol(), &mut sent, answer.clone()).await.unwrap();
            assert_eq!(read_back(&sent.into_inner()).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_refused_by_its_length_alone() {
        let most = u32::try_from(Channel::Route.body_bytes()).unwrap();
        let header = [&[REQUEST][..], &9u32.to_be_bytes(), &(most + 1).to_be_bytes()].concat();
        assert_eq!(read(&header).await.unwrap().body.unwrap_err(), Unreadable::TooLarge);
        let header = [&[0][..], &(most + 1).to_be_bytes()].concat();
        assert_eq!(read_back(&header).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn rubbish_is_an_error_or_malformed_and_a_cut_is_a_cut() {
        assert_eq!(read(&[7; 9]).await.unwrap().body.unwrap_err(), Unreadable::Malformed);
        assert_eq!(read(&[REQUEST, 0]).await.unwrap().body.unwrap_err(), Unreadable::Cut);
        let cut = [&[REQUEST][..], &999u32.to_be_bytes(), &5u32.to_be_bytes(), b"four"].concat();
        assert_eq!(read(&cut).await.unwrap().body.unwrap_err(), Unreadable::Cut);
        for rubbish in [[9, 0, 0, 0, 0], [1, 0, 0, 0, 1], [0xff; 5]] {
            assert_eq!(read_back(&rubbish).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
