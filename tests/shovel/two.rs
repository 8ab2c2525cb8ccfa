//! Two brokers: the shovels are in the second, and messages come from the first unless a test says otherwise.

use std::net::SocketAddr;
use std::time::Instant;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, Home};
use super::support::client::{channel, confirming, connect, consume, declare_with, soon, take};
use super::support::{PATIENCE, eventually};

pub(crate) struct Two {
    pub(crate) source: Broker,
    pub(crate) here: Broker,
    pub(crate) http: Http,
}

impl Two {
    pub(crate) fn start() -> Self {
        Self::of(Broker::start(), Broker::start())
    }

    pub(crate) fn of(source: Broker, here: Broker) -> Self {
        let http = Http::guest(here.http());
        Self { source, here, http }
    }

    /// Defines a shovel in the default virtual host: from the source to the node itself unless `with` says otherwise.
    pub(crate) fn shovel(&self, name: &str, with: Json) {
        let answer = self.http.put(&format!("/api/parameters/shovel/%2F/{name}"), &json!({"value": self.definition(with)}));
        assert!(matches!(answer.status, 201 | 204), "{}", answer.text());
    }

    pub(crate) fn definition(&self, with: Json) -> Json {
        let mut value = json!({"src-uri": uri(&self.source), "dest-uri": "amqp://", "reconnect-delay": 1});
        let Json::Object(with) = with else { panic!("no object: {with}") };
        value.as_object_mut().expect("an object").extend(with);
        value
    }

    /// The status of a shovel; null when there is none.
    pub(crate) fn status(&self, name: &str) -> Json {
        let all = self.http.get("/api/shovels").ok();
        let found = all.as_array().expect("a list").iter().find(|row| row["name"] == name);
        found.cloned().unwrap_or_default()
    }

    pub(crate) fn until(&self, name: &str, what: &str, is: impl Fn(&Json) -> bool) -> Json {
        let mut last = Json::Null;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            last = self.status(name);
            if is(&last) {
                return last;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{name} never {what}: {last}");
    }

    pub(crate) fn until_running(&self, name: &str) -> Json {
        self.until(name, "runs", |row| row["state"] == "running")
    }

    /// Waits until a shovel has done its work and its parameter is gone.
    pub(crate) fn until_gone(&self, name: &str) {
        eventually("the shovel is gone", || self.status(name).is_null().then_some(()));
        self.http.get(&format!("/api/parameters/shovel/%2F/{name}")).is(404);
    }
}

pub(crate) fn uri(broker: &Broker) -> String {
    format!("amqp://guest:guest@{}", broker.address())
}

/// A broker that can be started again at the same address.
pub(crate) struct Fixed {
    home: Home,
    pub(crate) address: SocketAddr,
}

impl Fixed {
    pub(crate) fn new() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        Self { home: Home::new(), address }
    }

    pub(crate) fn start(&self) -> Broker {
        self.home.start_at(self.address)
    }

    pub(crate) fn uri(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }
}

/// A connection and a channel on it that confirms.
pub(crate) async fn talk(broker: &Broker) -> (Connection, Channel) {
    let connection = connect(broker).await;
    let channel = confirming(&connection).await;
    (connection, channel)
}

/// A durable queue.
pub(crate) async fn durable(connection: &Connection, queue: &str) {
    let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    declare_with(&channel(connection).await, queue, options, Default::default()).await;
}

/// Publishes numbers as persistent messages, and waits for all confirms.
pub(crate) async fn fill(channel: &Channel, exchange: &str, key: &str, numbers: std::ops::Range<u32>) {
    let mut confirms = Vec::new();
    for number in numbers {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = number.to_string();
        let sent = channel.basic_publish(exchange.into(), key.into(), BasicPublishOptions::default(), body.as_bytes(), properties);
        confirms.push(soon(sent).await.expect("sent"));
    }
    for confirm in confirms {
        assert!(!soon(confirm).await.expect("a confirm").is_nack());
    }
}

/// Takes so many messages, which are numbers.
pub(crate) async fn numbers(connection: &Connection, queue: &str, count: u32) -> Vec<u32> {
    let mut consumer = consume(&channel(connection).await, queue).await;
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(take(&mut consumer).await.parse().expect("a number"));
    }
    numbers
}
