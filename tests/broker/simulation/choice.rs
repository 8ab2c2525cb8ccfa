//! What a client does next: mostly sense, now and then an error that a client might make.

use super::client::{Channel, Client};
use super::op::{BindingSpec, Consume, ExchangeSpec, Headers, Op, Publish, QueueSpec};
use super::random::Random;

/// What there is to choose from in one run.
#[derive(Clone, Debug)]
pub(super) struct Tastes {
    /// In front of every name.
    pub(super) prefix: String,
    pub(super) queues: usize,
    pub(super) exchanges: usize,
    /// Percent of the bodies that are over 8 KiB.
    pub(super) large: usize,
    /// Percent of the queues that are bounded.
    pub(super) bounded: usize,
    /// Whether what all share (the predeclared exchanges) is used as well.
    pub(super) shared: bool,
    /// Whether anything at all is asked for, which no model follows.
    pub(super) wild: bool,
}

const KEYS: [&str; 9] = ["", "a", "b", "a.b", "a.b.c", "b.a", "a..b", ".", "c.c.c"];
const PATTERNS: [&str; 9] = ["", "a", "#", "*", "a.*", "a.#", "#.b.#", "*.b", "*.*.c"];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const WILD_KINDS: [&str; 5] = ["x-delayed-message", "x-recent-history", "x-consistent-hash", "x-random", "x-modulus-hash"];
const PREDECLARED: [&str; 4] = ["amq.direct", "amq.fanout", "amq.topic", "amq.match"];

pub(super) struct Chooser<'a> {
    pub(super) random: &'a mut Random,
    pub(super) tastes: &'a Tastes,
    pub(super) connection: u32,
    pub(super) next_publisher: &'a mut u64,
}

