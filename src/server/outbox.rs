//! A connection's socket and what waits to be written to it. Whoever has output writes it, at once and without
//! waiting; what the socket does not take is left to the connection's own task.

mod faulted;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::iter::Sum;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::faults::{Consumers, Engine, Faults, Who};
use super::transport::Transport;
use crate::amqp::Output;
use crate::broker::ConnectionId;
use crate::node::identity::Identity;
use crate::recording::Tape;

/// Slices handed to one vectored write.
const SLICES: usize = 64;
/// Buffers of this capacity are worth keeping for the next output; larger ones go back to the allocator.
const KEPT_CAPACITY: usize = 512 * 1024;
const KEPT_BUFFERS: usize = 4;

#[derive(Debug)]
enum Chunk {
    Buffer(Vec<u8>),
    Part(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Part(part) => part,
        }
    }
}

#[derive(Debug, Default)]
struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    written: usize,
    /// Bytes not written yet, beside those that are barred.
    pending: usize,
    /// Bytes that the transport had taken and the socket had not, as last added to what is held.
    unsent: usize,
    /// Outputs that must not leave before what was written down in their round is safe, and those behind them, by round.
    barred: VecDeque<(u64, Vec<Chunk>)>,
    barred_bytes: usize,
    /// Up to which round it was said that all is safe.
    safe: u64,
    /// The broker waits to hear that this has drained.
    report: Option<ConnectionId>,
    failed: bool,
}

/// Bytes that the shell holds for connections: received in part, or waiting to be sent.
#[derive(Debug, Default)]
pub(super) struct Held(AtomicU64);

impl Held {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the connection's task and the broker loop share of a connection.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) transport: Transport,
    /// The client's end.
    pub(super) peer: SocketAddr,
    /// Our end.
    pub(super) local: SocketAddr,
    outbox: Mutex<Outbox>,
    /// Wakes the connection's task to look at what has changed here.
    pub(super) wake: Notify,
    pub(super) paused: AtomicBool,
    pub(super) close_when_flushed: AtomicBool,
    pub(super) awaits_close_ok: AtomicBool,
    /// The client was sent a connection.close whose answer is not waited for.
    pub(super) unanswered: AtomicBool,
    /// Bytes ever written, for the heartbeats.
    pub(super) sent: AtomicU64,
    writes: AtomicU64,
    received: AtomicU64,
    reads: AtomicU64,
    held: Arc<Held>,
    /// Who its user is, where somebody else than the node answers for it.
    pub(super) identity: Mutex<Option<Identity>>,
    /// What may happen to it; nothing happens to the node's own.
    faults: Option<Arc<Faults>>,
    /// While there are faults.
    engine: Mutex<Option<Box<Engine>>>,
    /// Once the virtual host is open.
    who: OnceLock<Who>,
    /// Bytes that the engine keeps for later.
    delayed: AtomicUsize,
    /// What is said is recorded.
    pub(super) tape: Option<Tape>,
}

/// What has gone over a connection's socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Bytes.
    pub received: u64,
    pub reads: u64,
    /// Bytes.
    pub sent: u64,
    pub writes: u64,
    /// Bytes that wait to be written.
    pub pending: usize,
}

impl AddAssign for Wire {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.reads += other.reads;
        self.sent += other.sent;
        self.writes += other.writes;
        self.pending += other.pending;
    }
}

impl Sum for Wire {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut sum = Self::default();
        all.for_each(|wire| sum += wire);
        sum
    }
}

/// When an output may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// At once, before what is barred.
    Now,
    InOrder,
    /// When what was written down in this round is safe.
    After(u64),
}

/// What waits after something was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Bytes, barred ones as well.
    pub(super) pending: usize,
    /// What was added is not to be written yet.
    pub(super) is_barred: bool,
}

/// Cuts an output into what is written in order, without copying.
fn cut(output: &mut Output, mut take: impl FnMut(Chunk)) {
    let mut buffer = std::mem::take(&mut output.bytes);
    if output.parts.is_empty() {
        return take(Chunk::Buffer(buffer));
    }
    // From the back, so that every piece is cut off an end.
    let mut pieces = Vec::with_capacity(2 * output.parts.len() + 1);
    for (position, part) in output.parts.drain(..).rev() {
        pieces.push(Chunk::Buffer(buffer.split_off(position)));
        pieces.push(Chunk::Part(part));
    }
    pieces.push(Chunk::Buffer(buffer));
    pieces.into_iter().rev().filter(|piece| !piece.bytes().is_empty()).for_each(take);
}

