//! What messages go through here whose publishers trace them (W3C Trace Context, the header `traceparent`): spans, for the shell to
//! send to who collects them.
//!
//! Off, it costs one look at an option where something happens; on, a look for the header in each message. What is known of a message
//! while it is in a queue is kept here, by its place, for as many as there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::queue::{Entry, QueueId};
use super::{At, Broker};
use crate::amqp::Message;
use crate::amqp::table::Value;

/// Traced messages that a virtual host follows through its queues at a time.
pub const FOLLOWED: usize = 64 * 1024;
/// Events that a span has at most: who gets a message and gives it back over and over needs no more to be found.
const EVENTS: usize = 16;

/// Where in a trace the publisher of a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub flags: u8,
}

impl Parent {
    const SAMPLED: u8 = 1;

    /// Reads `00-TRACE-SPAN-FLAGS`, in lower-case hexadecimal; later versions may have more behind that.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [version] = hex(text.get(..2)?)?;
        let trace_id = hex(text.get(3..35)?)?;
        let span_id = hex(text.get(36..52)?)?;
        let [flags] = hex(text.get(53..55)?)?;
        let dashes = [2, 35, 52].iter().all(|at| text[*at] == b'-');
        let ends = match version {
            0 => text.len() == 55,
            0xff => false,
            _ => text.get(55).is_none_or(|next| *next == b'-'),
        };
        (dashes && ends && trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, flags })
    }

    /// That of a message whose publisher has it recorded.
    fn sampled(message: &Message) -> Option<Self> {
        let (Value::String(text) | Value::Bytes(text)) = message.properties().header("traceparent")? else { return None };
        Self::parse(text).filter(|parent| parent.flags & Self::SAMPLED != 0)
    }
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

/// What a span is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// A message was routed, to so many queues.
    Publish { connection: Box<str>, queues: usize, routed: bool },
    /// It was in a queue, until this became of it: `ack`, `no-ack`, a reason for which messages die, `purged`, `queue-deleted`.
    Queue { queue: Arc<str>, outcome: &'static str },
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    pub what: &'static str,
    /// The connection that it has to do with.
    pub connection: Option<Box<str>>,
}

/// A piece of work that was done for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub parent: Parent,
    pub work: Work,
    /// Nanoseconds since the Unix epoch.
    pub began: u64,
    /// `None`: with the round in which it is told.
    pub ended: Option<u64>,
    pub exchange: Box<str>,
    pub routing_key: Box<str>,
    pub message_id: Option<Box<str>>,
    pub correlation_id: Option<Box<str>>,
    /// Bytes of the body.
    pub size: u64,
    pub moments: Vec<Moment>,
}

impl Span {
    fn of(parent: Parent, message: &Message, work: Work, now: u64) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        let properties = message.properties();
        Self {
            parent,
            work,
            began: now,
            ended: None,
            exchange: text(message.exchange()),
            routing_key: text(message.routing_key()),
            message_id: properties.message_id().map(text),
            correlation_id: properties.correlation_id().map(text),
            size: message.body_len() as u64,
            moments: Vec::new(),
        }
    }

    fn happened(&mut self, at: u64, what: &'static str, connection: Option<Box<str>>) {
        if self.moments.len() < EVENTS {
            self.moments.push(Moment { at, what, connection });
        }
    }
}

/// A message in a queue, ready or unacked.
#[derive(Debug)]
struct Followed {
    span: Span,
    unacked: bool,
}

/// The spans of a virtual host.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Nanoseconds since the Unix epoch, as the shell says at each round.
    now: u64,
    /// By their places in queues.
    followed: BTreeMap<(QueueId, u64), Followed>,
    done: Vec<Span>,
    /// Messages that there was no room to follow.
    missed: u64,
}

impl Spans {
    pub(super) fn enqueued(&mut self, (id, name): (QueueId, &Arc<str>), entry: &Entry) {
        let Some(parent) = Parent::sampled(&entry.message) else { return };
        if self.followed.len() >= FOLLOWED {
            self.missed += 1;
            return;
        }
        let work = Work::Queue { queue: Arc::clone(name), outcome: "" };
        let span = Span::of(parent, &entry.message, work, self.now);
        self.followed.insert((id, entry.position), Followed { span, unacked: false });
    }

