//! What faults have a connection do: take what was late, read nothing, end in the way that is asked for.

use std::io;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Connection, Phase, spare_commands};
use crate::amqp::{Command, Fate};
use crate::server::faults::{End, Passed};
use crate::server::outbox::Shared;

/// As of the last look.
#[derive(Debug, Default)]
pub(super) struct Faulted {
    /// The handshake waits to begin.
    pub(super) stalls: bool,
    pub(super) stops_reading: bool,
    /// What has come is kept for later.
    pub(super) holds_input: bool,
    /// The client has closed, behind what is kept.
    pub(super) closed_behind: bool,
    /// There is a reason to look again by itself: a time, or a change of the rules.
    pub(super) waits: bool,
    due: Option<Instant>,
    rules: Option<watch::Receiver<u64>>,
    end: Option<End>,
}

impl Faulted {
    /// Returns when it is time to look again.
    pub(super) async fn is_due(&mut self) {
        let Self { due, rules, .. } = self;
        let time = async {
            match due {
                Some(due) => tokio::time::sleep_until(*due).await,
                None => std::future::pending().await,
            }
        };
        let change = async {
            match rules {
                Some(rules) => drop(rules.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time => {}
            () = change => {}
        }
    }

    /// Ends the connection as it is asked for, once all before is sent; whether the client had closed before.
    pub(super) async fn has_ended(&mut self, shared: &Shared) -> io::Result<bool> {
        if let Some(end) = self.end.filter(|_| shared.is_drained()) {
            match end {
                End::Reset => {
                    shared.transport.socket().reset_when_closed();
                    return Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset by a fault"));
                }
                End::Close => {
                    let _ = shared.transport.say_no_more().await;
                    return Err(io::Error::other("closed by a fault"));
                }
                End::HalfClose => {
                    let _ = shared.transport.say_no_more().await;
                    self.end = None;
                    shared.has_ended();
                }
            }
        }
        Ok(self.closed_behind && !self.holds_input)
    }
}

impl Connection {
    /// Whether there is anything to look at.
    pub(super) fn meets_faults(&self) -> bool {
        self.shared.is_faulted() || self.faulted.waits || self.faulted.stops_reading
    }

    /// What was read goes through the faults.
    pub(super) fn received_faulted(&mut self, bytes: &[u8]) {
        let received = bytes.len();
        let Some(bytes) = self.take_header(bytes) else { return };
        let (orders, passed) = self.shared.inbound(bytes, || self.decoder.take_unfinished());
        self.take(orders, passed, received);
    }

    /// Does what is due. `rules` was asked for before.
    pub(super) fn meet_faults(&mut self, rules: Option<watch::Receiver<u64>>) {
        let meeting = self.shared.meet();
        let begins = self.faulted.stalls && !meeting.stalls;
        let awaits = meeting.awaits_rules;
        self.faulted = Faulted {
            stalls: meeting.stalls,
            stops_reading: meeting.stops_reading,
            holds_input: meeting.holds_input,
            closed_behind: self.faulted.closed_behind,
            waits: meeting.due.is_some() || awaits,
            due: meeting.due,
            rules: rules.filter(|_| awaits),
            end: meeting.end,
        };
        if begins && matches!(self.phase, Phase::Header(_)) {
            self.begin();
        }
        let mut passed = meeting.passed;
        passed.extend(meeting.retires.filter(|partial| !partial.is_empty()).map(|partial| Passed::Bytes(partial, Fate::default())));
        if !passed.is_empty() || !meeting.orders.is_empty() {
            self.take(meeting.orders, passed, 0);
        }
        if meeting.sends {
            self.flush();
        }
    }

    /// Takes what the faults have let through as received.
    fn take(&mut self, orders: Vec<Command>, passed: Vec<Passed>, received: usize) {
        let mut commands = spare_commands();
        commands.extend(orders);
        for passed in passed {
            match passed {
                Passed::Bytes(bytes, fate) => {
                    let before = commands.len();
                    self.decoder.feed(&bytes, &mut commands);
                    if let Some(Command::Publish(_, publish)) = commands[before..].last_mut() {
                        publish.fate = fate;
                    }
                }
                Passed::Command(command) => commands.push(command),
            }
        }
        self.account(self.decoder.memory());
        self.proceed(commands, received);
    }
}
