//! A client that is fast enough to keep a broker busy, and expects it to die at any moment.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::{self, Fields, Id};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const BASIC_ACK: Id = (60, 80);
pub(crate) const BASIC_NACK: Id = (60, 120);
pub(crate) const BASIC_REJECT: Id = (60, 90);
pub(crate) const QOS_OK: Id = (60, 11);
pub(crate) const EXCHANGE_DECLARE: Id = (40, 10);
pub(crate) const EXCHANGE_DECLARE_OK: Id = (40, 11);
pub(crate) const EXCHANGE_DELETE: Id = (40, 20);
pub(crate) const EXCHANGE_DELETE_OK: Id = (40, 21);
pub(crate) const QUEUE_UNBIND: Id = (50, 50);
pub(crate) const QUEUE_UNBIND_OK: Id = (50, 51);
pub(crate) const QUEUE_PURGE: Id = (50, 30);
pub(crate) const QUEUE_PURGE_OK: Id = (50, 31);
pub(crate) const TX_SELECT: Id = (90, 10);
pub(crate) const TX_SELECT_OK: Id = (90, 11);
pub(crate) const TX_COMMIT: Id = (90, 20);
pub(crate) const TX_COMMIT_OK: Id = (90, 21);
pub(crate) const TX_ROLLBACK: Id = (90, 30);
pub(crate) const TX_ROLLBACK_OK: Id = (90, 31);

/// Why there is nothing more to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The broker's side of the socket is closed: it was killed, or it stops.
    Closed,
    /// The broker closed the channel, with this code and text.
    Channel(u16, String),
    /// What no broker that keeps its promises does.
    Fault(String),
}

impl From<std::io::Error> for Gone {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted => {
                Self::Closed
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Fault(format!("nothing happened for {PATIENCE:?}")),
            _ => Self::Fault(format!("the socket: {error}")),
        }
    }
}

pub(crate) type Heard<T> = Result<T, Gone>;

/// A method and the content that came with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) channel: u16,
    pub(crate) id: Id,
    pub(crate) arguments: Vec<u8>,
    /// Flags and values as on the wire.
    pub(crate) properties: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Event {
    fn has_content(&self) -> bool {
        matches!(self.id, wire::DELIVER | wire::RETURN | wire::GET_OK)
    }

    /// A delivery tag or confirmed number at the front, with the bit behind it (`multiple` of an ack).
    pub(crate) fn tag(&self) -> (u64, bool) {
        let tag = u64::from_be_bytes(*self.arguments.first_chunk().expect("a tag"));
        (tag, self.arguments.get(8).is_some_and(|bits| bits & 1 == 1))
    }

    /// Consumer tag, delivery tag and redelivered of basic.deliver.
    pub(crate) fn deliver(&self) -> (&str, u64, bool) {
        let end = 1 + usize::from(self.arguments[0]);
        let consumer = std::str::from_utf8(&self.arguments[1..end]).expect("a consumer tag is text");
        let tag = u64::from_be_bytes(*self.arguments[end..].first_chunk().expect("a delivery tag"));
        (consumer, tag, self.arguments[end + 8] == 1)
    }

    /// Messages that are ready, of queue.declare-ok.
    pub(crate) fn message_count(&self) -> u32 {
        let at = 1 + usize::from(self.arguments[0]);
        u32::from_be_bytes(*self.arguments[at..].first_chunk().expect("a count"))
    }
}

/// What is still missing of the content on a channel.
struct Partial {
    event: Event,
    missing: Option<u64>,
}

/// What a client reads from and writes to.
pub(crate) trait Socket: Send {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// Waits so long for something to read.
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> std::io::Result<usize>;
}

impl Socket for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> std::io::Result<usize> {
        self.set_read_timeout(Some(wait.max(Duration::from_micros(1))))?;
        Read::read(self, buffer)
    }
}

/// Where a broker serves.
pub(crate) trait Address: Send + Sync {
    /// A connection with the virtual host open.
    fn connect(&self) -> Heard<Client>;

    /// The same for somebody on a thread of their own.
    fn of_their_own(&self) -> Arc<dyn Address>;
}

impl Address for SocketAddr {
    fn connect(&self) -> Heard<Client> {
        let stream = TcpStream::connect(self)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Client::over(Box::new(stream));
        client.shake_hands()?;
        Ok(client)
    }

    fn of_their_own(&self) -> Arc<dyn Address> {
        Arc::new(*self)
    }
}

