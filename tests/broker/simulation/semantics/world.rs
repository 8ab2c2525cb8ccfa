//! The broker under the operations that were chosen, and the model beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::amqp::Decoder;
use leveret::broker::{Broker, Capabilities, ConnectionId, Effects, Input, Opened, Profile, Rights, Settings, Timestamp};

use super::super::link::opened_decoder;
use super::super::op;
use super::super::random::Random;
use super::super::totals::Watch;
use super::super::wire::{self, Event};
use super::choice::Chooser;
use super::methods::{Fate, Op, Start};
use super::model::{At, Copy, Model};
use super::spec::{FANOUT, PERMANENT};

const FRAME_MAX: usize = 131_072;
const CONNECTIONS: u32 = 3;
const CHANNELS: u16 = 2;
const BEGINNING: u64 = 1_700_000_000_000;

#[derive(Debug)]
pub(super) struct World {
    broker: Broker,
    effects: Effects,
    decoders: BTreeMap<u32, Decoder>,
    pub(super) model: Model,
    pub(super) chooser: Chooser,
    now: u64,
    /// Time passes in many small steps; how small is drawn from this.
    small_steps: Option<Random>,
    /// Of every byte sent to each connection.
    pub(super) hashes: BTreeMap<u32, u64>,
    watch: Watch,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, small_steps: bool) -> Self {
        let chooser = Chooser::new(seed);
        let is_old = chooser.is_old;
        let profile = Profile::named(if is_old { "3.13" } else { "permissive" }).expect("a profile");
        let consumer_timeout = (!is_old).then_some(super::spec::CONSUMER_TIMEOUT);
        let settings = Settings { outbox_high: usize::MAX, profile, consumer_timeout, ..Settings::default() };
        let mut world = Self {
            broker: Broker::new("/", Arc::new(settings), seed),
            effects: Effects::default(),
            decoders: BTreeMap::new(),
            model: Model::new(BEGINNING, is_old),
            chooser,
            now: BEGINNING,
            small_steps: small_steps.then(|| Random::new(seed)),
            hashes: BTreeMap::new(),
            watch: Watch::default(),
            trace: std::env::var_os("TRACE").is_some(),
        };
        let mut events = Vec::new();
        for connection in 0..CONNECTIONS {
            world.connect(connection, &mut events);
        }
        world.model.heard.hear(events, &mut BTreeMap::new());
        for connection in 0..CONNECTIONS {
            world.model.heard.plain((connection, 0), (10, 41));
            (1..=CHANNELS).for_each(|channel| world.model.opened((connection, channel)));
        }
        for name in PERMANENT {
            let number = usize::from(name != PERMANENT[0]);
            let spec = world.chooser.specs[number].clone();
            world.step(&Op::Declare((0, 1), name.to_owned(), Box::new(spec)), 0);
        }
        world.bind_fanout();
        world
    }

    fn bind_fanout(&mut self) {
        let declare = exchange::Declare { exchange: FANOUT.into(), kind: "fanout".into(), ..exchange::Declare::default() };
        let mut bytes = Vec::new();
        wire::put_method(1, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)), &mut bytes);
        for name in PERMANENT {
            let bind = queue::Bind { queue: name.into(), exchange: FANOUT.into(), ..queue::Bind::default() };
            wire::put_method(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)), &mut bytes);
        }
        self.received(0, &bytes, &mut Vec::new());
    }

    fn connect(&mut self, connection: u32, events: &mut Vec<(u32, Event)>) {
        let capabilities = Capabilities { consumer_cancel_notify: true, connection_blocked: false };
        let opened = Opened {
            user: "guest".into(),
            capabilities,
            frame_max: FRAME_MAX,
            channel_max: 0,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        };
        self.input(Input::Connected(ConnectionId(connection), opened), events);
        self.decoders.insert(connection, opened_decoder(FRAME_MAX));
        let mut bytes = Vec::new();
        for number in 1..=CHANNELS {
            put_open(number, &mut bytes);
        }
        self.received(connection, &bytes, events);
    }

    fn received(&mut self, connection: u32, bytes: &[u8], events: &mut Vec<(u32, Event)>) {
        let mut commands = Vec::new();
        self.decoders.get_mut(&connection).expect("it is there").feed(bytes, &mut commands);
        self.input(Input::Received(ConnectionId(connection), &mut commands), events);
    }

    fn input(&mut self, input: Input<'_>, events: &mut Vec<(u32, Event)>) {
        self.broker.handle(Timestamp(self.now), input, &mut self.effects);
        let hashes = &mut self.hashes;
        self.effects.drain_outputs(|id, output, _| {
            let bytes = output.to_vec();
            let hash = hashes.entry(id.0).or_insert(0xCBF2_9CE4_8422_2325);
            for byte in &bytes {
                *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
            events.extend(wire::read_all(&bytes, FRAME_MAX).into_iter().map(|event| (id.0, event)));
        });
        self.effects.actions.clear();
        self.effects.refusals.clear();
        let next = self.broker.next_deadline();
        assert!(next.is_none_or(|next| next > Timestamp(self.now)), "{next:?} is over at {}", self.now);
    }

    /// Time passes before an operation: all at once, or bit by bit.
    fn let_pass(&mut self, pause: u64, events: &mut Vec<(u32, Event)>) {
        let until = self.now + pause;
        while let Some(random) = self.small_steps.as_mut().filter(|_| self.now < until) {
            let deadline = self.broker.next_deadline().map_or(until, |deadline| deadline.0);
            let next = if random.percent(50) { deadline } else { self.now + 1 + random.next() % (until - self.now) };
            self.now = next.min(until);
            self.input(Input::Tick, events);
        }
        self.now = until;
    }

    pub(super) fn tick(&mut self) {
        let pause = self.chooser.pause();
        if self.chooser.random.percent(50) {
            self.step(&Op::Nothing, pause);
            let op = self.chooser.next(&self.model);
            self.step(&op, 0);
        } else if let op @ (Op::Publish(..) | Op::Declare(..) | Op::Policy(..) | Op::Qos(..)) = self.chooser.next(&self.model) {
            // These make sense whatever has ended in the meantime.
            self.step(&op, pause);
        }
    }

    fn step(&mut self, op: &Op, pause: u64) {
        let mut events = Vec::new();
        self.let_pass(pause, &mut events);
        self.carry_out(op, &mut events);
        if self.trace {
            use std::io::Write;
            let heard = events.iter().map(|(id, event)| format!("\n    {id} {} {:?}", event.channel, event.class));
            writeln!(std::io::stderr().lock(), "{} {op:?}{}", self.now, heard.collect::<String>()).expect("standard error");
        }
        self.model.heard.hear(events, &mut self.model.channels);
        self.model.pass_time(self.now);
        self.model.apply(op);
        self.check();
    }

    fn check(&mut self) {
        self.watch.check(&self.broker);
        let snapshots = self.broker.queue_snapshots();
        let ids = |bodies: &[Vec<u8>]| bodies.iter().map(|body| op::id_of(body)).collect::<Vec<u64>>();
        let kept = snapshots.iter().map(|snapshot| (snapshot.name.clone(), ids(&snapshot.ready_bodies))).collect();
        self.model.read_streams(&kept);
        self.model.heard.nothing_is_left();
        let names: Vec<&String> = snapshots.iter().map(|snapshot| &snapshot.name).collect();
        assert_eq!(names, self.model.queues.keys().collect::<Vec<_>>(), "queues");
        for snapshot in &snapshots {
            let (name, queue) = (&snapshot.name, &self.model.queues[&snapshot.name]);
            let messages: Vec<&Copy> = queue.ready.iter().chain(queue.log.iter().map(|stored| &stored.copy)).collect();
            assert_eq!(kept[name], messages.iter().map(|copy| copy.id).collect::<Vec<_>>(), "messages of {name}");
            assert_eq!(snapshot.ready_bytes, messages.iter().map(|copy| copy.size as u64).sum::<u64>(), "bytes of {name}");
            assert_eq!((snapshot.unacked, snapshot.consumers), (queue.unacked, queue.consumers.len()), "{name}");
        }
    }

    fn carry_out(&mut self, op: &Op, events: &mut Vec<(u32, Event)>) {
        match op {
            Op::Nothing => self.input(Input::Tick, events),
            Op::Disconnect(connection) => {
                self.input(Input::Disconnected(ConnectionId(*connection)), events);
                self.connect(*connection, events);
            }
            Op::Policy(name, limits) => {
                let policy = || Box::new(limits.as_policy(name));
                let input = match limits.is_empty() {
                    true => Input::ClearPolicy { operator: false, name, user: "guest" },
                    false => Input::SetPolicy { operator: false, policy: policy(), user: "guest" },
                };
                self.input(input, events);
            }
            _ => {
                let (at, bytes) = encoded(op);
                self.received(at.0, &bytes, events);
            }
        }
    }

    /// Everything is deleted, and nothing must be left.
    pub(super) fn end(&mut self) {
        for connection in 1..CONNECTIONS {
            self.step(&Op::Disconnect(connection), 0);
        }
        let names: Vec<String> = self.model.queues.keys().cloned().collect();
        for name in names {
            self.step(&Op::Delete((0, 1), name), 0);
        }
        self.step(&Op::Disconnect(0), 0);
        assert_eq!(self.broker.memory(), 0, "bytes of messages are left");
    }
}

