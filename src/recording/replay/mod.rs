//! Playing the clients' side of a recording against a broker, and comparing what it says with what was recorded.
//!
//! Before a frame of a client is sent, everything that its connection had been told by then has to have come, and every reply that any
//! connection had: a declare-ok before the publish, a delivery before its ack. What a broker makes up (names of queues, consumer tags,
//! delivery tags) is translated. The handshake is made anew, with the credentials of the target.

mod matching;
mod names;
mod script;
mod tags;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::file::Recording;
use super::format::Side;
use matching::Channel;
use names::Names;
use script::{Opening, Said, Step, What};
pub(crate) use target::Target;
use target::{Incoming, Session};

/// How fast to play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As it was recorded, or so many times as fast.
    Times(f64),
    AsFastAsPossible,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sent: usize,
    same: usize,
    differences: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        write!(f, "{} methods sent, {} answers as recorded, {} differences", self.sent, self.same, self.differences.len())
    }
}

/// # Errors
/// When the target cannot be reached at all.
pub(crate) fn play(recording: &Recording, target: &Target, pace: Pace, patience: Duration) -> Result<Report, String> {
    let script = script::read(recording);
    target.check(patience)?;
    let (told, tell) = mpsc::channel();
    let mut player =
        Player { target, patience, told, tell, connections: BTreeMap::new(), names: Names::default(), report: Report::default() };
    player.report.notes = script.notes;
    let begun = Instant::now();
    let first_us = script.steps.first().map_or(0, |step| step.at_us);
    for step in script.steps {
        if let Pace::Times(times) = pace {
            let offset = Duration::from_micros(step.at_us - first_us).div_f64(times);
            player.listen_until(begun + offset);
        }
        player.step(step);
    }
    player.settle(None);
    player.report_rest();
    Ok(player.report)
}

struct Player<'a> {
    target: &'a Target,
    patience: Duration,
    told: Sender<(u64, Incoming)>,
    tell: Receiver<(u64, Incoming)>,
    connections: BTreeMap<u64, Connection>,
    names: Names,
    report: Report,
}

struct Connection {
    /// None once it has ended.
    session: Option<Session>,
    channels: HashMap<u16, Channel>,
    /// What could not be sent any more.
    unsent: usize,
}