/// What is left after writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flushed {
    /// Bytes that the socket did not take.
    pub(super) pending: usize,
    /// The broker asked to be told that this much is left.
    pub(super) report: Option<ConnectionId>,
}

impl Shared {
    pub(super) fn new(
        transport: Transport,
        (peer, local): (SocketAddr, SocketAddr),
        tape: Option<Tape>,
        held: Arc<Held>,
        faults: Option<Arc<Faults>>,
    ) -> Self {
        Self {
            transport,
            peer,
            local,
            outbox: Mutex::default(),
            wake: Notify::new(),
            paused: AtomicBool::new(false),
            close_when_flushed: AtomicBool::new(false),
            awaits_close_ok: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            held,
            identity: Mutex::default(),
            faults,
            engine: Mutex::default(),
            who: OnceLock::new(),
            delayed: AtomicUsize::new(0),
            tape,
        }
    }

    /// Counts a read that brought so many bytes.
    pub(super) fn count_read(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn wire(&self) -> Wire {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Wire {
            received: count(&self.received),
            reads: count(&self.reads),
            sent: count(&self.sent),
            writes: count(&self.writes),
            pending: self.pending(),
        }
    }

    /// Adds to what waits.
    pub(super) fn push(&self, output: &mut Output, leaves: Leaves) -> Pushed {
        self.push_to(output, leaves, &|_, _| None)
    }

    /// The same with deliveries in it, about whose consumers can be asked.
    pub(super) fn push_to(&self, output: &mut Output, leaves: Leaves, consumers: Consumers<'_>) -> Pushed {
        if self.is_faulted() { self.push_faulted(output, leaves, consumers) } else { self.add(output, leaves) }
    }

    fn add(&self, output: &mut Output, leaves: Leaves) -> Pushed {
        let mut outbox = self.outbox.lock();
        if outbox.failed {
            return Pushed { pending: 0, is_barred: false };
        }
        self.held.add(output.len());
        let barrier = match leaves {
            Leaves::Now => None,
            Leaves::InOrder => outbox.barred.back().map(|(round, _)| *round),
            // What was late may have become safe meanwhile.
            Leaves::After(round) if round <= outbox.safe => outbox.barred.back().map(|(round, _)| *round),
            Leaves::After(round) => Some(round),
        };
        if let Some(round) = barrier {
            outbox.barred_bytes += output.len();
            let mut chunks = Vec::new();
            cut(output, |chunk| chunks.push(chunk));
            outbox.barred.push_back((round, chunks));
        } else {
            outbox.pending += output.len();
            cut(output, |chunk| outbox.chunks.push_back(chunk));
        }
        Pushed { pending: outbox.pending + outbox.barred_bytes, is_barred: barrier.is_some() }
    }

    /// What was written down in rounds up to this one is safe.
    pub(super) fn unbar(&self, round: u64) {
        let mut outbox = self.outbox.lock();
        outbox.safe = outbox.safe.max(round);
        while outbox.barred.front().is_some_and(|(after, _)| *after <= round) {
            let Some((_, chunks)) = outbox.barred.pop_front() else { return };
            let bytes = chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>();
            outbox.barred_bytes -= bytes;
            outbox.pending += bytes;
            outbox.chunks.extend(chunks);
        }
    }

    /// The broker wants a report once at most this much waits.
    pub(super) fn report_when_flushed(&self, connection: ConnectionId) {
        self.outbox.lock().report = Some(connection);
    }

    /// Bytes that could be written.
    pub(super) fn pending(&self) -> usize {
        self.outbox.lock().pending + self.transport.unsent()
    }

    /// Whether nothing is left to be sent, now or later.
    pub(super) fn is_drained(&self) -> bool {
        let outbox = self.outbox.lock();
        outbox.pending == 0 && outbox.barred_bytes == 0 && self.transport.unsent() == 0 && self.delayed.load(Ordering::Acquire) == 0
    }

    /// Writes what the socket takes now.
    pub(super) fn flush(&self, report_below: usize) -> Flushed {
        let mut outbox = self.outbox.lock();
        let before = outbox.pending + outbox.unsent;
        while outbox.pending > 0 && !outbox.failed {
            match self.write(&outbox) {
                Ok(n) => {
                    self.sent.fetch_add(n as u64, Ordering::Relaxed);
                    self.writes.fetch_add(1, Ordering::Relaxed);
                    if let Some(tape) = &self.tape {
                        tape.sent(n, outbox.first(n));
                    }
                    outbox.advance(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => outbox.fail(),
            }
        }
        outbox.unsent = self.flush_transport(&mut outbox);
        let (pending, failed) = (outbox.pending + outbox.unsent, outbox.failed);
        if pending <= before {
            self.held.remove(before - pending);
        } else {
            self.held.add(pending - before);
        }
        if failed {
            self.held.remove(std::mem::take(&mut outbox.barred_bytes));
            outbox.barred.clear();
        }
        let waits = pending + outbox.barred_bytes + self.delayed.load(Ordering::Acquire);
        let report = if waits <= report_below { outbox.report.take() } else { None };
        drop(outbox);
        if pending > 0 || failed || self.close_when_flushed.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
        Flushed { pending: waits, report }
    }

    /// Writes what the transport has taken before, and returns how much of it is left.
    fn flush_transport(&self, outbox: &mut Outbox) -> usize {
        if self.transport.unsent() == 0 {
            return 0;
        }
        match self.transport.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => outbox.fail(),
            _ => {}
        }
        if outbox.failed { 0 } else { self.transport.unsent() }
    }

    /// Nothing more is sent, and the client finds its connection reset.
    pub(super) fn hang_up(&self) {
        self.transport.socket().reset_when_closed();
        self.outbox.lock().fail();
        self.wake.notify_one();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.outbox.lock().failed
    }

    fn write(&self, outbox: &Outbox) -> io::Result<usize> {
        if let [only] = outbox.chunks.as_slices().0
            && outbox.chunks.len() == 1
        {
            return self.transport.try_write(&only.bytes()[outbox.written..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(&outbox.chunks) {
            let skip = if used == 0 { outbox.written } else { 0 };
            *slice = IoSlice::new(&chunk.bytes()[skip..]);
            used += 1;
        }
        self.transport.try_write_vectored(&slices[..used])
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let outbox = self.outbox.get_mut();
        self.held.remove(outbox.pending + outbox.unsent + outbox.barred_bytes);
    }
}

impl Outbox {
    /// The first bytes that wait, so many of them.
    fn first(&self, n: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.written;
        let mut left = n;
        self.chunks.iter().map_while(move |chunk| {
            let bytes = chunk.bytes().get(std::mem::take(&mut skip)..)?;
            let taken = &bytes[..bytes.len().min(left)];
            left -= taken.len();
            (!taken.is_empty() || left > 0).then_some(taken)
        })
    }

    fn advance(&mut self, mut n: usize) {
        self.pending -= n;
        while n > 0 {
            let Some(first) = self.chunks.front() else { return };
            let left = first.bytes().len() - self.written;
            if n < left {
                self.written += n;
                return;
            }
            n -= left;
            self.written = 0;
            if let Some(Chunk::Buffer(buffer)) = self.chunks.pop_front() {
                keep_buffer(buffer);
            }
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 64 {
            self.chunks = VecDeque::new();
        }
    }

    /// The socket is broken: nothing more will be sent.
    fn fail(&mut self) {
        self.failed = true;
        self.chunks.clear();
        self.pending = 0;
    }
}

thread_local! {
    static SPARE: std::cell::RefCell<Vec<Vec<u8>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// A buffer that was written out on this thread.
pub(super) fn spare_buffer() -> Option<Vec<u8>> {
    SPARE.with_borrow_mut(Vec::pop)
}

pub(super) fn keep_buffer(mut buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT_BUFFERS && buffer.capacity() <= KEPT_CAPACITY {
            buffer.clear();
            spare.push(buffer);
        }
    });
}
