//! One channel as the client sees it: its life, the content being received, and the lines of the transcript it has produced.

use std::collections::{BTreeSet, VecDeque};

use crate::transcript::codec::{Arguments, decode_header, print_content, print_method};
use crate::transcript::schema::Method;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Unopened,
    Open,
    /// The client has sent channel.close.
    ClosingByClient,
    /// The server has sent channel.close and the transcript keeps back close-ok.
    ClosingByServer,
    Closed,
}

pub(crate) struct Channel {
    pub(crate) life: Life,
    /// Nothing of it belongs to the transcript: the runner's own.
    pub(crate) hidden: VecDeque<(&'static Method, Arguments)>,
    pub(crate) is_hidden: bool,
    /// False while the transcript leaves a content unfinished: a method would be an error.
    pub(crate) may_sync: bool,
    /// For each channel.flow sent and not answered: whether the runner sent it.
    pub(crate) flows: VecDeque<bool>,
    /// tx.commit is not answered yet: until then any method is an error.
    pub(crate) is_committing: bool,
    /// The number of the next publish, once confirms are on.
    next_publish: Option<u64>,
    unconfirmed: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    nacked: BTreeSet<u64>,
    content: Option<Content>,
    lines: Vec<String>,
}

struct Content {
    method: String,
    body_size: Option<u64>,
    properties: Arguments,
    body: Vec<u8>,
}

impl Channel {
    pub(crate) fn new() -> Channel {
        Channel {
            life: Life::Unopened,
            hidden: VecDeque::new(),
            is_hidden: false,
            may_sync: true,
            flows: VecDeque::new(),
            is_committing: false,
            next_publish: None,
            unconfirmed: BTreeSet::new(),
            acked: BTreeSet::new(),
            nacked: BTreeSet::new(),
            content: None,
            lines: Vec::new(),
        }
    }

    /// A new channel under the same number: everything but the transcript starts afresh.
    pub(crate) fn reopen(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        *self = Channel { life: Life::Open, is_hidden: self.is_hidden, lines, ..Channel::new() };
    }

    /// The client sends a method: what the channel must remember of it.
    pub(crate) fn sending(&mut self, method: &Method) {
        match method.name {
            "channel.open" if self.life != Life::Open => self.reopen(),
            "channel.close" if self.life == Life::Open => self.life = Life::ClosingByClient,
            "channel.close-ok" if self.life == Life::ClosingByServer => self.life = Life::Closed,
            "channel.flow" => self.flows.push_back(false),
            "tx.commit" => self.is_committing = true,
            "confirm.select" => self.next_publish = self.next_publish.or(Some(1)),
            "basic.publish" => {
                if let Some(number) = self.next_publish.as_mut() {
                    self.unconfirmed.insert(*number);
                    *number += 1;
                }
            }
            _ => {}
        }
    }

    /// Whether an answer is owed that no synchronisation can bring forward.
    pub(crate) fn is_waiting(&self) -> bool {
        match self.life {
            Life::Open => self.is_committing || !self.unconfirmed.is_empty(),
            Life::ClosingByClient => true,
            _ => false,
        }
    }

    /// Something that happened to the connection itself.
    pub(crate) fn receive_text(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// Takes a method from the server.
    pub(crate) fn receive(&mut self, method: &'static Method, arguments: Arguments) {
        match method.name {
            "channel.flow-ok" if self.flows.pop_front() == Some(true) => return,
            "channel.close-ok" => self.life = Life::Closed,
            "tx.commit-ok" => self.is_committing = false,
            "basic.ack" | "basic.nack" if self.confirm(method, &arguments) => return,
            _ => {}
        }
        if method.has_content() {
            if method.name == "basic.return" {
                self.flush_confirms();
            }
            self.content = Some(Content {
                method: print_method(method, &arguments),
                body_size: None,
                properties: Arguments::default(),
                body: Vec::new(),
            });
        } else if self.is_hidden {
            self.hidden.push_back((method, arguments));
        } else {
            self.lines.push(print_method(method, &arguments));
        }
    }

    pub(crate) fn receive_header(&mut self, payload: &[u8]) {
        match (&mut self.content, decode_header(payload)) {
            (Some(content), Some((body_size, properties))) if content.body_size.is_none() => {
                content.body_size = Some(body_size);
                content.properties = properties;
                self.finish_content();
            }
            _ => self.complain(&format!("content header {}", crate::transcript::text::hex(payload))),
        }
    }

    pub(crate) fn receive_body(&mut self, payload: &[u8]) {
        match &mut self.content {
            Some(content) if content.body_size.is_some() => {
                content.body.extend(payload);
                self.finish_content();
            }
            _ => self.complain(&format!("content body {}", crate::transcript::text::hex(payload))),
        }
    }

    fn finish_content(&mut self) {
        let finished = |content: &mut Content| content.body_size <= Some(content.body.len() as u64);
        if let Some(content) = self.content.take_if(finished) {
            let content_text = print_content(&content.properties, &content.body);
            self.lines.push(content.method + &content_text);
        }
    }

    /// Notes something the protocol does not allow, so that no expectation matches.
    pub(crate) fn complain(&mut self, what: &str) {
        self.lines.push(format!("!! {what}"));
    }

    /// Brokers are free to batch confirms, so only the set of the confirmed publishes counts. False if this is no confirm.
    fn confirm(&mut self, method: &Method, arguments: &Arguments) -> bool {
        let tag = arguments.number("delivery_tag");
        let confirmed: BTreeSet<u64> = if arguments.bit("multiple") {
            self.unconfirmed.range(..=tag).copied().collect()
        } else {
            self.unconfirmed.get(&tag).copied().into_iter().collect()
        };
        if !confirmed.contains(&tag) {
            return false;
        }
        for number in &confirmed {
            self.unconfirmed.remove(number);
        }
        if method.name == "basic.ack" {
            self.acked.extend(confirmed);
        } else {
            self.nacked.extend(confirmed);
        }
        true
    }

    /// Confirms go behind everything else of their group, as brokers are free to delay them, but never behind a basic.return.
    fn flush_confirms(&mut self) {
        for (verb, numbers) in [("confirmed", &mut self.acked), ("nacked", &mut self.nacked)] {
            if !numbers.is_empty() {
                self.lines.push(format!("{verb} {}", ranges(numbers)));
                numbers.clear();
            }
        }
    }

    /// Whether a method may be sent that the transcript does not show.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.life == Life::Open && self.may_sync && !self.is_committing
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.flush_confirms();
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn line_count(&self) -> usize {
        self.lines.len() + usize::from(!self.acked.is_empty()) + usize::from(!self.nacked.is_empty())
    }
}

/// `1-3,5`
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let ranges: Vec<_> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    ranges.join(",")
}
