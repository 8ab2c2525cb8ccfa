//! What the load goes through: queues of every kind, and the ways to them.

use crate::client::{Client, EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK, Heard};
use crate::wire::{self, Fields};

/// What is known of the order in which a queue gives its messages out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As published, and what comes back takes its old place.
    Kept,
    /// As published among those of the same priority.
    ByPriority,
    /// The same, but what comes back is given first: quorum queues.
    FirstTime,
    /// As it happens.
    Any,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: &'static str,
    pub(crate) order: Order,
    /// Properties come out as they went in.
    pub(crate) exact: bool,
    /// Entries of the table of arguments.
    arguments: &'static [(&'static str, Argument)],
}

#[derive(Debug)]
enum Argument {
    Text(&'static str),
    Number(u8),
}

use Argument::{Number, Text};

const QUORUM: &[(&str, Argument)] = &[("x-queue-type", Text("quorum"))];

pub(crate) const CLASSIC: usize = 0;
pub(crate) const QUORUM_QUEUE: usize = 1;
pub(crate) const PRIORITY: usize = 2;
pub(crate) const FAN_1: usize = 3;
pub(crate) const FAN_2: usize = 4;
pub(crate) const FAN_3: usize = 5;
pub(crate) const REJECTED: usize = 6;
pub(crate) const DEAD: usize = 7;
pub(crate) const MOVED: usize = 8;
pub(crate) const MOVED_TO: usize = 9;
pub(crate) const MARKS: usize = 10;
pub(crate) const TX_A: usize = 11;
pub(crate) const TX_B: usize = 12;
pub(crate) const DELAYED: usize = 13;
pub(crate) const KEPT: usize = 14;

pub(crate) static QUEUES: [Queue; 15] = [
    Queue { name: "classic", order: Order::Kept, exact: true, arguments: &[] },
    Queue { name: "quorum", order: Order::FirstTime, exact: false, arguments: QUORUM },
    Queue { name: "priority", order: Order::ByPriority, exact: true, arguments: &[("x-max-priority", Number(5))] },
    Queue { name: "fan-1", order: Order::Kept, exact: true, arguments: &[] },
    Queue { name: "fan-2", order: Order::FirstTime, exact: false, arguments: QUORUM },
    Queue { name: "fan-3", order: Order::Kept, exact: true, arguments: &[] },
    Queue {
        name: "rejected",
        order: Order::Kept,
        exact: true,
        arguments: &[("x-dead-letter-exchange", Text("")), ("x-dead-letter-routing-key", Text("dead"))],
    },
    Queue { name: "dead", order: Order::Any, exact: false, arguments: &[] },
    Queue { name: "moved", order: Order::Kept, exact: true, arguments: &[] },
    Queue { name: "moved-to", order: Order::Any, exact: true, arguments: &[] },
    Queue { name: "marks", order: Order::Kept, exact: true, arguments: &[] },
    Queue { name: "tx-a", order: Order::Kept, exact: true, arguments: &[] },
    Queue { name: "tx-b", order: Order::FirstTime, exact: false, arguments: QUORUM },
    Queue { name: "delayed", order: Order::Any, exact: false, arguments: &[] },
    Queue { name: "kept", order: Order::Kept, exact: true, arguments: &[] },
];

pub(crate) const STREAM: &str = "stream";
/// A queue that keeps one message: what is published to it proves by its confirm that everything before is on the disk.
pub(crate) const PROOF: &str = "proof";

/// A way for messages to queues.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) exchange: &'static str,
    /// The routing key; with several queues and no exchange they take turns, and the key is the queue's name.
    pub(crate) key: &'static str,
    pub(crate) queues: &'static [usize],
}

