//! What must be true of a broker, kept beside it and never read from it: who holds which message, what became of
//! every copy, what each client must hear. Snapshots of the broker are compared with this, not copied into it.

mod events;
mod methods;
mod publishing;
mod queue;
mod settling;
mod step;
mod topology;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) use step::Step;

use super::op::Publish;

use queue::Queue;
use topology::Topology;

/// A channel of a connection.
pub(super) type At = (u32, u16);

#[derive(Debug)]
pub(super) struct Model {
    topology: Topology,
    queues: BTreeMap<String, Queue>,
    pub(super) connections: BTreeMap<u32, Connection>,
    /// Everything ever published, by its id.
    published: BTreeMap<u64, Publish>,
    alarm: bool,
    /// Tells apart what bears the same name one after the other.
    next_unique: u64,
    /// What this step has to bring about.
    due: Due,
}

/// What clients must hear before a step is over.
#[derive(Debug, Default)]
struct Due {
    /// On the connection whose methods were handled, in this order.
    replies: VecDeque<(u16, Reply)>,
    /// Message ids that come back, in order.
    returns: VecDeque<(At, u64)>,
    /// Consumers that are told of the end of their queue.
    cancels: BTreeSet<(At, String)>,
    /// Whose channels have ended in the course of this step: what they were given on the way came back or was lost.
    dying: Option<Dying>,
    /// Queues that have lost their last consumer with a connection.
    left: Vec<String>,
    /// The step has several phases: the order between queues and connections is not known from outside.
    phases: bool,
    /// Copies that a commit brings, which a bounded queue may have refused: queue and position.
    candidates: Vec<(String, u64)>,
    /// The highest position that each queue gave to each connection.
    given: BTreeMap<(String, u32), u64>,
    /// Only messages arrived, so that nobody's credit has grown; and the priorities of those who got them.
    only_arrivals: bool,
    served: Vec<(String, i32)>,
    /// A commit was answered with channel.close.
    partial_commit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dying {
    Connection(u32),
    Channel(At),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    /// One without interesting fields, by its name.
    Plain(&'static str),
    /// Ready messages and consumers.
    DeclareOk(String, usize, usize),
    /// Messages purged or deleted.
    Count(&'static str, usize),
    ConsumeOk(String),
    CancelOk(String),
    GetOk {
        id: u64,
        tag: u64,
        redelivered: bool,
        left: usize,
    },
    ChannelClose(u16),
    ConnectionClose(u16),
    /// Which of the two is known when all that came in the step has been seen.
    CommitOkOrClose,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) cancel_notify: bool,
    pub(super) hears_blocked: bool,
    /// Its channels are gone; only the closing handshake is left.
    pub(super) ended: bool,
    /// The broker has sent connection.close, which is not answered yet.
    pub(super) closing: bool,
    pub(super) channels: BTreeMap<u16, Channel>,
    pub(super) published: bool,
    pub(super) blocked: bool,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    /// channel.close was sent to the client, whose answer is awaited.
    closing: bool,
    last_tag: u64,
    consumers: BTreeMap<String, Consumer>,
    pub(super) held: BTreeMap<u64, Held>,
    prefetch: u16,
    global_prefetch: u16,
    mode: Mode,
}

#[derive(Clone, Debug)]
struct Consumer {
    unique: u64,
    queue: String,
    no_ack: bool,
    prefetch: u16,
    priority: i32,
}

/// A delivery that waits for its settlement.
#[derive(Clone, Debug)]
pub(super) struct Held {
    queue: String,
    /// Of the queue: another one may bear its name by now.
    unique: u64,
    position: u64,
    id: u64,
    /// `None` for basic.get.
    consumer: Option<u64>,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Plain,
    Confirm {
        published: u64,
        /// What the publisher has not heard yet.
        unheard: BTreeMap<u64, Outcome>,
    },
    Tx(Transaction),
}

#[derive(Debug)]
struct Outcome {
    refused: bool,
    /// basic.return must come before the confirm.
    returned: Option<u64>,
}

#[derive(Debug, Default)]
struct Transaction {
    publishes: Vec<Uncommitted>,
    settlements: Vec<(Vec<(u64, Held)>, Fate)>,
}

/// A publish held back until the commit: queues are named at the publish, and found at the commit.
#[derive(Debug)]
struct Uncommitted {
    id: u64,
    mandatory: bool,
    queues: Vec<String>,
}

/// What a settlement does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Ack,
    Discard,
    Requeue,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            topology: Topology::new(),
            queues: BTreeMap::new(),
            connections: BTreeMap::new(),
            published: BTreeMap::new(),
            alarm: false,
            next_unique: 0,
            due: Due::default(),
        }
    }

    pub(super) fn knows_queue(&self, name: &str) -> bool {
        self.queues.contains_key(name)
    }

    fn unique(&mut self) -> u64 {
        self.next_unique += 1;
        self.next_unique
    }

    fn channel(&mut self, (connection, channel): At) -> Option<&mut Channel> {
        self.connections.get_mut(&connection)?.channels.get_mut(&channel)
    }

    fn open(&mut self, at: At) -> &mut Channel {
        self.channel(at).expect("an open channel")
    }

    fn is_dying(&self, at: At) -> bool {
        match self.due.dying {
            Some(Dying::Connection(connection)) => connection == at.0,
            Some(Dying::Channel(channel)) => channel == at,
            None => false,
        }
    }

    /// Messages that a consumer holds, those of an open transaction's settlements included.
    fn held_by(channel: &Channel, consumer: u64) -> usize {
        channel.all_held().filter(|held| held.consumer == Some(consumer)).count()
    }
}

impl Channel {
    fn all_held(&self) -> impl Iterator<Item = &Held> {
        let in_transaction = match &self.mode {
            Mode::Tx(tx) => tx.settlements.as_slice(),
            Mode::Plain | Mode::Confirm { .. } => &[],
        };
        self.held.values().chain(in_transaction.iter().flat_map(|(taken, _)| taken.iter().map(|(_, held)| held)))
    }

    /// Whether a prefetch leaves room for one more of this consumer's.
    fn has_credit(&self, consumer: &Consumer) -> bool {
        if consumer.no_ack {
            return true;
        }
        let own = Model::held_by(self, consumer.unique);
        let all = self.all_held().filter(|held| held.consumer.is_some()).count();
        (consumer.prefetch == 0 || own < usize::from(consumer.prefetch))
            && (self.global_prefetch == 0 || all < usize::from(self.global_prefetch))
    }
}
