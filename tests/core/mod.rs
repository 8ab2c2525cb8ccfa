//! The core without a shell, for tests and benches that speak to it in inputs: sockets that take everything at once.

#![allow(dead_code, reason = "each test or bench that includes this uses a part of it")]

pub(crate) mod keeper;

use std::sync::Arc;

use leveret::amqp::{AMQPClass, Command, Fate, FieldTable, Message, Method, Publish, channel, queue};
use leveret::broker::{Action, Broker, Capabilities, ConnectionId, Effects, Enquiry, Input, Opened, Refusal, Rights, Settings, Timestamp};

pub(crate) struct Core {
    pub(crate) broker: Broker,
    pub(crate) now: Timestamp,
    /// Bytes that were sent to clients.
    pub(crate) sent: usize,
    effects: Effects,
}

impl Core {
    /// With this many connections, and channel 1 open on each.
    pub(crate) fn new(connections: u32) -> Self {
        let mut core = Self::with(Settings::default());
        for id in (0..connections).map(ConnectionId) {
            core.connect(id, "guest", Rights::all());
        }
        core
    }

    /// Without connections.
    pub(crate) fn with(settings: Settings) -> Self {
        let broker = Broker::new("/", Arc::new(settings), 1);
        Self { broker, now: Timestamp(1_700_000_000_000), sent: 0, effects: Effects::default() }
    }

    /// Another connection, with channel 1 open unless that is refused with this text.
    pub(crate) fn connect(&mut self, id: ConnectionId, user: &str, rights: Rights) -> Option<String> {
        self.handle(Input::Connected(
            id,
            Opened {
                user: user.into(),
                capabilities: Capabilities::default(),
                frame_max: 131_072,
                channel_max: 0,
                origin: Box::default(),
                rights: Arc::new(rights),
            },
        ));
        self.open(id, 1)
    }

    /// Opens a channel. Returns the text of the refusal, if there was one.
    pub(crate) fn open(&mut self, id: ConnectionId, channel: u16) -> Option<String> {
        let class = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        self.command(id, Command::Method(channel, Box::new(Method { class_method: (20, 10), class })))
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, &mut self.effects);
        let mut drained = Vec::new();
        let sent = &mut self.sent;
        self.effects.drain_outputs(|_, output, _| {
            *sent += output.len();
            drained.push(std::mem::take(&mut output.bytes));
        });
        for mut buffer in drained {
            buffer.clear();
            self.effects.give_buffer(buffer);
        }
        for action in std::mem::take(&mut self.effects.actions) {
            if let Action::ReportFlushed(id) = action {
                self.handle(Input::Flushed(id, 0));
            }
        }
    }

    /// A method on channel 1. Returns the text of the refusal, if there was one.
    pub(crate) fn method(&mut self, id: ConnectionId, class: AMQPClass) -> Option<String> {
        self.command(id, Command::Method(1, Box::new(Method { class_method: (0, 0), class })))
    }

    /// Whatever a client may send. Returns the text of the refusal, if there was one.
    pub(crate) fn command(&mut self, id: ConnectionId, command: Command) -> Option<String> {
        self.handle(Input::Received(id, &mut vec![command]));
        self.refusals().pop().map(|refusal| refusal.reply_text)
    }

    /// The channels and connections that were closed with an error since the last time.
    pub(crate) fn refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.effects.refusals)
    }

    /// What was asked of somebody beside the broker since the last time.
    pub(crate) fn enquiries(&mut self) -> Vec<Enquiry> {
        std::mem::take(&mut self.effects.enquiries)
    }

    /// A durable queue.
    pub(crate) fn queue(&mut self, id: ConnectionId, name: &str, arguments: FieldTable) -> Option<String> {
        let declare = queue::Declare { queue: name.into(), durable: true, arguments, ..queue::Declare::default() };
        self.method(id, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
    }

    pub(crate) fn publish(&mut self, id: ConnectionId, mut batch: Vec<Command>) {
        self.handle(Input::Received(id, &mut batch));
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.after(milliseconds);
        self.handle(Input::Tick);
    }
}

/// A publish on channel 1.
pub(crate) fn publish(message: Message) -> Command {
    Command::Publish(1, Publish { mandatory: false, immediate: false, oversize: None, fate: Fate::default(), message })
}
