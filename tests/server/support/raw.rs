//! A client that does exactly what it is told, byte by byte, and sees exactly what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::broker::Broker;
use super::wire::{self, Id};

/// A socket that has taken nothing for this long is not read just now.
const STALL: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Class and method id; 0, 0 for a frame without a method.
    pub(crate) fn id(&self) -> Id {
        match self.payload.first_chunk::<4>() {
            Some(&[c0, c1, m0, m1]) if self.kind == 1 => (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1])),
            _ => (0, 0),
        }
    }

    pub(crate) fn arguments(&self) -> &[u8] {
        &self.payload[4..]
    }

    pub(crate) fn is_heartbeat(&self) -> bool {
        self.kind == 8
    }
}

/// What connection.close or channel.close says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) id: Id,
}

impl Close {
    pub(crate) fn of(frame: &Frame) -> Self {
        let arguments = frame.arguments();
        let short = |at: usize| u16::from_be_bytes([arguments[at], arguments[at + 1]]);
        let end = 3 + usize::from(arguments[2]);
        let text = String::from_utf8(arguments[3..end].to_vec()).expect("a text");
        Self { code: short(0), text, id: (short(end), short(end + 2)) }
    }
}

/// A basic.deliver with its content.
pub(crate) struct Delivered {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    taken: usize,
    /// The rest of a message of which [`Raw::flood`] could send only the beginning.
    pub(crate) unsent: Vec<u8>,
    /// What the test tries with it, for when that fails.
    pub(crate) about: &'static str,
}

impl Raw {
    /// A socket, with nothing said yet.
    pub(crate) fn connect(broker: &Broker) -> Self {
        Self::over(TcpStream::connect(broker.address()).expect("the broker accepts"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, received: Vec::new(), taken: 0, unsent: Vec::new(), about: "" }
    }

    /// A connection with the virtual host open and heartbeats off.
    pub(crate) fn open(broker: &Broker) -> Self {
        Self::open_with(broker, 0)
    }

    /// The same with a heartbeat interval in seconds.
    pub(crate) fn open_with(broker: &Broker, heartbeat: u16) -> Self {
        let mut raw = Self::connect(broker);
        raw.negotiate(heartbeat);
        raw
    }

    /// Everything from the protocol header to open-ok.
    pub(crate) fn negotiate(&mut self, heartbeat: u16) {
        self.send(wire::HEADER);
        self.expect(wire::START);
        self.send(&wire::start_ok("guest", "guest"));
        self.expect(wire::TUNE);
        self.send(&[wire::tune_ok(2047, 131_072, heartbeat), wire::open()].concat());
        self.expect(wire::OPEN_OK);
    }

    /// The same at another address than that which a broker has by itself.
    pub(crate) fn channel_at(address: SocketAddr) -> Self {
        let mut raw = Self::over(TcpStream::connect(address).expect("somebody accepts"));
        raw.negotiate(0);
        raw.open_channel(1);
        raw
    }

    /// A connection with channel 1 open.
    pub(crate) fn channel(broker: &Broker) -> Self {
        let mut raw = Self::open(broker);
        raw.open_channel(1);
        raw
    }

    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.send(&wire::channel_open(channel));
        self.expect(wire::CHANNEL_OPEN_OK);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Sends what the socket takes; what it does not take because the broker has closed it does not matter.
    pub(crate) fn send_regardless(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; `None` once the broker has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let input = &self.received[self.taken..];
        let &[kind, c0, c1, s0, s1, s2, s3] = input.first_chunk::<7>()?;
        let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        let payload = input.get(7..7 + size)?.to_vec();
        assert_eq!(*input.get(7 + size)?, 0xCE, "a frame of the broker ends with 206");
        self.taken += size + 8;
        Some(Frame { kind, channel: u16::from_be_bytes([c0, c1]), payload })
    }

    /// Reads once; 0 is the end.
    fn fill(&mut self) -> usize {
        self.received.drain(..self.taken);
        self.taken = 0;
        let start = self.received.len();
        self.received.resize(start + 256 * 1024, 0);
        let n = match self.stream.read(&mut self.received[start..]) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{}: nothing came from the broker: {error}", self.about),
        };
        self.received.truncate(start + n);
        n
    }

    /// The next method frame, past heartbeats, which must have this id.
    pub(crate) fn expect(&mut self, id: Id) -> Frame {
        let frame = self.next_method();
        let close = || if matches!(frame.id(), wire::CLOSE | wire::CHANNEL_CLOSE) { Close::of(&frame).text } else { String::new() };
        assert_eq!(frame.id(), id, "{}: got {frame:?} {}", self.about, close());
        frame
    }

