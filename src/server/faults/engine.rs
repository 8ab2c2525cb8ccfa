//! What the faults know of one connection, and hold of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::incoming::Incoming;
use super::judging::Who;
use super::outgoing::Outgoing;
use super::{Active, Faults, Rules};
use crate::amqp::{Command, Fate};
use crate::server::outbox::Leaves;

#[derive(Debug)]
pub(in crate::server) struct Engine {
    pub(super) faults: Arc<Faults>,
    pub(super) rules: Rules,
    version: u64,
    pub(super) who: Who,
    /// The virtual host is open.
    is_open: bool,
    /// Up to which rule the connection itself was asked about.
    pub(super) judged: u64,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    pub(super) stops_reading: Option<Lasting>,
    pub(super) stops_heartbeats: Option<Lasting>,
    /// connection.start is not sent before this is over.
    stalls: Option<Lasting>,
    end: Option<End>,
    pub(super) orders: Vec<Command>,
}

/// How a connection ends, once what was to be sent before is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum End {
    Reset,
    HalfClose,
    Close,
}

/// What goes on until its rule is taken away, or its time is over.
#[derive(Clone, Debug)]
pub(super) struct Lasting {
    rule: Arc<Active>,
    until: Option<Instant>,
}

impl Lasting {
    pub(super) fn new(rule: &Arc<Active>, until: Option<Instant>) -> Self {
        Self { rule: Arc::clone(rule), until }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.rule.is_removed() || self.until.is_some_and(|until| now >= until)
    }
}

/// Something for the connection to take as received.
#[derive(Debug)]
pub(in crate::server) enum Passed {
    /// Bytes and, where the last of them complete a publish, what becomes of it.
    Bytes(Vec<u8>, Fate),
    Command(Command),
}

impl Passed {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len(),
            Self::Command(_) => 0,
        }
    }
}

/// What becomes of a connection that has said which protocol it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum AtStart {
    Goes,
    Refused,
    Stalls,
}

/// What a connection has to do now, and what it waits for.
#[derive(Debug, Default)]
pub(in crate::server) struct Meeting {
    /// To be taken as received.
    pub(in crate::server) passed: Vec<Passed>,
    /// What is late no longer, and whether there was any.
    pub(in crate::server) released: Vec<(Vec<u8>, Leaves)>,
    pub(in crate::server) sends: bool,
    /// For the broker.
    pub(in crate::server) orders: Vec<Command>,
    pub(in crate::server) end: Option<End>,
    /// The handshake does not begin yet.
    pub(in crate::server) stalls: bool,
    /// Nothing is to be read.
    pub(in crate::server) stops_reading: bool,
    /// What has come is kept, so that the end of it is not yet.
    pub(in crate::server) holds_input: bool,
    /// When to look again.
    pub(in crate::server) due: Option<Instant>,
    /// Whether to look again when the rules change.
    pub(in crate::server) awaits_rules: bool,
    /// Nothing is left to do for the engine; these bytes are the beginning of a frame.
    pub(in crate::server) retires: Option<Vec<u8>>,
}

impl Engine {
    pub(in crate::server) fn new(faults: &Arc<Faults>, who: Who, is_open: bool) -> Self {
        faults.count_engine(true);
        let mut engine = Self {
            faults: Arc::clone(faults),
            rules: Arc::from([]),
            version: u64::MAX,
            who,
            is_open,
            judged: 0,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            stops_reading: None,
            stops_heartbeats: None,
            stalls: None,
            end: None,
            orders: Vec::new(),
        };
        engine.refresh();
        engine
    }

    pub(super) fn refresh(&mut self) {
        let version = self.faults.version();
        if self.version != version {
            (self.version, self.rules) = (version, self.faults.rules());
        }
    }

    /// The virtual host is open.
    pub(in crate::server) fn opened(&mut self, who: Who) {
        (self.who, self.is_open) = (who, true);
    }

    pub(super) fn ends(&mut self, end: End) {
        self.end = Some(end);
        self.outgoing.stops = true;
        self.incoming.stops |= end != End::HalfClose;
    }

    pub(super) fn reads(&self, now: Instant) -> bool {
        self.stalls.is_none() && self.stops_reading.as_ref().is_none_or(|stops| stops.is_over(now))
    }

    /// The client has said which protocol it speaks.
    pub(in crate::server) fn start(&mut self, now: Instant) -> AtStart {
        self.refresh();
        let (refused, stalls) = self.judge_start(now);
        self.stalls = stalls;
        match (refused, &self.stalls) {
            (true, _) => AtStart::Refused,
            (false, Some(_)) => AtStart::Stalls,
            (false, None) => AtStart::Goes,
        }
    }

    /// Whether the connection's task has to look at this soon.
    pub(in crate::server) fn is_wanted(&self) -> bool {
        !self.orders.is_empty() || self.end.is_some() || self.outgoing.bytes > 0
    }

    /// Bytes that are to be sent later.
    pub(in crate::server) fn delayed(&self) -> usize {
        self.outgoing.bytes
    }

    /// What is for the broker, before anything that comes later.
    pub(in crate::server) fn take_orders(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.orders)
    }

    /// The connection has carried this out.
    pub(in crate::server) fn ended(&mut self) {
        self.end = None;
    }

    pub(in crate::server) fn meet(&mut self, now: Instant) -> Meeting {
        self.refresh();
        for lasting in [&mut self.stops_reading, &mut self.stops_heartbeats, &mut self.stalls] {
            lasting.take_if(|lasting| lasting.is_over(now));
        }
        if self.is_open {
            self.judge_connection(now);
        }
        let mut passed = self.release_incoming(now);
        // What was read and not looked at while reading was stopped.
        passed.extend(self.inbound(&[], now));
        let released = self.outgoing.release(now);
        let lasting = [&self.stops_reading, &self.stops_heartbeats, &self.stalls];
        let lasting = lasting.into_iter().flatten().chain(self.incoming.waits_for());
        let untils = lasting.clone().filter_map(|lasting| lasting.until);
        let due = untils.chain(self.incoming.due()).chain(self.outgoing.due()).min();
        let awaits_rules = lasting.count() > 0;
        let stops_reading = !self.reads(now) || self.incoming.is_full();
        let is_idle = self.end.is_none() && !awaits_rules && self.orders.is_empty() && self.incoming.is_idle() && self.outgoing.is_idle();
        Meeting {
            passed,
            released,
            sends: false,
            orders: self.take_orders(),
            end: self.end,
            stalls: self.stalls.is_some(),
            stops_reading,
            holds_input: self.incoming.holds_anything(),
            due,
            awaits_rules,
            retires: (is_idle && self.rules.is_empty()).then(|| self.incoming.take_partial()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.faults.count_engine(false);
    }
}
