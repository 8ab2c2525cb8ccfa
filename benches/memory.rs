//! What a message that waits costs beyond its content, in resident memory: a million of each kind, published to a broker in this
//! process. Prints bytes per message.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::sync::Arc;

use leveret::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Message, Method, Publish, channel, exchange, queue, table};
use leveret::broker::{Broker, Capabilities, ConnectionId, Effects, Input, Opened, Settings, Timestamp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENT: ConnectionId = ConnectionId(0);
const MESSAGES: u32 = 1_000_000;
const BODY: &[u8] = &[7; 16];

struct World {
    broker: Broker,
    effects: Effects,
}

impl World {
    fn new() -> Self {
        let mut world = Self { broker: Broker::new("/", Arc::new(Settings::default()), 1), effects: Effects::default() };
        let opened = Opened {
            user: "guest".into(),
            capabilities: Capabilities::default(),
            frame_max: 131_072,
            channel_max: 0,
            origin: Box::default(),
        };
        world.handle(Input::Connected(CLIENT, opened));
        world.method(AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        world
    }

    fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(Timestamp(1_700_000_000_000), input, &mut self.effects);
        self.effects.drain_outputs(|_, _| {});
    }

    fn method(&mut self, class: AMQPClass) {
        let method = Method { class_method: (0, 0), class };
        self.handle(Input::Received(CLIENT, &mut vec![Command::Method(1, Box::new(method))]));
    }

    fn queue(&mut self, arguments: FieldTable) {
        let durable = true;
        let declare =
            queue::Declare { queue: "q".into(), passive: false, durable, exclusive: false, auto_delete: false, nowait: true, arguments };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
    }

    fn delayed_exchange(&mut self) {
        self.method(AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: "x".into(),
            kind: "x-delayed-message".into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: true,
            arguments: table_of("x-delayed-type", AMQPValue::LongString("fanout".into())),
        })));
        let bind = queue::Bind {
            queue: "q".into(),
            exchange: "x".into(),
            routing_key: "q".into(),
            nowait: true,
            arguments: FieldTable::default(),
        };
        self.method(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    }
}

fn table_of(name: &str, value: AMQPValue) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(name.into(), value);
    arguments
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}

/// The header of a delayed message.
fn delay(milliseconds: u32) -> Vec<u8> {
    let mut headers = Vec::new();
    table::put(&mut headers, b"x-delay", table::Value::Int(i64::from(milliseconds)));
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&u32::try_from(headers.len()).expect("a few bytes").to_be_bytes());
    properties.extend_from_slice(&headers);
    properties
}

fn measure(kind: &str, exchange: &str, mut world: World, properties: impl Fn(u32) -> Vec<u8>) {
    let before = resident();
    let mut content = 0;
    for n in 0..MESSAGES {
        let properties = properties(n);
        content += (properties.len() + BODY.len()) as u64;
        let message = Message::new(exchange.as_bytes(), b"q", &properties, BODY);
        let publish = Publish { mandatory: false, immediate: false, oversize: None, message };
        world.handle(Input::Received(CLIENT, &mut vec![Command::Publish(1, publish)]));
    }
    let taken = resident().saturating_sub(before).saturating_sub(content);
    let accounted = world.broker.memory() - content;
    let each = u64::from(MESSAGES);
    println!("{kind:<26} {:>4} bytes beyond its content ({} accounted for)", taken / each, accounted / each);
}

const KINDS: [&str; 5] = ["in a queue", "with a time to live", "with one of 10 priorities", "in a stream", "delayed, up to 17 minutes"];

/// Each kind has a process of its own: what one has freed would hide what the next one takes.
fn main() {
    let asked = std::env::args().nth(1).filter(|kind| KINDS.contains(&kind.as_str()));
    let Some(kind) = asked else {
        let this = std::env::current_exe().expect("the path of this program");
        for kind in KINDS {
            let status = std::process::Command::new(&this).arg(kind).status().expect("this program again");
            assert!(status.success(), "{kind}");
        }
        return;
    };
    let plain = |_| vec![0x10, 0, 1];
    let mut world = World::new();
    let arguments = match kind.as_str() {
        "with a time to live" => table_of("x-message-ttl", AMQPValue::LongInt(3_600_000)),
        "with one of 10 priorities" => table_of("x-max-priority", AMQPValue::LongInt(10)),
        "in a stream" => table_of("x-queue-type", AMQPValue::LongString("stream".into())),
        _ => FieldTable::default(),
    };
    world.queue(arguments);
    match kind.as_str() {
        "with one of 10 priorities" => measure(&kind, "", world, |n| vec![0x18, 0, 1, u8::try_from(n % 10).expect("a digit")]),
        "delayed, up to 17 minutes" => {
            world.delayed_exchange();
            measure(&kind, "x", world, |n| delay(1 + n.wrapping_mul(7919) % MESSAGES));
        }
        _ => measure(&kind, "", world, plain),
    }
}
