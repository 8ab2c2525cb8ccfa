//! One channel: what the broker was recorded to say, what it says now, and which of these belong together.

use std::collections::{HashSet, VecDeque};

use super::names::Names;
use super::script::Said;
use super::tags::{Confirms, Deliveries, Settling};
use crate::transcript::codec::{Argument, Arguments};
use crate::transcript::schema::Method;

#[derive(Debug, Default)]
pub(super) struct Channel {
    expected: VecDeque<Said>,
    arrived: VecDeque<Said>,
    deliveries: Deliveries,
    /// Consumers whose deliveries are not settled, by their tags in the recording.
    no_ack: HashSet<Vec<u8>>,
    /// The same for consumers and gets that the broker has not answered in the recording.
    consumes: VecDeque<bool>,
    gets: VecDeque<bool>,
    /// What has become of publishes, then and now, and of which we want to know.
    confirmed_then: Confirms,
    confirmed_now: Confirms,
    unconfirmed: VecDeque<(u64, bool)>,
    /// Some of what was recorded has not come, so that it cannot be settled.
    has_missed: bool,
    /// The broker has closed the channel and ignores what is said on it, until it has heard close-ok.
    is_closing: bool,
}

/// What to send in the place of a recorded method.
#[derive(Debug)]
pub(super) struct Sends {
    pub(super) channel: u16,
    pub(super) method: &'static Method,
    pub(super) each: Vec<Arguments>,
    /// Why it is not sent.
    pub(super) missing: Option<String>,
}

/// Whether the broker says it in answer to a method, and not when it comes to that.
fn is_reply(name: &str) -> bool {
    name.ends_with("-ok") || name == "basic.get-empty"
}

fn is_confirm(name: &str) -> bool {
    matches!(name, "basic.ack" | "basic.nack")
}

/// What depends on the broker's machine.
fn is_weather(name: &str) -> bool {
    matches!(name, "connection.blocked" | "connection.unblocked")
}

fn is_close(name: &str) -> bool {
    matches!(name, "channel.close" | "connection.close")
}

impl Channel {
    /// The broker was recorded to say this.
    pub(super) fn expect(&mut self, said: Said) {
        let (tag, multiple) = (said.arguments.number("delivery_tag"), said.arguments.bit("multiple"));
        match said.name() {
            name if is_weather(name) => return,
            name if is_confirm(name) => {
                let acked = name == "basic.ack";
                self.unconfirmed.extend(self.confirmed_then.covered(tag, multiple).into_iter().map(|number| (number, acked)));
                self.confirmed_then.take(tag, multiple, acked);
                return;
            }
            "basic.consume-ok" if self.consumes.pop_front() == Some(true) => {
                self.no_ack.insert(said.arguments.string("consumer_tag").to_vec());
            }
            _ => {}
        }
        self.expected.push_back(said);
    }

    /// The broker says this.
    pub(super) fn arrive(&mut self, said: Said) {
        match said.name() {
            name if is_weather(name) => return,
            name if is_confirm(name) => {
                let (tag, multiple) = (said.arguments.number("delivery_tag"), said.arguments.bit("multiple"));
                return self.confirmed_now.take(tag, multiple, name == "basic.ack");
            }
            "channel.close" => self.is_closing = true,
            _ => {}
        }
        self.arrived.push_back(said);
    }

    /// Whether the client owes a close-ok. In the recording it may have said more before it knew.
    pub(super) fn take_closing(&mut self) -> bool {
        std::mem::take(&mut self.is_closing)
    }

    /// Translates what a client said, and takes note of what follows from it.
    pub(super) fn sending(&mut self, said: Said) -> Sends {
        let (tag, multiple) = (said.arguments.number("delivery_tag"), said.arguments.bit("multiple"));
        let shown = said.print();
        let Said { channel, method, mut arguments, content } = said;
        let mut sends = Sends { channel, method, each: Vec::new(), missing: None };
        match method.name {
            "basic.ack" | "basic.nack" | "basic.reject" => {
                match self.deliveries.settle(tag, multiple, self.has_missed) {
                    Settling::AsRecorded => sends.each.push(arguments),
                    Settling::Missing => sends.missing = Some(format!("{shown} (the message has not come)")),
                    Settling::Tags(tags) => {
                        for (tag, multiple) in tags {
                            let mut arguments = arguments.clone();
                            arguments.replace("delivery_tag", Argument::Number(tag));
                            arguments.replace("multiple", Argument::Bit(multiple));
                            sends.each.push(arguments);
                        }
                    }
                }
                return sends;
            }
            "basic.recover" | "basic.recover-async" | "channel.close" => self.deliveries.clear(),
            "channel.open" => *self = Self { expected: std::mem::take(&mut self.expected), ..Self::default() },
            "basic.consume" if arguments.bit("nowait") && arguments.bit("no_ack") => {
                self.no_ack.insert(arguments.string("consumer_tag").to_vec());
            }
            "basic.consume" if !arguments.bit("nowait") => self.consumes.push_back(arguments.bit("no_ack")),
            "basic.get" => self.gets.push_back(arguments.bit("no_ack")),
            _ => {}
        }
        if let Some((properties, body)) = content {
            arguments.extend(properties);
            arguments.replace("body", Argument::String(body));
        }
        sends.each.push(arguments);
        sends
    }

