//! Faults as rules: what a client sees of each, and the API that rules are set with.

mod connections;
mod consumers;
mod frames;
mod handshakes;
mod layered;
mod node;
mod publishers;
mod rules;

use std::io::Read;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::eventually;
use super::support::raw::Raw;
use super::support::wire;

/// How long nothing has to come for a test to believe that nothing will.
const QUIET: Duration = Duration::from_millis(300);

/// A broker that tests can ask for faults.
struct Faulty {
    broker: Broker,
    http: Http,
}

impl Faulty {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let mut command = leveret();
        command.arg("--test-api").args(options);
        let broker = Broker::launch(command, Scratch::new());
        let http = Http::guest(broker.http());
        Self { broker, http }
    }

    /// Adds a rule; returns what it is called.
    #[track_caller]
    fn add(&self, rule: &Json) -> u64 {
        let answer = self.http.post("/api/test/faults", rule);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["ids"][0].as_u64().expect("a number")
    }

    /// Adds one for a method, with an action and whatever else.
    #[track_caller]
    fn on(&self, method: &str, action: &Json, more: &Json) -> u64 {
        let mut rule = json!({"match": {"method": method}, "action": action});
        rule.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        self.add(&rule)
    }

    fn hits(&self, id: u64) -> u64 {
        self.http.get(&format!("/api/test/faults/{id}")).ok()["hits"].as_u64().expect("a number")
    }

    fn remove(&self, id: u64) {
        self.http.delete(&format!("/api/test/faults/{id}")).is(204);
    }

    /// A client with channel 1 open and the queue `q`.
    fn client(&self) -> Raw {
        let mut raw = Raw::channel(&self.broker);
        raw.declare("q", 0);
        raw
    }

    /// How many messages `q` has ready, asked on a connection of its own.
    fn ready(&self) -> u32 {
        Raw::channel(&self.broker).declare("q", 0)
    }

    fn eventually_ready(&self, count: u32) {
        eventually("so many messages are ready", || (self.ready() == count).then_some(()));
    }
}

/// Nothing comes.
#[track_caller]
fn hears_nothing(raw: &mut Raw) {
    raw.stream.set_read_timeout(Some(QUIET)).expect("a time limit");
    let mut heard = [0; 64];
    match raw.stream.read(&mut heard) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
        other => panic!("nothing should come: {other:?} {heard:?}"),
    }
    raw.stream.set_read_timeout(Some(super::support::PATIENCE)).expect("a time limit");
}

fn publish(raw: &mut Raw, body: &[u8]) {
    raw.send(&wire::publish(1, "", "q", body));
}
