//! One connection's task: socket → bytes → commands → loop, and the timers that belong to a connection.

mod back_pressure;
mod faulted;
mod negotiation;
mod timers;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::Instant;

use super::Shell;
use super::broker_loop::BrokerLoop;
use super::faults::AtStart;
use super::outbox::{Leaves, Shared};
use super::tls::Secured;
use super::transport::{self, Transport};
use super::vhosts::Place;
use crate::amqp::frame::PROTOCOL_HEADER;
use crate::amqp::{Command, Decoder, Output};
use crate::broker::ConnectionId;
use crate::node::handshake::{Handshake, Trusted};
use back_pressure::{HANG_UP_CHECK, TURN, Turn, has_hung_up};
use faulted::Faulted;
use negotiation::Asking;
use timers::Timers;

/// What one read brings at most, in bytes. The buffer is the thread's, not the connection's.
const READ_SIZE: usize = 256 * 1024;
const _: () = assert!(READ_SIZE >= transport::ROOM);
/// A read that brings this many bytes may be followed at once by the next.
const LARGE_READ: usize = 16 * 1024;
/// How many times what stops deliveries may wait for a socket before its client is not read any more.
const OUTBOXES: usize = 16;

/// How long a client may keep its side open once ours is closed.
pub(super) const LINGER: Duration = Duration::from_secs(3);

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
    static COMMANDS: RefCell<Vec<Vec<Command>>> = const { RefCell::new(Vec::new()) };
}

/// Keeps an emptied batch for its allocation.
pub(super) fn keep_commands(mut commands: Vec<Command>) {
    commands.clear();
    COMMANDS.with_borrow_mut(|kept| {
        if kept.len() < 8 {
            kept.push(commands);
        }
    });
}

fn spare_commands() -> Vec<Command> {
    COMMANDS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

enum Phase {
    /// The first eight bytes.
    Header(Vec<u8>),
    Negotiating(Box<Handshake>),
    Running(ConnectionId, Arc<BrokerLoop>),
    /// Nothing more is read; the socket closes once its output is sent.
    Over,
}

struct Connection {
    shared: Arc<Shared>,
    shell: Arc<Shell>,
    /// Our end.
    local: SocketAddr,
    phase: Phase,
    decoder: Decoder,
    /// With more than this many bytes waiting for its socket, a connection is not read: deliveries stop long before,
    /// so these are answers to what the client sends without reading.
    output_limit: usize,
    /// Bytes that the decoder holds, as last added to the node's account.
    partial: usize,
    /// 0 is off.
    heartbeat: Duration,
    /// Something has come since the last look.
    received: bool,
    /// Nothing is read for now, so that silence means nothing.
    held_back: bool,
    /// The broker knows that it is held back in the middle of a content.
    told: bool,
    turn: Option<Turn>,
    /// The client was found to have closed while nothing was read.
    hung_up: bool,
    faulted: Faulted,
    /// The last batch published something: the inbox has to have room before the next one.
    gated: bool,
    /// Where the connection is counted; the node's own are not.
    place: Option<Place>,
    trusted: Option<Trusted>,
    secured: Option<Secured>,
    asking: Option<Asking>,
}

/// What a read brought.
enum Read {
    /// So many bytes.
    Some(usize),
    Nothing,
    Closed,
}

/// A client that wants to be served.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
    /// Our end.
    pub(super) local: SocketAddr,
    /// When the virtual host has to be open.
    pub(super) handshake_ends: Instant,
    /// Whom the node itself connects for.
    pub(super) trusted: Option<Trusted>,
    /// What TLS has agreed on where the transport does not know: below HTTP.
    pub(super) secured: Option<Secured>,
}

/// Serves a connection to its end.
pub(super) async fn serve(arrival: Arrival, shell: Arc<Shell>) {
    let Arrival { transport, peer, local, handshake_ends, trusted, secured } = arrival;
    let config = &shell.config;
    let decoder = Decoder::new(config.initial_frame_max as usize, config.frame_max as usize, shell.settings.max_message_size);
    let largest_message = usize::try_from(shell.settings.max_message_size).unwrap_or(usize::MAX);
    let output_limit = largest_message.saturating_add(OUTBOXES * shell.settings.outbox_high);
    let faults = trusted.is_none().then(|| Arc::clone(&shell.faults));
    // What the node says to itself is no client's.
    let tape = shell.recorder.as_ref().filter(|_| trusted.is_none()).map(|recorder| recorder.tape(peer, local));
    let mut connection = Connection {
        shared: Arc::new(Shared::new(transport, (peer, local), tape, Arc::clone(&shell.held), faults)),
        shell: Arc::clone(&shell),
        local,
        phase: Phase::Header(Vec::new()),
        decoder,
        output_limit,
        partial: 0,
        heartbeat: Duration::ZERO,
        received: false,
        held_back: false,
        told: false,
        turn: None,
        hung_up: false,
        faulted: Faulted::default(),
        gated: false,
        place: None,
        trusted,
        secured,
        asking: None,
    };
    let why = connection.run(handshake_ends).await;
    connection.leave();
    if why.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
        // TLS or WebSocket has failed: what was said of why must not be lost.
        linger(&connection.shared.transport, false).await;
    }
    connection.log_end(why);
}

