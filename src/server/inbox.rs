//! What waits for a loop: what connections and others have submitted, in the order in which it is to be handled.

use std::collections::VecDeque;
use std::sync::Arc;

use super::outbox::{Shared, Wire};
use crate::amqp::Command;
use crate::broker::{Alarms, Answer, Broker, ConnectionId, Effects, INTERNAL_USER, Input, Loaded, Opened, Timestamp};

#[derive(Debug)]
pub(super) enum Submission {
    Connected(ConnectionId, Arc<Shared>, Opened),
    Received {
        connection: ConnectionId,
        commands: Vec<Command>,
        bytes: usize,
    },
    Publishing(ConnectionId),
    Answered(ConnectionId, u64, Answer),
    Flushed(ConnectionId, usize),
    Disconnected(ConnectionId),
    Alarms(Alarms),
    /// A storage has what was written down of these queues.
    Stored(Vec<(u64, u64)>),
    Loaded(Loaded),
    /// Memory is short, and what became of it.
    SpillTransient,
    Spilled {
        queue: u64,
        level: u8,
        up_to: u64,
    },
    Tick,
    Administer(Administration),
    Ask(Question),
    Watch(Watch),
    /// Somebody waits until what was written down by now is safe.
    Safe(tokio::sync::oneshot::Sender<()>),
    Shutdown(&'static str),
}

impl Submission {
    /// Whose first it is.
    pub(super) fn newcomer(&self) -> Option<&Arc<Shared>> {
        if let Self::Connected(_, shared, _) = self { Some(shared) } else { None }
    }

    /// Whether it means something to a broker that has never heard of any client or of what the disk had.
    fn outlives_clients(&self) -> bool {
        match self {
            Self::Disconnected(_)
            | Self::Alarms(_)
            | Self::Tick
            | Self::Administer(_)
            | Self::Ask(_)
            | Self::Safe(_)
            | Self::Watch(_)
            | Self::Shutdown(_) => true,
            Self::Connected(..)
            | Self::Received { .. }
            | Self::Publishing(_)
            | Self::Answered(..)
            | Self::Flushed(..)
            | Self::Stored(_)
            | Self::Loaded(_)
            | Self::SpillTransient
            | Self::Spilled { .. } => false,
        }
    }
}

/// What somebody wants to know or do while nothing else happens.
pub(super) struct Question(pub(super) Box<dyn FnOnce(&mut Asked<'_>) + Send>);

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

/// Somebody who waits for something to be so: looks, and says whether that was the last time.
pub(super) struct Watch(pub(super) Box<dyn FnMut(&mut Asked<'_>) -> bool + Send>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// A virtual host at one moment, for who asks.
#[derive(Debug)]
pub struct Asked<'a> {
    pub(super) broker: &'a mut Broker,
    pub(super) effects: &'a mut Effects,
    pub(super) now: Timestamp,
    pub(super) connections: &'a [Option<Arc<Shared>>],
    /// What has been asked of the disk and has not come.
    pub(super) loading: usize,
}

impl Asked<'_> {
    #[must_use]
    pub fn broker(&self) -> &Broker {
        self.broker
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Has something happen now.
    pub fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, self.effects);
    }

    /// What has gone over the socket of a connection.
    #[must_use]
    pub fn wire(&self, connection: ConnectionId) -> Option<Wire> {
        self.shared(connection).map(|shared| shared.wire())
    }

    /// The same of all connections together.
    #[must_use]
    pub fn wires(&self) -> Wire {
        self.connections.iter().flatten().map(|shared| shared.wire()).sum()
    }

    pub(super) fn shared(&self, connection: ConnectionId) -> Option<&Arc<Shared>> {
        self.connections.get(connection.index())?.as_ref()
    }
}

/// What somebody in charge of the node wants.
#[derive(Debug)]
pub(super) enum Administration {
    /// The node stops in order: nothing is on its way any more.
    Settle,
    ClearPolicy {
        operator: bool,
        name: String,
    },
}

impl Administration {
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Self::Settle => Input::Settled,
            Self::ClearPolicy { operator, name } => Input::ClearPolicy { operator: *operator, name, user: INTERNAL_USER },
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Settlements and everything else that frees something. Taken first: were they to wait behind publishes, backlogs
    /// would feed themselves.
    pub(super) urgent: VecDeque<Submission>,
    pub(super) publishes: VecDeque<Submission>,
    /// Batches in `publishes`, by connection: later batches of the same connection must not overtake them.
    pub(super) publishing: Vec<u32>,
    /// Received bytes that wait here.
    pub(super) bytes: usize,
    pub(super) free: Vec<ConnectionId>,
}

impl Inbox {
    pub(super) fn new_connection(&mut self) -> ConnectionId {
        self.free.pop().unwrap_or_else(|| {
            self.publishing.push(0);
            ConnectionId(u32::try_from(self.publishing.len() - 1).unwrap_or(u32::MAX))
        })
    }

    pub(super) fn push_received(&mut self, connection: ConnectionId, commands: Vec<Command>, bytes: usize) {
        self.bytes += bytes;
        let waiting = &mut self.publishing[connection.index()];
        let publishes = *waiting > 0 || commands.iter().any(|c| matches!(c, Command::Publish(..)));
        let submission = Submission::Received { connection, commands, bytes };
        if publishes {
            *waiting += 1;
            self.publishes.push_back(submission);
        } else {
            self.urgent.push_back(submission);
        }
    }

    /// Behind all that the connection has submitted before.
    pub(super) fn push_behind(&mut self, connection: ConnectionId, submission: Submission) {
        let waiting = &mut self.publishing[connection.index()];
        if *waiting > 0 {
            *waiting += 1;
            self.publishes.push_back(submission);
        } else {
            self.urgent.push_back(submission);
        }
    }

    /// The clients are gone, and what they wanted with them; that they are gone is still to be heard.
    pub(super) fn forget_clients(&mut self) {
        let left = self.urgent.drain(..).chain(self.publishes.drain(..)).filter(Submission::outlives_clients).collect();
        self.urgent = left;
        self.publishing.iter_mut().for_each(|waiting| *waiting = 0);
        self.bytes = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.publishes.is_empty()
    }

    /// Takes what is next: all that is urgent, or else the publishes.
    pub(super) fn take(&mut self, taken: &mut VecDeque<Submission>) {
        if self.urgent.is_empty() {
            std::mem::swap(&mut self.publishes, taken);
            self.publishing.iter_mut().for_each(|waiting| *waiting = 0);
        } else {
            std::mem::swap(&mut self.urgent, taken);
        }
    }
}
