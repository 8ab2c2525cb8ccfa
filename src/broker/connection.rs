//! A connection after its handshake: connection.* methods, the table of its channels, what ends with it.
//!
//! ```text
//!   running ──connection.close from the client──▶ ended   (close-ok sent)
//!   running ──an error, or shutdown──▶ closing ──close-ok──▶ ended
//! ```
//! Either way its channels and exclusive queues are gone before the reply is sent (behaviour C25, gotcha 74).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::asking::Answers;
use super::channel::Channel;
use super::paging::Stalled;
use super::queue::QueueId;
use super::rights::{Rights, Source};
use super::{Action, Alarms, At, Broker, ConnectionId, Effects, Error, INTERNAL_USER, Origin, Refusal, Timestamp};
use crate::amqp::{AMQPClass, Command, Method, connection};

/// What a client said it understands, in the capabilities of its connection.start-ok.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub consumer_cancel_notify: bool,
    pub connection_blocked: bool,
}

/// The outcome of a handshake.
#[derive(Clone, Debug)]
pub struct Opened {
    pub user: Arc<str>,
    pub capabilities: Capabilities,
    /// Negotiated, in bytes with envelope and end octet; 0 is no limit.
    pub frame_max: usize,
    /// Negotiated; 0 is no limit.
    pub channel_max: u16,
    pub origin: Box<Origin>,
    /// What the user may do here.
    pub rights: Arc<Rights>,
}

/// Connections of a virtual host that an administrator means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections<'a> {
    All,
    /// Those of this user.
    Of(&'a str),
    One(ConnectionId),
}

impl Connections<'_> {
    fn include(self, id: ConnectionId, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(wanted) => wanted == user,
            Self::One(wanted) => wanted == id,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// connection.close is sent; only close and close-ok count.
    Closing,
    Ended,
}

#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    /// Counts all connections there have been, as ids are given out again.
    pub(super) serial: u64,
    pub(super) opened: Opened,
    pub(super) connected_at: Timestamp,
    pub(super) channels: BTreeMap<u16, Box<Channel>>,
    pub(super) exclusive_queues: Vec<QueueId>,
    /// Bytes that its socket had not taken when last told.
    pub(super) pending: usize,
    /// Its socket is behind: its consumers get nothing until it has drained.
    pub(super) congested: bool,
    /// It has published: an alarm blocks it.
    published: bool,
    blocked: bool,
    /// A command waits, and everything behind it.
    pub(super) stalled: Option<Box<Stalled>>,
    /// What it may do is asked of somebody else.
    asks: bool,
    pub(super) answers: Answers,
}

impl Connection {
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn has_published(&self) -> bool {
        self.published
    }
}