    fn next_method(&mut self) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("{}: closed without a method", self.about));
            if !frame.is_heartbeat() {
                return frame;
            }
        }
    }

    /// Skips everything up to a method with this id.
    pub(crate) fn skip_to(&mut self, id: Id) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("{}: closed without a method", self.about));
            if frame.id() == id {
                return frame;
            }
        }
    }

    /// Awaits connection.close, past whatever was under way, answers it, and sees the broker close its side.
    pub(crate) fn closed(&mut self) -> Close {
        let close = Close::of(&self.skip_to(wire::CLOSE));
        self.send_regardless(&wire::method(0, wire::CLOSE_OK, &wire::Fields::new()));
        self.ends();
        close
    }

    /// Awaits the end of the connection with nothing more in between.
    pub(crate) fn ends(&mut self) {
        let more = self.next();
        assert_eq!(more, None, "{}: the broker has closed the connection", self.about);
    }

    /// Every byte up to the end.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        self.received[self.taken..].to_vec()
    }

    pub(crate) fn shut_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Declares a queue and returns how many messages it has ready.
    pub(crate) fn declare(&mut self, name: &str, bits: u8) -> u32 {
        self.send(&wire::queue_declare(1, name, bits));
        let declared = self.skip_to(wire::QUEUE_DECLARE_OK);
        let arguments = declared.arguments();
        let at = 1 + usize::from(arguments[0]);
        u32::from_be_bytes(*arguments[at..].first_chunk().expect("a count"))
    }

    /// Publishes to a queue and gets the message back: proof that the broker serves this connection.
    pub(crate) fn round_trip(&mut self, queue: &str) {
        self.send(&wire::publish(1, "", queue, b"still here"));
        self.send(&wire::get(1, queue));
        self.expect(wire::GET_OK);
        self.next().expect("a content header");
        let body = self.next().expect("a body");
        assert_eq!(body.payload, b"still here");
    }

    pub(crate) fn declare_exclusive(&mut self) {
        self.declare("", 4);
    }

    pub(crate) fn round_trip_on_new_queue(&mut self, queue: &str) {
        self.declare(queue, 0);
        self.round_trip(queue);
    }

    /// The next delivery, past whatever is before it.
    pub(crate) fn delivery(&mut self) -> Delivered {
        let deliver = self.skip_to(wire::DELIVER);
        let arguments = &deliver.arguments()[1 + usize::from(deliver.arguments()[0])..];
        let (tag, redelivered) = (wire::delivery_tag(arguments), arguments[8] != 0);
        let header = self.next().expect("a content header");
        let size = u64::from_be_bytes(*header.payload[4..].first_chunk().expect("a body size"));
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.next().expect("a body").payload);
        }
        Delivered { tag, redelivered, body }
    }

    /// Reads so many deliveries with their contents.
    pub(crate) fn skip_deliveries(&mut self, count: usize) {
        for _ in 0..count {
            self.skip_to(wire::DELIVER);
            let header = loop {
                let frame = self.next().expect("a content header");
                if !frame.is_heartbeat() {
                    break frame;
                }
            };
            let mut left = u64::from_be_bytes(*header.payload[4..].first_chunk().expect("a body size"));
            while left > 0 {
                let frame = self.next().expect("a body");
                if frame.kind == 3 {
                    left -= frame.payload.len() as u64;
                }
            }
        }
    }

    /// Sends a message over and over, until connection.blocked has come and the socket takes nothing more, or this
    /// much is sent; returns how much it took.
    pub(crate) fn flood(&mut self, message: &[u8], most: usize) -> usize {
        let began = Instant::now();
        let mut sent = 0;
        while sent < most {
            let rest = std::mem::take(&mut self.unsent);
            sent += self.flood_once(if rest.is_empty() { message } else { &rest }, STALL);
            if !self.unsent.is_empty() && self.is_blocked() {
                break;
            }
            assert!(began.elapsed() < 3 * PATIENCE, "neither read nor blocked after {sent} bytes");
        }
        sent
    }

    /// Whether connection.blocked is among what has come and was not taken yet.
    fn is_blocked(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket that does not block");
        let mut more = [0; 4096];
        while let Ok(n @ 1..) = self.stream.read(&mut more) {
            self.received.extend_from_slice(&more[..n]);
        }
        self.stream.set_nonblocking(false).expect("a socket that blocks");
        let taken = self.taken;
        let blocked = std::iter::from_fn(|| self.take_frame()).any(|frame| frame.id() == wire::BLOCKED);
        self.taken = taken;
        blocked
    }

    /// Sends one message, as far as the socket takes it; the rest is kept in `unsent`.
    pub(crate) fn flood_once(&mut self, message: &[u8], stopped: Duration) -> usize {
        self.stream.set_write_timeout(Some(stopped)).expect("a time limit");
        let mut rest = message;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(n) => rest = &rest[n..],
                // Stopped, or closed by the broker, which shows when the test reads.
                Err(_) => break,
            }
        }
        self.unsent = rest.to_vec();
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
        message.len() - rest.len()
    }
}
