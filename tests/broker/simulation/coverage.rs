//! What the runs have come upon, so that a simulation which no longer reaches something is noticed.

use std::collections::BTreeSet;

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use leveret::broker::Action;

use super::wire::Event;

#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Class and method ids.
    methods: BTreeSet<(u16, u16)>,
    codes: BTreeSet<u16>,
    marks: BTreeSet<&'static str>,
}

/// Everything that a broker says, but for what concerns direct reply-to, flow and secrets.
const METHODS: [(u16, u16); 32] = [
    (10, 41),
    (10, 50),
    (10, 51),
    (10, 60),
    (10, 61),
    (20, 11),
    (20, 40),
    (20, 41),
    (40, 11),
    (40, 21),
    (40, 31),
    (40, 51),
    (50, 11),
    (50, 21),
    (50, 31),
    (50, 41),
    (50, 51),
    (60, 11),
    (60, 21),
    (60, 30),
    (60, 31),
    (60, 50),
    (60, 60),
    (60, 71),
    (60, 72),
    (60, 80),
    (60, 111),
    (60, 120),
    (85, 11),
    (90, 11),
    (90, 21),
    (90, 31),
];
const CODES: [u16; 5] = [403, 404, 405, 406, 530];
const MARKS: [&str; 9] = [
    "ack multiple",
    "body in several frames",
    "body over 8 KiB",
    "close socket",
    "congested",
    "partial tx completion",
    "pause",
    "redelivered",
    "resume",
];

impl Coverage {
    pub(super) fn heard(&mut self, event: &Event, frame_max: usize) {
        use basic::AMQPMethod as Basic;
        let class = &event.class;
        self.methods.insert((class.get_amqp_class_id(), class.get_amqp_method_id()));
        match class {
            AMQPClass::Basic(Basic::Ack(ack)) if ack.multiple => self.mark("ack multiple"),
            AMQPClass::Basic(Basic::Deliver(deliver)) if deliver.redelivered => self.mark("redelivered"),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                self.codes.insert(close.reply_code);
                if close.reply_text.as_str().ends_with("partial tx completion") {
                    self.mark("partial tx completion");
                }
            }
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => drop(self.codes.insert(close.reply_code)),
            _ => {}
        }
        if event.body.len() > frame_max {
            self.mark("body in several frames");
        }
        if event.body.len() > 8192 {
            self.mark("body over 8 KiB");
        }
    }

    pub(super) fn acted(&mut self, action: Action) {
        match action {
            Action::CloseSocket(_) => self.mark("close socket"),
            Action::AwaitCloseOk(_) | Action::CloseUnanswered(_) => {}
            Action::PauseReading(_) => self.mark("pause"),
            Action::ResumeReading(_) => self.mark("resume"),
            Action::ReportFlushed(_) => self.mark("congested"),
        }
    }

    fn mark(&mut self, what: &'static str) {
        self.marks.insert(what);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.methods.extend(other.methods);
        self.codes.extend(other.codes);
        self.marks.extend(other.marks);
    }

    pub(super) fn check(&self) {
        let methods: Vec<_> = METHODS.iter().filter(|m| !self.methods.contains(m)).collect();
        let codes: Vec<_> = CODES.iter().filter(|c| !self.codes.contains(c)).collect();
        let marks: Vec<_> = MARKS.iter().filter(|m| !self.marks.contains(*m)).collect();
        assert!(methods.is_empty() && codes.is_empty() && marks.is_empty(), "never came up: {methods:?} {codes:?} {marks:?}");
    }
}
