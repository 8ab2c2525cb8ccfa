//! One connection between a client and the broker: the pipes both ways, and what the shell keeps of it.

use std::collections::VecDeque;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection};
use leveret::amqp::{Command, Decoder};

use super::client::Client;
use super::op::Op;
use super::wire::{self, Event};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) frame_max: usize,
    decoder: Decoder,
    /// Bytes that the client has sent and the broker has not read.
    to_broker: Vec<u8>,
    /// The methods among them, and among the bytes that the decoder keeps.
    on_the_way: VecDeque<(u16, Op)>,
    /// Decoded, and waiting for the broker.
    pub(super) arrived: VecDeque<((u16, Op), Command)>,
    /// What the client has not read yet, each with the bytes still missing.
    unread: VecDeque<(Event, usize)>,
    /// Bytes of these.
    pub(super) pending: usize,
    /// What the broker was told of it last.
    pub(super) told: usize,
    /// The broker waits to hear that this has drained.
    pub(super) report: bool,
    /// The broker has asked not to be sent more.
    pub(super) paused: bool,
    pub(super) close_when_flushed: bool,
    /// The client seldom reads.
    pub(super) slow: bool,
}

impl Link {
    pub(super) fn new(frame_max: usize, slow: bool) -> Self {
        let decoder = opened_decoder(frame_max);
        Self {
            client: Client::default(),
            frame_max,
            decoder,
            to_broker: Vec::new(),
            on_the_way: VecDeque::new(),
            arrived: VecDeque::new(),
            unread: VecDeque::new(),
            pending: 0,
            told: 0,
            report: false,
            paused: false,
            close_when_flushed: false,
            slow,
        }
    }

    pub(super) fn send(&mut self, channel: u16, op: Op) {
        op.encode(channel, self.frame_max, &mut self.to_broker);
        self.on_the_way.push_back((channel, op));
    }

    pub(super) fn send_heartbeat(&mut self) {
        wire::put(&AMQPFrame::Heartbeat, &mut self.to_broker);
    }

    /// Bytes that wait for the broker to read them.
    pub(super) fn waiting(&self) -> usize {
        self.to_broker.len()
    }

    /// The broker reads this much, unless it has paused.
    pub(super) fn transmit(&mut self, bytes: usize) {
        if self.paused {
            return;
        }
        let bytes = bytes.min(self.to_broker.len());
        let mut commands = Vec::new();
        self.decoder.feed(&self.to_broker[..bytes], &mut commands);
        self.to_broker.drain(..bytes);
        for command in commands {
            let sent = self.on_the_way.pop_front().unwrap_or_else(|| panic!("nobody sent {command:?}"));
            check_decoded(&sent, &command);
            self.arrived.push_back((sent, command));
        }
    }

    /// Whether much of a content has been read that is not complete.
    pub(super) fn is_in_content(&self) -> bool {
        self.decoder.memory() > 4096
    }

    /// Takes methods that the broker is to handle together: publishes or acks of one channel, or anything else alone.
    pub(super) fn batch(&mut self, most: usize) -> (Vec<(u16, Op)>, Vec<Command>) {
        let (mut ops, mut commands): (Vec<(u16, Op)>, Vec<Command>) = (Vec::new(), Vec::new());
        while let Some(((channel, op), _)) = self.arrived.front() {
            // Tag 0 covers what an ack before it in the batch sets free.
            let groups = matches!(op, Op::Publish(_) | Op::Ack { tag: 1.., .. });
            let same = ops.first().is_none_or(|(c, first)| {
                c == channel
                    && groups
                    && !matches!(first, Op::Ack { tag: 0, .. })
                    && std::mem::discriminant(first) == std::mem::discriminant(op)
            });
            if !same || ops.len() >= most {
                break;
            }
            if let Some((op, command)) = self.arrived.pop_front() {
                ops.push(op);
                commands.push(command);
            }
        }
        (ops, commands)
    }

    pub(super) fn receive(&mut self, events: &[Event]) {
        for event in events {
            self.pending += event.size;
            self.unread.push_back((event.clone(), event.size));
        }
    }

    /// The client reads this much.
    pub(super) fn read(&mut self, bytes: usize) {
        let mut bytes = bytes.min(self.pending);
        self.pending -= bytes;
        while let Some((event, left)) = self.unread.front_mut() {
            let now = bytes.min(*left);
            *left -= now;
            bytes -= now;
            if *left > 0 {
                return;
            }
            self.client.read(event);
            self.unread.pop_front();
        }
    }
}

/// A decoder that has seen connection.open: the handshake is the shell's, and the broker hears of it when it is over.
pub(super) fn opened_decoder(frame_max: usize) -> Decoder {
    let mut decoder = Decoder::new(frame_max, frame_max, 16 * 1024 * 1024);
    let mut open = Vec::new();
    let method = connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() });
    wire::put_method(0, AMQPClass::Connection(method), &mut open);
    let mut commands = Vec::new();
    decoder.feed(&open, &mut commands);
    assert_eq!(commands.len(), 1);
    decoder
}

/// The decoder has understood what was sent.
fn check_decoded((channel, op): &(u16, Op), command: &Command) {
    let understood = match (op, command) {
        (Op::Publish(sent), Command::Publish(to, got)) => {
            let mut body = got.message.small_body().to_vec();
            got.message.large_body().iter().for_each(|part| body.extend_from_slice(part));
            to == channel
                && got.mandatory == sent.mandatory
                && (got.message.exchange(), got.message.routing_key()) == (sent.exchange.as_bytes(), sent.key.as_bytes())
                && body == super::op::body(sent.id, sent.size)
        }
        (Op::Ack { tag, multiple }, Command::Ack { channel: to, delivery_tag, multiple: all }) => {
            (to, delivery_tag, all) == (channel, tag, multiple)
        }
        (Op::Nack { tag, multiple, requeue }, Command::Nack { channel: to, delivery_tag, multiple: all, requeue: back }) => {
            (to, delivery_tag, all, back) == (channel, tag, multiple, requeue)
        }
        (Op::Reject { tag, requeue }, Command::Reject { channel: to, delivery_tag, requeue: back }) => {
            (to, delivery_tag, back) == (channel, tag, requeue)
        }
        (Op::Qos { count, global }, Command::Qos { channel: to, prefetch_size: 0, prefetch_count, global: all }) => {
            (to, prefetch_count, all) == (channel, count, global)
        }
        (_, Command::Method(to, _)) => to == channel,
        _ => false,
    };
    assert!(understood, "sent {op:?} on {channel}, decoded {command:?}");
}