impl Chooser<'_> {
    /// The next method of a client, and its channel.
    pub(super) fn next(&mut self, client: &mut Client) -> Option<(u16, Op)> {
        if let Some(answer) = client.answers.pop_front() {
            return Some(answer);
        }
        if client.said_goodbye {
            return None;
        }
        if self.random.below(1500) == 0 {
            client.said_goodbye = true;
            client.channels.clear();
            return Some((0, Op::ConnectionClose));
        }
        let number = u16::try_from(1 + self.random.below(3)).expect("a small number");
        let Some(channel) = client.channels.get(&number) else {
            *self.next_publisher += 1;
            let publisher = *self.next_publisher;
            let transactional = self.random.percent(20);
            client.channels.insert(number, Channel { publisher, transactional, ..Default::default() });
            if transactional {
                client.answers.push_back((number, Op::TxSelect));
            } else if self.random.percent(50) {
                client.answers.push_back((number, Op::ConfirmSelect));
            }
            return Some((number, Op::ChannelOpen));
        };
        if channel.closing {
            return None;
        }
        Some((number, self.method(client, number)))
    }

    fn method(&mut self, client: &mut Client, number: u16) -> Op {
        let weights = [420, 300, 60, 40, 45, 12, 35, 15, 50, 8, 6, 40, 10, 10, 40, 6, 3, 2, 20];
        let choice = self.random.weighted(&weights);
        let queue = self.queue(client);
        let channel = client.channels.get_mut(&number).expect("it is open");
        match choice {
            0 => self.publish_on(channel, &queue),
            1 | 2 if !channel.held.is_empty() => self.settle(channel, choice == 1),
            3 => {
                let tag = format!("c{}", channel.consumers.len());
                let again = self.random.below(40) == 0;
                let taken = channel.consumers.keys().find(|tag| !channel.cancelled.contains(*tag)).cloned();
                let tag = taken.filter(|_| again).unwrap_or(tag);
                let no_ack = self.random.percent(25);
                channel.consumers.entry(tag.clone()).or_insert(no_ack);
                let exclusive = self.random.percent(4);
                let priority = if self.random.percent(20) { 5 } else { 0 };
                let wild = self.wild();
                Op::Consume(Consume { queue, tag, no_ack, exclusive, priority, wild })
            }
            4 => {
                let global = self.random.percent(25);
                Op::Qos { count: u16::try_from(self.random.below(6)).expect("a small number"), global }
            }
            5 => {
                channel.held.clear();
                Op::Recover
            }
            6 => {
                let no_ack = self.random.percent(40);
                channel.gets.push_back(no_ack);
                Op::Get { queue, no_ack }
            }
            7 => {
                let tag = format!("c{}", self.random.below(channel.consumers.len() + 1));
                channel.cancelled.insert(tag.clone());
                Op::Cancel(tag)
            }
            8 => self.declare(queue),
            9 => Op::QueuePurge(queue),
            10 => Op::QueueDelete { name: queue, if_unused: self.random.percent(30), if_empty: self.random.percent(30) },
            11 => {
                let spec = self.binding(queue);
                Op::QueueBind(spec)
            }
            12 => {
                let spec = self.binding(queue);
                Op::QueueUnbind(spec)
            }
            13 => {
                let destination = self.exchange();
                let spec = self.binding(destination);
                if self.random.percent(70) { Op::ExchangeBind(spec) } else { Op::ExchangeUnbind(spec) }
            }
            14 => {
                let name = self.own_exchange();
                if self.random.percent(92) {
                    Op::ExchangeDeclare(name.clone(), self.exchange_spec(&name))
                } else {
                    Op::ExchangeDelete { name, if_unused: self.random.percent(50) }
                }
            }
            15 => {
                channel.closing = true;
                Op::ChannelClose
            }
            16 => Op::ConfirmSelect,
            17 => {
                channel.transactional = true;
                Op::TxSelect
            }
            _ if channel.transactional => {
                if self.random.percent(75) {
                    Op::TxCommit
                } else {
                    Op::TxRollback
                }
            }
            _ if self.random.percent(10) => Op::QueueDeclarePassive(queue),
            _ => self.publish_on(channel, &queue),
        }
    }

    fn publish_on(&mut self, channel: &mut Channel, queue: &str) -> Op {
        channel.published += 1;
        let id = (channel.publisher << 32) | channel.published;
        Op::Publish(self.publish(id, queue))
    }

    fn settle(&mut self, channel: &mut Channel, ack: bool) -> Op {
        let index = self.random.below(channel.held.len());
        let multiple = self.random.percent(30);
        let mut tag = *channel.held.iter().nth(index).expect("an index of one of them");
        if multiple && self.random.percent(10) {
            tag = 0;
        } else if self.random.below(150) == 0 {
            tag += 1000;
        }
        channel.settle(tag, multiple);
        match (ack, self.random.percent(60)) {
            (true, _) => Op::Ack { tag, multiple },
            (false, requeue) if multiple || tag.is_multiple_of(2) => Op::Nack { tag, multiple, requeue },
            (false, requeue) => Op::Reject { tag, requeue },
        }
    }

    fn publish(&mut self, id: u64, queue: &str) -> Publish {
        let (exchange, key) = if self.random.percent(55) {
            (String::new(), queue.to_owned())
        } else {
            (self.exchange(), (*self.random.pick(&KEYS)).to_owned())
        };
        let size = if self.random.percent(self.tastes.large) { 8192 + self.random.below(12_000) } else { 8 + self.random.below(200) };
        let headers = if self.random.percent(30) { self.headers() } else { Headers::new() };
        let mandatory = self.random.percent(30);
        Publish { exchange, key, mandatory, headers, id, size, wild: self.wild() }
    }

    /// Now and then, where anything is asked for.
    fn wild(&mut self) -> Option<u64> {
        (self.tastes.wild && self.random.percent(60)).then(|| self.random.next())
    }

    fn headers(&mut self) -> Headers {
        let mut headers = Headers::new();
        for name in ["h", "i"] {
            if self.random.percent(60) {
                headers.insert(name.to_owned(), i32::try_from(self.random.below(3)).expect("a small number"));
            }
        }
        headers
    }

    /// A queue's name: one of those for all, this connection's own, or one that the broker named.
    fn queue(&mut self, client: &Client) -> String {
        let n = self.random.below(self.tastes.queues);
        let Tastes { prefix, .. } = self.tastes;
        match self.random.below(20) {
            0..=2 => {
                // Mostly its own, for an exclusive queue is locked to all others.
                let other = u32::try_from(self.random.below(5)).expect("a small number");
                let owner = if self.random.percent(97) { self.connection } else { other };
                format!("{prefix}own{owner}-{}", n % 2)
            }
            3 if !client.queues.is_empty() => client.queues[self.random.below(client.queues.len())].clone(),
            _ => format!("{prefix}q{n}"),
        }
    }

    /// The properties mostly follow from the name, so that declaring it again works.
    fn declare(&mut self, name: String) -> Op {
        if self.random.percent(5) {
            let spec =
                QueueSpec { durable: false, exclusive: true, auto_delete: true, max_length: None, reject_publish: false, wild: None };
            return Op::QueueDeclare(String::new(), spec);
        }
        if name.starts_with("amq.") {
            return Op::QueueDeclarePassive(name);
        }
        if let Some(seed) = self.wild() {
            let durable = self.random.percent(90);
            let spec =
                QueueSpec { durable, exclusive: false, auto_delete: false, max_length: None, reject_publish: false, wild: Some(seed) };
            return Op::QueueDeclare(name, spec);
        }
        let number = name.bytes().map(usize::from).sum::<usize>() * 31 % 97;
        let odd = self.random.below(60) == 0;
        let bounded = number < self.tastes.bounded;
        Op::QueueDeclare(
            name.clone(),
            QueueSpec {
                durable: number % 3 == 0,
                exclusive: name.contains("own"),
                auto_delete: (number % 5 == 1) ^ odd,
                max_length: bounded.then_some(i32::try_from(number % 6).expect("a small number")),
                reject_publish: bounded && number % 2 == 0,
                wild: None,
            },
        )
    }

    fn own_exchange(&mut self) -> String {
        format!("{}e{}", self.tastes.prefix, self.random.below(self.tastes.exchanges))
    }

    fn exchange(&mut self) -> String {
        if self.tastes.shared && self.random.percent(30) { (*self.random.pick(&PREDECLARED)).to_owned() } else { self.own_exchange() }
    }

    fn exchange_spec(&mut self, name: &str) -> ExchangeSpec {
        let number = usize::from(name.bytes().last().unwrap_or(0));
        let odd = self.random.below(80) == 0;
        let alternate = (number % 3 == 2).then(|| format!("{}e{}", self.tastes.prefix, number % 2));
        let kind = if self.wild().is_some() { self.random.pick(&WILD_KINDS) } else { KINDS[number % 4] };
        ExchangeSpec { kind, auto_delete: (number % 5 == 0) ^ odd, internal: number % 10 == 4, alternate }
    }

    fn binding(&mut self, destination: String) -> BindingSpec {
        let source = self.exchange();
        let mode = [None, Some("all"), Some("any")][self.random.below(3)];
        let headers = if self.random.percent(50) { self.headers() } else { Headers::new() };
        BindingSpec { source, destination, key: (*self.random.pick(&PATTERNS)).to_owned(), mode, headers }
    }
}
