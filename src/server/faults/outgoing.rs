//! What goes to a client: frames are cut, judged, and sent, later or never.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::engine::{End, Engine};
use super::frames::{Frame, whole_length};
use super::judging::{Seen, Verdict};
use super::methods;
use super::rule::{Direction, Then};
use crate::amqp::Command;
use crate::amqp::frame::ENVELOPE;
use crate::server::outbox::Leaves;

/// The queue of a consumer, by channel and tag, and whether it need not acknowledge.
pub(in crate::server) type Consumers<'a> = &'a dyn Fn(u16, &str) -> Option<(Arc<str>, bool)>;

#[derive(Debug, Default)]
pub(in crate::server) struct Outgoing {
    /// What is sent later, when, and what else it has to wait for.
    held: VecDeque<(Instant, Vec<u8>, Leaves)>,
    /// How many that are.
    pub(super) bytes: usize,
    /// So many bytes are sent yet, and then nothing.
    cut: Option<(usize, Then)>,
    /// Nothing is sent any more.
    pub(super) stops: bool,
    /// The queues of basic.get that were not answered yet, by channel.
    gets: BTreeMap<u16, VecDeque<Vec<u8>>>,
    /// The consumers that something was delivered to: one may be gone when its last delivery is sent.
    consumers: BTreeMap<(u16, Vec<u8>), (Arc<str>, bool)>,
}

impl Outgoing {
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.front().map(|(due, ..)| *due)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.cut.is_none() && !self.stops
    }

    /// basic.get was passed on.
    pub(super) fn asked(&mut self, channel: u16, queue: &[u8], times: usize) {
        self.gets.entry(channel).or_default().extend(std::iter::repeat_n(queue.to_vec(), times));
    }

    pub(super) fn release(&mut self, now: Instant) -> Vec<(Vec<u8>, Leaves)> {
        let mut due = Vec::new();
        while self.due().is_some_and(|due| now >= due) {
            let Some((_, bytes, leaves)) = self.held.pop_front() else { break };
            self.bytes -= bytes.len();
            due.push((bytes, leaves));
        }
        due
    }

    fn consumer(&mut self, channel: u16, tag: &[u8], consumers: Consumers<'_>) -> Option<(Arc<str>, bool)> {
        let key = (channel, tag.to_vec());
        if let Some(found) = std::str::from_utf8(tag).ok().and_then(|tag| consumers(channel, tag)) {
            self.consumers.insert(key, found.clone());
            return Some(found);
        }
        self.consumers.get(&key).cloned()
    }
}

/// An output on its way.
struct Sending {
    leaves: Leaves,
    now: Instant,
    ready: Vec<u8>,
}

impl Engine {
    /// Takes what is to be sent, whole frames; returns what is sent now.
    pub(in crate::server) fn outbound(&mut self, bytes: &[u8], leaves: Leaves, now: Instant, consumers: Consumers<'_>) -> Vec<u8> {
        self.refresh();
        let mut sending = Sending { leaves, now, ready: Vec::with_capacity(bytes.len()) };
        let mut rest = bytes;
        while !rest.is_empty() && !self.outgoing.stops {
            // An answer to a protocol header is none.
            let Some(frame) = Frame::first(rest).filter(|_| rest[0] != b'A') else {
                self.send(rest.to_vec(), None, &mut sending);
                break;
            };
            let (unit, behind) = rest.split_at(whole_length(rest));
            rest = behind;
            self.unit_out(&frame, unit, consumers, &mut sending);
        }
        sending.ready
    }

    /// A frame with its content.
    fn unit_out(&mut self, frame: &Frame<'_>, unit: &[u8], consumers: Consumers<'_>, sending: &mut Sending) {
        let Frame { id, channel, .. } = *frame;
        if id == methods::HEARTBEAT && self.stops_heartbeats.as_ref().is_some_and(|stops| !stops.is_over(sending.now)) {
            return;
        }
        let mut named = frame.named();
        let consumer = named.consumer_tag.and_then(|tag| self.outgoing.consumer(channel, tag, consumers));
        let got = match id {
            methods::GET_OK | methods::GET_EMPTY => self.outgoing.gets.get_mut(&channel).and_then(VecDeque::pop_front),
            _ => None,
        };
        named.queue = named.queue.or(consumer.as_ref().map(|(queue, _)| queue.as_bytes())).or(got.as_deref());
        let is_acked = consumer.as_ref().is_some_and(|(_, no_ack)| !no_ack);
        let verdict = self.judge(&Seen { id, channel, direction: Direction::Out, named, is_acked }, sending.now);
        if verdict.takes_it_away() {
            return self.take_away(verdict);
        }
        if let (true, Some(delivery_tag)) = (verdict.again, named.delivery_tag) {
            self.orders.push(Command::DeliverAgain { channel, delivery_tag });
        }
        let (first, content) = unit.split_at(frame.bytes.len());
        let mut first = first.to_vec();
        if let (true, Some(at)) = (verdict.redelivered, named.redelivered_at)
            && let Some(redelivered) = first.get_mut(ENVELOPE + 4 + at)
        {
            *redelivered = 1;
        }
        let twice = verdict.duplicate.then(|| [&first, content].concat());
        self.send_frame(first, &verdict, sending);
        let mut content = content;
        while let Some(frame) = Frame::first(content) {
            content = &content[frame.bytes.len()..];
            let seen = Seen { id: frame.id, channel, direction: Direction::Out, named: frame.named(), is_acked: false };
            let verdict = self.judge(&seen, sending.now);
            if verdict.takes_it_away() {
                self.take_away(verdict);
                continue;
            }
            let twice = verdict.duplicate.then(|| frame.bytes.to_vec());
            self.send_frame(frame.bytes.to_vec(), &verdict, sending);
            if let Some(twice) = twice {
                self.send(twice, None, sending);
            }
        }
        if let Some(twice) = twice {
            self.send(twice, None, sending);
        }
    }

    fn take_away(&mut self, verdict: Verdict) {
        if let Some(end) = verdict.end {
            self.ends(end);
        }
        if let Some(fault) = verdict.close {
            self.orders.push(Command::Fault(fault));
        }
    }

    fn send_frame(&mut self, mut bytes: Vec<u8>, verdict: &Verdict, sending: &mut Sending) {
        if verdict.corrupt
            && let Some(end) = bytes.last_mut()
        {
            *end = 0;
        }
        if let Some(cut) = verdict.truncate {
            self.outgoing.cut = Some(cut);
        }
        self.send(bytes, verdict.due, sending);
    }

    /// Sends something, when it is due and behind what is late.
    fn send(&mut self, mut bytes: Vec<u8>, due: Option<Instant>, sending: &mut Sending) {
        if self.outgoing.stops {
            return;
        }
        if let Some((left, then)) = &mut self.outgoing.cut {
            bytes.truncate(*left);
            *left -= bytes.len();
            if *left == 0 {
                self.outgoing.stops = true;
                if *then == Then::Close {
                    self.ends(End::Close);
                }
                self.outgoing.cut = None;
            }
        }
        if due.is_none() && self.outgoing.held.is_empty() {
            sending.ready.append(&mut bytes);
        } else {
            self.outgoing.bytes += bytes.len();
            self.outgoing.held.push_back((due.unwrap_or(sending.now), bytes, sending.leaves));
        }
    }
}