impl Broker {
    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.index())?.as_mut()
    }

    pub(super) fn connected(&mut self, id: ConnectionId, opened: Opened, effects: &mut Effects) {
        if id.index() >= self.connections.len() {
            self.connections.resize_with(id.index() + 1, || None);
        }
        self.churn.connection_created += 1;
        let asks = matches!(opened.rights.source, Source::Service);
        self.connections[id.index()] = Some(Connection {
            state: State::Running,
            serial: self.churn.connection_created,
            opened,
            connected_at: self.now,
            channels: BTreeMap::new(),
            exclusive_queues: Vec::new(),
            pending: 0,
            congested: false,
            published: false,
            blocked: false,
            stalled: None,
            asks,
            answers: Answers::default(),
        });
        let open_ok = connection::AMQPMethod::OpenOk(connection::OpenOk {});
        effects.output(id).method(0, &AMQPClass::Connection(open_ok));
        self.connection_created(id);
        self.watch_credential(id);
        if self.journal.is_some() {
            self.journal_connected(id);
        }
    }

    /// One method, with its content, from a connection. Inlined where it is hot: three calls less for each message.
    #[inline(always)]
    pub(super) fn command(&mut self, id: ConnectionId, command: Command, effects: &mut Effects) {
        let Some(connection) = self.connection(id) else { return };
        if let Some(stalled) = &mut connection.stalled {
            stalled.waiting.push_back(command);
            return;
        }
        match connection.state {
            State::Running if connection.asks => self.command_that_may_ask(id, command, effects),
            State::Running => self.running_command(id, command, effects),
            State::Closing => {
                if let Command::Method(0, method) = command {
                    self.method_while_closing(id, &method.class, effects);
                }
            }
            State::Ended => {}
        }
    }

    #[inline(always)]
    pub(super) fn running_command(&mut self, id: ConnectionId, command: Command, effects: &mut Effects) {
        match command {
            Command::Fault(fault) if fault.channel != 0 => self.close_channel(id, fault, effects),
            Command::Fault(fault) => {
                let out_of_step = fault.out_of_step;
                self.close_connection(id, (0, 0), &fault.into(), effects);
                if out_of_step {
                    self.set_ended(id);
                    effects.actions.push(Action::CloseUnanswered(id));
                }
            }
            Command::DeliverAgain { channel, delivery_tag } => {
                self.deliver_again(At { connection: id, channel }, delivery_tag, effects);
            }
            Command::Method(0, method) => self.connection_method(id, &method, effects),
            command => self.channel_command(id, command, effects),
        }
    }

    fn connection_method(&mut self, id: ConnectionId, method: &Method, effects: &mut Effects) {
        match &method.class {
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                self.end_connection(id, effects);
                self.end_with_close_ok(id, effects);
            }
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update)) => self.update_secret(id, update, effects),
            _ => {
                let error = Error::unexpected_method("running");
                self.close_connection(id, method.class_method, &error, effects);
            }
        }
    }

    fn method_while_closing(&mut self, id: ConnectionId, class: &AMQPClass, effects: &mut Effects) {
        match class {
            // Both sides have closed at once: both are answered.
            AMQPClass::Connection(connection::AMQPMethod::Close(_)) => self.end_with_close_ok(id, effects),
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => {
                self.set_ended(id);
                effects.actions.push(Action::CloseSocket(id));
            }
            _ => {}
        }
    }

    fn end_with_close_ok(&mut self, id: ConnectionId, effects: &mut Effects) {
        let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
        effects.output(id).method(0, &AMQPClass::Connection(ok));
        self.set_ended(id);
        effects.actions.push(Action::CloseSocket(id));
    }

    fn set_ended(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            connection.state = State::Ended;
        }
    }

    /// Closes a connection with an error: what belongs to it ends now, then connection.close is sent.
    pub(super) fn close_connection(&mut self, id: ConnectionId, class_method: (u16, u16), error: &Error, effects: &mut Effects) {
        if self.journal.is_some() {
            self.journal_refused(At { connection: id, channel: 0 }, error);
        }
        self.end_connection(id, effects);
        let Some(connection) = self.connection(id) else { return };
        connection.stalled = None;
        connection.state = State::Closing;
        effects.refusals.push(Refusal { connection: id, channel: 0, reply_text: error.reply_text() });
        effects.output(id).method(0, &AMQPClass::Connection(connection_close(error, class_method)));
        // A blocked connection is read again, or its close-ok would never come.
        effects.actions.push(Action::ResumeReading(id));
        effects.actions.push(Action::AwaitCloseOk(id));
    }

    /// Ends the channels and exclusive queues of a connection.
    fn end_connection(&mut self, id: ConnectionId, effects: &mut Effects) {
        self.send_confirms(effects);
        self.end_channels(id, effects);
        let Some(connection) = self.connection(id) else { return };
        connection.channels.clear();
        for queue in std::mem::take(&mut connection.exclusive_queues) {
            self.delete_queue(queue, INTERNAL_USER, effects);
        }
    }

    pub(super) fn disconnected(&mut self, id: ConnectionId, effects: &mut Effects) {
        self.end_connection(id, effects);
        if self.journal.is_some() {
            let in_order = self.connection(id).is_none_or(|connection| !connection.is_running());
            self.journal_disconnected(id, in_order);
        }
        self.connection_closed(id);
        if let Some(slot) = self.connections.get_mut(id.index()) {
            self.churn.connection_closed += u64::from(slot.take().is_some());
        }
    }

    /// Closes connections with 320 (behaviour C26).
    pub(super) fn close_connections(&mut self, which: Connections<'_>, reason: &str, effects: &mut Effects) {
        let error = Error::connection_forced(reason);
        for id in self.connection_ids() {
            if self.connection(id).is_some_and(|c| c.is_running() && which.include(id, &c.opened.user)) {
                self.close_connection(id, (0, 0), &error, effects);
            }
        }
    }

    fn connection_ids(&self) -> Vec<ConnectionId> {
        let ids = (0u32..).zip(&self.connections);
        ids.filter_map(|(id, slot)| slot.as_ref().map(|_| ConnectionId(id))).collect()
    }

    // Alarms (behaviour C27): publishing connections are told, and read no more until all is well.

    pub(super) fn alarms_changed(&mut self, alarms: Alarms, effects: &mut Effects) {
        let before = std::mem::replace(&mut self.alarms, alarms);
        self.alarms_have_changed(before);
        for id in self.connection_ids() {
            let Some(connection) = self.connection(id) else { continue };
            if alarms.any() && connection.published {
                self.block(id, effects);
            } else if !alarms.any() && connection.blocked {
                connection.blocked = false;
                if connection.is_running() && connection.opened.capabilities.connection_blocked {
                    let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
                    effects.urgent(id).method(0, &AMQPClass::Connection(unblocked));
                }
                effects.actions.push(Action::ResumeReading(id));
            }
        }
    }

    /// A connection has published something.
    pub(super) fn note_published(&mut self, id: ConnectionId, effects: &mut Effects) {
        let alarm = self.alarms.any();
        let Some(connection) = self.connection(id) else { return };
        connection.published = true;
        if alarm {
            self.block(id, effects);
        }
    }

    fn block(&mut self, id: ConnectionId, effects: &mut Effects) {
        let reason = self.alarms.reason();
        let Some(connection) = self.connection(id) else { return };
        if connection.blocked || !connection.is_running() {
            return;
        }
        connection.blocked = true;
        if connection.opened.capabilities.connection_blocked {
            let blocked = connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() });
            effects.urgent(id).method(0, &AMQPClass::Connection(blocked));
        }
        effects.actions.push(Action::PauseReading(id));
    }
}

/// The connection.close for an error; the error may name another method than the one at hand.
#[must_use]
pub fn connection_close(error: &Error, class_method: (u16, u16)) -> connection::AMQPMethod {
    let (class_id, method_id) = error.class_method.unwrap_or(class_method);
    connection::AMQPMethod::Close(connection::Close {
        reply_code: error.code.code(),
        reply_text: error.reply_text().into(),
        class_id,
        method_id,
    })
}
