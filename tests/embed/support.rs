//! What the tests share: a client in few words, and tests that need a process to themselves.

use std::process::Command;
use std::time::Duration;

use leveret::amqp::{AMQPClass, queue};
use leveret::client::{Channel, Connection, Error, Options, Publication};
use leveret::{Broker, Builder};

/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn start(builder: Builder) -> Broker {
    builder.start().await.expect("a broker")
}

/// A connection of guest within the process.
pub(crate) async fn connect(broker: &Broker) -> Connection {
    connect_to(broker, "/").await.expect("a connection")
}

pub(crate) async fn connect_to(broker: &Broker, vhost: &str) -> Result<Connection, Error> {
    Connection::open(broker.connect().expect("a stream"), Options::plain("guest", "guest", vhost)).await
}

pub(crate) async fn declare(channel: &Channel, name: &str, durable: bool) {
    let declare = queue::Declare { queue: name.into(), durable, ..queue::Declare::default() };
    channel.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await.expect("declared");
}

/// Publishes with confirms, if the channel has them, and waits for the confirm.
pub(crate) async fn publish(channel: &Channel, queue: &str, body: &str) {
    channel.publish(Publication::new("", queue.to_owned(), body.to_owned())).await.expect("published");
}

/// Gives something up that would never end.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

const ALONE: &str = "LEVERET_TEST_ALONE";

/// Has a test run in a process of its own, where nothing but it opens files or starts threads; `true` there. What it prints, beside
/// what the harness does, is an error.
pub(crate) fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").output().expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    let of_the_harness = |line: &str| line.is_empty() || line.starts_with("running ") || line.starts_with("test ");
    let printed: Vec<&str> = out.lines().filter(|line| !of_the_harness(line)).collect();
    assert!(printed.is_empty() && err.is_empty(), "it has printed {printed:?}\n{err}");
    false
}

/// What the process has open, and how many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

pub(crate) fn held() -> Held {
    let count = |path| std::fs::read_dir(path).expect("/proc").count();
    Held { files: count("/proc/self/fd"), threads: count("/proc/self/task") }
}
