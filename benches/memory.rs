//! What a message that waits costs beyond its content, in resident memory: a million of each kind, published to a broker in this
//! process. Prints bytes per message.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

#[path = "../tests/core/mod.rs"]
mod core;

use leveret::amqp::{AMQPClass, AMQPValue, FieldTable, Message, exchange, queue, table};
use leveret::broker::ConnectionId;

use crate::core::{Core, publish};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENT: ConnectionId = ConnectionId(0);
const MESSAGES: u32 = 1_000_000;
const BODY: &[u8] = &[7; 16];

/// An exchange that delays what it is given for the queue.
fn delayed_exchange(core: &mut Core) {
    let declare = exchange::Declare {
        exchange: "x".into(),
        kind: "x-delayed-message".into(),
        arguments: table_of("x-delayed-type", AMQPValue::LongString("fanout".into())),
        ..exchange::Declare::default()
    };
    core.method(CLIENT, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    let bind = queue::Bind { queue: "q".into(), exchange: "x".into(), routing_key: "q".into(), ..queue::Bind::default() };
    core.method(CLIENT, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
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

fn measure(kind: &str, exchange: &str, mut core: Core, properties: impl Fn(u32) -> Vec<u8>) {
    let before = resident();
    let mut content = 0;
    for n in 0..MESSAGES {
        let properties = properties(n);
        content += (properties.len() + BODY.len()) as u64;
        core.publish(CLIENT, vec![publish(Message::new(exchange.as_bytes(), b"q", &properties, BODY))]);
    }
    let taken = resident().saturating_sub(before).saturating_sub(content);
    let accounted = core.broker.memory() - content;
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
    let mut core = Core::new(1);
    let arguments = match kind.as_str() {
        "with a time to live" => table_of("x-message-ttl", AMQPValue::LongInt(3_600_000)),
        "with one of 10 priorities" => table_of("x-max-priority", AMQPValue::LongInt(10)),
        "in a stream" => table_of("x-queue-type", AMQPValue::LongString("stream".into())),
        _ => FieldTable::default(),
    };
    core.queue(CLIENT, "q", arguments);
    match kind.as_str() {
        "with one of 10 priorities" => measure(&kind, "", core, |n| vec![0x18, 0, 1, u8::try_from(n % 10).expect("a digit")]),
        "delayed, up to 17 minutes" => {
            delayed_exchange(&mut core);
            measure(&kind, "x", core, |n| delay(1 + n.wrapping_mul(7919) % MESSAGES));
        }
        _ => measure(&kind, "", core, plain),
    }
}