    /// Somebody gets it, on this connection; it ends with that when nobody is to acknowledge it.
    pub(super) fn delivered(&mut self, id: QueueId, position: u64, no_ack: bool, connection: impl FnOnce() -> String) {
        let now = self.now;
        let Some(followed) = self.followed.get_mut(&(id, position)) else { return };
        followed.unacked = true;
        followed.span.happened(now, "deliver", Some(connection().into()));
        if no_ack {
            self.ended(id, position, "no-ack");
        }
    }

    pub(super) fn requeued(&mut self, id: QueueId, position: u64) {
        let now = self.now;
        if let Some(followed) = self.followed.get_mut(&(id, position)) {
            followed.unacked = false;
            followed.span.happened(now, "requeue", None);
        }
    }

    /// It has got another place in its queue.
    pub(super) fn moved(&mut self, id: QueueId, before: u64, position: u64) {
        if let Some(followed) = self.followed.remove(&(id, before)) {
            self.followed.insert((id, position), followed);
        }
    }

    /// It is in the queue no more.
    pub(super) fn ended(&mut self, id: QueueId, position: u64, why: &'static str) {
        if let Some(followed) = self.followed.remove(&(id, position)) {
            self.done(followed, why);
        }
    }

    /// What is ready in a queue ends, wherever it is.
    pub(super) fn dropped(&mut self, id: QueueId, why: &'static str) {
        let of = self.followed.range((id, 0)..=(id, u64::MAX));
        let ready: Vec<u64> = of.filter(|(_, followed)| !followed.unacked).map(|((_, position), _)| *position).collect();
        ready.into_iter().for_each(|position| self.ended(id, position, why));
    }

    fn done(&mut self, Followed { mut span, .. }: Followed, why: &'static str) {
        if let Work::Queue { outcome, .. } = &mut span.work {
            *outcome = why;
        }
        span.ended = Some(self.now);
        self.done.push(span);
    }
}

impl Broker {
    /// From now on messages are followed whose publishers trace them.
    pub fn keep_spans(&mut self) {
        self.spans = Some(Box::default());
    }

    /// At which time what is handled next happens: nanoseconds since the Unix epoch, when spans are kept.
    pub fn set_span_time(&mut self, now: impl FnOnce() -> u64) {
        if let Some(spans) = &mut self.spans {
            spans.now = now();
        }
    }

    /// The spans that have ended since this was last called, and how many messages there was no room to follow.
    pub fn take_spans(&mut self) -> (Vec<Span>, u64) {
        self.spans.as_mut().map_or_else(Default::default, |spans| (std::mem::take(&mut spans.done), std::mem::take(&mut spans.missed)))
    }

    /// How many messages are followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.spans.as_ref().map_or(0, |spans| spans.followed.len())
    }

    /// A client's message goes to so many queues.
    #[cold]
    #[inline(never)]
    pub(super) fn span_published(&mut self, at: At, message: &Message, queues: usize, routed: bool) {
        let Some(parent) = Parent::sampled(message) else { return };
        let connection = self.connection(at.connection).map_or_else(Box::default, |connection| connection.opened.origin.name().into());
        if let Some(spans) = &mut self.spans {
            let span = Span::of(parent, message, Work::Publish { connection, queues, routed }, spans.now);
            spans.done.push(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::parse(text.as_bytes()).expect("a parent");
        assert_eq!((parent.trace_id[0], parent.trace_id[15], parent.span_id[0], parent.flags), (0x0a, 0x9c, 0xb7, 1));
        let later = format!("cc{}-what-the-future-will-be-like", &text[2..]);
        assert_eq!(Parent::parse(later.as_bytes()), Some(parent));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let zeros = |n| "0".repeat(n);
        for bad in [
            String::new(),
            good[..54].to_owned(),
            format!("{good}-"),
            format!("ff{}", &good[2..]),
            format!("cc{}.", &good[2..]),
            good.to_uppercase(),
            good.replace('-', "_"),
            good.replace("0af7651916cd43dd8448eb211c80319c", &zeros(32)),
            good.replace("b7ad6b7169203331", &zeros(16)),
            good.replace("b7ad", "b7ag"),
        ] {
            assert_eq!(Parent::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
