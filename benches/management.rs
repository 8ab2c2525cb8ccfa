//! What the HTTP API takes for ten thousand queues, while a publisher and a consumer keep the broker busy; and for how long its
//! virtual host stands still meanwhile. The budget: a list in 150 ms, a page in 5 ms, no more than 3 ms of standing still at once.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leveret::amqp::{AMQPClass, queue};
use leveret::broker::Broker;
use leveret::client::{Connection, Consume, Options, Publication};
use leveret::config::Config;
use leveret::server::{Handle, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUEUES: usize = 10_000;
const TIMES: usize = 15;

async fn connect(address: SocketAddr) -> Connection {
    let stream = TcpStream::connect(address).await.expect("the broker");
    Connection::open(stream, Options::plain("guest", "guest", "/")).await.expect("a connection")
}

/// One request on a connection of its own; how many bytes came.
async fn get(address: SocketAddr, path: &str) -> usize {
    let mut stream = TcpStream::connect(address).await.expect("the API");
    let authorization = STANDARD.encode("guest:guest");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Basic {authorization}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..200.min(answer.len())]));
    answer.len()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Queues of which every tenth has messages, and a publisher and a consumer of another one.
async fn fill(amqp: SocketAddr) {
    let connection = connect(amqp).await;
    let channel = connection.channel().await.expect("a channel");
    for n in 0..QUEUES {
        let declare = queue::Declare { queue: format!("queue-{n:05}").as_str().into(), durable: true, ..queue::Declare::default() };
        channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await.expect("declared");
        if n % 10 == 0 {
            channel.publish(Publication::new("", format!("queue-{n:05}"), &b"hello"[..])).await.expect("published");
        }
    }
    let busy = connect(amqp).await;
    let (publisher, reader) = (busy.channel().await.expect("a channel"), busy.channel().await.expect("a channel"));
    let mut consumer = reader.consume(Consume { no_ack: true, ..Consume::from("queue-00000") }).await.expect("a consumer");
    tokio::spawn(async move {
        let _connections = (connection, busy);
        loop {
            publisher.publish(Publication::new("", "queue-00000", &[7; 512][..])).await.expect("published");
        }
    });
    tokio::spawn(async move { while consumer.next().await.is_ok() {} });
}

/// How long a question keeps the virtual host.
async fn standing_still<T: Send + 'static>(handle: &Handle, what: &str, question: impl Fn(&Broker) -> T + Send + Sync + 'static) {
    let question = Arc::new(question);
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let question = Arc::clone(&question);
        let asked = handle.ask("/", move |asked| {
            let began = Instant::now();
            let answer = question(asked.broker());
            (began.elapsed(), answer)
        });
        times.push(asked.await.expect("the virtual host").0);
    }
    println!("{what:<60} {:>9.3} ms", median(times).as_secs_f64() * 1000.0);
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server = Server::start(Config { amqp: any, http: any, ..Config::default() }).await.expect("a broker");
    let handle = server.handle();
    let http =
        leveret::management::bind(handle.clone(), leveret::shovel::Shovels::start(handle.clone()), any).await.expect("the API").address;
    let amqp = handle.listening().into_iter().find(|listening| listening.protocol == "amqp").expect("a listener").address.to_string();
    fill(amqp.parse().expect("an address")).await;
    println!("{QUEUES} queues, medians of {TIMES}");
    standing_still(&handle, "standing still: names", Broker::queue_names).await;
    standing_still(&handle, "standing still: 500 views", |broker| {
        let names = (0..500).map(|n| format!("queue-{n:05}"));
        names.filter_map(|name| broker.queue_view(&name)).collect::<Vec<_>>()
    })
    .await;
    standing_still(&handle, "standing still: all views", Broker::queue_views).await;
    standing_still(&handle, "standing still: a sample", Broker::sample).await;
    for path in [
        "/api/queues",
        "/api/queues?page=1&page_size=100",
        "/api/queues?page=50&page_size=100&sort=name&sort_reverse=true",
        "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true",
        "/api/queues?page=1&page_size=100&sort=message_stats.publish_details.rate",
        "/api/queues?disable_stats=true&enable_queue_totals=true",
        "/api/queues?columns=name,messages",
        "/api/overview",
    ] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..TIMES {
            let began = Instant::now();
            bytes = get(http, path).await;
            times.push(began.elapsed());
        }
        println!("{path:<72} {:>9.3} ms {:>10} bytes", median(times).as_secs_f64() * 1000.0, bytes);
    }
}
