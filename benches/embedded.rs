//! What a broker in a program of one's own costs, as a test uses it: start, connect, declare, publish with a confirm, consume, ack, stop.
//! The budget: 5 ms at the median, on one thread and on several.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::time::{Duration, Instant};

use leveret::Broker;
use leveret::amqp::{AMQPClass, queue};
use leveret::client::{Connection, Consume, Options, Publication};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMES: usize = 500;

/// What the steps of one run took.
#[derive(Clone, Copy, Default)]
struct Run {
    start: Duration,
    connect: Duration,
    use_it: Duration,
    close: Duration,
    stop: Duration,
}

/// A step, and what it took in a run.
type Step = (&'static str, fn(&Run) -> Duration);

impl Run {
    const STEPS: [Step; 6] = [
        ("start", |run| run.start),
        ("connect", |run| run.connect),
        ("declare, publish, consume, ack", |run| run.use_it),
        ("close", |run| run.close),
        ("stop", |run| run.stop),
        ("all of it", |run| run.start + run.connect + run.use_it + run.close + run.stop),
    ];
}

async fn once(over_tcp: bool) -> Run {
    let mut last = Instant::now();
    let mut lap = || {
        let now = Instant::now();
        now - std::mem::replace(&mut last, now)
    };
    let mut run = Run::default();
    let builder = Broker::builder();
    let broker = if over_tcp { builder } else { builder.no_amqp() }.start().await.expect("a broker");
    run.start = lap();
    let options = Options::plain("guest", "guest", "/");
    let connection = match broker.amqp_addr() {
        Some(address) => {
            let stream = TcpStream::connect(address).await.expect("served");
            let _ = stream.set_nodelay(true);
            Connection::open(stream, options).await
        }
        None => Connection::open(broker.connect().expect("a stream"), options).await,
    };
    let connection = connection.expect("a connection");
    run.connect = lap();
    let channel = connection.channel().await.expect("a channel");
    channel.confirm_select().await.expect("confirms");
    let declare = queue::Declare { queue: "q".into(), ..queue::Declare::default() };
    channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await.expect("declared");
    channel.publish(Publication::new("", "q", "hello")).await.expect("confirmed");
    let mut consumer = channel.consume(Consume::from("q")).await.expect("a consumer");
    let delivery = consumer.next().await.expect("open").expect("a delivery");
    channel.ack(delivery.delivery_tag, false).await.expect("sent");
    broker.queue_until("/", "q", |queue| queue.unacked == 0).await.expect("a queue");
    run.use_it = lap();
    connection.close().await.expect("closed");
    run.close = lap();
    broker.stop().await;
    run.stop = lap();
    run
}

fn measure(what: &str, runtime: &Runtime, over_tcp: bool) {
    let runs: Vec<Run> = runtime.block_on(async {
        let mut runs = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            runs.push(once(over_tcp).await);
        }
        runs
    });
    println!("{what}:");
    for (name, step) in Run::STEPS {
        let mut times: Vec<Duration> = runs.iter().map(step).collect();
        times.sort_unstable();
        println!("  {name:<32} {:>9.1?} at the median, {:>9.1?} at p99", times[TIMES / 2], times[TIMES * 99 / 100]);
    }
}

fn main() {
    let one = Builder::new_current_thread().enable_all().build().expect("a runtime");
    measure("one thread, within the process", &one, false);
    measure("one thread, over TCP", &one, true);
    let two = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    measure("two threads, over TCP", &two, true);
}
