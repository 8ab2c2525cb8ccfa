//! When a connection is not read: blocked by an alarm, not reading itself, or in the middle of a content while memory
//! is short.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Connection, LARGE_READ, Phase, Transport};
use crate::amqp::{Command, Fault};

/// How long a connection may take to finish a content while memory is short, before it is another one's turn.
pub(super) const TURN: Duration = Duration::from_secs(10);
/// How often a connection that is not read is looked at for whether its client is still there.
pub(super) const HANG_UP_CHECK: Duration = Duration::from_secs(1);

impl Connection {
    /// Whether it holds much of a content while memory is short.
    pub(super) fn is_in_content(&self) -> bool {
        self.partial > LARGE_READ && self.shell.alarm.load(Ordering::Acquire)
    }

    /// The broker hears once that a connection is held back in the middle of a content, so that it tells the client.
    pub(super) fn tell_that_it_publishes(&mut self) {
        let in_content = self.held_back && self.is_in_content();
        if let Phase::Running(id, broker_loop) = &self.phase
            && in_content
            && !self.told
        {
            broker_loop.publishing(*id);
        }
        self.told = in_content;
    }

    /// Whoever has had its turn and finished no content is closed: what it holds would stay for ever.
    pub(super) fn end_turn(&mut self) {
        let Some(turn) = &self.turn else { return };
        if (turn.ends > Instant::now() && self.partial <= turn.most) || !self.is_in_content() {
            return;
        }
        self.turn = None;
        self.decoder.abandon();
        self.account(0);
        if let Phase::Running(id, broker_loop) = &self.phase {
            broker_loop.received(*id, vec![Command::Fault(Fault::memory_is_short())], 0);
        }
    }

    /// Reading waits when the client does not read what it caused (replies, returns, gets), when the broker has blocked
    /// the connection, and in the middle of a content while memory is short, unless it is this connection's turn.
    /// A client that has hung up is read to its end: what it sent counts, and what is its own ends.
    pub(super) fn may_read(&mut self, pending: usize) -> bool {
        let in_content = self.is_in_content();
        if !in_content {
            self.turn = None;
        }
        let blocked = self.shared.paused.load(Ordering::Acquire) || in_content;
        pending <= self.output_limit && (!blocked || self.turn.is_some() || self.hung_up)
    }
}

/// The right to read on while memory is short, until a content is complete. Others wait for it, so that it ends in time
/// and size.
pub(super) struct Turn {
    pub(super) ends: Instant,
    /// Bytes of contents that the connection may hold meanwhile.
    pub(super) most: usize,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Whether the client has closed its side, with bytes unread before the end.
pub(super) async fn has_hung_up(transport: &Transport) -> bool {
    tokio::select! {
        biased;
        ready = transport.ready(Interest::READABLE) => ready.is_ok_and(tokio::io::Ready::is_read_closed),
        () = std::future::ready(()) => false,
    }
}