impl Player<'_> {
    fn step(&mut self, step: Step) {
        let number = step.connection;
        match step.what {
            What::Open(opening) => self.open(number, &opening),
            What::Said(Side::Client, said) => self.client(number, said),
            What::Said(Side::Server, said) => {
                let Some(connection) = self.connections.get_mut(&number) else { return };
                connection.channels.entry(said.channel).or_default().expect(said);
                self.compare(number);
            }
            What::Gone => {
                self.settle(Some(number));
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.session = None;
                }
            }
        }
    }

    fn open(&mut self, number: u64, opening: &Opening) {
        // What others had been told by then may be what made this one come.
        self.settle(Some(number));
        let session = match Session::open(self.target, opening, number, &self.told, self.patience) {
            Ok(session) => Some(session),
            Err(why) => {
                self.report.differences.push(format!("c{number} cannot be opened: {why}"));
                None
            }
        };
        self.connections.insert(number, Connection { session, channels: HashMap::new(), unsent: 0 });
    }

    fn client(&mut self, number: u64, mut said: Said) {
        // That is answered when the broker says it, by ourselves.
        if said.name() == "connection.close-ok" {
            return;
        }
        self.settle(Some(number));
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let Some(session) = &mut connection.session else {
            connection.unsent += 1;
            return;
        };
        self.names.reveal(&mut said.arguments);
        if let Some((properties, _)) = &mut said.content {
            self.names.reveal(properties);
        }
        let channel = connection.channels.entry(said.channel).or_default();
        let closes = said.name() == "channel.close-ok";
        // A channel that is closed now only has to be free before it is opened again.
        if (closes || said.name() == "channel.open") && channel.take_closing() {
            session.close_ok(said.channel);
        }
        if closes {
            return;
        }
        let mut sends = channel.sending(said);
        if let Some(missing) = sends.missing.take() {
            self.report.differences.push(format!("{} is not sent: {missing}", prefix(number, sends.channel, Side::Client)));
        }
        for arguments in sends.each {
            session.send(sends.channel, sends.method, &arguments);
            self.report.sent += 1;
        }
    }

    /// Takes what comes, until then.
    fn listen_until(&mut self, end: Instant) {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.tell.recv_timeout(left) {
                Ok((number, incoming)) => self.take(number, incoming),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => return thread::sleep(left),
            }
        }
    }

    /// Waits for what has to have come before this connection goes on; for everything at the end. What has not come in time is a
    /// difference, and not waited for again.
    fn settle(&mut self, before: Option<u64>) {
        let end = Instant::now() + self.patience;
        while let Ok((number, incoming)) = self.tell.try_recv() {
            self.take(number, incoming);
        }
        while self.is_waiting(before) {
            let left = end.saturating_duration_since(Instant::now());
            match self.tell.recv_timeout(left) {
                Ok((number, incoming)) => self.take(number, incoming),
                Err(_) => return self.give_up(before),
            }
        }
    }

    fn is_waiting(&self, before: Option<u64>) -> bool {
        self.connections.iter().any(|(number, connection)| {
            let all = before.is_none_or(|before| before == *number);
            connection.session.is_some() && connection.channels.values().any(|channel| channel.is_waiting(all))
        })
    }

    fn give_up(&mut self, before: Option<u64>) {
        for (number, connection) in &mut self.connections {
            let all = before.is_none_or(|before| before == *number);
            for (channel, state) in &mut connection.channels {
                for said in state.give_up(all) {
                    self.report.differences.push(format!("{} did not come: {said}", prefix(*number, *channel, Side::Server)));
                }
            }
        }
    }

    fn take(&mut self, number: u64, incoming: Incoming) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match incoming {
            Incoming::Said(said) => {
                if let Some(session) = &mut connection.session {
                    session.answer(&said);
                }
                connection.channels.entry(said.channel).or_default().arrive(said);
                self.compare(number);
            }
            // Which side closed it in the recording is not known: what is not said or sent because of it is a difference.
            Incoming::Closed => connection.session = None,
        }
    }

    /// Finds what has come among what was recorded.
    fn compare(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for (channel, state) in &mut connection.channels {
            while let Some((publish, then, now)) = state.next_confirm() {
                if then == now {
                    self.report.same += 1;
                } else {
                    let word = |acked| if acked { "acked" } else { "nacked" };
                    let prefix = prefix(number, *channel, Side::Server);
                    self.report.differences.push(format!("{prefix} publish {publish} was {} and is {}", word(then), word(now)));
                }
            }
            while let Some((expected, actual)) = state.next_pair(&self.names) {
                self.names.learn(&expected, &actual);
                let (expected, actual) = (self.names.translated(&expected).comparable(), actual.comparable());
                if expected == actual {
                    self.report.same += 1;
                } else {
                    let prefix = prefix(number, *channel, Side::Server);
                    self.report.differences.push(format!("{prefix} expected  {expected}\n{prefix} got       {actual}"));
                }
            }
        }
    }

    fn report_rest(&mut self) {
        self.give_up(None);
        for (number, connection) in &mut self.connections {
            for (channel, state) in &mut connection.channels {
                for said in state.left_over() {
                    let prefix = prefix(*number, *channel, Side::Server);
                    self.report.differences.push(format!("{prefix} was not recorded: {}", said.print()));
                }
            }
            if connection.unsent > 0 {
                self.report.differences.push(format!("c{number}> {} methods were not sent: the connection had ended", connection.unsent));
            }
        }
    }
}

/// `c1<`, or with the channel `c1.2<`.
fn prefix(connection: u64, channel: u16, side: Side) -> String {
    match channel {
        1 => format!("c{connection}{}", side.mark()),
        _ => format!("c{connection}.{channel}{}", side.mark()),
    }
}