/// Sends something of the handshake; no loop waits for a report about this connection yet.
fn send(shared: &Shared, out: &mut Output) {
    if !out.is_empty() {
        shared.push(out, Leaves::InOrder);
        out.clear();
        shared.flush(0);
    }
}

/// Says that nothing more comes, then waits for the client to close. Closing at once with input unread would reset the
/// connection, and the client might lose the close method that tells it why. A client that was refused gets to answer
/// first: some look for the end of the stream before they write their close-ok, and report a broken pipe instead of why.
async fn linger(transport: &Transport, answer_first: bool) {
    let until_closed = async {
        let mut says_no_more = !answer_first;
        if says_no_more {
            let _ = transport.say_no_more().await;
        }
        while transport.ready(Interest::READABLE).await.is_ok() {
            // Past any layer: what it says does not matter any more.
            let read = READ_BUFFER.with_borrow_mut(|buffer| transport.socket().try_read(buffer));
            match read {
                Ok(n) if n > 0 => {
                    if !std::mem::replace(&mut says_no_more, true) {
                        let _ = transport.say_no_more().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, until_closed).await;
}

impl Drop for Connection {
    /// Where its task ends with the node, it has not left yet.
    fn drop(&mut self) {
        self.leave();
    }
}

impl Connection {
    /// Nothing is left of it in its virtual host, and in the node's account.
    fn leave(&mut self) {
        if let Phase::Running(id, broker_loop) = std::mem::replace(&mut self.phase, Phase::Over) {
            broker_loop.disconnected(id);
        }
        self.account(0);
    }

    async fn run(&mut self, handshake_ends: Instant) -> io::Result<()> {
        let mut timers = Timers::new(handshake_ends, &self.shell.time);
        let shared = Arc::clone(&self.shared);
        let shell = Arc::clone(&self.shell);
        let largest_message = usize::try_from(shell.settings.max_message_size).unwrap_or(usize::MAX);
        loop {
            if shared.has_failed() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if self.meets_faults() {
                let rules = shared.on_rules();
                self.meet_faults(rules);
                self.find_out(handshake_ends).await?;
                self.wait_for_room().await;
                if self.faulted.has_ended(&shared).await? {
                    return self.peer_closed();
                }
            }
            let pending = shared.pending();
            let closing = matches!(self.phase, Phase::Over) || shared.close_when_flushed.load(Ordering::Acquire);
            if closing && shared.is_drained() {
                linger(&shared.transport, shared.unanswered.load(Ordering::Acquire)).await;
                return Ok(());
            }
            timers.follow(self);
            let alarm_ended = shell.alarm_ended.notified();
            self.end_turn();
            let may_read = self.may_read(pending);
            let may_read = may_read && !self.faulted.stops_reading;
            let reads = !closing && may_read;
            self.held_back = !closing && !may_read;
            self.tell_that_it_publishes();
            // Where queues hold the memory, their consumers will make room.
            let wants_turn = self.held_back && self.is_in_content() && shell.queued() < shell.controls.memory_limit() / 2;
            let interest = match (reads, pending > 0) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                // Also when nothing is wanted: the peer's hang-up is noticed while publishers are blocked.
                (false, true) => Interest::WRITABLE,
                (false, false) => Interest::ERROR,
            };
            let ready = tokio::select! {
                // Timers first: the socket of a busy publisher is always ready, and it waits for our heartbeats.
                biased;
                () = &mut timers.sleep => {
                    timers.fired(self)?;
                    continue;
                }
                ready = shared.transport.ready(interest) => ready?,
                () = shared.wake.notified() => continue,
                () = self.faulted.is_due(), if self.faulted.waits => continue,
                () = alarm_ended, if self.held_back => continue,
                turn = async { Arc::clone(&shell.turn).acquire_owned().await }, if wants_turn => {
                    let most = self.partial.saturating_add(largest_message);
                    self.turn = turn.ok().map(|permit| Turn { ends: Instant::now() + TURN, most, _permit: permit });
                    continue;
                }
                () = async { tokio::time::sleep(TURN).await }, if self.turn.is_some() => continue,
                () = async { tokio::time::sleep(HANG_UP_CHECK).await }, if self.held_back => {
                    self.hung_up = has_hung_up(&shared.transport).await;
                    if self.hung_up && self.faulted.stops_reading {
                        return self.peer_closed();
                    }
                    continue;
                }
            };
            if ready.is_error() && !ready.is_readable() && !ready.is_writable() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if ready.is_writable() && pending > 0 {
                self.flush();
            }
            if ready.is_readable() && reads {
                let n = match self.read()? {
                    Read::Some(n) => n,
                    Read::Nothing => continue,
                    Read::Closed if self.faulted.holds_input => {
                        self.faulted.closed_behind = true;
                        continue;
                    }
                    Read::Closed => return self.peer_closed(),
                };
                self.find_out(handshake_ends).await?;
                self.wait_for_room().await;
                // A publisher at full speed never waits for its socket: without this, it would keep the thread, and the
                // acks of consumers would be read late.
                if n >= LARGE_READ {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn peer_closed(&self) -> io::Result<()> {
        match self.phase {
            Phase::Running(..) if !self.shared.close_when_flushed.load(Ordering::Acquire) => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Publishers read on only when the loop keeps up.
    async fn wait_for_room(&mut self) {
        if std::mem::take(&mut self.gated)
            && let Phase::Running(_, broker_loop) = &self.phase
            && !broker_loop.has_room()
        {
            broker_loop.room().await;
        }
    }

    fn flush(&self) {
        match &self.phase {
            Phase::Running(id, broker_loop) => {
                let flushed = self.shared.flush(broker_loop.outbox_low());
                if flushed.report.is_some() {
                    broker_loop.flushed(*id, flushed.pending);
                }
            }
            _ => drop(self.shared.flush(0)),
        }
    }

    /// One read, and all that follows from it.
    fn read(&mut self) -> io::Result<Read> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let n = match self.shared.transport.try_read(buffer) {
                Ok(0) => return Ok(Read::Closed),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Read::Nothing),
                Err(error) => return Err(error),
            };
            self.received = true;
            self.shared.count_read(n);
            if let Some(tape) = &self.shared.tape {
                tape.received(&buffer[..n]);
            }
            self.received(&buffer[..n]);
            Ok(Read::Some(n))
        })
    }

    fn received(&mut self, bytes: &[u8]) {
        if self.shared.is_faulted() {
            return self.received_faulted(bytes);
        }
        let received = bytes.len();
        let Some(bytes) = self.take_header(bytes) else { return };
        let mut commands = spare_commands();
        self.decoder.feed(bytes, &mut commands);
        self.account(self.decoder.memory());
        self.proceed(commands, received);
    }

    /// Takes the protocol header, where that is still to come; `None` until all of it is there.
    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Phase::Header(header) = &mut self.phase else { return Some(bytes) };
        let (now, rest) = bytes.split_at(bytes.len().min(PROTOCOL_HEADER.len() - header.len()));
        header.extend_from_slice(now);
        // A wrong header is answered without waiting for the rest of it.
        let wrong = !PROTOCOL_HEADER[..4].starts_with(&header[..header.len().min(4)]);
        if header.len() < PROTOCOL_HEADER.len() && !wrong {
            return None;
        }
        match self.shared.at_start() {
            AtStart::Goes => self.begin(),
            AtStart::Refused => self.phase = Phase::Over,
            AtStart::Stalls => self.faulted.stalls = true,
        }
        Some(rest)
    }

    /// Handles what has come in a read of so many bytes.
    fn proceed(&mut self, mut commands: Vec<Command>, received: usize) {
        self.negotiate(&mut commands);
        if let Some(asking) = &mut self.asking {
            asking.received = received;
            asking.behind = commands;
            return;
        }
        match &self.phase {
            Phase::Running(id, broker_loop) if !commands.is_empty() => {
                self.gated = commands.iter().any(|c| matches!(c, Command::Publish(..)));
                if self.gated {
                    self.turn = None;
                }
                broker_loop.received(*id, commands, received);
            }
            _ => keep_commands(commands),
        }
    }

    /// What RabbitMQ calls it.
    fn name(&self) -> String {
        format!("{} -> {}", self.shared.peer, self.local)
    }

    /// Says how it ended, in words that are looked for in the logs of RabbitMQ.
    fn log_end(&self, why: io::Result<()>) {
        // The node's own are nobody's business.
        if self.trusted.is_some() {
            return;
        }
        let name = self.name();
        let Some(Place { vhost, user, .. }) = &self.place else {
            return match why {
                Ok(()) => tracing::debug!("closing AMQP connection {name}"),
                Err(error) => tracing::info!(%error, "closing AMQP connection {name}"),
            };
        };
        match why {
            Ok(()) => tracing::info!("closing AMQP connection {name} (vhost: '{vhost}', user: '{user}')"),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => tracing::warn!(
                "closing AMQP connection {name} (vhost: '{vhost}', user: '{user}'): client unexpectedly closed TCP connection"
            ),
            Err(error) => tracing::warn!("closing AMQP connection {name} (vhost: '{vhost}', user: '{user}'): {error}"),
        }
    }

    /// Keeps the node's account of what connections have received in part.
    fn account(&mut self, partial: usize) {
        if partial != self.partial {
            self.shell.held.add(partial);
            self.shell.held.remove(self.partial);
            self.partial = partial;
            self.shell.check_memory();
        }
    }
}