pub(crate) struct Client {
    socket: Box<dyn Socket>,
    /// Not sent yet.
    out: Vec<u8>,
    /// What is read at once.
    chunk: Vec<u8>,
    received: Vec<u8>,
    /// Of `received`.
    taken: usize,
    partial: Vec<Partial>,
    /// Passed by while something else was awaited.
    backlog: VecDeque<Event>,
}

impl Client {
    /// Over a socket on which nothing has been said.
    pub(crate) fn over(socket: Box<dyn Socket>) -> Self {
        let (chunk, received, out) = (vec![0; 64 * 1024], Vec::new(), Vec::new());
        Self { socket, out, chunk, received, taken: 0, partial: Vec::new(), backlog: VecDeque::new() }
    }

    fn shake_hands(&mut self) -> Heard<()> {
        self.out.extend(wire::HEADER);
        self.flush()?;
        self.await_reply(0, wire::START)?;
        self.out.extend(wire::start_ok("guest", "guest"));
        self.flush()?;
        self.await_reply(0, wire::TUNE)?;
        self.out.extend([wire::tune_ok(2047, 131_072, 0), wire::open()].concat());
        self.flush()?;
        self.await_open()
    }

    /// Until the virtual host is open.
    pub(crate) fn await_open(&mut self) -> Heard<()> {
        self.await_reply(0, wire::OPEN_OK).map(drop)
    }

    pub(crate) fn open_channel(&mut self, channel: u16) -> Heard<()> {
        self.call(channel, wire::CHANNEL_OPEN, &Fields::new().text(""), wire::CHANNEL_OPEN_OK).map(drop)
    }

    pub(crate) fn confirm_select(&mut self, channel: u16) -> Heard<()> {
        self.call(channel, wire::CONFIRM_SELECT, &Fields::new().byte(0), wire::CONFIRM_SELECT_OK).map(drop)
    }

    pub(crate) fn prefetch(&mut self, channel: u16, count: u16) -> Heard<()> {
        self.call(channel, wire::QOS, &Fields::new().long(0).short(count).byte(0), QOS_OK).map(drop)
    }

    /// With acknowledgements; the tag is the queue's name. `arguments` are the entries of a table.
    pub(crate) fn consume(&mut self, channel: u16, queue: &str, arguments: &[u8]) -> Heard<()> {
        let fields = Fields::new().short(0).text(queue).text(queue).byte(0).bytes(arguments);
        self.call(channel, wire::CONSUME, &fields, wire::CONSUME_OK).map(drop)
    }

    /// Messages of a queue that are ready; of one that does not exist, the channel's close.
    pub(crate) fn count(&mut self, channel: u16, queue: &str) -> Heard<u32> {
        let fields = Fields::new().short(0).text(queue).byte(1).bytes(&[]);
        Ok(self.call(channel, wire::QUEUE_DECLARE, &fields, wire::QUEUE_DECLARE_OK)?.message_count())
    }

    pub(crate) fn ack(&mut self, channel: u16, tag: u64, multiple: bool) {
        self.method(channel, BASIC_ACK, &Fields::new().longlong(tag).byte(u8::from(multiple)));
    }

    pub(crate) fn reject(&mut self, channel: u16, tag: u64, requeue: bool) {
        self.method(channel, BASIC_REJECT, &Fields::new().longlong(tag).byte(u8::from(requeue)));
    }

    /// Waits in the buffer for a flush.
    pub(crate) fn method(&mut self, channel: u16, id: Id, fields: &Fields) {
        self.out.extend(wire::method(channel, id, fields));
    }

    pub(crate) fn publish(&mut self, channel: u16, exchange: &str, key: &str, properties: &[u8], body: &[u8]) {
        self.method(channel, wire::PUBLISH, &Fields::new().short(0).text(exchange).text(key).byte(0));
        let mut header = Fields::new().short(60).short(0).longlong(body.len() as u64);
        header.0.extend(properties);
        self.out.extend(wire::frame(2, channel, &header.0));
        for part in body.chunks(131_064) {
            self.out.extend(wire::body(channel, part));
        }
    }

