//! Plays one variant of one scenario: group after group, sends, collects everything the broker says, compares.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::ctl::{Undo, words};
use super::handshake::{Choices, connect};
use super::janitor::Janitor;
use super::link::{Link, Stage};
use super::names::Names;
use super::script::{Action, Group, Step, Variant};
use super::transport::Broker;
use super::wildcard::keep_wildcards;

/// How long a recording listens on after the last round trip, for what no round trip orders.
const LISTEN: Duration = Duration::from_millis(40);
/// While waiting for an expected line, the pause between two round trips.
const GLANCE: Duration = Duration::from_millis(10);

/// A group whose answers were not the expected ones.
#[derive(Debug)]
pub struct Difference {
    /// Counted from 0: the last of those that were sent.
    pub line: usize,
    /// What was sent, as it stands in the transcript.
    pub sent: Vec<String>,
    pub expected: Vec<String>,
    pub actual: Vec<String>,
}

/// What came of a scenario: the answers by the line of the group's last step, and the first difference.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) answers: HashMap<usize, Vec<String>>,
    pub(crate) difference: Option<Difference>,
}

pub(crate) struct Player<'a> {
    broker: &'a dyn Broker,
    janitor: &'a mut Janitor,
    links: BTreeMap<String, Link>,
    names: Names,
    undo: Undo,
    recording: bool,
}