fn put_open(number: u16, bytes: &mut Vec<u8>) {
    wire::put_method(number, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})), bytes);
    wire::put_method(number, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })), bytes);
}

/// The bytes of a method, and the channel that it is for.
fn encoded(op: &Op) -> (At, Vec<u8>) {
    use basic::AMQPMethod as Basic;
    use queue::AMQPMethod as Queue;
    let mut bytes = Vec::new();
    let (at, class) = match op.clone() {
        Op::Publish(at, copy) => {
            let publish =
                basic::Publish { exchange: copy.exchange.as_str().into(), routing_key: copy.key.as_str().into(), ..Default::default() };
            wire::put_method(at.1, AMQPClass::Basic(Basic::Publish(publish)), &mut bytes);
            wire::put_content(at.1, properties(&copy), &op::body(copy.id, copy.size), FRAME_MAX, &mut bytes);
            return (at, bytes);
        }
        Op::CloseChannel(at) => {
            let close = channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
            wire::put_method(at.1, AMQPClass::Channel(channel::AMQPMethod::Close(close)), &mut bytes);
            put_open(at.1, &mut bytes);
            return (at, bytes);
        }
        Op::Consume { at, queue, tag, no_ack, priority, start, wants } => {
            let arguments = consumer_arguments(priority, start, wants);
            let (queue, consumer_tag) = (queue.into(), tag.into());
            (at, AMQPClass::Basic(Basic::Consume(basic::Consume { queue, consumer_tag, no_ack, arguments, ..Default::default() })))
        }
        Op::Cancel(at, tag) => (at, AMQPClass::Basic(Basic::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false }))),
        Op::Get { at, queue, no_ack } => (at, AMQPClass::Basic(Basic::Get(basic::Get { queue: queue.into(), no_ack }))),
        Op::Settle { at, tag: delivery_tag, multiple, fate } => {
            let method = match fate {
                Fate::Ack => Basic::Ack(basic::Ack { delivery_tag, multiple }),
                Fate::Discard | Fate::Nack => Basic::Nack(basic::Nack { delivery_tag, multiple, requeue: fate == Fate::Nack }),
                Fate::Reject => Basic::Reject(basic::Reject { delivery_tag, requeue: true }),
            };
            (at, AMQPClass::Basic(method))
        }
        Op::Qos(at, prefetch_count) => (at, AMQPClass::Basic(Basic::Qos(basic::Qos { prefetch_count, global: false }))),
        Op::Purge(at, name) => (at, AMQPClass::Queue(Queue::Purge(queue::Purge { queue: name.into(), nowait: false }))),
        Op::Delete(at, name) => (at, AMQPClass::Queue(Queue::Delete(queue::Delete { queue: name.into(), ..Default::default() }))),
        Op::Declare(at, name, spec) => {
            let declare = queue::Declare { queue: name.into(), durable: true, arguments: spec.arguments(), ..Default::default() };
            (at, AMQPClass::Queue(Queue::Declare(declare)))
        }
        other => unreachable!("{other:?} is no method"),
    };
    wire::put_method(at.1, class, &mut bytes);
    (at, bytes)
}

fn properties(copy: &Copy) -> AMQPProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-stream-filter-value".into(), AMQPValue::LongString((copy.id & 1).to_string().into()));
    let mut properties = AMQPProperties::default().with_headers(headers);
    if let Some(expiration) = copy.expiration {
        properties = properties.with_expiration(expiration.to_string().into());
    }
    if let Some(priority) = copy.priority {
        properties = properties.with_priority(priority);
    }
    properties
}

fn consumer_arguments(priority: i32, start: Option<Start>, wants: Option<u64>) -> FieldTable {
    let mut arguments = FieldTable::default();
    if priority != 0 {
        arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
    }
    let text = |text: &str| AMQPValue::LongString(text.into());
    if let Some(start) = start {
        let offset = match start {
            Start::First => text("first"),
            Start::Last => text("last"),
            Start::Next => text("next"),
            Start::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).expect("a small number")),
        };
        arguments.insert("x-stream-offset".into(), offset);
    }
    if let Some(bit) = wants {
        arguments.insert("x-stream-filter".into(), text(&bit.to_string()));
    }
    arguments
}