    /// Bytes that wait for a flush.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn flush(&mut self) -> Heard<()> {
        let sent = self.socket.write(&self.out);
        self.out.clear();
        Ok(sent?)
    }

    /// Sends a method and waits for its reply; what comes before it waits in the backlog.
    pub(crate) fn call(&mut self, channel: u16, id: Id, fields: &Fields, reply: Id) -> Heard<Event> {
        self.method(channel, id, fields);
        self.flush()?;
        self.await_reply(channel, reply)
    }

    fn await_reply(&mut self, channel: u16, reply: Id) -> Heard<Event> {
        let began = Instant::now();
        loop {
            let event = self.read_event()?;
            if event.channel == channel && event.id == reply {
                return Ok(event);
            }
            self.backlog.push_back(event);
            if began.elapsed() > PATIENCE {
                return Err(Gone::Fault(format!("no reply {reply:?} in {PATIENCE:?}")));
            }
        }
    }

    /// The next event, after a flush.
    pub(crate) fn event(&mut self) -> Heard<Event> {
        self.flush()?;
        match self.backlog.pop_front() {
            Some(event) => Ok(event),
            None => self.read_event(),
        }
    }

    /// The next event if it comes this soon, after a flush.
    pub(crate) fn event_within(&mut self, wait: Duration) -> Heard<Option<Event>> {
        self.flush()?;
        if let Some(event) = self.backlog.pop_front() {
            return Ok(Some(event));
        }
        loop {
            if let Some(event) = self.take_event()? {
                return Ok(Some(event));
            }
            match self.fill(wait) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                filled => filled?,
            }
        }
    }

    fn read_event(&mut self) -> Heard<Event> {
        loop {
            if let Some(event) = self.take_event()? {
                return Ok(event);
            }
            self.fill(PATIENCE)?;
        }
    }

    fn fill(&mut self, wait: Duration) -> std::io::Result<()> {
        self.received.drain(..self.taken);
        self.taken = 0;
        match self.socket.read(&mut self.chunk, wait)? {
            0 => Err(ErrorKind::ConnectionReset.into()),
            count => {
                self.received.extend_from_slice(&self.chunk[..count]);
                Ok(())
            }
        }
    }

    /// Takes frames until an event is whole.
    fn take_event(&mut self) -> Heard<Option<Event>> {
        loop {
            let input = &self.received[self.taken..];
            let Some(&[kind, c0, c1, s0, s1, s2, s3]) = input.first_chunk::<7>() else { return Ok(None) };
            let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
            let Some(frame) = input.get(7..size + 8) else { return Ok(None) };
            if frame[size] != 0xCE {
                return Err(Gone::Fault("a frame that does not end with 206".to_owned()));
            }
            let payload = frame[..size].to_vec();
            self.taken += size + 8;
            if let Some(event) = self.take_frame(kind, u16::from_be_bytes([c0, c1]), &payload)? {
                return Ok(Some(event));
            }
        }
    }

    fn take_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Heard<Option<Event>> {
        if kind == 1 {
            let short = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            let event = Event { channel, id: (short(0), short(2)), arguments: payload[4..].to_vec(), ..Event::default() };
            return self.take_method(event);
        }
        let Some(at) = self.partial.iter().position(|partial| partial.event.channel == channel) else {
            return if kind == 8 { Ok(None) } else { Err(Gone::Fault(format!("a frame of kind {kind} without a method"))) };
        };
        let partial = &mut self.partial[at];
        match (kind, partial.missing) {
            (2, None) => {
                partial.missing = Some(u64::from_be_bytes(*payload[4..].first_chunk().expect("a body size")));
                partial.event.properties = payload[12..].to_vec();
            }
            (3, Some(missing)) if payload.len() as u64 <= missing => {
                partial.missing = Some(missing - payload.len() as u64);
                partial.event.body.extend(payload);
            }
            _ => return Err(Gone::Fault(format!("a frame of kind {kind} in the middle of a content"))),
        }
        let whole = partial.missing == Some(0);
        Ok(whole.then(|| self.partial.swap_remove(at).event))
    }

    fn take_method(&mut self, event: Event) -> Heard<Option<Event>> {
        match event.id {
            _ if event.has_content() => {
                self.partial.push(Partial { event, missing: None });
                Ok(None)
            }
            wire::CHANNEL_CLOSE => {
                self.method(event.channel, wire::CHANNEL_CLOSE_OK, &Fields::new());
                let (code, text) = closed(&event);
                Err(Gone::Channel(code, text))
            }
            wire::CLOSE => {
                self.method(0, wire::CLOSE_OK, &Fields::new());
                // The broker may be gone before it hears this.
                let _ = self.flush();
                match closed(&event) {
                    (320, _) => Err(Gone::Closed),
                    (code, text) => Err(Gone::Fault(format!("the broker closed the connection: {code} {text}"))),
                }
            }
            wire::BLOCKED | wire::UNBLOCKED => Ok(None),
            _ => Ok(Some(event)),
        }
    }
}

fn closed(event: &Event) -> (u16, String) {
    let end = 3 + usize::from(event.arguments[2]);
    let code = u16::from_be_bytes([event.arguments[0], event.arguments[1]]);
    (code, String::from_utf8_lossy(&event.arguments[3..end]).into_owned())
}
