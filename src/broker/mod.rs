//! The core: one virtual host as a deterministic function of its inputs and of time. No I/O, clock, lock, randomness.
//!
//! `Broker::handle` is the only door. What it leads to comes out in [`Effects`].

mod access;
mod asking;
mod breakdown;
mod channel;
mod channel_counts;
mod connection;
pub mod counters;
mod dead_letter;
mod delayed;
mod delivery;
mod durable;
mod effects;
pub mod error;
mod events;
pub mod exchange;
mod expiry;
mod fired;
mod grants;
mod import;
pub mod journal;
pub mod json;
mod origin;
mod paging;
mod policies;
pub mod policy;
pub mod queue;
mod random;
mod reading;
pub mod record;
mod recovery;
mod reports;
mod reset;
pub mod rights;
mod routing;
pub mod settings;
mod snapshot;
pub mod spans;
pub mod terms;
mod timers;
mod topology;
mod trace;
pub mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use slotmap::SlotMap;

use crate::amqp::{Command, FieldTable, Message};
use breakdown::Breakdown;
use connection::Connection;
use counters::{Churn, DeadLetters, ExchangeCounters, Gone, Sizes};
use dead_letter::DeadLetter;
use durable::{Numbered, Rounds};
use exchange::{Destination, Exchange, ExchangeId};
use journal::Journal;
use policy::{Policies, Policy};
use queue::effective::Effective;
use queue::{Consumer, ConsumerId, Entry, Queue, QueueId};
use random::Random;
use record::Records;
use reports::Reports;
use spans::Spans;
use timers::Timers;

pub use access::{Access, Permission, Subject};
pub use asking::{Answer, Enquiry, Question, Verdict};
pub use breakdown::Pair;
pub use channel_counts::ChannelCounts;
pub use connection::{Capabilities, Connections, Opened, connection_close};
pub use dead_letter::Reason;
pub use delayed::DelayedSnapshot;
pub use effects::{Action, ConnectionId, Effects, Refusal, Release};
pub use error::Error;
pub use fired::{Fired, Firing};
pub use grants::{Grant, Grants, Wildcard};
pub use import::Declaration;
pub use origin::{Origin, PeerCertificate, Ssl};
pub use paging::{Load, Loaded, Purpose, Spill, Unneeded};
pub use queue::QueueType;
pub use recovery::Unreadable;
pub use rights::{Pattern, Rights, Source, TopicRights};
pub use settings::{Limits, Profile, Settings};
pub use snapshot::{NotInMemory, Snapshot};
pub use view::{ChannelSnapshot, QueueSnapshot};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than all that comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// This many milliseconds later.
    #[must_use]
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// Who acts when no user does, in the words of RabbitMQ's events.
pub const INTERNAL_USER: &str = "rmq-internal";

/// What a node is short of; publishers are blocked meanwhile (behaviour C27).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    pub memory: bool,
    pub disk: bool,
}

impl Alarms {
    #[must_use]
    pub fn any(self) -> bool {
        self.memory || self.disk
    }

    /// What publishers are told.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match (self.memory, self.disk) {
            (true, true) => "low on memory & disk",
            (false, true) => "low on disk",
            _ => "low on memory",
        }
    }
}

