//! What a connection waits for besides its socket: the end of the handshake, heartbeats, the client's close-ok.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::{Connection, Phase};
use crate::amqp::Output;
use crate::amqp::frame::HEARTBEAT_FRAME;
use crate::server::outbox::Leaves;
use crate::server::time::Time;

/// How long a client may take to answer connection.close (behaviour C32).
const CLOSE_OK_TIMEOUT: Duration = Duration::from_secs(30);

/// One alarm clock for all of it, set to what is next.
pub(super) struct Timers {
    pub(super) sleep: Pin<Box<Sleep>>,
    handshake_ends: Instant,
    close_ok_ends: Option<Instant>,
    /// The next half of a heartbeat interval, once they are on.
    next_beat: Option<Instant>,
    halves: u32,
    sent_before: u64,
    missed: u32,
}

/// As good as never.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Timers {
    pub(super) fn new(handshake_ends: Instant, time: &Time) -> Self {
        // From here on, in the time of sockets.
        let handshake_ends = time.of_sockets() + handshake_ends.saturating_duration_since(Instant::now());
        Self {
            sleep: Box::pin(tokio::time::sleep_until(time.on_machine(handshake_ends))),
            handshake_ends,
            close_ok_ends: None,
            next_beat: None,
            halves: 0,
            sent_before: 0,
            missed: 0,
        }
    }

    /// Sets the alarm clock for what the connection waits for now.
    pub(super) fn follow(&mut self, connection: &Connection) {
        let time = &connection.shell.time;
        let running = matches!(connection.phase, Phase::Running(..));
        if running && connection.shared.awaits_close_ok.load(Ordering::Acquire) {
            let patience = if connection.heartbeat.is_zero() { CLOSE_OK_TIMEOUT } else { CLOSE_OK_TIMEOUT.min(connection.heartbeat) };
            self.close_ok_ends.get_or_insert_with(|| time.of_sockets() + patience);
        } else if running && !connection.heartbeat.is_zero() {
            self.next_beat.get_or_insert_with(|| time.of_sockets() + connection.heartbeat / 2);
        }
        let next = match (self.close_ok_ends, self.next_beat) {
            (Some(ends), _) => ends,
            (None, Some(beat)) => beat,
            (None, None) if running => self.handshake_ends + FAR,
            (None, None) => self.handshake_ends,
        };
        let next = time.on_machine(next);
        if self.sleep.deadline() != next {
            self.sleep.as_mut().reset(next);
        }
    }

    /// Something is due.
    pub(super) fn fired(&mut self, connection: &mut Connection) -> io::Result<()> {
        let now = connection.shell.time.of_sockets();
        if self.close_ok_ends.is_some_and(|ends| now >= ends) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection.close-ok"));
        }
        if let Some(beat) = self.next_beat.filter(|beat| now >= *beat) {
            self.next_beat = Some(beat + connection.heartbeat / 2);
            return self.beat(connection);
        }
        match connection.phase {
            Phase::Running(..) => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "handshake_timeout")),
        }
    }

    /// Half an interval has passed (behaviour C23): sends a heartbeat if nothing else was sent, and every whole
    /// interval looks whether anything has come; two without anything are the end.
    fn beat(&mut self, connection: &mut Connection) -> io::Result<()> {
        let shared = &connection.shared;
        let sent = shared.sent.load(Ordering::Relaxed);
        if sent == self.sent_before && shared.pending() == 0 {
            let mut out = Output::default();
            out.bytes.extend_from_slice(&HEARTBEAT_FRAME);
            shared.push(&mut out, Leaves::Now);
            connection.flush();
        }
        self.sent_before = connection.shared.sent.load(Ordering::Relaxed);
        self.halves += 1;
        if self.halves % 2 == 1 {
            return Ok(());
        }
        // A blocked connection is not read, so its silence means nothing (behaviour C24).
        let heard = std::mem::take(&mut connection.received) || connection.held_back;
        self.missed = if heard { 0 } else { self.missed + 1 };
        if self.missed >= 2 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "missed heartbeats from client"));
        }
        Ok(())
    }
}