impl Route {
    /// Where message `seq` goes.
    pub(crate) fn targets(&self, seq: u32) -> &'static [usize] {
        if self.takes_turns() {
            let at = seq as usize % self.queues.len();
            return &self.queues[at..=at];
        }
        self.queues
    }

    pub(crate) fn key(&self, seq: u32) -> &'static str {
        if self.takes_turns() { QUEUES[self.targets(seq)[0]].name } else { self.key }
    }

    fn takes_turns(&self) -> bool {
        self.exchange.is_empty() && self.queues.len() > 1
    }

    /// Whether its messages may be transient.
    pub(crate) fn has_transients(&self) -> bool {
        self.queues == [CLASSIC]
    }
}

const fn to(key: &'static str, queues: &'static [usize]) -> Route {
    Route { exchange: "", key, queues }
}

pub(crate) static ROUTES: [Route; 10] = [
    to("classic", &[CLASSIC]),
    to("quorum", &[QUORUM_QUEUE]),
    to("priority", &[PRIORITY]),
    Route { exchange: "fan", key: "", queues: &[FAN_1, FAN_2, FAN_3] },
    to("rejected", &[REJECTED]),
    to("moved", &[MOVED]),
    Route { exchange: "later", key: "delayed", queues: &[DELAYED] },
    to("kept", &[KEPT]),
    to("stream", &[]),
    to("", &[TX_A, TX_B]),
];

pub(crate) static TO_MARKS: Route = to("marks", &[MARKS]);

fn table(arguments: &[(&str, Argument)]) -> Vec<u8> {
    let entries = arguments.iter().fold(Fields::new(), |entries, (name, argument)| match argument {
        Argument::Text(text) => entries.text(name).byte(b'S').bytes(text.as_bytes()),
        Argument::Number(number) => entries.text(name).byte(b'b').byte(*number),
    });
    entries.0
}

fn declare_queue(client: &mut Client, name: &str, arguments: &[(&str, Argument)]) -> Heard<()> {
    let fields = Fields::new().short(0).text(name).byte(2).bytes(&table(arguments));
    client.call(1, wire::QUEUE_DECLARE, &fields, wire::QUEUE_DECLARE_OK).map(drop)
}

fn declare_exchange(client: &mut Client, name: &str, kind: &str, arguments: &[(&str, Argument)]) -> Heard<()> {
    let fields = Fields::new().short(0).text(name).text(kind).byte(2).bytes(&table(arguments));
    client.call(1, EXCHANGE_DECLARE, &fields, EXCHANGE_DECLARE_OK).map(drop)
}

fn bind(client: &mut Client, queue: &str, exchange: &str, key: &str) -> Heard<()> {
    let fields = Fields::new().short(0).text(queue).text(exchange).text(key).byte(0).bytes(&[]);
    client.call(1, wire::QUEUE_BIND, &fields, wire::QUEUE_BIND_OK).map(drop)
}

/// On channel 1, which is open.
pub(crate) fn declare(client: &mut Client) -> Heard<()> {
    for queue in &QUEUES {
        declare_queue(client, queue.name, queue.arguments)?;
    }
    declare_queue(client, STREAM, &[("x-queue-type", Text("stream"))])?;
    declare_queue(client, PROOF, &[("x-max-length", Number(1))])?;
    declare_exchange(client, "fan", "fanout", &[])?;
    declare_exchange(client, "later", "x-delayed-message", &[("x-delayed-type", Text("direct"))])?;
    for queue in [FAN_1, FAN_2, FAN_3] {
        bind(client, QUEUES[queue].name, "fan", "")?;
    }
    bind(client, "delayed", "later", "delayed")
}

/// That all of it is there.
pub(crate) fn check(client: &mut Client) -> Heard<()> {
    for name in QUEUES.iter().map(|queue| queue.name).chain([STREAM, PROOF]) {
        client.count(1, name)?;
    }
    for name in ["fan", "later"] {
        let fields = Fields::new().short(0).text(name).text("").byte(1).bytes(&[]);
        client.call(1, EXCHANGE_DECLARE, &fields, EXCHANGE_DECLARE_OK)?;
    }
    Ok(())
}
