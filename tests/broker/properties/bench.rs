//! A broker with one connection and one channel to try things on, at a time that the test sets.

use std::sync::Arc;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::amqp::Decoder;
use leveret::broker::policy::Policy;
use leveret::broker::{Broker, Capabilities, ConnectionId, Effects, Input, Load, Opened, Profile, Release, Rights, Settings, Timestamp};

use crate::core::keeper::Keeper;

use super::wire::{FRAME_MAX, frame_bytes, frames, method_bytes, opened_decoder};

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) broker: Broker,
    /// In milliseconds.
    pub(crate) now: u64,
    effects: Effects,
    decoder: Decoder,
    /// What the broker writes down, and whether it pages out what is there.
    keeper: Option<Keeper>,
    pages: bool,
    /// Whether the disk answers at once, and what it has not answered yet.
    pub(crate) answers: bool,
    pub(crate) unanswered: Vec<Load>,
    /// Whether the last answer has to wait for what is written down to be safe.
    pub(crate) held: bool,
}

/// A message as a client gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) tag: u64,
    /// Empty for basic.get.
    pub(crate) consumer: String,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) key: String,
    pub(crate) properties: AMQPProperties,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }
}

const CONNECTION: ConnectionId = ConnectionId(0);

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(Profile::PERMISSIVE)
    }

    pub(crate) fn of(profile: Profile) -> Self {
        let settings = Settings { profile, outbox_high: usize::MAX, ..Settings::default() };
        Self::with(Broker::new("/", Arc::new(settings), 1), 0, None, false)
    }

    /// A broker that counts pairs.
    pub(crate) fn detailed() -> Self {
        let settings = Settings { detailed_rates: true, outbox_high: usize::MAX, ..Settings::default() };
        Self::with(Broker::new("/", Arc::new(settings), 1), 0, None, false)
    }

    /// A broker that keeps what has to survive; `pages` leaves as little of it in memory as can be.
    pub(crate) fn durable(pages: bool) -> Self {
        Self::durable_of(Profile::PERMISSIVE, pages)
    }

    pub(crate) fn durable_of(profile: Profile, pages: bool) -> Self {
        Self::started_as(profile, &Keeper::default(), 1_000_000, pages)
    }

    /// A broker that takes in what is left of another.
    pub(crate) fn started(keeper: &Keeper, now: u64, pages: bool) -> Self {
        Self::started_as(Profile::PERMISSIVE, keeper, now, pages)
    }

    fn started_as(profile: Profile, keeper: &Keeper, now: u64, pages: bool) -> Self {
        let page_window = if pages { 0 } else { Settings::default().page_window };
        let settings = Settings { profile, outbox_high: usize::MAX, page_window, ..Settings::default() };
        let mut broker = Broker::new("/", Arc::new(settings), 1);
        broker.keep_records();
        broker.restore(Timestamp(now), &keeper.recovered()).expect("what a broker wrote");
        let mut keeper = keeper.restarted();
        loop {
            keeper.take(&mut broker);
            let loads = broker.take_loads();
            if loads.is_empty() {
                break;
            }
            for load in loads {
                broker.handle(Timestamp(now), Input::Loaded(keeper.answer(load, 3)), &mut Effects::default());
            }
        }
        Self::with(broker, now, Some(keeper), pages)
    }

    /// What is written down by now.
    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper.clone().expect("a durable bench")
    }

    /// The connection is gone, and another one comes.
    pub(crate) fn reconnect(&mut self) {
        self.input(Input::Disconnected(CONNECTION));
        self.decoder = opened_decoder(FRAME_MAX);
        self.connect();
    }

    fn with(broker: Broker, now: u64, keeper: Option<Keeper>, pages: bool) -> Self {
        let mut bench = Self {
            broker,
            now,
            effects: Effects::default(),
            decoder: opened_decoder(FRAME_MAX),
            keeper,
            pages,
            answers: true,
            unanswered: Vec::new(),
            held: false,
        };
        bench.connect();
        bench
    }

    fn connect(&mut self) {
        let capabilities = Capabilities { consumer_cancel_notify: true, connection_blocked: false };
        let opened = Opened {
            user: "guest".into(),
            capabilities,
            frame_max: FRAME_MAX,
            channel_max: 0,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        };
        self.input(Input::Connected(CONNECTION, opened));
        self.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    }

    /// The broker handles an input; returns the frames that it answers with.
    pub(crate) fn input(&mut self, input: Input<'_>) -> Vec<AMQPFrame> {
        self.broker.handle(Timestamp(self.now), input, &mut self.effects);
        let mut all = Vec::new();
        let mut held = false;
        loop {
            self.effects.drain_outputs(|_, output, release| {
                all.extend(frames(&output.to_vec()));
                held |= release == Release::WhenSafe;
            });
            self.held = held;
            if !self.store() {
                break;
            }
        }
        self.effects.actions.clear();
        self.effects.refusals.clear();
        all
    }

    /// Does what a storage does; `false` when there was nothing.
    fn store(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        let now = Timestamp(self.now);
        let mut stored = keeper.take(&mut self.broker);
        if !self.pages {
            stored.clear();
        }
        if !stored.is_empty() {
            self.broker.handle(now, Input::Stored(&stored), &mut self.effects);
        }
        if self.pages {
            self.broker.handle(now, Input::SpillTransient, &mut self.effects);
        }
        for (queue, level, up_to) in keeper.take_spills(&mut self.broker) {
            self.broker.handle(now, Input::Spilled { queue, level, up_to }, &mut self.effects);
        }
        self.unanswered.append(&mut self.broker.take_loads());
        let loads = if self.answers { std::mem::take(&mut self.unanswered) } else { Vec::new() };
        let did = !stored.is_empty() || !loads.is_empty();
        for load in loads {
            let loaded = keeper.answer(load, 3);
            self.broker.handle(now, Input::Loaded(loaded), &mut self.effects);
        }
        did
    }

    /// Sends bytes to the broker; returns the frames that it answers with.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Vec<AMQPFrame> {
        let mut commands = Vec::new();
        self.decoder.feed(bytes, &mut commands);
        self.input(Input::Received(CONNECTION, &mut commands))
    }

    pub(crate) fn method(&mut self, class: AMQPClass) -> Vec<AMQPFrame> {
        self.say(&method_bytes(1, class))
    }

    pub(crate) fn basic(&mut self, method: basic::AMQPMethod) -> Vec<AMQPFrame> {
        self.method(AMQPClass::Basic(method))
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, milliseconds: u64) -> Vec<AMQPFrame> {
        self.now += milliseconds;
        self.input(Input::Tick)
    }

    /// The code and text of the channel.close or connection.close among these; the channel is opened again.
    pub(crate) fn refusal(&mut self, answer: &[AMQPFrame]) -> Option<(u16, String)> {
        use amq_protocol::protocol::connection::AMQPMethod as Connection;
        let refusal = answer.iter().find_map(|frame| match frame {
            AMQPFrame::Method(1, AMQPClass::Channel(channel::AMQPMethod::Close(close))) => {
                Some((close.reply_code, close.reply_text.to_string()))
            }
            AMQPFrame::Method(0, AMQPClass::Connection(Connection::Close(close))) => Some((close.reply_code, close.reply_text.to_string())),
            _ => None,
        })?;
        self.method(AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
        self.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        Some(refusal)
    }

    /// The code of a refusal.
    pub(crate) fn reopened(&mut self, answer: &[AMQPFrame]) -> Option<u16> {
        self.refusal(answer).map(|(code, _)| code)
    }

    /// Declares a durable queue.
    pub(crate) fn declare(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) -> Vec<AMQPFrame> {
        let declare = queue::Declare { queue: name.into(), durable: true, arguments: table_of(arguments), ..queue::Declare::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
    }

    pub(crate) fn delete(&mut self, name: &str) {
        let delete = queue::Delete { queue: name.into(), ..queue::Delete::default() };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)));
    }

    /// Publishes to a queue.
    pub(crate) fn publish(&mut self, queue: &str, properties: AMQPProperties, body: &[u8]) -> Vec<AMQPFrame> {
        self.say(&publish_bytes(queue, properties, body))
    }

    pub(crate) fn get(&mut self, queue: &str, no_ack: bool) -> Option<Got> {
        let answer = self.basic(basic::AMQPMethod::Get(basic::Get { queue: queue.into(), no_ack }));
        got(&answer).pop()
    }

    pub(crate) fn consume(&mut self, queue: &str, tag: &str, arguments: &[(&str, AMQPValue)]) -> Vec<AMQPFrame> {
        let arguments = table_of(arguments);
        let consume = basic::Consume { queue: queue.into(), consumer_tag: tag.into(), arguments, ..basic::Consume::default() };
        self.basic(basic::AMQPMethod::Consume(consume))
    }

    pub(crate) fn qos(&mut self, prefetch_count: u16) {
        self.basic(basic::AMQPMethod::Qos(basic::Qos { prefetch_count, global: false }));
    }

    pub(crate) fn ack(&mut self, delivery_tag: u64) -> Vec<AMQPFrame> {
        self.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: false }))
    }

    pub(crate) fn reject(&mut self, delivery_tag: u64, requeue: bool) -> Vec<AMQPFrame> {
        self.basic(basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }))
    }

    pub(crate) fn set_policy(&mut self, operator: bool, policy: Policy) {
        self.input(Input::SetPolicy { operator, policy: Box::new(policy), user: "guest" });
    }
}