/// Everything that can happen to a virtual host.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection has been authenticated and wants to open this virtual host.
    Connected(ConnectionId, Opened),
    /// A connection has read these; they are taken out of the vector.
    Received(ConnectionId, &'a mut Vec<Command>),
    /// A connection is in the middle of a content, while there is an alarm.
    Publishing(ConnectionId),
    /// A connection's socket has taken its output, but for this many bytes.
    Flushed(ConnectionId, usize),
    /// A connection's socket is gone.
    Disconnected(ConnectionId),
    /// What was asked for a connection has been answered.
    Answered {
        connection: ConnectionId,
        number: u64,
        answer: Answer,
    },
    /// The node's alarms have changed.
    Alarms(Alarms),
    /// Time has passed, perhaps up to [`Broker::next_deadline`]. Every other input lets it pass, too.
    Tick,
    /// An administrator turns the firehose on or off (behaviour O11).
    Trace(bool),
    /// A user sets a policy, or an operator policy.
    SetPolicy {
        operator: bool,
        policy: Box<Policy>,
        user: &'a str,
    },
    ClearPolicy {
        operator: bool,
        name: &'a str,
        user: &'a str,
    },
    /// Definitions have something that is to be there; what is there already is not compared.
    Import {
        what: &'a Declaration,
        user: &'a str,
        outcome: &'a mut Result<(), Error>,
    },
    /// An administrator takes a delayed message back.
    CancelDelayed {
        exchange: &'a str,
        id: u64,
    },
    /// What a user may do changes, for its live connections from now on.
    SetRights {
        user: &'a str,
        rights: Arc<Rights>,
    },
    /// The limits of the virtual host change; what is there already stays.
    SetLimits(Limits),
    /// How many channels other virtual hosts have, which limits of the node and of users count as well.
    ChannelsElsewhere(ChannelCounts),
    /// An administrator closes connections, with 320 and this reason.
    CloseConnections {
        which: Connections<'a>,
        reason: &'a str,
    },
    /// A storage has everything that was written down of these queues, up to these positions.
    Stored(&'a [(u64, u64)]),
    /// A storage has read what was asked for.
    Loaded(Loaded),
    /// Memory is short: transient messages are given to the disk.
    SpillTransient,
    /// A storage has what was given to it of this level of this queue, up to this position.
    Spilled {
        queue: u64,
        level: u8,
        up_to: u64,
    },
    /// Nothing is under way any more: what is written down now is exact.
    Settled,
    /// The virtual host is deleted: nothing of it stays.
    Reset,
    /// The virtual host goes back to what it was.
    Restore {
        snapshot: &'a Snapshot,
        outcome: &'a mut Result<(), String>,
    },
    /// No message stays that nobody holds; what is declared does.
    Empty,
    /// The broker stops: every connection is closed with 320 and this reason.
    Shutdown(&'a str),
}

/// A channel of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    connection: ConnectionId,
    channel: u16,
}

/// Names are only looked up in these, never iterated: their order is arbitrary.
type ByName<T> = HashMap<Arc<str>, T, FixedState>;

/// One virtual host.
#[derive(Debug)]
pub struct Broker {
    vhost: Arc<str>,
    settings: Arc<Settings>,
    random: Random,
    now: Timestamp,
    /// When the input at hand came; `now` is earlier while what was due before it happens.
    asked: Timestamp,
    alarms: Alarms,
    exchanges: SlotMap<ExchangeId, Exchange>,
    exchange_names: ByName<ExchangeId>,
    queues: SlotMap<QueueId, Queue>,
    queue_names: ByName<QueueId>,
    consumers: SlotMap<ConsumerId, Consumer>,
    connections: Vec<Option<Connection>>,
    /// Changes with every exchange, queue and binding: routes found before are void then.
    topology: u64,
    /// Bytes of the messages in here, and of their entries.
    memory: u64,
    /// Channels that owe confirms, which are sent when the inputs at hand are done.
    confirming: Vec<At>,
    timers: Timers,
    /// What has come due, where somebody wants to know.
    fired: Option<Vec<Firing>>,
    /// Messages that have died while the input at hand was handled.
    dead: VecDeque<DeadLetter>,
    policies: Policies,
    limits: Limits,
    channels_elsewhere: ChannelCounts,
    reports: Reports,
    /// What happens to messages, while somebody wants to know it.
    journal: Option<Box<Journal>>,
    /// What traced messages go through, while somebody collects that.
    spans: Option<Box<Spans>>,
    /// What applies to a queue of which nothing special was asked.
    plain: Arc<Effective>,
    /// Working space of routing, kept for its allocation.
    found: Vec<Destination>,
    /// What has to survive of this round.
    log: Records,
    rounds: Rounds,
    /// Whose messages a number in the records stands for. Looked up only.
    numbered: HashMap<u64, Numbered, FixedState>,
    last_number: u64,
    /// What has been asked for of the disk, given to it, and not needed there any more.
    loads: Vec<Load>,
    spills: Vec<Spill>,
    unneeded: Vec<Unneeded>,
    /// Connections whose basic.get waits for the disk.
    stalled: Vec<ConnectionId>,
    /// What the method at hand cannot go on without, and the number of the last question.
    unanswered: Option<Access>,
    last_question: u64,
    /// What the default exchange counts.
    default_exchange: ExchangeCounters,
    sizes: Sizes,
    gone: Gone,
    churn: Churn,
    dead_letters: DeadLetters,
    /// Counters of pairs, where they are wanted.
    breakdown: Option<Box<Breakdown>>,
}

impl Broker {
    /// `seed` decides the generated names.
    #[must_use]
    pub fn new(vhost: &str, settings: Arc<Settings>, seed: u64) -> Self {
        let nothing = (FieldTable::default(), policy::Definition::default());
        let breakdown = settings.detailed_rates.then(Box::default);
        let plain = Arc::new(Effective::new(queue::QueueType::Classic, &nothing.0, &nothing.1, &settings));
        let mut broker = Self {
            vhost: vhost.into(),
            settings,
            random: Random::new(seed),
            now: Timestamp::default(),
            asked: Timestamp::default(),
            alarms: Alarms::default(),
            exchanges: SlotMap::with_key(),
            exchange_names: ByName::default(),
            queues: SlotMap::with_key(),
            queue_names: ByName::default(),
            consumers: SlotMap::with_key(),
            connections: Vec::new(),
            topology: 0,
            memory: 0,
            confirming: Vec::new(),
            timers: Timers::default(),
            fired: None,
            dead: VecDeque::new(),
            policies: Policies::default(),
            limits: Limits::default(),
            channels_elsewhere: ChannelCounts::default(),
            reports: Reports::default(),
            journal: None,
            spans: None,
            plain,
            found: Vec::new(),
            log: Records::default(),
            rounds: Rounds::default(),
            numbered: HashMap::default(),
            last_number: 0,
            loads: Vec::new(),
            spills: Vec::new(),
            unneeded: Vec::new(),
            stalled: Vec::new(),
            unanswered: None,
            last_question: 0,
            default_exchange: ExchangeCounters::default(),
            sizes: Sizes::default(),
            gone: Gone::default(),
            churn: Churn::default(),
            dead_letters: DeadLetters::default(),
            breakdown,
        };
        broker.declare_predeclared_exchanges();
        if broker.settings.event_exchange {
            broker.declare_event_exchange();
        }
        broker.set_tracing(broker.settings.tracing);
        broker
    }

    /// Handles one input. First, all happens that was due by now. Time that goes back stands still instead.
    pub fn handle(&mut self, now: Timestamp, input: Input<'_>, effects: &mut Effects) {
        self.pass_time(now, effects);
        match input {
            Input::Connected(connection, opened) => self.connected(connection, opened, effects),
            Input::Received(connection, commands) => {
                if self.journal.is_some() {
                    self.watched_commands(connection, commands, effects);
                }
                for command in commands.drain(..) {
                    self.command(connection, command, effects);
                    self.finish(effects);
                }
                self.send_confirms(effects);
            }
            Input::Publishing(connection) => self.note_published(connection, effects),
            Input::Flushed(connection, pending) => self.flushed(connection, pending, effects),
            Input::Disconnected(connection) => self.disconnected(connection, effects),
            Input::Answered { connection, number, answer } => {
                self.answered(connection, number, answer, effects);
                self.send_confirms(effects);
            }
            Input::Alarms(alarms) => self.alarms_changed(alarms, effects),
            Input::Tick => {}
            Input::Trace(on) => self.set_tracing(on),
            Input::SetPolicy { operator, policy, user } => self.set_policy(operator, &policy, user, effects),
            Input::ClearPolicy { operator, name, user } => self.clear_policy(operator, name, user, effects),
            Input::Import { what, user, outcome } => *outcome = self.import(what, user, effects),
            Input::SpillTransient => self.spill_transient(),
            Input::Spilled { queue, level, up_to } => self.spilled(queue, level, up_to),
            Input::Settled => self.write_clean(),
            Input::Stored(queues) => self.stored(queues),
            Input::Loaded(loaded) => {
                self.loaded(loaded, effects);
                self.send_confirms(effects);
            }
            Input::CancelDelayed { exchange, id } => self.cancel_delayed(exchange, id),
            Input::SetRights { user, rights } => self.set_rights(user, &rights),
            Input::SetLimits(limits) => self.limits = limits,
            Input::ChannelsElsewhere(counts) => self.channels_elsewhere = counts,
            Input::CloseConnections { which, reason } => self.close_connections(which, reason, effects),
            Input::Shutdown(reason) => self.close_connections(Connections::All, reason, effects),
            Input::Reset => self.reset(effects),
            Input::Restore { snapshot, outcome } => *outcome = self.restore_snapshot(snapshot, effects),
            Input::Empty => self.empty(),
        }
        self.finish(effects);
    }

    /// The same with a journal, which knows what was sent last when there is an error.
    #[cold]
    #[inline(never)]
    fn watched_commands(&mut self, connection: ConnectionId, commands: &mut Vec<Command>, effects: &mut Effects) {
        for command in commands.drain(..) {
            self.journal_command(connection, &command);
            self.command(connection, command, effects);
            self.finish(effects);
        }
    }

    /// What has to follow before anything else happens.
    fn finish(&mut self, effects: &mut Effects) {
        if !self.dead.is_empty() {
            self.route_dead_letters(effects);
        }
        if !self.reports.is_empty() {
            self.send_reports(effects);
        }
    }

    /// Bytes of memory that messages take, each counted once, and their entries in queues and channels.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    #[must_use]
    pub fn has_queue(&self, name: &str) -> bool {
        self.queue_names.contains_key(name)
    }

    /// The default exchange, whose name is empty, is always there.
    #[must_use]
    pub fn has_exchange(&self, name: &str) -> bool {
        name.is_empty() || self.exchange_names.contains_key(name)
    }

    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Bytes that may wait for a connection before its consumers are given no more.
    #[must_use]
    pub fn outbox_high(&self) -> usize {
        self.settings.outbox_high
    }

    /// Tells how many bytes wait for a connection's socket; unlike `Flushed` this sets nothing going.
    pub fn set_pending(&mut self, id: ConnectionId, pending: usize) {
        if let Some(connection) = self.connection(id) {
            connection.pending = pending;
        }
    }

    /// An entry of a queue, ready or unacked, ends.
    fn release_entry(&mut self, entry: Entry) {
        self.memory -= entry.freed();
    }

    /// A message leaves this holder; its memory is free when it was the last.
    fn release(&mut self, message: Message) {
        self.memory -= message.freed();
    }
}