    /// Whether something has to come still: anything, or only replies and confirms.
    pub(super) fn is_waiting(&self, all: bool) -> bool {
        if self.is_closing {
            return false;
        }
        let is_missing = |(number, _): &(u64, bool)| self.confirmed_now.outcome(*number).is_none();
        self.expected.iter().any(|said| all || is_reply(said.name())) || self.unconfirmed.iter().any(is_missing)
    }

    /// What was waited for in vain.
    pub(super) fn give_up(&mut self, all: bool) -> Vec<String> {
        let is_waited_for = |said: &Said| all || is_reply(said.name());
        let (given_up, kept): (Vec<Said>, Vec<Said>) = self.expected.drain(..).partition(is_waited_for);
        self.expected.extend(kept);
        self.has_missed |= !given_up.is_empty();
        let mut lines: Vec<String> = given_up.iter().map(Said::print).collect();
        let confirms = self.unconfirmed.drain(..).filter(|(number, _)| self.confirmed_now.outcome(*number).is_none());
        lines.extend(confirms.map(|(number, _)| format!("the confirm of publish {number}")));
        lines
    }

    /// What has come and was not recorded.
    pub(super) fn left_over(&mut self) -> Vec<Said> {
        self.arrived.drain(..).collect()
    }

    /// Publishes of which both are known: their number, whether they were acked, whether they are.
    pub(super) fn next_confirm(&mut self) -> Option<(u64, bool, bool)> {
        let known = |(number, _): &(u64, bool)| self.confirmed_now.outcome(*number).is_some();
        let (number, then) = self.unconfirmed.remove(self.unconfirmed.iter().position(known)?)?;
        Some((number, then, self.confirmed_now.outcome(number)?))
    }

    /// What was recorded, and what has come for it.
    pub(super) fn next_pair(&mut self, names: &Names) -> Option<(Said, Said)> {
        let found = self.arrived.iter().enumerate().find_map(|(index, actual)| Some((self.expected_for(actual, names)?, index)));
        let (expected, arrived) = found?;
        let (expected, actual) = (self.expected.remove(expected)?, self.arrived.remove(arrived)?);
        let is_settled = match expected.name() {
            "basic.deliver" => !self.no_ack.contains(expected.arguments.string("consumer_tag")),
            "basic.get-ok" => self.gets.pop_front() == Some(false),
            "basic.get-empty" => {
                self.gets.pop_front();
                false
            }
            _ => false,
        };
        if is_settled && matches!(actual.name(), "basic.deliver" | "basic.get-ok") {
            self.deliveries.paired(expected.arguments.number("delivery_tag"), actual.arguments.number("delivery_tag"));
        }
        Some((expected, actual))
    }

    fn expected_for(&self, actual: &Said, names: &Names) -> Option<usize> {
        let name = actual.name();
        let exactly = self.expected.iter().position(|expected| match (expected.name(), name) {
            ("basic.deliver", "basic.deliver") => {
                let consumer = names.now(expected.arguments.string("consumer_tag"));
                consumer == actual.arguments.string("consumer_tag") && has_same_body(expected, actual)
            }
            ("basic.return", "basic.return") => has_same_body(expected, actual),
            ("basic.cancel", "basic.cancel") => {
                names.now(expected.arguments.string("consumer_tag")) == actual.arguments.string("consumer_tag")
            }
            ("basic.get-ok" | "basic.get-empty", "basic.get-ok" | "basic.get-empty") => true,
            (expected, actual) => expected == actual,
        });
        // An error instead of a reply, or the other way round.
        exactly.or_else(|| {
            let first = self.expected.iter().position(|expected| is_reply(expected.name()) || is_close(expected.name()))?;
            let was_error = is_close(self.expected[first].name());
            (is_close(name) || (was_error && is_reply(name))).then_some(first)
        })
    }
}

fn has_same_body(expected: &Said, actual: &Said) -> bool {
    let body = |said: &Said| said.content.as_ref().map(|(_, body)| body.clone());
    body(expected) == body(actual)
}