pub(crate) fn table_of(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A publish to a queue.
pub(crate) fn publish_bytes(queue: &str, properties: AMQPProperties, body: &[u8]) -> Vec<u8> {
    publish_to("", queue, properties, body)
}

pub(crate) fn publish_to(exchange: &str, key: &str, properties: AMQPProperties, body: &[u8]) -> Vec<u8> {
    publish_as(basic::Publish { exchange: exchange.into(), routing_key: key.into(), ..basic::Publish::default() }, properties, body)
}

pub(crate) fn publish_as(method: basic::Publish, properties: AMQPProperties, body: &[u8]) -> Vec<u8> {
    let mut bytes = method_bytes(1, AMQPClass::Basic(basic::AMQPMethod::Publish(method)));
    bytes.extend(frame_bytes(&AMQPFrame::Header(1, AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties })));
    if !body.is_empty() {
        bytes.extend(frame_bytes(&AMQPFrame::Body(1, body.to_vec())));
    }
    bytes
}

/// What was delivered, or got.
pub(crate) fn got(frames: &[AMQPFrame]) -> Vec<Got> {
    let mut all: Vec<Got> = Vec::new();
    for frame in frames {
        match frame {
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => all.push(Got {
                tag: deliver.delivery_tag,
                consumer: deliver.consumer_tag.to_string(),
                redelivered: deliver.redelivered,
                exchange: deliver.exchange.to_string(),
                key: deliver.routing_key.to_string(),
                properties: AMQPProperties::default(),
                body: Vec::new(),
            }),
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::GetOk(ok))) => all.push(Got {
                tag: ok.delivery_tag,
                consumer: String::new(),
                redelivered: ok.redelivered,
                exchange: ok.exchange.to_string(),
                key: ok.routing_key.to_string(),
                properties: AMQPProperties::default(),
                body: Vec::new(),
            }),
            AMQPFrame::Header(_, header) => {
                if let Some(last) = all.last_mut() {
                    last.properties = header.properties.clone();
                }
            }
            AMQPFrame::Body(_, body) => {
                if let Some(last) = all.last_mut() {
                    last.body.extend_from_slice(body);
                }
            }
            _ => {}
        }
    }
    all
}