impl<'a> Player<'a> {
    pub(crate) fn new(broker: &'a dyn Broker, janitor: &'a mut Janitor, recording: bool) -> Player<'a> {
        Player { broker, janitor, links: BTreeMap::new(), names: Names::default(), undo: Undo::default(), recording }
    }

    /// Plays to the first difference, or to the end when recording. An error is a mistake in the transcript.
    pub(crate) fn play(mut self, variant: &Variant) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let mut played = Ok(());
        for group in &variant.groups {
            let actual = match self.group(group) {
                Ok(actual) => actual,
                Err(error) => {
                    played = Err(format!("line {}: {error}", group.last_line() + 1));
                    break;
                }
            };
            let actual = keep_wildcards(&group.expected, actual);
            outcome.answers.insert(group.last_line(), actual.clone());
            if actual != group.expected && outcome.difference.is_none() {
                outcome.difference = Some(Difference {
                    line: group.last_line(),
                    sent: group.steps.iter().map(Step::to_string).collect(),
                    expected: group.expected.clone(),
                    actual,
                });
                if !self.recording {
                    break;
                }
            }
        }
        self.janitor.clean(self.broker, self.links, &self.undo);
        played.map(|()| outcome)
    }

    fn group(&mut self, group: &Group) -> Result<Vec<String>, String> {
        if let [step] = group.steps.as_slice()
            && step.action == Action::Repeat
        {
            return self.repeat(step, &group.expected);
        }
        for step in &group.steps {
            self.step(step)?;
        }
        let in_handshake = self.links.values().any(|link| link.stage == Stage::Handshake);
        self.settle(group.expected.len(), in_handshake);
        Ok(self.collect())
    }

    /// Sends one line until its answer is the expected one, for effects that no round trip orders.
    fn repeat(&mut self, step: &Step, expected: &[String]) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + self.broker.patience();
        let prefix = prefix(&step.connection, step.channel);
        let mut others = Vec::new();
        loop {
            self.step(step)?;
            self.settle(0, false);
            let mut lines = self.collect();
            lines.extend(std::mem::take(&mut others));
            lines.sort_by_key(|line| sort_key(line));
            if keep_wildcards(expected, lines.clone()) == expected || Instant::now() > deadline || self.broker.answers_at_once() {
                return Ok(lines);
            }
            others = lines.into_iter().filter(|line| !line.starts_with(&prefix)).collect();
            self.glance(Instant::now() + GLANCE);
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let text = self.names.reveal(&step.text);
        if step.action == Action::Direct {
            return self.direct(&step.connection, &text);
        }
        if !self.links.contains_key(&step.connection) {
            self.direct(&step.connection, "")?;
        }
        let link = self.link(&step.connection);
        if step.channel != 0 && link.stage == Stage::Open && link.channel(step.channel).life == super::channel::Life::Unopened {
            self.open_channel(step);
        }
        self.link(&step.connection).send_line(step.channel, &text)
    }

    fn link(&mut self, name: &str) -> &mut Link {
        let broker = self.broker;
        self.links.entry(name.to_owned()).or_insert_with(|| Link::new(broker.connect()))
    }

    /// A channel opens at its first use without a word; a transcript about channel.open names it itself.
    fn open_channel(&mut self, step: &Step) {
        let explicit = ["channel.open", "raw", "frame"].iter().any(|word| step.text.starts_with(word));
        let patience = self.broker.patience();
        let link = self.link(&step.connection);
        if explicit || link.unopened.contains(&step.channel) {
            return;
        }
        link.channel(step.channel).is_hidden = true;
        link.send_text(step.channel, "channel.open");
        let deadline = Instant::now() + patience;
        while link.channel(step.channel).hidden.is_empty() && link.is_alive() && Instant::now() < deadline {
            if !link.pump(deadline) {
                break;
            }
        }
        let channel = link.channel(step.channel);
        channel.is_hidden = false;
        channel.hidden.clear();
    }

    /// The `c1: …` lines.
    fn direct(&mut self, connection: &str, text: &str) -> Result<(), String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "wait" => {
                self.broker.wait(rest.parse().map_err(|_| format!("no number of milliseconds: '{rest}'"))?);
                return Ok(());
            }
            "ctl" => {
                let words = words(rest)?;
                self.undo.note(&words)?;
                return self.broker.ctl(&words);
            }
            _ => {}
        }
        let connects = text.is_empty() || text.contains('=');
        if !connects && !self.links.contains_key(connection) {
            self.direct(connection, "")?;
        }
        match (word, rest) {
            ("drop", "") => self.link(connection).abandon(),
            ("hold-close", "") => self.link(connection).answers_close = false,
            ("unopened", number) => {
                let number = number.parse().map_err(|_| "not a channel")?;
                self.link(connection).unopened.insert(number);
            }
            ("nosync", number) => {
                let number = number.parse().map_err(|_| "not a channel")?;
                self.link(connection).channel(number).may_sync = false;
            }
            ("await", "closed") => self.await_closed(connection),
            ("await", "heartbeat") => self.await_heartbeat(connection),
            _ => {
                let link = connect(self.broker, &Choices::parse(text)?);
                self.links.insert(connection.to_owned(), link);
            }
        }
        Ok(())
    }

    fn await_closed(&mut self, connection: &str) {
        let deadline = Instant::now() + Duration::from_secs(15);
        let link = self.link(connection);
        link.shows_goodbye = true;
        while link.stage != Stage::Gone && link.pump(deadline) {}
    }

    fn await_heartbeat(&mut self, connection: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let link = self.link(connection);
        link.shows_heartbeats = true;
        let before = link.line_count();
        while link.line_count() == before && link.pump(deadline) {}
        link.shows_heartbeats = false;
    }

    /// Lets the broker finish: a round trip through every channel and every queue, then again through every channel, so that a
    /// message on its way from a publisher through a queue to a consumer has arrived. Repeats that while lines are missing.
    fn settle(&mut self, expected: usize, in_handshake: bool) {
        let deadline = Instant::now() + self.broker.patience();
        loop {
            let before = self.line_count();
            self.round();
            if self.links.values().any(Link::is_waiting) && Instant::now() < deadline {
                self.glance(Instant::now() + GLANCE);
                continue;
            }
            let count = self.line_count();
            let satisfied = if self.recording && in_handshake && count == 0 {
                // A refusal may be a close after three seconds of silence.
                self.glance(Instant::now() + Duration::from_millis(4500));
                self.line_count() == 0
            } else if self.recording {
                self.glance(Instant::now() + LISTEN);
                self.line_count() == before
            } else {
                count >= expected
            };
            if satisfied || Instant::now() > deadline {
                return;
            }
            if self.broker.answers_at_once() && count == before {
                return;
            }
            self.glance(Instant::now() + GLANCE);
        }
    }

    fn round(&mut self) {
        if self.broker.answers_at_once() {
            while self.glance(Instant::now()) {}
            return;
        }
        self.sync_links();
        // RabbitMQ's queues answer the question before the messages that wait with it; the second time those are done.
        self.janitor.visit_queues(self.broker, &mut self.links);
        self.janitor.visit_queues(self.broker, &mut self.links);
        self.sync_links();
    }

    fn sync_links(&mut self) {
        let deadline = Instant::now() + self.broker.patience();
        for link in self.links.values_mut() {
            link.start_sync();
        }
        for link in self.links.values_mut() {
            while !link.is_synced() && link.pump(deadline) {}
            if !link.is_synced() {
                link.give_up();
            }
        }
    }

    /// Reads what is there from every connection, waiting for the first of it until the deadline.
    fn glance(&mut self, deadline: Instant) -> bool {
        let mut any = false;
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(self.links.len().max(1)).unwrap_or(1);
        for link in self.links.values_mut() {
            any |= link.pump(Instant::now() + share);
        }
        any
    }

    fn line_count(&self) -> usize {
        self.links.values().map(Link::line_count).sum()
    }

    fn collect(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, link) in &mut self.links {
            for (channel, line) in link.take_lines() {
                let line = self.names.hide(&line);
                lines.push(format!("{} {line}", prefix(name, channel)));
            }
        }
        lines
    }
}

/// `c1<`, or with the channel `c1.2<`; what happens to the connection itself is on channel 0.
fn prefix(connection: &str, channel: u16) -> String {
    match channel {
        1 => format!("{connection}<"),
        _ => format!("{connection}.{channel}<"),
    }
}

/// The order of the lines of a group: by connection, then by channel, channel 0 last.
fn sort_key(line: &str) -> (String, u32) {
    let end_point = line.split('<').next().unwrap_or_default();
    let (connection, channel) = end_point.split_once('.').unwrap_or((end_point, "1"));
    let channel = match channel.parse().unwrap_or(1) {
        0 => u32::MAX,
        other => other,
    };
    (connection.to_owned(), channel)
}
