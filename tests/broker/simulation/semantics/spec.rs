//! What the queues of a run are, and the policies that are laid over them.

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::broker::policy::Policy;
use serde_json::{Map, Value as Json, json};

use super::super::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Classic,
    Quorum,
    Stream,
}

/// What arguments and policies can both say. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) ttl: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) dead_letter_exchange: Option<String>,
    pub(super) dead_letter_key: Option<String>,
}

impl Limits {
    /// Of numbers the lowest counts, of texts the argument.
    pub(super) fn with(&self, policy: Option<&Self>) -> Self {
        let Some(policy) = policy else { return self.clone() };
        let lowest = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            ttl: lowest(self.ttl, policy.ttl),
            expires: lowest(self.expires, policy.expires),
            max_length: lowest(self.max_length, policy.max_length),
            dead_letter_exchange: self.dead_letter_exchange.clone().or_else(|| policy.dead_letter_exchange.clone()),
            dead_letter_key: self.dead_letter_key.clone().or_else(|| policy.dead_letter_key.clone()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn as_policy(&self, queue: &str) -> Policy {
        let mut definition: Map<String, Json> = Map::new();
        for (key, number) in [("message-ttl", self.ttl), ("expires", self.expires), ("max-length", self.max_length)] {
            definition.extend(number.map(|number| (key.to_owned(), Json::from(number))));
        }
        for (key, text) in [("dead-letter-exchange", &self.dead_letter_exchange), ("dead-letter-routing-key", &self.dead_letter_key)] {
            definition.extend(text.as_ref().map(|text| (key.to_owned(), Json::from(text.as_str()))));
        }
        let value = json!({ "pattern": format!("^{queue}$"), "apply-to": "queues", "definition": definition });
        Policy::from_json(false, queue, &value).expect("a policy")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) kind: Kind,
    pub(super) own: Limits,
    pub(super) overflow: Option<&'static str>,
    /// Dead letters are kept until a queue has taken them.
    pub(super) at_least_once: bool,
    pub(super) max_priority: u8,
    pub(super) single_active: bool,
    /// Quorum: -1 is no limit.
    pub(super) delivery_limit: Option<i64>,
    pub(super) consumer_timeout: Option<u64>,
    /// Streams.
    pub(super) max_bytes: Option<u64>,
    /// Seconds.
    pub(super) max_age: Option<u64>,
}

/// In milliseconds, where a queue says nothing.
pub(super) const CONSUMER_TIMEOUT: u64 = 1_800_000;
/// Bytes after which a segment of a stream is cut.
pub(super) const SEGMENT: u64 = 600;
/// The queues that live as long as the run; the exchange [`FANOUT`] leads to them.
pub(super) const PERMANENT: [&str; 2] = ["q0", "q1"];
pub(super) const FANOUT: &str = "f";

/// A time so that two seldom end together.
pub(super) fn some_time(random: &mut Random) -> u64 {
    let longest = if random.percent(30) { 2_000_000 } else { 20_000_000 };
    1 + random.next() % longest
}

impl Spec {
    pub(super) fn draw(random: &mut Random, name: &str, queues: usize) -> Self {
        let kind = [Kind::Classic, Kind::Quorum, Kind::Stream][random.weighted(&[50, 32, 18])];
        let (classic, quorum) = (kind == Kind::Classic, kind == Kind::Quorum);
        let own = if kind == Kind::Stream { Limits::default() } else { draw_limits(random, name, queues) };
        let overflows: &[Option<&str>] = match kind {
            Kind::Classic => &[None, Some("drop-head"), Some("reject-publish"), Some("reject-publish-dlx")],
            _ => &[None, Some("drop-head"), Some("reject-publish")],
        };
        Self {
            kind,
            own,
            at_least_once: false,
            overflow: if kind == Kind::Stream { None } else { overflows[random.below(overflows.len())] },
            max_priority: if classic && random.percent(35) { [1, 3, 9][random.below(3)] } else { 0 },
            single_active: kind != Kind::Stream && random.percent(30),
            delivery_limit: (quorum && random.percent(60)).then(|| [-1, 0, 1, 2, 4][random.below(5)]),
            consumer_timeout: (quorum && random.percent(40)).then(|| some_time(random)),
            max_bytes: (kind == Kind::Stream && random.percent(50)).then(|| 300 + random.next() % 3000),
            max_age: (kind == Kind::Stream && random.percent(50)).then(|| 500 + random.next() % 10_000),
        }
    }

    /// Of a quorum queue whose dead letters are kept, and where they go.
    pub(super) fn keep_dead_letters(&mut self, key: String) {
        self.at_least_once = true;
        self.overflow = Some("reject-publish");
        (self.own.dead_letter_exchange, self.own.dead_letter_key) = (Some(String::new()), Some(key));
    }

    pub(super) fn arguments(&self) -> FieldTable {
        let mut table = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        let number = |number: u64| AMQPValue::LongLongInt(i64::try_from(number).expect("no large number"));
        let Limits { ttl, expires, max_length, dead_letter_exchange, dead_letter_key } = &self.own;
        let stream = self.kind == Kind::Stream;
        let all = [
            ("x-queue-type", (self.kind != Kind::Classic).then(|| text(if stream { "stream" } else { "quorum" }))),
            ("x-message-ttl", ttl.map(number)),
            ("x-expires", expires.map(number)),
            ("x-max-length", max_length.map(number)),
            ("x-dead-letter-exchange", dead_letter_exchange.as_deref().map(text)),
            ("x-dead-letter-routing-key", dead_letter_key.as_deref().map(text)),
            ("x-overflow", self.overflow.map(text)),
            ("x-dead-letter-strategy", self.at_least_once.then(|| text("at-least-once"))),
            ("x-max-priority", (self.max_priority > 0).then_some(AMQPValue::ShortShortUInt(self.max_priority))),
            ("x-single-active-consumer", self.single_active.then_some(AMQPValue::Boolean(true))),
            ("x-delivery-limit", self.delivery_limit.map(AMQPValue::LongLongInt)),
            ("x-consumer-timeout", self.consumer_timeout.map(number)),
            ("x-max-length-bytes", self.max_bytes.map(number)),
            ("x-max-age", self.max_age.map(|age| text(&format!("{age}s")))),
            ("x-stream-max-segment-size-bytes", stream.then(|| number(SEGMENT))),
        ];
        for (name, value) in all {
            if let Some(value) = value {
                table.insert(name.into(), value);
            }
        }
        table
    }
}

/// What a queue of this name, or a policy for it, may say.
pub(super) fn draw_limits(random: &mut Random, name: &str, queues: usize) -> Limits {
    let ttl = random.percent(35).then(|| if random.percent(10) { 0 } else { some_time(random) });
    let dies = !PERMANENT.contains(&name) && random.percent(20);
    let expires = dies.then(|| 1 + random.next() % 1_500_000);
    let max_length = random.percent(30).then(|| random.next() % 5);
    let (mut dead_letter_exchange, mut dead_letter_key) = (None, None);
    if random.percent(60) {
        dead_letter_exchange = Some(if random.percent(20) { FANOUT.to_owned() } else { String::new() });
        dead_letter_key = random.percent(85).then(|| format!("q{}", random.below(queues)));
    }
    Limits { ttl, expires, max_length, dead_letter_exchange, dead_letter_key }
}
