//! What a test waits for: time that is moved, virtual hosts that are reset or go back to a snapshot, crashes. The budget: a reset of 100
//! queues with 10,000 messages in 10 ms; an hour in which 100,000 messages expire in a second.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leveret::amqp::{AMQPClass, AMQPValue, FieldTable, queue};
use leveret::client::{Channel, Connection, Options, Publication};
use leveret::config::{ClockKind, Config};
use leveret::server::{Advance, Handle, Keep, Open, Server, Unsynced};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMES: usize = 9;
/// Properties as on the wire: delivery_mode 2 alone.
const PERSISTENT: &[u8] = &[0x10, 0, 2];

async fn connect(address: SocketAddr) -> Connection {
    let stream = TcpStream::connect(address).await.expect("the broker");
    Connection::open(stream, Options::plain("guest", "guest", "/")).await.expect("a connection")
}

/// Queues with as many persistent messages each, all of them confirmed.
async fn fill(channel: &Channel, queues: usize, each: usize, ttl: Option<i32>) {
    channel.confirm_select().await.expect("confirms");
    let mut confirms = Vec::new();
    for n in 0..queues {
        let mut arguments = FieldTable::default();
        if let Some(ttl) = ttl {
            arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(ttl));
        }
        let declare = queue::Declare { queue: format!("q{n}").as_str().into(), durable: true, arguments, ..queue::Declare::default() };
        channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await.expect("declared");
        for _ in 0..each {
            let publication = Publication { properties: PERSISTENT.into(), ..Publication::new("", format!("q{n}"), &[7; 100][..]) };
            confirms.push(channel.start_publish(publication).await.expect("published"));
        }
    }
    for confirm in confirms {
        confirm.await.expect("confirmed");
    }
}

/// The median of what is measured so often, each time in a broker that has been filled again.
async fn measure<F: AsyncFn(&Handle)>(what: &str, handle: &Handle, amqp: SocketAddr, with: (usize, usize, Option<i32>), work: F) {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let connection = connect(amqp).await;
        let channel = connection.channel().await.expect("a channel");
        fill(&channel, with.0, with.1, with.2).await;
        let began = Instant::now();
        work(handle).await;
        times.push(began.elapsed());
        handle.reset_vhost("/", Keep::Nothing, Open::Close).await.expect("a reset");
    }
    times.sort_unstable();
    println!("{what:<72} {:>9.3} ms", times[TIMES / 2].as_secs_f64() * 1000.0);
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let mut config = Config { amqp: any, http: any, ..Config::default() };
    config.testing.api = true;
    config.testing.clock = ClockKind::Virtual;
    let server = Server::start(config).await.expect("a broker");
    let handle = server.handle();
    let amqp = handle.listening().into_iter().find(|listening| listening.protocol == "amqp").expect("a listener").address.to_string();
    let amqp: SocketAddr = amqp.parse().expect("an address");
    let hundred = (100, 100, None);
    println!("medians of {TIMES}; 100 queues with 100 persistent messages of 100 bytes each");
    measure("reset to nothing", &handle, amqp, hundred, async |handle| {
        handle.reset_vhost("/", Keep::Nothing, Open::Close).await.expect("a reset");
    })
    .await;
    measure("reset to definitions", &handle, amqp, hundred, async |handle| {
        handle.reset_vhost("/", Keep::Definitions, Open::Close).await.expect("a reset");
    })
    .await;
    measure("snapshot", &handle, amqp, hundred, async |handle| {
        handle.save(Some("/")).await.expect("a snapshot");
    })
    .await;
    measure("snapshot and restore", &handle, amqp, hundred, async |handle| {
        let saved = handle.save(Some("/")).await.expect("a snapshot");
        handle.go_back(&saved, Open::Close).await.expect("restored");
    })
    .await;
    measure("crash and recovery", &handle, amqp, hundred, async |handle| {
        handle.crash(Unsynced::Lost).await.expect("a crash");
    })
    .await;
    measure("an hour in which 100,000 messages of 10 queues expire", &handle, amqp, (10, 10_000, Some(1_800_000)), async |handle| {
        let fired = handle.advance_clock(Advance::By(Duration::from_secs(3600)), false).await.expect("time");
        assert_eq!(fired.iter().map(|fire| fire.firing.count).sum::<u64>(), 100_000);
    })
    .await;
    server.stop().await;
}
